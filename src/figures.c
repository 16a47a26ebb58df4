// figures.c: Fig 3 of Hoffmann et al. 2022: IsoFLOP curves, and the best size and horizon against compute.
//
// In: a fitted study. Out, in DIR/figures: fig3_points.csv, fig3_curves.csv, fig3_vertices.csv, fig3_laws.csv (the
// numbers behind the drawing), one gnuplot script a panel and fig3.gp that draws them all, and what it draws as SVG and
// PNG: the panels by themselves and side by side (fig3.svg). The scripts hold only the look; `gnuplot fig3.gp` draws
// again. The invariant: ranges and margins are set here and not by gnuplot, so the page can lay a link over every
// point.
#include "figures.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- Colours ----------------------------------------------------------------------------------------

// Violet to yellow: lightness rises evenly, so the order of budgets survives in print and for every kind of colour
// vision.
static const int ramp[][3] = {{68, 1, 84},    {62, 73, 137},  {38, 130, 142},
                              {53, 183, 121}, {160, 210, 50}, {245, 225, 40}};
enum { RAMP = sizeof ramp / sizeof *ramp };

int figures_level(int i, int n) { return (int)lround((FIGURE_LEVELS - 1) * (n > 1 ? (double)i / (n - 1) : .35)); }

void figures_level_color(int level, bool dark_page, char hex[8]) {
  // The ends that a page's background would swallow are left out.
  double lo = dark_page ? .24 : 0, hi = dark_page ? 1 : .76, t = (double)level / (FIGURE_LEVELS - 1);
  double at = (lo + (hi - lo) * t) * (RAMP - 1);
  int k = at >= RAMP - 1 ? RAMP - 2 : (int)at, c[3];
  for (int j = 0; j < 3; j++) c[j] = (int)lround(ramp[k][j] + (at - k) * (ramp[k + 1][j] - ramp[k][j])) & 255;
  snprintf(hex, 8, "#%02x%02x%02x", (unsigned)c[0], (unsigned)c[1], (unsigned)c[2]);
}

void figures_color(int i, int n, char hex[8]) { figures_level_color(figures_level(i, n), false, hex); }

// Of even lightness and told apart by every kind of colour vision; lighter ones on a dark page.
const char *figures_kind_color(int k, bool dark_page) {
  static const char *const light[FIGURE_KINDS] = {"#2866a8", "#c96a12", "#1f8a70", "#8c4fa3",
                                                  "#b83a4b", "#6b7a12", "#5a6472"},
                           *const night[FIGURE_KINDS] = {"#7db4f0", "#f0a35e", "#5fc7aa", "#c79add",
                                                         "#f08a96", "#b9c75a", "#a9b4c0"};
  return (dark_page ? night : light)[k % FIGURE_KINDS];
}

// ---- Numbers behind the figure ------------------------------------------------------------------------

int figures_open(OutFile *o, const char *dir, const char *name, Err *e) {
  char path[1024];
  snprintf(path, sizeof path, "%s/figures/%s", dir, name);
  return out_open(o, path, e);
}

static int points_csv(const Analysis *a, const char *dir, Err *e) {
  OutFile o;
  if (figures_open(&o, dir, "fig3_points.csv", e)) return e->code;
  fprintf(o.f, "budget,run_id,N,D,C,loss,loss_se,repeats,seed_sd,in_law\n");
  for (int i = 0; i < a->points.n; i++) {
    const Point *p = &a->points.p[i];
    if (!(p->used || p->below) || p->budget < 0) continue;
    fprintf(o.f, "%.17g,%s,%.17g,%.17g,%.17g,%.17g,", a->points.budget[p->budget], p->run->id, p->N, p->D, p->C, p->L);
    if (!isnan(p->run->val_loss_se)) fprintf(o.f, "%.17g", p->run->val_loss_se);
    fprintf(o.f, ",%d,", p->repeats);
    if (a->points.seed_cells) fprintf(o.f, "%.17g", a->points.seed_sd);
    fprintf(o.f, ",%d\n", p->used);
  }
  return out_commit(&o, e);
}

