// tune_fit.c: where each knob's valley has its minimum, and the rule through the minima.
//
// In: losses of a tuning study. Out: for each knob and model the minimum of a parabola in the logarithm of the knob;
// the rule's coefficients by weighted least squares through the minima (the rate against ln N and, where horizons
// differ, ln D/N; the batch against ln C; beta2 and warm-up constant), each with its interval under the noise, and
// whether it moved. The parabolas of a knob share their curvature, so that a model with few runs has a minimum too,
// and every seed has a level of its own: what a seed does to all runs of a model is no noise here, since all settings
// see the same seeds. With x and q = x^2 centred within each model and seed, curve = sum_g (Sqy - Sxq Sxy / Sxx) /
// sum_g (Sqq - Sxq^2 / Sxx), slope_g = (Sxy - curve Sxq) / Sxx, and the minimum lies at -slope_g / (2 curve).
// Invariant: a function of the losses alone; draw r adds the same noise to the same run whatever the threads.
// Reference: Frisch & Waugh 1933 (partialling out); Hoffmann et al. 2022, appendix B, tuned by hand.
#include "tune.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>

static const double SURE = 2;  // standard deviations beyond which a coefficient has moved

// ---- Valleys ----------------------------------------------------------------------------------------------

// Is run i a point of this knob's valley?
static bool in_valley(const TunePoint *p, Knob k) { return (p->knob == (int)k || p->knob == KNOBS) && !isnan(p->loss); }

// Sums over a group's points, x, q and y centred within each seed.
typedef struct Sums { int n, seeds; double xx, xq, qq, xy, qy, lo, hi; } Sums;

static void sums_add(Sums *s, const Tuning *t, Knob k, int g, int seed, const double *y) {
  double n = 0, mx = 0, mq = 0, my = 0;
  for (int i = 0; i < t->n; i++) {
    const TunePoint *p = &t->p[i];
    if (p->group != g || p->seed != seed || !in_valley(p, k)) continue;
    n++, mx += p->x, mq += p->x * p->x, my += y[i];
  }
  if (n < 2) return;  // one run of a seed says nothing of the valley's shape
  mx /= n, mq /= n, my /= n;
  for (int i = 0; i < t->n; i++) {
    const TunePoint *p = &t->p[i];
    if (p->group != g || p->seed != seed || !in_valley(p, k)) continue;
    const double x = p->x - mx, q = p->x * p->x - mq, v = y[i] - my;
    s->xx += x * x, s->xq += x * q, s->qq += q * q, s->xy += x * v, s->qy += q * v;
    s->lo = fmin(s->lo, p->x), s->hi = fmax(s->hi, p->x);
  }
  s->n += (int)n, s->seeds++;
}

// Every group's sums under a knob, from losses y[i].
static void sums_make(Sums sums[TUNE_GROUPS], const Tuning *t, Knob k, const double *y) {
  for (int g = 0; g < t->n_groups; g++) {
    sums[g] = (Sums){0};
    for (int i = 0; i < t->n; i++)
      if (t->p[i].group == g && t->p[i].knob == KNOBS) sums_add(&sums[g], t, k, g, t->p[i].seed, y);
  }
}

static double shared_curve(const Sums *sums, int groups) {
  double up = 0, down = 0;
  for (int g = 0; g < groups; g++)
    if (sums[g].xx > 0) up += sums[g].qy - sums[g].xq * sums[g].xy / sums[g].xx,
                        down += sums[g].qq - sums[g].xq * sums[g].xq / sums[g].xx;
  return down > 1e-12 ? up / down : NAN;
}

// x of a group's minimum; NaN where the parabola has none.
static double minimum(const Sums *s, double curve) {
  if (!(curve > 0) || !(s->xx > 0)) return NAN;
  return -(s->xy - curve * s->xq) / s->xx / (2 * curve);
}

static double held(double x, const Sums *s) { return isnan(x) ? NAN : fmin(fmax(x, s->lo), s->hi); }

