// gemm_avx512bf16.c: the bf16 micro-kernel and the rounding to bf16 on AVX512-BF16, in twice the FLOPs of an fp32 one.
//
// In: A as words of two bf16 by any strides, B as a panel of such words. Out: the tile of C in floats.
// Invariant: one chain over pairs for each C(i,j). vdpbf16ps computes t = c + a1 b1, then t + a0 b0, each rounded to
// nearest as by a fused multiply-add that takes denormals as 0 and gives 0 for them, whatever MXCSR says.
// Reference: Intel, "BFLOAT16 - Hardware Numerics Definition" (2018); the order was checked on Zen 4 by the tests.
#if defined __x86_64__
#include <immintrin.h>
#include "rows.h"
#include "ukr.h"

enum { MR = 14, LAST = 4 };  // LAST: pairs at the end that are taken by groups of rows, see Tile.tail

// Rows lo .. hi - 1 of one step of k.
INLINE void step(int lo, int hi, int vectors, __m512 t[MR][2], const Rows *r, const Word *b) {
  const __m512bh b0 = (__m512bh)_mm512_loadu_si512(b);
  const __m512bh b1 = vectors == 2 ? (__m512bh)_mm512_loadu_si512(b + 16) : b0;
  UNROLL for (int i = lo; i < hi; i++) {
    const __m512bh ai = (__m512bh)_mm512_set1_epi32(*(const int *)rows_at(ANY, r, i, 0));
    t[i][0] = _mm512_dpbf16_ps(t[i][0], ai, b0);
    if (vectors == 2) t[i][1] = _mm512_dpbf16_ps(t[i][1], ai, b1);
  }
}

// m x (16 or 32); the last vector of C masked to the columns that exist. Ends by groups of rows, as in gemm_avx512.c.
INLINE void tile(int m, int vectors, int n, int pairs, const Word *a, ptrdiff_t a_rs, ptrdiff_t a_cs, const Word *b,
                 float *c, ptrdiff_t ldc, int accumulate) {
  const __mmask16 last = (__mmask16)((1u << (n - 16 * (vectors - 1))) - 1);
  const int groups = (m + 4) / 5;
  __m512 t[MR][2];
  float *ci = c;
  UNROLL for (int i = 0; i < m; i++) t[i][0] = t[i][1] = _mm512_setzero_ps();
  if (accumulate)
    UNROLL for (int i = 0; i < m; i++, ci = row_next(ci, ldc)) {
      t[i][0] = _mm512_maskz_loadu_ps(vectors == 1 ? last : 0xffff, ci);
      if (vectors == 2) t[i][1] = _mm512_maskz_loadu_ps(last, ci + 16);
    }
  Rows r = rows_new(ANY, m, a, a_rs, a_cs);
  Far f = far_rows(c + m * ldc, ldc);
  for (int now = pairs - LAST < BELOW ? pairs - LAST : BELOW; now > 0; now = pairs - LAST) {
    for (pairs -= now; now > 0; now--, b += BF16_NR) {
      far_fetch(&f, 16 * vectors);
      step(0, m, vectors, t, &r, b);
      rows_next(ANY, &r, m, a_cs, 1);
    }
    f = far_rows(c, 0);
  }
  ci = c;
  UNROLL for (int g = 0; g < groups; g++) {
    const int lo = m * g / groups, hi = m * (g + 1) / groups;
    const Word *bp = b;
    Rows rg = r;
    for (int p = 0; p < pairs; p++, bp += BF16_NR) {
      step(lo, hi, vectors, t, &rg, bp);
      rows_next(ANY, &rg, m, a_cs, 1);
    }
    UNROLL for (int i = lo; i < hi; i++, ci = row_next(ci, ldc)) {
      if (vectors == 2) _mm512_storeu_ps(ci, t[i][0]);
      float *end = ci + 16 * (vectors - 1);
      if (n == 16 * vectors) _mm512_storeu_ps(end, t[i][vectors - 1]);  // plain stores cost less than masked ones
      else _mm512_mask_storeu_ps(end, last, t[i][vectors - 1]);
    }
  }
}

#define CASE(m_, v_) \
  case m_: tile(m_, v_, n, pairs, a, a_rs, a_cs, b, c, ldc, accumulate); return;
#define CASES(v_) \
  CASE(1, v_) CASE(2, v_) CASE(3, v_) CASE(4, v_) CASE(5, v_) CASE(6, v_) CASE(7, v_) CASE(8, v_) CASE(9, v_) \
  CASE(10, v_) CASE(11, v_) CASE(12, v_) CASE(13, v_) CASE(14, v_)

void bf16_ukr_avx512bf16(int m, int n, int pairs, const Word *a, ptrdiff_t a_rs, ptrdiff_t a_cs, const Word *b,
                         float *c, ptrdiff_t ldc, int accumulate) {
  if (n > 16) {
    switch (m) { CASES(2) }
  } else {
    switch (m) { CASES(1) }
  }
  __builtin_unreachable();
}

void bf16_along_avx512bf16(Word *dst, const float *x, int n) {
  int i = 0;
  for (; i + 32 <= n; i += 32)
    _mm512_storeu_si512(dst + i / 2, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + i + 16), _mm512_loadu_ps(x + i)));
  if (i < n) {
    const int left = n - i;
    const __mmask32 have = (1u << left) - 1;
    const __m512 low = _mm512_maskz_loadu_ps((__mmask16)have, x + i);
    const __m512 high = _mm512_maskz_loadu_ps((__mmask16)(have >> 16), x + i + 16);
    _mm512_mask_storeu_epi32(dst + i / 2, (__mmask16)((1u << (left + 1) / 2) - 1),
                             (__m512i)_mm512_cvtne2ps_pbh(high, low));
  }
}

void bf16_across_avx512bf16(Word *dst, ptrdiff_t ld_dst, const float *x, ptrdiff_t ld, int k, int n) {
  const __m512i alternate = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                             21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  for (; k > 0; k -= 2, dst += ld_dst, x += 2 * ld) {
    // the 32 columns after these, which are wanted next: too far apart for the hardware to see them come
    for (int row = 0; row < 2; row++)
      for (int j = 0; j < 32; j += 16) _mm_prefetch((const char *)(x + row * ld + n + j), _MM_HINT_T1);
    int j = 0;
    for (; j + 16 <= n; j += 16) {
      const __m512 low = _mm512_loadu_ps(x + j), high = k > 1 ? _mm512_loadu_ps(x + ld + j) : _mm512_setzero_ps();
      _mm512_storeu_si512(dst + j, _mm512_permutexvar_epi16(alternate, (__m512i)_mm512_cvtne2ps_pbh(high, low)));
    }
    if (j < n) {
      const __mmask16 have = (__mmask16)((1u << (n - j)) - 1);
      const __m512 low = _mm512_maskz_loadu_ps(have, x + j);
      const __m512 high = k > 1 ? _mm512_maskz_loadu_ps(have, x + ld + j) : _mm512_setzero_ps();
      const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(high, low);
      _mm512_mask_storeu_epi32(dst + j, have, _mm512_permutexvar_epi16(alternate, both));
    }
  }
}
#endif
