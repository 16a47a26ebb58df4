// test_vec.c: every row operation of every kernel table this CPU runs, against double precision.
//
// In: the tables of kernels.h. Out: TAP; `test_vec bench` prints nanoseconds an element instead; `test_vec exp` tries
// every float. Invariant of every check: |float - double| <= a bound counted from the roundings on the way, in units
// of U = 2^-24; a chain of m roundings is off by at most m U to first order (Higham 2002, ch. 3), SLACK is for the
// second order.
// A sum of n is at most n/4 additions in a lane and 6 more across lanes, whatever the width: SUM(n).
#include "bench_vec.h"
#include "util.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#define U 0x1p-24
#define SLACK 1.01
#define SUM(n) ((n) / 4.0 + 6)
#define EXP_ITSELF ((float[]){0, 1})
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

static void check_front(int i) {
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
static float *array(int i, size_t n, double range) {
  assert_true(n + FRONT <= MAX_FLOATS);
  check_front(i);
  if (!array_end[i]) array_end[i] = array_make();
  float *p = array_begin[i] = array_end[i] - n;
  for (int j = 1; j <= FRONT; j++) p[-j] = NAN;
  for (size_t j = 0; j < n; j++) p[j] = (float)(range * (2 * uniform() - 1));
  return p;
}
static float *copy(int i, const float *from, size_t n) { return memcpy(array(i, n, 0), from, n * sizeof *from); }

static void check(double got, double want, double bound, const char *what, int n, int i) {
  if (!(fabs(got - want) <= SLACK * bound))
    fail_msg("%s, n %d, element %d: got %.9g, want %.9g, off by %.3g, bound %.3g", what, n, i, got, want,
             fabs(got - want), SLACK * bound);
}

// Nothing was written between the rows, which are n wide and ld apart.
static void check_gaps(const float *p, const float *was, int rows, int n, int ld) {
  for (int row = 0; row < rows - 1; row++)
    for (int i = n; i < ld; i++) assert_true(p[row * ld + i] == was[row * ld + i]);
}

// Lengths 1 to 70, and 128, 256, 1000.
static int length(int i) { return i < 70 ? i + 1 : (int[]){128, 256, 1000}[i - 70]; }
#define EACH_LENGTH(n) for (int l_ = 0, n; l_ < 73 && ((n = length(l_)), 1); l_++)

// The derivative of f along x[i] by central differences, off by h^2/6 |f'''| + 2^-53 |f| / h: below 1e-9 here.
static double slope_of(double (*f)(const double *x), double *x, int i) {
  const double h = 1e-5, kept = x[i];
  double value[2];
  for (int side = 0; side < 2; side++) x[i] = kept + (side ? h : -h), value[side] = f(x);
  x[i] = kept;
  return (value[1] - value[0]) / (2 * h);
}

// ---- Element by element ---------------------------------------------------------------------------------

static void test_add_mul(const Kernels *t) {
  EACH_LENGTH(n) for (int mul = 0; mul < 2; mul++) {
    float *x = array(0, n, 3), *y = array(1, n, 3), *y0 = copy(2, y, n);
    (mul ? t->mul : t->add)(y, x, n);
    for (int i = 0; i < n; i++) check(y[i], mul ? y0[i] * x[i] : y0[i] + x[i], 0, mul ? "mul" : "add", n, i);
  }
}

static void test_dot_sumsq(const Kernels *t) {
  EACH_LENGTH(n) {
    float *x = array(0, n, 3), *y = array(1, n, 3);
    double dot = 0, size = 0, sumsq = 0;
    for (int i = 0; i < n; i++) {
      const double product = (double)x[i] * y[i];
      dot += product, size += fabs(product), sumsq += (double)x[i] * x[i];
    }
    check(t->dot(x, y, n), dot, SUM(n) * U * size, "dot", n, 0);
    check(t->sumsq(x, n), sumsq, 2 * n * 0x1p-53 * sumsq, "sumsq", n, 0);
    x[n / 2] = 1e30f;  // its square is no float
    assert_true(fabs(t->sumsq(x, n) / ((double)x[n / 2] * x[n / 2]) - 1) < 1e-12);
    for (int i = 0; i < n; i += 1 + n / 40) {
      x[i] = NAN;
      assert_true(isnan(t->dot(x, y, n)) && isnan(t->sumsq(x, n)));
      x[i] = INFINITY;
      y[i] = 1;
      assert_true(!isfinite(t->dot(x, y, n)) && isinf(t->sumsq(x, n)));
      x[i] = 1;
    }
  }
}

static void test_adamw(const Kernels *t) {
  const AdamCoef coefs[] = {
    {.lr = .01f, .b1 = .9f, .b2 = .95f, .eps = 1e-8f, .decay = .1f, .grad_scale = .37f, .m_corr = 1.7f, .v_corr = 2.3f},
    {.lr = .01f, .b1 = .9f, .b2 = .99f, .eps = 1e-8f, .l2 = .1f, .grad_scale = 1, .m_corr = 1.2f, .v_corr = 4},
  };
  for (int form = 0; form < 2; form++)
    EACH_LENGTH(n) {
      const AdamCoef c = coefs[form];
      float *p = array(0, n, 1), *g = array(1, n, 1), *m = array(2, n, 1), *v = array(3, n, 1);
      for (int i = 0; i < n; i++) v[i] = fabsf(v[i]);
      float *p0 = copy(4, p, n), *g0 = copy(5, g, n), *m0 = copy(6, m, n), *v0 = copy(7, v, n);
      t->adamw(p, g, m, v, n, &c);
      for (int i = 0; i < n; i++) {
        // Gradient size G, off by 2 U G; its moments by the products and sums that follow; the quotient by 5 U more.
        const double b1 = c.b1, b2 = c.b2, a1 = 1 - b1, a2 = 1 - b2;
        const double g1 = (double)g0[i] * c.grad_scale + (double)c.l2 * p0[i];
        const double G = fabs((double)g0[i] * c.grad_scale) + fabs((double)c.l2 * p0[i]);
        const double m1 = b1 * m0[i] + a1 * g1, v1 = b2 * v0[i] + a2 * g1 * g1;
        const double m_bound = 4 * U * (b1 * fabs(m0[i]) + a1 * G), v_bound = 8 * U * (b2 * v0[i] + a2 * G * G);
        const double den = sqrt(v1 * c.v_corr) + c.eps, step = m1 * c.m_corr / den;
        const double step_bound = m_bound * c.m_corr / den + fabs(step) * (v_bound / v1 / 2 + 5 * U);
        const double p1 = p0[i] - c.lr * (step + (double)c.decay * p0[i]);
        const double p_bound = c.lr * (step_bound + U * fabs(step + c.decay * p0[i])) + U * fabs(p1);
        check(m[i], m1, m_bound, "adamw m", n, i);
        check(v[i], v1, v_bound, "adamw v", n, i);
        check(p[i], p1, p_bound, "adamw p", n, i);
        assert_true(g[i] == 0);
      }
      g[n - 1] = NAN;
      t->adamw(p, g, m, v, n, &c);
      assert_true(isnan(p[n - 1]) && isnan(m[n - 1]) && isnan(v[n - 1]) && g[n - 1] == 0);
    }
}

// ---- GELU -------------------------------------------------------------------------------------------------

static double gelu_u(double x) { return sqrt(2 / M_PI) * (x + .044715 * x * x * x); }
static double gelu_ref(const double *x) { return .5 * *x * (1 + tanh(gelu_u(*x))); }
static double gelu_slope_ref(double x) {
  const double s = 1 / (1 + exp(-2 * gelu_u(x)));
  return s + x * s * (1 - s) * 2 * sqrt(2 / M_PI) * (1 + 3 * .044715 * x * x);
}

static void check_gelu(float y, float slope, float x, int n, int i) {
  // z = 2u is off by 5 roundings (2 of constants); e^-z by that times z; s = 1/(1+e) by its share of that and 2 more.
  // Beyond +-10 the sigmoid is 1, or at most 1.3e-38, which a product by x and a slope of 2u' <= 24 |x| follow.
  if (fabsf(x) > 10) {
    check(y, x > 0 ? x : 0, 3 * U * (x > 0 ? x : 0) + 1.3e-38 * fabs(x), "gelu far", n, i);
    check(slope, x > 0, 3 * U * (x > 0) + 1.3e-38 * 241, "gelu slope far", n, i);
    return;
  }
  const double z = 2 * gelu_u(x), e = exp(-z), s = 1 / (1 + e);
  const double e_rel = 5 * fabs(z) + EXP_ERROR, s_rel = e * s * e_rel + 2;
  const double second = gelu_slope_ref(x) - s;
  // -x s(-x) instead of .5 x (1 + tanh u): the double formula itself cancels far left.
  check(y, x * s, U * (s_rel + 1) * fabs(x * s), "gelu", n, i);
  // s (1 + second / s): its sum and its product are rounded once each
  const double slope_bound = U * (s * s_rel + fabs(second) * (2 * s_rel + e_rel + 8) + 2 * fabs(s + second)) + 1e-15;
  check(slope, s + second, slope_bound, "gelu slope", n, i);
}

static void test_gelu(const Kernels *t) {
  EACH_LENGTH(n) for (int range = 2; range <= 32; range *= 4) {
    float *x = array(0, n, range), *y = array(1, n, 0), *slope = array(2, n, 0);
    t->gelu(y, slope, x, n);
    for (int i = 0; i < n; i++) check_gelu(y[i], slope[i], x[i], n, i);
    float *again = copy(3, x, n);
    t->gelu(again, NULL, again, n);
    assert_memory_equal(again, y, n * sizeof *y);
  }
  float *x = copy(0, (float[]){NAN, INFINITY, -INFINITY, 0, 1e30f, -1e30f, 1}, 7);
  float *y = array(1, 7, 0), *slope = array(2, 7, 0);
  t->gelu(y, slope, x, 7);
  assert_true(isnan(y[0]) && isnan(slope[0]) && !isfinite(y[1]) && !isfinite(y[2]));
  assert_true(y[3] == 0 && slope[3] == .5f && y[4] == 1e30f && slope[4] == 1 && fabsf(y[5]) < 1e-7f);
}

static void reference_gelu(const Kernels *t) {
  (void)t;
  for (double x = -8; x <= 8; x += .0625) {
    check(gelu_slope_ref(x), slope_of(gelu_ref, &x, 0), 1e-9, "reference's slope", 0, (int)x);
    check(x / (1 + exp(-2 * gelu_u(x))), gelu_ref(&x), 1e-14, "sigmoid form of the reference", 0, (int)x);
  }
}

// ---- Softmax and cross-entropy ----------------------------------------------------------------------------

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

// A block of rows is what its rows are alone, with zeros behind them, and nothing else is written.
static void test_softmax_rows(const Kernels *t) {
  for (int rows = 1; rows <= 19; rows += 1 + rows / 7) for (int n = 1; n <= 67; n += 1 + n / 9) {
    const int end = n + rows - 1, ld = end + 3, size = (rows - 1) * ld + end;
    const float scale = .29f;
    float *p = array(0, size, 5), *again = copy(1, p, size), *p0 = copy(2, p, size), *ds = array(3, size, 1);
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
      for (int i = n + r; i < end; i++) s1[i] = ds1[i] = 0;
    }
    assert_memory_equal(p, p0, size * sizeof *p);  // what lies between the rows included
    assert_memory_equal(ds, ds0, size * sizeof *ds);
  }
}

