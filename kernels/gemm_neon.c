// gemm_neon.c: the micro-kernel for 64-bit ARM, one tile of C in registers. Same contract and same chains as
// tile.inc, hence the same bits.
//
// 6 rows x 4 vectors of 4 floats = 24 accumulators of the 32 registers leave room for 4 vectors of B and a broadcast of
// A. A narrow C (n <= 8) takes 12 rows x 2 vectors. NEON has no masks: the lanes of a last, partial vector are moved
// one by one, outside of the loop over k where they are C's, inside where they are B's.
#if defined __aarch64__
#include <arm_neon.h>
#include "ukr.h"

enum { MR = 6, MR_NARROW = 12 };

// The first n lanes, n <= 0 for none and >= 4 for all; the others 0, or not written.
INLINE float32x4_t get(const float *p, int n) {
  if (n >= 4) return vld1q_f32(p);
  float32x4_t x = vdupq_n_f32(0);
  if (n > 0) x = vld1q_lane_f32(p, x, 0);
  if (n > 1) x = vld1q_lane_f32(p + 1, x, 1);
  if (n > 2) x = vld1q_lane_f32(p + 2, x, 2);
  return x;
}
INLINE void put(float *p, int n, float32x4_t x) {
  if (n >= 4) {
    vst1q_f32(p, x);
    return;
  }
  if (n > 0) vst1q_lane_f32(p, x, 0);
  if (n > 1) vst1q_lane_f32(p + 1, x, 1);
  if (n > 2) vst1q_lane_f32(p + 2, x, 2);
}

// The tile t, of m rows and n <= 4 vectors columns.
INLINE void tile(int m, int vectors, int n, const Tile *t) {
  const float *a = t->a, *b = t->b;
  float *const c = t->c;
  const ptrdiff_t a_rs = t->a_rs, a_cs = t->a_cs, ldb = t->ldb, ldc = t->ldc;
  float32x4_t acc[MR_NARROW][4];
  UNROLL for (int i = 0; i < m; i++)
    UNROLL for (int v = 0; v < vectors; v++)
      acc[i][v] = t->accumulate ? get(c + i * ldc + 4 * v, n - 4 * v) : vdupq_n_f32(0);
  for (int k = t->k; k > 0; k--, a += a_cs, b += ldb) {
    float32x4_t bv[4];
    UNROLL for (int v = 0; v < vectors; v++) bv[v] = get(b + 4 * v, n - 4 * v);
    UNROLL for (int i = 0; i < m; i++) {
      const float32x4_t ai = vld1q_dup_f32(a + i * a_rs);
      UNROLL for (int v = 0; v < vectors; v++) acc[i][v] = vfmaq_f32(acc[i][v], ai, bv[v]);
    }
  }
  UNROLL for (int i = 0; i < m; i++)
    UNROLL for (int v = 0; v < vectors; v++) put(c + i * ldc + 4 * v, n - 4 * v, acc[i][v]);
}

#define CASE(m_, vectors, n_) case m_: tile(m_, vectors, n_, &t); break;
#define CASES_6(v_, n_) CASE(1, v_, n_) CASE(2, v_, n_) CASE(3, v_, n_) CASE(4, v_, n_) CASE(5, v_, n_) CASE(6, v_, n_)
#define CASES_12(v_, n_) \
  CASES_6(v_, n_) CASE(7, v_, n_) CASE(8, v_, n_) CASE(9, v_, n_) CASE(10, v_, n_) CASE(11, v_, n_) CASE(12, v_, n_)

int gemm_ukr_6x16_neon(const Tile *first) {
  for (Tile t = *first; t.strips > 0; t.strips--, t.a += t.a_strip) {
    t.b = first->b, t.c = first->c + (first->strips - t.strips) * t.m * t.ldc;
    for (int j = 0; j < t.across; j++, t.b += t.b_across, t.c += t.n) {
      if (t.n == 16) switch (t.m) { CASES_6(4, 16) }
      else if (t.n > 8) switch (t.m) { CASES_6(4, t.n) }
      else if (t.n == 8) switch (t.m) { CASES_12(2, 8) }
      else switch (t.m) { CASES_12(2, t.n) }
    }
  }
  return 0;
}

double fma_burst_neon(int rounds) {
  enum { N = 24 };
  float32x4_t t[N];
  const float32x4_t x = vdupq_n_f32(0.5f);
  UNROLL for (int i = 0; i < N; i++) t[i] = x;
  for (int r = 0; r < rounds; r++)
    UNROLL for (int i = 0; i < N; i++) {
      t[i] = vfmaq_f32(t[i], x, x);
      __asm__ volatile("" : "+w"(t[i]));  // kept: the compiler may not see that the loop has no use
    }
  return 2.0 * 4 * N * rounds;
}
#endif
