// plot.c: see plot.h. In: series of points. Out: a CSV and a gnuplot script a panel, the drawings, and the panel in the
// page. The invariant: what is drawn stands in the CSV, and the axes are set here, so that a link lies on its point.
#include "plot.h"
#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void plot_begin(Plot *p, const char *name, int size, const char *title, const char *xlabel, const char *ylabel) {
  *p = (Plot){.panel =
                  size == PLOT_WIDE
                      ? (Panel){.width = 900, .height = 460, .left = .095, .right = .975, .bottom = .13, .top = .925}
                      : (Panel){.width = 560, .height = 420, .left = .16, .right = .97, .bottom = .145, .top = .915}};
  snprintf(p->panel.name, sizeof p->panel.name, "%s", name);
  snprintf(p->title, sizeof p->title, "%s", title);
  snprintf(p->xlabel, sizeof p->xlabel, "%s", xlabel);
  snprintf(p->ylabel, sizeof p->ylabel, "%s", ylabel);
}

int plot_series(Plot *p, PlotStyle style, const char *color, const char *format, ...) {
  assert(p->n_series < PLOT_SERIES);
  PlotSeries *s = &p->series[p->n_series];
  s->style = style;
  snprintf(s->color, sizeof s->color, "%s", color);
  va_list ap;
  va_start(ap, format);
  vsnprintf(s->title, sizeof s->title, format, ap);
  va_end(ap);
  return p->n_series++;
}

PlotPoint *plot_add(Plot *p, int series, double x, double y) {
  static PlotPoint lost;
  if (p->n == p->room) {
    int room = p->room ? 2 * p->room : 256;
    PlotPoint *more = realloc(p->p, sizeof *more * (size_t)room);
    if (!more) return p->broken = true, &lost;
    p->p = more, p->room = room;
  }
  p->p[p->n] = (PlotPoint){.series = series, .x = x, .y = y, .lo = NAN, .hi = NAN};
  return &p->p[p->n++];
}

const char *plot_color(int k) { return figures_kind_color(k, false); }

static void widen(double x, bool log_scale, double *lo, double *hi) {
  if (isfinite(x) && (!log_scale || x > 0)) *lo = fmin(*lo, x), *hi = fmax(*hi, x);
}

// Ranges that were not given: all data and a margin.
static void ranges_find(Plot *p) {
  Panel *a = &p->panel;
  double x0 = INFINITY, x1 = -INFINITY, y0 = INFINITY, y1 = -INFINITY;
  for (int i = 0; i < p->n; i++) {
    widen(p->p[i].x, !a->lin_x, &x0, &x1);
    widen(p->p[i].y, a->log_y, &y0, &y1), widen(p->p[i].lo, a->log_y, &y0, &y1), widen(p->p[i].hi, a->log_y, &y0, &y1);
  }
  if (!(x1 >= x0)) x0 = x1 = 1;
  if (!(y1 >= y0)) y0 = y1 = 1;
  if (a->x0 == a->x1) {
    double m = a->lin_x ? .06 * (x1 - x0) + 1e-9 : x1 > x0 ? pow(x1 / x0, .06) : 1.5;
    a->x0 = a->lin_x ? x0 - m : x0 / m, a->x1 = a->lin_x ? x1 + m : x1 * m;
  }
  if (a->y0 == a->y1) {
    double m = a->log_y ? y1 > y0 ? pow(y1 / y0, .08) : 1.5 : .08 * (y1 - y0) + 1e-4;
    a->y0 = a->log_y ? y0 / m : y0 - m, a->y1 = a->log_y ? y1 * m * m : y1 + 1.6 * m;
  }
  // On a linear axis data lie anywhere: the key gets room of its own, 18 of some 330 pixels a line. On a logarithmic one a
  // law leaves a corner free.
  int lines = 0;
  for (int s = 0; s < p->n_series; s++) lines += *p->series[s].title != 0;
  const double share = fmin(.055 * lines + .02, .5), room = share / (1 - share) * (a->y1 - a->y0);
  if (!p->key || a->log_y) return;
  *(strncmp(p->key, "bottom", 6) ? &a->y1 : &a->y0) += strncmp(p->key, "bottom", 6) ? room : -room;
}

static void csv_field(FILE *f, double x) { isfinite(x) ? fprintf(f, ",%.17g", x) : fputc(',', f); }

static int plot_csv(const Plot *p, const char *dir, Err *e) {
  OutFile o;
  char name[64];
  snprintf(name, sizeof name, "%s.csv", p->panel.name);
  if (figures_open(&o, dir, name, e)) return e->code;
  fputs("series,name,x,y,lo,hi,run_id\n", o.f);
  for (int s = 0; s < p->n_series; s++)
    for (int i = 0; i < p->n; i++) {
      const PlotPoint *q = &p->p[i];
      if (q->series != s) continue;
      if (isnan(q->y) && isnan(q->lo)) {
        fputc('\n', o.f);
        continue;
      }
      fprintf(o.f, "%d,\"%s\"", s, p->series[s].title);
      const bool bare = p->series[s].style == PLOT_BARS && isnan(q->lo);  // no interval: one without length
      csv_field(o.f, q->x), csv_field(o.f, q->y), csv_field(o.f, bare ? q->y : q->lo),
          csv_field(o.f, bare ? q->y : q->hi);
      fprintf(o.f, ",%s\n", q->run ? q->run->id : "");
    }
  return out_commit(&o, e);
}

static bool series_empty(const Plot *p, int s) {
  for (int i = 0; i < p->n; i++)
    if (p->p[i].series == s && !(isnan(p->p[i].y) && isnan(p->p[i].lo))) return false;
  return true;
}

