// fit_surface.c: Approach 3: the parametric surface L(N, D) = E + A / N^alpha + B / D^beta.
//
// In: points. Out: the five parameters at the lowest objective that the 4,500 published starts lead to, a proof of
// convergence, and resampled surfaces for intervals. The objective, with theta = (a, b, e, alpha, beta), A = e^a, B =
// e^b, E = e^e:
//     sum over runs of Huber(LSE(a - alpha ln N, b - beta ln D, e) - ln L),  Huber threshold 1e-3.
// The published fit averaged these terms, and its optimiser took a change of 1e-9 in a mean of 1e-6 for convergence.
// Here the sum is scaled so that its gradient has no unit (a mean of p J, |p| <= 1), Newton's method runs until that
// gradient is at rounding level, and ln N and ln D are centred, which takes the condition number down to about 1e4. The
// invariant: results depend on the points alone, not on threads: every start and every resample has a slot of its own.
// References: Hoffmann et al. 2022, section 3.3 and appendix D.2; Besiroglu et al. 2024, Chinchilla Scaling: A
// replication attempt (arXiv 2404.10102).
#include "fit.h"
#include <assert.h>
#include <float.h>
#include <lbfgs.h>
#include <math.h>
#include <stdlib.h>

enum { P = 5 };                        // theta = (a, b, e, alpha, beta)
static const double DELTA = 1e-3;      // Huber threshold, in log loss
static const double REST = 1e-11;      // a gradient below this is at rest: rounding leaves about 1e-12
static const double CONVERGED = 1e-8;  // and above this a start has not arrived

double surface_at(const Surface *s, double N, double D) {
  return s->E + s->A * pow(N, -s->alpha) + s->B * pow(D, -s->beta);
}

// Runs as the objective sees them: x = ln N - x0, y = ln D - y0, l = ln L, w = how often the run counts.
typedef struct Sample {
  int n;
  double x0, y0, total, *x, *y, *l, *w;
} Sample;

static int sample_make(Sample *s, const Points *ps, bool centred, Err *e) {
  *s = (Sample){.x = mem_new(sizeof(double) * 4 * (size_t)(ps->n + 1), "runs of the surface fit", e)};
  if (!s->x) return e->code;
  s->y = s->x + ps->n, s->l = s->y + ps->n, s->w = s->l + ps->n;
  for (int i = 0; i < ps->n; i++) {
    const Point *p = &ps->p[i];
    if (!p->used) continue;
    s->x[s->n] = log(p->N), s->y[s->n] = log(p->D), s->l[s->n] = log(p->L), s->w[s->n++] = 1;
  }
  s->total = s->n;
  for (int i = 0; i < s->n && centred; i++) s->x0 += s->x[i] / s->n, s->y0 += s->y[i] / s->n;
  for (int i = 0; i < s->n; i++) s->x[i] -= s->x0, s->y[i] -= s->y0;
  return OK;
}

static void to_centred(double t[P], const Sample *s) { t[0] -= t[3] * s->x0, t[1] -= t[4] * s->y0; }

static Surface to_surface(const double t[P], const Sample *s) {
  return (Surface){exp(t[2]), exp(t[0] + t[3] * s->x0), exp(t[1] + t[4] * s->y0), t[3], t[4]};
}

// ---- The objective ------------------------------------------------------------------------------------

