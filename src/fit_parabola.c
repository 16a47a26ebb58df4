// fit_parabola.c: Approach 2 of Hoffmann et al. 2022 (section 3.2): IsoFLOP profiles.
//
// In: points grouped by budget. Out: for each budget a parabola L(ln N) through its final losses, the vertex (N_opt,
// D_opt, loss) and how well the parabola holds; through the vertices the power laws N_opt = k C^a and D_opt = k' C^b;
// for all of it 10th and 90th percentiles. The invariant: a vertex that the sampled sizes do not bracket never enters a
// law.
//
// Bootstrap: the sizes of a budget are chosen, not sampled, so they stay, and residuals are resampled with replacement
// within each budget (Efron & Tibshirani 1993, section 9.4). Drawing the runs themselves makes intervals of `a` 1.6 times
// too wide at seven runs a budget, since it now and then draws one side of a valley only. What is drawn is the residual
// of a size, the mean over its seeds: sizes differ by more than their runs do (depth, heads, the rule), and seeds do not
// average that away; residuals drawn run by run take six seeds for six sizes. The residuals hold the noise between seeds
// already, so none is added, and it is not taken for a lower bound of theirs either: the larger of two estimates is
// too large on average, and noise falls with compute.
//
// Intervals are basic ones (law_pivot): a vertex is a quotient, -c1 / 2 c2, and noise in c2 throws it away from the middle
// of the sampled sizes, by a few percent where a valley is flat; the resamples' vertices err by as much from the parabola
// that they were drawn from. A budget has few sizes, so errors are widened to those of Student's t, with n - 3 degrees
// of freedom for a budget and with Satterthwaite's for the laws.
//
// The vertex is biased when alpha != beta, more on wide grids (the valley is not a parabola): the cubic term's t-value
// shows it.
#include "fit.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>

const char *const valley_flag_text[] = {
    [VALLEY_OK] = "",
    [VALLEY_FEW] = "too few sizes",
    [VALLEY_FLAT] = "no minimum",
    [VALLEY_OUTSIDE] = "minimum outside the sampled sizes",
    [VALLEY_EDGE] = "minimum at the edge of the sampled sizes",
    [VALLEY_BELOW] = "below from_flops",
};

bool parabola_fit(Parabola *q, int n, const double *x, const double *y) {
  assert(n <= MAX_VALLEY_RUNS);
  double X[MAX_VALLEY_RUNS][3], t[MAX_VALLEY_RUNS];
  q->x0 = 0;
  for (int i = 0; i < n; i++) q->x0 += x[i] / n;
  for (int i = 0; i < n; i++) {
    double d = x[i] - q->x0;
    X[i][0] = 1, X[i][1] = d, X[i][2] = d * d;
    t[i] = y[i];
  }
  return lsq_solve(n, 3, &X[0][0], t, q->c, &q->rss, NULL);
}

double parabola_at(const Parabola *q, double x) {
  double d = x - q->x0;
  return q->c[0] + d * (q->c[1] + d * q->c[2]);
}

static double vertex(const Parabola *q) { return q->x0 - q->c[1] / (2 * q->c[2]); }

// The used points of a valley, x = ln N ascending, y = loss.
typedef struct Sample {
  int n;
  double x[MAX_VALLEY_RUNS], y[MAX_VALLEY_RUNS];
} Sample;

static int distinct(const Sample *s) {
  int n = 0;
  for (int i = 0; i < s->n; i++) {
    bool seen = false;
    for (int j = 0; j < i && !seen; j++) seen = s->x[j] == s->x[i];
    n += !seen;
  }
  return n;
}

bool valley_holds(const Valley *v, const Point *p) { return v->below ? p->below : p->used; }

// At least two sizes must lie on either side: a vertex between the last two points rests on one run.
static ValleyFlag valley_check(const Sample *s, const Parabola *q) {
  if (!(q->c[2] > 0)) return VALLEY_FLAT;
  double lo = s->x[0], hi = s->x[s->n - 1], lo2 = hi, hi2 = lo, at = vertex(q);
  for (int i = 0; i < s->n; i++) {
    if (s->x[i] > lo && s->x[i] < lo2) lo2 = s->x[i];
    if (s->x[i] < hi && s->x[i] > hi2) hi2 = s->x[i];
  }
  return at < lo || at > hi ? VALLEY_OUTSIDE : at < lo2 || at > hi2 ? VALLEY_EDGE : VALLEY_OK;
}

