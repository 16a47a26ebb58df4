// model.c: see model.h. In: parameters and tokens. Out: loss and gradients.
//
// A batch is walked in groups of w->group sequences, a layer at a time. Inside a layer each sequence belongs to one
// thread. A thread that is alone also adds the weight gradients dw += x^T dy, while the rows are in its cache; several
// meet and compute them over the group's rows, split by output. Every element of dw is one serial chain over all tokens in
// order (kernels.h), so neither the threads nor the size of a group can change a bit of it; what sequences add to vectors
// and losses waits in a slot each and is summed in order.
#include "model.h"
#include "layers.h"
#include "shape.h"
#include <assert.h>
#include <limits.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

// ---- The table of tensors ---------------------------------------------------------------------------

static void tensor_add(Model *m, const char *name, int layer, int rows, int cols, double std, bool decay) {
  Tensor *t = &m->tensors[m->n_tensors++];
  *t = (Tensor){.offset = m->n_params, .rows = rows, .cols = cols, .init_std = std, .decay = decay};
  if (layer < 0)
    snprintf(t->name, sizeof t->name, "%s", name);
  else
    snprintf(t->name, sizeof t->name, "l%d.%s", layer, name);
  m->n_params += ((size_t)rows * cols + 15) / 16 * 16;  // each tensor starts on a cache line
}

static void tensors_list(Model *m) {
  const Config *c = &m->cfg;
  const int C = c->d_model, L = c->n_layers;
  // Variance-preserving normal init; what adds to the residual stream is scaled by 1/sqrt(2L) (Radford et al. 2019).
  const double std = c->init_scale / sqrt(C), residual = 1 / sqrt(2.0 * L);
  tensor_add(m, "embed", -1, VOCAB, C, c->emb_std, false);
  for (int l = 0; l < L; l++) {
    tensor_add(m, "norm1", l, 1, C, 0, false);
    tensor_add(m, "qkv", l, C, 3 * C, std, true);
    if (c->qk_norm) tensor_add(m, "qk_norm", l, 1, 2 * C, 0, false);
    tensor_add(m, "proj", l, C, C, std * residual, true);
    tensor_add(m, "norm2", l, 1, C, 0, false);
    tensor_add(m, "fc", l, C, 4 * C, std, true);
    tensor_add(m, "out", l, 4 * C, C, std / 2 * residual, true);
  }
  tensor_add(m, "norm", -1, 1, C, 0, false);
  if (!c->tied) tensor_add(m, "head", -1, C, VOCAB, std, true);
}

const Tensor *model_tensor(const Model *m, const char *name) {
  for (int i = 0; i < m->n_tensors; i++)
    if (strcmp(m->tensors[i].name, name) == 0) return &m->tensors[i];
  return NULL;
}

// ---- Work: activations of a group, gradients on their way down, packed weights ------------------------

enum {
  PACK_CACHE = 32 << 20,  // floats of packed weights kept through a step; above, products read the weights where they are
  GAINS = 5,              // gains in units of C, a sequence: norm1, qk_norm (2), norm2, and the final norm
};

typedef struct Work {
  Dims dims;
  int group;         // sequences in flight
  bool packed;       // are weights packed for the step, or are they packed, where need be, by each product?
  bool training;
  Acts *acts;               // [L], pointers to the group's first row
  Block *blocks, *dblocks;  // [L], parameters and their gradients
  float *x, *xf, *rstdf;    // [R][C] leaving the last block, [R][C] its norm, [R];  R = group * T rows
  float *logits;            // [R][V], then their gradient
  float *dx[3], *dh, *dqkv, *datt, *dn, *gains;  // see Grads; gains [group][GAINS * C]
  float *dembed;                   // [V][C] of a tied embedding's rows as inputs, apart from its use as head; else NULL
  float *cosine, *sine, *scratch;  // [T][C], [T][C], [threads][scratch_floats]
  size_t scratch_floats;
  float **pack;      // [L], in training [2L]: packed weights of a block, from L on their transposes,
  bool *pack_fresh;  // and whether they are this step's
  float *head_buf, *head_t_buf;
  Mat head, head_t;
  double *loss;  // [group]
} Work;

// Hands out aligned pieces; with base == NULL it only counts, so that one function both measures and lays out.
typedef struct Arena {
  float *base;
  size_t used;
} Arena;

static float *carve(Arena *a, size_t floats) {
  float *p = a->base ? a->base + a->used : NULL;
  a->used += (floats + 15) / 16 * 16;
  return p;
}

