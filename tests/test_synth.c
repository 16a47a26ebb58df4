// test_synth.c: the synthetic source gives the same bytes everywhere, and its stated entropy is true: measured here
// from the bytes alone, knowing nothing of synth.c but that a word ends with white space.
#include "corpus.h"
#include "testing.h"

static const uint64_t GOLDEN_HASH = 0x392adf66d52fb71e;  // of 1,000,000 and 100,000 bytes
static const double GOLDEN_BITS = 0.927674;              // per byte, to 5e-7
static const char GOLDEN_TEXT[] =
    "emide nirat ake emodid gope elede lekege barel nari evod nari tek now egeneme azofa ";

static Corpus open_synth(const char *name, size_t train, size_t val) {
  Corpus c;
  Err e = {0};
  if (synth_build(in("%s", name), train, val, &e) || corpus_open(&c, in("%s", name), &e)) fail_msg("%s", e.msg);
  return c;
}

UNIT(same_bytes_everywhere) {
  Corpus c = open_synth("golden.tok", 1000000, 100000);
  // A change of these values is a new source: all synthetic results change with it.
  if (c.hash != GOLDEN_HASH) fail_msg("hash %016lx", (unsigned long)c.hash);
  if (fabs(c.floor_nats / M_LN2 - GOLDEN_BITS) > 5e-7) fail_msg("floor %.9f bits", c.floor_nats / M_LN2);
  assert_true(c.floor_nats == synth_floor_nats());
  assert_memory_equal(c.train, GOLDEN_TEXT, strlen(GOLDEN_TEXT));
  corpus_close(&c);
}

UNIT(longer_begins_with_shorter) {
  Corpus a = open_synth("a.tok", 50000, 3000), b = open_synth("b.tok", 200001, 7000), none = open_synth("c.tok", 0, 0);
  assert_in_range(a.n_train, 50000 - 9, 50000);  // whole words; the longest has nine bytes
  assert_in_range(a.n_val, 3000 - 9, 3000);
  assert_memory_equal(a.train, b.train, a.n_train);
  assert_memory_equal(a.val, b.val, a.n_val);
  assert_true(memcmp(a.train, a.val, a.n_val) != 0);
  assert_int_equal(none.n_train + none.n_val, 0);
  corpus_close(&a), corpus_close(&b), corpus_close(&none);
}

// Words as numbers in order of appearance.
typedef struct Words {
  int n, kinds;
  uint16_t *w;
  uint8_t bytes[8192];
} Words;

static Words read_words(const uint8_t *p, size_t n) {
  enum { SLOTS = 1 << 15 };
  static char spelling[SLOTS][12];
  static int number[SLOTS];
  memset(spelling, 0, sizeof spelling);
  Words t = {.w = malloc(n)};
  for (size_t at = 0; at < n;) {
    char s[12] = {0};
    size_t k = 0;
    do assert_true(k < 11), s[k] = (char)p[at++];
    while (s[k] != ' ' && s[k] != '\n' && ++k);
    size_t h = hash_bytes(0, s, 12) % SLOTS;
    while (spelling[h][0] && memcmp(spelling[h], s, 12)) h = (h + 1) % SLOTS;
    if (!spelling[h][0]) {
      memcpy(spelling[h], s, 12);
      t.bytes[t.kinds] = (uint8_t)(k + 1);
      number[h] = t.kinds++;
      assert_true(t.kinds < 8192);
    }
    t.w[t.n++] = (uint16_t)number[h];
  }
  return t;
}

// The held-out part's mean surprise is the entropy rate but for chance. Words' surprises and lengths are independent
// draws, so the ratio of their sums has the standard error sqrt(var(surprise - rate * bytes) / n) / mean bytes. The
// variance of the surprise of the law (r + 3)^-3/2 over 1024 ranks is computed here in doubles; bytes vary by at most
// 5, so their standard deviation is at most 2.5.
UNIT(floor_and_held_out_agree) {
  Corpus c = open_synth("d.tok", 0, 2000000);
  double sum = 0, mean = 0, square = 0;
  for (int r = 0; r < 1024; r++) sum += pow(r + 3, -1.5);
  for (int r = 0; r < 1024; r++) {
    double p = pow(r + 3, -1.5) / sum, bits = -log2(p);
    mean += p * bits;
    square += p * bits * bits;
  }
  double rate = c.floor_nats / M_LN2, sd = sqrt(square - mean * mean) + rate * 2.5, n = (double)c.n_val / 9;
  double bound = 5 * sd / sqrt(n) / 4;  // 4 bytes: the shortest word
  assert_true(fabs(c.val_floor_nats / M_LN2 - rate) < bound);
  assert_true(bound < 0.02 && c.val_floor_nats != c.floor_nats);
  // And the rate is the law's entropy over the mean number of bytes of a word, here as counted.
  Words t = read_words(c.val, c.n_val);
  double bytes = (double)c.n_val / t.n;
  assert_true(fabs(mean / bytes - rate) < rate * 5 * 2.5 / sqrt(t.n) / bytes + 1e-6);
  free(t.w);
  corpus_close(&c);
}

// The entropy of the word after each frequent word w, estimated by counting (Miller-Madow). When w names the context
// itself that entropy is H; when it sends further back it is a mixture's, and more. So none may lie below H, and some
// must meet it. Error of the estimate over n words, K of them different: sd / sqrt(n) by chance (5 of them allowed),
// and the bias that is left after adding (K - 1) / 2n nats is below twice that.
UNIT(entropy_measured_from_the_text) {
  Corpus c = open_synth("e.tok", 12000000, 0);
  Words t = read_words(c.train, c.n_train);
  assert_int_equal(t.kinds, 1024);
  double h = c.floor_nats / M_LN2 * (double)c.n_train / t.n, nearest = 1e9;
  static int count[8192], next[8192];
  for (int i = 0; i < t.n; i++) count[t.w[i]]++;
  int tested = 0;
  for (int w = 0; w < t.kinds; w++) {
    if (count[w] < 20000) continue;
    memset(next, 0, sizeof next);
    for (int i = 0; i + 1 < t.n; i++)
      if (t.w[i] == w) next[t.w[i + 1]]++;
    double n = count[w], bits = 0, square = 0, kinds = 0;
    for (int k = 0; k < t.kinds; k++)
      if (next[k]) {
        double p = next[k] / n, s = -log2(p);
        bits += p * s, square += p * s * s, kinds++;
      }
    double bias = (kinds - 1) / (2 * n) / M_LN2, chance = 5 * sqrt((square - bits * bits) / n);
    bits += bias;
    if (bits < h - chance) fail_msg("a word with %.0f successors: %.4f bits, expected %.4f or more", n, bits, h);
    double off = (fabs(bits - h) - chance - 2 * bias);
    if (off < nearest) nearest = off;
    tested++;
  }
  assert_true(tested >= 5);
  if (nearest > 0) fail_msg("no word's successors have the stated entropy, %.4f bits; nearest is %.4f off", h, nearest);
  free(t.w);
  corpus_close(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(same_bytes_everywhere),
      cmocka_unit_test(longer_begins_with_shorter),
      cmocka_unit_test(floor_and_held_out_agree),
      cmocka_unit_test(entropy_measured_from_the_text),
  };
  return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
