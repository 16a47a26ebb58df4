// test_vec.c: every row operation of every kernel table this CPU runs, against double precision.
//
// In: the tables of kernels.h. Out: TAP; `test_vec bench` prints nanoseconds an element instead; `test_vec exp` tries
// every float. Invariant of every check: |float - double| <= a bound counted from the roundings on the way, in units
// of U = 2^-24; a chain of m roundings is off by at most m U to first order (Higham 2002, ch. 3), SLACK is for the
// second order.
// A sum of n is at most n/4 additions in a lane and 6 more across lanes, whatever the width: SUM(n).
#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <cmocka.h>

#include "kernels.h"

#define U 0x1p-24
#define SLACK 1.01
#define SUM(n) ((n) / 4.0 + 6)
#define EXP_ERROR 1.9  // of exp, relative, in U: counted in vec.inc

// ---- Memory that notices ------------------------------------------------------------------------------

// Arrays that end where an unreadable page begins, with NaN in front: a read past the end dies, a write in front shows.
enum { PAGE = 4096, MAX_FLOATS = 16 * PAGE / 4, N_ARRAYS = 8 };
static float *array_end[N_ARRAYS];

static void arrays_make(void) {
  const size_t bytes = MAX_FLOATS * sizeof(float);
  for (int i = 0; i < N_ARRAYS; i++) {
    char *p = mmap(NULL, bytes + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p + bytes, PAGE, PROT_NONE) != 0) exit(99);
    array_end[i] = (float *)(p + bytes);
  }
}

