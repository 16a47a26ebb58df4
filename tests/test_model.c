// test_model.c: the fast path against the oracle. In: random weights and tokens. Out: TAP.
//
// 1. The oracle (ref_gpt.c, double) against finite differences of its own loss, to 1e-6 relative, every tensor.
// 2. The fast path against the oracle, every tensor, every kernel table, within a bound derived from float rounding:
//    the oracle runs SAMPLES times with every operation's result off by up to the unit roundoff of float, 2^-24, at
//    random (Monte Carlo arithmetic, see ref_gpt.h). The spread of those runs, sigma, is what the rounding of one float
//    evaluation does to each number, with all cancellation and amplification on the way. The fast path is one more such
//    evaluation, so its error must look like one more sample: a tensor's rms error within RMS_FACTOR of its rms sigma,
//    each element within ELEMENT_FACTOR of its sigma (pooled with its column's, since SAMPLES values alone estimate a
//    sigma poorly). The factors are for the tail of Student's t with SAMPLES degrees of freedom over all the numbers
//    compared; float's real errors are uniform within half a unit in the last place and so mostly smaller than the
//    samples'. The bound is about 1e-6 of a tensor's own size; the test asserts that it is below 1e-4, so that it
//    cannot become vacuous unseen.
// 3. Bits: the same for any number of threads, any batch a row is in, and any size of the model's batch.
#include "kernels.h"
#include "model.h"
#include "ref_gpt.h"
#include "shape.h"
#include "testing.h"

enum { SAMPLES = 8, MAX_SEGMENTS = 64 };
static const double RMS_FACTOR = 3, ELEMENT_FACTOR = 8, VACUOUS = 1e-4, VACUOUS_BF16 = 0.5;

typedef struct Case {
  int C, L, H, T, B;
  bool tied, qk_norm;
  int steps;
  double embed_std;
  bool bf16;
} Case;

// Odd and even lengths, tails of vectors and of tiles, one head and several, heads from 2 to 48 wide. `steps` > 1:
// gradients do not add up. embed_std 0 stands for 0.4; at 0.003 the norm's epsilon matters. The last two are too long
// for their width to keep attention's probabilities.
static Case cases[] = {
    {16, 2, 1, 7, 3, false, true, 1, 0, false},           {16, 1, 8, 33, 3, true, false, 1, 0, false},
    {24, 2, 3, 33, 1, true, true, 1, 0, false},           {24, 3, 1, 7, 1, false, false, 1, 0, false},
    {40, 1, 1, 33, 1, true, false, 1, 0, false},          {40, 2, 5, 7, 3, false, true, 2, 0, false},
    {48, 1, 3, 128, 1, false, true, 1, 0, false},         {48, 2, 4, 33, 3, true, true, 1, 0, false},
    {16, 1, 2, 128, 3, true, false, 1, 0, false},         {48, 1, 1, 2, 1, false, false, 1, 0, false},
    {40, 1, 2, 9, 2, false, true, 1, .embed_std = 0.003}, {48, 2, 3, 32, 2, false, true, 2, .bf16 = true},
    {24, 1, 2, 10, 1, true, false, 1, .bf16 = true},      {40, 1, 1, 130, 1, false, true, 1, .bf16 = true},
    {16, 1, 8, 70, 1, false, true, 1, 0, false},          {16, 1, 8, 70, 1, false, true, 1, .bf16 = true},
};

static uint8_t *random_tokens(int B, int T, uint64_t seed) {
  size_t n = (size_t)B * (T + 1);
  uint8_t *tokens = malloc(n);
  assert_non_null(tokens);
  for (size_t i = 0; i < n; i++) tokens[i] = (uint8_t)rng_u64(seed, i);
  return tokens;
}

// Weights at which every path matters: gains away from 1, scores and logits of order 1, every gradient visible.
static double random_weight(const Case *c, const RefTensor *t, uint64_t i) {
  double z = rng_normal(hash_bytes(1, t->name, strlen(t->name)), i);
  if (t->rows == 1) return 1 + 0.3 * z;
  return strcmp(t->name, "embed") == 0 ? (c->embed_std > 0 ? c->embed_std : 0.4) * z : z / sqrt(t->rows);
}