// Of a block's matrices, or of their transposes.
static size_t block_pack_floats(const Dims *d, int transposed) {
  size_t sum = 0;
  for (int i = 0; i < N_MATS; i++) {
    const int in = i == OUT ? 4 * d->C : d->C, out = i == QKV ? 3 * d->C : i == FC ? 4 * d->C : d->C;
    sum += transposed ? layers_pack_floats(d, out, in) : layers_pack_floats(d, in, out);
  }
  return sum;
}

// Packing pays where three groups use the packed weights (two, if that saves rounding) and there is room. Otherwise
// products read the forward's weights where they are and pack the transposes a panel at a time, which stays in cache.
static bool packing_pays(const Dims *d, int L, int groups, bool training) {
  return groups > 2 - d->bf16 && (block_pack_floats(d, 0) + training * block_pack_floats(d, 1)) * (size_t)L <= PACK_CACHE;
}

static size_t work_layout(const Model *m, Work *w, float *base) {
  const Dims *d = &w->dims;
  const size_t T = d->T, C = d->C, H = d->H, V = VOCAB, R = w->group * T, L = m->cfg.n_layers;
  const size_t RC = R * row_ld(d->C), R2C = R * row_ld(2 * d->C), R3C = R * row_ld(3 * d->C), R4C = R * row_ld(4 * d->C);
  const size_t probs = w->training ? layers_probs(d) : 0;
  Arena a = {base, 0};
  w->cosine = carve(&a, T * C);
  w->sine = carve(&a, T * C);
  for (size_t l = 0; l < L; l++) {
    // Without a backward nothing is kept: all blocks share the first one's rows, the residual updated in place.
    if (l > 0 && !w->training)
      w->acts[l] = w->acts[0];
    else
      w->acts[l] = (Acts){.x0 = carve(&a, RC),
                          .rstd1 = carve(&a, R),
                          .n1 = carve(&a, RC),
                          .qkv = carve(&a, R3C),
                          .qk = carve(&a, R2C),
                          .qk_rstd = carve(&a, R * 2 * H),
                          .att = carve(&a, RC),
                          .stats = carve(&a, R * H * 2),
                          .probs = probs ? carve(&a, w->group * probs) : NULL,
                          .x1 = carve(&a, RC),
                          .rstd2 = carve(&a, R),
                          .n2 = carve(&a, RC),
                          .g = carve(&a, R4C),
                          .dg = w->training ? carve(&a, R4C) : NULL};
  }
  w->x = carve(&a, RC), w->xf = carve(&a, RC);
  w->rstdf = carve(&a, R);
  w->logits = carve(&a, R * row_ld(VOCAB));
  w->scratch_floats = (layers_scratch(d) + 15) / 16 * 16;
  w->scratch = carve(&a, w->scratch_floats * m->threads);
  if (w->training) {
    for (int i = 0; i < 3; i++) w->dx[i] = carve(&a, RC);
    w->dh = carve(&a, R4C);
    w->dqkv = carve(&a, R3C);
    w->datt = carve(&a, RC), w->dn = carve(&a, RC);
    w->gains = carve(&a, w->group * GAINS * C);
    w->dembed = m->cfg.tied ? carve(&a, V * C) : NULL;
  }
  if (w->packed) {
    w->head_buf = carve(&a, layers_pack_floats(d, d->C, VOCAB));
    if (w->training) w->head_t_buf = carve(&a, layers_pack_floats(d, VOCAB, d->C));
    for (size_t l = 0; l < L; l++) {
      w->pack[l] = carve(&a, block_pack_floats(d, 0));
      if (w->training) w->pack[L + l] = carve(&a, block_pack_floats(d, 1));
    }
  }
  return a.used;
}

// The block's tensors as views into a flat array (parameters or gradients).
static Block block_views(const Model *m, float *flat, int l) {
  const int C = m->cfg.d_model;
  const char *names[] = {"norm1", "qkv", "qk_norm", "proj", "norm2", "fc", "out"};
  float *p[7];
  for (int i = 0; i < 7; i++) {
    char name[24];
    snprintf(name, sizeof name, "l%d.%s", l, names[i]);
    const Tensor *t = model_tensor(m, name);
    p[i] = t ? flat + t->offset : NULL;
  }
  Block b = {.norm1 = p[0],
             .qk_norm = p[2],
             .norm2 = p[4],
             .w = {mat(p[1], C, 3 * C), mat(p[3], C, C), mat(p[5], C, 4 * C), mat(p[6], 4 * C, C)}};
  for (int i = 0; i < N_MATS; i++) b.fw[i] = b.w[i], b.bw[i] = tr(b.w[i]);
  return b;
}

