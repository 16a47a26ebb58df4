// test_eval.c: word perplexity and last-word accuracy of models whose answers are known beforehand.
#include "eval.h"
#include "kernels.h"
#include "shape.h"
#include "testing.h"
#include "train.h"

UNIT(words_are_what_they_are_said_to_be) {
  const char *text = "The cat_2, d\xc3\xa9j\xc3\xa0-vu (2nd).";  // The, cat_2, déjà, vu, 2nd
  assert_near(eval_bytes_per_word((const uint8_t *)text, strlen(text)), strlen(text) / 5., 1e-12);
  assert_true(isnan(eval_bytes_per_word((const uint8_t *)" ,. ", 4)));
}

// Text of n words of five letters and one separator, each "abcde" or, every `other`-th, "abcdx".
static uint8_t *text_of(int n, int other) {
  uint8_t *t = malloc((size_t)n * 6);
  for (int i = 0; i < n; i++) memcpy(t + 6 * i, i % other ? "abcde " : "abcdx ", 6);
  return t;
}

UNIT(passages_end_where_a_word_ends) {
  enum { T = 32, N = 50 };
  uint8_t *t = text_of(2000, 7);
  int64_t last = -1;
  for (int k = 0; k < N; k++) {
    int word = 0;
    const int64_t at = eval_passage(t, 12000, T, k, N, &word);
    assert_true(at > last && at + T < 12000);  // ascending, inside, and the byte behind it is there to end the word
    assert_int_equal(word, 5);
    assert_int_equal((at + T) % 6, 5);
    last = at;
  }
  assert_true(last + T > 12000 * (N - 1) / N - 6);  // they span all of the held-out part
  int word;
  memset(t, 'a', 12000);  // one word without an end; then one too long to be the last of a passage
  assert_int_equal(eval_passage(t, 12000, T, 0, N, &word), -1);
  for (int i = 0; i < 12000; i += 20) t[i] = ' ';
  assert_int_equal(eval_passage(t, 12000, T, 0, N, &word), -1);
  free(t);
}

// A model without blocks' part: logits depend on the byte before alone, and the likeliest next of a is b, and so on.
static void chain(Model *m, const char *bytes) {
  memset(m->params, 0, m->n_params * sizeof *m->params);
  const Tensor *embed = model_tensor(m, "embed"), *norm = model_tensor(m, "norm"), *head = model_tensor(m, "head");
  for (int j = 0; j < norm->cols; j++) m->params[norm->offset + (size_t)j] = 1;
  for (int k = 0; bytes[k] && bytes[k + 1]; k++) {
    m->params[embed->offset + (size_t)bytes[k] * (size_t)embed->cols + (size_t)k] = 1;
    m->params[head->offset + (size_t)k * (size_t)head->cols + (size_t)bytes[k + 1]] = 1;
  }
}

static Model model_of(int threads) {
  Config c;
  Err e;
  Model m;
  config_defaults(&c);
  c.seq_len = 32, c.d_model = 16, c.batch_tokens = 32, c.threads = threads;
  if (model_new(&m, &c, false, &e)) fail_msg("%s", e.msg);
  return m;
}

// It writes abcde after every space, so that exactly the words abcde are right; with one link wrong, none is.
UNIT(last_words_of_a_known_model) {
  enum { WORDS = 6000, OTHER = 4 };
  uint8_t *t = text_of(WORDS, OTHER);
  const Corpus c = {.name = "known", .val = t, .n_val = WORDS * 6};
  Model m = model_of(1);
  Evaluation v, w;
  Err e;
  chain(&m, " abcde ");
  if (eval_model(&m, &c, 4096, 400, &v, &e)) fail_msg("%s", e.msg);
  assert_int_equal(v.passages, 400);
  int right = 0;
  double each[400], se;
  for (int k = 0; k < 400; k++) {
    int word;
    right += (int)(each[k] = t[eval_passage(t, c.n_val, 32, k, 400, &word) + 31] == 'e');
  }
  assert_true(right > 250 && right < 350);  // three of four words
  assert_near(v.last_word, right / 400., 1e-12);
  train_mean(each, 400, &se);
  assert_near(v.last_word_se, se, 1e-15);
  assert_true(se > 0 && v.nats_se > 0);
  assert_near(v.word_ppl_se / (v.word_ppl * 6 * v.nats_se), 1, 1e-12);  // d exp(6 x) = 6 exp(6 x) dx, at six bytes a word
  if (eval_model(&m, &c, 4096, 1 << 20, &w, &e)) fail_msg("%s", e.msg);
  assert_true(w.passages <= WORDS * 6 / 32);  // no more than there is text for
  chain(&m, " abdce ");
  if (eval_model(&m, &c, 4096, 400, &v, &e)) fail_msg("%s", e.msg);
  assert_true(v.last_word == 0 && v.last_word_se == 0);
  model_free(&m);
  free(t);
}

// A model that knows nothing: ln 256 nats a byte, so 256^6 for a word with its space.
UNIT(perplexity_of_ignorance) {
  uint8_t *t = text_of(3000, 5);
  const Corpus c = {.name = "known", .val = t, .n_val = 18000};
  Model m = model_of(1);
  Evaluation v;
  Err e;
  memset(m.params, 0, m.n_params * sizeof *m.params);
  if (eval_model(&m, &c, 1e9, 0, &v, &e)) fail_msg("%s", e.msg);
  assert_int_equal(v.passages, 0);
  assert_near(v.nats, log(256), 1e-6);
  assert_near(v.bytes_per_word, 6, 1e-12);
  assert_near(log(v.word_ppl), 6 * log(256), 1e-5);
  assert_near(v.nats_se, 0, 1e-6);
  assert_true(v.flops_per_token == shape_flops(&m.cfg).exact / 3);
  assert_int_equal(v.tokens, 17999 / 32 * 32);
  const Corpus none = {.name = "short", .val = t, .n_val = 20};
  assert_int_equal(eval_model(&m, &none, 1e9, 10, &v, &e), E_CORPUS);
  model_free(&m);
  free(t);
}

UNIT(threads_change_nothing) {
  uint8_t *t = text_of(3000, 5);
  for (int i = 0; i < 18000; i++)
    if (rng_uniform(1, (uint64_t)i) < .3) t[i] = (uint8_t)('a' + rng_u64(2, (uint64_t)i) % 26);
  const Corpus c = {.name = "known", .val = t, .n_val = 18000};
  Evaluation v[2];
  for (int k = 0; k < 2; k++) {
    Model m = model_of(k ? 3 : 1);
    Err e;
    memset(&v[k], 0, sizeof v[k]);
    if (eval_model(&m, &c, 1e9, 200, &v[k], &e)) fail_msg("%s", e.msg);
    model_free(&m);
  }
  assert_memory_equal(&v[0], &v[1], sizeof v[0]);
  free(t);
}

int main(void) {
  if (kernels_init(NULL) != 0) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(words_are_what_they_are_said_to_be), cmocka_unit_test(passages_end_where_a_word_ends),
      cmocka_unit_test(last_words_of_a_known_model),        cmocka_unit_test(perplexity_of_ignorance),
      cmocka_unit_test(threads_change_nothing),
  };
  return cmocka_run_group_tests_name("eval", tests, NULL, NULL);
}
