// gemm_avx512.c: the AVX-512 micro-kernel, one tile of C in registers.
//
// In: a tile's worth of A by any strides (read by broadcast), of B by rows of contiguous floats. Out: the tile of C.
// Invariant: each C(i,j) is one serial chain of fused multiply-adds over k, in its own lane of one register, so
// the tile shape never shows in the result. Lanes past the n-th are masked: neither read nor written.
// Reference: the register-block analysis of Goto & van de Geijn, "Anatomy of high-performance matrix multiplication"
// (2008).
//
// 14 rows x 2 vectors = 28 accumulators of the 32 registers leave room for two vectors of B and a broadcast of A;
// each k then costs 16 loads for 28 multiply-adds. A narrow C (n <= 16) takes 28 rows x 1 vector instead.
#if defined __x86_64__
#include <immintrin.h>
#include "ukr.h"

enum { MR = 14, MR_NARROW = 28, AHEAD = 16 };
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

// Row i of A's tile at a step k is base[i/5] + {0, rs, 2rs, 3rs, 4rs}[i%5]: x86 addressing multiplies the index by 1, 2
// or 4, so 28 rows need only 6 moving pointers and 2 fixed offsets. The empty asm hides how they are related,
// lest the compiler derive 28 pointers and spill them.
typedef struct Rows { const char *base[6]; ptrdiff_t rs, rs3; } Rows;

INLINE Rows rows_new(int m, const float *a, ptrdiff_t a_rs) {
  Rows r = {.rs = a_rs * 4, .rs3 = a_rs * 12};
  __asm__("" : "+r"(r.rs), "+r"(r.rs3));
  UNROLL for (int g = 0; g < (m + 4) / 5; g++) {
    r.base[g] = (const char *)(a + 5 * g * a_rs);
    __asm__("" : "+r"(r.base[g]));
  }
  return r;
}
INLINE float rows_get(const Rows *r, int i) {
  const char *p = r->base[i / 5];
  switch (i % 5) {
    case 0: return *(const float *)p;
    case 1: return *(const float *)(p + r->rs);
    case 2: return *(const float *)(p + r->rs * 2);
    case 3: return *(const float *)(p + r->rs3);
    default: return *(const float *)(p + r->rs * 4);
  }
}
// The next row of C. Opaque, so that rows are walked as they come instead of 14 addresses being kept through the loop
// over k.
INLINE float *row_next(float *c, ptrdiff_t ldc) {
  c += ldc;
  __asm__("" : "+r"(c));
  return c;
}
// Starts fetching the lines of C that will be wanted: of this tile, to be stored, or, when C is read too, of the tile
// below. Without it the stores of a C that is not in the caches wait for memory one after another.
INLINE void prefetch_c(int m, int n, int k, const float *c, ptrdiff_t ldc, int accumulate) {
  if (k < 32) return;
  if (accumulate) c += m * ldc;
  UNROLL for (int i = 0; i < m; i++, c = row_next((float *)c, ldc)) {
    _mm_prefetch((const char *)c, _MM_HINT_T0);
    if (n > 16) _mm_prefetch((const char *)(c + n - 1), _MM_HINT_T0);
  }
}
INLINE void rows_next(Rows *r, int m, ptrdiff_t a_cs) {
  UNROLL for (int g = 0; g < (m + 4) / 5; g++) r->base[g] += a_cs * 4;
}

// m x (16 + up to 16): the second vector masked to the columns that exist.
INLINE void tile_32(int m, int n, int k, const float *a, ptrdiff_t a_rs, ptrdiff_t a_cs, const float *b, ptrdiff_t ldb,
                    float *c, ptrdiff_t ldc, int accumulate) {
  const __mmask16 mask = (__mmask16)((1u << (n - 16)) - 1);
  __m512 t[MR][2];
  float *ci = c;
  if (accumulate) {
    UNROLL for (int i = 0; i < m; i++, ci = row_next(ci, ldc)) {
      t[i][0] = _mm512_loadu_ps(ci);
      t[i][1] = _mm512_maskz_loadu_ps(mask, ci + 16);
    }
  } else {
    UNROLL for (int i = 0; i < m; i++) t[i][0] = t[i][1] = _mm512_setzero_ps();
  }
  Rows r = rows_new(m, a, a_rs);
  prefetch_c(m, n, k, c, ldc, accumulate);
  for (int kk = 0; kk < k; kk++, b += ldb) {
    const __m512 b0 = _mm512_loadu_ps(b), b1 = _mm512_maskz_loadu_ps(mask, b + 16);
    _mm_prefetch((const char *)(b + AHEAD * ldb), _MM_HINT_T0);
    _mm_prefetch((const char *)(b + AHEAD * ldb + 16), _MM_HINT_T0);
    UNROLL for (int i = 0; i < m; i++) {
      const __m512 ai = _mm512_set1_ps(rows_get(&r, i));
      t[i][0] = _mm512_fmadd_ps(ai, b0, t[i][0]);
      t[i][1] = _mm512_fmadd_ps(ai, b1, t[i][1]);
    }
    rows_next(&r, m, a_cs);
  }
  ci = c;
  if (n == 32) {  // plain stores cost less than masked ones
    UNROLL for (int i = 0; i < m; i++, ci = row_next(ci, ldc)) {
      _mm512_storeu_ps(ci, t[i][0]);
      _mm512_storeu_ps(ci + 16, t[i][1]);
    }
  } else {
    UNROLL for (int i = 0; i < m; i++, ci = row_next(ci, ldc)) {
      _mm512_storeu_ps(ci, t[i][0]);
      _mm512_mask_storeu_ps(ci + 16, mask, t[i][1]);
    }
  }
}

