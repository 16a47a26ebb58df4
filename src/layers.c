// layers.c: see layers.h. In: one sequence's rows and a block's weights. Out: activations or gradients of the same
// rows. Everything here runs on one thread and touches only its own sequence, so threads never meet inside a block.
#include "layers.h"
#include <math.h>
#include <string.h>

static const float NORM_EPS = 1.0f / NORM_EPS_INV;
// Query rows a block of attention: keeps its T x ATT_ROWS scores in L1 and wastes half of this many masked columns a row
// on average.
enum { ATT_ROWS = 16 };
// Query rows whose sum goes to a gradient of keys or values in one product.
enum { ATT_SPAN = 64 };
// Floats of a sequence's residual from which on what the backward finds of a layer, 18 times as much, is no longer in
// a second-level cache of 1 MiB, or of 2.
enum { FETCH_FROM = 10 << 10, FETCH_FROM_LARGE = 40 << 10 };
// Floats a token and channel up to which attention's probabilities are kept: as many as of everything else.
enum { KEEP_PROBS = 18 };

void layers_product(const Dims *d, Mat y, Mat x, Mat w, int accumulate) {
  (d->bf16 ? gemm_bf16 : gemm)(y, x, w, accumulate);
}
void layers_product_team(const Dims *d, Mat y, Mat x, Mat w, int accumulate) {
  (d->bf16 ? gemm_bf16_team : gemm_team)(y, x, w, accumulate);
}
Mat layers_pack(const Dims *d, float *dst, Mat w) { return (d->bf16 ? gemm_pack_bf16 : gemm_pack)(dst, w); }
size_t layers_pack_floats(const Dims *d, int k, int n) {
  return (d->bf16 ? gemm_pack_bf16_floats : gemm_pack_floats)(k, n);
}

// The right operand of several products, its rows contiguous: floats are read where they lie, bf16 is rounded once.
static Mat shared(const Dims *d, float *dst, Mat w) { return d->bf16 ? gemm_pack_bf16(dst, w) : w; }
static size_t shared_floats(const Dims *d, int k, int n) { return d->bf16 ? layers_pack_floats(d, k, n) : 0; }

// Reads x once in the order of addresses, which the hardware fetches ahead from beyond the second-level cache: what then
// takes x by columns, or by heads, would wait for it. Small models have their activations in that cache anyway.
static void fetch(const Dims *d, Mat x) {
  if (d->T * d->C < (kern->large_caches ? FETCH_FROM_LARGE : FETCH_FROM)) return;
  for (int i = 0; i < x.rows; i++)
    for (int j = 0; j < x.cols; j += 16) {
      int word;
      memcpy(&word, x.p + i * x.rs + j, sizeof word);
      __asm__ volatile("" : : "r"(word));
    }
}

// ---- Attention (Vaswani et al. 2017), causal ----------------------------------------------------------
//
// For a query row i and keys j <= i:  s_j = scale q_i.k_j,  p = softmax(s),  o_i = sum_j p_j v_j.
// Rows are taken ATT_ROWS at a time against the keys up to the block's end: the masked half is never computed. Where
// sequences are short the backward finds the probabilities, whose bytes take less time than their products; where they
// are long, it makes them again from two floats a row (Dao et al. 2022).

size_t layers_scratch(const Dims *d) {
  const int hd = d->C / d->H;
  return 2 * layers_pack_floats(d, hd, d->T) + shared_floats(d, d->T, hd) + 2 * (size_t)ATT_SPAN * row_ld(d->T) +
         (size_t)d->H * d->T;
}

// A span, ATT_SPAN queries from s0 on, meets the keys up to its end: [rows][s1] at row_ld(s1). Its floats lie behind
// those of the spans before.
static int span_end(int T, int s0) { return T - s0 < ATT_SPAN ? T : s0 + ATT_SPAN; }
static size_t span_at(int T, int s0) {
  size_t at = 0;
  for (int s = 0; s < s0; s += ATT_SPAN) at += (size_t)(span_end(T, s) - s) * row_ld(span_end(T, s));
  return at;
}
size_t layers_probs(const Dims *d) {
  const size_t floats = d->H * span_at(d->T, d->T);
  return floats <= (size_t)KEEP_PROBS * d->T * d->C ? floats : 0;
}
static Mat span_probs(const Dims *d, const Acts *a, int h, int s0) {
  const int s1 = span_end(d->T, s0);
  return mat_ld(a->probs + h * span_at(d->T, d->T) + span_at(d->T, s0), s1 - s0, s1, row_ld(s1));
}

