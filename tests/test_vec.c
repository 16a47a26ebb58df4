// test_vec.c: the row operations of every kernel table this CPU runs, but for softmax and cross-entropy
// (test_softmax.c), against double precision.
//
// In: the tables of kernels.h. Out: TAP; `test_vec bench` prints nanoseconds an element instead, of all row operations.
#include "bench_vec.h"
#include "bf16.h"
#include "rows.h"

// ---- Element by element ---------------------------------------------------------------------------------

static void test_add_mul(const Kernels *t) {
  EACH_LENGTH(n) for (int mul = 0; mul < 2; mul++) {
    float *x = array(0, n, 3), *y = array(1, n, 3), *y0 = copy(2, y, n);
    (mul ? t->mul : t->add)(y, x, n);
    for (int i = 0; i < n; i++) check(y[i], mul ? y0[i] * x[i] : y0[i] + x[i], 0, mul ? "mul" : "add", n, i);
  }
}

static void test_dots(const Kernels *t) {
  EACH_LENGTH(n) for (int rows = 1; rows <= 6; rows += 5) {
    const int groups = n < 60 ? 3 : 1, ld = groups * n + 2, floats = (rows - 1) * ld + groups * n;
    float *x = array(0, floats, 3), *y = array(1, floats, 3), *sums = array(2, rows * groups, 1);
    t->dots(sums, x, y, ld, rows, groups, n);
    for (int row = 0; row < rows; row++)
      for (int g = 0; g < groups; g++) {
        const float *xg = x + row * ld + g * n, *yg = y + row * ld + g * n;
        double dot = 0, size = 0;
        for (int i = 0; i < n; i++) dot += (double)xg[i] * yg[i], size += fabs((double)xg[i] * yg[i]);
        check(sums[row * groups + g], dot, SUM(n) * U * size, "dots", n, g);
      }
    float *const last = x + floats - n;  // NaN and Inf show in their own group, and nowhere else
    for (int i = 0; i < n; i += 1 + n / 40)
      for (int inf = 0; inf < 2; inf++) {
        const float before = last[i];
        last[i] = inf ? INFINITY : NAN;
        t->dots(sums, x, y, ld, rows, groups, n);
        for (int k = 0; k < rows * groups; k++) assert_true(!isfinite(sums[k]) == (k == rows * groups - 1));
        last[i] = before;
      }
  }
}

static void test_sumsq(const Kernels *t) {
  EACH_LENGTH(n) {
    float *x = array(0, n, 3);
    double sumsq = 0;
    for (int i = 0; i < n; i++) sumsq += (double)x[i] * x[i];
    check(t->sumsq(x, n), sumsq, 2 * n * 0x1p-53 * sumsq, "sumsq", n, 0);
    x[n / 2] = 1e30f;  // its square is no float
    assert_true(fabs(t->sumsq(x, n) / ((double)x[n / 2] * x[n / 2]) - 1) < 1e-12);
    for (int i = 0; i < n; i += 1 + n / 40) {
      x[i] = NAN;
      assert_true(isnan(t->sumsq(x, n)));
      x[i] = INFINITY;
      assert_true(isinf(t->sumsq(x, n)));
      x[i] = 1;
    }
  }
}

static void test_copy(const Kernels *t) {
  EACH_LENGTH(n) for (int apart = -2; apart <= 3; apart += 5) {  // rows of y overlap, or have gaps
    if (n + apart < 1) continue;
    const int rows = 9, ldx = n + 2, ldy = n + apart, last = (rows - 1) * ldy;
    float *x = array(0, (rows - 1) * ldx + n, 2), *y = array(1, last + n, 1), *y0 = copy(2, y, last + n);
    t->copy(y, ldy, x, ldx, rows, n);
    for (int row = 0; row < rows; row++)  // of an overlap, what the last of its rows had
      assert_memory_equal(y + row * ldy, x + row * ldx, sizeof *x * (size_t)(row < rows - 1 && apart < 0 ? ldy : n));
    if (apart > 0) check_gaps(y, y0, rows, n, ldy);
  }
}

static float of_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static void test_bf16_round(const Kernels *t) {
  static const uint32_t special[] = {0,          0x80000000, 0x00800000, 0x807fffff, 0x007f8000, 0x3f808000, 0x3f818000,
                                     0x3f808001, 0x7f7fffff, 0xff7f8000, 0x7f7f7fff, 0x7f800000, 0xff800000, 0x7fc00000,
                                     0x7f800001, 0xffffffff};
  EACH_LENGTH(n) for (int swap = 0; swap < 2; swap++) {
    const int rows = 3, ldx = n + 3, wide = swap ? n + n % 2 : n, ldy = wide + 2;
    float *x = array(0, (rows - 1) * ldx + n, 2), *y = array(1, (rows - 1) * ldy + wide, 1);
    float *y0 = copy(2, y, (rows - 1) * ldy + wide);
    for (int i = 0; i < 16; i++) x[(i * 7 + n) % n + i % rows * ldx] = of_bits(special[i]);
    t->bf16_round(y, ldy, x, ldx, rows, n, swap);
    for (int row = 0; row < rows; row++)
      for (int i = 0; i < wide; i++) {
        const float from = i < n ? x[row * ldx + i] : 0, want = bf16_of(from), got = y[row * ldy + (i ^ swap)];
        uint32_t bits;
        memcpy(&bits, &got, sizeof bits);
        assert_true((bits & 0xffff) == 0);
        assert_true(isnan(from) ? isnan(got) : got == want && !signbit(got) == !signbit(want));
      }
    check_gaps(y, y0, rows, wide, ldy);
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
        assert_true(g[i] == g0[i]);
      }
      g[n - 1] = NAN;
      t->adamw(p, g, m, v, n, &c);
      assert_true(isnan(p[n - 1]) && isnan(m[n - 1]) && isnan(v[n - 1]));
    }
}