// F = sum w Huber(r) / (delta sum w), its gradient and a matrix of second derivatives (lower triangle).
// CURVED, the Hessian: with softmax weights p of the three terms z_k: dm = sum p_k dz_k =: J, d2m = sum p_k dz_k dz_k'
// - J J', and dz = (1,0,0,-x,0), (0,1,0,0,-y), (0,0,1,0,0). So H = sum w (psi' J J' + psi d2m), psi = r within delta,
// else +-delta. MAJOR, sum w (psi / r) J J': that of the sum of squares which touches each Huber term from above; it is
// never indefinite, which the Hessian of these nearly linear terms is almost everywhere.
typedef enum { NONE, MAJOR, CURVED } Second;
static double objective(const Sample *s, const double t[P], double g[P], Second second, double (*H)[P]) {
  double f = 0;
  for (int j = 0; j < P; j++) g[j] = 0;
  for (int j = 0; second && j < P; j++)
    for (int k = 0; k <= j; k++) H[j][k] = 0;
  for (int i = 0; i < s->n; i++) {
    double x = s->x[i], y = s->y[i], w = s->w[i];
    if (w == 0) continue;
    double z1 = t[0] - t[3] * x, z2 = t[1] - t[4] * y, top = fmax(t[2], fmax(z1, z2));
    double e1 = exp(z1 - top), e2 = exp(z2 - top), e3 = exp(t[2] - top), sum = e1 + e2 + e3;
    double r = top + log(sum) - s->l[i], p1 = e1 / sum, p2 = e2 / sum, p3 = e3 / sum;
    bool inside = fabs(r) <= DELTA;
    double psi = inside ? r : copysign(DELTA, r), J[P] = {p1, p2, p3, -x * p1, -y * p2};
    f += w * (inside ? r * r / 2 : DELTA * (fabs(r) - DELTA / 2));
    for (int j = 0; j < P; j++) g[j] += w * psi * J[j];
    if (!second) continue;
    double outer = second == CURVED ? w * (inside - psi) : inside ? w : w * DELTA / fabs(r), q = w * psi;
    for (int j = 0; j < P; j++)
      for (int k = 0; k <= j; k++) H[j][k] += outer * J[j] * J[k];
    if (second != CURVED) continue;
    H[0][0] += q * p1, H[3][0] -= q * p1 * x, H[3][3] += q * p1 * x * x;
    H[1][1] += q * p2, H[4][1] -= q * p2 * y, H[4][4] += q * p2 * y * y;
    H[2][2] += q * p3;
  }
  double scale = 1 / (DELTA * s->total);
  for (int j = 0; j < P; j++) g[j] *= scale;
  for (int j = 0; second && j < P; j++)
    for (int k = 0; k <= j; k++) H[j][k] *= scale;
  return f * scale;
}

static double largest(const double g[P]) {
  double m = 0;
  for (int j = 0; j < P; j++) m = fmax(m, fabs(g[j]));
  return m;
}

// ---- Newton's method --------------------------------------------------------------------------------------

// Solves (H + lambda I) step = -g by Cholesky; false when that matrix is not positive definite.
static bool damped_step(double (*H)[P], double lambda, const double g[P], double step[P]) {
  double R[P][P];
  for (int j = 0; j < P; j++) {
    for (int k = 0; k <= j; k++) {
      double v = H[j][k] + (j == k ? lambda : 0);
      for (int m = 0; m < k; m++) v -= R[j][m] * R[k][m];
      if (j > k)
        R[j][k] = v / R[k][k];
      else if (v > 1e-15 * (fabs(H[j][j]) + lambda))
        R[j][j] = sqrt(v);
      else
        return false;
    }
  }
  for (int j = 0; j < P; j++) {
    step[j] = -g[j];
    for (int m = 0; m < j; m++) step[j] -= R[j][m] * step[m];
    step[j] /= R[j][j];
  }
  for (int j = P - 1; j >= 0; j--) {
    for (int m = j + 1; m < P; m++) step[j] -= R[m][j] * step[m];
    step[j] /= R[j][j];
  }
  return true;
}

// Reweighted least squares (the majorant's matrix) as long as that brings the objective down, then Newton's method on
// the Hessian; both with Levenberg's damping: lambda shrinks after a step that went as foreseen, and grows otherwise.
// With Newton alone three starts of four end at infinity, where a term of the surface vanishes.
// t: start in, end out. Returns F; *gradient: its largest element there.
static double minimise(const Sample *s, double t[P], double *gradient) {
  Second second = MAJOR;
  double g[P], H[P][P], lambda = 1e-2, f = objective(s, t, g, second, H);
  enum { STEPS = 300 };
  for (int it = 0; it < STEPS && largest(g) > REST && lambda < 1e12; it++) {
    double step[P], t2[P], g2[P], H2[P][P], foreseen = 0;
    if (!damped_step(H, lambda, g, step)) {
      lambda = fmax(4 * lambda, 1e-8);
      continue;
    }
    for (int j = 0; j < P; j++) t2[j] = t[j] + step[j], foreseen -= step[j] * (g[j] - lambda * step[j]) / 2;
    double f2 = objective(s, t2, g2, second, H2);
    // Near the end f no longer tells steps apart: there a smaller gradient decides.
    bool better = f2 < f || (f2 <= f + 1e-14 * fabs(f) && largest(g2) < largest(g));
    if (!better) {
      lambda *= 4;
      continue;
    }
    if (second == MAJOR && f - f2 < 1e-5 * f) objective(s, t2, g2, second = CURVED, H2);
    lambda *= f - f2 > foreseen / 4 ? .1 : 2;
    f = f2;
    for (int j = 0; j < P; j++) {
      t[j] = t2[j], g[j] = g2[j];
      for (int k = 0; k <= j; k++) H[j][k] = H2[j][k];
    }
  }
  *gradient = largest(g);
  return f;
}

