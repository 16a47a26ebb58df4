// synth.c: a source of text whose entropy is known exactly. In: two sizes. Out: a token file with its floors in the
// header. Invariant: integer arithmetic alone decides every byte, so the file is the same on every machine.
//
// The source. A lexicon of WORDS pseudo-words. At each step draw a rank r from the Zipf-Mandelbrot law p(r) ~ (r +
// 3)^-3/2, independently of everything, and write the word order[context][r]. The context is an earlier word: the
// previous word says how far back to look (its `gap`: mostly one word, up to four), and the word found there names its
// context. Each order[context] is a bijection, so given the past a word has exactly the entropy of the Zipf law,
// whatever the context:
//   H(word | past) = -sum p(r) log p(r).
// order[context] only exchanges words of the same length, so the length of rank r is the same everywhere, lengths are
// independent and the rate per byte is exactly H / sum p(r) bytes(r). No word is a prefix of another (a space or a line
// end closes each), so the bytes of a text have the cross-entropy sum -log p(rank of each word) under the source.
//
// Why this makes a good scaling study: what there is to learn comes in pieces of smoothly falling worth, as in the
// quantisation model of Michaud et al. 2023, arXiv:2303.13506. First the spelling, then the plain word frequencies (the
// orders are noisy copies of one common order), then the habits of CONTEXTS / GROUPS contexts at a time (they share
// half of their noise), then each context's own, the frequent contexts first: context frequencies are Zipf-like, too.
#include "corpus.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
  WORDS = 1024,
  CONTEXTS = 512,  // the most frequent half: one word each; the rest share the other half
  GROUPS = 16,
  MAX_GAP = 4,
  SHORTEST = 3,  // letters; LENGTHS different lengths, equally many words of each
  LENGTHS = 6,
  GUIDE_BITS = 12,
};
static const uint64_t SEED = 20220329;  // the day Chinchilla came out

typedef struct Source {
  char spelling[WORDS][12];
  uint8_t bytes[WORDS];  // with the space or line end
  uint8_t gap[WORDS];    // 1 .. MAX_GAP
  uint16_t context[WORDS];
  uint32_t cumulative[WORDS];       // 2^32 * P(rank < r)
  uint64_t surprise[WORDS];         // -log2 p(r) in 2^-48 bits
  uint16_t guide[1 << GUIDE_BITS];  // the rank to which the first number with these leading bits belongs
  uint16_t order[CONTEXTS][WORDS];  // rank -> word
} Source;
_Static_assert(WORDS <= 4096, "make_orders keeps a word in 12 bits");

// Independent streams of random numbers.
enum { S_LENGTH, S_SPELLING, S_GAP, S_CONTEXT, S_GROUP, S_OWN, S_TRAIN, S_VAL };
static uint64_t draw(int stream, uint64_t i) { return rng_u64(SEED + (uint64_t)stream, i); }

// ---- Integer arithmetic --------------------------------------------------------------------------------

static uint64_t square_root(uint64_t x) {
  uint64_t r = 0;
  for (uint64_t bit = 1ull << 31; bit; bit >>= 1)
    if ((r + bit) * (r + bit) <= x) r += bit;
  return r;
}

// log2(x) in 2^-48, rounded down; x > 0. Squaring the mantissa doubles its logarithm: each overflow past 2 is a binary
// digit.
static uint64_t log2_q48(uint64_t x) {
  int whole = 63 - __builtin_clzll(x);
  uint64_t m = x << (63 - whole), digits = 0;  // m in [1, 2), as m / 2^63
  for (int i = 0; i < 48; i++) {
    m = (uint64_t)((unsigned __int128)m * m >> 64);  // in [1, 4), as m / 2^62
    digits = digits << 1 | m >> 63;
    if (!(m >> 63)) m <<= 1;
  }
  return (uint64_t)whole << 48 | digits;
}

