// ukr.h: what the files of this folder share among themselves: the micro-kernels, one per instruction set, and
// OpenBLAS as a whole driver. The tables that hold them are in dispatch.c, which is compiled for the base
// instruction set, so that asking "does this CPU support it?" never needs what it asks for.
#ifndef ISOFLOP_UKR_H
#define ISOFLOP_UKR_H
#include "kernels.h"

int gemm_ukr_4x8_scalar(const Tile *t);
int gemm_ukr_6x16_avx2(const Tile *t);
int gemm_ukr_14x32_avx512(const Tile *t);
int gemm_ukr_6x16_neon(const Tile *t);

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

#ifdef __x86_64__
// tile_avx2.S, tile_avx512.S, tile_avx512bf16.S: the versions of a tile, in tables in their order.
typedef int Ukr(const Tile *t);
extern Ukr *const tiles_avx2[60], *const tiles_avx512[140], *const tiles_avx512bf16[140];
#define AT(member, offset) _Static_assert(offsetof(Tile, member) == offset, "tile.inc has " #member " there")
AT(n, 4); AT(k, 8); AT(across, 12); AT(strips, 16); AT(tail, 20); AT(accumulate, 24); AT(a, 32); AT(b, 40); AT(next, 48);
AT(c, 56); AT(a_rs, 64); AT(a_cs, 72); AT(ldb, 80); AT(ldc, 88); AT(ld_next, 96); AT(a_strip, 104); AT(b_across, 112);
AT(b_right, 120); AT(a_ahead, 128);
#undef AT

INLINE int tile_avx512(Ukr *const *tiles, const Tile *t) {
  if (t->n > 48) return tiles[136 + t->m - 3](t);
  if (t->n > 32) return tiles[126 + 5 * (t->a_cs != 1) + t->m - 5](t);
  const int wide = t->n > 16, half = wide && t->n <= 24, full = t->n == 16 + 16 * wide - 8 * half;
  if (full && t->m >= 8 && (t->a_cs == 1 || t->a_rs == 1))
    return tiles[35 * (t->a_cs != 1) + (wide ? 7 * half : 14) + t->m - 8](t);
  return tiles[70 + (wide ? 14 * half : 28) + t->m - 1](t);
}
#endif

#define PACK_DECLARE(isa) void pack_t_##isa(Word *dst, int nr, const Word *src, ptrdiff_t ld, int k, int n)
#define BF16_DECLARE(isa) void bf16_ukr_##isa(const Tile *t)
#define BF16_ROUND_DECLARE(isa)                                 \
  void bf16_along_##isa(Word *dst, const float *x, int n); \
  void bf16_across_##isa(Word *dst, ptrdiff_t ld_dst, const float *x, ptrdiff_t ld, int k, int n)
PACK_DECLARE(scalar);
PACK_DECLARE(avx2);
PACK_DECLARE(avx512);
BF16_DECLARE(scalar);
BF16_DECLARE(avx512bf16);
BF16_DECLARE(avx512amx);
BF16_ROUND_DECLARE(scalar);
BF16_ROUND_DECLARE(avx512bf16);

double fma_burst_scalar(int rounds);
double fma_burst_avx2(int rounds);
double fma_burst_avx512(int rounds);
double fma_burst_neon(int rounds);

void gemm_openblas(Mat c, Mat a, Mat b, int accumulate);
const char *gemm_openblas_core(void);  // its kernels' name, e.g. "SkylakeX"
#endif