static float *model_at(const Model *m, float *flat, const char *name) { return flat + model_tensor(m, name)->offset; }

// [C][V], untied its own matrix, tied the transposed embedding.
static Mat head_view(const Model *m, float *flat) {
  const int C = m->cfg.d_model;
  return m->cfg.tied ? tr(mat(model_at(m, flat, "embed"), VOCAB, C)) : mat(model_at(m, flat, "head"), C, VOCAB);
}

static void rotary_tables(const Model *m, Work *w) {
  const int C = m->cfg.d_model, hd = C / m->cfg.n_heads;
  for (int t = 0; t < w->dims.T; t++)
    for (int c = 0; c < C; c++) {
      const double angle = t * pow(m->cfg.rope_base, -(double)(c % hd / 2 * 2) / hd);
      w->cosine[(size_t)t * C + c] = (float)cos(angle);
      w->sine[(size_t)t * C + c] = (float)sin(angle);
    }
  w->dims.cosine = w->cosine, w->dims.sine = w->sine;
}

int model_new(Model *m, const Config *cfg, bool training, Err *e) {
  *m = (Model){.cfg = *cfg, .threads = cfg->threads > 0 ? cfg->threads : omp_get_max_threads()};
  const int L = cfg->n_layers, B = cfg->batch_tokens / cfg->seq_len > 0 ? cfg->batch_tokens / cfg->seq_len : 1;
  m->tensors = mem_new(sizeof(Tensor) * (size_t)(7 * L + 3), "model", e);
  Work *w = m->work = mem_new(sizeof(Work), "model", e);
  if (!m->tensors || !w) goto no_memory;
  tensors_list(m);
  w->training = training;
  w->group = training && m->threads > B ? B : m->threads;
  w->dims = (Dims){.T = cfg->seq_len,
                   .C = cfg->d_model,
                   .H = cfg->n_heads,
                   .qk_norm = cfg->qk_norm,
                   .bf16 = strcmp(cfg->precision, "bf16") == 0};
  w->packed = packing_pays(&w->dims, L, training ? (B + w->group - 1) / w->group : INT_MAX, training);
  w->acts = mem_new(sizeof(Acts) * (size_t)L, "model", e);
  w->blocks = mem_new(sizeof(Block) * (size_t)L, "model", e);
  w->dblocks = mem_new(sizeof(Block) * (size_t)L, "model", e);
  w->pack = mem_new(sizeof(float *) * 2 * (size_t)L, "model", e);
  w->pack_fresh = mem_new(sizeof(bool) * 2 * (size_t)L, "model", e);
  w->loss = mem_new(sizeof(double) * (size_t)w->group, "model", e);
  if (!w->acts || !w->blocks || !w->dblocks || !w->pack || !w->pack_fresh || !w->loss) goto no_memory;

  const size_t copies = training ? 4 : 1, chunks = model_chunks(m),
               floats = m->n_params * copies + work_layout(m, w, NULL);
  m->bytes = floats * sizeof(float) + chunks * sizeof(double);
  m->params = mem_new(m->bytes, "model", e);
  if (!m->params) goto no_memory;
  m->chunk_sums = (double *)(m->params + floats);
  if (training) {
    m->grads = m->params + m->n_params;
    m->m = m->grads + m->n_params;
    m->v = m->m + m->n_params;
  }
  work_layout(m, w, m->params + m->n_params * copies);
  for (int l = 0; l < L; l++) {
    w->blocks[l] = block_views(m, m->params, l);
    if (training) w->dblocks[l] = block_views(m, m->grads, l);
  }
  w->head = head_view(m, m->params);
  w->head_t = tr(w->head);
  rotary_tables(m, w);
  for (int i = 0; i < m->n_tensors; i++) {
    const Tensor *t = &m->tensors[i];
    const uint64_t seed = rng_u64((uint64_t)cfg->seed, hash_bytes(0, t->name, strlen(t->name)));
    for (size_t j = 0; j < (size_t)t->rows * t->cols; j++)
      m->params[t->offset + j] = t->init_std == 0 ? 1 : (float)(t->init_std * rng_normal(seed, j));
  }
  return OK;
no_memory:
  model_free(m);
  return e->code;
}

