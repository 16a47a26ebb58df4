// ref_gpt.c: see ref_gpt.h. One sequence at a time; every function comes as a forward and its backward, the latter with
// its derivation. `d<name>` is d(loss)/d(name). Functions ending in _back ADD to what they are given, except where
// said.
//
// References: Vaswani et al. 2017 (attention), Zhang & Sennrich 2019 (RMSNorm), Su et al. 2021 (rotary positions),
// Hendrycks & Gimpel 2016 (GELU), Henry et al. 2020 (query/key normalisation).
#include "ref_gpt.h"
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double NORM_EPS = 1e-5;

// What one layer keeps of the forward pass. A row of qkv is queries | keys | values; of qk (normalised, rotated)
// queries | keys.
typedef struct RefLayer {
  double *x, *n1, *r1, *qkv, *qk, *rqk, *p, *att;  // [T][C] [T][C] [T] [T][3C] [T][2C] [T][2H] [H][T][T] [T][C]
  double *mid, *n2, *r2, *fc, *act, *y;            // [T][C] [T][C] [T] [T][4C] [T][4C] [T][C]
} RefLayer;

// ---- Arithmetic -------------------------------------------------------------------------------------

// The result of one operation, as the simulated arithmetic delivers it.
static double perturb(RefGpt *r, double x, double noise) {
  if (noise == 0) return x;
  uint64_t z = r->rng += 0x9e3779b97f4a7c15u;  // SplitMix64
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return x + x * noise * ((double)(int64_t)z * 0x1p-63);
}
static double fl(RefGpt *r, double x) { return perturb(r, x, r->noise); }

// A function of the maths library in float, with the 2 units in the last place that a vectorised one may be off.
static double fl_lib(RefGpt *r, double x) {
  if (r->noise == 0) return x;
  return x + 4 * (fl(r, x) - x);
}

static double *zeros(size_t n) {
  double *p = calloc(n, sizeof *p);
  assert(p);
  return p;
}

// An operand of a product as the simulated arithmetic rounds it: one rounding an element, whatever it is multiplied by.
static double *operand(RefGpt *r, const double *x, int n) {
  double *y = zeros((size_t)n);
  for (int i = 0; i < n; i++) y[i] = perturb(r, x[i], r->operand_noise);
  return y;
}

// ---- Linear: y = x w --------------------------------------------------------------------------------

// y [T][N] (+)= x [T][K] w [K][N]. An accumulated product is one chain from the old value, as a float GEMM may well do
// it.
static void linear(RefGpt *r, double *y, const double *x0, const double *w0, int T, int K, int N, bool accumulate) {
  double *x = operand(r, x0, T * K), *w = operand(r, w0, K * N);
  for (int t = 0; t < T; t++)
    for (int j = 0; j < N; j++) {
      double s = accumulate ? y[t * N + j] : 0;
      for (int k = 0; k < K; k++) s = fl(r, s + x[t * K + k] * w[k * N + j]);
      y[t * N + j] = s;
    }
  free(x);
  free(w);
}

// y_tj = sum_k x_tk w_kj, so dx_tk = sum_j dy_tj w_kj (stored) and dw_kj += sum_t x_tk dy_tj.
static void linear_back(RefGpt *r, double *dx, double *dw, const double *dy0, const double *x0, const double *w0,
                        int T, int K, int N) {
  double *dy = operand(r, dy0, T * N), *x = operand(r, x0, T * K), *w = operand(r, w0, K * N);
  for (int t = 0; t < T; t++)
    for (int k = 0; k < K; k++) {
      double s = 0;
      for (int j = 0; j < N; j++) s = fl(r, s + dy[t * N + j] * w[k * N + j]);
      dx[t * K + k] = s;
    }
  for (int k = 0; k < K; k++)
    for (int j = 0; j < N; j++)
      for (int t = 0; t < T; t++) dw[k * N + j] = fl(r, dw[k * N + j] + x[t * K + k] * dy[t * N + j]);
  free(dy);
  free(x);
  free(w);
}

