// forecast.c: the estimators' self-test on runs that are only planned.
//
// In: a study, a law and its noise. Out: how far each approach's `a` will be off and how wide its interval will be. The
// plan's later stages follow from losses on the law without noise. Approach 1 reads training curves; here a run's loss
// on its way is the law's at the tokens seen, and above that what the cosine has not annealed yet: EXCESS (1 - u)^POWER
// at the share u of the run. Invariant: pure; a function of the arguments alone.
#include "forecast.h"
#include "plan.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

// English in bytes, T = 128: the surface through the 195 runs from 1e11 to 1e13 FLOPs of the finished study, and its noise:
// `make study`, then `build/isoflop fit out/study` (docs/study.md).
const ForecastLaw forecast_measured = {{1.1432, 17.0261, 52.2202, .342641, .344452}, .0127, .0014};
// Of the same runs: mean over them of the smoothed curve.tsv over the law at the tokens seen, less the same at the end, fitted
// from u = .4 on. Per run it scatters by .04 to .06.
static const double EXCESS = .12, POWER = 1.75;

// ---- The runs -------------------------------------------------------------------------------------------

static Record record_of(const Cell *c, const Surface *law) {
  Record r = {.status = "finished", .cfg = c->cfg, .params = shape_params(&c->cfg), .epochs = c->epochs,
              .flops_per_token = shape_flops(&c->cfg), .tokens = c->cfg.tokens, .val_loss_se = NAN};
  memcpy(r.id, c->id, sizeof r.id);
  r.val_loss = surface_at(law, r.params.total, r.tokens);
  return r;
}

// A record for every cell of every stage; the verdict's pair is none of them. parts[i]: who wants record i.
static int records_plan(Records *rs, uint64_t **parts, const Study *s, const Surface *law, Err *e) {
  *rs = (Records){0};
  *parts = NULL;
  for (int before = -1; before < rs->n;) {
    Plan p;
    if (plan_make(&p, s, rs->n ? rs : NULL, e)) break;
    before = rs->n;
    Record *r = mem_new((size_t)(p.n + 1) * sizeof *r, "planned runs", e);
    uint64_t *bits = mem_new((size_t)(p.n + 1) * sizeof *bits, "planned runs", e);
    for (int i = 0; i < p.n && r && bits; i++) r[i] = record_of(&p.cells[i], law), bits[i] = p.cells[i].parts;
    records_free(rs), free(*parts);
    *rs = (Records){.n = r ? p.n : 0, .r = r}, *parts = bits;
    plan_free(&p);
    if (e->code) break;
  }
  return e->code;
}

// Leaves those that the laws are fitted to.
static void records_keep(Records *rs, const uint64_t *parts, const Study *s) {
  const int isoflop = study_part(s, "isoflop"), horizons = study_part(s, "horizons");
  uint64_t wanted = 0;
  if (isoflop >= 0) wanted |= 1ull << isoflop;
  if (horizons >= 0) wanted |= 1ull << horizons;
  if (!wanted) wanted = 1;
  int kept = 0;
  for (int i = 0; i < rs->n; i++) {
    if (!(parts[i] & wanted)) continue;
    rs->r[kept] = rs->r[i];
    rs->r[kept++].cfg.from_flops = s->part[__builtin_ctzll(parts[i] & wanted)].cfg.from_flops;
  }
  rs->n = kept;
}

static int curves_plan(Curves *cs, const Records *rs, const Surface *law, Err *e) {
  enum { POINTS = 200 };  // as train.c leaves
  *cs = (Curves){.n = rs->n, .c = mem_new((size_t)(rs->n + 1) * sizeof(Curve), "curves", e)};
  for (int i = 0; cs->c && i < rs->n && e->code == OK; i++) {
    Curve *c = &cs->c[i];
    c->tokens = mem_new(2 * POINTS * sizeof(double), "curves", e);
    if (!c->tokens) break;
    c->n = POINTS, c->loss = c->tokens + POINTS;
    for (int k = 0; k < POINTS; k++) {
      const double u = (k + 1.) / POINTS;
      c->tokens[k] = u * rs->r[i].tokens;
      c->loss[k] = surface_at(law, rs->r[i].params.total, c->tokens[k]) + EXCESS * pow(1 - u, POWER);
    }
  }
  return e->code;
}