// A bell-shaped random number, the sum of four uniform ones: mean 0, standard deviation .577, in 2^-16.
static int64_t bell(uint64_t u) {
  return (int64_t)((u & 65535) + (u >> 16 & 65535) + (u >> 32 & 65535) + (u >> 48)) - 2 * 65535;
}

// ---- Making the source ------------------------------------------------------------------------------------

static int letters(int i) {  // of word i and of rank i; each six neighbours have all six lengths
  return SHORTEST + (int)((uint64_t)i % LENGTHS + draw(S_LENGTH, (uint64_t)i / LENGTHS) % LENGTHS) % LENGTHS;
}

static void make_lexicon(Source *s) {
  static const char CONSONANTS[] = "tnsrldmkpbgvfhzw", VOWELS[] = "eaoiu";
  for (int i = 0, attempt = 0; i < WORDS; attempt++) {
    uint64_t u = draw(S_SPELLING, (uint64_t)attempt);
    int n = letters(i);
    bool vowel = u & 1, fresh = true;
    u >>= 1;
    for (int k = 0; k < n; k++, vowel = !vowel) {
      uint64_t kinds = vowel ? 5 : 16, a = (u & 15) % kinds, b = (u >> 4 & 15) % kinds;
      s->spelling[i][k] =
          (vowel ? VOWELS : CONSONANTS)[a < b ? a : b];  // the lesser of two: early letters are frequent
      u = (u >> 7) | u << 57;
    }
    s->spelling[i][n] = i >= 16 && draw(S_GAP, (uint64_t)i) >> 60 == 0 ? '\n' : ' ';
    for (int j = 0; j < i && fresh; j++)
      fresh = s->bytes[j] != n + 1 || memcmp(s->spelling[j], s->spelling[i], (size_t)n);
    if (!fresh) continue;
    s->bytes[i] = (uint8_t)(n + 1);
    uint64_t far =
        (uint64_t)__builtin_ctzll(draw(S_GAP, (uint64_t)i) | 1ull << 32) / 2;  // 1 with 3/4, 2 with 3/16, ...
    s->gap[i] = (uint8_t)(1 + (far < MAX_GAP ? far : MAX_GAP - 1));
    s->context[i] =
        (uint16_t)(i < CONTEXTS / 2 ? i : CONTEXTS / 2 + (int)(draw(S_CONTEXT, (uint64_t)i) % (CONTEXTS / 2)));
    i++;
  }
}

// p(r) as whole multiples of 2^-32, so that a draw of 32 random bits has exactly these probabilities.
static void make_zipf(Source *s) {
  uint64_t weight[WORDS], sum = 0, total = 0;
  for (uint64_t r = 0; r < WORDS; r++) {
    uint64_t x = r + 3;
    weight[r] = (1ull << 62) / (x * square_root(x << 48));
    sum += weight[r];
  }
  for (int r = 0; r < WORDS; r++) {
    weight[r] = (uint64_t)(((unsigned __int128)weight[r] << 32) / sum);
    total += weight[r];
  }
  weight[0] += (1ull << 32) - total;
  uint64_t below = 0;
  for (int r = 0, g = 0; r < WORDS; r++) {
    s->cumulative[r] = (uint32_t)below;
    s->surprise[r] = (32ull << 48) - log2_q48(weight[r]);
    below += weight[r];
    for (; g < 1 << GUIDE_BITS && (uint64_t)g << (32 - GUIDE_BITS) < below; g++) s->guide[g] = (uint16_t)r;
  }
  assert(below == 1ull << 32);
}

