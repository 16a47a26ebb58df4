// test_optim.c: clipping, AdamW and the schedule. In: random gradients. Out: TAP.
//
// Each step is compared, element by element, with the formulas of Loshchilov & Hutter 2019 (Algorithm 2) in double,
// started from the very floats the step started from, so errors do not pile up and the bound is that of one step:
// first-order error propagation with u = 2^-24, counted where it is computed (adam_reference).
#include "kernels.h"
#include "model.h"
#include "testing.h"

static const double U = 0x1p-24;

// About 90,000 parameters: a dozen of the optimiser's chunks, so threads have something to share.
static void make_model(Model *m, int threads, bool tied, const char *optimizer, double clip) {
  Config c;
  Err e;
  config_defaults(&c);
  c.d_model = 48, c.n_layers = 2, c.n_heads = 2, c.seq_len = 8, c.batch_tokens = 8, c.threads = threads, c.tied = tied;
  c.qk_norm = true, c.beta1 = 0.9, c.beta2 = 0.99, c.eps = 1e-8, c.weight_decay = 0.1, c.clip = clip, c.seed = 1;
  snprintf(c.optimizer, sizeof c.optimizer, "%s", optimizer);
  assert_int_equal(model_new(m, &c, true, &e), OK);
}

// Gradients over six decades, a third of them 0; returns their norm.
static double fill_grads(Model *m, uint64_t seed, double scale) {
  double sum = 0;
  for (int k = 0; k < m->n_tensors; k++)
    for (int j = 0; j < m->tensors[k].rows * m->tensors[k].cols; j++) {
      uint64_t i = m->tensors[k].offset + (uint64_t)j;
      float g = i % 3 == 0 ? 0 : (float)(scale * pow(10, 6 * rng_uniform(seed, i) - 6) * rng_normal(seed, i));
      m->grads[i] = g;
      sum += (double)g * g;
    }
  return sqrt(sum);
}

typedef struct Adam {
  double p, m, v, p_err, m_err, v_err;
} Adam;

// One element's step, and how far float arithmetic may be from it.
static Adam adam_reference(const Config *c, double p, double g, double m, double v, bool matrix, double scale, int step,
                           double lr) {
  bool decoupled = strcmp(c->optimizer, "adamw") == 0;
  double decay = matrix ? c->weight_decay : 0, b1 = c->beta1, b2 = c->beta2;
  Adam a;
  double penalty = decoupled ? 0 : decay * p, gs = g * scale + penalty;
  // Scale, product, and, for the penalty, coefficient, product and sum: at most 3 roundings of each part.
  double g_err = 3 * U * (fabs(g * scale) + fabs(penalty));
  a.m = b1 * m + (1 - b1) * gs;
  a.v = b2 * v + (1 - b2) * gs * gs;
  // b rounded to float is off by b u, so 1 - b by b u / (1-b) of itself; then the difference, two products and the sum.
  a.m_err = 3 * U * fabs(b1 * m) + (1 - b1) * (g_err + (4 + b1 / (1 - b1)) * U * fabs(gs));
  a.v_err = 3 * U * b2 * v + (1 - b2) * (2 * fabs(gs) * g_err + (5 + b2 / (1 - b2)) * U * gs * gs);
  double m_corr = 1 / (1 - pow(b1, step)), v_corr = 1 / (1 - pow(b2, step));
  double root = sqrt(a.v * v_corr), denominator = root + c->eps, update = a.m * m_corr / denominator;
  // sqrt halves v's relative error; correction, product, root, eps, sum, quotient: 8 roundings of the whole.
  double root_err = a.v > 0 ? root * 0.5 * a.v_err / a.v : 0;
  double update_err = a.m_err * m_corr / denominator + fabs(update) * (root_err / denominator + 8 * U);
  double shrink = decoupled ? decay * p : 0;
  a.p = p - lr * (update + shrink);
  a.p_err = U * fabs(a.p) + lr * (update_err + 4 * U * (fabs(update) + fabs(shrink))) + 2 * U * fabs(p) * (lr * decay);
  // Second-order terms, and the smallest floats, whose spacing is no longer relative.
  a.p_err = 1.01 * a.p_err + 0x1p-149, a.m_err = 1.01 * a.m_err + 0x1p-148, a.v_err = 1.01 * a.v_err + 0x1p-148;
  return a;
}