// Eigenvalues' ratio of the symmetric H (lower triangle; overwritten) by Jacobi rotations (Golub & Van Loan, 8.5).
static double condition(double (*H)[P]) {
  for (int j = 0; j < P; j++)
    for (int k = 0; k < j; k++) H[k][j] = H[j][k];
  for (int sweep = 0; sweep < 40; sweep++)
    for (int p = 0; p < P; p++)
      for (int q = p + 1; q < P; q++) {
        if (H[p][q] == 0) continue;
        double tau = (H[q][q] - H[p][p]) / (2 * H[p][q]), t = copysign(1, tau) / (fabs(tau) + hypot(1, tau));
        double c = 1 / hypot(1, t), sn = t * c;
        for (int k = 0; k < P; k++) {
          double u = H[k][p], v = H[k][q];
          H[k][p] = c * u - sn * v, H[k][q] = sn * u + c * v;
        }
        for (int k = 0; k < P; k++) {
          double u = H[p][k], v = H[q][k];
          H[p][k] = c * u - sn * v, H[q][k] = sn * u + c * v;
        }
      }
  double lo = INFINITY, hi = 0;
  for (int j = 0; j < P; j++) lo = fmin(lo, fabs(H[j][j])), hi = fmax(hi, fabs(H[j][j]));
  return hi / lo;
}

// ---- The published starts -------------------------------------------------------------------------------

// Start number i of 4,500; returns whether it lies inside the grid and not on its edge.
static bool start_at(int i, double t[P]) {
  static const int count[P] = {6, 6, 5, 5, 5};
  static const double first[P] = {0, 0, -1, 0, 0}, step[P] = {5, 5, .5, .5, .5};
  bool inside = true;
  for (int j = 0; j < P; j++) {
    int k = i % count[j];
    i /= count[j];
    inside = inside && k > 0 && k < count[j] - 1;
    t[j] = first[j] + k * step[j];
  }
  return inside;
}

typedef struct End {
  double t[P], f, gradient;
} End;

static bool same_minimum(const End *p, const End *q) {
  for (int j = 0; j < P; j++)
    if (!(fabs(p->t[j] - q->t[j]) <= 1e-6 * (1 + fabs(q->t[j])))) return false;
  return p->gradient <= CONVERGED;
}

static int minimise_starts(SurfaceFit *f, const Sample *s, End *best, Err *e) {
  End *end = mem_new(SURFACE_STARTS * sizeof *end, "starts of the surface fit", e);
  if (!end) return e->code;
#pragma omp parallel for schedule(dynamic, 8)
  for (int i = 0; i < SURFACE_STARTS; i++) {
    start_at(i, end[i].t);
    to_centred(end[i].t, s);
    end[i].f = minimise(s, end[i].t, &end[i].gradient);
  }
  *best = end[0];
  for (int i = 1; i < SURFACE_STARTS; i++)
    if (end[i].f < best->f || isnan(best->f)) *best = end[i];
  for (int i = 0; i < SURFACE_STARTS; i++) {
    double t[P];
    bool same = same_minimum(&end[i], best);
    f->agree += same, f->agree_inside += same && start_at(i, t);
  }
  free(end);
  return OK;
}

// ---- An early stop ------------------------------------------------------------------------------------------

// L-BFGS on the mean Huber term, uncentred, stopped as SciPy's L-BFGS-B stops by default: the kind of stop behind the
// published intervals (not their numbers: those depend on the optimiser's own path). What it shows is how far from the
// minimum such a test lets go.
static lbfgsfloatval_t early_evaluate(void *sample, const double *t, double *g, int n, double step) {
  (void)n, (void)step;
  double f = objective(sample, t, g, NONE, NULL) * DELTA;
  for (int j = 0; j < P; j++) g[j] *= DELTA;
  return f;
}

typedef struct Early {
  Sample *s;
  double last;
} Early;
static lbfgsfloatval_t early_value(void *early, const double *t, double *g, int n, double step) {
  return early_evaluate(((Early *)early)->s, t, g, n, step);
}
static int early_stop(void *early, const double *t, const double *g, double f, double xn, double gn, double step, int n,
                      int k, int trials) {
  (void)t, (void)xn, (void)gn, (void)step, (void)n, (void)k, (void)trials;
  double last = ((Early *)early)->last;
  ((Early *)early)->last = f;
  return largest(g) <= 1e-5 || fabs(last - f) <= 2.2e-9 * fmax(fmax(fabs(last), fabs(f)), 1);
}

