// gemm_avx2.c: the AVX2 + FMA micro-kernel, one tile of C in registers. The 256-bit twin of gemm_avx512.c: same
// contract, same chains, hence on a CPU that has both, the same bits.
//
// 6 rows x 2 vectors = 12 accumulators of the 16 registers leave room for two vectors of B and a broadcast of A. A
// narrow C (n <= 8) takes 12 rows x 1 vector. Lanes past the n-th are masked: neither read nor written.
#if defined __x86_64__
#include <immintrin.h>
#include "rows.h"
#include "ukr.h"

enum { MR = 6, MR_NARROW = 12, FETCH = 8 };  // FETCH: rows of the next panel, a line each, before a tile

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

// Rows lo .. hi - 1 of one step of k.
INLINE void step_16(int lo, int hi, int full, __m256i mask, __m256 acc[MR][2], const Rows *r, const float *b) {
  const __m256 b0 = _mm256_loadu_ps(b), b1 = get(b + 8, mask, full);
  UNROLL for (int i = lo; i < hi; i++) {
    const __m256 ai = _mm256_broadcast_ss(rows_at(ANY, r, i, 0));
    acc[i][0] = _mm256_fmadd_ps(ai, b0, acc[i][0]);
    acc[i][1] = _mm256_fmadd_ps(ai, b1, acc[i][1]);
  }
}

// The tile t, of m rows and 8 + up to 8 columns; `full`: all 16 exist. Ends by groups of rows, as in gemm_avx512.c.
// (Turns of 4 steps, as there, were slower here: 0.85 to 1.0x.)
INLINE int tile_16(int m, int full, const Tile *t) {
  const __m256i mask = first(t->n - 8);
  const int groups = (m + 2) / 3;
  const ptrdiff_t a_cs = t->a_cs, ldb = t->ldb, ldc = t->ldc;
  const float *b = t->b;
  float *c = t->c;
  int k = t->k;
  __m256 acc[MR][2];
  for (int i = 0; t->next && i < FETCH; i++) __builtin_prefetch(t->next + i * t->ld_next, 0, 2);
  UNROLL for (int i = 0; i < m; i++) {
    acc[i][0] = t->accumulate ? _mm256_loadu_ps(c + i * ldc) : _mm256_setzero_ps();
    acc[i][1] = t->accumulate ? get(c + i * ldc + 8, mask, full) : _mm256_setzero_ps();
  }
  Rows r = rows_new(ANY, m, t->a, t->a_rs, a_cs);
  for (; k > t->tail; k--, b += ldb) {
    step_16(0, m, full, mask, acc, &r, b);
    rows_next(ANY, &r, m, a_cs, 1);
  }
  UNROLL for (int g = 0; g < groups; g++) {
    const int lo = m * g / groups, hi = m * (g + 1) / groups;
    const float *bg = b;
    Rows rg = r;
    for (int kk = 0; kk < k; kk++, bg += ldb) {
      step_16(lo, hi, full, mask, acc, &rg, bg);
      rows_next(ANY, &rg, m, a_cs, 1);
    }
    UNROLL for (int i = lo; i < hi; i++, c = row_next(c, ldc)) {
      _mm256_storeu_ps(c, acc[i][0]);
      put(c + 8, mask, full, acc[i][1]);
    }
  }
  return FETCH;
}

// m x up to 8, m up to 12.
INLINE int tile_8(int m, int full, const Tile *t) {
  const __m256i mask = first(t->n);
  const float *b = t->b;
  float *const c = t->c;
  const ptrdiff_t a_cs = t->a_cs, ldb = t->ldb, ldc = t->ldc;
  __m256 acc[MR_NARROW];
  UNROLL for (int i = 0; i < m; i++) acc[i] = t->accumulate ? get(c + i * ldc, mask, full) : _mm256_setzero_ps();
  Rows r = rows_new(ANY, m, t->a, t->a_rs, a_cs);
  for (int k = t->k; k > 0; k--, b += ldb) {
    const __m256 b0 = get(b, mask, full);
    UNROLL for (int i = 0; i < m; i++)
      acc[i] = _mm256_fmadd_ps(_mm256_broadcast_ss(rows_at(ANY, &r, i, 0)), b0, acc[i]);
    rows_next(ANY, &r, m, a_cs, 1);
  }
  UNROLL for (int i = 0; i < m; i++) put(c + i * ldc, mask, full, acc[i]);
  return 0;
}

#define CASE(tile, full, m_) case m_: return tile(m_, full, t);
#define CASES_6(tile, full) \
  CASE(tile, full, 1) CASE(tile, full, 2) CASE(tile, full, 3) CASE(tile, full, 4) CASE(tile, full, 5) \
  CASE(tile, full, 6)
#define CASES_12(tile, full) \
  CASES_6(tile, full) CASE(tile, full, 7) CASE(tile, full, 8) CASE(tile, full, 9) CASE(tile, full, 10) \
  CASE(tile, full, 11) CASE(tile, full, 12)

int gemm_ukr_6x16_avx2(const Tile *t) {
  if (t->n == 16) {
    switch (t->m) { CASES_6(tile_16, 1) }
  } else if (t->n > 8) {
    switch (t->m) { CASES_6(tile_16, 0) }
  } else if (t->n == 8) {
    switch (t->m) { CASES_12(tile_8, 1) }
  } else {
    switch (t->m) { CASES_12(tile_8, 0) }
  }
  __builtin_unreachable();
}

