// gemm_avx2.c: the AVX2 + FMA micro-kernel, one tile of C in registers. The 256-bit twin of gemm_avx512.c: same
// contract, same chains, hence on a CPU that has both, the same bits.
//
// 6 rows x 2 vectors = 12 accumulators of the 16 registers leave room for two vectors of B and a broadcast of A. A
// narrow C (n <= 8) takes 12 rows x 1 vector. Lanes past the n-th are masked: neither read nor written.
#if defined __x86_64__
#include <immintrin.h>
#include "ukr.h"

enum { MR = 6, MR_NARROW = 12 };
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

// Row i of A's tile at a step k is base[i/5] + {0, rs, 2rs, 3rs, 4rs}[i%5]; see gemm_avx512.c.
typedef struct Rows { const char *base[3]; ptrdiff_t rs, rs3; } Rows;

INLINE Rows rows_new(int m, const float *a, ptrdiff_t a_rs) {
  Rows r = {.rs = a_rs * 4, .rs3 = a_rs * 12};
  __asm__("" : "+r"(r.rs), "+r"(r.rs3));
  UNROLL for (int g = 0; g < (m + 4) / 5; g++) {
    r.base[g] = (const char *)(a + 5 * g * a_rs);
    __asm__("" : "+r"(r.base[g]));
  }
  return r;
}
INLINE __m256 rows_get(const Rows *r, int i) {
  const char *p = r->base[i / 5];
  switch (i % 5) {
    case 0: return _mm256_broadcast_ss((const float *)p);
    case 1: return _mm256_broadcast_ss((const float *)(p + r->rs));
    case 2: return _mm256_broadcast_ss((const float *)(p + r->rs * 2));
    case 3: return _mm256_broadcast_ss((const float *)(p + r->rs3));
    default: return _mm256_broadcast_ss((const float *)(p + r->rs * 4));
  }
}
INLINE void rows_next(Rows *r, int m, ptrdiff_t a_cs) {
  UNROLL for (int g = 0; g < (m + 4) / 5; g++) r->base[g] += a_cs * 4;
}

static const int lanes[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
// mask of the first n lanes
INLINE __m256i first(int n) { return _mm256_loadu_si256((const __m256i *)(lanes + 8 - n)); }
INLINE __m256 get(const float *p, __m256i mask, int full) {
  return full ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, mask);
}
INLINE void put(float *p, __m256i mask, int full, __m256 x) {
  if (full) _mm256_storeu_ps(p, x);
  else _mm256_maskstore_ps(p, mask, x);
}

// m x (8 + up to 8); `full`: all 16 columns exist.
INLINE void tile_16(int m, int full, int n, int k, const float *a, ptrdiff_t a_rs, ptrdiff_t a_cs, const float *b,
                    ptrdiff_t ldb, float *c, ptrdiff_t ldc, int accumulate) {
  const __m256i mask = first(n - 8);
  __m256 t[MR][2];
  UNROLL for (int i = 0; i < m; i++) {
    t[i][0] = accumulate ? _mm256_loadu_ps(c + i * ldc) : _mm256_setzero_ps();
    t[i][1] = accumulate ? get(c + i * ldc + 8, mask, full) : _mm256_setzero_ps();
  }
  Rows r = rows_new(m, a, a_rs);
  for (int kk = 0; kk < k; kk++, b += ldb) {
    const __m256 b0 = _mm256_loadu_ps(b), b1 = get(b + 8, mask, full);
    UNROLL for (int i = 0; i < m; i++) {
      const __m256 ai = rows_get(&r, i);
      t[i][0] = _mm256_fmadd_ps(ai, b0, t[i][0]);
      t[i][1] = _mm256_fmadd_ps(ai, b1, t[i][1]);
    }
    rows_next(&r, m, a_cs);
  }
  UNROLL for (int i = 0; i < m; i++) {
    _mm256_storeu_ps(c + i * ldc, t[i][0]);
    put(c + i * ldc + 8, mask, full, t[i][1]);
  }
}

// m x up to 8, m up to 12.
INLINE void tile_8(int m, int full, int n, int k, const float *a, ptrdiff_t a_rs, ptrdiff_t a_cs, const float *b,
                   ptrdiff_t ldb, float *c, ptrdiff_t ldc, int accumulate) {
  const __m256i mask = first(n);
  __m256 t[MR_NARROW];
  UNROLL for (int i = 0; i < m; i++) t[i] = accumulate ? get(c + i * ldc, mask, full) : _mm256_setzero_ps();
  Rows r = rows_new(m, a, a_rs);
  for (int kk = 0; kk < k; kk++, b += ldb) {
    const __m256 b0 = get(b, mask, full);
    UNROLL for (int i = 0; i < m; i++) t[i] = _mm256_fmadd_ps(rows_get(&r, i), b0, t[i]);
    rows_next(&r, m, a_cs);
  }
  UNROLL for (int i = 0; i < m; i++) put(c + i * ldc, mask, full, t[i]);
}

#define CASE(tile, full, m_) \
  case m_: tile(m_, full, n, k, a, a_rs, a_cs, b, ldb, c, ldc, accumulate); return;
#define CASES_6(tile, full) \
  CASE(tile, full, 1) CASE(tile, full, 2) CASE(tile, full, 3) CASE(tile, full, 4) CASE(tile, full, 5) \
  CASE(tile, full, 6)
#define CASES_12(tile, full) \
  CASES_6(tile, full) CASE(tile, full, 7) CASE(tile, full, 8) CASE(tile, full, 9) CASE(tile, full, 10) \
  CASE(tile, full, 11) CASE(tile, full, 12)

void gemm_ukr_6x16_avx2(int m, int n, int k, const float *a, ptrdiff_t a_rs, ptrdiff_t a_cs, const float *b,
                        ptrdiff_t ldb, float *c, ptrdiff_t ldc, int accumulate) {
  if (n == 16) {
    switch (m) { CASES_6(tile_16, 1) }
  } else if (n > 8) {
    switch (m) { CASES_6(tile_16, 0) }
  } else if (n == 8) {
    switch (m) { CASES_12(tile_8, 1) }
  } else {
    switch (m) { CASES_12(tile_8, 0) }
  }
  __builtin_unreachable();
}

double fma_burst_avx2(int rounds) {
  __m256 t[MR_NARROW];
  const __m256 x = _mm256_set1_ps(0.5f);
  UNROLL for (int i = 0; i < MR_NARROW; i++) t[i] = x;
  for (int r = 0; r < rounds; r++)
    UNROLL for (int i = 0; i < MR_NARROW; i++) {
      t[i] = _mm256_fmadd_ps(x, x, t[i]);
      __asm__ volatile("" : "+x"(t[i]));  // kept: the compiler may not see that the loop has no use
    }
  return 2.0 * 8 * MR_NARROW * rounds;
}
#endif