static int minimise_early(SurfaceFit *f, const Points *ps, Err *e) {
  Sample s;
  if (sample_make(&s, ps, false, e)) return e->code;
  End *end = mem_new(SURFACE_STARTS * sizeof *end, "starts of the surface fit", e);
  if (!end) goto done;
#pragma omp parallel for schedule(dynamic, 8)
  for (int i = 0; i < SURFACE_STARTS; i++) {
    lbfgs_parameter_t how;
    lbfgs_parameter_init(&how);
    how.m = 10, how.epsilon = 0, how.max_iterations = 15000;
    double *t = lbfgs_malloc(P), g[P];
    if (!t) mem_none("surface");
    start_at(i, t);
    Early early = {&s, INFINITY};
    if (lbfgs(P, t, NULL, early_value, early_stop, &early, &how) == LBFGSERR_OUTOFMEMORY) mem_none("surface");
    end[i].f = objective(&s, t, g, NONE, NULL);
    for (int j = 0; j < P; j++) end[i].t[j] = t[j];
    lbfgs_free(t);
  }
  End best = end[0];
  for (int i = 1; i < SURFACE_STARTS; i++)
    if (end[i].f < best.f || isnan(best.f)) best = end[i];
  f->early = to_surface(best.t, &s);
  f->early_objective = best.f * DELTA * s.total;
  free(end);
done:
  free(s.x);
  return e->code;
}

// ---- All of it ----------------------------------------------------------------------------------------------

// The Hessian's condition number at t in the published parameters: theta_centred = T theta, so H = T' H_centred T.
static double condition_at(const Sample *s, const double t[P], bool published) {
  double g[P], H[P][P], T[P][P] = {{0}}, HT[P][P] = {{0}}, out[P][P] = {{0}};
  objective(s, t, g, CURVED, H);
  for (int j = 0; j < P; j++)
    for (int k = 0; k < j; k++) H[k][j] = H[j][k];
  for (int j = 0; j < P; j++) T[j][j] = 1;
  if (published) T[0][3] = -s->x0, T[1][4] = -s->y0;
  for (int i = 0; i < P; i++)
    for (int j = 0; j < P; j++)
      for (int k = 0; k < P; k++) HT[i][j] += H[i][k] * T[k][j];
  for (int i = 0; i < P; i++)
    for (int j = 0; j < P; j++)
      for (int k = 0; k < P; k++) out[i][j] += T[k][i] * HT[k][j];
  return condition(out);
}

// How often each used run stands in a resample: the cells of a budget are drawn with replacement, each with all its
// seeds, for what the runs of a cell share does not average away among them. Points are ordered by budget; those of none
// are a stratum of their own. first[], pick[]: room for one number a run each.
static void resample_weights(double *w, const Points *ps, int resample, int *first, int *pick) {
  int at = 0;  // used runs before this stratum
  for (int i = 0, j; i < ps->n; i = j) {
    int n = 0, runs = 0;
    const Point *last = NULL;
    for (j = i; j < ps->n && ps->p[j].budget == ps->p[i].budget; j++) {
      if (!ps->p[j].used) continue;
      if (!last || !point_same_cell(last, &ps->p[j])) first[n++] = at + runs;
      last = &ps->p[j];
      w[at + runs++] = 0;
    }
    first[n] = at + runs;
    bootstrap_draw(resample, ps->p[i].budget + 1, n, pick);
    for (int k = 0; k < n; k++)
      for (int r = first[pick[k]]; r < first[pick[k] + 1]; r++) w[r]++;
    at += runs;
  }
}

static int surface_bootstrap(SurfaceFit *f, const Sample *s, const Points *ps, const double best[P], int resamples,
                             Err *e) {
  size_t n = (size_t)s->n + 1;
  double *w = mem_new(n * (size_t)resamples * sizeof *w, "resamples of the surface fit", e);
  int *work = mem_new(2 * n * sizeof *work, "resamples of the surface fit", e);
  if (!w || !work) goto done;
  for (int r = 0; r < resamples; r++) resample_weights(w + n * (size_t)r, ps, r, work, work + n);
#pragma omp parallel for schedule(dynamic, 4)
  for (int r = 0; r < resamples; r++) {
    Sample drawn = *s;
    drawn.w = w + n * (size_t)r;
    double t[P], gradient;
    for (int j = 0; j < P; j++) t[j] = best[j];
    minimise(&drawn, t, &gradient);
    f->draw[r] = gradient <= CONVERGED ? to_surface(t, s) : (Surface){NAN, NAN, NAN, NAN, NAN};
  }
done:
  free(w);
  free(work);
  return e->code;
}

