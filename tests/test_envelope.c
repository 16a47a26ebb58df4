// test_envelope.c: Approach 1 on curves whose frontier is known.
#include "fit.h"
#include "testing.h"
#include <omp.h>

enum { SIZES = 20, HORIZONS = 6, RUNS = SIZES * HORIZONS, POINTS = 100 };
static const double RATIO = 1.35;  // between sizes
static const Surface toy = {1.2, 30, 50, .35, .33};

// Three values of two sizes are no law, wherever they stand.
UNIT(a_law_needs_three_sizes) {
  static EnvelopePoint p[ENVELOPE_POINTS];
  static PowerLaw law;
  for (int k = 0; k < ENVELOPE_POINTS; k++)
    p[k] = (EnvelopePoint){.kind = k < 3 ? ENVELOPE_USED : ENVELOPE_NONE, .C = pow(10, 9 + k % 3), .N = k == 1 ? 3e6 : 2e6, .D = 1e7};
  assert_false(envelope_laws(&law, NULL, 0, p, 0, ENVELOPE_POINTS));
  p[2].N = 4e6;
  assert_true(envelope_laws(&law, NULL, 0, p, 0, ENVELOPE_POINTS));
}

typedef struct Made {
  Records rs;
  Curves cs;
  Points ps;
} Made;

// Fixed sizes with horizons over 16x around the best one, each with its own cosine: the loss is the surface's, plus
// `gap` times what is left of the learning rate.
static Made made(double gap, double noise) {
  Made m = {.rs = {.n = RUNS, .r = calloc(RUNS, sizeof(Record))}, .cs = {.n = RUNS, .c = calloc(RUNS, sizeof(Curve))}};
  double G = pow(toy.alpha * toy.A / (toy.beta * toy.B), 1 / (toy.alpha + toy.beta)), a = surface_a(&toy);
  Err e;
  for (int i = 0; i < RUNS; i++) {
    double n = 1e4 * pow(RATIO, i % SIZES), C = 6 * pow(n / G, 1 / a),
           D = C / (6 * n) * pow(16, (i / SIZES) / (HORIZONS - 1.) - .5);
    Record *r = &m.rs.r[i];
    Curve *c = &m.cs.c[i];
    snprintf(r->id, sizeof r->id, "%016x", (unsigned)i);
    strcpy(r->status, "finished");
    r->params.total = n, r->params.nonemb = n / 2, r->tokens = D, r->val_loss = surface_at(&toy, n, D);
    r->flops_per_token = (Flops){6 * n, 5 * n, 6 * n, 3 * n};
    c->n = POINTS, c->tokens = calloc(2 * POINTS, sizeof(double)), c->loss = c->tokens + POINTS;
    for (int k = 0; k < POINTS; k++) {
      double u = (k + 1.) / POINTS;
      c->tokens[k] = u * D;
      c->loss[k] = surface_at(&toy, n, u * D) + gap * (1 + cos(M_PI * u)) / 2 +
                   noise * rng_normal(9, (uint64_t)(i * POINTS + k));
    }
  }
  assert_int_equal(points_make(&m.ps, &m.rs, &conventions[0], &e), OK);
  return m;
}
static void drop(Made *m) {
  points_free(&m->ps);
  curves_free(&m->cs);
  records_free(&m->rs);
}

static Envelope *fitted(const Made *m) {
  Err e;
  Envelope *f = malloc(sizeof *f);
  Ranking *q = ranking_new(&m->ps, &m->rs, &m->cs, &e);
  assert_int_equal(envelope_fit(f, &m->ps, q, &e), OK);
  ranking_free(q);
  return f;
}

// The winners' ln N lie on stairs of height h about the line; a horizon from a ladder with steps of 16^(1/5) shifts the
// best size at its compute by less than one stair. A deviation of at most h over a span w changes the slope by no more
// than h (w^2 / 4) / (w^3 / 12).
UNIT(noise_free_slope) {
  Made m = made(.05, 0);
  Envelope *f = fitted(&m);
  assert_true(f->ok);
  double lo = INFINITY, hi = 0;
  int used = 0;
  for (int k = 0; k < ENVELOPE_POINTS; k++) {
    const EnvelopePoint *p = &f->p[k];
    if (p->kind != ENVELOPE_USED) continue;
    used++, lo = fmin(lo, p->C), hi = fmax(hi, p->C);
    const Record *r = m.ps.p[p->point].run;
    assert_true(p->D >= .85 * r->tokens && p->D <= r->tokens * (1 + 1e-9));
    assert_near(p->C / (6 * p->N * p->D), 1, 1e-9);
    assert_true(p->N > 1e4 * 1.01 && p->N < 1e4 * pow(RATIO, SIZES - 1) * .99);
    // No run is better at this compute than the surface allows.
    double G = pow(toy.alpha * toy.A / (toy.beta * toy.B), 1 / (toy.alpha + toy.beta)),
           n = G * pow(p->C / 6, surface_a(&toy));
    assert_true(p->L > surface_at(&toy, n, p->C / (6 * n)) - 1e-4);
  }
  assert_int_equal(used, f->count[ENVELOPE_USED]);
  assert_true(used > ENVELOPE_POINTS / 4);
  double bound = 3 * log(RATIO) / log(hi / lo);
  assert_true(bound < .13);
  assert_near(f->n_law.exponent.value, surface_a(&toy), bound);
  assert_near(f->n_law.exponent.value + f->d_law.exponent.value, 1, 1e-9);  // C = 6ND
  free(f);
  drop(&m);
}

