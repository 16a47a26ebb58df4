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

enum { MR = 14, MR_NARROW = 28, LAST = 4 };  // LAST: steps of k at the end, see tile()

// The tile of C: its first 16 columns, and the next 16 or 8.
typedef struct Acc {
  __m512 first[MR_NARROW], second[MR];
  __m256 half[MR];
} Acc;

// Rows lo .. hi - 1 of one step of k. `cols`: 16, 24 or 32 of the tile's columns are computed; the second vector of 24
// has half the width, which costs half on cores with 256-bit units (Zen 4). `full`: all of them exist; a masked load
// would take a turn of the multiply-adds' units (Golden Cove).
INLINE void step(int lo, int hi, int cols, int full, __mmask16 mask, Acc *t, const Rows *r, const float *b) {
  const __m512 b0 = full || cols > 16 ? _mm512_loadu_ps(b) : _mm512_maskz_loadu_ps(mask, b);
  const __m512 b1 = cols <= 24 ? b0 : full ? _mm512_loadu_ps(b + 16) : _mm512_maskz_loadu_ps(mask, b + 16);
  const __m256 half = cols != 24 ? _mm256_setzero_ps()
                      : full     ? _mm256_loadu_ps(b + 16)
                                 : _mm256_maskz_loadu_ps((__mmask8)mask, b + 16);
  UNROLL for (int i = lo; i < hi; i++) {
    const __m512 ai = _mm512_set1_ps(*(const float *)rows_at(r, i));
    t->first[i] = _mm512_fmadd_ps(ai, b0, t->first[i]);
    if (cols > 24) t->second[i] = _mm512_fmadd_ps(ai, b1, t->second[i]);
    else if (cols > 16) t->half[i] = _mm256_fmadd_ps(_mm512_castps512_ps256(ai), half, t->half[i]);
  }
}

// m x n. `down`: A's columns are contiguous (a_rs == 1): a constant, to keep the test out of the loops. The last steps
// of k are taken by groups of rows, so that the stores of one group go out under the multiply-adds of the next: Zen 4
// finds room for one store in seven of them, and stops for a burst.
INLINE void tile(int m, int cols, int full, int down, int n, int k, const float *a, ptrdiff_t a_rs, ptrdiff_t a_cs,
                 const float *b, ptrdiff_t ldb, float *c, ptrdiff_t ldc, int accumulate) {
  const __mmask16 mask = (__mmask16)((1u << (cols > 16 ? n - 16 : n)) - 1);
  const int groups = cols > 16 ? (m + 4) / 5 : (m + 9) / 10;
  Acc t;
  float *ci = c;
  if (accumulate) {
    UNROLL for (int i = 0; i < m; i++, ci = row_next(ci, ldc)) {
      t.first[i] = cols > 16 ? _mm512_loadu_ps(ci) : _mm512_maskz_loadu_ps(mask, ci);
      if (cols > 24) t.second[i] = _mm512_maskz_loadu_ps(mask, ci + 16);
      else if (cols > 16) t.half[i] = _mm256_maskz_loadu_ps((__mmask8)mask, ci + 16);
    }
  } else {
    UNROLL for (int i = 0; i < m; i++) {
      t.first[i] = _mm512_setzero_ps();
      if (cols > 24) t.second[i] = _mm512_setzero_ps();
      else if (cols > 16) t.half[i] = _mm256_setzero_ps();
    }
  }
  Rows r = rows_new(m, a, a_rs);
  Far f = far_new(down, a, a_cs, b, ldb, ldc);
  while (k > LAST) {
    const int steps = k - LAST > SPAN ? SPAN : k - LAST;
    if (cols > 16) far_span(&f, m, down, &r, c);
    k -= steps;
    for (int s = steps; s > 0; s--) {
      if (cols > 16) far_next(&f, m, cols, down, &r, a_cs);
      step(0, m, cols, full, mask, &t, &r, b);
      rows_next(&r, m, a_cs);
      b = (const float *)((const char *)b + f.ldb);
    }
  }
  ci = c;
  UNROLL for (int g = 0; g < groups; g++) {
    const int lo = m * g / groups, hi = m * (g + 1) / groups;
    const float *bk = b;
    Rows rk = r;
    // Unrolled, as the compiler would where it sees that k <= LAST, these steps spill.
    _Pragma("GCC unroll 1") for (int kk = 0; kk < k; kk++, bk += ldb) {
      step(lo, hi, cols, 0, mask, &t, &rk, bk);
      rows_next(&rk, m, a_cs);
    }
    if (full) {  // plain stores cost less than masked ones
      UNROLL for (int i = lo; i < hi; i++, ci = row_next(ci, ldc)) {
        _mm512_storeu_ps(ci, t.first[i]);
        if (cols > 24) _mm512_storeu_ps(ci + 16, t.second[i]);
        else if (cols > 16) _mm256_storeu_ps(ci + 16, t.half[i]);
      }
    } else {
      UNROLL for (int i = lo; i < hi; i++, ci = row_next(ci, ldc)) {
        if (cols > 16) _mm512_storeu_ps(ci, t.first[i]);
        else _mm512_mask_storeu_ps(ci, mask, t.first[i]);
        if (cols > 24) _mm512_mask_storeu_ps(ci + 16, mask, t.second[i]);
        else if (cols > 16) _mm256_mask_storeu_ps(ci + 16, (__mmask8)mask, t.half[i]);
      }
    }
  }
}

