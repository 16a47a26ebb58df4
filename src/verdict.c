// verdict.c: the forecast of a verdict. In: fits of a study. Out: two sizes and their losses at a compute far beyond it.
//
// The recommended size is the mean, in logarithms, of what Approach 2 and Approach 3 say at that compute: both use all
// runs, and they err in different ways (a vertex leans where alpha and beta differ, a surface where it does not fit), so
// that neither is to be preferred and the mean is off by less than the worse of them. Losses come from the surface, the
// only one of them that speaks of losses beyond the budgets. Their interval has three parts: the surface's bootstrap,
// the noise of a run, and how far the surface is off: the larger of its misfit to the runs it was fitted to and of what
// it gets wrong when it is fitted to the runs below an eighth of the largest compute and asked for those above half of
// it, which is as far as the verdict lies from the study. Invariant: a function of the records alone.
// Reference: Hoffmann et al. 2022, section 4.
#include "verdict.h"
#include "plan.h"
#include "shape.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double REACH = 8;  // of the verdict over the study

// ---- The forecast -----------------------------------------------------------------------------------------

// Root mean square of what a surface through the runs of less compute gets wrong at the largest, less the runs' noise.
static double extrapolated_misfit(const Analysis *a, Err *e) {
  Points ps = a->points;
  SurfaceFit *f = mem_new(sizeof *f, "forecast", e);
  double sum = 0, sd = NAN;
  int n = 0;
  ps.p = mem_new(sizeof(Point) * (size_t)(ps.n + 1), "forecast", e);
  if (f && ps.p) {
    memcpy(ps.p, a->points.p, sizeof(Point) * (size_t)ps.n);
    for (int i = 0; i < ps.n; i++) ps.p[i].used &= ps.p[i].C <= 1.03 * ps.largest_C / REACH;
    surface_refit(f, &a->surface.s, &ps, 0, e);
    for (int i = 0; i < ps.n && f->ok; i++) {
      const Point *p = &a->points.p[i];
      if (p->used && p->C >= ps.largest_C / 2) sum += pow(p->L - surface_at(&f->s, p->N, p->D), 2), n++;
    }
    if (n) sd = sqrt(sum / n);
  }
  free(ps.p);
  free(f);
  return sd;
}

// Best size at compute C by the surface, for its value and its resamples.
static Interval surface_size(const Analysis *a, double C) {
  double draws[RESAMPLES], D, N;
  for (int r = 0; r < a->surface.resamples; r++)
    if (!surface_optimum(&a->surface.draw[r], &a->frontier.cost, C, &draws[r], &D)) draws[r] = NAN;
  if (surface_optimum(&a->surface.s, &a->frontier.cost, C, &N, &D)) return bootstrap_interval(N, draws, a->surface.resamples);
  return a->frontier.law ? law_at(&a->frontier.n_law, C) : (Interval){NAN, NAN, NAN};
}

// The family's member nearest to N, and its run at the part's compute, as number k of the pair.
static int cell_make(Forecast *f, int k, const Config *part, double N, Err *e) {
  Config c = *part, best = *part;
  double nearest = INFINITY;
  for (int i = 0; shape_family(i, &c); i++) {
    const double off = fabs(log(shape_params(&c).total / N));
    if (off < nearest) nearest = off, best = c, f->member[k] = i;
  }
  best.budget = f->budget;
  if (nearest > log(2)) return fail(e, E_CONFIG, "forecast: the family of shapes has no size near %s", text_count(N));
  if (recipe_resolve(&best, e)) return e->code;
  f->N[k] = shape_params(&best).total;
  f->D[k] = best.tokens;
  return OK;
}

