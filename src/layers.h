// layers.h: the blocks of the transformer over ONE sequence of T tokens, forward and backward. Sees only kernels.h.
//
// Shapes: T time, C channels, H heads, D = C/H head width. A linear layer is y[T][out] = x[T][in] w[in][out]; its three
// products are
//     gemm(y, x, w, 0)        gemm(dx, dy, wt, 0)        gemm(dw, tr(x), dy, 1)
// with wt = tr(w), and w and wt packed where several sequences use them. With bf16 these three, the head's and
// attention's round their operands to bf16 and add in floats (Micikevicius et al. 2018); all else is float.
#ifndef ISOFLOP_LAYERS_H
#define ISOFLOP_LAYERS_H
#include "kernels.h"

typedef struct Dims {
  int T, C, H, qk_norm, bf16;
  const float *cosine, *sine; /* [T][C] */
} Dims;

// Floats from one row of an activation n wide to the next: for wide ones an odd number of cache lines, lest the rows of a
// column fall into few sets of the caches; narrow ones stay dense, so that their activations stay in them.
static inline int row_ld(int n) { return n < 128 ? n : ((n + 15) / 16 | 1) * 16; }

// The matrices of one block, in the order of use.
typedef enum { QKV, PROJ, FC, OUT, N_MATS } MatId;  // [C][3C], [C][C], [C][4C], [4C][C]

// The parameters of one block, or their gradients, as views into the model's flat array; `fw` are the matrices as the
// forward multiplies by them, packed or the views again, `bw` their transposes, likewise.
typedef struct Block {
  float *norm1, *qk_norm, *norm2;
  Mat w[N_MATS], fw[N_MATS], bw[N_MATS];
} Block;

// What the forward keeps for the backward: rows of one sequence, one block, [T][n] at row_ld(n) floats. Floats a token:
// 18 C + 2 + 4 H, and up to 18 C of probabilities.
typedef struct Acts {
  float *x0, *rstd1, *n1;  // [T][C] residual entering, [T], [T][C] its norm
  float *qkv;              // [T][3C] queries and keys as projected, values
  float *qk, *qk_rstd;     // [T][2C] queries and keys normalised and rotated, [T * 2H]
  float *att, *stats;      // [T][C] attention output, [H * T * 2] softmax maximum and 1/sum
  float *probs;            // [H][layers_probs() / H] its probabilities, or NULL
  float *x1, *rstd2, *n2;  // as above, entering the feed-forward
  float *g, *dg;           // [T][4C] GELU and its derivative
} Acts;

// Gradients of one sequence on the way down; d<name> is dloss/d<name>.
typedef struct Grads {
  float *dx2, *dx1, *dx0;   // [T][C] of the residual leaving the block, between its halves, entering it
  float *dh;                // [T][4C] of what enters the GELU
  float *dqkv, *datt, *dn;  // [T][3C], [T][C], [T][C]
  float *gains;             // this sequence's share of dnorm1 [C], dqk_norm [2C], dnorm2 [C], in this order
} Grads;

// The product of a linear layer in the run's precision, and its right operand packed for it: gemm, gemm_team,
// gemm_pack.
void layers_product(const Dims *d, Mat y, Mat x, Mat w, int accumulate);
void layers_product_team(const Dims *d, Mat y, Mat x, Mat w, int accumulate);
Mat layers_pack(const Dims *d, float *dst, Mat w);
size_t layers_pack_floats(const Dims *d, int k, int n);

// Floats of scratch for one thread.
size_t layers_scratch(const Dims *d);
// Floats of attention's probabilities that a sequence keeps of a block, or 0 where the backward makes them again.
size_t layers_probs(const Dims *d);

// The same activations from row r on, where a sequence begins.
Acts layers_acts_at(const Dims *d, const Acts *a, size_t r);

// x1 = x0 + attention(norm(x0)),  x2 = x1 + ffn(norm(x1)). With keep == 0 the GELU derivative is not computed.
void layers_forward(const Dims *d, const Block *b, const Acts *a, float *x2, int keep, float *scratch);

// The same backwards: from g->dx2 to g->dx1 and g->dx0. With dw, this sequence's share of the matrices' gradients goes
// into dw->w on the way, added to what is there or not, while both operands are at hand. Without, they are the caller's
// to take: dw[m] = or += tr(layers_input(a, m)) layers_output(g, m).
void layers_backward(const Dims *d, const Block *b, const Block *dw, int accumulate, const Acts *a, const Grads *g,
                     float *scratch);
Mat layers_input(const Dims *d, const Acts *a, MatId m, int rows);
Mat layers_output(const Dims *d, const Grads *g, MatId m, int rows);

enum { NORM_EPS_INV = 100000 };  // RMSNorm's epsilon is 1 / this
#endif
