// test_fit.c: the estimators on data whose answer is known.
#include "fit.h"
#include "testing.h"

enum { BUDGETS = 5, SIZES = 8, N = BUDGETS * SIZES };

// Records on an exact parabola in ln N for each budget, minimum at k C^a, sizes over a factor `span` either way; C =
// 6ND.
static Records made(double k, double a, double span, double shift, double noise, uint64_t seed) {
  Records rs = {.n = N, .r = calloc(N, sizeof(Record))};
  for (int b = 0; b < BUDGETS; b++)
    for (int i = 0; i < SIZES; i++) {
      Record *r = &rs.r[b * SIZES + i];
      double C = 1e11 * pow(4, b), best = log(k) + a * log(C),
             x = best + shift + log(span) * (2.0 * i / (SIZES - 1) - 1);
      snprintf(r->id, sizeof r->id, "%016x", (unsigned)(b * SIZES + i));
      strcpy(r->status, "finished");
      r->cfg.budget = C;
      r->params.total = exp(x), r->params.nonemb = exp(x) / 2;
      r->flops_per_token = (Flops){6 * exp(x), 5 * exp(x), 6 * exp(x), 3 * exp(x)};
      r->tokens = C / (6 * exp(x));
      r->epochs = .5;
      r->val_loss_se = .001;
      r->val_loss = 2 - .15 * b + .05 * (x - best) * (x - best) + noise * rng_normal(seed, (uint64_t)(b * SIZES + i));
    }
  return rs;
}

typedef struct Fitted {
  Records rs;
  Points ps;
  IsoFit *iso;
} Fitted;
static Fitted fitted(Records rs, int resamples) {
  Err e;
  Fitted f = {.rs = rs, .iso = malloc(sizeof(IsoFit))};
  assert_int_equal(points_make(&f.ps, &rs, &conventions[0], &e), OK);
  assert_int_equal(iso_fit(f.iso, &f.ps, &conventions[0], resamples, &e), OK);
  return f;
}
static void drop(Fitted *f) {
  points_free(&f->ps);
  records_free(&f->rs);
  free(f->iso);
}

UNIT(lsq_matches_normal_equations) {
  // y = 1 + 2x + 3x^2 at x = 0..4, and one residual pattern orthogonal to 1, x, x^2: (-1, 2, 0, -2, 1) / 10.
  double X[5][3], y[5], beta[3], var[3], rss, off[5] = {-.1, .2, 0, -.2, .1};
  for (int i = 0; i < 5; i++) X[i][0] = 1, X[i][1] = i, X[i][2] = i * i, y[i] = 1 + 2 * i + 3 * i * i + off[i];
  assert_true(lsq_solve(5, 3, &X[0][0], y, beta, &rss, var));
  for (int j = 0; j < 3; j++) assert_near(beta[j], j + 1, 1e-12);
  assert_near(rss, .1, 1e-12);
  // Inverse of [[5,10,30],[10,30,100],[30,100,354]]: diagonal 31/35, 87/70, 1/14.
  assert_near(var[0], 31. / 35, 1e-12);
  assert_near(var[1], 87. / 70, 1e-12);
  assert_near(var[2], 1. / 14, 1e-12);
  double same[4][2] = {{1, 3}, {1, 3}, {1, 3}, {1, 3}}, z[4] = {0};
  assert_false(lsq_solve(4, 2, &same[0][0], z, beta, &rss, NULL));
}

UNIT(noise_free_is_exact) {
  Fitted f = fitted(made(.08, .5, 4, .2, 0, 0), RESAMPLES);
  assert_int_equal(f.iso->n, BUDGETS);
  for (int b = 0; b < BUDGETS; b++) {
    const Valley *v = &f.iso->v[b];
    double n = .08 * sqrt(v->budget);
    assert_int_equal(v->flag, VALLEY_OK);
    assert_int_equal(v->sizes, SIZES);
    assert_near(v->n_opt.value / n, 1, 1e-9);
    assert_near(v->d_opt.value * 6 * n / v->budget, 1, 1e-9);
    assert_near(v->loss.value, 2 - .15 * b, 1e-12);
    assert_near(v->q.c[2], .05, 1e-10);
    assert_near(v->n_opt.p90 / v->n_opt.p10, 1, 1e-8);
  }
  assert_true(f.iso->law);
  assert_near(f.iso->n_law.exponent.value, .5, 1e-9);
  assert_near(f.iso->d_law.exponent.value, .5, 1e-9);
  assert_near(f.iso->n_law.k.value, .08, 1e-8);
  assert_near(law_at(&f.iso->n_law, 1e15).value / (.08 * sqrt(1e15)), 1, 1e-8);
  drop(&f);
}

