// test_softmax.c: softmax, cross-entropy and the exponential in them, of every kernel table this CPU runs, against
// double precision.
//
// In: the tables of kernels.h. Out: TAP; `test_softmax exp` tries every float instead.
#include "rows.h"

#define EXP_ITSELF ((float[]){0, 1})

static void softmax_ref(double *p, const double *s, int n) {
  double max = -INFINITY, sum = 0;
  for (int i = 0; i < n; i++) max = fmax(max, s[i]);
  for (int i = 0; i < n; i++) sum += p[i] = exp(s[i] - max);
  for (int i = 0; i < n; i++) p[i] /= sum;
}

// softmax_again of one row, with scale 1, maximum 0 and sum 1, is exp itself. Returns its largest relative error in U
// over every stride-th float.
static double exp_error(const Kernels *t, uint32_t stride) {
  enum { BATCH = 1024 };
  static float x[BATCH], y[BATCH];
  double worst = 0;
  for (int negative = 0; negative < 2; negative++) {
    union { uint32_t bits; float f; } at = {.f = 0x1p-30f}, end = {.f = negative ? 87.3365f : 88.3f};
    while (at.bits <= end.bits) {
      int n = 0;
      for (; n < BATCH && at.bits <= end.bits; at.bits += stride) x[n++] = negative ? -at.f : at.f;
      memcpy(y, x, sizeof y);
      t->softmax_again(y, n, 1, n, 1, EXP_ITSELF);
      for (int i = 0; i < n; i++) worst = fmax(worst, fabs(y[i] / exp(x[i]) - 1) / U);
    }
  }
  return worst;
}

static void test_exp(const Kernels *t) {
  const double worst = exp_error(t, 997);
  if (!(worst <= EXP_ERROR)) fail_msg("exp is off by %.2f x 2^-24, more than %.2f", worst, EXP_ERROR);
  float *x = copy(0, (float[]){0, -0.0f, -87.34f, -1e4f, -1e30f, -INFINITY, NAN, -87.336f}, 8);
  t->softmax_again(x, 8, 1, 8, 1, EXP_ITSELF);
  assert_true(x[0] == 1 && x[1] == 1 && x[2] == 0 && x[3] == 0 && x[4] == 0 && x[5] == 0 && isnan(x[6]) && x[7] > 0);
}

static void test_softmax(const Kernels *t) {
  static double exact[1000], want[1000];
  EACH_LENGTH(n) for (int range = 1; range <= 64; range *= 8) {
    const float scale = .29f;
    float *s = array(0, n, range), *again = copy(1, s, n), stats[2], top = -INFINITY;
    double size = 0;  // exponents are off by U (|scale s| + max + their difference) <= 4 U size
    for (int i = 0; i < n; i++) {
      size = fmax(size, fabs(exact[i] = (double)scale * s[i]));
      top = fmaxf(top, scale * s[i]);
    }
    t->softmax(s, n, 1, n, scale, stats);
    assert_true(stats[0] == top);
    softmax_ref(want, exact, n);
    const double rel = U * (2 * (4 * size + EXP_ERROR) + SUM(n) + 2);
    double largest = 0;
    for (int i = 0; i < n; i++) {
      check(s[i], want[i], rel * want[i] + 1.2e-38, "softmax", n, i);
      largest = fmax(largest, want[i]);
    }
    check(stats[1], largest, rel * largest, "softmax rsum", n, 0);  // the maximum's own exponent is 0
    t->softmax_again(again, n, 1, n, scale, stats);
    assert_memory_equal(again, s, n * sizeof *s);
    for (int bad = 0; bad < n; bad += 1 + n / 40) {
      s = array(0, n, range);
      s[bad] = bad % 2 ? NAN : INFINITY;
      t->softmax(s, n, 1, n, scale, stats);
      for (int i = 0; i < n; i++) assert_true(isnan(s[i]) || (bad % 2 == 0 && i != bad && s[i] == 0));
      assert_true(isnan(s[bad]) && isnan(stats[1]));
    }
  }
  float *s = copy(0, (float[]){3e38f, -3e38f, 3e38f, -INFINITY}, 4), stats[2];  // large is not wrong
  t->softmax(s, 4, 1, 4, .7f, stats);
  assert_true(s[0] == .5f && s[1] == 0 && s[2] == .5f && s[3] == 0);
}

static void test_softmax_back(const Kernels *t) {
  EACH_LENGTH(n) {
    float *ds = array(0, n, 1), *ds0 = copy(1, ds, n), *p = array(2, n, 1);
    const float delta = .123f, scale = .29f;
    t->softmax_back(ds, p, n, 1, n, &delta, 1, scale);
    for (int i = 0; i < n; i++) {
      const double want = (double)p[i] * ((double)ds0[i] - delta) * scale;
      check(ds[i], want, 3 * U * fabs(want), "softmax_back", n, i);
    }
    ds[n - 1] = NAN;
    t->softmax_back(ds, p, n, 1, n, &delta, 1, scale);
    assert_true(isnan(ds[n - 1]));
  }
}

