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
#include "rows.h"
#include "ukr.h"

enum { MR = 14, MR_NARROW = 28, AHEAD = 16 };

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
      const __m512 ai = _mm512_set1_ps(*(const float *)rows_at(&r, i));
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
      const __m512 ai = _mm512_set1_ps(*(const float *)rows_at(&r, i));
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
    UNROLL for (int i = 0; i < m; i++) t[i] = _mm512_fmadd_ps(_mm512_set1_ps(*(const float *)rows_at(&r, i)), b0, t[i]);
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

// 4 words of each of 16 rows -> 4 lines of 16 words: lane L of a vector takes rows 4 L .. 4 L + 3, each lane is then
// transposed for itself. `part`: the words that exist; `live`: the rows.
INLINE void pack_4(Word *dst, int nr, const Word *const *row, int at, int words, __mmask8 part, __mmask16 live) {
  __m512 t[4];
  UNROLL for (int i = 0; i < 4; i++) {
    t[i] = _mm512_castps128_ps512(_mm_maskz_loadu_ps(part, row[i] + at));
    t[i] = _mm512_insertf32x4(t[i], _mm_maskz_loadu_ps(part, row[i + 4] + at), 1);
    t[i] = _mm512_insertf32x4(t[i], _mm_maskz_loadu_ps(part, row[i + 8] + at), 2);
    t[i] = _mm512_insertf32x4(t[i], _mm_maskz_loadu_ps(part, row[i + 12] + at), 3);
  }
  const __m512 ab01 = _mm512_unpacklo_ps(t[0], t[1]), ab23 = _mm512_unpackhi_ps(t[0], t[1]);
  const __m512 cd01 = _mm512_unpacklo_ps(t[2], t[3]), cd23 = _mm512_unpackhi_ps(t[2], t[3]);
  const __m512 out[4] = {_mm512_shuffle_ps(ab01, cd01, 0x44), _mm512_shuffle_ps(ab01, cd01, 0xee),
                         _mm512_shuffle_ps(ab23, cd23, 0x44), _mm512_shuffle_ps(ab23, cd23, 0xee)};
  UNROLL for (int i = 0; i < 4; i++)
    if (i < words) _mm512_storeu_ps(dst + (ptrdiff_t)(at + i) * nr, _mm512_maskz_mov_ps(live, out[i]));
}

void pack_t_avx512(Word *dst, int nr, const Word *src, ptrdiff_t ld, int k, int n) {
  for (int j0 = 0; j0 < nr; j0 += 16) {
    const int rows = n - j0;
    const __mmask16 live = rows >= 16 ? 0xffff : rows > 0 ? (__mmask16)((1u << rows) - 1) : 0;
    const Word *row[16];  // past the last row: the last row, for the mask to erase
    for (int j = 0; j < 16; j++) row[j] = src + (j0 + j < n ? j0 + j : n - 1) * ld;
    int kk = 0;
    for (; kk + 4 <= k; kk += 4) pack_4(dst + j0, nr, row, kk, 4, 15, live);
    if (kk < k) pack_4(dst + j0, nr, row, kk, k - kk, (__mmask8)((1u << (k - kk)) - 1), live);
  }
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