// With L - E = A/N^alpha + B/D^beta at fixed C = 6ND, u = ln N - ln N_opt: L = E + s (e^(-alpha u)/alpha + e^(beta
// u)/beta), and a parabola on a grid that is symmetric about the optimum has its vertex at u0 = (alpha - beta) (m4 -
// m2^2 ...) to first order; its sign is what matters: alpha > beta means a steeper left wall, which pushes the vertex
// to the right, the more the wider the grid.
static double vertex_shift(double alpha, double beta, double half_width) {
  double x[9], y[9];
  for (int i = 0; i < 9; i++) {
    double u = half_width * (i - 4) / 4;
    x[i] = u, y[i] = exp(-alpha * u) / alpha + exp(beta * u) / beta;
  }
  Parabola q;
  assert_true(parabola_fit(&q, 9, x, y));
  return q.x0 - q.c[1] / (2 * q.c[2]);
}

UNIT(known_bias_of_the_vertex) {
  assert_near(vertex_shift(.35, .35, log(4)), 0, 1e-12);
  double narrow = vertex_shift(.45, .25, log(2)), wide = vertex_shift(.45, .25, log(8));
  assert_true(narrow > 0 && wide > narrow);
  assert_near(vertex_shift(.25, .45, log(8)), -wide, 1e-12);
  // First order: cubic coefficient c3 = (beta^2 - alpha^2)/6 leaks into the slope as c3 m4/m2, over 2 c2 = alpha +
  // beta: shift = (alpha - beta) m4 / (6 m2), m2 and m4 the grid's moments. Next order is relative (alpha^2 + beta^2)
  // w^2 / 12 = .01.
  double w = log(2) / 4, m2 = 0, m4 = 0;
  for (int i = -4; i <= 4; i++) m2 += pow(i * w, 2), m4 += pow(i * w, 4);
  assert_near(narrow / (.2 * m4 / m2 / 6), 1, .02);
}

// Five sizes a step h apart, and on top of a parabola the third and the fourth polynomial that are orthogonal to it there:
// (-1, 2, 0, -2, 1) d and (1, -4, 6, -4, 1) q. The parabola leaves both, 10 d^2 + 70 q^2; a cubic leaves the fourth, so
// that its t is d sqrt(10) / sqrt(70 q^2).
UNIT(diagnostics_of_a_valley_by_hand) {
  static const double third[] = {-1, 2, 0, -2, 1}, fourth[] = {1, -4, 6, -4, 1};
  const double d = -.002, q = .001, C = 1e12, best = log(5e4), h = .5;
  Records rs = {.n = 5, .r = calloc(5, sizeof(Record))};
  double mean = 0, total = 0;
  for (int i = 0; i < 5; i++) {
    Record *r = &rs.r[i];
    const double n = exp(best + h * (i - 2));
    snprintf(r->id, sizeof r->id, "%016x", (unsigned)i);
    strcpy(r->status, "finished");
    r->cfg.budget = C, r->params.total = n, r->flops_per_token.exact = 6 * n, r->tokens = C / (6 * n);
    r->val_loss = 2 + .05 * h * h * (i - 2) * (i - 2) + third[i] * d + fourth[i] * q;
    mean += r->val_loss / 5;
  }
  for (int i = 0; i < 5; i++) total += pow(rs.r[i].val_loss - mean, 2);
  Fitted f = fitted(rs, 20);
  const Valley *v = &f.iso->v[0];
  const double left = 10 * d * d + 70 * q * q;
  assert_near(v->n_opt.value / 5e4, 1, 1e-9);
  assert_near(v->sd / sqrt(left / 2), 1, 1e-9);
  assert_near(v->r2, 1 - left / total, 1e-9);
  assert_near(v->t_cubic / (d * sqrt(10) / sqrt(70 * q * q)), 1, 1e-9);
  drop(&f);
}