// ---- RMSNorm of one vector --------------------------------------------------------------------------

// y_i = x_i s g_i with s = 1/sqrt(mean(x^2) + eps), which is returned.
static double norm(RefGpt *r, double *y, const double *x, const double *g, int n) {
  double ss = 0;
  for (int i = 0; i < n; i++) ss = fl(r, ss + x[i] * x[i]);
  double s = fl(r, 1 / fl(r, sqrt(fl(r, fl(r, ss / n) + NORM_EPS))));
  for (int i = 0; i < n; i++) y[i] = fl(r, fl(r, x[i] * s) * g[i]);
  return s;
}

// ds/dx_j = -s^3 x_j / n, hence dx_j = s g_j dy_j - (s^3 x_j / n) sum_i dy_i g_i x_i; dg_i = dy_i x_i s.
static void norm_back(RefGpt *r, double *dx, double *dg, const double *dy, const double *x, const double *g, double s,
                      int n) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum = fl(r, sum + fl(r, dy[i] * g[i]) * fl(r, x[i] * s));
  for (int i = 0; i < n; i++) {
    double xh = fl(r, x[i] * s);
    dg[i] = fl(r, dg[i] + dy[i] * xh);
    dx[i] = fl(r, dx[i] + fl(r, s * fl(r, fl(r, dy[i] * g[i]) - fl(r, xh * fl(r, sum / n)))));
  }
}

// ---- Rotary positions -------------------------------------------------------------------------------

// Turns each pair (x[2i], x[2i+1]) of one head by sign * t * base^(-2i/n). A rotation's transpose is the rotation back,
// so sign = -1 is the backward of sign = +1.
static void rotate(RefGpt *r, double *x, int t, int n, int sign) {
  for (int i = 0; i < n / 2; i++) {
    double angle = t * pow(r->rope_base, -2.0 * i / n);
    double c = fl(r, cos(angle)), s = sign * fl(r, sin(angle)), a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = fl(r, fl(r, a * c) - fl(r, b * s));
    x[2 * i + 1] = fl(r, fl(r, b * c) + fl(r, a * s));
  }
}

// ---- Attention --------------------------------------------------------------------------------------

// qk = rotate(norm(q | k)); p_tu = softmax over u <= t of q_t.k_u / sqrt(hd); att_t = sum_u p_tu v_u. `gain` [2C] or
// NULL.
static void attention(RefGpt *r, RefLayer *a, const double *gain) {
  int C = r->C, H = r->H, T = r->T, hd = C / H;
  double scale = 1 / sqrt(hd);
  for (int t = 0; t < T; t++)
    for (int h = 0; h < 2 * H; h++) {  // the heads of q, then those of k
      double *to = a->qk + t * 2 * C + h * hd;
      const double *from = a->qkv + t * 3 * C + h * hd;
      if (gain)
        a->rqk[t * 2 * H + h] = norm(r, to, from, gain + h * hd, hd);
      else
        memcpy(to, from, hd * sizeof *to);
      rotate(r, to, t, hd, +1);
    }
  double *qk = operand(r, a->qk, T * 2 * C), *qkv = operand(r, a->qkv, T * 3 * C);  // of the latter, the values
  for (int h = 0; h < H; h++)
    for (int t = 0; t < T; t++) {
      double *p = a->p + (h * T + t) * T, max = -INFINITY, sum = 0;
      const double *q = qk + t * 2 * C + h * hd;
      for (int u = 0; u <= t; u++) {
        const double *k = qk + u * 2 * C + C + h * hd;
        double s = 0;
        for (int i = 0; i < hd; i++) s = fl(r, s + q[i] * k[i]);
        p[u] = fl(r, s * scale);
        max = fmax(max, p[u]);
      }
      for (int u = 0; u <= t; u++) sum = fl(r, sum + (p[u] = fl_lib(r, exp(fl(r, p[u] - max)))));
      for (int u = 0; u <= t; u++) p[u] = fl(r, p[u] * fl(r, 1 / sum));
      double *p_rounded = operand(r, p, t + 1);
      for (int i = 0; i < hd; i++) {
        double s = 0;
        for (int u = 0; u <= t; u++) s = fl(r, s + p_rounded[u] * qkv[u * 3 * C + 2 * C + h * hd + i]);
        a->att[t * C + h * hd + i] = s;
      }
      free(p_rounded);
    }
  free(qk);
  free(qkv);
}