static RefGpt *random_ref(const Case *c) {
  RefGpt *r = ref_new(c->C, c->L, c->H, c->T, c->tied, c->qk_norm, 1000);
  for (int i = 0; i < r->n_tensors; i++)
    for (int j = 0; j < r->tensors[i].rows * r->tensors[i].cols; j++)
      r->tensors[i].w[j] = (float)random_weight(c, &r->tensors[i], (uint64_t)j);
  return r;
}

static void make_model(Model *m, const Case *c, int threads, int capacity, const RefGpt *r) {
  Config cfg;
  Err e;
  config_defaults(&cfg);
  cfg.d_model = c->C, cfg.n_layers = c->L, cfg.n_heads = c->H, cfg.seq_len = c->T;
  cfg.tied = c->tied, cfg.qk_norm = c->qk_norm, cfg.rope_base = r->rope_base;
  cfg.batch_tokens = capacity * c->T, cfg.threads = threads;
  if (c->bf16) strcpy(cfg.precision, "bf16");
  assert_int_equal(model_new(m, &cfg, true, &e), OK);
  assert_int_equal(m->n_tensors, r->n_tensors);
  for (int i = 0; i < r->n_tensors; i++) {
    const RefTensor *from = &r->tensors[i];
    const Tensor *to = model_tensor(m, from->name);
    assert_non_null(to);
    assert_true(to->rows == from->rows && to->cols == from->cols);
    for (int j = 0; j < from->rows * from->cols; j++) m->params[to->offset + j] = (float)from->w[j];
  }
}

// ---- The oracle against finite differences -----------------------------------------------------------

// d(loss)/ds of weights + s * dir by the central five-point rule: error h^4 f'''''/30 from the step and about 1.5 *
// 2^-52 f/h from rounding, each near 1e-12 at h = 1e-3 for a direction of length 1.
static double slope(RefGpt *r, RefTensor *t, const double *dir, const uint8_t *tokens, int B) {
  const double h = 1e-3, coef[] = {1, -8, 8, -1}, at[] = {-2, -1, 1, 2};
  int n = t->rows * t->cols;
  double *keep = t->w, *moved = malloc(sizeof *moved * (size_t)n), sum = 0;
  assert_non_null(moved);
  t->w = moved;
  for (int i = 0; i < 4; i++) {
    for (int j = 0; j < n; j++) moved[j] = keep[j] + at[i] * h * dir[j];
    sum += coef[i] * ref_run(r, tokens, B, false, NULL);
  }
  t->w = keep;
  free(moved);
  return sum / (12 * h);
}

// Along its own gradient, along random directions and along single entries, relative to the larger of the slope and of
// the gradient's rms over entries (which is what a random direction of length 1 sees on average).
static void reference_matches_finite_differences(void **state) {
  const Case *c = *state;
  RefGpt *r = random_ref(c);
  uint8_t *tokens = random_tokens(c->B, c->T, 7);
  ref_run(r, tokens, c->B, true, NULL);
  double worst = 0;
  for (int i = 0; i < r->n_tensors; i++) {
    RefTensor *t = &r->tensors[i];
    int n = t->rows * t->cols;
    double *dir = malloc(sizeof *dir * (size_t)n), norm = 0;
    assert_non_null(dir);
    for (int j = 0; j < n; j++) norm += t->g[j] * t->g[j];
    norm = sqrt(norm);
    assert_true(norm > 1e-4);
    for (int k = 0; k < 7; k++) {
      double length = 0, expected = 0;
      for (int j = 0; j < n; j++) dir[j] = k == 0 ? t->g[j] : k < 3 ? rng_normal((uint64_t)k, (uint64_t)j) : 0;
      if (k >= 3) {  // rows of the embedding that no token uses have a gradient of 0: take them, but not only them
        int entry = (int)(rng_u64(99, (uint64_t)k) % (uint64_t)n);
        if (strcmp(t->name, "embed") == 0 && k % 2) entry = tokens[k % c->T] * t->cols + entry % t->cols;
        dir[entry] = 1;
      }
      for (int j = 0; j < n; j++) length += dir[j] * dir[j];
      for (int j = 0; j < n; j++) expected += t->g[j] * (dir[j] /= sqrt(length));
      double error = fabs(slope(r, t, dir, tokens, c->B) - expected) / fmax(fabs(expected), norm / sqrt(n));
      if (!(error <= 1e-6)) fail_msg("%s, direction %d: slope %g, relative error %g", t->name, k, expected, error);
      worst = fmax(worst, error);
    }
    free(dir);
  }
  print_message("# worst relative error %.1e\n", worst);
  free(tokens);
  ref_free(r);
}

