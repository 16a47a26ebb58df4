// vec.h: the row operations as one instruction set implements them; for the kernel tables only.
//
// Each vec_<isa>.c compiles the one source vec.inc under the names <op>_<isa>. A table pastes them in:
//   #include "vec.h"
//   const Kernels kernels_avx512 = { .name = "avx512", ..., VEC_TABLE(avx512) };
// What each operation computes stands in kernels.h; how, in vec.inc.
#ifndef ISOFLOP_VEC_H
#define ISOFLOP_VEC_H
#include "kernels.h"

#define VEC_DECLARE(isa)                                                                                               \
  void rmsnorm_##isa(float *y, ptrdiff_t ldy, float *rstd, const float *x, ptrdiff_t ldx, const float *gain, int rows, \
                     int groups, int n, float eps);                                                                    \
  void rmsnorm_back_##isa(float *dx, float *dgain, const float *dy, ptrdiff_t ld, const float *x, ptrdiff_t ldx,       \
                          const float *rstd, const float *gain, int rows, int groups, int n, const float *base);       \
  void rope_##isa(float *x, ptrdiff_t ld, const float *cosine, const float *sine, int rows, int n, float sign);        \
  void gelu_##isa(float *y, float *dydx, const float *x, size_t n);                                                    \
  void softmax_##isa(float *s, ptrdiff_t ld, int rows, int n, float scale, float *stats);                              \
  void softmax_again_##isa(float *s, ptrdiff_t ld, int rows, int n, float scale, const float *stats);                  \
  void softmax_back_##isa(float *ds, const float *p, ptrdiff_t ld, int rows, int n, const float *delta,                \
                          ptrdiff_t ld_delta, float scale);                                                            \
  double xent_##isa(float *logits, ptrdiff_t ld, const uint8_t *targets, int rows, int n, float dscale);               \
  void bf16_round_##isa(float *y, ptrdiff_t ldy, const float *x, ptrdiff_t ldx, int rows, int n, int swap);            \
  void copy_##isa(float *y, ptrdiff_t ldy, const float *x, ptrdiff_t ldx, int rows, int n);                            \
  void add_##isa(float *y, const float *x, size_t n);                                                                  \
  void mul_##isa(float *y, const float *x, size_t n);                                                                  \
  void dots_##isa(float *sums, const float *x, const float *y, ptrdiff_t ld, int rows, int groups, int n);             \
  double sumsq_##isa(const float *x, size_t n);                                                                        \
  void adamw_##isa(float *p, const float *g, float *m, float *v, size_t n, const AdamCoef *c)

#define VEC_TABLE(isa)                                                                                                 \
  .rmsnorm = rmsnorm_##isa, .rmsnorm_back = rmsnorm_back_##isa, .rope = rope_##isa, .gelu = gelu_##isa,                \
  .softmax = softmax_##isa, .softmax_again = softmax_again_##isa, .softmax_back = softmax_back_##isa,                  \
  .xent = xent_##isa, .bf16_round = bf16_round_##isa, .copy = copy_##isa, .add = add_##isa, .mul = mul_##isa,          \
  .dots = dots_##isa, .sumsq = sumsq_##isa, .adamw = adamw_##isa

VEC_DECLARE(scalar);
VEC_DECLARE(avx2);
VEC_DECLARE(avx512);
#endif
