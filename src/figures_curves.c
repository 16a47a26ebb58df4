// figures_curves.c: Fig 2 of Hoffmann et al. 2022: training curves and their lower envelope.
//
// In: a study with curves and an envelope. Out, in DIR/figures: fig2_curves.csv (smoothed training loss of each run at
// some 48 log-even points), fig2_envelope.csv (the winner at each compute, and whether it enters the laws), the
// scripts, SVG and PNG. The invariant: what is drawn is what Approach 1 saw: the same smoothing, the same winners.
#include "figures.h"
#include <math.h>

enum { CURVE_STEPS = 48 };
static const double FROM = .02;  // of a run's tokens; before, its loss only falls from that of a guess

bool figures_has_curves(const StudyFit *s) { return s->a[0].envelope.ok && s->a[0].envelope.count[ENVELOPE_USED] > 1; }

static const Curve *curve_of(const StudyFit *s, const Point *p) {
  const Curve *c = &s->curves.c[p->run - s->records->r];
  return p->used && c->n >= 2 ? c : NULL;
}

enum { SIZE_COLORS = 12 };
static int size_color(const Points *ps, double N) {
  double lo = INFINITY, hi = 0;
  for (int i = 0; i < ps->n; i++)
    if (ps->p[i].used) lo = fmin(lo, ps->p[i].N), hi = fmax(hi, ps->p[i].N);
  int i = hi > lo ? (int)(log(N / lo) / log(hi / lo) * SIZE_COLORS) : 0;
  return i < SIZE_COLORS ? i : SIZE_COLORS - 1;
}

// Also finds what the axes must show: compute from c0 to c1, losses from l0 to where the worst run ends, l1.
static int curves_csv(const StudyFit *s, const char *dir, double *c0, double *c1, double *l0, double *l1, Err *e) {
  const Points *ps = &s->a[0].points;
  OutFile o;
  if (figures_open(&o, dir, "fig2_curves.csv", e)) return e->code;
  fputs("color,run_id,N,C,loss\n", o.f);
  *c0 = *l0 = INFINITY, *c1 = *l1 = 0;
  for (int color = 0; color < SIZE_COLORS; color++)
    for (int i = 0; i < ps->n; i++) {
      const Point *p = &ps->p[i];
      const Curve *c = curve_of(s, p);
      if (!c || size_color(ps, p->N) != color) continue;
      double next = FROM * p->D, loss = NAN;
      for (int k = 0; k < c->n; k++) {
        if (c->tokens[k] < next && k + 1 < c->n) continue;
        double C = c->tokens[k] * p->C / p->D;
        next = c->tokens[k] * pow(1 / FROM, 1. / CURVE_STEPS);
        loss = curve_smooth_at(c, k, curve_width(p));
        fprintf(o.f, "%d,%s,%.17g,%.17g,%.17g\n", color, p->run->id, p->N, C, loss);
        *c0 = fmin(*c0, C), *c1 = fmax(*c1, C);
      }
      *l0 = fmin(*l0, loss), *l1 = fmax(*l1, loss);
      fputc('\n', o.f);  // lifts gnuplot's pen
    }
  return out_commit(&o, e);
}

static int envelope_csv(const StudyFit *s, const char *dir, Err *e) {
  const Envelope *x = &s->a[0].envelope;
  OutFile o;
  if (figures_open(&o, dir, "fig2_envelope.csv", e)) return e->code;
  fputs("C,N,D,loss,run_id,used,color\n", o.f);
  for (int k = 0; k < ENVELOPE_POINTS; k++) {
    const EnvelopePoint *q = &x->p[k];
    if (q->kind == ENVELOPE_NONE) continue;
    fprintf(o.f, "%.17g,%.17g,%.17g,%.17g,%s,%d,%d\n", q->C, q->N, q->D, q->L, s->a[0].points.p[q->point].run->id,
            q->kind == ENVELOPE_USED, size_color(&s->a[0].points, q->N));
  }
  return out_commit(&o, e);
}

