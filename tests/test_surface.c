// test_surface.c: Approach 3, its cross-check and its frontier, on surfaces whose parameters are known.
#include "fit.h"
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

// cmocka's assert_float_equal compares floats.
#define assert_near(a, b, tolerance) assert_true(fabs((a) - (b)) <= (tolerance))

enum { BUDGETS = 6, SIZES = 7, N = BUDGETS * SIZES };
static const Surface toy = {1.2, 30, 50, .35, .33};

// Losses of `s` on a log-even grid of sizes, a factor 5 either way of the middle; C = 6ND x N^cost.
static void grid(Point p[N], Points *ps, const Surface *s, double first, double middle, double cost, double noise) {
  *ps = (Points){.n = N, .p = p, .n_budgets = BUDGETS};
  for (int i = 0; i < N; i++) {
    double C = first * pow(3, i / SIZES), n = middle * sqrt(C) * pow(5, (i % SIZES - 3) / 3.);
    double D = C / (6 * n);
    ps->budget[i / SIZES] = C;
    p[i] = (Point){.C = C * pow(n, cost), .N = n, .D = D, .budget = i / SIZES, .used = true};
    p[i].L = surface_at(s, n, D) * exp(noise * rng_normal(3, (uint64_t)i));
  }
}

static SurfaceFit *fitted(const Points *ps, int resamples) {
  Err e;
  SurfaceFit *f = malloc(sizeof *f);
  assert_int_equal(surface_fit(f, ps, resamples, &e), OK);
  return f;
}

static void assert_same(const Surface *p, const Surface *q, double relative) {
  for (int i = 0; i < SURFACE_QUANTITIES; i++)
    assert_near(surface_quantities[i].of(p) / surface_quantities[i].of(q), 1, relative);
}

static void noise_free_is_recovered(void **state) {
  (void)state;
  // The second: the paper's own, at its budgets, from log E, log A, log B as its source has them.
  const Surface published = {exp(.5267228), exp(6.0073404), exp(6.0179186), .33917084, .2849083};
  const struct {
    const Surface *s;
    double first, middle;
  } cases[] = {{&toy, 1e11, .06}, {&published, 6e18, .1}};
  for (size_t i = 0; i < 2; i++) {
    Point p[N];
    Points ps;
    VarproFit v;
    Err e;
    grid(p, &ps, cases[i].s, cases[i].first, cases[i].middle, 0, 0);
    SurfaceFit *f = fitted(&ps, 20);
    assert_true(f->ok);
    assert_same(&f->s, cases[i].s, 1e-6);
    assert_true(f->gradient < 1e-8);
    assert_true(f->agree > SURFACE_STARTS / 2 && f->agree_inside > 200);
    // A fit without residuals has the same parameters in every resample.
    Interval a = surface_interval(f, surface_a);
    assert_near(a.p10, a.p90, 1e-6);
    assert_int_equal(varpro_fit(&v, &ps, &e), OK);
    assert_same(&v.s, cases[i].s, 1e-6);
    free(f);
  }
}

// The objective as the paper writes it, term by term.
static double objective(const Points *ps, const Surface *s) {
  double sum = 0;
  for (int i = 0; i < ps->n; i++) {
    double r = fabs(log(surface_at(s, ps->p[i].N, ps->p[i].D)) - log(ps->p[i].L));
    sum += r <= 1e-3 ? r * r / 2 : 1e-3 * (r - 5e-4);
  }
  return sum;
}

static void noisy_optimum_is_a_minimum(void **state) {
  (void)state;
  Point p[N];
  Points ps;
  grid(p, &ps, &toy, 1e11, .06, 0, .004);
  SurfaceFit *f = fitted(&ps, 0);
  assert_near(f->objective / objective(&ps, &f->s), 1, 1e-9);
  assert_true(f->gradient < 1e-8);
  // The gradient is below 1e-8 of its unit, so a step that moves ln L by 1e-5 costs more than it could gain.
  double *t = &f->s.E;
  for (int j = 0; j < 5; j++)
    for (int sign = -1; sign <= 1; sign += 2) {
      double kept = t[j];
      t[j] *= 1 + sign * 1e-4;
      assert_true(objective(&ps, &f->s) > f->objective);
      t[j] = kept;
    }
  assert_true(objective(&ps, &toy) > f->objective);
  assert_true(isnan(surface_interval(f, surface_a).p10));
  // Averaging and a default stopping test end far above it.
  assert_near(f->early_objective / objective(&ps, &f->early), 1, 1e-9);
  assert_true(f->early_objective > 2 * f->objective);
  free(f);
}