// The step's quotient is that of the CPU's division, bit by bit, for divisors over all mantissas in equal steps, the last
// one all ones, and dividends of which half make a quotient near the middle between two floats: no second moment, rate
// -1 and parameters of 0 leave m / eps.
static void test_adamw_quotient(const Kernels *t) {
  enum { N = 16, STEP = 47, ONES = (1 << 23) - 1 };  // ONES is a multiple of STEP
  for (int mantissa = 0; mantissa <= ONES; mantissa += STEP) {
    const AdamCoef c = {.lr = -1, .b1 = 1, .b2 = 1, .grad_scale = 1, .m_corr = 1, .v_corr = 1,
                        .eps = ldexpf((float)(mantissa + (1 << 23)), mantissa % 128 - 86)};
    float p[N] = {0}, g[N] = {0}, m[N], v[N] = {0};
    for (int i = 0; i < N; i++) {
      const double u = 1 + rng_uniform(mantissa, i);
      m[i] = (float)(i % 2 ? u : (floor(u * 0x1p23) + .5) * 0x1p-23 * c.eps);
    }
    t->adamw(p, g, m, v, N, &c);
    for (int i = 0; i < N; i++)
      if (p[i] != m[i] / c.eps) fail_msg("%a / %a = %a, got %a", m[i], c.eps, m[i] / c.eps, p[i]);
  }
}

// A second moment that overflows leaves a small step, as large ones do whose squares are floats, and no NaN.
static void test_adamw_overflow(const Kernels *t) {
  const AdamCoef c = {.lr = 1, .b1 = .9f, .b2 = .95f, .eps = 1e-8f, .grad_scale = 1, .m_corr = 1, .v_corr = 1};
  const float huge[] = {1e25f, -1e30f, 1e36f, -3e38f};
  float p[4] = {0}, m[4] = {0}, v[4] = {0};
  t->adamw(p, huge, m, v, 4, &c);
  for (int i = 0; i < 4; i++) assert_true(isinf(v[i]) && fabsf(p[i]) < 1);
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
    const int rows = n > 70 ? 5 : 19, c = groups * n, ld = c + 3, ldx = c + 5, size = (rows - 1) * ld + c;
    float *x = array(0, (rows - 1) * ldx + c, 2), *gain = array(1, c, 2), *rstd = array(2, rows * groups, 1);
    float *dy = array(3, size, 1), *dgain = array(4, c, 1), *dgain0 = copy(5, dgain, c);
    float *dx = form == 2 ? dy : array(6, size, 1), *dx0 = copy(7, dx, size);
    const float *dy0 = form == 2 ? dx0 : dy, *base0 = form == 1 ? array(8, size, 1) : form == 3 ? dx0 : NULL;
    t->rmsnorm_back(dx, dgain, dy, ld, x, ldx, rstd, gain, rows, groups, n, form == 3 ? dx : base0);
    for (int i = 0; i < c; i++) {
      double sum = dgain0[i], abs_sum = fabs(dgain0[i]);
      for (int row = 0; row < rows; row++) {
        const double term = (double)dy0[row * ld + i] * x[row * ldx + i] * rstd[row * groups + i / n];
        sum += term, abs_sum += fabs(term);
      }
      check(dgain[i], sum, (rows + 1) * U * abs_sum, "dgain", n, i);
    }
    for (int row = 0; row < rows; row++)
      for (int g = 0; g < groups; g++) {
        const float *xg = x + row * ldx + g * n, *dyg = dy0 + row * ld + g * n, *wg = gain + g * n;
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
    t->rmsnorm_back(array(7, size, 1), dgain, bad, ld, x, ldx, rstd, gain, rows, groups, n, NULL);
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

int main(int argc, char **argv) {
  static const Case ops[] = {
    {"gelu", reference_gelu, &reference}, {"rmsnorm", reference_rmsnorm, &reference}, {"add mul", test_add_mul, NULL},
    {"dots", test_dots, NULL}, {"sumsq", test_sumsq, NULL}, {"adamw", test_adamw, NULL},
    {"adamw: quotient", test_adamw_quotient, NULL}, {"adamw: overflow", test_adamw_overflow, NULL},
    {"gelu", test_gelu, NULL},
    {"rmsnorm", test_rmsnorm, NULL}, {"rmsnorm_back", test_rmsnorm_back, NULL}, {"rope", test_rope, NULL},
    {"bf16_round", test_bf16_round, NULL}, {"copy", test_copy, NULL}};
  return run_cases(ops, sizeof ops / sizeof *ops, argc, argv, "bench", bench_vec);
}
