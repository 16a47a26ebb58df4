// contrast.c: see contrast.h. In: a part's records and curves. Out: groups, levels, means, noise. The invariant: only
// runs of the same budget and size are compared.
#include "contrast.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int by_size(const void *a, const void *b) {
  const Item *p = a, *q = b;
  double d = p->r->cfg.budget - q->r->cfg.budget;
  if (d == 0) d = p->r->params.total - q->r->params.total;
  return d < 0 ? -1 : d > 0 ? 1 : strcmp(p->r->id, q->r->id);
}

static int by_level(const void *a, const void *b) {
  const Item *p = a, *q = b;
  double d = p->group - q->group;
  if (d == 0) d = p->level - q->level;
  if (d == 0) d = p->r->cfg.seed - q->r->cfg.seed;
  return d < 0 ? -1 : d > 0 ? 1 : strcmp(p->r->id, q->r->id);
}

static bool same_level(const Item *p, const Item *q) { return p->group == q->group && p->level == q->level; }

int contrast_make(Contrast *k, const PartFit *p, LevelOf *level, double near, Err *e) {
  *k = (Contrast){.item = mem_new(sizeof(Item) * (size_t)(p->rs.n + 1), "runs of a part", e), .seed_sd = NAN};
  if (!k->item) return e->code;
  for (int i = 0; i < p->rs.n; i++) {
    const Record *r = &p->rs.r[i];
    const double at = level(r);
    if (!isnan(at) && point_of(r, &conventions[0]).used) k->item[k->n++] = (Item){r, &p->cs.c[i], at, 0};
  }
  qsort(k->item, (size_t)k->n, sizeof(Item), by_size);
  for (int i = 0, first = 0; i < k->n; i++) {
    const Record *r = k->item[i].r, *head = k->item[first].r;
    if (i && (r->cfg.budget != head->cfg.budget || r->params.total > near * head->params.total)) first = i, k->groups++;
    k->item[i].group = k->groups;
  }
  k->groups += k->n > 0;
  qsort(k->item, (size_t)k->n, sizeof(Item), by_level);
  double squares = 0;
  int freedom = 0;
  for (int i = 0, j; i < k->n; i = j) {
    double mean = 0;
    for (j = i; j < k->n && same_level(&k->item[i], &k->item[j]); j++) mean += k->item[j].r->val_loss;
    mean /= j - i;
    for (int m = i; m < j; m++) squares += pow(k->item[m].r->val_loss - mean, 2);
    freedom += j - i - 1;
  }
  if (freedom) k->seed_sd = sqrt(squares / freedom);
  return OK;
}

void contrast_free(Contrast *k) {
  free(k->item);
  *k = (Contrast){0};
}

int contrast_levels(const Contrast *k, int group, Level out[MAX_LEVELS_SHOWN]) {
  int n = 0;
  for (int i = 0, j; i < k->n; i = j) {
    double sum = 0;
    for (j = i; j < k->n && same_level(&k->item[i], &k->item[j]); j++) sum += k->item[j].r->val_loss;
    if (k->item[i].group == group && n < MAX_LEVELS_SHOWN)
      out[n++] = (Level){k->item[i].level, sum / (j - i), k->seed_sd / sqrt(j - i), i, j - i};
  }
  return n;
}

// Sum of squares of the pairwise differences about their mean; false where seeds are not the same.
static bool pairs_squares(const Contrast *k, const Level *p, const Level *q, double *squares) {
  const Item *a = k->item + p->first, *b = k->item + q->first;
  if (p->n != q->n) return false;
  for (int j = 0; j < p->n; j++) {
    if (a[j].r->cfg.seed != b[j].r->cfg.seed) return false;
    *squares += pow(a[j].r->val_loss - b[j].r->val_loss - (p->mean - q->mean), 2);
  }
  return true;
}

double contrast_difference(const Contrast *k, const Level *l, int n, int i, int base, double sd, double *se) {
  double squares = 0, own = 0;
  int freedom = 0;
  const bool paired = pairs_squares(k, &l[i], &l[base], &own);
  for (int j = 0; j < n && paired; j++)
    if (j != base && pairs_squares(k, &l[j], &l[base], &squares)) freedom += l[j].n - 1;
  *se = i == base ? 0 : freedom ? sqrt(squares / freedom / l[i].n) : sd * sqrt(1. / l[i].n + 1. / l[base].n);
  return l[i].mean - l[base].mean;
}

const Record *contrast_first(const Contrast *k, int group) {
  for (int i = 0; i < k->n; i++)
    if (k->item[i].group == group) return k->item[i].r;
  return NULL;
}

double level_curve_at(const Contrast *k, const Level *l, double u) {
  double sum = 0;
  int n = 0;
  for (int i = l->first; i < l->first + l->n; i++) {
    const Curve *c = k->item[i].c;
    const Point p = point_of(k->item[i].r, &conventions[0]);
    int at = 0;
    if (c->n < 2) continue;
    while (at + 1 < c->n && fabs(c->tokens[at + 1] - u * p.D) < fabs(c->tokens[at] - u * p.D)) at++;
    sum += curve_smooth_at(c, at, fmax(curve_width(&p), .02 * p.D)), n++;
  }
  return n ? sum / n : NAN;
}