// ---- The fast path against the oracle ----------------------------------------------------------------

// Everything that a model computes, end to end: all gradients, each row's loss, the step's loss, two rows of logits.
typedef struct Segment {
  const char *name;
  int rows, cols;
  size_t at;
} Segment;
typedef struct Layout {
  Segment s[MAX_SEGMENTS];
  int n;
  size_t size;
} Layout;

static void layout_add(Layout *l, const char *name, int rows, int cols) {
  assert_true(l->n < MAX_SEGMENTS);
  l->s[l->n++] = (Segment){name, rows, cols, l->size};
  l->size += (size_t)rows * cols;
}

static Layout layout_of(const RefGpt *r, int B) {
  Layout l = {.n = 0};
  for (int i = 0; i < r->n_tensors; i++) layout_add(&l, r->tensors[i].name, r->tensors[i].rows, r->tensors[i].cols);
  layout_add(&l, "row losses", 1, B);
  layout_add(&l, "step loss", 1, 1);
  layout_add(&l, "logits, all tokens", 1, VOCAB);
  layout_add(&l, "logits, half the tokens", 1, VOCAB);
  return l;
}

static void observe_ref(double *to, RefGpt *r, const uint8_t *tokens, const Case *c) {
  ref_zero_grads(r);
  double loss = ref_run(r, tokens, c->B, true, NULL);
  for (int i = 0; i < r->n_tensors; i++)
    for (int j = 0; j < r->tensors[i].rows * r->tensors[i].cols; j++) *to++ = r->tensors[i].g[j];
  ref_run(r, tokens, c->B, false, to);
  to += c->B;
  *to++ = loss;
  memcpy(to, r->logits + (c->T - 1) * VOCAB, VOCAB * sizeof *to);  // of the last row
  memcpy(to + VOCAB, r->logits + ((c->T + 1) / 2 - 1) * VOCAB, VOCAB * sizeof *to);
}

static void observe_model(double *to, Model *m, const RefGpt *r, const uint8_t *tokens, const Case *c) {
  double loss = 0;
  float logits[VOCAB];
  for (int i = 0; i < c->steps; i++) loss = model_step(m, tokens, c->B);
  for (int i = 0; i < r->n_tensors; i++) {
    const float *g = m->grads + model_tensor(m, r->tensors[i].name)->offset;
    for (int j = 0; j < r->tensors[i].rows * r->tensors[i].cols; j++) *to++ = g[j];
  }
  model_losses(m, tokens, c->B, to);
  to += c->B;
  *to++ = loss;
  const int n[] = {c->T, (c->T + 1) / 2};
  for (int k = 0; k < 2; k++) {
    model_logits(m, tokens + (c->B - 1) * (c->T + 1), n[k], logits);
    for (int v = 0; v < VOCAB; v++) *to++ = logits[v];
  }
}