#define CASE(m_, ...) \
  case m_: tile(m_, __VA_ARGS__, n, k, a, a_rs, a_cs, b, ldb, c, ldc, accumulate); return;
#define CASES_1(...) \
  CASE(1, __VA_ARGS__) CASE(2, __VA_ARGS__) CASE(3, __VA_ARGS__) CASE(4, __VA_ARGS__) CASE(5, __VA_ARGS__) \
  CASE(6, __VA_ARGS__) CASE(7, __VA_ARGS__)
#define CASES_8(...) \
  CASE(8, __VA_ARGS__) CASE(9, __VA_ARGS__) CASE(10, __VA_ARGS__) CASE(11, __VA_ARGS__) CASE(12, __VA_ARGS__) \
  CASE(13, __VA_ARGS__) CASE(14, __VA_ARGS__)
#define CASES_15(...) \
  CASE(15, __VA_ARGS__) CASE(16, __VA_ARGS__) CASE(17, __VA_ARGS__) CASE(18, __VA_ARGS__) CASE(19, __VA_ARGS__) \
  CASE(20, __VA_ARGS__) CASE(21, __VA_ARGS__) CASE(22, __VA_ARGS__) CASE(23, __VA_ARGS__) CASE(24, __VA_ARGS__) \
  CASE(25, __VA_ARGS__) CASE(26, __VA_ARGS__) CASE(27, __VA_ARGS__) CASE(28, __VA_ARGS__)

// Low tiles wait for their adds anyway and have no versions of their own.
void gemm_ukr_14x32_avx512(int m, int n, int k, const float *a, ptrdiff_t a_rs, ptrdiff_t a_cs, const float *b,
                           ptrdiff_t ldb, float *c, ptrdiff_t ldc, int accumulate) {
  const int down = a_rs == 1 && a_cs > 1;
  // columns, all of them exist, A's are contiguous
  if (n == 32 && down) switch (m) { CASES_8(32, 1, 1) }
  if (n == 32 && !down) switch (m) { CASES_8(32, 1, 0) }
  if (n == 24) switch (m) { CASES_8(24, 1, 0) }
  if (n == 16) switch (m) { CASES_15(16, 1, 0) }
  if (n > 24) switch (m) { CASES_1(32, 0, 0) CASES_8(32, 0, 0) }
  else if (n > 16) switch (m) { CASES_1(24, 0, 0) CASES_8(24, 0, 0) }
  else switch (m) { CASES_1(16, 0, 0) CASES_8(16, 0, 0) CASES_15(16, 0, 0) }
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
