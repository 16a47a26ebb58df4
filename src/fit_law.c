// fit_law.c: power laws y = k C^exponent, which every approach ends in.
//
// In: points (ln C, ln y). Out: k and exponent by least squares in the logarithms, and their intervals from the same
// fit to resampled points. The invariant: value and draws come from one function, so an interval belongs to its value.
// Reference: Davison & Hinkley 1997, Bootstrap Methods and their Application, section 5.2 (basic intervals).
#include "fit.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>

void law_clear(PowerLaw *l) {
  *l = (PowerLaw){{NAN, NAN, NAN}, {NAN, NAN, NAN}, .r2 = NAN};
  for (int r = 0; r < RESAMPLES; r++) l->draw_logk[r] = l->draw_exponent[r] = NAN;
}

bool law_fit(PowerLaw *l, int r, int n, const double *logc, const double *logy) {
  if (n < 2) return false;
  double *X = malloc(sizeof(double) * 3 * (size_t)n), *t = X + 2 * n, beta[2], rss, mean = 0, total = 0;
  if (!X) mem_none("power law");
  for (int i = 0; i < n; i++) X[2 * i] = 1, X[2 * i + 1] = logc[i], t[i] = logy[i], mean += logy[i] / n;
  for (int i = 0; i < n; i++) total += (logy[i] - mean) * (logy[i] - mean);
  bool good = lsq_solve(n, 2, X, t, beta, &rss, NULL);
  free(X);
  if (!good) return false;
  if (r >= 0)
    l->draw_logk[r] = beta[0], l->draw_exponent[r] = beta[1];
  else
    l->k.value = exp(beta[0]), l->exponent.value = beta[1], l->r2 = total > 0 ? 1 - rss / total : NAN;
  return true;
}

void law_intervals(PowerLaw *l, int resamples) {
  double t[RESAMPLES];
  for (int r = 0; r < resamples; r++) t[r] = exp(l->draw_logk[r]);
  l->k = bootstrap_interval(l->k.value, t, resamples);
  for (int r = 0; r < resamples; r++) t[r] = l->draw_exponent[r];
  l->exponent = bootstrap_interval(l->exponent.value, t, resamples);
}

void law_pivot(PowerLaw *l, double logk, double exponent, double wider, int resamples) {
  const double value = log(l->k.value);
  for (int r = 0; r < resamples; r++) {
    l->draw_logk[r] = value - wider * (l->draw_logk[r] - logk);
    l->draw_exponent[r] = l->exponent.value - wider * (l->draw_exponent[r] - exponent);
  }
  law_intervals(l, resamples);
}

Interval law_at(const PowerLaw *l, double C) {
  double t[RESAMPLES], value = l->k.value * pow(C, l->exponent.value);
  for (int r = 0; r < RESAMPLES; r++) t[r] = exp(l->draw_logk[r] + l->draw_exponent[r] * log(C));
  return bootstrap_interval(value, t, RESAMPLES);
}