// Segment by segment; the worst ratio of an error to its sigma is printed.
static void check_segment(const Segment *s, const double *got, const double *exact, const double *var, double vacuous,
                          const char *table, double *worst_rms, double *worst_element) {
  int n = s->rows * s->cols;
  double error2 = 0, sigma2 = 0, size2 = 0;
  got += s->at, exact += s->at, var += s->at;
  for (int j = 0; j < n; j++) {
    error2 += (got[j] - exact[j]) * (got[j] - exact[j]);
    sigma2 += var[j];
    size2 += exact[j] * exact[j];
  }
  if (!(sqrt(error2) <= RMS_FACTOR * sqrt(sigma2)))
    fail_msg("%s, %s: rms error %.3g, rounding explains %.3g", table, s->name, sqrt(error2 / n), sqrt(sigma2 / n));
  if (!(ELEMENT_FACTOR * sqrt(sigma2) < vacuous * sqrt(size2)))
    fail_msg("%s: the bound is vacuous: sigma %.3g for numbers of %.3g", s->name, sqrt(sigma2 / n), sqrt(size2 / n));
  *worst_rms = fmax(*worst_rms, sqrt(error2 / sigma2));
  for (int col = 0; col < s->cols; col++) {
    double pooled = 0;
    for (int row = 0; row < s->rows; row++) pooled += var[row * s->cols + col] / s->rows;
    if (s->rows == 1) pooled = sigma2 / n;
    for (int row = 0; row < s->rows; row++) {
      int j = row * s->cols + col;
      double error = fabs(got[j] - exact[j]), sigma = sqrt(var[j] + pooled);
      // What no rounding can change (the gradient of an unused row of the embedding) must be exact.
      if (!(error <= (var[j] == 0 ? 0 : ELEMENT_FACTOR * sigma)))
        fail_msg("%s, %s[%d][%d]: got %.9g, expected %.9g, sigma %.3g", table, s->name, row, col, got[j], exact[j],
                 sigma);
      if (sigma > 0) *worst_element = fmax(*worst_element, error / sigma);
    }
  }
}

static void fast_path_matches_reference(void **state) {
  const Case *c = *state;
  RefGpt *r = random_ref(c);
  uint8_t *tokens = random_tokens(c->B, c->T, 3);
  Layout l = layout_of(r, c->B);
  double *exact = calloc(4 * l.size, sizeof *exact), *sample = exact + l.size, *var = sample + l.size,
         *got = var + l.size;
  assert_non_null(exact);
  observe_ref(exact, r, tokens, c);
  r->noise = 0x1p-24;
  r->operand_noise = c->bf16 ? 0x1p-8 : 0;  // unit roundoffs of 24 and of 8 significant bits
  for (int k = 0; k < SAMPLES; k++) {
    r->rng = (uint64_t)k << 32;
    observe_ref(sample, r, tokens, c);
    for (size_t j = 0; j < l.size; j++) var[j] += (sample[j] - exact[j]) * (sample[j] - exact[j]) / SAMPLES;
  }
  int compared = 0;
  for (int k = 0; kernels_all[k]; k++) {
    const char *table = kernels_all[k]->name;
    if (kernels_init(table) != 0) {
      print_message("# %s: not on this CPU\n", table);
      continue;
    }
    Model m;
    double worst_rms = 0, worst_element = 0;
    make_model(&m, c, 2, c->B, r);
    observe_model(got, &m, r, tokens, c);
    for (int i = 0; i < l.n; i++)
      check_segment(&l.s[i], got, exact, var, c->bf16 ? VACUOUS_BF16 : VACUOUS, table, &worst_rms, &worst_element);
    print_message("# %s: worst error %.2f sigma of a tensor's rms, %.2f of an element\n", table, worst_rms,
                  worst_element);
    model_free(&m);
    compared++;
  }
  assert_true(compared > 0);
  kernels_init(NULL);
  free(exact);
  free(tokens);
  ref_free(r);
}

// ---- Bits --------------------------------------------------------------------------------------------

// Loss and gradients of the first B rows, on a model made for `capacity` rows a step.
static double step_bits(float *grads, const Case *c, const RefGpt *r, int threads, int capacity, const uint8_t *tokens,
                        double *row_loss) {
  Model m;
  make_model(&m, c, threads, capacity, r);
  static float left;  // by a step before, another one every time
  for (int i = 0; i < m.n_tensors; i++)
    for (int j = 0; j < m.tensors[i].rows * m.tensors[i].cols; j++) m.grads[m.tensors[i].offset + j] = left;
  left++;
  double loss = model_step(&m, tokens, c->B);
  memcpy(grads, m.grads, m.n_params * sizeof *grads);
  model_losses(&m, tokens, c->B, row_loss);
  model_free(&m);
  return loss;
}

