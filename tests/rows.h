// rows.h: what the tests of the row operations share, test_vec.c and test_softmax.c: memory that notices, bounds, and a
// test of every operation of every kernel table that this CPU runs. In: nothing. Out: assertions of the test that calls.
//
// Invariant of every check: |float - double| <= a bound counted from the roundings on the way, in units of U = 2^-24; a
// chain of m roundings is off by at most m U to first order (Higham 2002, ch. 3), SLACK is for the second order.
// A sum of n is at most n/4 additions in a lane and 6 more across lanes, whatever the width: SUM(n).
#ifndef ISOFLOP_ROWS_H
#define ISOFLOP_ROWS_H
#include "kernels.h"
#include "util.h"
#include <assert.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#define SHARED static __attribute__((unused))  // as in testing.h, which takes more of cmocka than tests/neon has
#define U 0x1p-24
#define SLACK 1.01
#define SUM(n) ((n) / 4.0 + 6)
#define EXP_ERROR 1.9  // of exp, relative, in U: counted in vec.inc

// ---- Memory that notices ------------------------------------------------------------------------------

// Arrays that end where an unreadable page begins, with NaN in front: a read past the end dies, and a write in front
// shows when the array is made anew, or at the end of the test.
enum { PAGE = 4096, BYTES = 16 * PAGE, MAX_FLOATS = BYTES / 4, N_ARRAYS = 9, FRONT = 64 };
static float *array_end[N_ARRAYS], *array_begin[N_ARRAYS];

static float *array_make(void) {  // its end
  char *p = mmap(NULL, BYTES + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED || mprotect(p + BYTES, PAGE, PROT_NONE) != 0) exit(99);
  return (float *)(p + BYTES);
}

SHARED void check_front(int i) {
  const float *p = array_begin[i];
  array_begin[i] = NULL;  // told of once
  for (int j = 1; p && j <= FRONT; j++)
    if (!isnan(p[-j])) fail_msg("something has written %d in front of array %d", j, i);
}

static double uniform(void) {  // in [0, 1)
  static uint64_t drawn;
  return rng_uniform(1, drawn++);
}

// Array number i with n floats in [-range, range), NaNs in front of it.
SHARED float *array(int i, size_t n, double range) {
  assert_true(n + FRONT <= MAX_FLOATS);
  check_front(i);
  if (!array_end[i]) array_end[i] = array_make();
  float *p = array_begin[i] = array_end[i] - n;
  for (int j = 1; j <= FRONT; j++) p[-j] = NAN;
  for (size_t j = 0; j < n; j++) p[j] = (float)(range * (2 * uniform() - 1));
  return p;
}
SHARED float *copy(int i, const float *from, size_t n) { return memcpy(array(i, n, 0), from, n * sizeof *from); }

SHARED void check(double got, double want, double bound, const char *what, int n, int i) {
  if (!(fabs(got - want) <= SLACK * bound))
    fail_msg("%s, n %d, element %d: got %.9g, want %.9g, off by %.3g, bound %.3g", what, n, i, got, want,
             fabs(got - want), SLACK * bound);
}

// Nothing was written between the rows, which are n wide and ld apart.
SHARED void check_gaps(const float *p, const float *was, int rows, int n, int ld) {
  for (int row = 0; row < rows - 1; row++)
    for (int i = n; i < ld; i++) assert_true(p[row * ld + i] == was[row * ld + i]);
}

// Lengths 1 to 70, and 128, 256, 1000.
static int length(int i) { return i < 70 ? i + 1 : (int[]){128, 256, 1000}[i - 70]; }
#define EACH_LENGTH(n) for (int l_ = 0, n; l_ < 73 && ((n = length(l_)), 1); l_++)

// The derivative of f along x[i] by central differences, off by h^2/6 |f'''| + 2^-53 |f| / h: below 1e-9 here.
SHARED double slope_of(double (*f)(const double *x), double *x, int i) {
  const double h = 1e-5, kept = x[i];
  double value[2];
  for (int side = 0; side < 2; side++) x[i] = kept + (side ? h : -h), value[side] = f(x);
  x[i] = kept;
  return (value[1] - value[0]) / (2 * h);
}

// For what shows that the double forms, too, are derivatives: arguments of a scalar, and its weights.
enum { N_REF = 9 };
static double ref_dp[N_REF];

// ---- Every operation of every table ------------------------------------------------------------------------

typedef struct Case {
  char name[64];
  void (*run)(const Kernels *t);
  const Kernels *t;
} Case;
static const Kernels reference = {.name = "reference"};  // the double forms, in their turn against differences

static void case_run(void **state) {
  const Case *c = *state;
  c->run(c->t);
  for (int i = 0; i < N_ARRAYS; i++) check_front(i);
}

// Runs `ops`, those of t == NULL for every table. Or, asked for by the first argument, only does `other` with each table.
static int run_cases(const Case *ops, int n_ops, int argc, char **argv, const char *name,
                     void (*other)(const Kernels *t)) {
  enum { MAX_CASES = 100 };
  static Case cases[MAX_CASES];
  static struct CMUnitTest tests[MAX_CASES];
  const bool alone = argc > 1 && !strcmp(argv[1], name);
  size_t n = 0;
  for (int k = -1; k < 0 || kernels_all[k]; k++) {
    const Kernels *t = k < 0 ? &reference : kernels_all[k];
    if (k >= 0 && (!t->rmsnorm || !t->supported())) continue;  // openblas borrows its rows
    if (k >= 0 && alone) other(t);
    for (int i = 0; i < n_ops; i++) {
      if ((ops[i].t == &reference) != (k < 0)) continue;
      assert(n < MAX_CASES);
      cases[n] = (Case){.run = ops[i].run, .t = t};
      snprintf(cases[n].name, sizeof cases[n].name, "%.20s: %.40s", t->name, ops[i].name);
      tests[n] = (struct CMUnitTest){cases[n].name, case_run, NULL, NULL, &cases[n]};
      n++;
    }
  }
  return alone ? 0 : _cmocka_run_group_tests("rows", tests, n, NULL, NULL);
}
#endif
