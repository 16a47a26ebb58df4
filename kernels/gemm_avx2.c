// gemm_avx2.c: AVX2 and FMA: which version of a tile (tile_avx2.S), and the packing of a transposed operand.
#if defined __x86_64__
#include <immintrin.h>
#include "ukr.h"

static const int lanes[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
// mask of the first n lanes
INLINE __m256i first(int n) { return _mm256_loadu_si256((const __m256i *)(lanes + 8 - n)); }

int gemm_ukr_6x16_avx2(const Tile *t) {
  if (t->n > 16) return tiles_avx2[54 + 3 * (t->a_cs != 1) + t->m - 2](t);
  const int wide = t->n > 8, half = t->n == 12, full = half || t->n == 8 + 8 * wide;
  if (full && t->m >= 3 && (t->a_cs == 1 || t->a_rs == 1))
    return tiles_avx2[18 * (t->a_cs != 1) + (wide ? 4 * half : 8) + t->m - 3](t);
  return tiles_avx2[36 + (wide ? 0 : 6) + t->m - 1](t);
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

double fma_burst_avx2(int rounds) {
  enum { CHAINS = 12 };  // as a tile has
  __m256 t[CHAINS];
  const __m256 x = _mm256_set1_ps(0.5f);
  UNROLL for (int i = 0; i < CHAINS; i++) t[i] = x;
  for (int r = 0; r < rounds; r++)
    UNROLL for (int i = 0; i < CHAINS; i++) {
      t[i] = _mm256_fmadd_ps(x, x, t[i]);
      __asm__ volatile("" : "+x"(t[i]));  // kept: the compiler may not see that the loop has no use
    }
  return 2.0 * 8 * CHAINS * rounds;
}
#endif
