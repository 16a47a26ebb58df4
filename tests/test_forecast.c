// test_forecast.c: what a plan will tell of its law, against what is known of it.
#include "forecast.h"
#include "kernels.h"
#include "testing.h"
#include <omp.h>

static SelfTest *forecast(const char *const *sets, double noise, int draws, int *runs) {
  static Study s;
  Config c;
  Err e;
  SelfTest *t = malloc(sizeof *t);
  ForecastLaw law = forecast_measured;
  law.run_sd = noise, law.cell_sd = 0;
  config_defaults(&c);
  for (; *sets; sets++)
    if (config_set(&c, *sets, "test", &e)) fail_msg("%s", e.msg);
  study_single(&s, &c, 7, 1e9);
  if (forecast_run(t, runs, &s, &law, draws, &e)) fail_msg("%s", e.msg);
  return t;
}

static const char *const PLAN[] = {"budgets=7.5e10, 1.8e11, 4.2e11, 1e12, 2.4e12", "tokens_per_param=3, 250",
                                   "sizes_per_budget=8", "seeds=2", NULL};

// Without noise the surface is found exactly, and what Approach 2 is off by is its lean alone: the same in every draw.
UNIT(noise_free_leaves_the_bias) {
  int runs;
  SelfTest *t = forecast(PLAN, 1e-9, 12, &runs);
  assert_int_equal(runs, 80);
  const SelfTestRow *two = selftest_row(t, "2", "a"), *three = selftest_row(t, "3-frontier", "a");
  assert_true(two && three && two->draws == 12 && three->draws == 12);
  assert_true(fabs(three->bias.value) < 1e-5 && fabs(three->width) < 1e-5);
  assert_true(fabs(two->bias.value) > 1e-4 && two->bias.p90 - two->bias.p10 < 1e-5);
  assert_true(fabs(two->bias.value) < .1);
  const SelfTestRow *one = selftest_row(t, "1", "a");
  assert_true(one && one->draws == 12);  // planned runs have curves
  free(t);
}

// Twice the noise, twice the width; every stage of a plan that waits for its smaller budgets is in it.
UNIT(width_follows_the_noise) {
  int runs, staged;
  SelfTest *t = forecast(PLAN, .004, 30, &runs), *u = forecast(PLAN, .008, 30, &runs);
  const double ratio = selftest_row(u, "2", "a")->width / selftest_row(t, "2", "a")->width;
  // 30 means of widths, each uncertain by some 15 %: 4 %; three of those, and the vertex is linear in the noise to 10 %.
  assert_true(fabs(ratio / 2 - 1) < .22);
  free(t), free(u);
  const char *const waits[] = {"budgets=7.5e10, 1.8e11, 4.2e11, 1e12, 2.4e12", "tokens_per_param=3, 250",
                               "sizes_per_budget=8", "seeds=2", "recentre=2", NULL};
  t = forecast(waits, .004, 2, &staged);
  assert_int_equal(staged, runs);
  free(t);
}

UNIT(threads_change_nothing) {
  int runs;
  omp_set_num_threads(1);
  SelfTest *t = forecast(PLAN, .01, 4, &runs);
  omp_set_num_threads(3);
  SelfTest *u = forecast(PLAN, .01, 4, &runs);
  assert_int_equal(t->rows, u->rows);
  for (int i = 0; i < t->rows; i++) assert_memory_equal(&t->row[i].bias, &u->row[i].bias, sizeof(Interval));
  free(t), free(u);
}

UNIT(too_small_a_plan_is_refused) {
  static Study s;
  Config c;
  Err e;
  SelfTest t;
  int runs;
  config_defaults(&c);
  assert_int_equal(config_set(&c, "budgets=1e11", "test", &e), OK);
  assert_int_equal(config_set(&c, "sizes_per_budget=2", "test", &e), OK);
  study_single(&s, &c, 7, 1e9);
  assert_refused(forecast_run(&t, &runs, &s, &forecast_measured, 2, &e), &e, E_CONFIG, "too few runs");
}

int main(void) {
  if (kernels_init(NULL) != 0) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(noise_free_leaves_the_bias),
      cmocka_unit_test(width_follows_the_noise),
      cmocka_unit_test(threads_change_nothing),
      cmocka_unit_test(too_small_a_plan_is_refused),
  };
  return cmocka_run_group_tests_name("forecast", tests, NULL, NULL);
}
