// figures_surface.c: Fig 4 of Hoffmann et al. 2022: the fitted surface.
//
// In: a study with a fitted surface. Out, in DIR/figures: fig4_contours.csv (lines of equal loss over compute and
// size), fig4_frontier.csv (the best size at each compute), fig4_slices.csv (the surface along each budget), the
// scripts, SVG and PNG. A line of equal loss needs no search: at size N the surface says how many tokens reach the
// loss, and the cost of a token how much compute that is. The runs come from fig3_points.csv. The invariant: the same
// colour means the same budget as in Fig 3.
#include "figures.h"
#include <math.h>

enum { STEPS = 64, MAX_LEVELS = 24 };

bool figures_has_surface(const StudyFit *s) {
  const Analysis *a = &s->a[0];
  const Surface *x = &a->surface.s;
  return a->points.n_budgets && a->frontier.ok && a->frontier.law && x->alpha > 0 && x->beta > 0 && x->B > 0;
}

// Losses whose contours are drawn: steps of 1, 2 or 5 tenths of a power of ten, about a dozen of them.
static int levels_choose(double *level, double lo, double hi) {
  double raw = (hi - lo) / 15, unit = pow(10, floor(log10(raw)));
  double step = unit * (raw > 5 * unit ? 10 : raw > 2 * unit ? 5 : raw > unit ? 2 : 1);
  int n = 0;
  for (double k = ceil(lo / step); k * step <= hi && n < MAX_LEVELS; k++) level[n++] = k * step;
  return n;
}

static int contours_csv(const Analysis *a, const char *dir, const Panel *p, const double *level, int n, Err *e) {
  const Surface *s = &a->surface.s;
  OutFile o;
  if (figures_open(&o, dir, "fig4_contours.csv", e)) return e->code;
  fputs("loss,N,C\n", o.f);
  for (int i = 0; i < n; i++) {
    for (int k = 0; k <= 2 * STEPS; k++) {
      double N = p->y0 * pow(p->y1 / p->y0, k / (2. * STEPS)), rest = level[i] - s->E - s->A * pow(N, -s->alpha);
      if (!(rest > 0)) continue;  // no horizon brings so small a model there
      double C = pow(s->B / rest, 1 / s->beta) * cost_at(&a->frontier.cost, N);
      if (C > p->x0 / 10 && C < p->x1 * 10) fprintf(o.f, "%.17g,%.17g,%.17g\n", level[i], N, C);
    }
    fputc('\n', o.f);  // lifts gnuplot's pen
  }
  return out_commit(&o, e);
}

static int frontier_csv(const Analysis *a, const char *dir, const Panel *p, Err *e) {
  OutFile o;
  if (figures_open(&o, dir, "fig4_frontier.csv", e)) return e->code;
  fputs("C,N,D,loss\n", o.f);
  for (int k = 0; k <= STEPS; k++) {
    double C = p->x0 * pow(p->x1 / p->x0, (double)k / STEPS), N, D;
    if (surface_optimum(&a->surface.s, &a->frontier.cost, C, &N, &D))
      fprintf(o.f, "%.17g,%.17g,%.17g,%.17g\n", C, N, D, surface_at(&a->surface.s, N, D));
  }
  return out_commit(&o, e);
}

static int slices_csv(const Analysis *a, const char *dir, Err *e) {
  OutFile o;
  if (figures_open(&o, dir, "fig4_slices.csv", e)) return e->code;
  fputs("budget,N,loss\n", o.f);
  for (int i = 0; i < a->iso.n; i++) {
    const Valley *v = &a->iso.v[i];
    for (int k = 0; k <= STEPS && v->runs && !v->below; k++) {
      double N = v->lo / 1.15 * pow(v->hi / v->lo * 1.15 * 1.15, (double)k / STEPS);
      fprintf(o.f, "%.17g,%.17g,%.17g\n", v->budget, N,
              surface_at(&a->surface.s, N, v->C / cost_at(&a->frontier.cost, N)));
    }
  }
  return out_commit(&o, e);
}

// Runs of no budget (other horizons).
static int others_csv(const Analysis *a, const char *dir, Err *e) {
  OutFile o;
  if (figures_open(&o, dir, "fig4_others.csv", e)) return e->code;
  fputs("run_id,N,D,C,loss\n", o.f);
  for (int i = 0; i < a->points.n; i++) {
    const Point *p = &a->points.p[i];
    if (p->used && p->budget < 0) fprintf(o.f, "%s,%.17g,%.17g,%.17g,%.17g\n", p->run->id, p->N, p->D, p->C, p->L);
  }
  return out_commit(&o, e);
}

static void points_plot(FILE *f, double budget, const char *x, const char *y, const char *hex, bool more) {
  fprintf(
      f,
      "  'fig3_points.csv' using (column('budget') == %.17g ? column('%s') : NaN):'%s' with points pt 7 ps .8 lw 1.2 "
      "lc rgb '%s'%s\n",
      budget, x, y, hex, more ? ", \\" : "");
}