// dp_tu = datt_t.v_u; dv_u += p_tu datt_t. Softmax: ds_tu = p_tu (dp_tu - sum_w p_tw dp_tw), where the sum over w is
// datt_t.att_t (of numbers that no product has rounded). s = q.k scale: dq_t += ds_tu scale k_u, dk_u += ds_tu scale
// q_t. Then back through the rotation and the norm. dqkv [T][3C] and dgain are added to.
static void attention_back(RefGpt *r, double *dqkv, double *dgain, const double *datt, const RefLayer *a,
                           const double *gain) {
  int C = r->C, H = r->H, T = r->T, hd = C / H;
  double scale = 1 / sqrt(hd), *dqk = zeros((size_t)T * 2 * C);
  double *qk = operand(r, a->qk, T * 2 * C), *qkv = operand(r, a->qkv, T * 3 * C), *dys = operand(r, datt, T * C);
  for (int h = 0; h < H; h++)
    for (int t = 0; t < T; t++) {
      const double *p = a->p + (h * T + t) * T, *dy = dys + t * C + h * hd;
      double *p_rounded = operand(r, p, t + 1), delta = 0;
      for (int i = h * hd; i < (h + 1) * hd; i++) delta = fl(r, delta + datt[t * C + i] * a->att[t * C + i]);
      for (int u = 0; u <= t; u++) {
        const double *v = qkv + u * 3 * C + 2 * C + h * hd;
        double *dv = dqkv + u * 3 * C + 2 * C + h * hd, dp = 0;
        for (int i = 0; i < hd; i++) {
          dp = fl(r, dp + dy[i] * v[i]);
          dv[i] = fl(r, dv[i] + p_rounded[u] * dy[i]);
        }
        double ds = perturb(r, fl(r, fl(r, p[u] * fl(r, dp - delta)) * scale), r->operand_noise);
        int q = t * 2 * C + h * hd, k = u * 2 * C + C + h * hd;
        for (int i = 0; i < hd; i++) {
          dqk[q + i] = fl(r, dqk[q + i] + ds * qk[k + i]);
          dqk[k + i] = fl(r, dqk[k + i] + ds * qk[q + i]);
        }
      }
      free(p_rounded);
    }
  for (int t = 0; t < T; t++)
    for (int h = 0; h < 2 * H; h++) {
      double *from = dqk + t * 2 * C + h * hd, *to = dqkv + t * 3 * C + h * hd;
      rotate(r, from, t, hd, -1);
      if (gain)
        norm_back(r, to, dgain + h * hd, from, a->qkv + t * 3 * C + h * hd, gain + h * hd, a->rqk[t * 2 * H + h], hd);
      else
        for (int i = 0; i < hd; i++) to[i] += from[i];
    }
  free(dqk);
  free(qk);
  free(qkv);
  free(dys);
}

// ---- GELU -------------------------------------------------------------------------------------------

// .5 x (1 + tanh u) = x sigmoid(2u), u = k (x + c x^3), k = sqrt(2/pi), c = .044715. Returns sigmoid(2u); *du =
// d(2u)/dx.
static double gelu_gate(RefGpt *r, double x, double *du) {
  const double k = sqrt(2 / acos(-1)), c = 0.044715;
  double x2 = fl(r, x * x);
  *du = fl(r, 2 * k * fl(r, 1 + 3 * c * x2));
  return fl(r, 1 / fl(r, 1 + fl_lib(r, exp(-fl(r, 2 * k * fl(r, x * fl(r, 1 + c * x2)))))));
}