static void check_near(float got, double want, double err, const char *what, const char *tensor, int j) {
  if (!(fabs(got - want) <= err))
    fail_msg("%s of %s[%d]: %.9g, expected %.9g within %.2g", what, tensor, j, got, want, err);
}

// Some steps of one optimiser on one table, the clip at `clip` times the gradient's norm (0: none). Decay is expected
// by the rule, not by the table of tensors: matrices except embed.
static void check_steps(const char *optimizer, bool tied, double clip, double grad_scale) {
  Model m;
  make_model(&m, 2, tied, optimizer, 0);
  size_t bytes = m.n_params * sizeof(float);
  float *p = malloc(bytes), *g = malloc(bytes), *m1 = malloc(bytes), *v = malloc(bytes);
  assert_true(p && g && m1 && v);
  for (int step = 1; step <= 4; step++) {
    double norm = fill_grads(&m, (uint64_t)step, grad_scale), lr = 0.01 / step;
    m.cfg.clip = clip * norm;
    memcpy(p, m.params, bytes), memcpy(g, m.grads, bytes), memcpy(m1, m.m, bytes), memcpy(v, m.v, bytes);
    // Squares of floats are exact in double; n sums of them round n times at worst.
    double got = optim_step(&m, step, lr), scale = clip > 0 && clip < 1 ? clip : 1;
    assert_true(fabs(got - norm) <= norm * m.n_params * 0x1p-53);
    for (int k = 0; k < m.n_tensors; k++) {
      const Tensor *t = &m.tensors[k];
      bool matrix = t->rows > 1 && strcmp(t->name, "embed") != 0;
      for (int j = 0; j < t->rows * t->cols; j++) {
        size_t i = t->offset + (size_t)j;
        Adam a = adam_reference(&m.cfg, p[i], g[i], m1[i], v[i], matrix, scale, step, lr);
        check_near(m.m[i], a.m, a.m_err, "first moment", t->name, j);
        check_near(m.v[i], a.v, a.v_err, "second moment", t->name, j);
        check_near(m.params[i], a.p, a.p_err, "parameter", t->name, j);
        assert_true(m.grads[i] == g[i]);
      }
    }
  }
  free(p);
  free(g);
  free(m1);
  free(v);
  model_free(&m);
}

UNIT(steps_match_the_formulas) {
  for (int k = 0; kernels_all[k]; k++) {
    if (kernels_init(kernels_all[k]->name) != 0) continue;
    check_steps("adamw", false, 0.75, 1);
    check_steps("adamw", true, 0.01, 100);
    check_steps("adamw", false, 1.25, 1);
    check_steps("adamw", true, 0, 1e-6);
    check_steps("adam", false, 0.75, 1e-3);  // decay as a penalty
    check_steps("adam", true, 0, 10);
  }
  kernels_init(NULL);
}

UNIT(padding_stays_zero) {
  Config c;
  Err e;
  Model m;
  config_defaults(&c);
  c.d_model = 10, c.n_layers = 2, c.n_heads = 1, c.seq_len = 4, c.batch_tokens = 4, c.beta2 = 0.99, c.qk_norm = true;
  assert_int_equal(model_new(&m, &c, true, &e), OK);
  for (int step = 1; step <= 2; step++) {
    fill_grads(&m, 1, 1);
    optim_step(&m, step, 0.1);
  }
  size_t at = 0, padding = 0;
  for (int k = 0; k <= m.n_tensors; k++) {
    const Tensor *t = &m.tensors[k];
    for (size_t end = k < m.n_tensors ? t->offset : m.n_params; at < end; at++, padding++)
      assert_true(m.params[at] == 0 && m.m[at] == 0 && m.v[at] == 0);
    if (k < m.n_tensors) at = t->offset + (size_t)t->rows * t->cols;
  }
  assert_true(padding > 0);
  model_free(&m);
}

