// fit_points.c: from records to points (C, N, D, L) under one convention of counting.
//
// In: the records of a study. Out: one Point a record, ordered by (budget, N, seed, id), with those that no fit may use
// marked and the reason kept; the budgets; the spread between seeds. The invariant: no record is dropped silently. What
// counts as N moves the exponent more than anything else (Porian et al. 2024), hence the list of conventions.
#include "fit.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const Convention conventions[] = {
    {"total/exact", "all parameters, exact FLOPs", false, FLOPS_EXACT},
    {"nonemb/exact", "parameters without embeddings, exact FLOPs", true, FLOPS_EXACT},
    {"total/nohead", "all parameters, exact FLOPs without the logits", false, FLOPS_NOHEAD},
    {"nonemb/nohead", "parameters without embeddings, exact FLOPs without the logits", true, FLOPS_NOHEAD},
    {"total/6nd", "all parameters, 6ND", false, FLOPS_6ND},
    {"nonemb/6nd", "parameters without embeddings, 6ND", true, FLOPS_6ND},
    {0},
};

static double flops_per_token(const Record *r, const Convention *cv) {
  switch (cv->flops) {
    case FLOPS_EXACT: return r->flops_per_token.exact;
    case FLOPS_NOHEAD: return r->flops_per_token.nohead;
    default: return cv->nonemb ? r->flops_per_token.sixn_nonemb : r->flops_per_token.sixn;
  }
}

static void point_check(Point *p) {
  const Record *r = p->run;
  p->used = false;
  if (strcmp(r->status, "finished") != 0)
    snprintf(p->why_not, sizeof p->why_not, "%s%s%s", r->status, *r->reason ? ": " : "", r->reason);
  else if (!isfinite(p->L) || p->L <= 0)
    snprintf(p->why_not, sizeof p->why_not, "held-out loss is %g, expected a positive number", p->L);
  else if (!(p->N > 0 && p->D > 0 && p->C > 0 && isfinite(p->N * p->D * p->C)))
    snprintf(p->why_not, sizeof p->why_not, "parameters %g, tokens %g, FLOPs %g: expected positive numbers", p->N, p->D,
             p->C);
  else
    p->used = true;
}

static int by_budget_size(const void *a, const void *b) {
  const Point *p = a, *q = b;
  double d = p->run->cfg.budget - q->run->cfg.budget;
  if (d == 0) d = p->N - q->N;
  if (d == 0) d = p->D - q->D;  // cells stand together: point_same_cell()
  if (d == 0) d = p->run->cfg.seed - q->run->cfg.seed;
  return d < 0 ? -1 : d > 0 ? 1 : strcmp(p->run->id, q->run->id);
}

bool point_same_cell(const Point *p, const Point *q) {
  return p->budget == q->budget && p->N == q->N && p->D == q->D && p->run->cfg.n_layers == q->run->cfg.n_layers;
}

// Pooled variance: sum of squares over sum of (n - 1).
void points_seed_noise(Points *ps) {
  double squares = 0;
  int freedom = 0;
  ps->seed_cells = 0;
  for (int i = 0, j; i < ps->n; i = j) {
    double mean = 0, m2 = 0;
    int n = 0;
    for (j = i; j < ps->n && point_same_cell(&ps->p[j], &ps->p[i]); j++) {
      if (!ps->p[j].used) continue;
      double d = ps->p[j].L - mean;
      mean += d / ++n;
      m2 += d * (ps->p[j].L - mean);
    }
    if (n < 2) continue;
    squares += m2, freedom += n - 1, ps->seed_cells++;
  }
  ps->seed_sd = freedom ? sqrt(squares / freedom) : NAN;
}

bool record_below(const Record *r, double flops) { return r->tokens * r->flops_per_token.exact < 0.99 * flops; }

Point point_of(const Record *r, const Convention *cv) {
  Point p = {
      .run = r, .N = cv->nonemb ? r->params.nonemb : r->params.total, .D = r->tokens, .L = r->val_loss, .budget = -1};
  p.C = flops_per_token(r, cv) * p.D;
  p.repeats = r->epochs > 1;
  point_check(&p);
  p.below = p.used && record_below(r, r->cfg.from_flops);
  if (p.below) {
    p.used = false;
    snprintf(p.why_not, sizeof p.why_not, "less compute than the laws take: from_flops = %s",
             text_budget(r->cfg.from_flops));
  }
  return p;
}

static void largest_find(Points *ps) {
  ps->largest_C = 0;
  for (int i = 0; i < ps->n; i++)
    if (ps->p[i].used) ps->largest_C = fmax(ps->largest_C, ps->p[i].C);
}

void points_admit(Points *ps) {
  for (int i = 0; i < ps->n; i++)
    if (ps->p[i].below) ps->p[i].used = true, ps->p[i].below = false;
  points_seed_noise(ps);
  largest_find(ps);
}

int points_make(Points *ps, const Records *rs, const Convention *cv, Err *e) {
  *ps = (Points){.n = rs->n, .p = mem_new((size_t)rs->n * sizeof(Point), "points of the fit", e)};
  if (!ps->p) return e->code;
  for (int i = 0; i < rs->n; i++) ps->p[i] = point_of(&rs->r[i], cv);
  largest_find(ps);
  qsort(ps->p, (size_t)ps->n, sizeof(Point), by_budget_size);
  for (int i = 0; i < ps->n; i++) {
    double b = ps->p[i].run->cfg.budget;
    if (!(b > 0)) continue;
    if (!ps->n_budgets || ps->budget[ps->n_budgets - 1] != b) {
      if (ps->n_budgets == MAX_VALLEYS) {
        points_free(ps);
        return fail(e, E_RECORD, "records: more than %d budgets", MAX_VALLEYS);
      }
      ps->budget[ps->n_budgets++] = b;
    }
    ps->p[i].budget = ps->n_budgets - 1;
  }
  points_seed_noise(ps);
  return OK;
}

void points_free(Points *ps) {
  free(ps->p);
  *ps = (Points){0};
}
