// shape.h: the family of shapes, parameters by component, FLOPs under each convention. Pure arithmetic.
#ifndef ISOFLOP_SHAPE_H
#define ISOFLOP_SHAPE_H
#include "config.h"

enum { VOCAB = 256 };

// Parameters by component. total = all; nonemb = without both embedding tables (Kaplan et al. 2020).
typedef struct Params {
  double embed, head, attn, ffn, norm, total, nonemb;
} Params;
Params shape_params(const Config *c);

// Training FLOPs per token (forward + backward = 3 x forward) under each convention.
//   exact   the matrix products that define the model: QKV, scores, weighted sum, output, feed-forward, logits; 2 a
//           multiply-add, no causal halving, embedding lookup free (the default everywhere)
//   nohead  exact without the logits
//   sixn    6 * total parameters;  sixn_nonemb  6 * parameters without embeddings
typedef struct Flops {
  double exact, nohead, sixn, sixn_nonemb;
} Flops;
Flops shape_flops(const Config *c);

// The family: width and depth grow together. shape_family(i, c) sets d_model, n_layers, n_heads of the i-th smallest
// member, returns false past the last.
bool shape_family(int i, Config *c);

// recipe.c: fills every "rule" field that is 0 (batch, peak rate, beta2, ...) from the shape and the horizon, and the
// horizon from the budget. The one place where the rule is stated. Checks by config_check() before and after. E_CONFIG also
// when the budget is too small (fewer than 20 steps, or no step after warm-up) or buys more than 1e9 steps.
int recipe_resolve(Config *c, Err *e);
// The batch that the rule wants at this compute, in sequences; a run has at least one.
double recipe_sequences(const Config *c, double flops);
// Where the options lr_at and batch_at hold: parameters, tokens a parameter, FLOPs.
#define RECIPE_PARAMS 41e3
#define RECIPE_RATIO 25.0
#define RECIPE_FLOPS 1e11
#endif
