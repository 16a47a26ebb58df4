// test_tune.c: the rule from losses whose best settings are known.
#include "kernels.h"
#include "testing.h"
#include "tune.h"

static void study_of(Study *s, const char *const *sets) {
  Config c;
  Err e;
  config_defaults(&c);
  for (; *sets; sets++)
    if (config_set(&c, *sets, "test", &e)) fail_msg("%s", e.msg);
  study_single(s, &c, 7, 1e8);
}

static const char *const SETS[] = {
    "budgets=3e11, 1.2e12, 4.8e12", "tokens_per_param=12, 50", "sizes_per_budget=1", "seeds=3, 2, 1",
    "vary=lr_scale 1 .4 .63 1.6 2.5 | batch_scale .5 2 | beta2 .98 .995 | warmup .075 .3", NULL};

static void make(Tuning *t, const char *const *sets) {
  static Study s;
  Err e;
  study_of(&s, sets);
  if (tuning_make(t, &s, NULL, &e)) fail_msg("%s", e.msg);
}

// Losses with their minima on a law: the rate k N^p, the batch b C^q, 1 - beta2 and warm-up constant; each seed of a
// model has a level of its own, and each run noise.
typedef struct Truth { double k, p, b, q, beta2, warmup, noise; } Truth;

static double pull(double value, double best, double curve) { return curve * pow(log(value / best), 2); }

static void lose(Tuning *t, const Truth *w, uint64_t seed) {
  for (int i = 0; i < t->n; i++) {
    TunePoint *p = &t->p[i];
    const Config *c = &p->cell->cfg;
    const double N = t->group[p->group].N, C = t->group[p->group].C;
    p->loss = 2 + .05 * p->seed - .1 * p->group + w->noise * rng_normal(seed, (uint64_t)i);
    p->loss += pull(c->lr, w->k * pow(N, w->p), .04) + pull(c->batch_tokens, w->b * pow(C, w->q), .02) +
               pull(1 - c->beta2, 1 - w->beta2, .03) + pull(c->warmup, w->warmup, .01);
  }
}

// Cells: 11 settings for each model and seed; the rule's run is a point of every knob, the others of one.
UNIT(points_are_what_was_varied) {
  Tuning t;
  make(&t, SETS);
  assert_int_equal(t.n_groups, 3);
  assert_int_equal(t.n, 11 * 6);
  int count[KNOBS + 1] = {0};
  for (int i = 0; i < t.n; i++) {
    const TunePoint *p = &t.p[i];
    count[p->knob]++;
    assert_true(isnan(p->loss));
    assert_true((p->knob == KNOBS) == (p->x == 0));
    if (p->knob < KNOBS)
      assert_near(knob_value((Knob)p->knob, &p->cell->cfg),
                  exp(p->x) * knob_value((Knob)p->knob, &t.group[p->group].base), 1e-9 * exp(p->x) * 4096);
  }
  assert_int_equal(count[KNOBS], 6);
  assert_int_equal(count[KNOB_RATE], 24);
  for (int k = KNOB_BATCH; k < KNOBS; k++) assert_int_equal(count[k], 12);
  tuning_free(&t);
}

// Without noise every coefficient comes out exactly, and the rule that is written gives the best settings everywhere.
UNIT(noise_free_is_exact) {
  Tuning t;
  Err e;
  TuneFit *f = malloc(sizeof *f);
  const Truth w = {.02, -.1, 1e-3, .45, .985, .2, 0};
  make(&t, SETS);
  // The batch's truth must lie within what was tried at every model: b C^q is 145 to 505, the rule's 256 to 896.
  lose(&t, &w, 1);
  if (tune_fit(f, &t, &e)) fail_msg("%s", e.msg);
  assert_near(f->curve[KNOB_RATE], .04, 1e-12);
  assert_near(f->curve[KNOB_WARMUP], .01, 1e-12);
  assert_near(f->noise, 0, 1e-9);
  assert_near(f->rule.lr_exponent, w.p, 1e-9);
  assert_near(f->rule.lr_at * pow(RECIPE_PARAMS, -w.p) / w.k, 1, 1e-9);
  assert_near(f->rule.batch_exponent, w.q, 1e-9);
  assert_near(f->rule.batch_at * pow(RECIPE_FLOPS, -w.q) / w.b, 1, 1e-8);
  assert_near(f->rule.beta2_small, w.beta2, 1e-12);
  assert_near(f->rule.warmup, w.warmup, 1e-12);
  assert_near(f->rule.lr_max / (w.k * pow(t.group[0].N, w.p)), 1, 1e-9);
  for (int g = 0; g < t.n_groups; g++)
    assert_near(t.group[g].base.lr * exp(f->valley[KNOB_RATE][g].best.value) / (w.k * pow(t.group[g].N, w.p)), 1, 1e-9);
  free(f);
  tuning_free(&t);
}