// What softmax_back and xent compute are derivatives: of sum(dp softmax(s)), and of the loss of target 2.
enum { N_REF = 9 };
static double ref_dp[N_REF];
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

// ---- Normalisation and positions ---------------------------------------------------------------------------

static void test_rmsnorm(const Kernels *t) {
  EACH_LENGTH(n) for (int form = 0; form < (n > 70 ? 2 : 6); form++) {
    const int groups = 1 + form / 2 * 5, in_place = form % 2;
    const int rows = 3, c = groups * n, ldx = c + 5, ldy = in_place ? ldx : c + 3;
    const float eps = 1e-5f;
    float *x = array(0, (rows - 1) * ldx + c, 2), *gain = array(1, c, 2), *rstd = array(2, rows * groups, 0);
    float *x0 = copy(3, x, (rows - 1) * ldx + c), *y = in_place ? x : array(4, (rows - 1) * ldy + c, 0);
    const float *y0 = in_place ? x0 : copy(5, y, (rows - 1) * ldy + c);
    t->rmsnorm(y, ldy, rstd, x, ldx, gain, rows, groups, n, eps);
    for (int row = 0; row < rows; row++)
      for (int g = 0; g < groups; g++) {
        double ss = 0;
        for (int i = 0; i < n; i++) ss += (double)x0[row * ldx + g * n + i] * x0[row * ldx + g * n + i];
        // The mean is off by SUM(n) + 2, half of that after the root, and root and quotient add 2.
        const double r = 1 / sqrt(ss / n + eps), rel = U * ((SUM(n) + 2) / 2 + 2);
        check(rstd[row * groups + g], r, rel * r, "rstd", n, row);
        for (int i = 0; i < n; i++) {
          const double want = x0[row * ldx + g * n + i] * r * gain[g * n + i];
          check(y[row * ldy + g * n + i], want, (rel + 2 * U) * fabs(want), "rmsnorm", n, g * n + i);
        }
      }
    check_gaps(y, y0, rows, c, ldy);
    x0[n - 1] = NAN;
    t->rmsnorm(y, ldy, rstd, x0, ldx, gain, rows, groups, n, eps);
    for (int i = 0; i < n; i++) assert_true(isnan(y[i]));
    assert_true(isnan(rstd[0]) && (groups == 1 || !isnan(y[n])) && !isnan(y[ldy]));
    x0[n - 1] = INFINITY;
    t->rmsnorm(y, ldy, rstd, x0, ldx, gain, 1, groups, n, eps);
    assert_true(isnan(y[n - 1]));
  }
}