// N is all parameters or those outside embeddings and logits; C takes a token's FLOPs exactly, without the logits, or as
// six times that N.
UNIT(six_ways_of_counting) {
  Record r = {.status = "finished", .params = {.total = 1000, .nonemb = 600}, .tokens = 50, .val_loss = 2,
              .flops_per_token = {.exact = 7000, .nohead = 5000, .sixn = 6000, .sixn_nonemb = 3600}};
  static const struct { const char *name; double N, C; } want[] = {
      {"total/exact", 1000, 350e3}, {"nonemb/exact", 600, 350e3}, {"total/nohead", 1000, 250e3},
      {"nonemb/nohead", 600, 250e3}, {"total/6nd", 1000, 300e3}, {"nonemb/6nd", 600, 180e3}};
  for (int k = 0; k < COUNT(want); k++) {
    const Point p = point_of(&r, &conventions[k]);
    assert_string_equal(conventions[k].name, want[k].name);
    if (!p.used || p.N != want[k].N || p.C != want[k].C || p.D != 50) fail_msg("%s: N %g, C %g", want[k].name, p.N, p.C);
  }
  assert_null(conventions[COUNT(want)].name);
}

UNIT(edge_minima_are_left_out) {
  // shift > ln span: every sampled size lies above the optimum; between the two smallest sizes: edge.
  Fitted outside = fitted(made(.08, .5, 4, log(4) + .1, 0, 0), 20);
  Fitted edge = fitted(made(.08, .5, 4, log(4) - .1, 0, 0), 20),
         right = fitted(made(.08, .5, 4, .1 - log(4), 0, 0), 20);
  for (int b = 0; b < BUDGETS; b++) {
    assert_int_equal(outside.iso->v[b].flag, VALLEY_OUTSIDE);
    assert_int_equal(edge.iso->v[b].flag, VALLEY_EDGE);
    assert_int_equal(right.iso->v[b].flag, VALLEY_EDGE);
  }
  assert_false(outside.iso->law);
  assert_true(isnan(outside.iso->n_law.exponent.value));
  drop(&outside), drop(&edge), drop(&right);

  // One bad budget of five: the law goes through the other four, and is theirs.
  Records rs = made(.08, .5, 4, 0, 0, 0);
  for (int i = 0; i < SIZES; i++)
    rs.r[i].val_loss = 2 - .01 * log(rs.r[i].params.total) - .01 * pow(log(rs.r[i].params.total), 2);
  Fitted four = fitted(rs, 20);
  assert_int_equal(four.iso->v[0].flag, VALLEY_FLAT);
  assert_near(four.iso->n_law.exponent.value, .5, 1e-9);
  drop(&four);
}

UNIT(few_sizes_give_no_parabola) {
  Records rs = made(.08, .5, 4, 0, 0, 0);
  for (int i = 4; i < SIZES; i++) rs.r[i].params.total = rs.r[3].params.total;  // 8 runs of 4 sizes
  Fitted f = fitted(rs, 0);
  assert_int_equal(f.iso->v[0].flag, VALLEY_FEW);
  assert_int_equal(f.iso->v[0].sizes, 4);
  assert_int_equal(f.iso->v[1].flag, VALLEY_OK);
  assert_true(f.iso->law);
  drop(&f);
}

UNIT(excluded_runs_say_why) {
  Records rs = made(.08, .5, 4, 0, 0, 0);
  strcpy(rs.r[1].status, "diverged"), strcpy(rs.r[1].reason, "loss is nan at step 7"), rs.r[1].val_loss = NAN;
  rs.r[2].val_loss = INFINITY;
  rs.r[3].epochs = 1.5;
  Fitted f = fitted(rs, 0);
  int out = 0;
  for (int i = 0; i < f.ps.n; i++) out += !f.ps.p[i].used;
  assert_int_equal(out, 2);
  assert_string_equal(f.ps.p[1].why_not, "diverged: loss is nan at step 7");
  assert_non_null(strstr(f.ps.p[2].why_not, "inf"));
  assert_true(f.ps.p[3].used && f.ps.p[3].repeats);
  assert_int_equal(f.iso->v[0].runs, SIZES - 2);
  assert_near(f.iso->n_law.exponent.value, .5, 1e-9);  // and they leave no trace in the fit
  drop(&f);
}

