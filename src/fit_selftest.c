// fit_selftest.c: do the estimators find a law that is known, on this study's own grid, with this study's own noise?
//
// In: an analysis: its runs (N, D, C and which are seeds of one cell), its fitted surface and its noise. Out: for every
// estimate its mean error and how often its 10-90 % interval holds the true value, over losses drawn from that surface.
// Noise has two parts, as the study's has: what a run adds (the pooled sd between seeds) and what the runs of a cell
// share (the rest of the residuals about the parabolas). The truth is what the surface says: its exponents, its optima
// at the budgets under the study's own cost of a token, the law through them. Approach 1 reads whole training curves:
// each run's own keeps its shape and is moved so that it ends on the drawn loss. The surface is refitted from the true
// parameters, not from 4,500 starts. The invariant: draw i depends on the analysis and i alone, so results are the same
// for any number of threads. Reference: Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 12 (coverage).
#include "fit.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double Z80 = 1.2815515655446004;  // 90th percentile of the normal distribution

// ---- What is estimated, and what is true ------------------------------------------------------------------

// The fits of one drawn study.
typedef struct Work {
  Envelope envelope;
  IsoFit iso;
  Frontier frontier;
  SurfaceFit surface;
} Work;

// Every estimate in the order of the rows. Of a fit with no such estimate: NaN.
static int estimates(Interval *out, const Work *w, bool curves) {
  static const Interval none = {NAN, NAN, NAN};
  const IsoFit *iso = &w->iso;
  const Frontier *frontier = &w->frontier;
  const SurfaceFit *surface = &w->surface;
  int n = 0;
  if (curves) out[n++] = w->envelope.ok ? w->envelope.n_law.exponent : none;
  if (curves) out[n++] = w->envelope.ok ? w->envelope.d_law.exponent : none;
  out[n++] = iso->law ? iso->n_law.exponent : none;
  out[n++] = iso->law ? iso->d_law.exponent : none;
  for (int i = 0; i < iso->n; i++) out[n++] = iso->v[i].flag == VALLEY_OK ? iso->v[i].n_opt : none;
  out[n++] = frontier->law ? frontier->n_law.exponent : none;
  out[n++] = frontier->law ? frontier->d_law.exponent : none;
  for (int i = 0; i < SURFACE_QUANTITIES; i++)
    out[n++] = surface->ok ? surface_interval(surface, surface_quantities[i].of) : none;
  return n;
}

static void row(SelfTest *t, const char *approach, const char *quantity, const char *at, double truth, bool relative) {
  SelfTestRow *r = &t->row[t->rows++];
  assert(t->rows <= SELFTEST_ROWS);
  *r = (SelfTestRow){.approach = approach, .truth = truth, .relative = relative};
  snprintf(r->quantity, sizeof r->quantity, "%s%s%s", quantity, *at ? "@" : "", at);
}

// Sizes and the scale-like parameters are judged by their logarithm, exponents as they are.
static void rows_make(SelfTest *t, const Analysis *a) {
  const Frontier *f = &a->frontier;
  const double truth[2] = {f->law ? f->n_law.exponent.value : NAN, f->law ? f->d_law.exponent.value : NAN};
  for (int j = 0; j < 2 && a->ranking; j++) row(t, "1", j ? "b" : "a", "", truth[j], false);
  for (int j = 0; j < 2; j++) row(t, "2", j ? "b" : "a", "", truth[j], false);
  for (int i = 0; i < a->iso.n; i++) {
    double N, D;
    bool found = surface_optimum(&a->surface.s, &f->cost, a->iso.v[i].C, &N, &D);
    row(t, "2", "N_opt", text_budget(a->iso.v[i].budget), found ? N : NAN, true);
  }
  for (int j = 0; j < 2; j++) row(t, "3-frontier", j ? "b" : "a", "", truth[j], false);
  for (int i = 0; i < SURFACE_QUANTITIES; i++) {
    const SurfaceQuantity *q = &surface_quantities[i];
    row(t, "3", q->name, "", q->of(&a->surface.s), strlen(q->name) == 1 && strchr("EABG", *q->name));
  }
}

// ---- Drawing a study --------------------------------------------------------------------------------------

// The study's points with drawn losses; those of no law are none of them.
static void points_draw(Points *ps, const SelfTest *t, const Surface *truth, int draw, double *loss) {
  losses_draw(loss, ps, truth, &(Noise){t->run_sd, t->cell_sd}, 0x73656c6674657374u, draw);
  for (int i = 0; i < ps->n; i++) {
    Point *p = &ps->p[i];
    p->below = false, p->L = loss[i];
    if (!(p->L > 0)) p->used = false;
  }
  points_seed_noise(ps);
}