static double gelu(RefGpt *r, double x) {
  double du;
  return fl(r, x * gelu_gate(r, x, &du));
}

// y = x s(2u(x)), s' = s (1 - s): dy/dx = s + x s (1 - s) d(2u)/dx.
static double gelu_slope(RefGpt *r, double x) {
  double du, s = gelu_gate(r, x, &du);
  return fl(r, s + fl(r, fl(r, fl(r, x * s) * fl(r, 1 - s)) * du));
}

// ---- The model --------------------------------------------------------------------------------------

static RefTensor *layer_tensor(const RefGpt *r, int l, const char *name) {
  char full[40];
  snprintf(full, sizeof full, "l%d.%s", l, name);
  return ref_tensor(r, full);
}

// From a->x to a->y: mid = x + proj(attention(qkv(norm x))), y = mid + out(gelu(fc(norm mid))).
static void block(RefGpt *r, int l) {
  RefLayer *a = &r->acts[l];
  int C = r->C, T = r->T;
  for (int t = 0; t < T; t++) a->r1[t] = norm(r, a->n1 + t * C, a->x + t * C, layer_tensor(r, l, "norm1")->w, C);
  linear(r, a->qkv, a->n1, layer_tensor(r, l, "qkv")->w, T, C, 3 * C, false);
  attention(r, a, r->qk_norm ? layer_tensor(r, l, "qk_norm")->w : NULL);
  memcpy(a->mid, a->x, (size_t)T * C * sizeof *a->mid);
  linear(r, a->mid, a->att, layer_tensor(r, l, "proj")->w, T, C, C, true);
  for (int t = 0; t < T; t++) a->r2[t] = norm(r, a->n2 + t * C, a->mid + t * C, layer_tensor(r, l, "norm2")->w, C);
  linear(r, a->fc, a->n2, layer_tensor(r, l, "fc")->w, T, C, 4 * C, false);
  for (int i = 0; i < T * 4 * C; i++) a->act[i] = gelu(r, a->fc[i]);
  memcpy(a->y, a->mid, (size_t)T * C * sizeof *a->y);
  linear(r, a->y, a->act, layer_tensor(r, l, "out")->w, T, 4 * C, C, true);
}

// The same backwards. On entry dx = dy; on return dx = d(x): a residual passes its gradient on and adds its branch's.
static void block_back(RefGpt *r, int l, double *dx) {
  RefLayer *a = &r->acts[l];
  int C = r->C, T = r->T;
  double *wide = zeros((size_t)T * 4 * C), *narrow = zeros((size_t)T * C), *dqkv = zeros((size_t)T * 3 * C);
  RefTensor *norm1 = layer_tensor(r, l, "norm1"), *qkv = layer_tensor(r, l, "qkv"), *proj = layer_tensor(r, l, "proj"),
            *norm2 = layer_tensor(r, l, "norm2"), *fc = layer_tensor(r, l, "fc"), *out = layer_tensor(r, l, "out");

  linear_back(r, wide, out->g, dx, a->act, out->w, T, 4 * C, C);
  for (int i = 0; i < T * 4 * C; i++) wide[i] = fl(r, wide[i] * gelu_slope(r, a->fc[i]));
  linear_back(r, narrow, fc->g, wide, a->n2, fc->w, T, C, 4 * C);
  for (int t = 0; t < T; t++) norm_back(r, dx + t * C, norm2->g, narrow + t * C, a->mid + t * C, norm2->w, a->r2[t], C);

  linear_back(r, narrow, proj->g, dx, a->att, proj->w, T, C, C);
  RefTensor *gain = r->qk_norm ? layer_tensor(r, l, "qk_norm") : NULL;
  attention_back(r, dqkv, gain ? gain->g : NULL, narrow, a, gain ? gain->w : NULL);
  linear_back(r, narrow, qkv->g, dqkv, a->n1, qkv->w, T, C, 3 * C);
  for (int t = 0; t < T; t++) norm_back(r, dx + t * C, norm1->g, narrow + t * C, a->x + t * C, norm1->w, a->r1[t], C);
  free(wide);
  free(narrow);
  free(dqkv);
}