static int by_value(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

// Within each length, words are sorted by log2 of their place in the common order plus noise, in octaves: half of the
// noise belongs to the context's group, half to the context.
static void make_orders(Source *s) {
  int slot[LENGTHS][WORDS / LENGTHS + 1], n[LENGTHS] = {0};
  for (int i = 0; i < WORDS; i++) {
    int l = letters(i) - SHORTEST;
    slot[l][n[l]++] = i;
  }
  for (int c = 0; c < CONTEXTS; c++)
    for (int l = 0; l < LENGTHS; l++) {
      uint64_t key[WORDS / LENGTHS + 1];
      for (int k = 0; k < n[l]; k++) {
        uint64_t i = (uint64_t)slot[l][k];
        int64_t place = (int64_t)(log2_q48(i + 3) >> 32);
        int64_t noise =
            bell(draw(S_GROUP, (uint64_t)(c % GROUPS) * WORDS + i)) + bell(draw(S_OWN, (uint64_t)c * WORDS + i));
        key[k] = (uint64_t)(place + 3 * noise + (64 << 16)) << 12 | i;
      }
      qsort(key, (size_t)n[l], sizeof *key, by_value);
      for (int k = 0; k < n[l]; k++) s->order[c][slot[l][k]] = (uint16_t)(key[k] & 4095);
    }
}

// Entropy of a word over its mean length.
static double floor_nats(const Source *s) {
  unsigned __int128 bits = 0;
  uint64_t bytes = 0;
  for (int r = 0; r < WORDS; r++) {
    uint64_t end = r + 1 < WORDS ? s->cumulative[r + 1] : 1ull << 32, p = end - s->cumulative[r];
    bits += (unsigned __int128)p * s->surprise[r];
    bytes += p * s->bytes[r];
  }
  return (double)(uint64_t)(bits >> 32) * 0x1p-48 / ((double)bytes * 0x1p-32) * M_LN2;
}

static Source *source_new(Err *e) {
  Source *s = mem_new(sizeof *s, "synthetic source", e);
  if (!s) return NULL;
  make_lexicon(s);
  make_zipf(s);
  return s;
}

// ---- Writing text ------------------------------------------------------------------------------------------

// Fills p with whole words, at most cap bytes; adds up their surprise, in 2^-48 bits.
static size_t write_text(const Source *s, int stream, uint8_t *p, size_t cap, unsigned __int128 *surprise) {
  int past[MAX_GAP] = {0};  // past[t % MAX_GAP] is word t; before the first word there is word 0
  size_t n = 0;
  *surprise = 0;
  for (uint64_t t = 0;; t++) {
    uint32_t u = (uint32_t)(draw(stream, t) >> 32);
    int r = s->guide[u >> (32 - GUIDE_BITS)];
    while (r + 1 < WORDS && s->cumulative[r + 1] <= u) r++;
    int last = past[(t + MAX_GAP - 1) % MAX_GAP], named = past[(t + MAX_GAP - s->gap[last]) % MAX_GAP];
    int word = s->order[s->context[named]][r];
    if (s->bytes[word] > cap - n) return n;
    memcpy(p + n, s->spelling[word], s->bytes[word]);
    n += s->bytes[word];
    *surprise += s->surprise[r];
    past[t % MAX_GAP] = word;
  }
}

double synth_floor_nats(void) {
  Err e;
  Source *s = source_new(&e);
  double nats = s ? floor_nats(s) : NAN;
  free(s);
  return nats;
}

int synth_build(const char *token_file, size_t train_bytes, size_t val_bytes, Err *e) {
  Source *s = source_new(e);
  if (!s) return e->code;
  uint8_t *text = mem_new(train_bytes + val_bytes, "synthetic text", e);
  if (!text) {
    free(s);
    return e->code;
  }
  make_orders(s);
  unsigned __int128 bits;
  size_t n_train = write_text(s, S_TRAIN, text, train_bytes, &bits);
  size_t n_val = write_text(s, S_VAL, text + n_train, val_bytes, &bits);
  double val_floor = n_val ? (double)bits * 0x1p-48 / (double)n_val * M_LN2 : NAN;
  int r = corpus_write(token_file, "synthetic", text, n_train, text + n_train, n_val, floor_nats(s), val_floor, e);
  free(text);
  free(s);
  return r;
}
