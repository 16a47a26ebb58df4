// gemm_avx512bf16.c: bf16 on AVX512-BF16: which version of a tile (tile_avx512bf16.S), and the rounding to bf16.
// In: floats. Out: words of two bf16 of consecutive k, rounded to nearest, ties to even, denormals to 0.
#if defined __x86_64__
#include <immintrin.h>
#include "ukr.h"

void bf16_ukr_avx512bf16(const Tile *t) { tile_avx512(tiles_avx512bf16, t); }

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
