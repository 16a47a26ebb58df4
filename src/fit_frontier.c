// fit_frontier.c: the best size for a budget on the fitted surface, where a token of a model costs what it costs.
//
// In: a surface, and what the runs say a token costs. Out: N_opt and D_opt at given budgets, the power law through
// them, and runs moved to equal compute. The textbook frontier N_opt = G (C/6)^a holds for C = 6ND only; at toy size
// exact FLOPs are 1.5 times that and more, by a factor that falls with N, which moves the exponent. Here the cost of a
// token is a parabola in ln N (in logarithms) through the sizes, each once: the cost of a shape is no measurement, which
// more seeds would make surer. Exact for 6ND, within some percent for a family of shapes. Reference: Hoffmann et al. 2022, section 3.3, equation 4.
#include "fit.h"
#include <math.h>
#include <stdlib.h>

// Is this the first used point of its size and cost?
static bool new_size(const Points *ps, int i) {
  const Point *p = &ps->p[i];
  for (int j = 0; j < i; j++) {
    const Point *q = &ps->p[j];
    if (q->used && q->N == p->N && fabs(q->C / q->D - p->C / p->D) <= 1e-9 * (p->C / p->D)) return false;
  }
  return p->used;
}

bool cost_fit(CostCurve *q, const Points *ps) {
  double *X = malloc(sizeof(double) * 4 * (size_t)(ps->n + 1)), *t = X + 3 * ps->n, rss, mean = 0;
  int n = 0;
  if (!X) mem_none("cost of a token");
  *q = (CostCurve){.lo = INFINITY};
  for (int i = 0; i < ps->n; i++) {
    const Point *p = &ps->p[i];
    if (!new_size(ps, i)) continue;
    const double x = log(p->N);
    mean += x;
    X[3 * n + 1] = x, t[n++] = log(p->C / p->D);
    q->lo = fmin(q->lo, p->N), q->hi = fmax(q->hi, p->N);
  }
  q->x0 = n ? mean / n : 0;
  for (int i = 0; i < n; i++) {
    const double d = X[3 * i + 1] - q->x0;
    X[3 * i] = 1, X[3 * i + 1] = d, X[3 * i + 2] = d * d;
  }
  bool good = lsq_solve(n, 3, X, t, q->c, &rss, NULL);
  free(X);
  return good;
}

double cost_at(const CostCurve *q, double N) {
  double d = log(N) - q->x0;
  return exp(q->c[0] + d * (q->c[1] + d * q->c[2]));
}

// Golden section in ln N, to twice the sampled sizes either way: beyond, the cost is a guess.
bool surface_optimum(const Surface *s, const CostCurve *q, double C, double *N, double *D) {
  const double shrink = (sqrt(5) - 1) / 2, first = log(q->lo / 2), last = log(q->hi * 2);
  double lo = first, hi = last, x[2], L[2];
  if (!(s->alpha > 0 && s->beta > 0)) return false;
  for (int it = 0; it < 60; it++) {
    for (int j = 0; j < 2; j++) {
      x[j] = j ? lo + shrink * (hi - lo) : hi - shrink * (hi - lo);
      L[j] = surface_at(s, exp(x[j]), C / cost_at(q, exp(x[j])));
    }
    if (L[0] < L[1])
      hi = x[1];
    else
      lo = x[0];
  }
  *N = exp((lo + hi) / 2), *D = C / cost_at(q, *N);
  return lo > first + 1e-6 && hi < last - 1e-6;
}

int frontier_fit(Frontier *f, const SurfaceFit *s, const Points *ps, int n, const double *C, Err *e) {
  *f = (Frontier){.n = n};
  *e = (Err){0};
  law_clear(&f->n_law), law_clear(&f->d_law);
  f->ok = s->ok && cost_fit(&f->cost, ps);
  if (!f->ok) return OK;
  double(*draw)[2][RESAMPLES] = mem_new(sizeof *draw * (size_t)(n + 1), "resamples of the frontier", e);
  if (!draw) return e->code;
#pragma omp parallel for schedule(static)
  for (int r = -1; r < s->resamples; r++) {
    double c[MAX_VALLEYS], logn[MAX_VALLEYS], logd[MAX_VALLEYS];
    int m = 0;
    for (int i = 0; i < n; i++) {
      double N, D;
      bool good = surface_optimum(r < 0 ? &s->s : &s->draw[r], &f->cost, C[i], &N, &D);
      if (!good) N = D = NAN;
      if (good) c[m] = log(C[i]), logn[m] = log(N), logd[m++] = log(D);
      if (r < 0)
        f->C[i] = C[i], f->N[i].value = N, f->D[i].value = D;
      else
        draw[i][0][r] = N, draw[i][1][r] = D;
    }
    bool law = law_fit(&f->n_law, r, m, c, logn) && law_fit(&f->d_law, r, m, c, logd);
    if (r < 0) f->law = law;
  }
  for (int i = 0; i < n; i++) {
    f->N[i] = bootstrap_interval(f->N[i].value, draw[i][0], s->resamples);
    f->D[i] = bootstrap_interval(f->D[i].value, draw[i][1], s->resamples);
  }
  law_intervals(&f->n_law, s->resamples);
  law_intervals(&f->d_law, s->resamples);
  free(draw);
  return OK;
}

const Interval *frontier_size(const Frontier *f, double C) {
  for (int i = 0; i < f->n && f->ok; i++)
    if (f->C[i] == C && !isnan(f->N[i].value)) return &f->N[i];
  return NULL;
}

bool points_level(const Points *ps) {
  for (int i = 0, j; i < ps->n; i = j) {
    double lo = INFINITY, hi = 0;
    for (j = i; j < ps->n && ps->p[j].budget == ps->p[i].budget; j++)
      if (ps->p[j].used && ps->p[j].budget >= 0) lo = fmin(lo, ps->p[j].C), hi = fmax(hi, ps->p[j].C);
    if (hi > 1.03 * lo) return false;
  }
  return true;
}

void points_to_level(Points *ps, const Surface *s) {
  for (int i = 0, j; i < ps->n; i = j) {
    double logc = 0;
    int n = 0;
    for (j = i; j < ps->n && ps->p[j].budget == ps->p[i].budget; j++)
      if (ps->p[j].used || ps->p[j].below) logc += log(ps->p[j].C), n++;
    for (int k = i; k < j && ps->p[i].budget >= 0; k++) {
      Point *p = &ps->p[k];
      if (!p->used && !p->below) continue;
      double C = exp(logc / n), D = p->D * C / p->C;
      p->L += s->B * (pow(D, -s->beta) - pow(p->D, -s->beta));
      p->C = C, p->D = D;
    }
  }
}
