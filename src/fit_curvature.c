// fit_curvature.c: is the frontier bent? (Fig A5 of Hoffmann et al. 2022)
//
// In: an analysis with curves and a surface. Out: the exponent of N_opt along the first, middle and last third of the
// envelope's points; the same along envelopes of a known, unbent frontier on the same grid of sizes and horizons: every
// curve keeps its shape and is moved so that it ends on the fitted surface, plus seed noise. A few sizes and horizons
// make stairs of the envelope, whose slope by thirds differs although the frontier's does not: only a difference from
// that null is curvature. The invariant: a draw depends on the analysis and its number alone.
#include "fit.h"
#include <math.h>
#include <stdlib.h>

static int used_points(const EnvelopePoint *p) {
  int n = 0;
  for (int k = 0; k < ENVELOPE_POINTS; k++) n += p[k].kind == ENVELOPE_USED;
  return n;
}

static void thirds_fit(Curvature *f, int r, const EnvelopePoint *p) {
  const int n = used_points(p);
  for (int j = 0; j < 3; j++) envelope_laws(&f->law[j], NULL, r, p, n * j / 3, n * (j + 1) / 3);
}

static void bounds_find(Curvature *f, const EnvelopePoint *p) {
  const int n = used_points(p);
  for (int k = 0, used = 0; k < ENVELOPE_POINTS; k++) {
    if (p[k].kind != ENVELOPE_USED) continue;
    for (int j = 0; j < 3; j++)
      if (used == n * j / 3) f->C[j] = p[k].C;
    f->C[3] = p[k].C, used++;
  }
}

static double frontier_slope(const Analysis *a, double c0, double c1) {
  double N[2], D;
  for (int j = 0; j < 2; j++)
    if (!surface_optimum(&a->surface.s, &a->frontier.cost, j ? c1 : c0, &N[j], &D)) return NAN;
  return log(N[1] / N[0]) / log(c1 / c0);
}

static void surface_shift(const Analysis *a, uint64_t seed, double sd, double *shift) {
  for (int i = 0; i < a->points.n; i++) {
    const Point *p = &a->points.p[i];
    const double end = ranking_end(a->ranking, i);
    shift[i] = isnan(end) ? 0 : surface_at(&a->surface.s, p->N, p->D) - end + sd * rng_normal(seed, (uint64_t)i);
  }
}

int curvature_fit(Curvature *f, const Analysis *a, Err *e) {
  *f = (Curvature){0}, *e = (Err){0};
  if (!a->envelope.ok || !a->surface.ok || !a->frontier.ok) return OK;
  const size_t n = (size_t)a->points.n + 1;
  typedef struct Work {
    EnvelopePoint p[ENVELOPE_POINTS];
  } Work;
  Curvature *null = mem_new(sizeof *null, "thirds of the envelope", e);
  Work *work = mem_new(sizeof *work * RESAMPLES, "thirds of the envelope", e);
  double *shift = mem_new(sizeof(double) * n * RESAMPLES, "thirds of the envelope", e);
  int *take = mem_new(sizeof(int) * n * RESAMPLES, "thirds of the envelope", e);
  if (!null || !work || !shift || !take) goto done;
  for (int j = 0; j < 3; j++) law_clear(&f->law[j]), law_clear(&null->law[j]);
  const double sd = a->points.seed_cells ? a->points.seed_sd : 0;
#pragma omp parallel for schedule(static)
  for (int r = 0; r < RESAMPLES; r++) {
    double *mine = shift + n * (size_t)r;
    envelope_resample(&a->points, r, take + n * (size_t)r, mine);
    ranking_winners(a->ranking, &a->points, take + n * (size_t)r, mine, work[r].p);
    thirds_fit(f, r, work[r].p);
    if (r >= CURVATURE_DRAWS) continue;
    surface_shift(a, rng_u64(0x6e756c6cu, (uint64_t)r), sd, mine);
    ranking_winners(a->ranking, &a->points, NULL, mine, work[r].p);
    thirds_fit(null, r, work[r].p);
  }
  thirds_fit(f, -1, a->envelope.p);
  bounds_find(f, a->envelope.p);
  f->ok = true;
  for (int j = 0; j < 3; j++) {
    law_intervals(&f->law[j], RESAMPLES);
    f->surface[j] = frontier_slope(a, f->C[j], f->C[j + 1]);
    double sum = 0;
    int kept = 0;
    for (int r = 0; r < CURVATURE_DRAWS; r++)
      if (!isnan(null->law[j].draw_exponent[r])) sum += null->law[j].draw_exponent[r], kept++;
    f->null[j] = bootstrap_interval(kept ? sum / kept : NAN, null->law[j].draw_exponent, CURVATURE_DRAWS);
    f->ok = f->ok && !isnan(f->law[j].exponent.value) && !isnan(f->null[j].p10);
  }
done:
  free(null), free(work), free(shift), free(take);
  return e->code;
}