static uint64_t rng_state;
static double uniform(void) {  // SplitMix64, in [0, 1)
  uint64_t z = (rng_state += 0x9e3779b97f4a7c15u);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

// Array number i with n floats in [-range, range), 64 NaNs in front of it.
static float *array(int i, size_t n, double range) {
  assert_true(n + 64 <= MAX_FLOATS);
  float *p = array_end[i] - n;
  for (int j = 1; j <= 64; j++) p[-j] = NAN;
  for (size_t j = 0; j < n; j++) p[j] = (float)(range * (2 * uniform() - 1));
  return p;
}
static void check_front(const float *p) {
  for (int j = 1; j <= 64; j++) assert_true(isnan(p[-j]));
}
static float *copy(int i, const float *from, size_t n) { return memcpy(array(i, n, 0), from, n * sizeof *from); }

static void check(double got, double want, double bound, const char *what, int n, int i) {
  if (!(fabs(got - want) <= SLACK * bound))
    fail_msg("%s, n %d, element %d: got %.9g, want %.9g, off by %.3g, bound %.3g", what, n, i, got, want,
             fabs(got - want), SLACK * bound);
}

// Lengths 1 to 70, and 128, 256, 1000.
static int length(int i) { return i < 70 ? i + 1 : (int[]){128, 256, 1000}[i - 70]; }
#define EACH_LENGTH(n) for (int l_ = 0, n; l_ < 73 && ((n = length(l_)), 1); l_++)

// ---- Element by element ---------------------------------------------------------------------------------

static void test_add_mul(void **state) {
  const Kernels *t = *state;
  EACH_LENGTH(n) {
    float *x = array(0, n, 3), *y = array(1, n, 3), *y0 = copy(2, y, n);
    t->add(y, x, n);
    for (int i = 0; i < n; i++) check(y[i], y0[i] + x[i], 0, "add", n, i);
    memcpy(y, y0, n * sizeof *y);
    t->mul(y, x, n);
    for (int i = 0; i < n; i++) check(y[i], y0[i] * x[i], 0, "mul", n, i);
    check_front(x), check_front(y);
  }
}

static void test_dot_sumsq(void **state) {
  const Kernels *t = *state;
  EACH_LENGTH(n) {
    float *x = array(0, n, 3), *y = array(1, n, 3);
    double dot = 0, size = 0, sumsq = 0;
    for (int i = 0; i < n; i++) {
      dot += (double)x[i] * y[i];
      size += fabs((double)x[i] * y[i]);
      sumsq += (double)x[i] * x[i];
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

static void test_adamw(void **state) {
  const Kernels *t = *state;
  const AdamCoef coefs[] = {
    {.lr = .01f, .b1 = .9f, .b2 = .95f, .eps = 1e-8f, .decay = .1f, .grad_scale = .37f,
     .m_corr = 1.7f, .v_corr = 2.3f},
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
      check_front(p), check_front(g), check_front(m), check_front(v);
      g[n - 1] = NAN;
      t->adamw(p, g, m, v, n, &c);
      assert_true(isnan(p[n - 1]) && isnan(m[n - 1]) && isnan(v[n - 1]) && g[n - 1] == 0);
    }
}

// ---- GELU -------------------------------------------------------------------------------------------------

static double gelu_u(double x) { return sqrt(2 / M_PI) * (x + .044715 * x * x * x); }
static double gelu_ref(double x) { return .5 * x * (1 + tanh(gelu_u(x))); }
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
  const double slope_bound = U * (s * s_rel + fabs(second) * (2 * s_rel + e_rel + 8) + fabs(s + second)) + 1e-15;
  check(slope, s + second, slope_bound, "gelu slope", n, i);
}

static void test_gelu(void **state) {
  const Kernels *t = *state;
  EACH_LENGTH(n) for (int range = 2; range <= 32; range *= 4) {
    float *x = array(0, n, range), *y = array(1, n, 0), *slope = array(2, n, 0);
    t->gelu(y, slope, x, n);
    for (int i = 0; i < n; i++) check_gelu(y[i], slope[i], x[i], n, i);
    check_front(y), check_front(slope);
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

// Central differences: their error h^2/6 |f'''| + 2^-53 |f| / h is below 1e-9 in [-8, 8].
static void test_gelu_reference(void **state) {
  (void)state;
  for (double x = -8; x <= 8; x += .0625) {
    check(gelu_slope_ref(x), (gelu_ref(x + 1e-5) - gelu_ref(x - 1e-5)) / 2e-5, 1e-9, "reference's slope", 0, (int)x);
    check(x / (1 + exp(-2 * gelu_u(x))), gelu_ref(x), 1e-14, "sigmoid form of the reference", 0, (int)x);
  }
}

// ---- Softmax and cross-entropy ----------------------------------------------------------------------------

static void softmax_ref(double *p, const double *s, int n) {
  double max = -INFINITY, sum = 0;
  for (int i = 0; i < n; i++) max = fmax(max, s[i]);
  for (int i = 0; i < n; i++) sum += p[i] = exp(s[i] - max);
  for (int i = 0; i < n; i++) p[i] /= sum;
}

// softmax_again(s, n, 1, 0, 1) is exp itself. Returns its largest relative error in U over every stride-th float.
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
      t->softmax_again(y, n, 1, 0, 1);
      for (int i = 0; i < n; i++) worst = fmax(worst, fabs(y[i] / exp(x[i]) - 1) / U);
    }
  }
  return worst;
}

static void test_exp(void **state) {
  const Kernels *t = *state;
  const double worst = exp_error(t, 997);
  if (!(worst <= EXP_ERROR)) fail_msg("exp is off by %.2f x 2^-24, more than %.2f", worst, EXP_ERROR);
  float *x = copy(0, (float[]){0, -0.0f, -87.34f, -1e4f, -1e30f, -INFINITY, NAN, -87.336f}, 8);
  t->softmax_again(x, 8, 1, 0, 1);
  assert_true(x[0] == 1 && x[1] == 1 && x[2] == 0 && x[3] == 0 && x[4] == 0 && x[5] == 0 && isnan(x[6]) && x[7] > 0);
}

static void test_softmax(void **state) {
  const Kernels *t = *state;
  static double exact[1000], want[1000];
  EACH_LENGTH(n) for (int range = 1; range <= 64; range *= 8) {
    const float scale = .29f;
    float *s = array(0, n, range), *again = copy(1, s, n), max, rsum, top = -INFINITY;
    double size = 0;  // exponents are off by U (|scale s| + max + their difference) <= 4 U size
    for (int i = 0; i < n; i++) {
      exact[i] = (double)scale * s[i];
      size = fmax(size, fabs(exact[i]));
      const float product = scale * s[i];
      if (product > top) top = product;
    }
    t->softmax(s, n, scale, &max, &rsum);
    assert_true(max == top);
    softmax_ref(want, exact, n);
    const double rel = U * (2 * (4 * size + EXP_ERROR) + SUM(n) + 2);
    double largest = 0;
    for (int i = 0; i < n; i++) {
      check(s[i], want[i], rel * want[i] + 1.2e-38, "softmax", n, i);
      largest = fmax(largest, want[i]);
    }
    check(rsum, largest, rel * largest, "softmax rsum", n, 0);  // the maximum's own exponent is 0
    t->softmax_again(again, n, scale, max, rsum);
    assert_memory_equal(again, s, n * sizeof *s);
    check_front(s), check_front(again);
    for (int bad = 0; bad < n; bad += 1 + n / 40) {
      s = array(0, n, range);
      s[bad] = bad % 2 ? NAN : INFINITY;
      t->softmax(s, n, scale, &max, &rsum);
      for (int i = 0; i < n; i++) assert_true(isnan(s[i]) || (bad % 2 == 0 && i != bad && s[i] == 0));
      assert_true(isnan(s[bad]) && isnan(rsum));
    }
  }
  float *s = copy(0, (float[]){3e38f, -3e38f, 3e38f, -INFINITY}, 4), max, rsum;  // large is not wrong
  t->softmax(s, 4, .7f, &max, &rsum);
  assert_true(s[0] == .5f && s[1] == 0 && s[2] == .5f && s[3] == 0);
}

static void test_softmax_back(void **state) {
  const Kernels *t = *state;
  EACH_LENGTH(n) {
    float *ds = array(0, n, 1), *ds0 = copy(1, ds, n), *p = array(2, n, 1);
    const float delta = .123f, scale = .29f;
    t->softmax_back(ds, p, n, delta, scale);
    for (int i = 0; i < n; i++) {
      const double want = (double)p[i] * ((double)ds0[i] - delta) * scale;
      check(ds[i], want, 3 * U * fabs(want), "softmax_back", n, i);
    }
    check_front(ds);
    ds[n - 1] = NAN;
    t->softmax_back(ds, p, n, delta, scale);
    assert_true(isnan(ds[n - 1]));
  }
}

// What softmax_back and xent compute are derivatives: the double forms against central differences, h = 1e-5, to 1e-9.
static void test_softmax_reference(void **state) {
  (void)state;
  enum { N = 9 };
  double s[N], p[N], dp[N], moved[N], delta = 0;
  for (int i = 0; i < N; i++) s[i] = 4 * uniform() - 2, dp[i] = 2 * uniform() - 1;
  softmax_ref(p, s, N);
  for (int i = 0; i < N; i++) delta += p[i] * dp[i];
  for (int i = 0; i < N; i++) {
    double loss[2] = {0, 0}, nats[2];
    for (int side = 0; side < 2; side++) {
      const double kept = s[i];
      s[i] += side ? 1e-5 : -1e-5;
      softmax_ref(moved, s, N);
      s[i] = kept;
      for (int j = 0; j < N; j++) loss[side] += moved[j] * dp[j];
      nats[side] = -log(moved[2]);
    }
    check(p[i] * (dp[i] - delta), (loss[1] - loss[0]) / 2e-5, 1e-9, "softmax_back of the reference", N, i);
    check(p[i] - (i == 2), (nats[1] - nats[0]) / 2e-5, 1e-9, "xent gradient of the reference", N, i);
  }
}

static void test_xent(void **state) {
  const Kernels *t = *state;
  static double exact[1000], want[1000];
  EACH_LENGTH(n) for (int target = 0; target < n; target += 1 + n / 5) {
    float *z = array(0, n, 9), *kept = copy(1, z, n);
    const float dscale = 1.0f / 96;
    double size = 0, sum = 0;  // exponents are off by U * 2 size
    for (int i = 0; i < n; i++) size = fmax(size, fabs(exact[i] = z[i])), sum += exp(exact[i]);
    softmax_ref(want, exact, n);
    const double loss = t->xent(z, n, target, dscale), rel = U * (2 * size + EXP_ERROR + SUM(n));
    check(loss, log(sum) - exact[target], rel + 1e-14, "xent", n, target);
    for (int i = 0; i < n; i++) {
      const double p_bound = want[i] * (rel + U * (2 * size + EXP_ERROR + 3)), d = want[i] - (i == target);
      check(z[i], dscale * d, dscale * (p_bound + U * fabs(d)), "xent gradient", n, i);
    }
    check_front(z);
    assert_true(t->xent(kept, n, target, 0) == loss);
    for (int bad = 0; bad < n; bad += 1 + n / 20) {
      z = array(0, n, 9);
      z[bad] = bad % 2 ? NAN : INFINITY;
      assert_true(isnan(t->xent(z, n, target, dscale)) && isnan(z[bad]));
    }
  }
}

// ---- Normalisation and positions ---------------------------------------------------------------------------

static void test_rmsnorm(void **state) {
  const Kernels *t = *state;
  EACH_LENGTH(n) for (int form = 0; form < (n > 70 ? 2 : 6); form++) {
    const int groups = 1 + form / 2 * 5, in_place = form % 2;
    const int rows = 3, c = groups * n, ldx = c + 5, ldy = in_place ? ldx : c + 3;
    const float eps = 1e-5f;
    float *x = array(0, (rows - 1) * ldx + c, 2), *gain = array(1, c, 2), *rstd = array(2, rows * groups, 0);
    float *x0 = copy(3, x, (rows - 1) * ldx + c), *y = in_place ? x : array(4, (rows - 1) * ldy + c, 0);
    t->rmsnorm(y, ldy, rstd, x, ldx, gain, rows, groups, n, eps);
    for (int row = 0; row < rows; row++) {
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
      if (row < rows - 1)  // nothing between the rows is written
        for (int i = c; i < ldy; i++) assert_true(y[row * ldy + i] == (in_place ? x0[row * ldx + i] : 0));
    }
    check_front(y), check_front(rstd);
    x0[n - 1] = NAN;
    t->rmsnorm(y, ldy, rstd, x0, ldx, gain, rows, groups, n, eps);
    for (int i = 0; i < n; i++) assert_true(isnan(y[i]));
    assert_true(isnan(rstd[0]) && (groups == 1 || !isnan(y[n])) && !isnan(y[ldy]));
    x0[n - 1] = INFINITY;
    t->rmsnorm(y, ldy, rstd, x0, ldx, gain, 1, groups, n, eps);
    assert_true(isnan(y[n - 1]));
  }
}

static void test_rmsnorm_back(void **state) {
  const Kernels *t = *state;
  EACH_LENGTH(n) for (int f = 0; f < (n > 70 ? 3 : 9); f++) {
    // form 0: store; 1: accumulate; 2: in place on dy. 19 rows: more than one block of rows, and a part.
    const int groups = 1 + f / 3 * 5, form = f % 3;
    const int rows = n > 70 ? 5 : 19, c = groups * n, ld = c + 3, accumulate = form == 1, size = (rows - 1) * ld + c;
    float *x = array(0, size, 2), *gain = array(1, c, 2), *rstd = array(2, rows * groups, 1), *dy = array(3, size, 1);
    float *dgain = array(4, c, 1), *dgain0 = copy(5, dgain, c);
    float *dx = form == 2 ? dy : array(6, size, 1), *dx0 = copy(7, dx, size);
    const float *dy0 = form == 2 ? dx0 : dy;
    t->rmsnorm_back(dx, ld, dgain, dy, ld, x, ld, rstd, gain, rows, groups, n, accumulate);
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
          const double e = (double)dyg[i] * wg[i], h = xg[i] * r, old = accumulate ? dx0[row * ld + g * n + i] : 0;
          const double bound = fabs(r) * (3 * fabs(e) + (SUM(n) + 7) * fabs(h) * abs_mean) + fabs(old);
          check(dx[row * ld + g * n + i], old + r * (e - h * mean), U * bound, "dx", n, i);
        }
        if (g == groups - 1 && row < rows - 1)
          for (int i = c; i < ld; i++) assert_true(dx[row * ld + i] == dx0[row * ld + i]);
      }
    check_front(dx), check_front(dgain);
    float *bad = array(6, size, 1);
    bad[n - 1] = NAN;
    t->rmsnorm_back(array(7, size, 1), ld, dgain, bad, ld, x, ld, rstd, gain, rows, groups, n, accumulate);
    assert_true(isnan(dgain[n - 1]) && isnan((array_end[7] - size)[0]));
  }
}