static void intervals_hold_and_threads_do_not_matter(void **state) {
  (void)state;
  Point p[N];
  Points ps;
  grid(p, &ps, &toy, 1e11, .06, 0, .004);
  int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  SurfaceFit *f = fitted(&ps, 200);
  omp_set_num_threads(3);
  SurfaceFit *g = fitted(&ps, 200);
  omp_set_num_threads(threads);
  assert_memory_equal(f, g, sizeof *f);
  Interval a = surface_interval(f, surface_a);
  // Half of the 80 % interval is 1.28 sd: three sd allowed to the truth.
  assert_true(a.p10 < a.value && a.value < a.p90);
  assert_near(a.value, surface_a(&toy), 3 * (a.p90 - a.p10) / 2.56);
  assert_true(a.p90 - a.p10 < .1);
  VarproFit v;
  Err e;
  assert_int_equal(varpro_fit(&v, &ps, &e), OK);
  assert_near(surface_a(&v.s), a.value, 3 * (a.p90 - a.p10) / 2.56);
  // 42 runs less 5 parameters of relative noise .004: chi's sd is 1/sqrt(2 37) = 12 %, three of those.
  assert_near(v.rms / (.004 * sqrt(37. / 42)), 1, .36);
  free(f), free(g);
}

static void too_little_is_no_surface(void **state) {
  (void)state;
  Point p[N];
  Points ps;
  grid(p, &ps, &toy, 1e11, .06, 0, 0);
  for (int i = 9; i < N; i++) p[i].used = false;
  SurfaceFit *f = fitted(&ps, 0);
  assert_false(f->ok);
  free(f);
  grid(p, &ps, &toy, 1e11, .06, 0, 0);
  for (int i = 0; i < N; i++) p[i].N = i % 2 ? 1e5 : 2e5;
  f = fitted(&ps, 0);
  assert_false(f->ok);
  free(f);
}

static void frontier_is_the_formula_for_6nd(void **state) {
  (void)state;
  Point p[N];
  Points ps;
  Err e;
  grid(p, &ps, &toy, 1e11, .06, 0, 0);
  SurfaceFit *s = fitted(&ps, 0);
  Frontier *f = malloc(sizeof *f);
  assert_int_equal(frontier_fit(f, s, &ps, BUDGETS, ps.budget, &e), OK);
  assert_true(f->ok && f->law);
  double G = pow(toy.alpha * toy.A / (toy.beta * toy.B), 1 / (toy.alpha + toy.beta)),
         a = toy.beta / (toy.alpha + toy.beta);
  for (int b = 0; b < BUDGETS; b++) {
    // Golden section finds a minimum to the square root of rounding.
    double n = G * pow(ps.budget[b] / 6, a);
    assert_near(f->N[b].value / n, 1, 1e-6);
    assert_near(f->D[b].value * 6 * n / ps.budget[b], 1, 1e-6);
    assert_ptr_equal(frontier_size(f, ps.budget[b]), &f->N[b]);
  }
  assert_null(frontier_size(f, 1));
  assert_near(f->n_law.exponent.value, a, 1e-6);
  assert_near(f->d_law.exponent.value, 1 - a, 1e-6);
  free(s), free(f);
}

// Cost of a token 6 N^1.1: then N^1.1 D = C / 6, and with M = N^1.1 the optimum is the formula's in M with alpha / 1.1.
static void frontier_follows_the_cost(void **state) {
  (void)state;
  Point p[N];
  Points ps;
  Err e;
  grid(p, &ps, &toy, 1e11, .06, .1, 0);
  SurfaceFit *s = fitted(&ps, 0);
  Frontier *f = malloc(sizeof *f);
  double C[2] = {4e11, 4e12}, alpha = toy.alpha / 1.1;
  assert_int_equal(frontier_fit(f, s, &ps, 2, C, &e), OK);
  assert_near(cost_at(&f->cost, 1e5) / (6 * pow(1e5, 1.1)), 1, 1e-9);
  double G = pow(alpha * toy.A / (toy.beta * toy.B), 1 / (alpha + toy.beta)), a = toy.beta / (alpha + toy.beta);
  for (int i = 0; i < 2; i++) assert_near(f->N[i].value / pow(G * pow(C[i] / 6, a), 1 / 1.1), 1, 1e-6);
  assert_near(f->n_law.exponent.value, a / 1.1, 1e-6);
  // An optimum beyond twice the sampled sizes is not reported.
  double far = 1e20;
  assert_int_equal(frontier_fit(f, s, &ps, 1, &far, &e), OK);
  assert_true(isnan(f->N[0].value));
  assert_false(f->law);
  free(s), free(f);
}

static void runs_are_moved_along_the_surface(void **state) {
  (void)state;
  Point p[N];
  Points ps;
  grid(p, &ps, &toy, 1e11, .06, 0, 0);
  assert_true(points_level(&ps));
  grid(p, &ps, &toy, 1e11, .06, .1, 0);
  assert_false(points_level(&ps));
  points_to_level(&ps, &toy);
  assert_true(points_level(&ps));
  for (int i = 0; i < N; i++) {
    assert_near(p[i].L, surface_at(&toy, p[i].N, p[i].D), 1e-12);
    assert_near(p[i].C / (6 * pow(p[i].N, 1.1) * p[i].D), 1, 1e-12);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(noise_free_is_recovered),
      cmocka_unit_test(noisy_optimum_is_a_minimum),
      cmocka_unit_test(intervals_hold_and_threads_do_not_matter),
      cmocka_unit_test(too_little_is_no_surface),
      cmocka_unit_test(frontier_is_the_formula_for_6nd),
      cmocka_unit_test(frontier_follows_the_cost),
      cmocka_unit_test(runs_are_moved_along_the_surface),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