// Head h of the `at`-th of `parts` matrices [T][C] that lie side by side.
static Mat head_of(float *p, const Dims *d, int parts, int at, int h) {
  const int hd = d->C / d->H;
  return mat_ld(p + at * d->C + h * hd, d->T, hd, row_ld(parts * d->C));
}

static void attention_forward(const Dims *d, const Acts *a, int keep, float *scratch) {
  const int T = d->T, hd = d->C / d->H;
  const float scale = 1 / sqrtf((float)hd);
  float *kt_buf = scratch, *v_buf = kt_buf + layers_pack_floats(d, hd, T), *s_buf = v_buf + shared_floats(d, T, hd);
  for (int h = 0; h < d->H; h++) {
    const Mat q = head_of(a->qk, d, 2, 0, h), k = head_of(a->qk, d, 2, 1, h), o = head_of(a->att, d, 1, 0, h);
    const Mat kt = layers_pack(d, kt_buf, tr(k)), v = shared(d, v_buf, head_of(a->qkv, d, 3, 2, h));
    float *stats = a->stats + (size_t)h * T * 2;
    for (int i0 = 0; i0 < T; i0 += ATT_ROWS) {
      const int rows = T - i0 < ATT_ROWS ? T - i0 : ATT_ROWS, n = i0 + rows;
      const int s0 = i0 / ATT_SPAN * ATT_SPAN;
      const Mat p = keep && a->probs ? mat_cols(mat_rows(span_probs(d, a, h, s0), i0 - s0, rows), 0, n)
                                     : mat_ld(s_buf, rows, n, row_ld(T));
      layers_product(d, p, mat_rows(q, i0, rows), mat_cols(kt, 0, n), 0);
      kern->softmax(p.p, p.rs, rows, i0 + 1, scale, stats + 2 * i0);
      layers_product(d, mat_rows(o, i0, rows), p, mat_rows(v, 0, n), 0);
    }
  }
}

// With dp_j = do_i.v_j and delta_i = sum_j p_j dp_j = do_i.o_i:
//   ds_j = p_j (dp_j - delta_i) scale,   dq_i = sum_j ds_j k_j,   dk_j += ds_j q_i,   dv_j += p_j do_i.
// delta [T][H]. Writes the gradients of rotated queries and keys and of values into dqkv.
static void attention_backward(const Dims *d, const Acts *a, const Grads *g, const float *delta, float *scratch) {
  const int T = d->T, hd = d->C / d->H;
  const float scale = 1 / sqrtf((float)hd);
  float *kt_buf = scratch, *vt_buf = kt_buf + layers_pack_floats(d, hd, T);
  float *k_buf = vt_buf + layers_pack_floats(d, hd, T);
  float *p_buf = k_buf + shared_floats(d, T, hd), *ds_buf = p_buf + (size_t)ATT_SPAN * row_ld(T);
  for (int h = 0; h < d->H; h++) {
    const Mat q = head_of(a->qk, d, 2, 0, h), k = head_of(a->qk, d, 2, 1, h), v = head_of(a->qkv, d, 3, 2, h);
    const Mat dout = head_of(g->datt, d, 1, 0, h), dq = head_of(g->dqkv, d, 3, 0, h);
    const Mat dk = head_of(g->dqkv, d, 3, 1, h), dv = head_of(g->dqkv, d, 3, 2, h);
    const Mat kt = a->probs ? tr(k) : layers_pack(d, kt_buf, tr(k));  // for those that are made again
    const Mat vt = layers_pack(d, vt_buf, tr(v)), ks = shared(d, k_buf, k);
    const float *stats = a->stats + (size_t)h * T * 2;
    // Sums over queries are taken ATT_SPAN at a time, from the last span up: the first one met by a key row stores, later
    // ones add.
    for (int s0 = (T - 1) / ATT_SPAN * ATT_SPAN, s1 = T; s0 >= 0; s1 = s0, s0 -= ATT_SPAN) {
      const Mat qs = mat_rows(q, s0, s1 - s0), dos = mat_rows(dout, s0, s1 - s0);
      const Mat ps = a->probs ? span_probs(d, a, h, s0) : mat_ld(p_buf, s1 - s0, s1, row_ld(T));
      const Mat dss = mat_ld(ds_buf, s1 - s0, s1, ps.rs);
      for (int i0 = s0, rows; i0 < s1; i0 += rows) {
        rows = s1 - i0 < ATT_ROWS ? s1 - i0 : ATT_ROWS;
        const int n = i0 + rows;
        const Mat p = mat_cols(mat_rows(ps, i0 - s0, rows), 0, n), ds = mat_cols(mat_rows(dss, i0 - s0, rows), 0, n);
        if (!a->probs) {
          layers_product(d, p, mat_rows(q, i0, rows), mat_cols(kt, 0, n), 0);
          kern->softmax_again(p.p, p.rs, rows, i0 + 1, scale, stats + 2 * i0);
        }
        layers_product(d, ds, mat_rows(dout, i0, rows), mat_cols(vt, 0, n), 0);
        kern->softmax_back(ds.p, p.p, p.rs, rows, i0 + 1, delta + (size_t)i0 * d->H + h, d->H, scale);
        layers_product(d, mat_rows(dq, i0, rows), ds, mat_rows(ks, 0, n), 0);
      }
      // Keys before the span meet all its queries, a block of keys inside it those from its own rows on.
      for (int j0 = 0, n; j0 < s1; j0 += n) {
        n = j0 < s0 ? s0 : s1 - j0 < ATT_ROWS ? s1 - j0 : ATT_ROWS;
        const int i0 = j0 < s0 ? 0 : j0 - s0, from = s1 - s0 - i0;
        const Mat dst = tr(mat_cols(mat_rows(dss, i0, from), j0, n));
        const Mat pt = tr(mat_cols(mat_rows(ps, i0, from), j0, n));
        layers_product(d, mat_rows(dk, j0, n), dst, mat_rows(qs, i0, from), s1 < T);
        layers_product(d, mat_rows(dv, j0, n), pt, mat_rows(dos, i0, from), s1 < T);
      }
    }
  }
}