static int curves_csv(const Analysis *a, const char *dir, Err *e) {
  OutFile o;
  if (figures_open(&o, dir, "fig3_curves.csv", e)) return e->code;
  fprintf(o.f, "budget,N,loss\n");
  for (int i = 0; i < a->iso.n; i++) {
    const Valley *v = &a->iso.v[i];
    enum { STEPS = 64 };
    if (v->flag == VALLEY_FEW) continue;
    for (int k = 0; k <= STEPS; k++) {
      double x = log(v->lo) + (log(v->hi) - log(v->lo)) * k / STEPS;
      fprintf(o.f, "%.17g,%.17g,%.17g\n", v->budget, exp(x), parabola_at(&v->q, x));
    }
  }
  return out_commit(&o, e);
}

// An interval that could not be found is drawn with no length.
static double or_value(double x, double value) { return isnan(x) ? value : x; }

static int vertices_csv(const Analysis *a, const char *dir, Err *e) {
  OutFile o;
  if (figures_open(&o, dir, "fig3_vertices.csv", e)) return e->code;
  fprintf(o.f, "budget,C,N,N_p10,N_p90,D,D_p10,D_p90,loss,in_law\n");
  for (int i = 0; i < a->iso.n; i++) {
    const Valley *v = &a->iso.v[i];
    if (isnan(v->n_opt.value)) continue;
    const Interval *q[] = {&v->n_opt, &v->d_opt};
    fprintf(o.f, "%.17g,%.17g", v->budget, v->C);
    for (int j = 0; j < 2; j++)
      fprintf(o.f, ",%.17g,%.17g,%.17g", q[j]->value, or_value(q[j]->p10, q[j]->value),
              or_value(q[j]->p90, q[j]->value));
    fprintf(o.f, ",%.17g,%d\n", v->loss.value, v->flag == VALLEY_OK);
  }
  return out_commit(&o, e);
}

static int laws_csv(const Analysis *a, const char *dir, double c0, double c1, Err *e) {
  OutFile o;
  if (figures_open(&o, dir, "fig3_laws.csv", e)) return e->code;
  fprintf(o.f, "C,N,N_p10,N_p90,D,D_p10,D_p90,sampled\n");
  enum { STEPS = 48 };
  // The grid ends exactly at the largest budget and goes on from there, so that the solid line and the dashed one meet; so
  // below the smallest one in the law, where smaller ones are left out.
  const Valley *lowest = analysis_lowest(a);
  const double first = lowest && lowest != a->iso.v ? lowest->budget : c0,
               bound[] = {c0, first, a->points.budget[a->points.n_budgets - 1], c1};
  for (int part = 0; part < 3 && a->iso.law; part++)
    for (int k = 0; k <= STEPS && bound[part] < bound[part + 1]; k++) {
      const double C = bound[part] * pow(bound[part + 1] / bound[part], (double)k / STEPS);
      Interval n = law_at(&a->iso.n_law, C), d = law_at(&a->iso.d_law, C);
      fprintf(o.f, "%.17g,%.17g,%.17g,%.17g,%.17g,%.17g,%.17g,%d\n", C, n.value, or_value(n.p10, n.value),
              or_value(n.p90, n.value), d.value, or_value(d.p10, d.value), or_value(d.p90, d.value), part == 1);
    }
  return out_commit(&o, e);
}

// ---- Axes -----------------------------------------------------------------------------------------------

