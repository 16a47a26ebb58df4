// ukr.h: what the files of this folder share among themselves: the micro-kernels, one per instruction set, and
// OpenBLAS as a whole driver. The tables that hold them are in dispatch.c, which is compiled for the base
// instruction set, so that asking "does this CPU support it?" never needs what it asks for.
#ifndef ISOFLOP_UKR_H
#define ISOFLOP_UKR_H
#include "kernels.h"

void gemm_ukr_4x8_scalar(int m, int n, int k, const float *a, ptrdiff_t a_rs, ptrdiff_t a_cs, const float *b,
                         ptrdiff_t ldb, float *c, ptrdiff_t ldc, int accumulate);
void gemm_ukr_6x16_avx2(int m, int n, int k, const float *a, ptrdiff_t a_rs, ptrdiff_t a_cs, const float *b,
                        ptrdiff_t ldb, float *c, ptrdiff_t ldc, int accumulate);
void gemm_ukr_14x32_avx512(int m, int n, int k, const float *a, ptrdiff_t a_rs, ptrdiff_t a_cs, const float *b,
                           ptrdiff_t ldb, float *c, ptrdiff_t ldc, int accumulate);

double fma_burst_scalar(int rounds);
double fma_burst_avx2(int rounds);
double fma_burst_avx512(int rounds);

void gemm_openblas(Mat c, Mat a, Mat b, int accumulate);
const char *gemm_openblas_core(void);  // its kernels' name, e.g. "SkylakeX"
#endif
