// fit_bootstrap.c: which runs a resample holds, and the interval that a set of resampled estimates spans.
//
// In: the number of a resample and of a stratum (a budget). Out: which runs it draws, with replacement. The
// invariant: a pure function of these numbers, so intervals do not depend on threads, order or other strata.
// Reference: Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 6 (resampling) and 13 (percentile
// intervals).
#include "fit.h"
#include <math.h>
#include <stdlib.h>

void bootstrap_draw(int resample, int stratum, int n, int *pick) {
  uint64_t seed = rng_u64(rng_u64(0x69736f666c6f70u, (uint64_t)resample), (uint64_t)stratum);
  for (int j = 0; j < n; j++) pick[j] = (int)(rng_uniform(seed, (uint64_t)j) * n);
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

// Linear between order statistics (Hyndman & Fan 1996, type 7).
static double quantile(const double *sorted, int n, double q) {
  double at = q * (n - 1);
  int i = (int)at;
  return i + 1 < n ? sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

Interval bootstrap_interval(double value, double *draws, int n) {
  int kept = 0;
  for (int i = 0; i < n; i++)
    if (!isnan(draws[i])) draws[kept++] = draws[i];
  if (kept < 10 || 2 * kept < n) return (Interval){value, NAN, NAN};
  qsort(draws, (size_t)kept, sizeof *draws, by_value);
  return (Interval){value, quantile(draws, kept, .1), quantile(draws, kept, .9)};
}
