// fit_curvature.c: is the frontier bent? (Fig A5 of Hoffmann et al. 2022)
//
// In: an analysis with curves and a surface. Out: the exponent of N_opt along the first, middle and last third of the
// envelope's points; the same along envelopes of a known, unbent frontier on the same grid of sizes and horizons: every
// curve keeps its shape and is moved so that it ends on the fitted surface, plus noise. A few sizes and horizons
// make stairs of the envelope, whose slope by thirds differs although the frontier's does not: only a difference from
// that null is curvature. The same draws give the intervals: their errors are taken off (law_pivot). The invariant: a draw depends on the analysis and its number alone.
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

int curvature_fit(Curvature *f, const Analysis *a, Err *e) {
  *f = (Curvature){0}, *e = (Err){0};
  if (!a->envelope.ok || !a->surface.ok || !a->frontier.ok) return OK;
  const size_t n = (size_t)a->points.n + 1;
  typedef struct Work {
    EnvelopePoint p[ENVELOPE_POINTS];
  } Work;
  Work *work = mem_new(sizeof *work * RESAMPLES, "thirds of the envelope", e);
  double *loss = mem_new(sizeof(double) * n * RESAMPLES, "thirds of the envelope", e);
  if (!work || !loss) goto done;
  for (int j = 0; j < 3; j++) law_clear(&f->law[j]);
#pragma omp parallel for schedule(static)
  for (int r = 0; r < RESAMPLES; r++) {
    double *mine = loss + n * (size_t)r;
    losses_draw(mine, &a->points, &a->surface.s, &a->noise, 0x6e756c6cu, r);
    ranking_shift(a->ranking, &a->points, mine, mine);
    ranking_winners(a->ranking, &a->points, mine, work[r].p);
    thirds_fit(f, r, work[r].p);
  }
  thirds_fit(f, -1, a->envelope.p);
  bounds_find(f, a->envelope.p);
  f->ok = true;
  for (int j = 0; j < 3; j++) {
    PowerLaw *l = &f->law[j];
    double null[RESAMPLES], sum = 0;
    int kept = 0;
    f->surface[j] = frontier_slope(a, f->C[j], f->C[j + 1]);
    for (int r = 0; r < RESAMPLES; r++) {
      null[r] = l->draw_exponent[r];
      if (!isnan(null[r])) sum += null[r], kept++;
    }
    f->null[j] = bootstrap_interval(kept ? sum / kept : NAN, null, RESAMPLES);
    law_pivot(l, NAN, f->surface[j], 1, RESAMPLES);
    f->ok = f->ok && !isnan(l->exponent.value) && !isnan(f->null[j].p10);
  }
done:
  free(work), free(loss);
  return e->code;
}
