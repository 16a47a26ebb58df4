// test_shape.c: parameters and FLOPs of a shape against counts made in other ways, and the family of shapes. Out: TAP.
#include "kernels.h"
#include "model.h"
#include "shape.h"
#include "testing.h"

static Config shape(int C, int L, int H, int T, bool tied, bool qk_norm) {
  Config c;
  config_defaults(&c);
  c.d_model = C, c.n_layers = L, c.n_heads = H, c.seq_len = T, c.batch_tokens = T, c.tied = tied, c.qk_norm = qk_norm;
  return c;
}

// Counted over the tensors of a real model: parameters as they are, FLOPs as 2 x 3 for every weight a token meets.
UNIT(counts_match_the_tensors_of_a_model) {
  for (int option = 0; option < 4; option++) {
    Config c = shape(24, 3, 2, 33, option & 1, option & 2);
    Err e;
    Model m;
    assert_int_equal(model_new(&m, &c, false, &e), OK);
    double total = 0, embed = 0, head = 0, attn = 0, ffn = 0, norm = 0;
    for (int i = 0; i < m.n_tensors; i++) {
      const char *dot = strchr(m.tensors[i].name, '.'), *name = dot ? dot + 1 : m.tensors[i].name;
      double n = (double)m.tensors[i].rows * m.tensors[i].cols;
      total += n;
      if (strcmp(name, "embed") == 0)
        embed += n;
      else if (strcmp(name, "head") == 0)
        head += n;
      else if (strcmp(name, "qkv") == 0 || strcmp(name, "proj") == 0)
        attn += n;
      else if (strcmp(name, "fc") == 0 || strcmp(name, "out") == 0)
        ffn += n;
      else
        norm += n;
    }
    Params p = shape_params(&c);
    Flops f = shape_flops(&c);
    assert_true(p.embed == embed && p.head == head && p.attn == attn && p.ffn == ffn && p.norm == norm);
    assert_true(p.total == total && p.nonemb == total - embed - head);
    // Scores and weighted sum: each token against all T positions, C channels over the heads, in each of the L layers.
    double attention = 2 * 33 * 24 * 3;
    assert_true(f.nohead == 6 * (attn + ffn + attention));
    assert_true(f.exact == 6 * (attn + ffn + attention + VOCAB * 24));
    assert_true(f.sixn == 6 * total && f.sixn_nonemb == 6 * (total - embed - head));
    model_free(&m);
  }
}

// One shape by hand: C 64, L 3, T 128. A layer has 3*4096 + 4096 + 2*4*4096 = 49,152 weights and 2*128*64 = 16,384
// multiply-adds of attention a token; logits 16,384. Forward 2 * (3 * 65,536 + 16,384) = 425,984.
UNIT(one_shape_by_hand) {
  Config c = shape(64, 3, 4, 128, false, false);
  assert_true(shape_flops(&c).exact == 3 * 425984.0);
  assert_true(shape_params(&c).total == 2 * 16384 + 3 * (49152 + 128) + 64);
  c.n_heads = 1;  // the split into heads costs nothing
  assert_true(shape_flops(&c).exact == 3 * 425984.0);
}

// Table A4 of Hoffmann et al. 2022: exact FLOPs over 6 N D of six of their models, printed to two decimals. Theirs
// count no embedding and no logits, do count the softmax (3 a score, in each head), and N = V d + L (5 d^2 + 8 d^2)
// with V = 32000, S = 2048.
UNIT(table_a4_of_the_paper) {
  static const struct {
    int d, heads, layers;
    double ratio;
  } models[] = {
      {640, 10, 10, 1.03},  {1024, 16, 20, 1.10}, {1280, 10, 24, 1.08},
      {1792, 14, 26, 1.04}, {2048, 16, 28, 1.03}, {3584, 28, 40, .99},
  };
  for (int i = 0; i < COUNT(models); i++) {
    double d = models[i].d, L = models[i].layers, S = 2048;
    Config c = shape(models[i].d, models[i].layers, models[i].heads, (int)S, false, false);
    double softmax = 3 * 3 * models[i].heads * S * L, N = 32000 * d + L * 13 * d * d;
    double ratio = (shape_flops(&c).nohead + softmax) / (6 * N);
    if (round(100 * ratio) != round(100 * models[i].ratio))
      fail_msg("d %g: %.4f, the paper has %.2f", d, ratio, models[i].ratio);
  }
}

