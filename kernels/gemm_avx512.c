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

enum { MR = 14, MR_NARROW = 28 };

// The tile of C: its first 16 columns, and the next 16 or 8.
typedef struct Acc {
  __m512 first[MR_NARROW], second[MR];
  __m256 half[MR];
} Acc;

// Rows lo .. hi - 1 of step s of a turn. `cols`: 16, 24 or 32 of the tile's columns are computed; the second vector of
// 24 has half the width, which costs half on cores with 256-bit units (Zen 4). `full`: all of them exist; a masked load
// would take a turn of the multiply-adds' units (Golden Cove).
INLINE void step(int s, int lo, int hi, int cols, int full, Way way, __mmask16 mask, Acc *acc, const Rows *r,
                 const Lines *lines) {
  const float *b = lines_at(lines, s);
  const __m512 b0 = full || cols > 16 ? _mm512_loadu_ps(b) : _mm512_maskz_loadu_ps(mask, b);
  const __m512 b1 = cols <= 24 ? b0 : full ? _mm512_loadu_ps(b + 16) : _mm512_maskz_loadu_ps(mask, b + 16);
  const __m256 half = cols != 24 ? _mm256_setzero_ps()
                      : full     ? _mm256_loadu_ps(b + 16)
                                 : _mm256_maskz_loadu_ps((__mmask8)mask, b + 16);
  UNROLL for (int i = lo; i < hi; i++) {
    const __m512 ai = _mm512_set1_ps(*(const float *)rows_at(way, r, i, s));
    acc->first[i] = _mm512_fmadd_ps(ai, b0, acc->first[i]);
    if (cols > 16) __asm__("" : "+v"(acc->first[i]));  // in place, lest gcc reorders the rows until it must spill
    if (cols > 24) acc->second[i] = _mm512_fmadd_ps(ai, b1, acc->second[i]);
    else if (cols > 16) acc->half[i] = _mm256_fmadd_ps(_mm512_castps512_ps256(ai), half, acc->half[i]);
  }
}

// The tile t, of m rows. The last steps of k, t->tail and those that make no turn, are taken by groups of rows, so that
// the stores of one group go out under the multiply-adds of the next.
INLINE int tile(int m, int cols, int full, Way way, const Tile *t) {
  const __mmask16 mask = (__mmask16)((1u << (cols > 16 ? t->n - 16 : t->n)) - 1);
  const int groups = cols > 16 ? (m + 4) / 5 : (m + 9) / 10, steps = way == ANY ? 1 : TURN;
  const ptrdiff_t a_cs = t->a_cs, ldc = t->ldc;
  Acc acc;
  float *c = t->c;
  if (t->accumulate) {
    UNROLL for (int i = 0; i < m; i++, c = row_next(c, ldc)) {
      acc.first[i] = cols > 16 ? _mm512_loadu_ps(c) : _mm512_maskz_loadu_ps(mask, c);
      if (cols > 24) acc.second[i] = _mm512_maskz_loadu_ps(mask, c + 16);
      else if (cols > 16) acc.half[i] = _mm256_maskz_loadu_ps((__mmask8)mask, c + 16);
    }
  } else {
    UNROLL for (int i = 0; i < m; i++) {
      acc.first[i] = _mm512_setzero_ps();
      if (cols > 24) acc.second[i] = _mm512_setzero_ps();
      else if (cols > 16) acc.half[i] = _mm256_setzero_ps();
    }
  }
  Rows r = rows_new(way, m, t->a, t->a_rs, a_cs);
  Lines b = lines_new(t->b, t->ldb);
  Far f = far_rows(t->c + m * ldc, ldc);
  int turns = t->k > t->tail ? (t->k - t->tail) / steps : 0, now = turns < BELOW ? turns : BELOW;
  const int last = t->k - turns * steps, fetched = turns > BELOW ? turns - BELOW : 0;
  while (turns > 0) {
    turns -= now;
    for (; now > 0; now--) {
      if (cols > 16) far_fetch(&f, cols);
      UNROLL for (int s = 0; s < steps; s++) step(s, 0, m, cols, full, way, mask, &acc, &r, &b);
      rows_next(way, &r, m, a_cs, steps);
      lines_next(&b, steps);
    }
    now = turns;
    f = t->next ? far_rows(t->next, t->ld_next) : far_rows(t->c, 0);
  }
  c = t->c;
  UNROLL for (int g = 0; g < groups; g++) {
    const int lo = m * g / groups, hi = m * (g + 1) / groups;
    Rows rg = r;
    Lines bg = b;
    // Unrolled, as the compiler would where it sees that there are few, these steps spill.
    _Pragma("GCC unroll 1") for (int s = 0; s < last; s++) {
      step(0, lo, hi, cols, full, way, mask, &acc, &rg, &bg);
      rows_next(way, &rg, m, a_cs, 1);
      lines_next(&bg, 1);
    }
    UNROLL for (int i = lo; i < hi; i++, c = row_next(c, ldc)) {
      if (full) {  // plain stores cost less than masked ones
        _mm512_storeu_ps(c, acc.first[i]);
        if (cols > 24) _mm512_storeu_ps(c + 16, acc.second[i]);
        else if (cols > 16) _mm256_storeu_ps(c + 16, acc.half[i]);
      } else {
        if (cols > 16) _mm512_storeu_ps(c, acc.first[i]);
        else _mm512_mask_storeu_ps(c, mask, acc.first[i]);
        if (cols > 24) _mm512_mask_storeu_ps(c + 16, mask, acc.second[i]);
        else if (cols > 16) _mm256_mask_storeu_ps(c + 16, (__mmask8)mask, acc.half[i]);
      }
    }
  }
  return cols > 16 ? fetched : 0;
}

#define CASE(m_, ...) case m_: return tile(m_, __VA_ARGS__, t);
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
int gemm_ukr_14x32_avx512(const Tile *t) {
  // columns, whether all of them exist, how A lies
  if (t->n == 32 && t->a_cs == 1) switch (t->m) { CASES_8(32, 1, ALONG) }
  if (t->n == 32 && t->a_rs == 1) switch (t->m) { CASES_8(32, 1, DOWN) }
  if (t->n == 24 && t->a_cs == 1) switch (t->m) { CASES_8(24, 1, ALONG) }
  if (t->n == 24 && t->a_rs == 1) switch (t->m) { CASES_8(24, 1, DOWN) }
  if (t->n == 16 && t->a_cs == 1) switch (t->m) { CASES_15(16, 1, ALONG) }
  if (t->n == 16 && t->a_rs == 1) switch (t->m) { CASES_15(16, 1, DOWN) }
  if (t->n > 24) switch (t->m) { CASES_1(32, 0, ANY) CASES_8(32, 0, ANY) }
  else if (t->n > 16) switch (t->m) { CASES_1(24, 0, ANY) CASES_8(24, 0, ANY) }
  else switch (t->m) { CASES_1(16, 0, ANY) CASES_8(16, 0, ANY) CASES_15(16, 0, ANY) }
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
