// bench_vec.c: nanoseconds an element of every row operation of a kernel table, for `test_vec bench`. In: a table of
// kernels.h. Out: lines on stdout, the best of TRIALS means of REPEAT. Invariant: each repeat begins with the same
// floats.
#include "bench_vec.h"
#include "util.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

void bench_vec(const Kernels *t) {
  // 64 rows of n, in L1 or L2 as in training; scores and logits MAX_N apart, the rest dense. Heads of 16, or of 20.
  enum { ROWS = 64, MAX_N = 256, SIZE = ROWS * MAX_N, TRIALS = 9, REPEAT = 20 };
  static float a[SIZE], b[SIZE], c[SIZE], d[SIZE], start[SIZE], stat[SIZE], gain[MAX_N], dgain[MAX_N];
  static const int ns[] = {16, 20, 40, 48, 128, 256};
  const AdamCoef adam = {.lr = 1e-9f, .b1 = .9f, .b2 = .95f, .eps = 1e-8f, .grad_scale = 1, .m_corr = 1, .v_corr = 1};
  const char *names[] = {"rmsnorm", "rmsnorm heads", "rmsnorm_back", "rmsnorm_back heads", "rope", "gelu", "softmax",
                         "softmax_again", "softmax_back", "xent", "add", "mul", "dots", "sumsq", "adamw"};
  static const uint8_t targets[ROWS];
  volatile double sink = 0;
  for (int i = 0; i < SIZE; i++) start[i] = (float)(2 * rng_uniform(1, (uint64_t)i) - 1);
  printf("%s: ns an element at n =", t->name);
  for (int j = 0; j < 6; j++) printf(" %7d", ns[j]);
  for (int op = 0; op < 15; op++) {
    printf("\n  %-20s      ", names[op]);
    for (int j = 0; j < 6; j++) {
      const int n = ns[j], head = n % 20 ? 16 : 20;
      double best = 1e9;
      for (int trial = 0; trial < TRIALS; trial++) {
        double spent = 0;
        for (int repeat = 0; repeat < REPEAT; repeat++) {
          memcpy(a, start, sizeof a), memcpy(b, start, sizeof b), memcpy(c, start, sizeof c);
          for (int i = 0; i < n; i++) gain[i] = 1;
          for (int i = 0; i < ROWS * n; i++) stat[i] = 1, d[i] = fabsf(start[i]);
          const double t0 = now_seconds();
          switch (op) {
            case 0: t->rmsnorm(b, n, stat, a, n, gain, ROWS, 1, n, 1e-5f); break;
            case 1: t->rmsnorm(b, n, stat, a, n, gain, ROWS, n / head, head, 1e-5f); break;
            case 2: t->rmsnorm_back(b, dgain, c, n, a, n, stat, gain, ROWS, 1, n, b); break;
            case 3: t->rmsnorm_back(c, dgain, c, n, a, n, stat, gain, ROWS, n / head, head, NULL); break;
            case 4: t->rope(a, n, b, c, ROWS, n, 1); break;
            case 5: t->gelu(b, c, a, (size_t)ROWS * n); break;
            case 6: for (int i = 0; i < SIZE; i += MAX_N) t->softmax(a + i, n, 1, n, .25f, stat); break;
            case 7: for (int i = 0; i < SIZE; i += MAX_N) t->softmax_again(a + i, n, 1, n, .25f, gain); break;
            case 8: for (int i = 0; i < SIZE; i += MAX_N) t->softmax_back(a + i, b + i, n, 1, n, gain, 1, .25f); break;
            case 9: sink += t->xent(a, MAX_N, targets, ROWS, n, .1f); break;
            case 10: t->add(a, b, (size_t)ROWS * n); break;
            case 11: t->mul(a, b, (size_t)ROWS * n); break;
            case 12: t->dots(c, a, b, n, ROWS, n / head, head); break;
            case 13: sink += t->sumsq(a, (size_t)ROWS * n); break;
            case 14: t->adamw(a, b, c, d, (size_t)ROWS * n, &adam); break;
          }
          spent += now_seconds() - t0;
        }
        best = fmin(best, spent / REPEAT);
      }
      printf(" %7.3f", 1e9 * best / ROWS / n);
    }
  }
  printf("\n");
}
