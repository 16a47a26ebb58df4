// batch.c: see batch.h. In: corpus and counters. Out: rows of T+1 bytes.
#include "batch.h"
#include <assert.h>
#include <limits.h>
#include <math.h>
#include <string.h>

// A random permutation of 0..n-1 without storing it: a 4-round Feistel network over the next even power of two (Luby &
// Rackoff 1988), walked until it lands below n (Black & Rogaway 2002).
static uint64_t permute(uint64_t i, uint64_t n, uint64_t key) {
  int half = 1;
  while ((uint64_t)1 << 2 * half < n) half++;
  const uint64_t mask = ((uint64_t)1 << half) - 1;
  do {
    uint64_t left = i >> half, right = i & mask;
    for (int round = 0; round < 4; round++) {
      const uint64_t next = left ^ (rng_u64(key + (uint64_t)round, right) & mask);
      left = right;
      right = next;
    }
    i = left << half | right;
  } while (i >= n);
  return i;
}

void batch_train(const Corpus *c, uint64_t seed, int64_t step, int B, int T, uint8_t *out) {
  const uint64_t windows = (c->n_train - 1) / (uint64_t)T;
  assert(windows > 0);
  for (int b = 0; b < B; b++) {
    const uint64_t q = (uint64_t)step * (uint64_t)B + (uint64_t)b, epoch = q / windows;
    const uint64_t w = permute(q % windows, windows, rng_u64(seed, epoch));
    memcpy(out + (size_t)b * (T + 1), c->train + w * (uint64_t)T, (size_t)T + 1);
  }
}

int batch_val_windows(const Corpus *c, double tokens, int T) {
  const double all = c->n_val ? (double)((c->n_val - 1) / (size_t)T) : 0, asked = tokens / T;
  return (int)fmin(fmin(asked, all), INT_MAX);
}

void batch_val(const Corpus *c, int first, int B, int T, uint8_t *out) {
  for (int b = 0; b < B; b++) memcpy(out + (size_t)b * (T + 1), c->val + (size_t)(first + b) * T, (size_t)T + 1);
}