// A block of rows is what its rows are alone, with zeros for what is masked, whatever it was (for the backward: any
// number), and nothing else is written.
static void test_softmax_rows(const Kernels *t) {
  for (int rows = 1; rows <= 19; rows += 1 + rows / 7) for (int n = 1; n <= 67; n += 1 + n / 9) {
    const int end = n + rows - 1, ld = end + 3, size = (rows - 1) * ld + end;
    const float scale = .29f;
    float *p = array(0, size, 5);
    for (int r = 0; r < rows; r++)
      for (int i = n + r; i < end; i++) p[r * ld + i] = i % 2 ? NAN : INFINITY;
    float *again = copy(1, p, size), *p0 = copy(2, p, size), *ds = array(3, size, 1);
    float *ds0 = copy(4, ds, size), *stats = array(5, 2 * rows, 1), *delta = array(6, 3 * rows, 1), one[2];
    t->softmax(p, ld, rows, n, scale, stats);
    t->softmax_again(again, ld, rows, n, scale, stats);
    t->softmax_back(ds, p, ld, rows, n, delta, 3, scale);
    assert_memory_equal(again, p, size * sizeof *p);
    for (int r = 0; r < rows; r++) {
      float *s1 = p0 + r * ld, *ds1 = ds0 + r * ld;
      t->softmax(s1, ld, 1, n + r, scale, one);
      t->softmax_back(ds1, s1, ld, 1, n + r, delta + 3 * r, 1, scale);
      assert_memory_equal(one, stats + 2 * r, sizeof one);
      for (int i = n + r; i < end; i++) {
        s1[i] = 0, ds1[i] = ds[r * ld + i];
        assert_true(ds1[i] == 0);
      }
    }
    assert_memory_equal(p, p0, size * sizeof *p);  // what lies between the rows included
    assert_memory_equal(ds, ds0, size * sizeof *ds);
  }
}

// What softmax_back and xent compute are derivatives: of sum(dp softmax(s)), and of the loss of target 2.
static double weighed_softmax(const double *s) {
  double p[N_REF], sum = 0;
  softmax_ref(p, s, N_REF);
  for (int i = 0; i < N_REF; i++) sum += p[i] * ref_dp[i];
  return sum;
}
static double nats_of_2(const double *s) {
  double p[N_REF];
  softmax_ref(p, s, N_REF);
  return -log(p[2]);
}

static void reference_softmax(const Kernels *t) {
  (void)t;
  double s[N_REF], p[N_REF];
  for (int i = 0; i < N_REF; i++) s[i] = 4 * uniform() - 2, ref_dp[i] = 2 * uniform() - 1;
  softmax_ref(p, s, N_REF);
  const double delta = weighed_softmax(s);
  for (int i = 0; i < N_REF; i++) {
    check(p[i] * (ref_dp[i] - delta), slope_of(weighed_softmax, s, i), 1e-9, "softmax_back of the reference", N_REF, i);
    check(p[i] - (i == 2), slope_of(nats_of_2, s, i), 1e-9, "xent gradient of the reference", N_REF, i);
  }
}

static void test_xent(const Kernels *t) {
  static double exact[1000], want[1000];
  EACH_LENGTH(n) for (int target = 0; target < n && target < 256; target += 1 + n / 5) {
    float *z = array(0, n, 9), *kept = copy(1, z, n);
    const uint8_t y = (uint8_t)target;
    const float dscale = 1.0f / 96;
    double size = 0, sum = 0;  // exponents are off by U * 2 size
    for (int i = 0; i < n; i++) size = fmax(size, fabs(exact[i] = z[i])), sum += exp(exact[i]);
    softmax_ref(want, exact, n);
    const double loss = t->xent(z, n, &y, 1, n, dscale), rel = U * (2 * size + EXP_ERROR + SUM(n));
    check(loss, log(sum) - exact[target], rel + 1e-14, "xent", n, target);
    for (int i = 0; i < n; i++) {
      const double p_bound = want[i] * (rel + U * (2 * size + EXP_ERROR + 3)), d = want[i] - (i == target);
      check(z[i], dscale * d, dscale * (p_bound + U * fabs(d)), "xent gradient", n, i);
    }
    assert_true(t->xent(kept, n, &y, 1, n, 0) == loss);
    for (int bad = 0; bad < n; bad += 1 + n / 20) {
      z = array(0, n, 9);
      z[bad] = bad % 2 ? NAN : INFINITY;
      assert_true(isnan(t->xent(z, n, &y, 1, n, dscale)) && isnan(z[bad]));
    }
  }
}

// Rows are what they are alone, their losses are added in order, and nothing else is written.
static void test_xent_rows(const Kernels *t) {
  for (int rows = 1; rows <= 19; rows += 1 + rows / 7) for (int n = 1; n <= 67; n += 1 + n / 9) {
    const int ld = n + 3, size = (rows - 1) * ld + n;
    const float dscale = rows % 2 ? 0 : 1.0f / 96;
    float *z = array(0, size, 9), *z0 = copy(1, z, size);
    uint8_t targets[19];
    double sum = 0;
    for (int r = 0; r < rows; r++) targets[r] = (uint8_t)(uniform() * n);
    const double loss = t->xent(z, ld, targets, rows, n, dscale);
    for (int r = 0; r < rows; r++) sum += t->xent(z0 + r * ld, ld, targets + r, 1, n, dscale);
    assert_true(loss == sum);
    assert_memory_equal(z, z0, size * sizeof *z);
  }
}

static void exp_of_all(const Kernels *t) { printf("%s: exp off by %.3f x 2^-24\n", t->name, exp_error(t, 1)); }

int main(int argc, char **argv) {
  static const Case ops[] = {
    {"softmax", reference_softmax, &reference}, {"exp", test_exp, NULL}, {"softmax", test_softmax, NULL},
    {"softmax_back", test_softmax_back, NULL}, {"softmax rows", test_softmax_rows, NULL}, {"xent", test_xent, NULL},
    {"xent rows", test_xent_rows, NULL}};
  return run_cases(ops, sizeof ops / sizeof *ops, argc, argv, "exp", exp_of_all);
}