// logits_tv = sum_c y_tc head_cv; a tied head is the embedding table [V][C] read across.
static void head_weights(const RefGpt *r, double *w) {
  const double *from = ref_tensor(r, r->tied ? "embed" : "head")->w;
  for (int c = 0; c < r->C; c++)
    for (int v = 0; v < REF_VOCAB; v++) w[c * REF_VOCAB + v] = r->tied ? from[v * r->C + c] : from[c * REF_VOCAB + v];
}

// One sequence: the sum of its T losses. dscale != 0 adds dscale * d(sum) to the gradients.
static double sequence(RefGpt *r, const uint8_t *tokens, double dscale) {
  int C = r->C, T = r->T, V = REF_VOCAB;
  double *y = zeros((size_t)T * C), *rs = zeros(T), *w = zeros((size_t)C * V), *gain = ref_tensor(r, "norm")->w,
         loss = 0;
  RefTensor *embed = ref_tensor(r, "embed");
  for (int t = 0; t < T; t++) memcpy(r->acts[0].x + t * C, embed->w + tokens[t] * C, C * sizeof(double));
  for (int l = 0; l < r->L; l++) {
    block(r, l);
    if (l + 1 < r->L) memcpy(r->acts[l + 1].x, r->acts[l].y, (size_t)T * C * sizeof(double));
  }
  const double *last = r->acts[r->L - 1].y;
  for (int t = 0; t < T; t++) rs[t] = norm(r, y + t * C, last + t * C, gain, C);
  head_weights(r, w);
  linear(r, r->logits, y, w, T, C, V, false);

  // loss_t = log sum_v exp(z_v) - z_target, so dz_v = softmax(z)_v - [v = target].
  double *dz = zeros((size_t)T * V);
  for (int t = 0; t < T; t++) {
    const double *z = r->logits + t * V;
    int target = tokens[t + 1];
    double max = -INFINITY, sum = 0;
    for (int v = 0; v < V; v++) max = fmax(max, z[v]);
    for (int v = 0; v < V; v++) sum = fl(r, sum + (dz[t * V + v] = fl_lib(r, exp(fl(r, z[v] - max)))));
    loss += fl(r, fl_lib(r, log(sum)) - fl(r, z[target] - max));
    for (int v = 0; v < V; v++)
      dz[t * V + v] = fl(r, fl(r, fl(r, dz[t * V + v] / sum) - (v == target)) * fl(r, dscale));
  }
  if (dscale != 0) {
    double *dy = zeros((size_t)T * C), *dx = zeros((size_t)T * C), *dw = zeros((size_t)C * V);
    linear_back(r, dy, dw, dz, y, w, T, C, V);
    double *dhead = ref_tensor(r, r->tied ? "embed" : "head")->g;
    for (int c = 0; c < C; c++)
      for (int v = 0; v < V; v++) {
        double *to = r->tied ? &dhead[v * C + c] : &dhead[c * V + v];
        *to = fl(r, *to + dw[c * V + v]);
      }
    for (int t = 0; t < T; t++)
      norm_back(r, dx + t * C, ref_tensor(r, "norm")->g, dy + t * C, last + t * C, gain, rs[t], C);
    for (int l = r->L - 1; l >= 0; l--) block_back(r, l, dx);
    for (int t = 0; t < T; t++)
      for (int c = 0; c < C; c++) embed->g[tokens[t] * C + c] = fl(r, embed->g[tokens[t] * C + c] + dx[t * C + c]);
    free(dy);
    free(dx);
    free(dw);
  }
  free(dz);
  free(y);
  free(rs);
  free(w);
  return loss;
}

