// model.h: a decoder-only transformer, forward and backward by hand. Shapes: B batch, T time, C channels (d_model), H
// heads, V vocabulary, L layers. Pre-norm residual blocks (Radford et al. 2019), RMSNorm, rotary positions, optional
// query/key norm, GELU feed-forward of width 4C, no biases, tied or untied embeddings.
#ifndef ISOFLOP_MODEL_H
#define ISOFLOP_MODEL_H
#include "config.h"

// One row a tensor: this table drives layout, initialisation, weight decay, checkpoint names and gradient tests.
// A weight is stored [rows = in][cols = out], so that y = x w. A vector has rows == 1.
typedef struct Tensor {
  char name[24];  // "embed", "l0.norm1", "l0.qkv", "l0.qk_norm", "l0.proj", "l0.norm2", "l0.fc", "l0.out", ..., "norm",
                  // "head"
  size_t offset;  // floats, from the start of params (and of grads and both moments)
  int rows, cols;
  double init_std;  // normal; 0 = ones (gains)
  bool decay;       // matrices of the blocks and the head: yes; embedding and gains: no
} Tensor;

typedef struct Model {
  Config cfg;
  int n_tensors;
  Tensor *tensors;
  size_t n_params;                // floats in each of the four arrays, padding included (padding is and stays 0)
  float *params, *grads, *m, *v;  // 64-byte aligned; m, v the AdamW moments (NULL in a model made for inference)
  int threads;
  size_t bytes;        // all memory of the model
  double *chunk_sums;  // [model_chunks()] of optim.c
  struct Work *work;   // activations and scratch: layers.h
} Model;

// cfg resolved. threads 0 = all. Parameters initialised from cfg->seed by counter (any thread count, the same bits).
// E_MEMORY, and then *m is as after model_free.
int model_new(Model *m, const Config *cfg, bool training, Err *e);
void model_free(Model *m);
const Tensor *model_tensor(const Model *m, const char *name);  // NULL if there is none

// tokens [B][T+1]: inputs are the first T of each row, targets the last T. Sets grads to d(mean loss)/d(params)
// and returns the mean loss in nats per token.
double model_step(Model *m, const uint8_t *tokens, int B);
// The same without gradients: loss[b] = mean loss of row b.
void model_losses(Model *m, const uint8_t *tokens, int B, double *loss);
// Next-token logits [VOCAB] after tokens[0..n), 1 <= n <= T.
void model_logits(Model *m, const uint8_t *tokens, int n, float *logits);

// optim.c: sums over all parameters are taken in chunks of fixed size, so that threads cannot change them.
size_t model_chunks(const Model *m);
// Clips the gradient to global norm cfg.clip, one AdamW (or Adam) step number `step` (from 1) at rate lr. Returns
// the norm before clipping (NaN or Inf: the parameters are left as they were).
double optim_step(Model *m, int step, double lr);
// Peak times linear warm-up and cosine to lr_final, its length cosine_cycle * steps; `step` from 1 to `steps`.
double schedule_lr(const Config *cfg, int step, int steps);
#endif