// t-value of c3 in L = c0 + c1 d + c2 d^2 + c3 d^3: beyond +-2 or so the valley leans, and the vertex with it.
static double cubic_t(const Sample *s, double x0) {
  double X[MAX_VALLEY_RUNS][4], t[MAX_VALLEY_RUNS], c[4], var[4], rss;
  if (s->n < 5) return NAN;
  for (int i = 0; i < s->n; i++) {
    double d = s->x[i] - x0;
    X[i][0] = 1, X[i][1] = d, X[i][2] = d * d, X[i][3] = d * d * d;
    t[i] = s->y[i];
  }
  if (!lsq_solve(s->n, 4, &X[0][0], t, c, &rss, var)) return NAN;
  return c[3] / sqrt(var[3] * rss / (s->n - 4));
}

// How the tokens of a budget fall with N: ln D as a parabola in ln N. Exact for C = 6ND; for exact FLOPs, where the
// cost of a token is no power of N, it follows the family's shapes.
static bool tokens_fit(Parabola *q, const Points *ps, const Valley *v) {
  double x[MAX_VALLEY_RUNS], y[MAX_VALLEY_RUNS];
  int n = 0;
  for (int i = v->first; i < v->first + v->n; i++)
    if (valley_holds(v, &ps->p[i])) x[n] = log(ps->p[i].N), y[n++] = log(ps->p[i].D);
  return parabola_fit(q, n, x, y);
}

static void valley_sample(Sample *s, const Points *ps, const Valley *v) {
  s->n = 0;
  for (int i = v->first; i < v->first + v->n; i++)
    if (valley_holds(v, &ps->p[i])) s->x[s->n] = log(ps->p[i].N), s->y[s->n++] = ps->p[i].L;
}

// Share of the variance between sizes that the parabola explains. Runs of one size that differ by seed count as their
// mean: what they scatter by is noise, which v->sd and the seed noise report, not a failure of the parabola.
static double r2_of_means(const Sample *s, const Parabola *q) {
  double mean = 0, total = 0, rest = 0;
  for (int i = 0; i < s->n; i++) mean += s->y[i] / s->n;
  for (int i = 0, j; i < s->n; i = j) {  // ordered by size
    double size = 0;
    for (j = i; j < s->n && s->x[j] == s->x[i]; j++) size += s->y[j];
    size /= j - i;
    const double off = size - parabola_at(q, s->x[i]);
    total += (j - i) * (size - mean) * (size - mean);
    rest += (j - i) * off * off;
  }
  return total > 0 ? 1 - rest / total : NAN;
}

static void valley_fit(Valley *v, const Sample *s, const Points *ps) {
  v->runs = s->n;
  v->sizes = distinct(s);
  double logc = 0;
  v->n_opt = v->d_opt = v->loss = v->ratio = (Interval){NAN, NAN, NAN};
  v->r2 = v->sd = v->t_cubic = NAN;
  v->q = (Parabola){.c = {NAN, NAN, NAN}};
  v->flag = VALLEY_FEW;
  if (!s->n) return;
  v->lo = exp(s->x[0]), v->hi = exp(s->x[s->n - 1]);
  for (int i = v->first; i < v->first + v->n; i++)
    if (valley_holds(v, &ps->p[i])) logc += log(ps->p[i].C) / s->n;
  v->C = exp(logc);
  Parabola tokens;
  if (v->sizes < MIN_SIZES || !parabola_fit(&v->q, s->n, s->x, s->y) || !tokens_fit(&tokens, ps, v)) return;
  v->r2 = r2_of_means(s, &v->q);
  v->sd = sqrt(v->q.rss / (s->n - 3));
  v->t_cubic = cubic_t(s, v->q.x0);
  v->flag = valley_check(s, &v->q);
  if (v->flag == VALLEY_FLAT) return;
  if (v->below) v->flag = VALLEY_BELOW;
  double at = vertex(&v->q);
  v->n_opt.value = exp(at);
  v->d_opt.value = exp(parabola_at(&tokens, at));
  v->ratio.value = v->d_opt.value / v->n_opt.value;
  v->loss.value = parabola_at(&v->q, at);
}

// The residual of each size: mean over its m runs, and as one run of that size would have it, times root m.
typedef struct Residuals {
  int n, m[MAX_VALLEY_RUNS], cell[MAX_VALLEY_RUNS];  // sizes; runs of each; size of each run
  double unit[MAX_VALLEY_RUNS];
} Residuals;