void model_free(Model *m) {
  if (m->work) {
    free(m->work->acts);
    free(m->work->blocks);
    free(m->work->dblocks);
    free(m->work->pack);
    free(m->work->pack_fresh);
    free(m->work->loss);
  }
  free(m->work);
  free(m->tensors);
  free(m->params);
  *m = (Model){0};
}

// ---- One sequence -------------------------------------------------------------------------------------

static Acts acts_of(const Work *w, int l, int s) {
  return layers_acts_at(&w->dims, &w->acts[l], (size_t)s * w->dims.T);
}

static float *scratch_of(const Work *w) { return w->scratch + w->scratch_floats * omp_get_thread_num(); }

static Mat rows_at(float *p, int s, int rows, int n) {
  return mat_ld(p + (size_t)s * rows * row_ld(n), rows, n, row_ld(n));
}

static void sequence_embed(const Model *m, const uint8_t *tokens, int s) {
  const Work *w = m->work;
  const int T = w->dims.T, C = w->dims.C;
  const Mat x = rows_at(w->acts[0].x0, s, T, C);
  const float *embed = model_at(m, m->params, "embed");
  for (int t = 0; t < T; t++) memcpy(x.p + t * x.rs, embed + (size_t)tokens[t] * C, sizeof(float) * (size_t)C);
}

static void sequence_logits(const Model *m, int s) {
  const Work *w = m->work;
  const int T = w->dims.T, C = w->dims.C;
  const Mat x = rows_at(w->x, s, T, C), xf = rows_at(w->xf, s, T, C);
  kern->rmsnorm(xf.p, xf.rs, w->rstdf + (size_t)s * T, x.p, x.rs, model_at(m, m->params, "norm"), T, 1, C,
                1.0f / NORM_EPS_INV);
  layers_product(&w->dims, rows_at(w->logits, s, T, VOCAB), xf, w->head, 0);
}

// Sum of the losses of one sequence in nats; with dscale != 0 the logits become their gradient.
static double sequence_loss(const Model *m, const uint8_t *targets, int s, float dscale) {
  const Mat logits = rows_at(m->work->logits, s, m->work->dims.T, VOCAB);
  return kern->xent(logits.p, logits.rs, targets, logits.rows, VOCAB, dscale);
}

// From the gradient of the logits to that of the last block's output.
static void head_backward(const Model *m, int s, float *dx) {
  const Work *w = m->work;
  const int T = w->dims.T, C = w->dims.C;
  const Mat dn = rows_at(w->dn, s, T, C), x = rows_at(w->x, s, T, C), dx_s = rows_at(dx, s, T, C);
  float *gain = w->gains + (size_t)s * GAINS * C + 4 * C;
  layers_product(&w->dims, dn, rows_at(w->logits, s, T, VOCAB), w->head_t, 0);
  memset(gain, 0, sizeof(float) * (size_t)C);
  kern->rmsnorm_back(dx_s.p, gain, dn.p, dn.rs, x.p, x.rs, w->rstdf + (size_t)s * T,
                     model_at(m, m->params, "norm"), T, 1, C, NULL);
}

static void block_backward(const Model *m, int l, int s, const Block *dw, int accumulate, float *dx2, float *dx1,
                           float *dx0) {
  const Work *w = m->work;
  const int T = w->dims.T, C = w->dims.C;
  const Acts a = acts_of(w, l, s);
  const Grads g = {.dx2 = rows_at(dx2, s, T, C).p, .dx1 = rows_at(dx1, s, T, C).p, .dx0 = rows_at(dx0, s, T, C).p,
                   .dh = rows_at(w->dh, s, T, 4 * C).p, .dqkv = rows_at(w->dqkv, s, T, 3 * C).p,
                   .datt = rows_at(w->datt, s, T, C).p, .dn = rows_at(w->dn, s, T, C).p,
                   .gains = w->gains + (size_t)s * GAINS * C};
  memset(g.gains, 0, sizeof(float) * 4 * (size_t)C);
  layers_backward(&w->dims, &w->blocks[l], dw, accumulate, &a, &g, scratch_of(w));
}

// ---- All threads: called by every thread of a parallel region --------------------------------------------

// Packs block l's weights, or their transposes, for the step's first group.
static void team_pack_block(const Model *m, int l, int transposed) {
  Work *w = m->work;
  const int id = l + transposed * m->cfg.n_layers;
  Block *b = &w->blocks[l];
  if (!w->packed || w->pack_fresh[id]) return;
  float *p[N_MATS + 1] = {w->pack[id]};
  for (int i = 0; i < N_MATS; i++)
    p[i + 1] = p[i] + (transposed ? layers_pack_floats(&w->dims, b->w[i].cols, b->w[i].rows)
                                  : layers_pack_floats(&w->dims, b->w[i].rows, b->w[i].cols));
#pragma omp for schedule(static, 1)
  for (int i = 0; i < N_MATS; i++)
    (transposed ? b->bw : b->fw)[i] = layers_pack(&w->dims, p[i], transposed ? tr(b->w[i]) : b->w[i]);
#pragma omp single
  w->pack_fresh[id] = true;
}

