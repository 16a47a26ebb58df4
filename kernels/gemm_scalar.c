// gemm_scalar.c: the micro-kernel in portable C, for any CPU; compilers vectorise its inner loop with what the base
// instruction set has. Same contract as every micro-kernel (kernels.h): C[m x n] = or += A B, one serial chain per
// element. Without hardware FMA a step of the chain is a rounded product and a rounded sum.
#include "ukr.h"

enum { MR = 4, NR = 8 };

// A full-width row block keeps its tile in registers; anything narrower takes the plain loops below.
static inline __attribute__((always_inline)) void tile(int m, int n, int k, const float *a, ptrdiff_t a_rs,
                                                       ptrdiff_t a_cs, const float *b, ptrdiff_t ldb, float *c,
                                                       ptrdiff_t ldc, int accumulate) {
  float t[2 * MR][NR];
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) t[i][j] = accumulate ? c[i * ldc + j] : 0;
  for (int kk = 0; kk < k; kk++)
    for (int i = 0; i < m; i++)
      for (int j = 0; j < n; j++) t[i][j] += a[i * a_rs + kk * a_cs] * b[kk * ldb + j];
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) c[i * ldc + j] = t[i][j];
}

void gemm_ukr_4x8_scalar(int m, int n, int k, const float *a, ptrdiff_t a_rs, ptrdiff_t a_cs, const float *b,
                         ptrdiff_t ldb, float *c, ptrdiff_t ldc, int accumulate) {
  if (m == MR && n == NR) tile(MR, NR, k, a, a_rs, a_cs, b, ldb, c, ldc, accumulate);
  else tile(m, n, k, a, a_rs, a_cs, b, ldb, c, ldc, accumulate);
}

double fma_burst_scalar(int rounds) {
  enum { N = 48 };  // independent sums, as many as the base instruction set can keep in flight
  volatile float half = 0.5f;
  const float x = half;
  float t[N] = {0};
  for (int r = 0; r < rounds; r++)
    for (int i = 0; i < N; i++) t[i] += t[i] * x;
  half = t[0];
  for (int i = 1; i < N; i++) half += t[i];
  return 2.0 * N * rounds;
}