// Horizons at one size tell the rate's power of D/N; without them there is no such coefficient.
UNIT(horizons_give_their_power) {
  const char *sets[] = {"budgets=1e11, 4e11, 1.6e12", "params_range=41000, 110000", "sizes_per_budget=2",
                        "vary=lr_scale 1 .4 .63 1.6 2.5", NULL};
  Tuning t;
  Err e;
  TuneFit *f = malloc(sizeof *f);
  make(&t, sets);
  for (int i = 0; i < t.n; i++) {
    TunePoint *p = &t.p[i];
    const TuneGroup *g = &t.group[p->group];
    p->loss = pull(p->cell->cfg.lr, .009 * pow(g->N / RECIPE_PARAMS, -.4) * pow(g->D / g->N / RECIPE_RATIO, -.15), .05);
  }
  if (tune_fit(f, &t, &e)) fail_msg("%s", e.msg);
  assert_near(f->rule.lr_exponent, -.4, 1e-8);
  // The rule is stated at the horizon asked for, the runs have whole steps.
  assert_near(f->rule.lr_horizon, -.15, 1e-4);
  assert_near(f->rule.lr_at, .009, 1e-4);
  free(f);
  tuning_free(&t);
  make(&t, SETS);
  f = malloc(sizeof *f);
  lose(&t, &(Truth){.01, -.1, 1e-3, .45, .985, .2, 0}, 1);
  if (tune_fit(f, &t, &e)) fail_msg("%s", e.msg);
  assert_true(f->rule.lr_horizon == 0);
  free(f);
  tuning_free(&t);
}

// A minimum beyond what was tried is held at the end and flagged; losses with no valley move nothing.
UNIT(what_was_not_tried_is_not_claimed) {
  Tuning t;
  Err e;
  TuneFit *f = malloc(sizeof *f);
  make(&t, SETS);
  lose(&t, &(Truth){.1, 0, 1e-3, .45, .985, .2, 0}, 1);
  if (tune_fit(f, &t, &e)) fail_msg("%s", e.msg);
  for (int g = 0; g < t.n_groups; g++) {
    assert_true(f->valley[KNOB_RATE][g].edge);
    assert_near(f->valley[KNOB_RATE][g].best.value, log(2.5), 1e-9);
  }
  for (int i = 0; i < t.n; i++)
    t.p[i].loss = 2 - (t.p[i].knob == KNOB_WARMUP ? .01 * t.p[i].x * t.p[i].x : 0) + .001 * rng_normal(3, (uint64_t)i);
  if (tune_fit(f, &t, &e)) fail_msg("%s", e.msg);
  assert_true(f->curve[KNOB_WARMUP] < 0);
  assert_true(f->rule.warmup == t.old.warmup);
  // Two settings only, or no run finished: nothing to say, and no crash.
  for (int i = 0; i < t.n; i++) t.p[i].loss = NAN;
  if (tune_fit(f, &t, &e)) fail_msg("%s", e.msg);
  assert_int_equal(f->n, 0);
  free(f);
  tuning_free(&t);
}