// Three coefficients have taken their share of the residuals: n / (n - 3) gives it back.
static void residuals_make(Residuals *u, const Valley *v, const Sample *s) {
  u->n = 0;
  for (int j = 0; j < s->n; j++) {
    if (!j || s->x[j] != s->x[j - 1]) u->m[u->n] = 0, u->unit[u->n++] = 0;
    u->cell[j] = u->n - 1;
    u->m[u->n - 1]++, u->unit[u->n - 1] += s->y[j] - parabola_at(&v->q, s->x[j]);
  }
  for (int i = 0; i < u->n; i++) u->unit[i] *= sqrt(u->n / (u->n - 3.) / u->m[i]);
}

// One resample of a valley: at the same sizes, the parabola plus residuals drawn by size.
static void valley_resample(Sample *out, const Valley *v, const Sample *s, const Residuals *u, int resample, int stratum) {
  int pick[MAX_VALLEY_RUNS];
  bootstrap_draw(resample, stratum, u->n, pick);
  *out = *s;
  for (int j = 0; j < s->n; j++)
    out->y[j] = parabola_at(&v->q, s->x[j]) + u->unit[pick[u->cell[j]]] / sqrt(u->m[u->cell[j]]);
}

// How much farther out the 90th percentile of Student's t lies than that of the normal distribution (Cornish & Fisher).
static double student(double f) {
  const double z = 1.2815515655446004, z2 = z * z;
  return 1 + (z2 + 1) / (4 * f) + (5 * z2 * z2 + 16 * z2 + 3) / (96 * f * f);
}

// Laws through the vertices of v[], as values (r < 0) or as resample r of the draws.
static bool laws_fit(IsoFit *f, int r, const double *log_n, const double *log_d) {
  double c[MAX_VALLEYS], n[MAX_VALLEYS], d[MAX_VALLEYS];
  int m = 0;
  for (int i = 0; i < f->n; i++)
    if (!isnan(log_n[i])) c[m] = log(f->v[i].C), n[m] = log_n[i], d[m++] = log_d[i];
  return law_fit(&f->n_law, r, m, c, n) && law_fit(&f->d_law, r, m, c, d);
}

// Satterthwaite's degrees of freedom of the laws' exponent, a sum of vertices with weights w: (sum V)^2 / sum V^2 / f,
// with V = w^2 times the variance of a vertex, known from f = sizes - 3. The same for b, whose vertices are those of a.
static double laws_freedom(const IsoFit *f, double (*draws)[3][RESAMPLES], int resamples) {
  double mean = 0, sum = 0, squares = 0;
  int laws = 0;
  for (int i = 0; i < f->n; i++)
    if (f->v[i].flag == VALLEY_OK) mean += log(f->v[i].C), laws++;
  mean /= laws;
  for (int i = 0; i < f->n; i++) {
    const Valley *v = &f->v[i];
    double first = 0, second = 0;
    int n = 0;
    if (v->flag != VALLEY_OK) continue;
    for (int r = 0; r < resamples; r++) {
      const double d = draws[i][0][r] - log(v->n_opt.value);
      if (!isnan(d)) first += d, second += d * d, n++;
    }
    const double V = pow(log(v->C) - mean, 2) * (second - first * first / n) / n;
    sum += V, squares += V * V / (v->sizes - 3);
  }
  return squares > 0 ? sum * sum / squares : INFINITY;
}