UNIT(bootstrap_is_deterministic_and_tight) {
  Fitted f = fitted(made(.08, .5, 4, 0, .004, 5), RESAMPLES), g = fitted(made(.08, .5, 4, 0, .004, 5), RESAMPLES);
  assert_memory_equal(&f.iso->n_law, &g.iso->n_law, sizeof f.iso->n_law);
  const Interval *a = &f.iso->n_law.exponent;
  assert_true(a->p10 < a->value && a->value < a->p90);
  // Error propagation: var(vertex) = sd^2 / (4 c2^2 Sxx) at a vertex in the middle of the grid; a is the regression of
  // five of them.
  double sxx = 0, scc = 0, step = 2 * log(4) / (SIZES - 1);
  for (int i = 0; i < SIZES; i++) sxx += pow((i - (SIZES - 1) / 2.) * step, 2);
  for (int b = 0; b < BUDGETS; b++) scc += pow((b - 2) * log(4), 2);
  double sd = .004 / (2 * .05 * sqrt(sxx)) / sqrt(scc), width = (a->p90 - a->p10) / (2 * 1.2816);
  // 25 degrees of freedom: the estimated sd is itself within 1/sqrt(50) = 14 %, three of those allowed.
  assert_true(fabs(width / sd - 1) < .45);
  assert_true(fabs(a->value - .5) < 4 * sd);
  drop(&f), drop(&g);
}

// 80 % intervals of 60 studies: 300 vertices, 60 exponents. Binomial sd of the coverage: .023 and .052; three of those
// allowed.
UNIT(intervals_cover) {
  int vertices = 0, exponents = 0;
  enum { STUDIES = 60 };
  for (int t = 0; t < STUDIES; t++) {
    Fitted f = fitted(made(.08, .5, 4, 0, .004, 100 + (uint64_t)t), 200);
    for (int b = 0; b < BUDGETS; b++) {
      double n = .08 * sqrt(f.iso->v[b].budget);
      vertices += f.iso->v[b].n_opt.p10 <= n && n <= f.iso->v[b].n_opt.p90;
    }
    exponents += f.iso->n_law.exponent.p10 <= .5 && .5 <= f.iso->n_law.exponent.p90;
    drop(&f);
  }
  assert_true(fabs(vertices / 300. - .8) < .07);
  assert_true(fabs(exponents / 60. - .8) < .155);
}

// Each size has noise of its own that its six seeds share, as large as what a run adds: residuals drawn run by run would
// take the seeds for six sizes, and their intervals would hold the vertex in some 45 % of cases.
UNIT(intervals_cover_what_seeds_share) {
  enum { STUDIES = 40, SEEDS = 6 };
  int vertices = 0, exponents = 0;
  for (int t = 0; t < STUDIES; t++) {
    Records base = made(.08, .5, 4, 0, .004, 500 + (uint64_t)t), rs = {.n = N * SEEDS, .r = calloc(N * SEEDS, sizeof(Record))};
    for (int i = 0; i < rs.n; i++) {
      rs.r[i] = base.r[i / SEEDS];
      snprintf(rs.r[i].id, sizeof rs.r[i].id, "%016x", (unsigned)i);
      rs.r[i].cfg.seed = i % SEEDS;
      rs.r[i].val_loss += .004 * rng_normal(900 + (uint64_t)t, (uint64_t)i);
    }
    records_free(&base);
    Fitted f = fitted(rs, 200);
    for (int b = 0; b < BUDGETS; b++) {
      double n = .08 * sqrt(f.iso->v[b].budget);
      vertices += f.iso->v[b].n_opt.p10 <= n && n <= f.iso->v[b].n_opt.p90;
    }
    exponents += f.iso->n_law.exponent.p10 <= .5 && .5 <= f.iso->n_law.exponent.p90;
    drop(&f);
  }
  assert_true(fabs(vertices / 200. - .8) < 3 * .028);
  assert_true(fabs(exponents / 40. - .8) < 3 * .063);
}

UNIT(seed_noise_is_pooled) {
  Records rs = made(.08, .5, 4, 0, 0, 0);
  // Two cells of two seeds each, losses 2 d apart: pooled variance ((2 d1^2) + (2 d2^2)) / 2.
  for (int c = 0; c < 2; c++) {
    Record *r = &rs.r[4 * c];
    double d = c ? .01 : .02, mean = r->val_loss;
    r[1].params = r[0].params, r[1].tokens = r[0].tokens, r[1].flops_per_token = r[0].flops_per_token,
    r[1].cfg.seed = 2;
    r[0].val_loss = mean - d, r[1].val_loss = mean + d;
  }
  Fitted f = fitted(rs, 0);
  assert_int_equal(f.ps.seed_cells, 2);
  assert_near(f.ps.seed_sd, sqrt(.0004 + .0001), 1e-12);
  drop(&f);
}