double ref_run(RefGpt *r, const uint8_t *tokens, int B, bool backward, double *row_loss) {
  double total = 0;
  for (int b = 0; b < B; b++) {
    double sum = sequence(r, tokens + b * (r->T + 1), backward ? 1.0 / (B * r->T) : 0);
    if (row_loss) row_loss[b] = sum / r->T;
    total += sum;
  }
  return total / (B * r->T);
}

// ---- Making and freeing -----------------------------------------------------------------------------

static void add_tensor(RefGpt *r, int layer, const char *name, int rows, int cols) {
  RefTensor *t = &r->tensors[r->n_tensors++];
  int len = layer < 0 ? snprintf(t->name, sizeof t->name, "%s", name)
                      : snprintf(t->name, sizeof t->name, "l%d.%s", layer, name);
  assert(len < (int)sizeof t->name);
  t->rows = rows;
  t->cols = cols;
  t->w = zeros((size_t)rows * cols);
  t->g = zeros((size_t)rows * cols);
}

RefGpt *ref_new(int C, int L, int H, int T, bool tied, bool qk_norm, double rope_base) {
  assert(L > 0 && T > 0 && C % H == 0 && C / H % 2 == 0);
  RefGpt *r = calloc(1, sizeof *r);
  assert(r);
  *r = (RefGpt){.C = C, .L = L, .H = H, .T = T, .tied = tied, .qk_norm = qk_norm, .rope_base = rope_base};
  r->tensors = calloc(7 * (size_t)L + 3, sizeof *r->tensors);
  r->acts = calloc((size_t)L, sizeof *r->acts);
  assert(r->tensors && r->acts);
  r->logits = zeros((size_t)T * REF_VOCAB);
  add_tensor(r, -1, "embed", REF_VOCAB, C);
  for (int l = 0; l < L; l++) {
    add_tensor(r, l, "norm1", 1, C);
    add_tensor(r, l, "qkv", C, 3 * C);
    if (qk_norm) add_tensor(r, l, "qk_norm", 1, 2 * C);
    add_tensor(r, l, "proj", C, C);
    add_tensor(r, l, "norm2", 1, C);
    add_tensor(r, l, "fc", C, 4 * C);
    add_tensor(r, l, "out", 4 * C, C);
    size_t n = (size_t)T * C;
    r->acts[l] = (RefLayer){zeros(n),
                            zeros(n),
                            zeros(T),
                            zeros(3 * n),
                            zeros(2 * n),
                            zeros((size_t)T * 2 * H),
                            zeros((size_t)H * T * T),
                            zeros(n),
                            zeros(n),
                            zeros(n),
                            zeros(T),
                            zeros(4 * n),
                            zeros(4 * n),
                            zeros(n)};
  }
  add_tensor(r, -1, "norm", 1, C);
  if (!tied) add_tensor(r, -1, "head", C, REF_VOCAB);
  return r;
}

void ref_free(RefGpt *r) {
  for (int i = 0; i < r->n_tensors; i++) {
    free(r->tensors[i].w);
    free(r->tensors[i].g);
  }
  for (int l = 0; l < r->L; l++) {
    RefLayer *a = &r->acts[l];
    double *all[] = {a->x,   a->n1,  a->r1, a->qkv, a->qk, a->rqk, a->p,
                     a->att, a->mid, a->n2, a->r2,  a->fc, a->act, a->y};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
  }
  free(r->tensors);
  free(r->acts);
  free(r->logits);
  free(r);
}

RefTensor *ref_tensor(const RefGpt *r, const char *name) {
  for (int i = 0; i < r->n_tensors; i++)
    if (strcmp(r->tensors[i].name, name) == 0) return &r->tensors[i];
  assert(!"no such tensor");
  return NULL;
}

void ref_zero_grads(RefGpt *r) {
  for (int i = 0; i < r->n_tensors; i++)
    memset(r->tensors[i].g, 0, (size_t)r->tensors[i].rows * r->tensors[i].cols * sizeof(double));
}