static void losses_forecast(Forecast *f, const Analysis *a) {
  const uint64_t seed = rng_u64(0x76657264696374u, 0);
  const int resamples = a->surface.resamples;
  double draws[3][RESAMPLES], value[2];
  for (int r = 0; r < resamples; r++) {
    for (int k = 0; k < 2; k++) {
      const uint64_t i = (uint64_t)(4 * r + 2 * k);
      draws[k][r] = surface_at(&a->surface.draw[r], f->N[k], f->D[k]) + f->run_sd * rng_normal(seed, i) +
                    f->misfit_sd * rng_normal(seed, i + 1);
    }
    draws[2][r] = draws[1][r] - draws[0][r];
  }
  for (int k = 0; k < 2; k++) {
    value[k] = surface_at(&a->surface.s, f->N[k], f->D[k]);
    f->loss[k] = bootstrap_interval(value[k], draws[k], resamples);
  }
  f->gap = bootstrap_interval(value[1] - value[0], draws[2], resamples);
}

int forecast_make(Forecast *f, const StudyFit *s, const Config *part, Err *e) {
  const Analysis *a = &s->a[0];
  *f = (Forecast){.budget = part->budgets.v[0], .n_iso = {NAN, NAN, NAN}};
  *e = (Err){0};
  if (!a->surface.ok || !a->frontier.ok)
    return fail(e, E_RECORD, "forecast: the runs allow no surface: at least 10 are needed, of 3 sizes and 3 horizons");
  if (a->iso.law) f->n_iso = law_at(&a->iso.n_law, f->budget);
  f->n_surface = surface_size(a, f->budget);
  const bool iso = !isnan(f->n_iso.value), surface = !isnan(f->n_surface.value);
  if (!iso && !surface) return fail(e, E_RECORD, "forecast: neither Approach 2 nor 3 gives a best size");
  f->n_opt = iso && surface ? sqrt(f->n_iso.value * f->n_surface.value) : iso ? f->n_iso.value : f->n_surface.value;
  if (cell_make(f, 0, part, f->n_opt, e) || cell_make(f, 1, part, 4 * f->n_opt, e)) return e->code;
  const double about = surface_sd(&a->surface, &a->points), beyond = extrapolated_misfit(a, e);
  if (e->code) return e->code;
  f->run_sd = a->points.seed_cells ? a->points.seed_sd : about;
  f->misfit_sd = sqrt(fmax(0, pow(isnan(beyond) ? about : fmax(about, beyond), 2) - f->run_sd * f->run_sd));
  losses_forecast(f, a);
  return OK;
}

// The records of all parts named in "a b c" of at least this compute.
static int records_from(Records *out, const Study *s, const char *names, double flops, const Records *all, Err *e) {
  *out = (Records){.r = mem_new(((size_t)all->n + 1) * sizeof(Record), "records of the forecast", e)};
  for (const char *at = names; out->r && *(at += strspn(at, " "));) {
    char name[32];
    Records part;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(at, " "), at);
    at += strcspn(at, " ");
    const int index = study_part(s, name);
    if (index < 0) fail(e, E_CONFIG, "from = %.80s: the study has no part '%s'", names, name);
    if (e->code || study_part_records(s, all, index, &part, e)) break;
    for (int i = 0; i < part.n; i++) {
      bool there = record_below(&part.r[i], flops);
      for (int j = 0; j < out->n && !there; j++) there = !strcmp(out->r[j].id, part.r[i].id);
      if (!there) out->r[out->n++] = part.r[i];
    }
    records_free(&part);
  }
  if (e->code) records_free(out);
  return e->code;
}

int verdict_forecast(Forecast *f, const Study *s, int part, const Records *all, Err *e) {
  const Config *cfg = &s->part[part].cfg;
  Records rs;
  StudyFit fit;
  if (records_from(&rs, s, cfg->from, cfg->from_flops, all, e)) return e->code;
  Curves none = {.n = rs.n, .c = mem_new((size_t)(rs.n + 1) * sizeof(Curve), "curves", e)};  // finals are enough
  if (none.c && !study_fit(&fit, &rs, &none, e)) {
    forecast_make(f, &fit, cfg, e);
    study_free(&fit);
  }
  records_free(&rs);
  return e->code;
}