// Approach 1 on the study's curves, moved to the drawn losses.
static int draw_envelope(Work *w, const Analysis *a, const Points *ps, double *loss, Err *e) {
  Envelope *f = &w->envelope;
  const Noise noise = points_noise(ps, &w->iso, &w->surface);
  law_clear(&f->n_law), law_clear(&f->d_law);
  ranking_shift(a->ranking, ps, loss, loss);
  ranking_winners(a->ranking, ps, loss, f->p);
  f->ok = envelope_laws(&f->n_law, &f->d_law, -1, f->p, 0, ENVELOPE_POINTS);
  return envelope_bootstrap(f, a->ranking, ps, &w->surface, &w->frontier, &noise, SELFTEST_RESAMPLES, e);
}

// All estimates of one drawn study.
static int draw_fit(Interval *out, const SelfTest *t, const Analysis *a, int draw, Err *e) {
  Points ps = a->points;
  *e = (Err){0};
  Work *w = mem_new(sizeof *w, "a drawn study", e);
  ps.p = mem_new(sizeof(Point) * (size_t)(ps.n + 1), "points of a drawn study", e);
  double *loss = mem_new(sizeof *loss * (size_t)(ps.n + 1), "losses of a drawn study", e);
  if (e->code) goto done;
  memcpy(ps.p, a->points.p, sizeof(Point) * (size_t)ps.n);
  points_draw(&ps, t, &a->surface.s, draw, loss);
  if (surface_refit(&w->surface, &a->surface.s, &ps, SELFTEST_RESAMPLES, e) ||
      frontier_fit(&w->frontier, &w->surface, &ps, a->frontier.n, a->frontier.C, e) ||
      valleys_fit(&w->iso, &ps, a->levelled ? &w->surface : NULL, a->iso.cv, SELFTEST_RESAMPLES, e) ||
      (a->ranking && draw_envelope(w, a, &ps, loss, e)))
    goto done;
  estimates(out, w, a->ranking != NULL);
done:
  free(loss);
  free(ps.p);
  free(w);
  return e->code;
}

// ---- Bias and coverage ------------------------------------------------------------------------------------

// Wilson's interval of a share of n at 80 %: holds at 0 and 1, too.
static Interval share(int hits, int n) {
  if (!n) return (Interval){NAN, NAN, NAN};
  double p = (double)hits / n, z2 = Z80 * Z80 / n;
  double mid = (p + z2 / 2) / (1 + z2), half = sqrt(z2 * (p * (1 - p) + z2 / 4)) / (1 + z2);
  return (Interval){p, mid - half, mid + half};
}

static void row_judge(SelfTestRow *r, const Interval *estimate, size_t stride, int draws, double *error) {
  int hits = 0;
  double sum = 0;
  for (int i = 0; i < draws; i++) {
    Interval x = estimate[(size_t)i * stride];
    error[i] = NAN;
    if (isnan(x.value) || isnan(x.p10) || isnan(r->truth)) continue;
    error[i] = r->relative ? log(x.value / r->truth) : x.value - r->truth;
    hits += x.p10 <= r->truth && r->truth <= x.p90;
    sum += error[i];
    r->width += x.p90 - x.p10;
    r->draws++;
  }
  r->bias = bootstrap_interval(r->draws ? sum / r->draws : NAN, error, draws);
  r->width /= r->draws;
  r->coverage = share(hits, r->draws);
}

int selftest_run(SelfTest *t, const Analysis *a, const Noise *noise, int draws, Err *e) {
  assert(draws >= 0 && draws <= SELFTEST_MAX);
  *t = (SelfTest){0};
  *e = (Err){0};
  if (!draws || !a->surface.ok || !a->frontier.ok) return OK;
  const Noise own = points_noise(&a->points, &a->iso, &a->surface);
  t->run_sd = noise ? noise->run : own.run, t->cell_sd = noise ? noise->cell : own.cell;
  t->surface_sd = surface_sd(&a->surface, &a->points);
  rows_make(t, a);
  Interval *estimate = mem_new(sizeof *estimate * (size_t)(draws * t->rows), "self-test", e);
  double *error = mem_new(sizeof *error * (size_t)draws, "self-test", e);
#pragma omp parallel for schedule(dynamic, 1)
  for (int i = 0; i < (e->code ? 0 : draws); i++) {
    Err mine;
    if (draw_fit(estimate + i * t->rows, t, a, i, &mine)) {
#pragma omp critical
      *e = mine;
    }
  }
  if (!e->code) {
    t->draws = draws;
    for (int j = 0; j < t->rows; j++) row_judge(&t->row[j], estimate + j, (size_t)t->rows, draws, error);
  }
  free(estimate);
  free(error);
  return e->code;
}

const SelfTestRow *selftest_row(const SelfTest *t, const char *approach, const char *quantity) {
  for (int i = 0; i < t->rows && t->draws; i++)
    if (!strcmp(t->row[i].approach, approach) && !strcmp(t->row[i].quantity, quantity)) return &t->row[i];
  return NULL;
}

bool selftest_misfit(const SelfTest *t) { return t->surface_sd > 1.5 * hypot(t->run_sd, t->cell_sd); }