static int plot_gp(const Plot *p, const char *dir, Err *e) {
  static const char *const how[] = {[PLOT_LINE] = "with lines lw 1.8",
                                    [PLOT_DASHED] = "with lines lw 1.4 dt '-'",
                                    [PLOT_THIN] = "with lines lw .7",
                                    [PLOT_POINTS] = "with points pt 7 ps .8",
                                    [PLOT_OPEN] = "with points pt 6 ps .8 lw 1.2",
                                    [PLOT_DOTS] = "with points pt 7 ps .4",
                                    [PLOT_BARS] = "with yerrorbars pt 7 ps .8 lw 1.4",
                                    [PLOT_BAND] = "with filledcurves fs solid noborder"};
  OutFile o;
  if (figures_script(&o, dir, &p->panel, e)) return e->code;
  figures_axes(o.f, &p->panel, p->title, p->xlabel, p->ylabel, p->counts);
  if (*p->ticks) fprintf(o.f, "set xtics (%s)\n", p->ticks);
  if (!p->panel.log_y && p->format) fprintf(o.f, "set format y '%s'\n", p->format);
  if (p->key) fprintf(o.f, "set key %s reverse Left samplen 2 spacing 1.25 tc rgb '#20242a'\n", p->key);
  fputs(p->extra, o.f);
  fputs("plot \\\n", o.f);
  for (int s = 0; s < p->n_series; s++) {
    const PlotSeries *t = &p->series[s];
    if (series_empty(p, s)) continue;
    bool both = t->style == PLOT_BAND || t->style == PLOT_BARS;
    fprintf(o.f, "  '%s.csv' using (column('series') == %d ? column('x') : NaN):%s%s %s %s rgb '%s' %s%s%s, \\\n",
            p->panel.name, s, t->style == PLOT_BAND ? "" : "'y'",
            !both                   ? ""
            : t->style == PLOT_BAND ? "'lo':'hi'"
                                    : ":'lo':'hi'",
            how[t->style], t->style == PLOT_BAND ? "fc" : "lc", t->color, *t->title ? "title '" : "notitle", t->title,
            *t->title ? "'" : "");
  }
  fputs("  NaN with lines lc rgb '#20242a' notitle\n", o.f);
  return out_commit(&o, e);
}

int plots_draw(Plot *p, int n, const char *dir, const char *name, Err *e) {
  double left[8], right[8], at = 0, width = 0;
  assert(n <= 8);
  for (int i = 0; i < n; i++) width += p[i].panel.width;
  for (int i = 0; i < n; i++) {
    if (p[i].broken) return fail(e, E_MEMORY, "no memory for the points of %s", name);
    ranges_find(&p[i]);
    if (plot_csv(&p[i], dir, e) || plot_gp(&p[i], dir, e)) return e->code;
    left[i] = (at + p[i].panel.left * p[i].panel.width) / width;
    right[i] = (at + p[i].panel.right * p[i].panel.width) / width;
    at += p[i].panel.width;
  }
  Panel panel[8];
  for (int i = 0; i < n; i++) panel[i] = p[i].panel;
  return figures_draw(dir, name, panel, n, (int)width, p[0].panel.height, left, right, e);
}

// What a tooltip says of a run, whatever the figure.
void mark_run(Mark *m, const Record *r, const char *note) {
  snprintf(m->link, sizeof m->link, "run-%s", r->id);
  snprintf(m->text, sizeof m->text,
           "run %s\n%s FLOPs, %s parameters, %s tokens\n%d wide, %d layers, seed %d%s\nloss %.4f%s%s", r->id,
           text_budget(r->tokens * r->flops_per_token.exact), text_count(r->params.total), text_count(r->tokens),
           r->cfg.d_model, r->cfg.n_layers, r->cfg.seed, r->epochs > 1 ? "\nover one epoch" : "", r->val_loss,
           *note ? "\n" : "", note);
}

int plots_inline(FILE *page, Plot *p, int n, const char *dir, Err *e) {
  bool pair = false;
  for (int i = 0; i < n && !e->code; i++) {
    int marks = 0;
    Mark *m = mem_new(sizeof *m * (size_t)(p[i].n + 1), "points of the figures", e);
    if (!m) return e->code;
    for (int j = 0; j < p[i].n; j++) {
      const PlotPoint *q = &p[i].p[j];
      if (!q->run && !*q->note) continue;
      m[marks] = (Mark){.x = q->x, .y = q->y};
      if (q->run)
        mark_run(&m[marks], q->run, q->note);
      else
        snprintf(m[marks].text, sizeof m->text, "%s", q->note);
      marks++;
    }
    if (!pair && p[i].panel.width < 900) pair = true, fputs("<div class=\"pair\">\n", page);
    figures_inline(page, dir, &p[i].panel, m, marks, e);
    free(m);
  }
  if (pair) fputs("</div>\n", page);
  return e->code;
}

void plots_free(Plot *p, int n) {
  for (int i = 0; i < n; i++) free(p[i].p), p[i].p = NULL, p[i].n = p[i].room = 0;
}

void put_files(FILE *page, const char *name, const char *const *csv) {
  fprintf(page,
          "Files: <a href=\"figures/%s.svg\">svg</a>, <a href=\"figures/%s.png\">png</a>, <a "
          "href=\"figures/%s.pdf\">pdf</a>, script <a href=\"figures/%s.gp\">%s.gp</a>; data:",
          name, name, name, name, name);
  for (int i = 0; csv[i]; i++) fprintf(page, "%s <a href=\"figures/%s.csv\">%s</a>", i ? "," : "", csv[i], csv[i]);
  fputs(".</figcaption>\n</figure>\n", page);
}
