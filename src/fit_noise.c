// fit_noise.c: the noise of a study's losses, and losses drawn with it from a surface.
//
// In: points, their parabolas and their surface. Out: how much a run's loss scatters, in the part that its seed makes and
// the part that the runs of a cell share; a study's losses as they might have come out. The invariant: a draw is a
// function of the points, the surface, the noise and its number.
#include "fit.h"
#include <math.h>

// Where there are parabolas, residuals about them: what the surface leaves beyond is its misfit, not noise. Through k
// cells of m runs each, a parabola leaves a sum of squares of (m k - 3) run^2 + m (k - 3) cell^2 on average.
Noise points_noise(const Points *ps, const IsoFit *iso, const SurfaceFit *surface) {
  double rss = 0, runs = 0, cells = 0;
  for (int i = 0; i < iso->n; i++) {
    const Valley *v = &iso->v[i];
    if (v->flag == VALLEY_FEW || v->below) continue;
    rss += v->q.rss, runs += v->runs - 3, cells += (v->sizes - 3) * (double)v->runs / v->sizes;
  }
  if (!(cells > 0)) runs = cells = 1, rss = pow(surface_sd(surface, ps), 2);
  const double run = ps->seed_cells ? ps->seed_sd : sqrt(rss / runs);
  return (Noise){run, sqrt(fmax(0, (rss - run * run * runs) / cells))};
}

void losses_draw(double *loss, const Points *ps, const Surface *truth, const Noise *noise, uint64_t stream, int draw) {
  const uint64_t seed = rng_u64(stream, (uint64_t)draw), runs = rng_u64(seed, 0), cells = rng_u64(seed, 1);
  for (int i = 0, cell = 0; i < ps->n; i++) {
    const Point *p = &ps->p[i];
    if (i && !point_same_cell(p, p - 1)) cell = i;
    loss[i] = p->used ? surface_at(truth, p->N, p->D) + noise->run * rng_normal(runs, (uint64_t)i) +
                            noise->cell * rng_normal(cells, (uint64_t)cell)
                      : NAN;
  }
}