// Five budgets of eight cells of four runs: what the runs of a cell share is found, on average over 60 studies. Of 25
// degrees of freedom a study, a variance scatters by sqrt(2 / 25), the mean of 60 by 3.7 %.
UNIT(noise_of_cells_and_of_runs) {
  enum { SEEDS = 4, DRAWS = 60 };
  const double run = .005, cell = .02;
  double squares = 0;
  for (int draw = 0; draw < DRAWS; draw++) {
    Records one = made(.08, .5, 4, 0, 0, 0), rs = {.n = N * SEEDS, .r = calloc(N * SEEDS, sizeof(Record))};
    for (int i = 0; i < rs.n; i++) {
      Record *r = &rs.r[i];
      *r = one.r[i / SEEDS];
      snprintf(r->id, sizeof r->id, "%016x", (unsigned)i);
      r->cfg.seed = i % SEEDS;
      r->val_loss += cell * rng_normal(3, (uint64_t)(draw * N + i / SEEDS)) + run * rng_normal(4, (uint64_t)(draw * rs.n + i));
    }
    records_free(&one);
    Fitted f = fitted(rs, 0);
    const Noise noise = points_noise(&f.ps, f.iso, NULL);
    assert_near(noise.run, run, .3 * run);
    squares += noise.cell * noise.cell / DRAWS;
    drop(&f);
  }
  assert_near(squares, cell * cell, 3 * sqrt(2. / 25 / DRAWS) * cell * cell);
}

// The seeds of a cell may stand anywhere among runs without a budget.
UNIT(cells_stand_together) {
  Records rs = {.n = 8, .r = calloc(8, sizeof(Record))};
  for (int i = 0; i < rs.n; i++) {
    Record *r = &rs.r[i];
    snprintf(r->id, sizeof r->id, "%016x", (unsigned)i);
    strcpy(r->status, "finished");
    r->params.total = 1e5, r->tokens = 1e6 * (1 + i % 4), r->flops_per_token = (Flops){6e5, 6e5, 6e5, 6e5};
    r->cfg.seed = i / 4, r->val_loss = 2 + .01 * i;
  }
  Fitted f = fitted(rs, 0);
  assert_int_equal(f.ps.seed_cells, 4);
  drop(&f);
}

UNIT(short_names) {
  assert_string_equal(text_budget(1e11), "1e11");
  assert_string_equal(text_budget(1.6e12), "1.6e12");
  assert_string_equal(text_budget(2.56e13), "2.56e13");
  assert_string_equal(text_count(26123), "26.1k");
  assert_string_equal(text_count(999700), "1M");
  assert_string_equal(text_count(999), "999");
  assert_string_equal(text_count(NAN), "-");
  assert_string_equal(text_count(INFINITY), "-");
}

// The errors that draws make where the law is known are taken off the value, each as much wider: estimates that come out
// .1 too high are too high by that, and a long tail above becomes one below.
UNIT(basic_intervals) {
  enum { DRAWS = 11 };
  PowerLaw *l = malloc(sizeof *l);
  law_clear(l);
  l->k.value = exp(2), l->exponent.value = .5;
  for (int r = 0; r < DRAWS; r++) l->draw_exponent[r] = .4 + .1 + .001 * r * r, l->draw_logk[r] = 3;
  law_pivot(l, 3, .4, 2, DRAWS);
  assert_near(l->exponent.p10, .5 - 2 * (.1 + .001 * 81), 1e-12);
  assert_near(l->exponent.p90, .5 - 2 * (.1 + .001), 1e-12);
  assert_near(l->k.p10, exp(2), 1e-12);
  assert_near(law_at(l, 1).value, exp(2), 1e-9);
  free(l);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(basic_intervals),
      cmocka_unit_test(lsq_matches_normal_equations),
      cmocka_unit_test(noise_free_is_exact),
      cmocka_unit_test(known_bias_of_the_vertex),
      cmocka_unit_test(diagnostics_of_a_valley_by_hand), cmocka_unit_test(six_ways_of_counting),
      cmocka_unit_test(edge_minima_are_left_out),
      cmocka_unit_test(few_sizes_give_no_parabola),
      cmocka_unit_test(excluded_runs_say_why),
      cmocka_unit_test(bootstrap_is_deterministic_and_tight),
      cmocka_unit_test(intervals_cover),
      cmocka_unit_test(intervals_cover_what_seeds_share),
      cmocka_unit_test(seed_noise_is_pooled), cmocka_unit_test(noise_of_cells_and_of_runs),
      cmocka_unit_test(cells_stand_together),
      cmocka_unit_test(short_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