// A knob's valleys, and the losses that they say, in y (NaN where they say nothing).
static void valleys_make(TuneFit *f, const Tuning *t, Knob k, const double *loss, double *y) {
  Sums sums[TUNE_GROUPS];
  sums_make(sums, t, k, loss);
  const double curve = f->curve[k] = shared_curve(sums, t->n_groups);
  for (int g = 0; g < t->n_groups; g++) {
    TuneValley *v = &f->valley[k][g];
    const Sums *s = &sums[g];
    *v = (TuneValley){.runs = s->n, .lo = s->lo, .hi = s->hi, .weight = s->xx, .best = {NAN, NAN, NAN}, .loss = NAN};
    if (isnan(curve) || !(s->xx > 0)) continue;
    v->slope = (s->xy - curve * s->xq) / s->xx;
    const double best = minimum(s, curve);
    v->best.value = held(best, s);
    v->edge = best != v->best.value;
    double level = 0;
    int n = 0;
    for (int i = 0; i < t->n; i++) {
      const TunePoint *p = &t->p[i];
      if (p->group == g && in_valley(p, k)) level += loss[i] - v->slope * p->x - curve * p->x * p->x, n++;
    }
    v->loss = level / n;
    for (int i = 0; i < t->n; i++) {
      const TunePoint *p = &t->p[i];
      if (p->group == g && in_valley(p, k)) y[i] = v->loss + v->slope * p->x + curve * p->x * p->x;
    }
  }
}

// Sd of a run: what is left when every setting and every seed of a model has its own level. Where no model has two
// seeds, what the parabolas of the rate leave.
static double noise_of(const TuneFit *f, const Tuning *t) {
  double rss = 0, lack = 0;
  int freedom = 0, lack_freedom = 0;
  for (int g = 0; g < t->n_groups; g++) {
    int rates = 0;
    for (int i = 0; i < t->n; i++) {
      const TunePoint *p = &t->p[i], *rule = NULL;
      const TuneValley *v = &f->valley[KNOB_RATE][g];
      if (p->group != g || isnan(p->loss)) continue;
      if (in_valley(p, KNOB_RATE) && !isnan(v->loss))
        lack += pow(p->loss - v->loss - v->slope * p->x - f->curve[KNOB_RATE] * p->x * p->x, 2), rates++;
      // Differences to the rule's run of the same seed, about their mean over the seeds: their variance is twice a run's.
      double mean = 0, own = NAN;
      int n = 0;
      for (int j = 0; j < t->n; j++) {
        const TunePoint *q = &t->p[j];
        if (q->group != g || q->knob != p->knob || q->x != p->x || isnan(q->loss) || q->knob == KNOBS) continue;
        rule = NULL;
        for (int m = 0; m < t->n && !rule; m++)
          if (t->p[m].group == g && t->p[m].knob == KNOBS && t->p[m].seed == q->seed) rule = &t->p[m];
        if (!rule || isnan(rule->loss)) continue;
        mean += q->loss - rule->loss, n++;
        if (j == i) own = q->loss - rule->loss;
      }
      if (n < 2 || isnan(own)) continue;
      rss += pow(own - mean / n, 2) * n / (n - 1) / 2, freedom++;
    }
    if (rates > 3) lack_freedom += rates - 2;
  }
  return freedom >= 3 ? sqrt(rss / freedom) : lack_freedom > 1 ? sqrt(lack / (lack_freedom - 1)) : NAN;
}

// ---- The rule through the minima ----------------------------------------------------------------------------

enum { LAW_MAX = 3 };
typedef struct Law {
  int n;            // coefficients: level, slope, horizon as far as the runs tell them apart
  double mean;      // of the slope's variable, weighted
  double c[LAW_MAX];
  int freedom;      // minima beyond the coefficients
  double rss;       // weighted squares of what the law leaves of them
} Law;

static double slope_variable(Knob k, const TuneGroup *g) { return log(k == KNOB_RATE ? g->N : g->C); }

// How far the rule at this group, as its coefficients say it, lies from where the runs were centred: the cap of the rate
// and whole sequences come between.
static double rule_offset(Knob k, const TuneGroup *g) {
  const Config *c = &g->base;
  if (k == KNOB_RATE)
    return log(c->lr / (c->lr_at * pow(g->N / RECIPE_PARAMS, c->lr_exponent) *
                        pow(g->D / g->N / RECIPE_RATIO, c->lr_horizon)));
  return k == KNOB_BATCH ? log(c->batch_tokens / (c->batch_at * pow(g->C / RECIPE_FLOPS, c->batch_exponent))) : 0;
}