// Labels at 1, 2 and 5 of a decade, at more of it on a short axis, or at each decade where those would crowd.
static void log_ticks(FILE *f, char axis, double lo, double hi, bool counts) {
  double decades = log10(hi / lo);
  static const double few[] = {1, 2, 5}, many[] = {1, 1.5, 2, 3, 4, 5, 7};
  const double *fine = decades < .8 ? many : few;
  int per_decade = decades < .8 ? 7 : decades < 1.9 ? 3 : 1, step = decades > 8 ? 2 : 1, n = 0;
  fprintf(f, "set %ctics (", axis);
  for (int k = (int)floor(log10(lo)); k <= (int)ceil(log10(hi)); k += step)
    for (int j = 0; j < per_decade; j++) {
      double x = fine[j] * pow(10, k);
      if (x < lo * .999 || x > hi * 1.001) continue;
      if (counts)
        fprintf(f, "%s'%s' %.17g", n++ ? ", " : "", text_count(x), x);
      else if (per_decade == 1)
        fprintf(f, "%s'10^{%d}' %.17g", n++ ? ", " : "", k, x);
      else
        fprintf(f, "%s'%s' %.17g", n++ ? ", " : "", text_budget(x), x);
    }
  fputs(")\n", f);
  if (per_decade > 1) return;
  fprintf(f, "set %ctics add (", axis);
  n = 0;
  for (int k = (int)floor(log10(lo)); k <= (int)ceil(log10(hi)); k++)
    for (int j = 2; j < 10; j++)
      if (j * pow(10, k) > lo && j * pow(10, k) < hi) fprintf(f, "%s'' %.17g 1", n++ ? ", " : "", j * pow(10, k));
  fputs(")\n", f);
}

void figures_axes(FILE *f, const Panel *p, const char *title, const char *xlabel, const char *ylabel, bool x_counts) {
  fprintf(
      f,
      "# The script that loads this one sets L R B T (margins as fractions of the drawing), W H (its pixels) and the "
      "terminal.\n"
      "reset\nset datafile separator comma\nset datafile columnheaders\nset encoding utf8\n"
      "set lmargin at screen L\nset rmargin at screen R\nset bmargin at screen B\nset tmargin at screen T\n"
      "set border 3 lw 1 lc rgb '#70777f'\nset tics nomirror out scale .6,.35\nset tics textcolor rgb '#20242a'\n"
      "set grid xtics ytics lw .6 lt 1 lc rgb '#e3e6ea'\n%s%s"
      "set xrange [%.17g:%.17g]\nset yrange [%.17g:%.17g]\n"
      "set title \"%s\" offset 0,-.3 tc rgb '#20242a'\nset xlabel '%s' offset 0,.2 tc rgb '#20242a'\nset ylabel "
      "'%s' tc rgb '#20242a'\nunset key\n",
      p->lin_x ? "" : "set logscale x\n", p->log_y ? "set logscale y\n" : "", p->x0, p->x1, p->y0, p->y1, title, xlabel,
      ylabel);
  if (!p->lin_x) log_ticks(f, 'x', p->x0, p->x1, x_counts);
  if (p->log_y)
    log_ticks(f, 'y', p->y0, p->y1, true);
  else
    fputs("set format y '%.2f'\n", f);
}

// A five-pointed star as a polygon: fonts disagree on theirs. Radius in pixels; px, py are what a pixel is in (log)
// units.
static void star(FILE *f, int id, const Panel *p, double x, double y, const char *color, bool solid) {
  fprintf(f, "px = %.17g / ((R - L) * W)\npy = %.17g / ((T - B) * H)\nset object %d polygon \\\n", log(p->x1 / p->x0),
          p->log_y ? log(p->y1 / p->y0) : p->y1 - p->y0, id);
  for (int k = 0; k <= 10; k++) {
    double r = k % 2 ? 3.4 : 8, t = M_PI * k / 5;
    fprintf(f, "  %s %.17g * exp(%.6f * px), ", k ? "to" : "from", x, r * sin(t));
    fprintf(f, p->log_y ? "%.17g * exp(%.6f * py) \\\n" : "%.17g + %.6f * py \\\n", y, r * cos(t));
  }
  fprintf(f, "  front fs solid border lc rgb '#20242a' lw .8 fc rgb '%s'\n", solid ? color : "#ffffff");
}

int figures_script(OutFile *o, const char *dir, const Panel *p, Err *e) {
  char name[64];
  snprintf(name, sizeof name, "%s.gp", p->name);
  return figures_open(o, dir, name, e);
}