// ---- A block -----------------------------------------------------------------------------------------

Acts layers_acts_at(const Dims *d, const Acts *a, size_t r) {
  const size_t C1 = row_ld(d->C), C2 = row_ld(2 * d->C), C3 = row_ld(3 * d->C), C4 = row_ld(4 * d->C), H = d->H;
  return (Acts){.x0 = a->x0 + r * C1,
                .rstd1 = a->rstd1 + r,
                .n1 = a->n1 + r * C1,
                .qkv = a->qkv + r * C3,
                .qk = a->qk + r * C2,
                .qk_rstd = a->qk_rstd + r * 2 * H,
                .att = a->att + r * C1,
                .stats = a->stats + r * H * 2,
                .probs = a->probs ? a->probs + r / d->T * layers_probs(d) : NULL,
                .x1 = a->x1 + r * C1,
                .rstd2 = a->rstd2 + r,
                .n2 = a->n2 + r * C1,
                .g = a->g + r * C4,
                .dg = a->dg ? a->dg + r * C4 : NULL};
}

static Mat rows_of(float *p, int rows, int n) { return mat_ld(p, rows, n, row_ld(n)); }

Mat layers_input(const Dims *d, const Acts *a, MatId m, int rows) {
  float *const p[] = {a->n1, a->att, a->n2, a->g};
  return rows_of(p[m], rows, m == OUT ? 4 * d->C : d->C);
}

Mat layers_output(const Dims *d, const Grads *g, MatId m, int rows) {
  float *const p[] = {g->dqkv, g->dx1, g->dh, g->dx2};
  return rows_of(p[m], rows, m == QKV ? 3 * d->C : m == FC ? 4 * d->C : d->C);
}

static void rows_copy(float *y, const float *x, int rows, int n) {
  memcpy(y, x, sizeof(float) * ((size_t)(rows - 1) * row_ld(n) + n));
}