// 4 words of each of 8 rows -> 4 lines of 8 words; see gemm_avx512.c.
INLINE void pack_4(Word *dst, int nr, const Word *const *row, int at, int words, __m256i live) {
  const __m128i part = _mm_loadu_si128((const __m128i *)(lanes + 8 - words));
  __m256 t[4];
  UNROLL for (int i = 0; i < 4; i++) {
    const float *low = (const float *)(row[i] + at), *high = (const float *)(row[i + 4] + at);
    t[i] = words == 4 ? _mm256_loadu2_m128(high, low)
                      : _mm256_set_m128(_mm_maskload_ps(high, part), _mm_maskload_ps(low, part));
  }
  const __m256 ab01 = _mm256_unpacklo_ps(t[0], t[1]), ab23 = _mm256_unpackhi_ps(t[0], t[1]);
  const __m256 cd01 = _mm256_unpacklo_ps(t[2], t[3]), cd23 = _mm256_unpackhi_ps(t[2], t[3]);
  const __m256 out[4] = {_mm256_shuffle_ps(ab01, cd01, 0x44), _mm256_shuffle_ps(ab01, cd01, 0xee),
                         _mm256_shuffle_ps(ab23, cd23, 0x44), _mm256_shuffle_ps(ab23, cd23, 0xee)};
  UNROLL for (int i = 0; i < 4; i++)
    if (i < words)
      _mm256_storeu_si256((__m256i *)(dst + (ptrdiff_t)(at + i) * nr), _mm256_castps_si256(out[i]) & live);
}

void pack_t_avx2(Word *dst, int nr, const Word *src, ptrdiff_t ld, int k, int n) {
  for (int j0 = 0; j0 < nr; j0 += 8) {
    const int rows = n - j0;
    const __m256i live = first(rows > 8 ? 8 : rows > 0 ? rows : 0);
    const Word *row[8];  // past the last row: the last row, for the mask to erase
    for (int j = 0; j < 8; j++) row[j] = src + (j0 + j < n ? j0 + j : n - 1) * ld;
    int kk = 0;
    for (; kk + 4 <= k; kk += 4) pack_4(dst + j0, nr, row, kk, 4, live);
    if (kk < k) pack_4(dst + j0, nr, row, kk, k - kk, live);
  }
}

// ---- bf16, emulated: what vdpbf16ps does, in two fused multiply-adds ------------------------------------------------

// A bf16 is the upper half of the float of the same value. One step of k: the odd elements of the pairs, then the even.
INLINE __m256 odd(__m256i pairs) { return _mm256_castsi256_ps(pairs & _mm256_set1_epi32((int)0xffff0000)); }
INLINE __m256 even(__m256i pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }

// m x up to 16 columns. Not inlined: its arithmetic must stay between the caller's changes of the rounding mode.
static __attribute__((noinline)) void bf16_rows_4(int m, int n, int pairs, const Word *a, ptrdiff_t a_rs,
                                                  ptrdiff_t a_cs, const Word *b, float *c, ptrdiff_t ldc,
                                                  int accumulate) {
  const __m256i mask0 = first(n < 8 ? n : 8), mask1 = first(n > 8 ? n - 8 : 0);
  __m256 t[4][2];
  UNROLL for (int i = 0; i < 4; i++) {
    const int on = accumulate && i < m;
    t[i][0] = on ? _mm256_maskload_ps(c + i * ldc, mask0) : _mm256_setzero_ps();
    t[i][1] = on ? _mm256_maskload_ps(c + i * ldc + 8, mask1) : _mm256_setzero_ps();
  }
  for (int p = 0; p < pairs; p++, a += a_cs, b += BF16_NR) {
    const __m256i b0 = _mm256_loadu_si256((const __m256i *)b), b1 = _mm256_loadu_si256((const __m256i *)(b + 8));
    UNROLL for (int i = 0; i < 4; i++) {
      const __m256i ai = _mm256_set1_epi32((int)a[i < m ? i * a_rs : 0]);
      t[i][0] = _mm256_fmadd_ps(even(ai), even(b0), _mm256_fmadd_ps(odd(ai), odd(b0), t[i][0]));
      t[i][1] = _mm256_fmadd_ps(even(ai), even(b1), _mm256_fmadd_ps(odd(ai), odd(b1), t[i][1]));
    }
  }
  UNROLL for (int i = 0; i < 4; i++)
    if (i < m) {
      _mm256_maskstore_ps(c + i * ldc, mask0, t[i][0]);
      _mm256_maskstore_ps(c + i * ldc + 8, mask1, t[i][1]);
    }
}

void bf16_ukr_avx2(int m, int n, int pairs, const Word *a, ptrdiff_t a_rs, ptrdiff_t a_cs, const Word *b, float *c,
                   ptrdiff_t ldc, int accumulate) {
  const unsigned mode = _mm_getcsr();
  _mm_setcsr(mode | 0x8040);  // denormals are zeros, in and out
  for (int i = 0; i < m; i += 4)
    for (int j = 0; j < n; j += 16)
      bf16_rows_4(m - i < 4 ? m - i : 4, n - j < 16 ? n - j : 16, pairs, a + i * a_rs, a_rs, a_cs, b + j,
                  c + i * ldc + j, ldc, accumulate);
  _mm_setcsr(mode);
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
