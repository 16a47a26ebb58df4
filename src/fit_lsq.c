// fit_lsq.c: linear least squares for a handful of coefficients.
//
// In: a design matrix X [n][p] and targets y [n]. Out: the coefficients, the residual sum of squares, and the diagonal
// of (X'X)^-1 for standard errors. Householder QR (Golub & Van Loan, Matrix Computations, alg. 5.3.2), so the condition
// number enters once and not squared as with normal equations. In plain serial C, and not LAPACK, because the bootstrap
// needs the same bits for any number of BLAS threads, on problems of ten rows and three columns.
#include "fit.h"
#include <assert.h>
#include <math.h>

bool lsq_solve(int n, int p, double *X, double *y, double *beta, double *rss, double *var) {
  assert(p >= 1 && p <= LSQ_MAX);
  if (n < p) return false;
  double R[LSQ_MAX][LSQ_MAX] = {{0}};
  for (int k = 0; k < p; k++) {
    // The reflection H = I - 2 v v' / v'v sends column k, below row k, to (s, 0, ..., 0).
    double norm = 0, whole = 0;
    for (int i = 0; i < n; i++) whole = hypot(whole, i < k ? R[i][k] : X[i * p + k]);
    for (int i = k; i < n; i++) norm = hypot(norm, X[i * p + k]);
    if (!(norm > 1e-13 * whole)) return false;
    double s = X[k * p + k] > 0 ? -norm : norm;
    X[k * p + k] -= s;
    double vv = 0;
    for (int i = k; i < n; i++) vv += X[i * p + k] * X[i * p + k];
    R[k][k] = s;
    for (int j = k + 1; j <= p; j++) {  // column p stands for y
      double dot = 0;
      for (int i = k; i < n; i++) dot += X[i * p + k] * (j < p ? X[i * p + j] : y[i]);
      for (int i = k; i < n; i++) *(j < p ? &X[i * p + j] : &y[i]) -= 2 * dot / vv * X[i * p + k];
      if (j < p) R[k][j] = X[k * p + j];
    }
  }
  *rss = 0;
  for (int i = p; i < n; i++) *rss += y[i] * y[i];
  for (int k = p - 1; k >= 0; k--) {
    beta[k] = y[k];
    for (int j = k + 1; j < p; j++) beta[k] -= R[k][j] * beta[j];
    beta[k] /= R[k][k];
  }
  if (!var) return true;
  // (X'X)^-1 = R^-1 R^-T: its diagonal is the squared row norms of R^-1, found by a column of the identity at a time.
  for (int k = 0; k < p; k++) var[k] = 0;
  for (int c = 0; c < p; c++) {
    double z[LSQ_MAX];
    for (int k = p - 1; k >= 0; k--) {
      z[k] = k == c;
      for (int j = k + 1; j < p; j++) z[k] -= R[k][j] * z[j];
      z[k] /= R[k][k];
      var[k] += z[k] * z[k];
    }
  }
  return true;
}