// Honest intervals: over drawn studies with noise, the 80 % interval of each coefficient holds the truth in 80 % of
// them, and a rule that is right is moved in at most 5 % by what is beyond two sd, both within three standard errors
// of 6 x 100 draws (coefficients of one knob are nearly independent, so is all between knobs).
UNIT(intervals_are_honest) {
  enum { DRAWS = 100 };
  Tuning t;
  Err e;
  TuneFit *f = malloc(sizeof *f);
  make(&t, SETS);
  const Config *o = &t.old;
  const Truth w = {o->lr_at * pow(RECIPE_PARAMS, -o->lr_exponent), o->lr_exponent,
                   o->batch_at * pow(RECIPE_FLOPS, -o->batch_exponent), o->batch_exponent, o->beta2_small, o->warmup,
                   .004};
  int hits = 0, moves = 0, all = 0;
  for (int d = 0; d < DRAWS; d++) {
    lose(&t, &w, (uint64_t)d + 1);
    if (tune_fit(f, &t, &e)) fail_msg("%s", e.msg);
    for (int i = 0; i < f->n; i++, all++) {
      hits += f->coef[i].found.p10 <= f->coef[i].was && f->coef[i].was <= f->coef[i].found.p90;
      moves += f->coef[i].moved;
    }
  }
  assert_int_equal(all, 6 * DRAWS);
  const double se = sqrt(.8 * .2 / all), se_moved = sqrt(.05 * .95 / all);
  if (fabs((double)hits / all - .8) > 3 * se + .02) fail_msg("coverage %.3f", (double)hits / all);
  if ((double)moves / all > .05 + 3 * se_moved) fail_msg("moved %.3f", (double)moves / all);
  free(f);
  tuning_free(&t);
}

// Trained again by the rule as a whole: the same runs, each .1 lower, and one of them without a loss; or each .1 higher.
UNIT(a_rule_that_diverges_or_is_worse_is_not_kept) {
  Tuning t;
  Err e;
  TuneCheck check;
  TuneFit *f = malloc(sizeof *f);
  const Truth w = {.02, -.1, 1e-3, .45, .985, .2, 0};
  make(&t, SETS);
  lose(&t, &w, 1);
  if (tune_fit(f, &t, &e)) fail_msg("%s", e.msg);
  Tuning again = t;
  again.p = malloc(sizeof *again.p * (size_t)t.n);
  again.n = 0;
  for (int i = 0; i < t.n; i++)
    if (t.p[i].knob == KNOBS) again.p[again.n] = t.p[i], again.p[again.n++].loss -= .1;
  tune_check(&check, &t, f, &again);
  assert_int_equal(check.lost, 0);
  assert_near(check.gain, .1, 1e-12);
  for (int lost = -1; lost <= again.n; lost++) {
    for (int i = 0; i < again.n; i++) again.p[i].loss += lost < 0 ? .2 : lost == 0 ? -.2 : 0;
    if (lost > 0) again.p[lost - 1].loss = NAN;
    if (lost > 1 && lost < again.n) continue;
    tune_check(&check, &t, f, &again);
    assert_int_equal(check.lost, lost < 0 ? 0 : lost);
    if (tune_write(&t, f, &check, folder, &e) && e.code != E_USAGE) fail_msg("%s", e.msg);
    Config c;
    config_defaults(&c);
    if (config_load(&c, in("recipe.ini"), &e)) fail_msg("%s", e.msg);
    assert_near(c.lr_at, lost ? t.old.lr_at : f->rule.lr_at, 1e-12);
  }
  free(again.p);
  free(f);
  tuning_free(&t);
}

UNIT(two_knobs_at_once_are_refused) {
  static Study s;
  Tuning t;
  Err e;
  study_of(&s, (const char *[]){"budgets=3e11", "tokens_per_param=12, 50", "sizes_per_budget=1",
                                "vary=weight_decay 0", NULL});
  assert_refused(tuning_make(&t, &s, NULL, &e), &e, E_CONFIG, "more than rate, batch, beta2 and warm-up");
  study_of(&s, (const char *[]){"budgets=3e11", "tokens_per_param=12, 50", "sizes_per_budget=1",
                                "vary=batch_scale 32", NULL});
  // So large a batch takes another beta2.
  assert_refused(tuning_make(&t, &s, NULL, &e), &e, E_CONFIG, "departs from the rule in batch and in beta2");
}

int main(void) {
  if (kernels_init(NULL) != 0) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(points_are_what_was_varied),        cmocka_unit_test(noise_free_is_exact),
      cmocka_unit_test(horizons_give_their_power),         cmocka_unit_test(what_was_not_tried_is_not_claimed),
      cmocka_unit_test(intervals_are_honest),              cmocka_unit_test(a_rule_that_diverges_or_is_worse_is_not_kept),
      cmocka_unit_test(two_knobs_at_once_are_refused),
  };
  return cmocka_run_group_tests_name("tune", tests, folder_make, folder_remove);
}