static void iso_bootstrap(IsoFit *f, const Sample *samples, Residuals *residuals, const Points *ps, int resamples,
                          double (*draws)[3][RESAMPLES]) {
  for (int i = 0; i < f->n; i++)
    if (f->v[i].flag != VALLEY_FEW) residuals_make(&residuals[i], &f->v[i], &samples[i]);
  for (int r = 0; r < resamples; r++) {
    double log_n[MAX_VALLEYS], log_d[MAX_VALLEYS];
    for (int i = 0; i < f->n; i++) {
      const Valley *v = &f->v[i];
      Parabola q, tokens;
      Sample s;
      log_n[i] = log_d[i] = draws[i][0][r] = draws[i][1][r] = draws[i][2][r] = NAN;
      if (v->flag == VALLEY_FEW || v->flag == VALLEY_FLAT) continue;
      valley_resample(&s, v, &samples[i], &residuals[i], r, i);
      if (!parabola_fit(&q, s.n, s.x, s.y) || !(q.c[2] > 0) || !tokens_fit(&tokens, ps, v)) continue;
      draws[i][0][r] = vertex(&q);
      draws[i][1][r] = parabola_at(&tokens, vertex(&q));
      draws[i][2][r] = parabola_at(&q, vertex(&q));
      // A vertex thrown far out by an unlucky draw would not have entered the laws: the same rule as for the data.
      if (v->flag != VALLEY_OK || valley_check(&s, &q) != VALLEY_OK) continue;
      log_n[i] = draws[i][0][r], log_d[i] = draws[i][1][r];
    }
    laws_fit(f, r, log_n, log_d);
  }
  const double wide = student(laws_freedom(f, draws, resamples));
  law_pivot(&f->n_law, log(f->n_law.k.value), f->n_law.exponent.value, wide, resamples);
  law_pivot(&f->d_law, log(f->d_law.k.value), f->d_law.exponent.value, wide, resamples);
  for (int i = 0; i < f->n; i++) {
    Valley *v = &f->v[i];
    double t[RESAMPLES];
    if (v->flag == VALLEY_FEW || v->flag == VALLEY_FLAT) continue;
    const double at[] = {log(v->n_opt.value), log(v->d_opt.value), v->loss.value}, wider = student(v->sizes - 3);
    for (int k = 0; k < 3; k++)
      for (int r = 0; r < resamples; r++) draws[i][k][r] = at[k] - wider * (draws[i][k][r] - at[k]);
    for (int r = 0; r < resamples; r++) t[r] = exp(draws[i][1][r] - draws[i][0][r]);
    v->ratio = bootstrap_interval(v->ratio.value, t, resamples);
    for (int r = 0; r < resamples; r++) t[r] = exp(draws[i][0][r]);
    v->n_opt = bootstrap_interval(v->n_opt.value, t, resamples);
    for (int r = 0; r < resamples; r++) t[r] = exp(draws[i][1][r]);
    v->d_opt = bootstrap_interval(v->d_opt.value, t, resamples);
    v->loss = bootstrap_interval(v->loss.value, draws[i][2], resamples);
  }
}

int iso_fit(IsoFit *f, const Points *ps, const Convention *cv, int resamples, Err *e) {
  assert(resamples >= 0 && resamples <= RESAMPLES);
  *f = (IsoFit){.cv = cv, .n = ps->n_budgets};
  law_clear(&f->n_law), law_clear(&f->d_law);
  double log_n[MAX_VALLEYS], log_d[MAX_VALLEYS];
  Sample *samples = mem_new(sizeof(Sample) * (size_t)(f->n + 1), "samples of the parabolas", e);
  Residuals *residuals = mem_new(sizeof *residuals * (size_t)(f->n + 1), "residuals of the parabolas", e);
  double(*draws)[3][RESAMPLES] = mem_new(sizeof *draws * (size_t)(f->n + 1), "resamples of the parabolas", e);
  if (!samples || !residuals || !draws) goto done;
  for (int i = 0, at = 0; i < f->n; i++) {
    Valley *v = &f->v[i];
    *v = (Valley){.budget = ps->budget[i], .C = ps->budget[i]};
    while (at < ps->n && ps->p[at].budget != i) at++;
    v->first = at;
    while (at < ps->n && ps->p[at].budget == i) at++;
    v->n = at - v->first;
    bool used = false;
    for (int j = v->first; j < at; j++) used = used || ps->p[j].used, v->below = v->below || ps->p[j].below;
    v->below = v->below && !used;
    if (v->n > MAX_VALLEY_RUNS) {
      fail(e, E_RECORD, "budget %s: %d runs, expected at most %d", text_budget(v->budget), v->n, MAX_VALLEY_RUNS);
      goto done;
    }
    valley_sample(&samples[i], ps, v);
    valley_fit(v, &samples[i], ps);
    log_n[i] = v->flag == VALLEY_OK ? log(v->n_opt.value) : NAN;
    log_d[i] = v->flag == VALLEY_OK ? log(v->d_opt.value) : NAN;
  }
  f->law = laws_fit(f, -1, log_n, log_d);
  iso_bootstrap(f, samples, residuals, ps, resamples, draws);
  e->code = OK;
done:
  free(samples);
  free(residuals);
  free(draws);
  return e->code;
}
