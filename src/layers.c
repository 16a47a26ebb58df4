// layers.c: see layers.h. In: one sequence's rows and a block's weights. Out: activations or gradients of the same
// rows. Everything here runs on one thread and touches only its own sequence, so threads never meet inside a block.
#include "layers.h"
#include <math.h>
#include <string.h>

static const float NORM_EPS = 1.0f / NORM_EPS_INV;
// Query rows a block of attention: keeps its T x ATT_ROWS scores in L1 and wastes at most half of this many masked
// columns a row.
enum { ATT_ROWS = 16 };

void layers_product(const Dims *d, Mat y, Mat x, Mat w, int accumulate) {
  (d->bf16 ? gemm_bf16 : gemm)(y, x, w, accumulate);
}
void layers_product_team(const Dims *d, Mat y, Mat x, Mat w, int accumulate) {
  (d->bf16 ? gemm_bf16_team : gemm_team)(y, x, w, accumulate);
}
Mat layers_pack(const Dims *d, float *dst, Mat w) { return (d->bf16 ? gemm_pack_bf16 : gemm_pack)(dst, w); }

// ---- Attention (Vaswani et al. 2017), causal ----------------------------------------------------------
//
// For a query row i and keys j <= i:  s_j = scale q_i.k_j,  p = softmax(s),  o_i = sum_j p_j v_j.
// Rows are taken ATT_ROWS at a time against the keys up to the block's end: the masked half is never computed. The T x
// T probabilities are never stored: the backward makes them again from two floats a row (Dao et al. 2022).

size_t layers_scratch(const Dims *d) {
  const int hd = d->C / d->H;
  return 2 * gemm_pack_floats(hd, d->T) + 2 * (size_t)ATT_ROWS * d->T;
}

// Rows i0.. of the scores against keys 0..i0+rows, unscaled.
static Mat scores(float *buf, Mat q, Mat kt, int i0, int rows, int T) {
  Mat s = mat_ld(buf, rows, i0 + rows, T);
  gemm(s, mat_rows(q, i0, rows), mat_cols(kt, 0, i0 + rows), 0);
  return s;
}

static void attention_forward(const Dims *d, const Acts *a, float *scratch) {
  const int T = d->T, C = d->C, hd = C / d->H;
  const float scale = 1 / sqrtf((float)hd);
  float *kt_buf = scratch, *s_buf = scratch + 2 * gemm_pack_floats(hd, T);
  for (int h = 0; h < d->H; h++) {
    const Mat q = mat_ld(a->qk + h * hd, T, hd, 2 * C), k = mat_ld(a->qk + C + h * hd, T, hd, 2 * C);
    const Mat v = mat_ld(a->qkv + 2 * C + h * hd, T, hd, 3 * C), o = mat_ld(a->att + h * hd, T, hd, C);
    const Mat kt = gemm_pack(kt_buf, tr(k));
    float *stats = a->stats + (size_t)h * T * 2;
    for (int i0 = 0; i0 < T; i0 += ATT_ROWS) {
      const int rows = T - i0 < ATT_ROWS ? T - i0 : ATT_ROWS, n = i0 + rows;
      Mat p = scores(s_buf, q, kt, i0, rows, T);
      for (int r = 0; r < rows; r++) {
        float *row = p.p + r * p.rs;
        kern->softmax(row, i0 + r + 1, scale, &stats[2 * (i0 + r)], &stats[2 * (i0 + r) + 1]);
        memset(row + i0 + r + 1, 0, sizeof(float) * (size_t)(rows - r - 1));
      }
      gemm(mat_rows(o, i0, rows), p, mat_rows(v, 0, n), 0);
    }
  }
}

// With dp_j = do_i.v_j and delta_i = sum_j p_j dp_j = do_i.o_i:
//   ds_j = p_j (dp_j - delta_i) scale,   dq_i = sum_j ds_j k_j,   dk_j += ds_j q_i,   dv_j += p_j do_i.
// Writes the gradients of rotated queries and keys and of values into dqkv.
static void attention_backward(const Dims *d, const Acts *a, const Grads *g, float *scratch) {
  const int T = d->T, C = d->C, hd = C / d->H;
  const float scale = 1 / sqrtf((float)hd);
  float *kt_buf = scratch, *vt_buf = kt_buf + gemm_pack_floats(hd, T);
  float *p_buf = vt_buf + gemm_pack_floats(hd, T), *ds_buf = p_buf + (size_t)ATT_ROWS * T;
  for (int h = 0; h < d->H; h++) {
    const Mat q = mat_ld(a->qk + h * hd, T, hd, 2 * C), k = mat_ld(a->qk + C + h * hd, T, hd, 2 * C);
    const Mat v = mat_ld(a->qkv + 2 * C + h * hd, T, hd, 3 * C);
    const Mat o = mat_ld(a->att + h * hd, T, hd, C), dout = mat_ld(g->datt + h * hd, T, hd, C);
    const Mat dq = mat_ld(g->dqkv + h * hd, T, hd, 3 * C), dk = mat_ld(g->dqkv + C + h * hd, T, hd, 3 * C);
    const Mat dv = mat_ld(g->dqkv + 2 * C + h * hd, T, hd, 3 * C);
    const Mat kt = gemm_pack(kt_buf, tr(k)), vt = gemm_pack(vt_buf, tr(v));
    const float *stats = a->stats + (size_t)h * T * 2;
    // From the last block up: the first block met by a key row stores, later ones add.
    for (int i0 = (T - 1) / ATT_ROWS * ATT_ROWS; i0 >= 0; i0 -= ATT_ROWS) {
      const int rows = T - i0 < ATT_ROWS ? T - i0 : ATT_ROWS, n = i0 + rows, add = n < T;
      const Mat doi = mat_rows(dout, i0, rows);
      Mat p = scores(p_buf, q, kt, i0, rows, T), ds = mat_ld(ds_buf, rows, n, T);
      gemm(ds, doi, mat_cols(vt, 0, n), 0);
      for (int r = 0; r < rows; r++) {
        const int i = i0 + r, m = i + 1;
        const size_t masked = sizeof(float) * (size_t)(rows - r - 1);
        float *prow = p.p + r * p.rs, *dsrow = ds.p + r * ds.rs;
        const float delta = kern->dot(dout.p + i * dout.rs, o.p + i * o.rs, hd);
        kern->softmax_again(prow, m, scale, stats[2 * i], stats[2 * i + 1]);
        kern->softmax_back(dsrow, prow, m, delta, scale);
        memset(prow + m, 0, masked);
        memset(dsrow + m, 0, masked);
      }
      gemm(mat_rows(dq, i0, rows), ds, mat_rows(k, 0, n), 0);
      gemm(mat_rows(dk, 0, n), tr(ds), mat_rows(q, i0, rows), add);
      gemm(mat_rows(dv, 0, n), tr(p), doi, add);
    }
  }
}