static void test_rmsnorm_reference(void **state) {  // the formula of dx, against central differences of sum(dy y)
  (void)state;
  enum { N = 7 };
  double x[N], w[N], dy[N], ss = 0, mean = 0;
  for (int i = 0; i < N; i++) {
    x[i] = 2 * uniform() - 1, w[i] = 2 * uniform() - 1, dy[i] = 2 * uniform() - 1;
    ss += x[i] * x[i];
  }
  const double r = 1 / sqrt(ss / N + 1e-5);
  for (int i = 0; i < N; i++) mean += dy[i] * w[i] * x[i] * r / N;
  for (int i = 0; i < N; i++) {
    double loss[2];
    for (int side = 0; side < 2; side++) {
      const double h = side ? 1e-5 : -1e-5, moved = 1 / sqrt((ss + 2 * x[i] * h + h * h) / N + 1e-5);
      loss[side] = 0;
      for (int j = 0; j < N; j++) loss[side] += dy[j] * w[j] * (x[j] + (j == i) * h) * moved;
    }
    check(r * (dy[i] * w[i] - x[i] * r * mean), (loss[1] - loss[0]) / 2e-5, 1e-8, "reference's rmsnorm_back", N, i);
  }
}

static void test_rope(void **state) {
  const Kernels *t = *state;
  EACH_LENGTH(n) if (n % 2 == 0) for (int sign = -1; sign <= 1; sign += 2) {
    const int rows = 3, ld = n + 5;
    float *x = array(0, (rows - 1) * ld + n, 2), *x0 = copy(1, x, (rows - 1) * ld + n);
    float *c = array(2, rows * n, 0), *s = array(3, rows * n, 0);
    for (int i = 0; i < rows * n; i += 2) {
      const double angle = 7 * uniform();
      c[i] = c[i + 1] = (float)cos(angle), s[i] = s[i + 1] = (float)sin(angle);
    }
    t->rope(x, ld, c, s, rows, n, (float)sign);
    for (int row = 0; row < rows; row++) {
      for (int i = 0; i < n; i++) {
        const double same = (double)x0[row * ld + i] * c[row * n + i];
        const double other = (double)x0[row * ld + (i ^ 1)] * s[row * n + i] * (i % 2 ? sign : -sign);
        check(x[row * ld + i], same + other, U * (fabs(other) + fabs(same + other)), "rope", n, i);
      }
      if (row < rows - 1)
        for (int i = n; i < ld; i++) assert_true(x[row * ld + i] == x0[row * ld + i]);
    }
    check_front(x);
    x[n - 1] = NAN;
    t->rope(x, ld, c, s, rows, n, (float)sign);
    assert_true(isnan(x[n - 1]) && isnan(x[n - 2]) && (n < 3 || !isnan(x[n - 3])));
  }
}