// The blocks' forward for the group's n sequences, tokens at T + 1 apart, and, with keep, what the backward needs of it.
static void team_forward(const Model *m, const uint8_t *tokens, int n, int keep) {
  Work *w = m->work;
  const int T = w->dims.T, C = w->dims.C, L = m->cfg.n_layers;
  for (int l = 0; l < L; l++) {
    team_pack_block(m, l, 0);
#pragma omp for schedule(static, 1)
    for (int s = 0; s < n; s++) {
      const Acts a = acts_of(w, l, s);
      if (l == 0) sequence_embed(m, tokens + (size_t)s * (T + 1), s);
      layers_forward(&w->dims, &w->blocks[l], &a, rows_at(l + 1 < L ? w->acts[l + 1].x0 : w->x, s, T, C).p, keep,
                     scratch_of(w));
    }
  }
}

// dw = or += x^T dy over the rows of whole sequences. Where a bf16 product's steps of k would reach across the end of a
// sequence, one sequence after the other, as a thread alone takes them.
static void team_weight_grad(const Dims *d, Mat dw, Mat x, Mat dy, int accumulate) {
  const int span = d->bf16 && d->T % (2 * kern->bf16_step) ? d->T : x.rows;
  for (int t = 0; t < x.rows; t += span)
    layers_product_team(d, dw, tr(mat_rows(x, t, span)), mat_rows(dy, t, span), accumulate || t > 0);
}

// The n sequences' gradients of gains that lie `at` floats into each one's slots, summed in order of sequence.
static void add_gains(const Work *w, float *dgain, int at, int floats, int n, int accumulate) {
  if (!accumulate) memset(dgain, 0, sizeof(float) * (size_t)floats);
  for (int s = 0; s < n; s++) kern->add(dgain, w->gains + (size_t)s * GAINS * w->dims.C + at, (size_t)floats);
}

// A layer's gradients over the group: x^T dy for the matrices, unless the sequences did it, and the gains'.
static void team_weight_grads(const Work *w, int l, int n, int accumulate, bool matrices, float *dx2, float *dx1) {
  const int C = w->dims.C, R = n * w->dims.T;
  const Block *b = &w->dblocks[l];
  const Grads g = {.dx2 = dx2, .dx1 = dx1, .dh = w->dh, .dqkv = w->dqkv};
  for (int i = 0; matrices && i < N_MATS; i++)
    team_weight_grad(&w->dims, b->w[i], layers_input(&w->dims, &w->acts[l], i, R), layers_output(&w->dims, &g, i, R),
                     accumulate);
#pragma omp single
  {
    add_gains(w, b->norm1, 0, C, n, accumulate);
    if (b->qk_norm) add_gains(w, b->qk_norm, C, 2 * C, n, accumulate);
    add_gains(w, b->norm2, 3 * C, C, n, accumulate);
  }
}

// The same for the head and the final norm.
static void team_head_grads(const Model *m, int n, int accumulate) {
  const Work *w = m->work;
  const int C = w->dims.C, R = n * w->dims.T;
  const Mat dlogits = rows_at(w->logits, 0, R, VOCAB), xf = rows_at(w->xf, 0, R, C), dhead = head_view(m, m->grads);
  const bool tied = m->cfg.tied;
  team_weight_grad(&w->dims, tied ? tr(dhead) : dhead, tied ? dlogits : xf, tied ? xf : dlogits, accumulate);
#pragma omp single
  add_gains(w, model_at(m, m->grads, "norm"), 4 * C, C, n, accumulate);
}