// Where runs are as good before the end of their cosine as at it, most winners stand in for runs that were not made.
UNIT(early_winners_are_left_out) {
  Made late = made(.05, 0), early = made(0, 0);
  Envelope *f = fitted(&late), *g = fitted(&early);
  assert_true(g->count[ENVELOPE_EARLY] > f->count[ENVELOPE_EARLY]);
  assert_int_equal(g->count[0] + g->count[1] + g->count[2] + g->count[3], ENVELOPE_POINTS);
  free(f), free(g);
  drop(&late), drop(&early);
}

// The smoother is exact on a straight line, at its ends too.
UNIT(smoothing_has_no_lag) {
  Made m = made(0, 0);
  for (int i = 0; i < RUNS; i++)
    for (int k = 0; k < POINTS; k++) m.cs.c[i].loss[k] = 3 - .01 * (i / SIZES) - m.cs.c[i].tokens[k] / m.rs.r[i].tokens;
  Envelope *f = fitted(&m);
  for (int k = 0; k < ENVELOPE_POINTS; k++) {
    const EnvelopePoint *p = &f->p[k];
    if (p->kind == ENVELOPE_NONE) continue;
    const Record *r = m.ps.p[p->point].run;
    int horizon = (int)(r - m.rs.r) / SIZES;
    // Linear in tokens; interpolation is linear in their logarithm: between two points less than u^2 / 8 of ln.
    assert_near(p->L, 3 - .01 * horizon - p->D / r->tokens, 2e-4 + 1e-9);
  }
  free(f);
  drop(&m);
}

// An analysis of curves that end on the toy surface, as a study has it.
static Analysis *analysed(const Made *m) {
  Err e;
  Analysis *a = calloc(1, sizeof *a);
  double C[9];
  a->points = m->ps;
  for (int i = 0; i < 9; i++) C[i] = m->ps.largest_C / pow(3, 8 - i);
  a->ranking = ranking_new(&m->ps, &m->rs, &m->cs, &e);
  assert_int_equal(envelope_fit(&a->envelope, &a->points, a->ranking, &e), OK);
  assert_int_equal(surface_fit(&a->surface, &a->points, 0, &e), OK);
  assert_int_equal(iso_fit(&a->iso, &a->points, conventions, 0, &e), OK);
  assert_int_equal(frontier_fit(&a->frontier, &a->surface, &a->points, 9, C, &e), OK);
  return a;
}

// The interval takes off the error that the envelope makes on this grid, where percentiles of draws would put it in twice:
// without noise every draw is the study itself, so the interval is the truth. With noise it is wider, and the same for
// any number of threads. Without a surface there is none.
UNIT(intervals_and_threads) {
  Err e;
  Made m = made(.05, 0);
  Analysis *a = analysed(&m);
  const Interval *x = &a->envelope.n_law.exponent;
  const double truth = a->frontier.n_law.exponent.value, error = x->value - truth;
  const int threads = omp_get_max_threads();
  assert_true(fabs(error) > 1e-3);
  assert_int_equal(envelope_bootstrap(&a->envelope, a->ranking, &a->points, &a->surface, &a->frontier, &(Noise){0, 0}, 50,
                                      &e), OK);
  // As the self-test below: the curves end within 1e-4 of the surface, so hardly a winner changes.
  assert_near(x->p10, truth, .2 * fabs(error));
  assert_near(x->p90, truth, .2 * fabs(error));
  Envelope *two = malloc(sizeof *two);
  for (int k = 0; k < 2; k++) {
    omp_set_num_threads(k ? 3 : 1);
    assert_int_equal(envelope_bootstrap(&a->envelope, a->ranking, &a->points, &a->surface, &a->frontier, &(Noise){.01, 0},
                                        200, &e), OK);
    if (!k) *two = a->envelope;
  }
  omp_set_num_threads(threads);
  assert_memory_equal(two, &a->envelope, sizeof *two);
  assert_true(x->p10 < x->p90 - .01);
  a->surface.ok = false, x = NULL;
  a->envelope.n_law.exponent.p10 = NAN;
  assert_int_equal(envelope_bootstrap(&a->envelope, a->ranking, &a->points, &a->surface, &a->frontier, &(Noise){.01, 0},
                                      200, &e), OK);
  assert_true(isnan(a->envelope.n_law.exponent.p10));
  ranking_free(a->ranking);
  free(two), free(a);
  drop(&m);
}