static int contours_gp(const Analysis *a, const char *dir, const Panel *p, const double *level, int n, Err *e) {
  OutFile o;
  if (figures_script(&o, dir, p, e)) return e->code;
  figures_axes(o.f, p, "Loss by the fitted surface", "Training FLOPs", "Parameters", false);
  // Each line is named where it meets its least compute: on the frontier.
  const CostCurve *cost = &a->frontier.cost;
  int digits = n > 1 ? (int)fmax(0, ceil(-log10(level[1] - level[0]) - 1e-9)) : 1;
  for (int i = 0; i < n; i++) {
    double lo = log(p->x0), hi = log(p->x1), N = NAN, D;
    for (int it = 0; it < 50; it++) {
      double C = exp((lo + hi) / 2);
      if (!surface_optimum(&a->surface.s, cost, C, &N, &D)) break;
      *(surface_at(&a->surface.s, N, D) > level[i] ? &lo : &hi) = log(C);
    }
    if (N > p->y0 && N < p->y1 && exp(lo) > p->x0 * 1.02 && exp(hi) < p->x1 / 1.02)
      fprintf(o.f, "set label %d '%.*f' at %.17g,%.17g right offset -.4,.7 font ',10' tc rgb '#70777f'\n", i + 1,
              digits, level[i], exp(lo), N);
  }
  fputs("plot 'fig4_contours.csv' using 'C':'N' with lines lw 1 lc rgb '#8a9199', \\\n"
        "  'fig4_frontier.csv' using 'C':'N' with lines lw 2.2 lc rgb '#20242a', \\\n",
        o.f);
  bool others = false;
  for (int i = 0; i < a->points.n; i++) others = others || (a->points.p[i].used && a->points.p[i].budget < 0);
  if (others) fputs("  'fig4_others.csv' using 'C':'N' with points pt 7 ps .5 lc rgb '#8a9199', \\\n", o.f);
  for (int i = 0; i < a->iso.n; i++) {
    char hex[8];
    if (a->iso.v[i].below) continue;
    figures_color(i, a->iso.n, hex);
    points_plot(o.f, a->iso.v[i].budget, "C", "N", hex, i + 1 < a->iso.n);
  }
  return out_commit(&o, e);
}

static int slices_gp(const Analysis *a, const char *dir, const Panel *p, Err *e) {
  OutFile o;
  if (figures_script(&o, dir, p, e)) return e->code;
  figures_axes(o.f, p, "Its slices at the budgets", "Parameters", "Held-out loss (nats per token)", true);
  fputs("plot \\\n", o.f);
  for (int i = 0; i < a->iso.n; i++) {
    char hex[8];
    if (a->iso.v[i].below) continue;
    figures_color(i, a->iso.n, hex);
    fprintf(o.f,
            "  'fig4_slices.csv' using (column('budget') == %.17g ? column('N') : NaN):'loss' with lines lw 1.6 lc rgb "
            "'%s', \\\n",
            a->iso.v[i].budget, hex);
    points_plot(o.f, a->iso.v[i].budget, "N", "loss", hex, true);
  }
  fputs("  'fig4_frontier.csv' using 'N':'loss' with lines lw 2.2 dt '-' lc rgb '#20242a'\n", o.f);
  return out_commit(&o, e);
}

int figures_surface(const StudyFit *s, const char *dir, Panel p[FIG4_PANELS], Err *e) {
  const Analysis *a = &s->a[0];
  double n0 = INFINITY, n1 = 0, c0 = INFINITY, c1 = 0, l0 = INFINITY, l1 = 0, level[MAX_LEVELS];
  for (int i = 0; i < a->points.n; i++) {
    const Point *q = &a->points.p[i];
    if (!q->used) continue;
    n0 = fmin(n0, q->N), n1 = fmax(n1, q->N), c0 = fmin(c0, q->C), c1 = fmax(c1, q->C);
    l0 = fmin(l0, q->L), l1 = fmax(l1, q->L);
  }
  double pad = .05 * (l1 - l0) + 1e-3;
  p[PANEL_CONTOURS] =
      (Panel){"fig4_contours", 560, 420, .125, .965, .145, .915, c0 / 1.6, c1 * 1.6, n0 / 1.25, n1 * 1.25, true, false};
  p[PANEL_SLICES] =
      (Panel){"fig4_slices", 560, 420, .125, .965, .145, .915, n0 / 1.25, n1 * 1.25, l0 - pad, l1 + pad, false, false};
  int n = levels_choose(level, l0 - pad, l1 + 2 * pad);
  if (contours_csv(a, dir, &p[0], level, n, e) || frontier_csv(a, dir, &p[0], e) || slices_csv(a, dir, e) ||
      others_csv(a, dir, e) || contours_gp(a, dir, &p[0], level, n, e) || slices_gp(a, dir, &p[1], e))
    return e->code;
  static const double left[] = {.065, .57}, right[] = {.485, .985};
  return figures_draw(dir, "fig4", p, FIG4_PANELS, 1120, 420, left, right, e);
}