// m x (16 + up to 8): the second vector has half the width, which costs half on cores with 256-bit units (Zen 4).
INLINE void tile_24(int m, int n, int k, const float *a, ptrdiff_t a_rs, ptrdiff_t a_cs, const float *b, ptrdiff_t ldb,
                    float *c, ptrdiff_t ldc, int accumulate) {
  const __mmask8 mask = (__mmask8)((1u << (n - 16)) - 1);
  __m512 t[MR];
  __m256 u[MR];
  float *ci = c;
  if (accumulate) {
    UNROLL for (int i = 0; i < m; i++, ci = row_next(ci, ldc)) {
      t[i] = _mm512_loadu_ps(ci);
      u[i] = _mm256_maskz_loadu_ps(mask, ci + 16);
    }
  } else {
    UNROLL for (int i = 0; i < m; i++) t[i] = _mm512_setzero_ps(), u[i] = _mm256_setzero_ps();
  }
  Rows r = rows_new(m, a, a_rs);
  prefetch_c(m, n, k, c, ldc, accumulate);
  for (int kk = 0; kk < k; kk++, b += ldb) {
    const __m512 b0 = _mm512_loadu_ps(b);
    const __m256 b1 = _mm256_maskz_loadu_ps(mask, b + 16);
    UNROLL for (int i = 0; i < m; i++) {
      const __m512 ai = _mm512_set1_ps(rows_get(&r, i));
      t[i] = _mm512_fmadd_ps(ai, b0, t[i]);
      u[i] = _mm256_fmadd_ps(_mm512_castps512_ps256(ai), b1, u[i]);
    }
    rows_next(&r, m, a_cs);
  }
  ci = c;
  UNROLL for (int i = 0; i < m; i++, ci = row_next(ci, ldc)) {
    _mm512_storeu_ps(ci, t[i]);
    _mm256_mask_storeu_ps(ci + 16, mask, u[i]);
  }
}

// m x up to 16, m up to 28.
INLINE void tile_16(int m, int n, int k, const float *a, ptrdiff_t a_rs, ptrdiff_t a_cs, const float *b, ptrdiff_t ldb,
                    float *c, ptrdiff_t ldc, int accumulate) {
  const __mmask16 mask = (__mmask16)((1u << n) - 1);
  __m512 t[MR_NARROW];
  float *ci = c;
  if (accumulate) {
    UNROLL for (int i = 0; i < m; i++, ci = row_next(ci, ldc)) t[i] = _mm512_maskz_loadu_ps(mask, ci);
  } else {
    UNROLL for (int i = 0; i < m; i++) t[i] = _mm512_setzero_ps();
  }
  Rows r = rows_new(m, a, a_rs);
  prefetch_c(m, n, k, c, ldc, accumulate);
  for (int kk = 0; kk < k; kk++, b += ldb) {
    const __m512 b0 = _mm512_maskz_loadu_ps(mask, b);
    UNROLL for (int i = 0; i < m; i++) t[i] = _mm512_fmadd_ps(_mm512_set1_ps(rows_get(&r, i)), b0, t[i]);
    rows_next(&r, m, a_cs);
  }
  ci = c;
  UNROLL for (int i = 0; i < m; i++, ci = row_next(ci, ldc)) _mm512_mask_storeu_ps(ci, mask, t[i]);
}

#define CASE(tile, m_) \
  case m_: tile(m_, n, k, a, a_rs, a_cs, b, ldb, c, ldc, accumulate); return;
#define CASES_14(tile) \
  CASE(tile, 1) CASE(tile, 2) CASE(tile, 3) CASE(tile, 4) CASE(tile, 5) CASE(tile, 6) CASE(tile, 7) CASE(tile, 8) \
  CASE(tile, 9) CASE(tile, 10) CASE(tile, 11) CASE(tile, 12) CASE(tile, 13) CASE(tile, 14)
#define CASES_28(tile) \
  CASES_14(tile) CASE(tile, 15) CASE(tile, 16) CASE(tile, 17) CASE(tile, 18) CASE(tile, 19) CASE(tile, 20) \
  CASE(tile, 21) CASE(tile, 22) CASE(tile, 23) CASE(tile, 24) CASE(tile, 25) CASE(tile, 26) CASE(tile, 27) \
  CASE(tile, 28)

void gemm_ukr_14x32_avx512(int m, int n, int k, const float *a, ptrdiff_t a_rs, ptrdiff_t a_cs, const float *b,
                           ptrdiff_t ldb, float *c, ptrdiff_t ldc, int accumulate) {
  if (n > 24) {
    switch (m) { CASES_14(tile_32) }
  } else if (n > 16) {
    switch (m) { CASES_14(tile_24) }
  } else {
    switch (m) { CASES_28(tile_16) }
  }
  __builtin_unreachable();
}

double fma_burst_avx512(int rounds) {
  __m512 t[MR_NARROW];
  const __m512 x = _mm512_set1_ps(0.5f);
  UNROLL for (int i = 0; i < MR_NARROW; i++) t[i] = x;
  for (int r = 0; r < rounds; r++)
    UNROLL for (int i = 0; i < MR_NARROW; i++) {
      t[i] = _mm512_fmadd_ps(x, x, t[i]);
      __asm__ volatile("" : "+v"(t[i]));  // kept: the compiler may not see that the loop has no use
    }
  return 2.0 * 16 * MR_NARROW * rounds;
}
#endif