// Of budget i: its place on the ramp; grey below from_flops.
static void valley_color(const Analysis *a, int i, char hex[8]) {
  if (a->iso.v[i].below)
    snprintf(hex, 8, "%s", "#8a9199");
  else
    figures_color(i, a->iso.n, hex);
}

static int valleys_gp(const Analysis *a, const char *dir, const Panel *p, Err *e) {
  OutFile o;
  if (figures_script(&o, dir, p, e)) return e->code;
  figures_axes(o.f, p, "IsoFLOP curves", "Parameters", "Held-out loss (nats per token)", true);
  const int n = a->iso.n;
  for (int i = 0; i < n; i++) {
    const Valley *v = &a->iso.v[i];
    char hex[8];
    if (!v->runs) continue;
    valley_color(a, i, hex);
    int end = v->first + v->n - 1;
    while (!valley_holds(v, &a->points.p[end])) end--;
    double y = v->flag == VALLEY_FEW ? a->points.p[end].L : parabola_at(&v->q, log(v->hi));
    fprintf(o.f, "set label %d '%s' at %.17g,%.17g left offset .9,0 tc rgb '#20242a'\n", i + 1,
            text_budget(v->budget), v->hi, y);
    if (!isnan(v->n_opt.value) && v->n_opt.value > p->x0 && v->n_opt.value < p->x1)
      star(o.f, i + 1, p, v->n_opt.value, v->loss.value, hex, v->flag == VALLEY_OK);
  }
  fputs("plot \\\n", o.f);
  for (int i = 0; i < n; i++) {
    const Valley *v = &a->iso.v[i];
    char hex[8];
    if (!v->runs) continue;
    valley_color(a, i, hex);
    fprintf(o.f,
            "  'fig3_curves.csv' using (column('budget') == %.17g ? column('N') : NaN):'loss' with lines %s lc rgb "
            "'%s', \\\n",
            v->budget, v->below ? "lw 1.2 dt '-'" : "lw 1.6", hex);
    fprintf(o.f,
            "  'fig3_vertices.csv' using (column('budget') == %.17g ? column('N') : NaN):'loss':'N_p10':'N_p90' with "
            "xerrorbars pt -1 lw 1.4 lc rgb '%s', \\\n",
            v->budget, hex);
    if (a->points.seed_cells && !v->below)
      fprintf(
          o.f,
          "  'fig3_points.csv' using (column('budget') == %.17g ? column('N') : NaN):'loss':'seed_sd' with yerrorbars "
          "pt -1 lw .8 lc rgb '%s', \\\n",
          v->budget, hex);
    // Filled: fresh text throughout; open: over one epoch, or (grey and small) below from_flops.
    for (int repeats = 0; repeats < 2; repeats++)
      fprintf(o.f,
              "  'fig3_points.csv' using (column('budget') == %.17g && column('repeats') == %d ? column('N') : "
              "NaN):'loss' with points pt %d ps %s lw 1.2 lc rgb '%s', \\\n",
              v->budget, repeats, repeats || v->below ? 6 : 7, v->below ? ".6" : ".8", hex);
  }
  fputs("  NaN with lines lc rgb '#20242a' notitle\n", o.f);  // an end to the list, which may be empty
  return out_commit(&o, e);
}