UNIT(threads_and_batches_do_not_change_bits) {
  static const Case shapes[] = {{24, 2, 3, 33, 5, true, true, 1, 0, false},
                                {40, 2, 2, 16, 5, false, true, 1, 0, false},
                                {40, 2, 2, 17, 5, false, true, 1, .bf16 = true}};
  for (int k = 0; kernels_all[k]; k++) {
    // OpenBLAS promises no bits (kernels.h).
    if (strcmp(kernels_all[k]->name, "openblas") == 0 || kernels_init(kernels_all[k]->name) != 0) continue;
    double float_loss = 0;  // of the shape before
    for (int i = 0; i < 3; i++) {
      const Case *c = &shapes[i];
      RefGpt *r = random_ref(c);
      uint8_t *tokens = random_tokens(c->B, c->T, 5);
      Model m;
      make_model(&m, c, 1, c->B, r);
      size_t bytes = m.n_params * sizeof(float);
      float *one = malloc(bytes), *other = malloc(bytes);
      double rows[5], other_rows[5], alone;
      assert_true(one && other);
      double loss = step_bits(one, c, r, 1, c->B, tokens, rows);
      if (c->bf16) assert_true(loss != float_loss);  // the option does something
      float_loss = loss;
      for (int threads = 1; threads <= 3; threads++)
        for (int capacity = 1; capacity <= 8; capacity += 3) {
          double other_loss = step_bits(other, c, r, threads, capacity, tokens, other_rows);
          assert_memory_equal(&loss, &other_loss, sizeof loss);
          assert_memory_equal(one, other, bytes);
          assert_memory_equal(rows, other_rows, sizeof rows);
        }
      for (int b = 0; b < c->B; b++) {
        model_losses(&m, tokens + b * (c->T + 1), 1, &alone);
        assert_memory_equal(&alone, &rows[b], sizeof alone);
      }
      free(one);
      free(other);
      free(tokens);
      model_free(&m);
      ref_free(r);
    }
  }
  kernels_init(NULL);
}

// A model made for inference gives the training model's losses and logits bit for bit; no later token changes a logit.
UNIT(inference_and_causality) {
  const Case c = {40, 2, 5, 33, 2, true, true, 1, 0, false};
  RefGpt *r = random_ref(&c);
  Model m, inference;
  Err e;
  make_model(&m, &c, 2, c.B, r);
  assert_int_equal(model_new(&inference, &m.cfg, false, &e), OK);
  assert_true(inference.n_params == m.n_params && inference.bytes < m.bytes);
  memcpy(inference.params, m.params, m.n_params * sizeof(float));
  uint8_t *tokens = random_tokens(c.B, c.T, 11);
  double a[2], b[2];
  float x[VOCAB], y[VOCAB];
  model_losses(&m, tokens, c.B, a);
  model_losses(&inference, tokens, c.B, b);
  assert_memory_equal(a, b, sizeof a);
  for (int n = 1; n <= c.T; n += 8) {
    model_logits(&m, tokens, n, x);
    uint8_t other[34];
    memset(other, 200, sizeof other);
    memcpy(other, tokens, (size_t)n);
    model_losses(&inference, other, 1, b);  // leaves other activations behind
    model_logits(&inference, other, n, y);
    assert_memory_equal(x, y, sizeof x);
  }
  free(tokens);
  model_free(&m);
  model_free(&inference);
  ref_free(r);
}

// ---- Initialisation ----------------------------------------------------------------------------------

// The deviation that a tensor of width 48 and two layers shall have: 1/sqrt(rows), so that what comes out varies as what
// goes in; what is added to the stream, four times, half of that. The embedding's is an option, a gain is 1.
static double deviation_of(const char *name, double emb_std) {
  static const struct { const char *end; int rows; double factor; } table[] = {
      {"qkv", 48, 1}, {"proj", 48, .5}, {"fc", 48, 1}, {"out", 192, .5}, {"head", 48, 1}};
  const char *end = strchr(name, '.') ? strchr(name, '.') + 1 : name;
  for (int i = 0; i < COUNT(table); i++)
    if (!strcmp(table[i].end, end)) return table[i].factor / sqrt(table[i].rows);
  return strcmp(name, "embed") ? 0 : emb_std;
}