// Every member is a shape the model accepts; N grows strictly, by less than 2.5 times a step, and neither width nor
// depth ever falls.
UNIT(family_grows_smoothly) {
  Config c = shape(32, 2, 2, 128, false, true), last = c;
  int n = 0;
  double first = 0;
  for (; shape_family(n, &c); n++) {
    assert_true(c.d_model % c.n_heads == 0 && c.d_model / c.n_heads % 2 == 0 && c.n_layers >= 1);
    if (c.d_model >= 32) assert_true(c.d_model / c.n_heads >= 14 && c.d_model / c.n_heads <= 24);  // about 16 wide
    double N = shape_params(&c).total, before = shape_params(&last).total;
    if (n == 0)
      first = N;
    else {
      assert_true(c.d_model >= last.d_model && c.n_layers >= last.n_layers);
      if (!(N > before && N < 2.5 * before)) fail_msg("member %d: N %g after %g", n, N, before);
    }
    last = c;
  }
  assert_true(n >= 20);
  assert_true(shape_params(&last).total > 1000 * first);
  assert_false(shape_family(n + 1, &c));
}

static Config resolved(const char *options[], double budget) {
  Config c;
  Err e;
  config_defaults(&c);
  c.budget = budget;
  for (int i = 0; options[i]; i++) assert_int_equal(config_set(&c, options[i], "test", &e), OK);
  if (recipe_resolve(&c, &e)) fail_msg("%s", e.msg);
  return c;
}

// The rule is its options and nothing else: each of them moves what it says, by as much as it says, and that alone.
UNIT(recipe_follows_its_options) {
  const Config base = resolved((const char *[]){"lr_at=0.004", NULL}, 4e11);  // away from lr_max
  const double N = shape_params(&base).total;
  assert_true(fabs(base.lr / (0.004 * pow(N / 41e3, -0.27)) - 1) < 1e-14);
  assert_int_equal(base.batch_tokens, 256);
  assert_true(base.beta2 == 0.99);
  static const struct {
    const char *option;
    double lr, batch, beta2;  // factors on the base; the value of beta2
  } moves[] = {
      {"lr_at=0.002", .5, 1, .99},     {"lr_max=0.001", 0, 1, .99},      {"beta2_small=0.98", 1, 1, .98},
      {"beta2_switch=256", 1, 1, .95}, {"beta2_switch=257", 1, 1, .99},  {"batch_at=256", 1, 2, .99},
      {"batch_exponent=1", 1, 2, .99}, {"beta2_large=0.9", 1, 1, .99},
  };
  for (int i = 0; i < COUNT(moves); i++) {
    Config c = resolved((const char *[]){"lr_at=0.004", moves[i].option, NULL}, 4e11);
    double lr = moves[i].lr > 0 ? base.lr * moves[i].lr : 0.001;
    if (fabs(c.lr / lr - 1) > 1e-14 || c.batch_tokens != moves[i].batch * base.batch_tokens ||
        c.beta2 != moves[i].beta2)
      fail_msg("%s: rate %g, batch %d, beta2 %g", moves[i].option, c.lr, c.batch_tokens, c.beta2);
  }
  Config power = resolved((const char *[]){"lr_at=0.004", "lr_exponent=-0.5", NULL}, 4e11);
  Config horizon = resolved((const char *[]){"lr_at=0.004", "lr_horizon=-0.1", NULL}, 4e11);
  assert_true(fabs(power.lr / (0.004 * pow(N / 41e3, -0.5)) - 1) < 1e-14);
  // The horizon that the rule sees is the one asked for; that of the run is whole steps, within half a one of it.
  double ratio = base.budget / shape_flops(&base).exact / N;
  assert_true(fabs(horizon.lr / (base.lr * pow(ratio / 25, -0.1)) - 1) < 1e-14);
  // A cosine and a warm-up of so many tokens, whatever the run's horizon: the faults of Kaplan et al.
  const double wanted = base.budget / shape_flops(&base).exact;
  char option[2][64];
  snprintf(option[0], sizeof *option, "cosine_tokens=%.0f", 2.5 * wanted);
  snprintf(option[1], sizeof *option, "warmup_tokens=%.0f", .25 * wanted);
  const Config fault = resolved((const char *[]){"lr_at=0.004", option[0], option[1], NULL}, 4e11);
  assert_near(fault.cosine_cycle, 2.5, 1 / wanted);  // whole tokens
  assert_near(fault.warmup, .25, 1 / wanted);
  // What is set is left alone.
  Config set = resolved((const char *[]){"lr=0.003", "batch_tokens=512", "beta2=0.9", "lr_at=1", NULL}, 4e11);
  assert_true(set.lr == 0.003 && set.batch_tokens == 512 && set.beta2 == 0.9);
}

int main(void) {
  if (kernels_init(NULL) != 0) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(counts_match_the_tensors_of_a_model),
      cmocka_unit_test(one_shape_by_hand),
      cmocka_unit_test(table_a4_of_the_paper),
      cmocka_unit_test(family_grows_smoothly),
      cmocka_unit_test(recipe_follows_its_options),
  };
  return cmocka_run_group_tests_name("shape", tests, NULL, NULL);
}