static void test_rmsnorm_back(const Kernels *t) {
  EACH_LENGTH(n) for (int f = 0; f < (n > 70 ? 4 : 12); f++) {
    // form 0: store; 1: added to a base; 2: in place on dy; 3: in place on the base. 19 rows: blocks and a rest.
    const int groups = 1 + f / 4 * 5, form = f % 4;
    const int rows = n > 70 ? 5 : 19, c = groups * n, ld = c + 3, size = (rows - 1) * ld + c;
    float *x = array(0, size, 2), *gain = array(1, c, 2), *rstd = array(2, rows * groups, 1), *dy = array(3, size, 1);
    float *dgain = array(4, c, 1), *dgain0 = copy(5, dgain, c);
    float *dx = form == 2 ? dy : array(6, size, 1), *dx0 = copy(7, dx, size);
    const float *dy0 = form == 2 ? dx0 : dy, *base0 = form == 1 ? array(8, size, 1) : form == 3 ? dx0 : NULL;
    t->rmsnorm_back(dx, ld, dgain, dy, ld, x, ld, rstd, gain, rows, groups, n, form == 3 ? dx : base0);
    for (int i = 0; i < c; i++) {
      double sum = dgain0[i], abs_sum = fabs(dgain0[i]);
      for (int row = 0; row < rows; row++) {
        const double term = (double)dy0[row * ld + i] * x[row * ld + i] * rstd[row * groups + i / n];
        sum += term, abs_sum += fabs(term);
      }
      check(dgain[i], sum, (rows + 1) * U * abs_sum, "dgain", n, i);
    }
    for (int row = 0; row < rows; row++)
      for (int g = 0; g < groups; g++) {
        const float *xg = x + row * ld + g * n, *dyg = dy0 + row * ld + g * n, *wg = gain + g * n;
        const double r = rstd[row * groups + g];
        double mean = 0, abs_mean = 0;
        for (int i = 0; i < n; i++) {
          const double term = (double)dyg[i] * wg[i] * xg[i] * r / n;
          mean += term, abs_mean += fabs(term);
        }
        for (int i = 0; i < n; i++) {
          const double e = (double)dyg[i] * wg[i], h = xg[i] * r, old = base0 ? base0[row * ld + g * n + i] : 0;
          const double bound = fabs(r) * (3 * fabs(e) + (SUM(n) + 7) * fabs(h) * abs_mean) + fabs(old);
          check(dx[row * ld + g * n + i], old + r * (e - h * mean), U * bound, "dx", n, i);
        }
      }
    check_gaps(dx, dx0, rows, c, ld);
    float *bad = array(6, size, 1);
    bad[n - 1] = NAN;
    t->rmsnorm_back(array(7, size, 1), ld, dgain, bad, ld, x, ld, rstd, gain, rows, groups, n, NULL);
    assert_true(isnan(dgain[n - 1]) && isnan((array_end[7] - size)[0]));
  }
}