// ---- Bench --------------------------------------------------------------------------------------------------

static double now(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

static void bench(const Kernels *t) {
  // 64 rows of n, in L1 or L2 as in training; scores and logits MAX_N apart, the rest dense. Heads of 16, or of 20.
  enum { ROWS = 64, MAX_N = 256, SIZE = ROWS * MAX_N };
  static float a[SIZE], b[SIZE], c[SIZE], d[SIZE], start[SIZE], stat[SIZE], gain[MAX_N], dgain[MAX_N];
  static const int ns[] = {16, 20, 40, 48, 128, 256};
  const AdamCoef adam = {.lr = 1e-9f, .b1 = .9f, .b2 = .95f, .eps = 1e-8f, .grad_scale = 1, .m_corr = 1, .v_corr = 1};
  const char *names[] = {"rmsnorm", "rmsnorm heads", "rmsnorm_back", "rmsnorm_back heads", "rope", "gelu", "softmax",
                         "softmax_again", "softmax_back", "xent", "add", "mul", "dot", "sumsq", "adamw"};
  volatile double sink = 0;
  for (int i = 0; i < SIZE; i++) start[i] = (float)(2 * uniform() - 1);
  printf("%s: ns an element at n =", t->name);
  for (int j = 0; j < 6; j++) printf(" %7d", ns[j]);
  for (int op = 0; op < 15; op++) {
    printf("\n  %-20s      ", names[op]);
    for (int j = 0; j < 6; j++) {
      const int n = ns[j], head = n % 20 ? 16 : 20;
      double best = 1e9;
      for (int trial = 0; trial < 9; trial++) {
        enum { REPEAT = 20 };
        double spent = 0;
        for (int repeat = 0; repeat < REPEAT; repeat++) {
          memcpy(a, start, sizeof a), memcpy(b, start, sizeof b), memcpy(c, start, sizeof c);
          for (int i = 0; i < n; i++) gain[i] = 1;
          for (int i = 0; i < ROWS * n; i++) stat[i] = 1, d[i] = fabsf(start[i]);
          const double t0 = now();
          switch (op) {
            case 0: t->rmsnorm(b, n, stat, a, n, gain, ROWS, 1, n, 1e-5f); break;
            case 1: t->rmsnorm(b, n, stat, a, n, gain, ROWS, n / head, head, 1e-5f); break;
            case 2: t->rmsnorm_back(b, n, dgain, c, n, a, n, stat, gain, ROWS, 1, n, 1); break;
            case 3: t->rmsnorm_back(c, n, dgain, c, n, a, n, stat, gain, ROWS, n / head, head, 0); break;
            case 4: t->rope(a, n, b, c, ROWS, n, 1); break;
            case 5: t->gelu(b, c, a, (size_t)ROWS * n); break;
            case 6: for (int r = 0; r < ROWS; r++) t->softmax(a + r * MAX_N, n, .25f, stat + r, stat + 64 + r); break;
            case 7: for (int r = 0; r < ROWS; r++) t->softmax_again(a + r * MAX_N, n, .25f, 1, 1); break;
            case 8: for (int r = 0; r < ROWS; r++) t->softmax_back(a + r * MAX_N, b + r * MAX_N, n, .5f, .25f); break;
            case 9: for (int r = 0; r < ROWS; r++) sink += t->xent(a + r * MAX_N, n, r % n, .1f); break;
            case 10: t->add(a, b, (size_t)ROWS * n); break;
            case 11: t->mul(a, b, (size_t)ROWS * n); break;
            case 12: for (int r = 0; r < ROWS; r++) sink += t->dot(a + r * MAX_N, b + r * MAX_N, n); break;
            case 13: sink += t->sumsq(a, (size_t)ROWS * n); break;
            case 14: t->adamw(a, b, c, d, (size_t)ROWS * n, &adam); break;
          }
          spent += now() - t0;
        }
        best = fmin(best, spent / REPEAT);
      }
      printf(" %7.3f", 1e9 * best / ROWS / n);
    }
  }
  printf("\n");
}

int main(int argc, char **argv) {
  static const struct { const char *name; CMUnitTestFunction run; } ops[] = {
    {"add mul", test_add_mul}, {"dot sumsq", test_dot_sumsq}, {"adamw", test_adamw}, {"gelu", test_gelu},
    {"exp", test_exp}, {"softmax", test_softmax}, {"softmax_back", test_softmax_back}, {"xent", test_xent},
    {"rmsnorm", test_rmsnorm}, {"rmsnorm_back", test_rmsnorm_back}, {"rope", test_rope}};
  enum { N_OPS = sizeof ops / sizeof *ops };
  static struct CMUnitTest tests[8 * N_OPS + 3] = {{"gelu's reference", test_gelu_reference, NULL, NULL, NULL},
                                                   {"softmax's reference", test_softmax_reference, NULL, NULL, NULL},
                                                   {"rmsnorm's reference", test_rmsnorm_reference, NULL, NULL, NULL}};
  static char names[8 * N_OPS + 3][64];
  size_t n = 3;
  arrays_make();
  for (const Kernels *const *t = kernels_all; *t && n + N_OPS <= sizeof tests / sizeof *tests; t++) {
    if (!(*t)->rmsnorm || !(*t)->supported()) continue;  // openblas borrows its rows
    if (argc > 1 && !strcmp(argv[1], "bench")) bench(*t);
    if (argc > 1 && !strcmp(argv[1], "exp")) printf("%s: exp off by %.3f x 2^-24\n", (*t)->name, exp_error(*t, 1));
    for (int i = 0; i < (int)N_OPS; i++, n++) {
      snprintf(names[n], sizeof names[n], "%s: %s", (*t)->name, ops[i].name);
      tests[n] = (struct CMUnitTest){names[n], ops[i].run, NULL, NULL, (void *)*t};
    }
  }
  if (argc > 1) return 0;
  return _cmocka_run_group_tests("vec", tests, n, NULL, NULL);
}
