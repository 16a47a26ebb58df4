// ref_gpt.h: the oracle. The model of src/model.h written a second time, straight from its mathematics, in double
// precision: no vector code, no threads, nothing shared with src/ or kernels/. Slow and plain on purpose.
//
// In: weights (filled by the caller through RefTensor.w) and tokens. Out: the mean loss, and gradients in RefTensor.g.
//
// With noise > 0 the same code simulates an arithmetic of limited precision (Monte Carlo arithmetic: Parker 1997): the
// result of every operation is multiplied by 1 + noise * xi, xi uniform in [-1, 1]. noise = 2^-24, the unit roundoff of
// float, lets the worst rounding error of each float operation happen with a random sign and size, so the spread of
// such runs around the noise-free one measures what float rounding does to each result: the bound that test_model.c
// holds the fast path to.
#ifndef ISOFLOP_REF_GPT_H
#define ISOFLOP_REF_GPT_H
#include <stdbool.h>
#include <stdint.h>

enum { REF_VOCAB = 256 };

typedef struct RefTensor {
  char name[24];
  int rows, cols;
  double *w, *g;
} RefTensor;  // [rows][cols], as in model.h

typedef struct RefGpt {
  int C, L, H, T;  // width, layers, heads, sequence length; head width C/H is even
  bool tied, qk_norm;
  double rope_base;
  double noise;  // 0: exact (double)
  double operand_noise;  // the same for the operands of matrix products, once an element: 2^-8 simulates bf16
  uint64_t rng;          // of the noise; set it before a run to choose the sample
  int n_tensors;
  RefTensor *tensors;  // names as in model.h; "head" only if untied, "l<i>.qk_norm" only if qk_norm
  struct RefLayer *acts;
  double *logits;  // [T][V] of the last row run
} RefGpt;

RefGpt *ref_new(int C, int L, int H, int T, bool tied, bool qk_norm, double rope_base);  // weights and gradients 0
void ref_free(RefGpt *r);
RefTensor *ref_tensor(const RefGpt *r, const char *name);  // asserts that it exists
void ref_zero_grads(RefGpt *r);

// tokens [B][T+1]. Mean loss in nats over all B*T targets; row_loss [B] (or NULL) gets each row's own mean.
// With `backward`, d(mean loss)/dw is added to the gradients.
double ref_run(RefGpt *r, const uint8_t *tokens, int B, bool backward, double *row_loss);
#endif
