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

#define PACK_DECLARE(isa) void pack_t_##isa(Word *dst, int nr, const Word *src, ptrdiff_t ld, int k, int n)
#define BF16_DECLARE(isa)                                                                                     \
  void bf16_ukr_##isa(int m, int n, int pairs, const Word *a, ptrdiff_t a_rs, ptrdiff_t a_cs, const Word *b, \
                      float *c, ptrdiff_t ldc, int accumulate)
#define BF16_ROUND_DECLARE(isa)                                 \
  void bf16_along_##isa(Word *dst, const float *x, int n); \
  void bf16_across_##isa(Word *dst, ptrdiff_t ld_dst, const float *x, ptrdiff_t ld, int k, int n)
PACK_DECLARE(scalar);
PACK_DECLARE(avx2);
PACK_DECLARE(avx512);
BF16_DECLARE(scalar);
BF16_DECLARE(avx2);
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