// Weighted least squares of the minima, as a correction to the rule in logarithms.
static Law law_of(Knob k, const Tuning *t, const double best[TUNE_GROUPS], const TuneValley *v) {
  Law law = {0};
  double X[TUNE_GROUPS * LAW_MAX], y[TUNE_GROUPS], weight = 0, rss, lo = INFINITY, hi = 0, s0 = INFINITY, s1 = -INFINITY;
  int n = 0;
  for (int g = 0; g < t->n_groups; g++) {
    if (isnan(best[g])) continue;
    const double s = slope_variable(k, &t->group[g]), ratio = t->group[g].D / t->group[g].N;
    weight += v[g].weight, law.mean += v[g].weight * s;
    s0 = fmin(s0, s), s1 = fmax(s1, s), lo = fmin(lo, ratio), hi = fmax(hi, ratio);
    n++;
  }
  if (!n) return law;
  law.mean /= weight;
  const bool scaled = k == KNOB_RATE || k == KNOB_BATCH;
  int p = 1;
  if (scaled && n >= 2 && s1 > s0 + log(1.5)) p = 2;
  if (k == KNOB_RATE && p == 2 && n >= 3 && hi > 3 * lo) p = 3;
  n = 0;
  for (int g = 0; g < t->n_groups; g++) {
    if (isnan(best[g])) continue;
    const double w = sqrt(v[g].weight), row[LAW_MAX] = {1, slope_variable(k, &t->group[g]) - law.mean,
                                                        log(t->group[g].D / t->group[g].N / RECIPE_RATIO)};
    for (int j = 0; j < p; j++) X[n * p + j] = w * row[j];
    y[n++] = w * (best[g] + rule_offset(k, &t->group[g]));
  }
  if (lsq_solve(n, p, X, y, law.c, &rss, NULL)) law.n = p, law.rss = rss, law.freedom = n - p;
  return law;
}

static double deviation(const double *draws, int n) {
  double mean = 0, m2 = 0;
  int kept = 0;
  for (int r = 0; r < n; r++) {
    if (isnan(draws[r])) continue;
    const double d = draws[r] - mean;
    mean += d / ++kept;
    m2 += d * (draws[r] - mean);
  }
  return kept > 1 && 2 * kept >= n ? sqrt(m2 / (kept - 1)) : NAN;
}

// How a coefficient shows and changes: a factor on a value, a factor on its distance from 1, or a term of a power.
typedef enum { FACTOR, COMPLEMENT, TERM } ChangeKind;

static double changed(ChangeKind kind, double was, double c) {
  return kind == COMPLEMENT ? 1 - (1 - was) * exp(c) : kind == FACTOR ? was * exp(c) : was + c;
}

static TuneCoef coef_of(Knob k, ChangeKind kind, double was, double c, double *draws) {
  const double sd = deviation(draws, RESAMPLES);
  const Interval i = bootstrap_interval(c, draws, RESAMPLES);
  TuneCoef q = {.knob = k, .was = was, .moved = fabs(c) > SURE * sd};
  q.found = (Interval){changed(kind, was, c), changed(kind, was, i.p10), changed(kind, was, i.p90)};
  if (kind == COMPLEMENT) q.found = (Interval){q.found.value, q.found.p90, q.found.p10};
  q.now = q.moved ? q.found.value : was;
  return q;
}

// A knob's coefficients from its law and the law's draws, and the rule with those that moved. A level is found at the
// middle of the models, the rule states it elsewhere: a new slope turns about the middle.
static void coefs_add(TuneFit *f, Knob k, const Law *law, double (*draws)[RESAMPLES], double smallest) {
  Config *r = &f->rule;
  const bool rate = k == KNOB_RATE;
  const double middle = exp(law->mean);
  if (law->n < 1) return;
  TuneCoef *q = &f->coef[f->n];
  f->n += law->n;
  assert(f->n <= TUNE_COEFS);
  if (k == KNOB_BETA2) {
    q[0] = coef_of(k, COMPLEMENT, r->beta2_small, law->c[0], draws[0]);
    snprintf(q[0].what, sizeof q[0].what, "beta2 of small batches");
    r->beta2_small = q[0].now;
  } else if (k == KNOB_WARMUP) {
    q[0] = coef_of(k, FACTOR, r->warmup, law->c[0], draws[0]);
    snprintf(q[0].what, sizeof q[0].what, "warm-up, of the horizon");
    r->warmup = q[0].now;
  } else {
    double *at = rate ? &r->lr_at : &r->batch_at, *power = rate ? &r->lr_exponent : &r->batch_exponent;
    const double unit = rate ? RECIPE_PARAMS : RECIPE_FLOPS;
    q[0] = coef_of(k, FACTOR, *at * pow(middle / unit, *power), law->c[0], draws[0]);
    snprintf(q[0].what, sizeof q[0].what, rate ? "peak rate at %s parameters" : "tokens a step at %s FLOPs",
             rate ? text_count(middle) : text_budget(middle));
    if (law->n > 1) {
      q[1] = coef_of(k, TERM, *power, law->c[1], draws[1]);
      snprintf(q[1].what, sizeof q[1].what, rate ? "its power of N" : "its power of C");
      *power = q[1].now;
    }
    if (law->n > 2) {
      q[2] = coef_of(k, TERM, r->lr_horizon, law->c[2], draws[2]);
      snprintf(q[2].what, sizeof q[2].what, "its power of D/N");
      r->lr_horizon = q[2].now;
    }
    bool moved = false;
    for (int j = 0; j < law->n; j++) moved |= q[j].moved;
    if (moved) *at = q[0].now * pow(unit / middle, *power);
    // Below the smallest model that was measured the rate stays what it is there.
    if (rate && moved) r->lr_max = *at * pow(smallest / unit, *power);
  }
}