void layers_forward(const Dims *d, const Block *b, const Acts *a, float *x2, int keep, float *scratch) {
  const int T = d->T, C = d->C, H = d->H, C1 = row_ld(C), C2 = row_ld(2 * C), C3 = row_ld(3 * C), C4 = row_ld(4 * C);
  kern->rmsnorm(a->n1, C1, a->rstd1, a->x0, C1, b->norm1, T, 1, C, NORM_EPS);
  layers_product(d, rows_of(a->qkv, T, 3 * C), rows_of(a->n1, T, C), b->fw[QKV], 0);
  if (d->qk_norm)
    kern->rmsnorm(a->qk, C2, a->qk_rstd, a->qkv, C3, b->qk_norm, T, 2 * H, C / H, NORM_EPS);
  else
    for (int t = 0; t < T; t++)
      memcpy(a->qk + (size_t)t * C2, a->qkv + (size_t)t * C3, sizeof(float) * 2 * (size_t)C);
  kern->rope(a->qk, C2, d->cosine, d->sine, T, C, 1);
  kern->rope(a->qk + C, C2, d->cosine, d->sine, T, C, 1);
  attention_forward(d, a, keep, scratch);
  rows_copy(a->x1, a->x0, T, C);
  layers_product(d, rows_of(a->x1, T, C), rows_of(a->att, T, C), b->fw[PROJ], 1);

  kern->rmsnorm(a->n2, C1, a->rstd2, a->x1, C1, b->norm2, T, 1, C, NORM_EPS);
  layers_product(d, rows_of(a->g, T, 4 * C), rows_of(a->n2, T, C), b->fw[FC], 0);
  for (int t = 0; t < T; t++) {
    float *g = a->g + (size_t)t * C4;
    kern->gelu(g, keep ? a->dg + (size_t)t * C4 : NULL, g, 4 * (size_t)C);
  }
  rows_copy(x2, a->x1, T, C);
  layers_product(d, rows_of(x2, T, C), rows_of(a->g, T, 4 * C), b->fw[OUT], 1);
}

static void weight_grad(const Dims *d, const Block *dw, int accumulate, const Acts *a, const Grads *g, MatId m) {
  if (!dw) return;
  const Mat x = layers_input(d, a, m, d->T);
  fetch(d, x);
  layers_product(d, dw->w[m], tr(x), layers_output(d, g, m, d->T), accumulate);
}

// x2 = x1 + gelu(norm(x1) Wfc) Wout, so dx1 = dx2 + norm'( ((dx2 Wout^T) * gelu') Wfc^T );
// x1 = x0 + att Wproj with att from rotated, normalised queries and keys: undone in the opposite order.
void layers_backward(const Dims *d, const Block *b, const Block *dw, int accumulate, const Acts *a, const Grads *g,
                     float *scratch) {
  const int T = d->T, C = d->C, H = d->H, C1 = row_ld(C), C3 = row_ld(3 * C), C4 = row_ld(4 * C);
  float *delta = scratch + layers_scratch(d) - (size_t)T * H;
  layers_product(d, rows_of(g->dh, T, 4 * C), rows_of(g->dx2, T, C), b->bw[OUT], 0);
  for (int t = 0; t < T; t++) kern->mul(g->dh + (size_t)t * C4, a->dg + (size_t)t * C4, 4 * (size_t)C);
  layers_product(d, rows_of(g->dn, T, C), rows_of(g->dh, T, 4 * C), b->bw[FC], 0);
  weight_grad(d, dw, accumulate, a, g, OUT);
  weight_grad(d, dw, accumulate, a, g, FC);
  kern->rmsnorm_back(g->dx1, g->gains + 3 * C, g->dn, C1, a->x1, C1, a->rstd2, b->norm2, T, 1, C, g->dx2);

  layers_product(d, rows_of(g->datt, T, C), rows_of(g->dx1, T, C), b->bw[PROJ], 0);
  weight_grad(d, dw, accumulate, a, g, PROJ);
  kern->dots(delta, g->datt, a->att, C1, T, H, C / H);
  fetch(d, rows_of(a->qk, T, 2 * C));
  fetch(d, rows_of(a->qkv, T, 3 * C));
  attention_backward(d, a, g, delta, scratch);
  kern->rope(g->dqkv, C3, d->cosine, d->sine, T, C, -1);
  kern->rope(g->dqkv + C, C3, d->cosine, d->sine, T, C, -1);
  if (d->qk_norm)
    kern->rmsnorm_back(g->dqkv, g->gains + C, g->dqkv, C3, a->qkv, C3, a->qk_rstd, b->qk_norm, T, 2 * H, C / H,
                       NULL);
  layers_product(d, rows_of(g->dn, T, C), rows_of(g->dqkv, T, 3 * C), b->bw[QKV], 0);
  weight_grad(d, dw, accumulate, a, g, QKV);
  kern->rmsnorm_back(g->dx0, g->gains, g->dn, C1, a->x0, C1, a->rstd1, b->norm1, T, 1, C, g->dx1);
}