static int curves_gp(const char *dir, const Panel *p, Err *e) {
  OutFile o;
  const int n = SIZE_COLORS;
  if (figures_script(&o, dir, p, e)) return e->code;
  figures_axes(o.f, p, "Training curves", "Training FLOPs", "Training loss (nats per token)", false);
  fputs("plot \\\n", o.f);
  for (int i = 0; i < n; i++) {
    char hex[8];
    figures_color(i, n, hex);
    fprintf(o.f,
            "  'fig2_curves.csv' using (column('color') == %d ? column('C') : NaN):'loss' with lines lw .7 lc rgb "
            "'%s', \\\n",
            i, hex);
  }
  fputs(
      "  'fig2_envelope.csv' using 'C':'loss' with lines lw 1 lc rgb '#20242a', \\\n"
      "  'fig2_envelope.csv' using 'C':(column('used') == 1 ? column('loss') : NaN) with lines lw 3 lc rgb '#20242a'\n",
      o.f);
  return out_commit(&o, e);
}

static int law_gp(const StudyFit *s, const char *dir, const Panel *p, bool params, Err *e) {
  const Envelope *x = &s->a[0].envelope;
  const PowerLaw *law = params ? &x->n_law : &x->d_law;
  const int n = SIZE_COLORS;
  OutFile o;
  if (figures_script(&o, dir, p, e)) return e->code;
  figures_axes(o.f, p, params ? "Size along the envelope" : "Tokens along the envelope", "Training FLOPs",
               params ? "Parameters" : "Tokens", false);
  fputs("set key top left reverse Left samplen 2 spacing 1.25 tc rgb '#20242a'\nplot \\\n", o.f);
  for (int i = 0; i < n; i++) {
    char hex[8];
    figures_color(i, n, hex);
    fprintf(o.f,
            "  'fig2_envelope.csv' using 'C':(column('color') == %d && column('used') == 1 ? column('%c') : NaN) with "
            "points pt 7 ps .45 lc rgb '%s' notitle, \\\n",
            i, params ? 'N' : 'D', hex);
  }
  fprintf(o.f, "  %.17g * x ** %.17g with lines lw 1.8 lc rgb '#20242a' title 'this study: C^{%.3f}'\n", law->k.value,
          law->exponent.value, law->exponent.value);
  return out_commit(&o, e);
}

int figures_curves(const StudyFit *s, const char *dir, Panel p[FIG2_PANELS], Err *e) {
  const Envelope *x = &s->a[0].envelope;
  double c0, c1, l0, l1, lo[2] = {INFINITY, INFINITY}, hi[2] = {0};
  if (curves_csv(s, dir, &c0, &c1, &l0, &l1, e)) return e->code;
  double u0 = INFINITY, u1 = 0;
  for (int k = 0; k < ENVELOPE_POINTS; k++) {
    const EnvelopePoint *q = &x->p[k];
    if (q->kind != ENVELOPE_USED) continue;
    u0 = fmin(u0, q->C), u1 = fmax(u1, q->C);
    lo[0] = fmin(lo[0], q->N), hi[0] = fmax(hi[0], q->N), lo[1] = fmin(lo[1], q->D), hi[1] = fmax(hi[1], q->D);
  }
  double pad = .06 * (l1 - l0) + 1e-3;
  p[PANEL_CURVES] = (Panel){
      "fig2_curves", 900, 500, .085, .975, .125, .925, c0, c1 * 1.2, l0 - pad, l1 + .6 * (l1 - l0) + pad, false, false};
  for (int j = 0; j < 2; j++) {
    p[PANEL_CURVE_PARAMS + j] =
        (Panel){"", 560, 420, .125, .965, .145, .915, u0 / 1.3, u1 * 1.3, lo[j] / 1.5, hi[j] * 1.8, true, false};
    snprintf(p[PANEL_CURVE_PARAMS + j].name, sizeof p->name, "%s", j ? "fig2_tokens" : "fig2_params");
  }
  if (envelope_csv(s, dir, e) || curves_gp(dir, &p[PANEL_CURVES], e) ||
      law_gp(s, dir, &p[PANEL_CURVE_PARAMS], true, e) || law_gp(s, dir, &p[PANEL_CURVE_TOKENS], false, e))
    return e->code;
  static const double left[] = {.045, .445, .755}, right[] = {.385, .69, .99};
  return figures_draw(dir, "fig2", p, FIG2_PANELS, 1500, 470, left, right, e);
}