double surface_a(const Surface *s) { return s->beta / (s->alpha + s->beta); }
double surface_b(const Surface *s) { return s->alpha / (s->alpha + s->beta); }
static double surface_G(const Surface *s) { return pow(s->alpha * s->A / (s->beta * s->B), 1 / (s->alpha + s->beta)); }
static double surface_E(const Surface *s) { return s->E; }
static double surface_A(const Surface *s) { return s->A; }
static double surface_B(const Surface *s) { return s->B; }
static double surface_alpha(const Surface *s) { return s->alpha; }
static double surface_beta(const Surface *s) { return s->beta; }

const SurfaceQuantity surface_quantities[] = {
    {"E", surface_E},       {"A", surface_A}, {"B", surface_B}, {"alpha", surface_alpha},
    {"beta", surface_beta}, {"a", surface_a}, {"b", surface_b}, {"G", surface_G},
};

// Five parameters have taken their share.
double surface_sd(const SurfaceFit *f, const Points *ps) {
  double sum = 0;
  for (int i = 0; i < ps->n; i++)
    if (ps->p[i].used) sum += pow(ps->p[i].L - surface_at(&f->s, ps->p[i].N, ps->p[i].D), 2);
  return sqrt(sum / (f->runs - P));
}

Interval surface_interval(const SurfaceFit *f, double (*of)(const Surface *)) {
  double draws[RESAMPLES];
  for (int r = 0; r < f->resamples; r++) draws[r] = of(&f->draw[r]);
  return bootstrap_interval(of(&f->s), draws, f->resamples);
}

static int distinct(const Points *ps, double (*of)(const Point *)) {
  int n = 0;
  for (int i = 0; i < ps->n; i++) {
    bool seen = !ps->p[i].used;
    for (int j = 0; j < i && !seen; j++) seen = ps->p[j].used && of(&ps->p[j]) == of(&ps->p[i]);
    n += !seen;
  }
  return n;
}
static double point_N(const Point *p) { return p->N; }
static double point_D(const Point *p) { return p->D; }

// Five parameters: three sizes and three horizons at the least tell each term from a constant.
static bool surface_begin(SurfaceFit *f, const Points *ps, int resamples, Err *e) {
  assert(resamples >= 0 && resamples <= RESAMPLES);
  *f = (SurfaceFit){.resamples = resamples};
  *e = (Err){0};
  for (int r = 0; r < RESAMPLES; r++) f->draw[r] = (Surface){NAN, NAN, NAN, NAN, NAN};
  for (int i = 0; i < ps->n; i++) f->runs += ps->p[i].used;
  return f->runs >= 2 * P && distinct(ps, point_N) >= 3 && distinct(ps, point_D) >= 3;
}

int surface_refit(SurfaceFit *f, const Surface *start, const Points *ps, int resamples, Err *e) {
  Sample s;
  if (!surface_begin(f, ps, resamples, e)) return OK;
  if (sample_make(&s, ps, true, e)) return e->code;
  double t[P] = {log(fmax(start->A, DBL_MIN)), log(fmax(start->B, DBL_MIN)), log(fmax(start->E, DBL_MIN)), start->alpha,
                 start->beta};
  to_centred(t, &s);
  f->objective = minimise(&s, t, &f->gradient) * DELTA * s.total;
  f->ok = f->gradient <= CONVERGED;
  f->s = to_surface(t, &s);
  if (f->ok) surface_bootstrap(f, &s, ps, t, resamples, e);
  free(s.x);
  return e->code;
}

int surface_fit(SurfaceFit *f, const Points *ps, int resamples, Err *e) {
  if (!surface_begin(f, ps, resamples, e)) return OK;
  Sample s;
  End best;
  if (sample_make(&s, ps, true, e)) return e->code;
  if (minimise_starts(f, &s, &best, e)) goto done;
  f->ok = true;
  f->s = to_surface(best.t, &s);
  f->objective = best.f * DELTA * s.total;
  f->gradient = best.gradient;
  f->condition = condition_at(&s, best.t, true);
  f->condition_centred = condition_at(&s, best.t, false);
  if (!minimise_early(f, ps, e)) surface_bootstrap(f, &s, ps, best.t, resamples, e);
done:
  free(s.x);
  return e->code;
}