static int law_gp(const Analysis *a, const char *dir, const Panel *p, bool params, Err *e) {
  OutFile o;
  char what = params ? 'N' : 'D';
  const PowerLaw *law = params ? &a->iso.n_law : &a->iso.d_law;
  double paper = params ? .49 : .51;
  if (figures_script(&o, dir, p, e)) return e->code;
  figures_axes(o.f, p, params ? "Best size" : "Best horizon", "Training FLOPs", params ? "Parameters" : "Tokens",
               false);
  fputs("set key top left reverse Left samplen 2 spacing 1.25 tc rgb '#20242a'\n", o.f);
  for (int i = 0; i < a->iso.n; i++) {
    const Valley *v = &a->iso.v[i];
    char hex[8];
    valley_color(a, i, hex);
    double y = params ? v->n_opt.value : v->d_opt.value;
    if (!isnan(y) && y > p->y0 && y < p->y1) star(o.f, i + 1, p, v->C, y, hex, v->flag == VALLEY_OK);
  }
  fputs("plot \\\n", o.f);
  if (a->iso.law) {
    // The paper's slope through the middle of our line, for the eye.
    double mid = sqrt(analysis_lowest(a)->budget * a->points.budget[a->points.n_budgets - 1]),
           at = law->k.value * pow(mid, law->exponent.value);
    fprintf(o.f,
            "  'fig3_laws.csv' using 'C':'%c_p10':'%c_p90' with filledcurves fs solid noborder fc rgb '#dfe7f1' "
            "notitle, \\\n",
            what, what);
    fprintf(o.f,
            "  %.17g * (x / %.17g) ** %.17g with lines lw 1.2 dt '.' lc rgb '#8a9199' title 'Hoffmann et al. 2022: "
            "C^{%.2f}', \\\n",
            at, mid, paper, paper);
    fprintf(o.f,
            "  'fig3_laws.csv' using (column('sampled') == 1 ? column('C') : NaN):'%c' with lines lw 1.8 lc rgb "
            "'#20242a' title 'this study: C^{%.3f}', \\\n",
            what, law->exponent.value);
    for (int above = 0; above < 2; above++)
      fprintf(o.f,
              "  'fig3_laws.csv' using (column('sampled') == 0 && column('C') %s %.17g ? column('C') : NaN):'%c' with "
              "lines lw 1.4 dt '-' lc rgb '#20242a' notitle, \\\n",
              above ? ">" : "<=", mid, what);
  }
  fprintf(
      o.f,
      "  'fig3_vertices.csv' using 'C':'%c':'%c_p10':'%c_p90' with yerrorbars pt -1 lw 1.4 lc rgb '#20242a' notitle\n",
      what, what, what);
  return out_commit(&o, e);
}

// ---- All of it --------------------------------------------------------------------------------------------

static void widen(double x, double *lo, double *hi) {
  if (x > 0 && isfinite(x)) *lo = fmin(*lo, x), *hi = fmax(*hi, x);
}

static void panels_range(const Analysis *a, Panel p[FIG3_PANELS], double *c0, double *c1) {
  double n0 = INFINITY, n1 = 0, l0 = INFINITY, l1 = 0, y0[2] = {INFINITY, INFINITY}, y1[2] = {0};
  for (int i = 0; i < a->points.n; i++)
    if ((a->points.p[i].used || a->points.p[i].below) && a->points.p[i].budget >= 0)
      widen(a->points.p[i].N, &n0, &n1), widen(a->points.p[i].L, &l0, &l1);
  *c0 = a->points.budget[0] / 2, *c1 = a->points.budget[a->points.n_budgets - 1] * 10;
  for (int i = 0; i < a->iso.n; i++) {
    const Valley *v = &a->iso.v[i];
    widen(v->loss.value, &l0, &l1);
    // A flagged minimum far outside would squeeze the others; its line runs out of the panel instead.
    if (v->flag == VALLEY_OK || v->flag == VALLEY_EDGE || v->flag == VALLEY_BELOW)
      widen(v->n_opt.value, &y0[0], &y1[0]), widen(v->d_opt.value, &y0[1], &y1[1]), widen(v->n_opt.p90, &y0[0], &y1[0]),
          widen(v->d_opt.p90, &y0[1], &y1[1]);
  }
  if (a->iso.law)
    for (int k = 0; k < 2; k++)
      for (int j = 0; j < 2; j++) widen(law_at(j ? &a->iso.d_law : &a->iso.n_law, k ? *c1 : *c0).value, &y0[j], &y1[j]);
  if (!(n1 > 0 && l1 > 0)) n0 = 1e4, n1 = 1e5, l0 = 1, l1 = 2;  // no run that could be used: an empty panel
  double pad = .05 * (l1 - l0) + 1e-3;
  p[PANEL_VALLEYS] = (Panel){"fig3_valleys", 900,      500,   .085, .975, .125, .925, n0 / 1.25, n1 * 1.75,
                             l0 - 1.6 * pad, l1 + pad, false, false};
  for (int j = 0; j < 2; j++) {
    if (!(y1[j] > 0)) y0[j] = 1, y1[j] = 10;  // no vertex at all: an empty panel
    p[PANEL_PARAMS + j] =
        (Panel){"", 560, 420, .125, .965, .145, .915, *c0, *c1, y0[j] / 1.3, y1[j] * 1.6, true, false};
    snprintf(p[PANEL_PARAMS + j].name, sizeof p->name, "%s", j ? "fig3_tokens" : "fig3_params");
  }
}