// dembed[token] += dx, rows in order; each thread a slice of the channels.
static void team_embed_grads(const Model *m, const uint8_t *tokens, int n, int accumulate, float *dx) {
  const Work *w = m->work;
  const int T = w->dims.T, C = w->dims.C, nt = omp_get_num_threads(), id = omp_get_thread_num();
  const int c0 = C * id / nt, c1 = C * (id + 1) / nt;
  float *dembed = w->dembed ? w->dembed : model_at(m, m->grads, "embed");
  for (int v = 0; v < VOCAB && !accumulate; v++) memset(dembed + v * C + c0, 0, sizeof(float) * (size_t)(c1 - c0));
  for (int s = 0; s < n; s++, tokens += T + 1) {
    const Mat x = rows_at(dx, s, T, C);
    for (int t = 0; t < T; t++) {
      // rows as chance has them: the hardware does not see them come
      for (int c = c0; c < c1; c += 16) __builtin_prefetch(dembed + tokens[t + 4 < T ? t + 4 : t] * C + c);
      kern->add(dembed + tokens[t] * C + c0, x.p + t * x.rs + c0, (size_t)(c1 - c0));
    }
  }
}

// ---- Public ---------------------------------------------------------------------------------------------

// Packed blocks are packed again when they are next wanted, the head, and its transpose for a backward, now.
static void weights_changed(Model *m, bool backward) {
  Work *w = m->work;
  memset(w->pack_fresh, 0, sizeof(bool) * 2 * (size_t)m->cfg.n_layers);
  if (!w->packed) return;
  w->head = layers_pack(&w->dims, w->head_buf, head_view(m, m->params));
  if (backward) w->head_t = layers_pack(&w->dims, w->head_t_buf, tr(head_view(m, m->params)));
}

double model_step(Model *m, const uint8_t *tokens, int B) {
  Work *w = m->work;
  assert(w->training);
  const int T = w->dims.T, L = m->cfg.n_layers;
  const float dscale = 1.0f / ((float)B * T);
  weights_changed(m, true);
  const bool alone = m->threads == 1;
  double total = 0;
#pragma omp parallel num_threads(m->threads)
  for (int s0 = 0; s0 < B; s0 += w->group) {
    const int n = B - s0 < w->group ? B - s0 : w->group;
    const uint8_t *rows = tokens + (size_t)s0 * (T + 1);
    float *dx2 = w->dx[0], *dx1 = w->dx[1], *dx0 = w->dx[2];
    team_forward(m, rows, n, 1);
#pragma omp for schedule(static, 1)
    for (int s = 0; s < n; s++) {
      sequence_logits(m, s);
      w->loss[s] = sequence_loss(m, rows + (size_t)s * (T + 1) + 1, s, dscale);
      head_backward(m, s, dx2);
    }
    team_head_grads(m, n, s0 > 0);
    for (int l = L - 1; l >= 0; l--) {
      team_pack_block(m, l, 1);
#pragma omp for schedule(static, 1)
      for (int s = 0; s < n; s++) block_backward(m, l, s, alone ? &w->dblocks[l] : NULL, s0 > 0, dx2, dx1, dx0);
      team_weight_grads(w, l, n, s0 > 0, !alone, dx2, dx1);
      float *const above = dx2;
      dx2 = dx0, dx0 = above;
    }
    team_embed_grads(m, rows, n, s0 > 0, dx2);
#pragma omp single
    for (int s = 0; s < n; s++) total += w->loss[s];
  }
  if (w->dembed) kern->add(model_at(m, m->grads, "embed"), w->dembed, (size_t)VOCAB * w->dims.C);
  return total / ((double)B * T);
}

void model_losses(Model *m, const uint8_t *tokens, int B, double *loss) {
  Work *w = m->work;
  const int T = w->dims.T;
  weights_changed(m, false);
#pragma omp parallel num_threads(m->threads)
  for (int s0 = 0; s0 < B; s0 += w->group) {
    const int n = B - s0 < w->group ? B - s0 : w->group;
    const uint8_t *rows = tokens + (size_t)s0 * (T + 1);
    team_forward(m, rows, n, 0);
#pragma omp for schedule(static, 1)
    for (int s = 0; s < n; s++) {
      sequence_logits(m, s);
      loss[s0 + s] = sequence_loss(m, rows + (size_t)s * (T + 1) + 1, s, 0) / T;
    }
  }
}

void model_logits(Model *m, const uint8_t *tokens, int n, float *logits) {
  Work *w = m->work;
  const int T = w->dims.T;
  assert(n >= 1 && n <= T);
  uint8_t row[4096] = {0};  // causal: what follows the last token cannot change its logits
  assert(T <= (int)sizeof row);
  memcpy(row, tokens, (size_t)n);
  weights_changed(m, false);
  team_forward(m, row, 1, 0);
  sequence_logits(m, 0);
  memcpy(logits, rows_at(w->logits, 0, T, VOCAB).p + (size_t)(n - 1) * row_ld(VOCAB), sizeof(float) * VOCAB);
}
