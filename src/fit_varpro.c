// fit_varpro.c: variable projection: a second way to the surface, as a cross-check of fit_surface.c.
//
// In: points. Out: the surface with the least squared relative error, sum (L_fit / L - 1)^2. For given (alpha, beta) it
// is linear in (E, A, B), so the search is over two numbers, with non-negative least squares inside: no start can be
// wrong, and with columns scaled to length 1 the inner problem is well conditioned. The loss differs from Approach 3's
// (squares against Huber), so on noisy runs the two agree within their intervals and not in every digit; on noise-free
// runs they agree. Reference: Golub & Pereyra 1973, The differentiation of pseudo-inverses and nonlinear least squares
// problems whose variables separate (SIAM J. Numer. Anal. 10).
#include "fit.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>

typedef struct Work {
  int n;
  double x0, y0, *x, *y, *L;  // x = ln N - x0, y = ln D - y0
  double *X, *t;              // room for lsq_solve
} Work;

// Least squares with E, A, B >= 0: of three columns, so every set of columns is tried and the best feasible one kept.
// Returns the residual sum of squares.
static double inner(const Work *w, double alpha, double beta, Surface *best) {
  double least = INFINITY;
  for (int set = 1; set < 8; set++) {
    int p = 0, column[3];
    for (int j = 0; j < 3; j++)
      if (set >> j & 1) column[p++] = j;
    for (int i = 0; i < w->n; i++) {
      const double term[3] = {1, exp(-alpha * w->x[i]), exp(-beta * w->y[i])};
      for (int j = 0; j < p; j++) w->X[i * p + j] = term[column[j]] / w->L[i];
      w->t[i] = 1;
    }
    double c[3], all[3] = {0}, rss;
    if (!lsq_solve(w->n, p, w->X, w->t, c, &rss, NULL) || rss >= least) continue;
    bool feasible = true;
    for (int j = 0; j < p; j++) feasible = feasible && c[j] >= 0, all[column[j]] = c[j];
    if (!feasible) continue;
    least = rss;
    *best = (Surface){all[0], all[1] * exp(alpha * w->x0), all[2] * exp(beta * w->y0), alpha, beta};
  }
  return least;
}

// The outer search: the best of a log-even grid, then steps of all eight directions, halved when none helps.
static double outer(const Work *w, Surface *best) {
  enum { GRID = 16 };
  static const double LO = .02, HI = 2;
  double least = INFINITY, at[2] = {0};
  Surface s;
  for (int i = 0; i < GRID * GRID; i++) {
    double a = log(LO) + log(HI / LO) * (i % GRID) / (GRID - 1), b = log(LO) + log(HI / LO) * (i / GRID) / (GRID - 1);
    double rss = inner(w, exp(a), exp(b), &s);
    if (rss < least) least = rss, at[0] = a, at[1] = b, *best = s;
  }
  for (double step = log(HI / LO) / GRID; step > 1e-10;) {
    bool moved = false;
    for (int k = 0; k < 9; k++) {
      double a = at[0] + step * (k % 3 - 1), b = at[1] + step * (k / 3 - 1), rss = inner(w, exp(a), exp(b), &s);
      if (rss < least) least = rss, at[0] = a, at[1] = b, *best = s, moved = true, k = 9;
    }
    if (!moved) step /= 2;
  }
  return least;
}

int varpro_fit(VarproFit *f, const Points *ps, Err *e) {
  *f = (VarproFit){0};
  Work w = {.x = mem_new(sizeof(double) * 7 * (size_t)(ps->n + 1), "runs of the variable projection", e)};
  if (!w.x) return e->code;
  w.y = w.x + ps->n, w.L = w.y + ps->n, w.t = w.L + ps->n, w.X = w.t + ps->n;
  for (int i = 0; i < ps->n; i++)
    if (ps->p[i].used) w.x[w.n] = log(ps->p[i].N), w.y[w.n] = log(ps->p[i].D), w.L[w.n++] = ps->p[i].L;
  for (int i = 0; i < w.n; i++) w.x0 += w.x[i] / w.n, w.y0 += w.y[i] / w.n;
  for (int i = 0; i < w.n; i++) w.x[i] -= w.x0, w.y[i] -= w.y0;
  double rss = outer(&w, &f->s);
  f->rms = sqrt(rss / w.n);
  free(w.x);
  return OK;
}
