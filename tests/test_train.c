// test_train.c: which text a run sees, what it leaves behind, and the standard error of a mean: against what is worked out
// here from the corpus, the model and the closed form of the cosine.
#include "batch.h"
#include "kernels.h"
#include "shape.h"
#include "train.h"
#include "testing.h"

// ---- Text that tells where it stands -------------------------------------------------------------------

enum { T = 16, WINDOWS = 300, HELD_OUT = 40 };
static uint8_t train_text[WINDOWS * T + 1], val_text[HELD_OUT * T + 1];
static const Corpus corpus = {.name = "known", .train = train_text, .val = val_text, .n_train = sizeof train_text,
                              .n_val = sizeof val_text, .hash = 1, .floor_nats = NAN, .val_floor_nats = NAN};

// Each window begins with its number, the held-out ones with another.
static int begin(void **state) {
  for (size_t i = 0; i < sizeof train_text; i++)
    train_text[i] = (uint8_t)(i % T == 0 ? i / T % 256 : i % T == 1 ? i / T / 256 : i % 7);
  for (size_t i = 0; i < sizeof val_text; i++) val_text[i] = (uint8_t)(i % T < 2 ? rng_u64(3, i) % 256 : i % 7);
  return folder_make(state);
}

static int window_of(const uint8_t *row) { return row[0] + 256 * row[1]; }

UNIT(an_epoch_is_every_window_once_in_an_order_of_its_own) {
  enum { B = 4, STEPS = WINDOWS / B };
  static int order[3][WINDOWS];  // first epoch, second epoch, first epoch of another seed
  uint8_t rows[B][T + 1];
  for (int k = 0; k < 3; k++) {
    int seen[WINDOWS] = {0}, at_home = 0;
    for (int s = 0; s < STEPS; s++) {
      batch_train(&corpus, k == 2 ? 8 : 7, s + (k == 1 ? STEPS : 0), B, T, rows[0]);
      for (int b = 0; b < B; b++) {
        const int w = order[k][s * B + b] = window_of(rows[b]);
        assert_true(w < WINDOWS && !seen[w]++);
        assert_memory_equal(rows[b], train_text + w * T, T + 1);
        at_home += w == s * B + b;
      }
    }
    assert_true(at_home < 10);  // of a random order one is, give or take one
  }
  assert_memory_not_equal(order[0], order[1], sizeof order[0]);
  assert_memory_not_equal(order[0], order[2], sizeof order[0]);
  // The order does not depend on how many a step takes.
  uint8_t one[T + 1];
  for (int q = 0; q < WINDOWS; q++) batch_train(&corpus, 7, q, 1, T, one), assert_int_equal(window_of(one), order[0][q]);
}

UNIT(held_out_windows_stand_in_a_row) {
  uint8_t rows[3][T + 1];
  batch_val(&corpus, 5, 3, T, rows[0]);
  for (int b = 0; b < 3; b++) assert_memory_equal(rows[b], val_text + (5 + b) * T, T + 1);
  assert_int_equal(batch_val_windows(&corpus, 1e18, T), HELD_OUT);
  assert_int_equal(batch_val_windows(&corpus, 5 * T + T - 1, T), 5);
  Corpus shorter = corpus;
  shorter.n_val--;  // the last window has no last target
  assert_int_equal(batch_val_windows(&shorter, 1e18, T), HELD_OUT - 1);
}

// ---- The standard error --------------------------------------------------------------------------------

// Neighbours that say the same tell nothing new: three clusters of means 1, 2, 3 are three values, whose mean has a
// standard error of 1 / sqrt(3). What is left over counts in the mean.
UNIT(neighbours_are_one_witness) {
  double each[3 * TRAIN_EVAL_CLUSTER + 5], se;
  for (int i = 0; i < COUNT(each); i++) each[i] = i < 3 * TRAIN_EVAL_CLUSTER ? 1 + i / TRAIN_EVAL_CLUSTER : 2;
  each[0] += .5, each[1] -= .5;
  assert_near(train_mean(each, COUNT(each), &se), 2, 1e-15);
  assert_near(se, 1 / sqrt(3), 1e-15);
  each[COUNT(each) - 1] += COUNT(each);
  assert_near(train_mean(each, COUNT(each), NULL), 3, 1e-14);
  train_mean(each, 2 * TRAIN_EVAL_CLUSTER - 1, &se);
  assert_true(isnan(se));
}

// ---- A run ---------------------------------------------------------------------------------------------

enum { STEPS = 120, B = 2 };  // no more steps than the curve has points: each step is one

static Config config_of(int seed) {
  Config c;
  Err e;
  config_defaults(&c);
  c.d_model = 8, c.n_layers = 1, c.n_heads = 2, c.seq_len = T, c.batch_tokens = B * T, c.threads = 1, c.seed = seed;
  c.budget = 0, c.tokens = STEPS * B * T, c.eval_tokens = 9 * T, c.eval_points = 4, c.lr = 0.01, c.warmup = .1;
  if (recipe_resolve(&c, &e)) fail_msg("%s", e.msg);
  return c;
}