// The formula of dx: the derivative of sum(dp w rmsnorm(x)).
static double ref_w[N_REF];
static double rstd_ref(const double *x) {
  double ss = 0;
  for (int i = 0; i < N_REF; i++) ss += x[i] * x[i];
  return 1 / sqrt(ss / N_REF + 1e-5);
}
static double weighed_rmsnorm(const double *x) {
  double sum = 0;
  for (int i = 0; i < N_REF; i++) sum += ref_dp[i] * ref_w[i] * x[i] * rstd_ref(x);
  return sum;
}

static void reference_rmsnorm(const Kernels *t) {
  (void)t;
  double x[N_REF];
  for (int i = 0; i < N_REF; i++) x[i] = 2 * uniform() - 1, ref_w[i] = 2 * uniform() - 1, ref_dp[i] = 2 * uniform() - 1;
  const double r = rstd_ref(x), mean = weighed_rmsnorm(x) / N_REF;
  for (int i = 0; i < N_REF; i++)
    check(r * (ref_dp[i] * ref_w[i] - x[i] * r * mean), slope_of(weighed_rmsnorm, x, i), 1e-8,
          "rmsnorm_back of the reference", N_REF, i);
}

static void test_rope(const Kernels *t) {
  EACH_LENGTH(n) if (n % 2 == 0) for (int sign = -1; sign <= 1; sign += 2) {
    const int rows = 3, ld = n + 5;
    float *x = array(0, (rows - 1) * ld + n, 2), *x0 = copy(1, x, (rows - 1) * ld + n);
    float *c = array(2, rows * n, 0), *s = array(3, rows * n, 0);
    for (int i = 0; i < rows * n; i += 2) {
      const double angle = 7 * uniform();
      c[i] = c[i + 1] = (float)cos(angle), s[i] = s[i + 1] = (float)sin(angle);
    }
    t->rope(x, ld, c, s, rows, n, (float)sign);
    for (int row = 0; row < rows; row++)
      for (int i = 0; i < n; i++) {
        const double same = (double)x0[row * ld + i] * c[row * n + i];
        const double other = (double)x0[row * ld + (i ^ 1)] * s[row * n + i] * (i % 2 ? sign : -sign);
        check(x[row * ld + i], same + other, U * (fabs(other) + fabs(same + other)), "rope", n, i);
      }
    check_gaps(x, x0, rows, n, ld);
    x[n - 1] = NAN;
    t->rope(x, ld, c, s, rows, n, (float)sign);
    assert_true(isnan(x[n - 1]) && isnan(x[n - 2]) && (n < 3 || !isnan(x[n - 3])));
  }
}