// ---- The test -------------------------------------------------------------------------------------------

static int analysis_plan(Analysis *a, const Records *rs, const Curves *cs, const ForecastLaw *law, Err *e) {
  double C[MAX_VALLEYS];
  int n = 0;
  if (points_make(&a->points, rs, conventions, e) || surface_refit(&a->surface, &law->surface, &a->points, 0, e) ||
      iso_fit(&a->iso, &a->points, conventions, 0, e))
    return e->code;
  if (!a->surface.ok) return fail(e, E_CONFIG, "forecast: the plan has too few runs, sizes or horizons for a surface");
  for (int i = 0; i < a->iso.n; i++)
    if (!a->iso.v[i].below) C[n++] = a->iso.v[i].C;
  a->ranking = ranking_new(&a->points, rs, cs, e);
  return e->code ? e->code : frontier_fit(&a->frontier, &a->surface, &a->points, n, C, e);
}

int forecast_run(SelfTest *t, int *runs, const Study *s, const ForecastLaw *law, int draws, Err *e) {
  Records rs;
  Curves cs = {0};
  uint64_t *parts;
  const Noise noise = {law->run_sd, law->cell_sd};
  *e = (Err){0};
  Analysis *a = mem_new(sizeof *a, "forecast", e);
  if (!a) return e->code;
  if (records_plan(&rs, &parts, s, &law->surface, e) == OK) {
    records_keep(&rs, parts, s);
    if (!curves_plan(&cs, &rs, &law->surface, e) && !analysis_plan(a, &rs, &cs, law, e))
      selftest_run(t, a, &noise, draws, e);
    points_free(&a->points);
    ranking_free(a->ranking);
  }
  *runs = rs.n;
  if (cs.c) curves_free(&cs);
  records_free(&rs);
  free(parts);
  free(a);
  return e->code;
}

void forecast_print(const SelfTest *t, int runs, const ForecastLaw *law, FILE *f) {
  static const char *const approach[][2] = {{"1", "envelope"}, {"2", "IsoFLOP parabolas"}, {"3-frontier", "surface"}};
  const Surface *s = &law->surface;
  fprintf(f, "Forecast from %d drawn studies of the %d planned runs: L = %.4g + %.4g / N^%.4g + %.4g / D^%.4g%s, noise sd "
          "%.4f nats a run\n", t->draws, runs, s->E, s->A, s->alpha, s->B, s->beta,
          memcmp(s, &forecast_measured.surface, sizeof *s) ? "" : " (our study on English bytes)", law->run_sd);
  fprintf(f, "  approach                a true   estimates, 80 %%      bias   width of the interval  holds the truth\n");
  for (size_t i = 0; i < sizeof approach / sizeof *approach; i++) {
    const SelfTestRow *r = selftest_row(t, approach[i][0], "a");
    if (!r || !r->draws) {
      fprintf(f, "  %-2.1s %-20s no estimate\n", approach[i][0], approach[i][1]);
      continue;
    }
    fprintf(f, "  %-2.1s %-20s %6.3f   %.3f to %.3f   %+.3f   %21.3f  %.0f %% (%.0f to %.0f)\n", approach[i][0], approach[i][1],
            r->truth, r->truth + r->bias.p10, r->truth + r->bias.p90, r->bias.value, r->width, 100 * r->coverage.value,
            100 * r->coverage.p10, 100 * r->coverage.p90);
  }
  for (int i = 0; i < t->rows; i++) {
    const SelfTestRow *r = &t->row[i];
    if (strncmp(r->quantity, "N_opt@", 6) || !r->draws) continue;
    fprintf(f, "     N_opt at %-9s %8s   %.1f %% to %+.1f %% off; its interval holds the truth in %.0f %%\n", r->quantity + 6,
            text_count(r->truth), 100 * r->bias.p10, 100 * r->bias.p90, 100 * r->coverage.value);
  }
}