// ---- The two halves of a block -------------------------------------------------------------------------

void layers_attention(const Dims *d, const Block *b, const Acts *a, float *scratch) {
  const int T = d->T, C = d->C, H = d->H;
  kern->rmsnorm(a->n1, C, a->rstd1, a->x0, C, b->norm1, T, 1, C, NORM_EPS);
  layers_product(d, mat(a->qkv, T, 3 * C), mat(a->n1, T, C), b->qkv, 0);
  if (d->qk_norm)
    kern->rmsnorm(a->qk, 2 * C, a->qk_rstd, a->qkv, 3 * C, b->qk_norm, T, 2 * H, C / H, NORM_EPS);
  else
    for (int t = 0; t < T; t++)
      memcpy(a->qk + (size_t)t * 2 * C, a->qkv + (size_t)t * 3 * C, sizeof(float) * 2 * (size_t)C);
  kern->rope(a->qk, 2 * C, d->cosine, d->sine, T, C, 1);
  kern->rope(a->qk + C, 2 * C, d->cosine, d->sine, T, C, 1);
  attention_forward(d, a, scratch);
  memcpy(a->x1, a->x0, sizeof(float) * (size_t)T * C);
  layers_product(d, mat(a->x1, T, C), mat(a->att, T, C), b->proj, 1);
}

void layers_ffn(const Dims *d, const Block *b, const Acts *a, float *x2, int keep) {
  const int T = d->T, C = d->C;
  kern->rmsnorm(a->n2, C, a->rstd2, a->x1, C, b->norm2, T, 1, C, NORM_EPS);
  layers_product(d, mat(a->g, T, 4 * C), mat(a->n2, T, C), b->fc, 0);
  kern->gelu(a->g, keep ? a->dg : NULL, a->g, (size_t)T * 4 * C);
  memcpy(x2, a->x1, sizeof(float) * (size_t)T * C);
  layers_product(d, mat(x2, T, C), mat(a->g, T, 4 * C), b->out, 1);
}

// x2 = x1 + gelu(norm(x1) Wfc) Wout, so dx1 = dx2 + norm'( ((dx2 Wout^T) * gelu') Wfc^T ).
void layers_ffn_backward(const Dims *d, const Block *b, const Acts *a, const Grads *g) {
  const int T = d->T, C = d->C;
  layers_product(d, mat(g->dg, T, 4 * C), mat(g->dx2, T, C), b->out_t, 0);
  kern->mul(g->dg, a->dg, (size_t)T * 4 * C);
  layers_product(d, mat(g->dn, T, C), mat(g->dg, T, 4 * C), b->fc_t, 0);
  memcpy(g->dx1, g->dx2, sizeof(float) * (size_t)T * C);
  kern->rmsnorm_back(g->dx1, C, g->gains + 3 * C, g->dn, C, a->x1, C, a->rstd2, b->norm2, T, 1, C, 1);
}

// x1 = x0 + att Wproj with att from rotated, normalised queries and keys: undone in the opposite order.
void layers_attention_backward(const Dims *d, const Block *b, const Acts *a, const Grads *g, float *scratch) {
  const int T = d->T, C = d->C, H = d->H;
  layers_product(d, mat(g->datt, T, C), mat(g->dx1, T, C), b->proj_t, 0);
  attention_backward(d, a, g, scratch);
  kern->rope(g->dqkv, 3 * C, d->cosine, d->sine, T, C, -1);
  kern->rope(g->dqkv + C, 3 * C, d->cosine, d->sine, T, C, -1);
  if (d->qk_norm)
    kern->rmsnorm_back(g->dqkv, 3 * C, g->gains + C, g->dqkv, 3 * C, a->qkv, 3 * C, a->qk_rstd, b->qk_norm, T, 2 * H,
                       C / H, 0);
  layers_product(d, mat(g->dn, T, C), mat(g->dqkv, T, 3 * C), b->qkv_t, 0);
  memcpy(g->dx0, g->dx1, sizeof(float) * (size_t)T * C);
  kern->rmsnorm_back(g->dx0, C, g->gains, g->dn, C, a->x0, C, a->rstd1, b->norm1, T, 1, C, 1);
}
