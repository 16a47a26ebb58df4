// test_verdict.c: the forecast of a pair far beyond the budgets, from runs on a surface that is known.
#include "kernels.h"
#include "shape.h"
#include "testing.h"
#include "verdict.h"

static const Surface LAW = {.E = 1.0, .A = 60, .B = 120, .alpha = .4, .beta = .37};

// An IsoFLOP study of the family's own shapes: 6 budgets over 32x, every third member between 2 and 200 tokens a
// parameter, losses on the surface plus `bend` (ln C / 1e11)^2, which no surface of this kind has, and noise.
static Records runs_of(double bend, double noise, uint64_t seed) {
  Records rs = {.r = calloc(400, sizeof(Record))};
  for (int b = 0; b < 6; b++)
    for (int i = 0; i < 60; i += 2) {
      Config c;
      Err e;
      config_defaults(&c);
      if (!shape_family(i, &c)) break;
      c.budget = 1e11 * pow(2, b);
      const double N = shape_params(&c).total, ratio = c.budget / shape_flops(&c).exact / N;
      if (ratio < 2 || ratio > 200) continue;
      if (recipe_resolve(&c, &e)) fail_msg("%s", e.msg);
      Record *r = &rs.r[rs.n];
      *r = (Record){.status = "finished", .cfg = c, .params = shape_params(&c), .flops_per_token = shape_flops(&c),
                    .tokens = c.tokens, .epochs = .1};
      snprintf(r->id, sizeof r->id, "%016x", (unsigned)rs.n);
      r->val_loss = surface_at(&LAW, N, c.tokens) + bend * pow(log(c.budget / 1e11), 2) +
                    noise * rng_normal(seed, (uint64_t)rs.n);
      rs.n++;
    }
  return rs;
}

static void forecast_of(Forecast *f, double bend, double noise, uint64_t seed) {
  Records rs = runs_of(bend, noise, seed);
  Curves none = {.n = rs.n, .c = calloc((size_t)rs.n, sizeof(Curve))};
  StudyFit s;
  Config part;
  Err e;
  config_defaults(&part);
  part.budgets = (NumList){1, {2.56e13}};  // 8x
  if (study_fit(&s, &rs, &none, &e) || forecast_make(f, &s, &part, &e)) fail_msg("%s", e.msg);
  study_free(&s);
  records_free(&rs);
}

// The best size of the law at C, of all members of the family.
static double best_size(double C) {
  Config c;
  double best = INFINITY, N = 0;
  config_defaults(&c);
  for (int i = 0; shape_family(i, &c); i++) {
    const double n = shape_params(&c).total, L = surface_at(&LAW, n, C / shape_flops(&c).exact);
    if (L < best) best = L, N = n;
  }
  return N;
}

UNIT(noise_free_is_the_law) {
  Forecast f;
  forecast_of(&f, 0, 0, 1);
  // Approach 3 finds the law; Approach 2's vertices lean, which a fifth covers here, and the family has steps of up to
  // 1.7.
  assert_near(log(f.n_surface.value / best_size(f.budget)), 0, log(1.7) / 2);
  assert_near(log(f.n_iso.value / f.n_surface.value), 0, .2);
  assert_near(log(f.n_opt * f.n_opt / f.n_iso.value / f.n_surface.value), 0, 1e-12);
  assert_near(log(f.N[0] / f.n_opt), 0, log(1.7) / 2);
  assert_near(log(f.N[1] / f.n_opt / 4), 0, log(1.7) / 2);
  for (int k = 0; k < 2; k++) {
    Config c;
    config_defaults(&c);
    assert_true(shape_family(f.member[k], &c) && shape_params(&c).total == f.N[k]);
    assert_near(f.D[k] * shape_flops(&c).exact / f.budget, 1, .01);
    assert_near(f.loss[k].value, surface_at(&LAW, f.N[k], f.D[k]), 1e-6);
    assert_true(f.loss[k].p10 <= f.loss[k].value && f.loss[k].value <= f.loss[k].p90);
  }
  assert_near(f.gap.value, f.loss[1].value - f.loss[0].value, 1e-12);
  assert_true(f.gap.value > 0);
  assert_near(f.misfit_sd, 0, 1e-6);
}

// Noise widens the interval to what a run scatters by; a law that the surface cannot follow widens it further, as far as
// the surface errs when it is sent as far inside the study.
UNIT(intervals_cover_noise_and_misfit) {
  Forecast noisy, bent;
  forecast_of(&noisy, 0, .01, 2);
  forecast_of(&bent, .004, .01, 2);
  const double half = 1.2816 * .01;  // of a run alone, at 80 %
  for (int k = 0; k < 2; k++) {
    const Interval *i = &noisy.loss[k], *j = &bent.loss[k];
    assert_true((i->p90 - i->p10) / 2 > .7 * half);  // .7: the noise is estimated from some 60 residuals
    assert_true((i->p90 - i->p10) / 2 < 8 * half);
    assert_true(j->p90 - j->p10 > i->p90 - i->p10);
  }
  assert_true(bent.misfit_sd > 2 * noisy.misfit_sd);
}

int main(void) {
  if (kernels_init(NULL) != 0) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(noise_free_is_the_law),
      cmocka_unit_test(intervals_cover_noise_and_misfit),
  };
  return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