// A gradient that is not finite changes nothing. One beyond the squares of float is finite still, and clipped.
UNIT(bad_gradients_change_nothing) {
  for (int k = 0; kernels_all[k]; k++) {
    if (kernels_init(kernels_all[k]->name) != 0) continue;
    Model m;
    make_model(&m, 2, false, "adamw", 1);
    size_t bytes = m.n_params * sizeof(float), last = m.tensors[m.n_tensors - 1].offset;
    last += (size_t)m.tensors[m.n_tensors - 1].rows * m.tensors[m.n_tensors - 1].cols - 1;
    fill_grads(&m, 1, 1);
    optim_step(&m, 1, 0.01);
    float *before = malloc(3 * bytes), *moments = before + m.n_params;
    assert_non_null(before);
    memcpy(before, m.params, bytes), memcpy(moments, m.m, 2 * bytes);
    assert_true(m.v == m.m + m.n_params);
    const float bad[] = {NAN, INFINITY, -INFINITY};
    const size_t at[] = {0, 1, m.n_params / 2, last};
    for (int i = 0; i < 3; i++)
      for (int j = 0; j < 4; j++) {
        fill_grads(&m, 2, 1);
        m.grads[at[j]] = bad[i];
        assert_false(isfinite(optim_step(&m, 2, 0.01)));
        assert_memory_equal(m.params, before, bytes);
        assert_memory_equal(m.m, moments, 2 * bytes);
      }
    fill_grads(&m, 2, 1);
    m.grads[0] = 1e30f;
    double norm = optim_step(&m, 2, 0.01);
    assert_true(fabs(norm / 1e30 - 1) <= U);
    assert_true(isfinite(m.params[0]) && m.params[0] != before[0]);
    free(before);
    model_free(&m);
  }
  kernels_init(NULL);
}

UNIT(threads_do_not_change_bits) {
  for (int k = 0; kernels_all[k]; k++) {
    if (kernels_init(kernels_all[k]->name) != 0) continue;
    Model m[3];
    double norm[3];
    for (int i = 0; i < 3; i++) {
      make_model(&m[i], i + 1, false, "adamw", 1);
      for (int step = 1; step <= 3; step++) {
        fill_grads(&m[i], (uint64_t)step, 1);
        norm[i] = optim_step(&m[i], step, 0.01);
      }
      assert_memory_equal(m[i].params, m[0].params, 4 * m[0].n_params * sizeof(float));
      assert_memory_equal(&norm[i], &norm[0], sizeof norm[0]);
    }
    for (int i = 0; i < 3; i++) model_free(&m[i]);
  }
  kernels_init(NULL);
}

static void near_double(double got, double want) {
  if (!(fabs(got - want) <= 1e-12 * fabs(want))) fail_msg("%.17g, expected %.17g", got, want);
}

UNIT(schedule_is_warm_up_and_cosine) {
  Config c;
  config_defaults(&c);
  c.lr = 0.02, c.lr_final = 0.1, c.warmup = 0.1, c.cosine_cycle = 1;
  for (int step = 1; step <= 100; step++) near_double(schedule_lr(&c, step, 1000), 0.02 * step / 100);
  for (int step = 101; step <= 1000; step++) assert_true(schedule_lr(&c, step, 1000) < schedule_lr(&c, step - 1, 1000));
  near_double(schedule_lr(&c, 550, 1000), 0.02 * 0.55);  // half-way from 100 to 1000: the mean of peak and end
  near_double(schedule_lr(&c, 400, 1000), 0.02 * (0.1 + 0.9 * 0.75));  // a third of the way: cos(pi/3) = 1/2
  near_double(schedule_lr(&c, 1000, 1000), 0.02 * 0.1);
  c.cosine_cycle = 1.9;  // the cosine's end lies at step 1900, so step 1000 is half-way from 100
  near_double(schedule_lr(&c, 1000, 1000), 0.02 * 0.55);
  c.cosine_cycle = 1, c.warmup = 0;  // at least one step: the first is at the peak
  near_double(schedule_lr(&c, 1, 50), 0.02);
  near_double(schedule_lr(&c, 50, 50), 0.002);
  c.lr_final = 1;
  near_double(schedule_lr(&c, 37, 50), 0.02);
}

int main(void) {
  if (kernels_init(NULL) != 0) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(steps_match_the_formulas),       cmocka_unit_test(padding_stays_zero),
      cmocka_unit_test(bad_gradients_change_nothing),   cmocka_unit_test(threads_do_not_change_bits),
      cmocka_unit_test(schedule_is_warm_up_and_cosine),
  };
  return cmocka_run_group_tests_name("optim", tests, NULL, NULL);
}
