// gemm_scalar.c: the micro-kernel for any CPU, with what vectors its base instruction set has. Same contract as every
// micro-kernel (kernels.h): C[m x n] = or += A B, one serial chain per element. Without hardware FMA a step of the
// chain is a rounded product and a rounded sum.
#include <float.h>
#include <math.h>
#include <string.h>
#include "ukr.h"

enum { MR = 4, NR = 8 };

// 4 floats in GCC's vector extension: left to itself, gcc vectorises the tile along k and shuffles more than it adds.
typedef float Lanes __attribute__((vector_size(16), aligned(4), may_alias));

// A whole tile, in 8 registers.
static void tile_whole(const Tile *t) {
  const float *a = t->a, *b = t->b;
  Lanes acc[MR][2];
  UNROLL for (int i = 0; i < MR; i++)
    UNROLL for (int q = 0; q < 2; q++)
      acc[i][q] = t->accumulate ? *(const Lanes *)(t->c + i * t->ldc + 4 * q) : (Lanes){0};
  for (int k = 0; k < t->k; k++, a += t->a_cs, b += t->ldb) {
    const Lanes b0 = *(const Lanes *)b, b1 = *(const Lanes *)(b + 4);
    UNROLL for (int i = 0; i < MR; i++) {
      acc[i][0] += a[i * t->a_rs] * b0;
      acc[i][1] += a[i * t->a_rs] * b1;
    }
  }
  UNROLL for (int i = 0; i < MR; i++)
    UNROLL for (int q = 0; q < 2; q++) *(Lanes *)(t->c + i * t->ldc + 4 * q) = acc[i][q];
}

// An edge: the same chains in plain loops.
static void tile_edge(const Tile *t) {
  float acc[2 * MR][NR];
  for (int i = 0; i < t->m; i++)
    for (int j = 0; j < t->n; j++) acc[i][j] = t->accumulate ? t->c[i * t->ldc + j] : 0;
  for (int k = 0; k < t->k; k++)
    for (int i = 0; i < t->m; i++)
      for (int j = 0; j < t->n; j++) acc[i][j] += t->a[i * t->a_rs + k * t->a_cs] * t->b[k * t->ldb + j];
  for (int i = 0; i < t->m; i++)
    for (int j = 0; j < t->n; j++) t->c[i * t->ldc + j] = acc[i][j];
}

int gemm_ukr_4x8_scalar(const Tile *first) {
  for (Tile t = *first; t.strips > 0; t.strips--, t.a += t.a_strip) {
    t.b = first->b, t.c = first->c + (first->strips - t.strips) * t.m * t.ldc;
    for (int j = 0; j < t.across; j++, t.b += t.b_across, t.c += t.n) {
      if (t.m == MR && t.n == NR) tile_whole(&t);
      else tile_edge(&t);
    }
  }
  return 0;
}

// 16 words of each row at a time, so that both sides use whole lines.
void pack_t_scalar(Word *dst, int nr, const Word *src, ptrdiff_t ld, int k, int n) {
  for (int k0 = 0; k0 < k; k0 += 16) {
    const int k1 = k0 + 16 < k ? k0 + 16 : k;
    for (int j = 0; j < nr; j++)
      for (int kk = k0; kk < k1; kk++) dst[(ptrdiff_t)kk * nr + j] = j < n ? src[j * ld + kk] : 0;
  }
}

// ---- bf16 -----------------------------------------------------------------------------------------------------------

// A bf16 is the upper half of the float of the same value.
static Word bits(float x) {
  Word u;
  memcpy(&u, &x, sizeof u);
  return u;
}
static float value(Word u) {
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}
static float flushed(float x) { return fabsf(x) < FLT_MIN ? copysignf(0, x) : x; }

// To nearest, ties to even; a denormal becomes 0, a NaN stays one.
static Word rounded(float x) {
  const Word u = bits(flushed(x));
  return isnan(x) ? u >> 16 | 0x40 : (u + 0x7fff + (u >> 16 & 1)) >> 16;
}
void bf16_along_scalar(Word *dst, const float *x, int n) {
  for (int i = 0; i < n; i += 2) *dst++ = rounded(x[i]) | (i + 1 < n ? rounded(x[i + 1]) << 16 : 0);
}
void bf16_across_scalar(Word *dst, ptrdiff_t ld_dst, const float *x, ptrdiff_t ld, int k, int n) {
  for (; k > 0; k -= 2, dst += ld_dst, x += 2 * ld)
    for (int j = 0; j < n; j++) dst[j] = rounded(x[j]) | (k > 1 ? rounded(x[ld + j]) << 16 : 0);
}

void bf16_ukr_scalar(const Tile *t) {
  const Word *const a = (const Word *)t->a, *const b = (const Word *)t->b;
  for (int i = 0; i < t->m; i++)
    for (int j = 0; j < t->n; j++) {
      float *const c = t->c + i * t->ldc + j, sum = t->accumulate ? *c : 0;
      for (int p = 0; p < t->k; p++) {
        const Word x = a[i * t->a_rs + p * t->a_cs], y = b[p * t->ldb + j];
        sum = flushed(fmaf(value(x & 0xffff0000), value(y & 0xffff0000), flushed(sum)));
        sum = flushed(fmaf(value(x << 16), value(y << 16), sum));
      }
      *c = sum;
    }
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