// ---- Every operation of every table ------------------------------------------------------------------------

typedef struct Case {
  char name[64];
  void (*run)(const Kernels *t);
  const Kernels *t;
} Case;
static const Kernels reference = {.name = "reference"};  // the double forms above, in their turn against differences

static void run(void **state) {
  const Case *c = *state;
  c->run(c->t);
  for (int i = 0; i < N_ARRAYS; i++) check_front(i);
}

int main(int argc, char **argv) {
  static const Case ops[] = {
    {"gelu", reference_gelu, &reference}, {"softmax", reference_softmax, &reference},
    {"rmsnorm", reference_rmsnorm, &reference}, {"add mul", test_add_mul, NULL}, {"dot sumsq", test_dot_sumsq, NULL},
    {"adamw", test_adamw, NULL}, {"gelu", test_gelu, NULL}, {"exp", test_exp, NULL}, {"softmax", test_softmax, NULL},
    {"softmax_back", test_softmax_back, NULL}, {"softmax rows", test_softmax_rows, NULL}, {"xent", test_xent, NULL},
    {"xent rows", test_xent_rows, NULL},
    {"rmsnorm", test_rmsnorm, NULL}, {"rmsnorm_back", test_rmsnorm_back, NULL}, {"rope", test_rope, NULL}};
  enum { N_OPS = sizeof ops / sizeof *ops, MAX_TABLES = 9 };
  static Case cases[MAX_TABLES * N_OPS];
  static struct CMUnitTest tests[MAX_TABLES * N_OPS];
  const char *what = argc > 1 ? argv[1] : "";
  size_t n = 0;
  for (int k = -1; k < MAX_TABLES - 1 && (k < 0 || kernels_all[k]); k++) {
    const Kernels *t = k < 0 ? &reference : kernels_all[k];
    if (k >= 0 && (!t->rmsnorm || !t->supported())) continue;  // openblas borrows its rows
    if (k >= 0 && !strcmp(what, "bench")) bench_vec(t);
    if (k >= 0 && !strcmp(what, "exp")) printf("%s: exp off by %.3f x 2^-24\n", t->name, exp_error(t, 1));
    for (int i = 0; i < (int)N_OPS; i++) {
      if ((ops[i].t == &reference) != (k < 0)) continue;
      cases[n] = (Case){.run = ops[i].run, .t = t};
      snprintf(cases[n].name, sizeof cases[n].name, "%.20s: %.40s", t->name, ops[i].name);
      tests[n] = (struct CMUnitTest){cases[n].name, run, NULL, NULL, &cases[n]};
      n++;
    }
  }
  return *what ? 0 : _cmocka_run_group_tests("vec", tests, n, NULL, NULL);
}