// What train_run leaves, read as others read it.
typedef struct Left { Record r; CurvePoint points[2 * STEPS]; double tokens[2 * STEPS]; int n; } Left;
static void left_by(Left *l, const Config *c, const char *dir) {
  Err e;
  if (train_run(c, &corpus, dir, PROGRESS_NONE, 0, &e)) fail_msg("%s", e.msg);
  char path[1100];
  snprintf(path, sizeof path, "%s/run.ini", dir);
  if (record_read(path, &l->r, &e)) fail_msg("%s", e.msg);
  snprintf(path, sizeof path, "%s/curve.tsv", dir);
  char *text = slurp(path), *line = strchr(text, '\n') + 1;
  l->n = 0;
  assert_true(!strncmp(text, "step\ttokens\tflops\tlr\ttrain_loss\tval_loss\n", (size_t)(line - text)));
  for (char *end; *line; line = end + 1, l->n++) {
    *(end = strchr(line, '\n')) = 0;
    CurvePoint *p = &l->points[l->n];
    double flops;
    long long step;
    p->val_loss = NAN;
    assert_true(sscanf(line, "%lld\t%lf\t%lf\t%lf\t%lf\t%lf", &step, &l->tokens[l->n], &flops, &p->lr, &p->train_loss,
                       &p->val_loss) >= 5);
    p->step = step;
    assert_near(flops / (l->tokens[l->n] * shape_flops(c).exact), 1, 1e-8);  // nine digits
  }
  free(text);
}

UNIT(a_run_leaves_what_it_did) {
  const Config c = config_of(5);
  Left l;
  left_by(&l, &c, in("run"));
  assert_string_equal(l.r.status, "finished");
  assert_int_equal(l.r.steps, STEPS);
  assert_true(l.r.tokens == STEPS * B * T);
  assert_near(l.r.epochs, (double)STEPS * B * T / sizeof train_text, 1e-15);
  assert_int_equal(l.n, STEPS);
  // The rate rises over a tenth of the steps and ends its cosine, which is matched to the horizon, at its lowest.
  const double low = c.lr * c.lr_final, rise = .1 * STEPS;
  for (int i = 0; i < STEPS; i++) {
    const double step = i + 1, at = step <= rise ? c.lr * step / rise
                                                 : low + (c.lr - low) * .5 * (1 + cos(M_PI * (step - rise) / (STEPS - rise)));
    assert_int_equal(l.points[i].step, step);
    assert_true(l.tokens[i] == step * B * T);
    if (fabs(l.points[i].lr / at - 1) > 1e-8) fail_msg("step %g: rate %.9g, expected %.9g", step, l.points[i].lr, at);
    assert_int_equal(isnan(l.points[i].val_loss), (i + 1) % (STEPS / 4) != 0);  // four evaluations, evenly
  }
  assert_near(l.points[STEPS - 1].val_loss / l.r.val_loss, 1, 1e-8);
  double last = 0;
  for (int i = STEPS - 4; i < STEPS; i++) last += l.points[i].train_loss / 4;
  assert_near(l.r.train_loss / last, 1, 1e-8);

  // Its first loss is that of the model of its seed on the text of its seed, its last that of its model.bin on so many
  // held-out windows as it says.
  Model m;
  Err e;
  Progress p;
  uint8_t rows[9 * (T + 1)];
  double each[9], sum = 0;
  assert_int_equal(model_new(&m, &c, true, &e), OK);
  batch_train(&corpus, 5, 0, B, T, rows);
  assert_near(l.points[0].train_loss / model_step(&m, rows, B), 1, 1e-8);
  if (checkpoint_read(in("run"), "model.bin", l.r.id, &m, false, &p, &e)) fail_msg("%s", e.msg);
  assert_true(p.seconds == 0);
  free(p.points);
  batch_val(&corpus, 0, 9, T, rows);
  model_losses(&m, rows, 9, each);
  for (int i = 0; i < 9; i++) sum += each[i];
  assert_near(l.r.val_loss, sum / 9, 1e-12);
  model_free(&m);
}

// A run that diverges has trained on what it saw until then.
UNIT(a_diverged_run_says_how_far_it_came) {
  Config c = config_of(1);
  c.lr = 10, c.warmup = 0, c.eval_points = 12;
  Left l;
  left_by(&l, &c, in("wild"));
  assert_string_equal(l.r.status, "diverged");
  const CurvePoint *end = &l.points[l.n - 1];
  assert_true(l.r.steps == end->step && end->step < STEPS);
  assert_true(l.r.tokens == (double)l.r.steps * B * T);
  assert_near(l.r.epochs, l.r.tokens / sizeof train_text, 1e-15);
}

int main(void) {
  if (kernels_init(NULL) != 0) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_epoch_is_every_window_once_in_an_order_of_its_own),
      cmocka_unit_test(held_out_windows_stand_in_a_row),
      cmocka_unit_test(neighbours_are_one_witness),
      cmocka_unit_test(a_run_leaves_what_it_did),
      cmocka_unit_test(a_diverged_run_says_how_far_it_came),
  };
  return cmocka_run_group_tests_name("train", tests, begin, folder_remove);
}
