// gemm_avx512.c: AVX-512: which version of a tile (tile_avx512.S), and the packing of a transposed operand (kernels.h).
#if defined __x86_64__
#include <immintrin.h>
#include "ukr.h"

int gemm_ukr_14x32_avx512(const Tile *t) { return tile_avx512(tiles_avx512, t); }

// `words` of 4, zeros behind. A load of all 4, without a mask, is part of the instruction that uses it.
INLINE __m128 words_at(const Word *p, int words) {
  return words == 4 ? _mm_loadu_ps((const float *)p) : _mm_maskz_loadu_ps((__mmask8)((1u << words) - 1), p);
}

// 4 words of each of 16 rows -> 4 lines of 16 words: lane L of a vector takes rows 4 L .. 4 L + 3, each lane is then
// transposed for itself. `words` exist, and the rows that are `live`.
INLINE void pack_4(Word *dst, int nr, const Word *const *row, int at, int words, __mmask16 live) {
  __m512 t[4];
  UNROLL for (int i = 0; i < 4; i++) {
    t[i] = _mm512_castps128_ps512(words_at(row[i] + at, words));
    t[i] = _mm512_insertf32x4(t[i], words_at(row[i + 4] + at, words), 1);
    t[i] = _mm512_insertf32x4(t[i], words_at(row[i + 8] + at, words), 2);
    t[i] = _mm512_insertf32x4(t[i], words_at(row[i + 12] + at, words), 3);
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
    for (; kk + 4 <= k; kk += 4) pack_4(dst + j0, nr, row, kk, 4, live);
    if (kk < k) pack_4(dst + j0, nr, row, kk, k - kk, live);
  }
}

double fma_burst_avx512(int rounds) {
  enum { CHAINS = 28 };  // as a tile has
  __m512 t[CHAINS];
  const __m512 x = _mm512_set1_ps(0.5f);
  UNROLL for (int i = 0; i < CHAINS; i++) t[i] = x;
  for (int r = 0; r < rounds; r++)
    UNROLL for (int i = 0; i < CHAINS; i++) {
      t[i] = _mm512_fmadd_ps(x, x, t[i]);
      __asm__ volatile("" : "+v"(t[i]));  // kept: the compiler may not see that the loop has no use
    }
  return 2.0 * 16 * CHAINS * rounds;
}
#endif