// Sample mean and deviation of n normals lie within 5 standard errors: std/sqrt(n) and std/sqrt(2n).
UNIT(initialisation_is_as_the_table_says) {
  const Case c = {48, 2, 3, 16, 1, false, true, 1, 0, false};
  Config cfg;
  Err e;
  Model m, again, other;
  config_defaults(&cfg);
  cfg.d_model = c.C, cfg.n_layers = c.L, cfg.n_heads = c.H, cfg.seq_len = c.T, cfg.batch_tokens = c.T;
  cfg.tied = false, cfg.qk_norm = true, cfg.threads = 1, cfg.seed = 5, cfg.emb_std = .3, cfg.init_scale = 1;
  assert_int_equal(model_new(&m, &cfg, true, &e), OK);
  cfg.threads = 3;
  assert_int_equal(model_new(&again, &cfg, false, &e), OK);
  cfg.seed = 6;
  assert_int_equal(model_new(&other, &cfg, false, &e), OK);
  assert_memory_equal(m.params, again.params, m.n_params * sizeof(float));
  size_t used = 0;
  for (int i = 0; i < m.n_tensors; i++) {
    const Tensor *t = &m.tensors[i];
    size_t n = (size_t)t->rows * t->cols;
    const float *w = m.params + t->offset;
    double sum = 0, sum2 = 0;
    assert_int_equal(t->offset % 16, 0);
    assert_true(t->offset >= used);
    for (; used < t->offset; used++) assert_true(m.params[used] == 0);  // padding
    used += n;
    for (size_t j = 0; j < n; j++) sum += w[j], sum2 += (double)w[j] * w[j];
    const double std = deviation_of(t->name, .3);
    if (std == 0) {
      assert_int_equal(t->rows, 1);
      for (size_t j = 0; j < n; j++) assert_true(w[j] == 1);
      continue;
    }
    assert_true(fabs(sum / n) <= 5 * std / sqrt(n));
    assert_true(fabs(sqrt(sum2 / n) / std - 1) <= 5 / sqrt(2.0 * n));
    assert_true(memcmp(w, other.params + t->offset, n * sizeof *w) != 0);
    assert_int_equal(t->decay, strcmp(t->name, "embed") != 0);
    for (int k = 0; k < i; k++)  // no two tensors share their numbers
      if (m.tensors[k].init_std > 0)
        assert_true(w[0] / t->init_std != m.params[m.tensors[k].offset] / m.tensors[k].init_std);
  }
  assert_true(used <= m.n_params);
  model_free(&m);
  model_free(&again);
  model_free(&other);
}

int main(void) {
  if (kernels_init(NULL) != 0) return 1;
  // Small enough for thousands of evaluations; every option, and heads of width 2.
  static Case small[] = {{8, 2, 2, 7, 2, false, false, 1, 0, false},
                         {8, 2, 1, 5, 2, true, false, 1, 0, false},
                         {8, 1, 2, 7, 1, false, true, 1, 0, false},
                         {8, 2, 4, 5, 2, true, true, 1, 0, false}};
  enum { N_SMALL = sizeof small / sizeof *small, N_CASES = sizeof cases / sizeof *cases };
  static struct CMUnitTest tests[N_SMALL + N_CASES + 3];
  static char names[N_SMALL + N_CASES][128];
  int n = 0;
  for (; n < N_SMALL + N_CASES; n++) {
    Case *c = n < N_SMALL ? &small[n] : &cases[n - N_SMALL];
    snprintf(names[n], sizeof names[n], "%s, C %d L %d H %d T %d B %d, %s, %s%s",
             n < N_SMALL ? "reference = slopes" : "model = reference", c->C, c->L, c->H, c->T, c->B,
             c->tied ? "tied" : "untied", c->qk_norm ? "normalised queries and keys" : "plain",
             c->embed_std > 0 ? ", small"
             : c->bf16        ? ", bf16"
                              : "");
    tests[n] = (struct CMUnitTest){
        names[n], n < N_SMALL ? reference_matches_finite_differences : fast_path_matches_reference, NULL, NULL, c};
  }
  tests[n++] = (struct CMUnitTest)cmocka_unit_test(threads_and_batches_do_not_change_bits);
  tests[n++] = (struct CMUnitTest)cmocka_unit_test(inference_and_causality);
  tests[n++] = (struct CMUnitTest)cmocka_unit_test(initialisation_is_as_the_table_says);
  return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