static void terminal(FILE *f, const char *kind, const char *name, int w, int h) {
  if (!strcmp(kind, "svg"))
    fprintf(f, "set terminal svg size %d,%d dynamic enhanced font 'DejaVu Sans,13' background rgb '#ffffff'\n", w, h);
  else if (!strcmp(kind, "pdf"))
    fprintf(f, "set terminal pdfcairo size %.3fin,%.3fin enhanced font 'DejaVu Sans,10' linewidth 1.4 pointscale .8\n",
            w / 96., h / 96.);
  else
    fprintf(f,
            "set terminal pngcairo size %d,%d enhanced font 'DejaVu Sans,10' fontscale 1.9 linewidth 2 pointscale 2.2 "
            "dashlength 2 background rgb '#ffffff'\n",
            2 * w, 2 * h);
  fprintf(f, "set output '%s.%s'\nW = %d\nH = %d\n", name, kind, w, h);
}

int figures_draw(const char *dir, const char *name, const Panel *p, int n, int w, int h, const double *left,
                 const double *right, Err *e) {
  static const char *const kinds[] = {"svg", "png", "pdf"};
  char script[64], path[1024];
  OutFile o;
  snprintf(script, sizeof script, "%s.gp", name);
  if (figures_open(&o, dir, script, e)) return e->code;
  fprintf(o.f, "# Draws from the CSVs beside it: gnuplot %s\n", script);
  for (int i = 0; i < n; i++) {
    assert(strcmp(name, p[i].name));  // each has a script of its own
    terminal(o.f, "svg", p[i].name, p[i].width, p[i].height);
    fprintf(o.f, "L = %g\nR = %g\nB = %g\nT = %g\nload '%s.gp'\n", p[i].left, p[i].right, p[i].bottom, p[i].top,
            p[i].name);
  }
  for (int k = 0; k < 3; k++) {
    terminal(o.f, kinds[k], name, w, h);
    fputs("set multiplot\n", o.f);
    for (int i = 0; i < n; i++)
      fprintf(o.f, "L = %g\nR = %g\nB = .13\nT = .92\nload '%s.gp'\n", left[i], right[i], p[i].name);
    fputs("unset multiplot\n", o.f);
  }
  fputs("unset output\n", o.f);
  if (out_commit(&o, e)) return e->code;
  snprintf(path, sizeof path, "%s/figures", dir);
  return figures_gnuplot(path, script, e);
}

int figures_isoflop(const StudyFit *s, const char *dir, Panel p[FIG3_PANELS], Err *e) {
  const Analysis *a = &s->a[0];
  char path[1024];
  double c0, c1;
  snprintf(path, sizeof path, "%s/figures", dir);
  if (dir_make(path, e)) return e->code;
  out_clear(path);
  panels_range(a, p, &c0, &c1);
  if (points_csv(a, dir, e) || curves_csv(a, dir, e) || vertices_csv(a, dir, e) || laws_csv(a, dir, c0, c1, e))
    return e->code;
  if (valleys_gp(a, dir, &p[PANEL_VALLEYS], e) || law_gp(a, dir, &p[PANEL_PARAMS], true, e) ||
      law_gp(a, dir, &p[PANEL_TOKENS], false, e))
    return e->code;
  static const double left[] = {.045, .445, .755}, right[] = {.385, .69, .99};
  return figures_draw(dir, "fig3", p, FIG3_PANELS, 1500, 470, left, right, e);
}