// The models' minima may lie about the law by more than the noise of their runs says (by Birge's ratio: the variance of a
// minimum is noise^2 / (4 curve^2 weight)): another choice of models would have given another law, so its interval is
// wider by as much.
static double scatter(const Law *law, double noise, double curve) {
  const double unit = noise / (2 * curve);
  return law->freedom > 0 && unit > 0 ? fmax(1, sqrt(law->rss / law->freedom) / unit) : 1;
}

static int knob_fit(TuneFit *f, const Tuning *t, Knob k, const double *y, double *noisy, Err *e) {
  double(*draws)[RESAMPLES] = mem_new((TUNE_GROUPS + LAW_MAX) * sizeof *draws, "draws of the tuning", e);
  if (!draws) return e->code;
  double best[TUNE_GROUPS];
  for (int g = 0; g < t->n_groups; g++) best[g] = f->valley[k][g].best.value;
  const Law law = law_of(k, t, best, f->valley[k]);
  for (int r = 0; r < RESAMPLES; r++) {
    Sums sums[TUNE_GROUPS];
    const uint64_t seed = rng_u64(rng_u64(0x74756e65u, (uint64_t)k), (uint64_t)r);
    for (int i = 0; i < t->n; i++) noisy[i] = y[i] + f->noise * rng_normal(seed, (uint64_t)i);
    sums_make(sums, t, k, noisy);
    const double curve = shared_curve(sums, t->n_groups);
    for (int g = 0; g < t->n_groups; g++) best[g] = draws[g][r] = held(minimum(&sums[g], curve), &sums[g]);
    const Law drawn = law_of(k, t, best, f->valley[k]);
    for (int j = 0; j < LAW_MAX; j++) draws[TUNE_GROUPS + j][r] = j < drawn.n && drawn.n == law.n ? drawn.c[j] : NAN;
  }
  const double wider = scatter(&law, f->noise, f->curve[k]);
  for (int j = 0; j < law.n; j++)
    for (int r = 0; r < RESAMPLES; r++) draws[TUNE_GROUPS + j][r] = law.c[j] + wider * (draws[TUNE_GROUPS + j][r] - law.c[j]);
  for (int g = 0; g < t->n_groups; g++)
    f->valley[k][g].best = bootstrap_interval(f->valley[k][g].best.value, draws[g], RESAMPLES);
  double smallest = INFINITY;
  for (int g = 0; g < t->n_groups; g++) smallest = fmin(smallest, t->group[g].N);
  coefs_add(f, k, &law, draws + TUNE_GROUPS, smallest);
  free(draws);
  return OK;
}

int tune_fit(TuneFit *f, const Tuning *t, Err *e) {
  *f = (TuneFit){.rule = t->old};
  double *loss = mem_new(3 * (size_t)(t->n + 1) * sizeof *loss, "losses of the tuning", e);
  if (!loss) return e->code;
  double *y = loss + t->n, *noisy = y + t->n;
  for (int i = 0; i < t->n; i++) loss[i] = t->p[i].loss;
  *e = (Err){0};
  valleys_make(f, t, KNOB_RATE, loss, y);
  f->noise = noise_of(f, t);
  for (int k = 0; k < KNOBS && e->code == OK; k++) {
    for (int i = 0; i < t->n; i++) y[i] = NAN;
    valleys_make(f, t, (Knob)k, loss, y);
    knob_fit(f, t, (Knob)k, y, noisy, e);
  }
  free(loss);
  return e->code;
}