// Without noise the self-test draws the study that there is: the error it foretells is the error that was made. The
// smoothed curve ends within 1e-4 of the surface, so hardly a winner changes.
UNIT(selftest_foretells_the_bias) {
  Err e;
  Made m = made(.05, 0);
  Analysis *a = analysed(&m);
  SelfTest *t = malloc(sizeof *t);
  assert_int_equal(selftest_run(t, a, &(Noise){0, 0}, 12, &e), OK);
  const SelfTestRow *r = selftest_row(t, "1", "a");
  assert_non_null(r);
  assert_int_equal(r->draws, 12);
  assert_near(r->truth, surface_a(&toy), 1e-3);  // C = 6ND
  const double made_error = a->envelope.n_law.exponent.value - r->truth;
  assert_true(fabs(made_error) > 1e-3);
  assert_near(r->bias.value, made_error, .2 * fabs(made_error));
  ranking_free(a->ranking);
  free(t), free(a);
  drop(&m);
}

// On a straight frontier the thirds are what the grid makes of them, whatever that is; a bend of the curves' own shows.
UNIT(curvature_needs_more_than_the_grid) {
  Err e;
  for (int bent = 0; bent < 2; bent++) {
    Made m = made(.05, 0);
    // Small models get better than the surface says, the smaller the more: the frontier is flatter at first.
    for (int i = 0; i < RUNS && bent; i++)
      for (int k = 0; k < POINTS; k++) m.cs.c[i].loss[k] -= .05 * pow(fmax(0, log(3e5 / m.rs.r[i].params.total)), 2);
    Analysis *a = analysed(&m);
    Curvature *c = malloc(sizeof *c);
    a->noise = (Noise){.002, 0};
    assert_int_equal(curvature_fit(c, a, &e), OK);
    assert_true(c->ok);
    int outside = 0;
    for (int j = 0; j < 3; j++) {
      assert_true(c->C[j] < c->C[j + 1]);
      assert_near(c->surface[j], surface_a(&toy), 1e-3);
      // A single curve set lies within twice the draws' half width (2.6 sd) of their mean.
      const double half = fmax(c->null[j].p90 - c->null[j].p10, .02) / 2;
      outside += fabs(c->law[j].exponent.value - c->null[j].value) > 2 * half;
    }
    assert_true(bent ? outside > 0 : outside == 0);
    ranking_free(a->ranking);
    free(c), free(a);
    drop(&m);
  }
}

UNIT(no_curves_no_envelope) {
  Made m = made(.05, 0);
  for (int i = 2; i < RUNS; i++) m.cs.c[i].n = 0;
  Envelope *f = fitted(&m);
  assert_false(f->ok);
  assert_int_equal(f->runs, 0);
  free(f);
  drop(&m);
}

UNIT(curves_are_read) {
  Err e;
  Record r[2] = {{.id = "0a"}, {.id = "0b"}};
  Records rs = {.n = 2, .r = r};
  Curves cs;
  assert_int_equal(dir_make(in("runs/0a"), &e), OK);
  write_text(in("runs/0a/curve.tsv"),
             "step\ttokens\tflops\tlr\ttrain_loss\tval_loss\n2\t64\t1e6\t.1\t5.5\t\n4\t128\t2e6\t.1\t4.25\t4.3\n");
  assert_int_equal(curves_load(&cs, folder, &rs, &e), OK);
  assert_int_equal(cs.n, 2);
  assert_int_equal(cs.c[0].n, 2);
  assert_int_equal(cs.c[1].n, 0);
  assert_near(cs.c[0].tokens[1], 128, 0);
  assert_near(cs.c[0].loss[1], 4.25, 0);
  curves_free(&cs);
  write_text(in("runs/0a/curve.tsv"),
             "step\ttokens\tflops\tlr\ttrain_loss\tval_loss\n2\t64\t1e6\t.1\t5.5\t\n4\t64\t2e6\t.1\t4.25\t\n");
  assert_refused(curves_load(&cs, folder, &rs, &e), &e, E_RECORD, "0a/curve.tsv:3:");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_law_needs_three_sizes), cmocka_unit_test(noise_free_slope),
      cmocka_unit_test(early_winners_are_left_out),
      cmocka_unit_test(smoothing_has_no_lag),
      cmocka_unit_test(intervals_and_threads),
      cmocka_unit_test(selftest_foretells_the_bias),
      cmocka_unit_test(curvature_needs_more_than_the_grid),
      cmocka_unit_test(no_curves_no_envelope),
      cmocka_unit_test(curves_are_read),
  };
  return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
