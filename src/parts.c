// parts.c: which runs of a study folder belong to which part of its study.
//
// In: DIR/study.ini and the records of the folder. Out: the records of each part, its curves and its own parabolas; and
// the records behind the laws. The invariant: a run that two parts want is a record of both, and stands once in the
// laws.
#include "fit.h"
#include "plan.h"
#include "verdict.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int part_fit(PartFit *p, const Config *cfg, const char *dir, Err *e) {
  for (int i = 0; i < p->rs.n && strcmp(cfg->kind, "verdict"); i++) p->rs.r[i].cfg.from_flops = cfg->from_flops;
  if (curves_load(&p->cs, dir, &p->rs, e)) return e->code;
  for (int i = 0; i < p->rs.n && !strcmp(p->name, "horizons"); i++) p->rs.r[i].cfg.budget = 0;
  if (points_make(&p->points, &p->rs, &conventions[0], e)) return e->code;
  return iso_fit(&p->iso, &p->points, &conventions[0], RESAMPLES, e);
}

static const Record *record_find(const Records *rs, const char *id) {
  for (int i = 0; i < rs->n; i++)
    if (!strcmp(rs->r[i].id, id)) return &rs->r[i];
  return NULL;
}

static int record_add(Records *rs, const Record *r, Err *e) {
  if ((rs->n & (rs->n - 1)) == 0) {  // full at every power of two
    Record *more = realloc(rs->r, sizeof *more * (size_t)(rs->n ? 2 * rs->n : 1));
    if (!more) return fail(e, E_MEMORY, "no memory for the records of a part");
    rs->r = more;
  }
  rs->r[rs->n++] = *r;
  return OK;
}

int parts_open(Parts *ps, const char *dir, const Records *all, Err *e) {
  char path[1024];
  Study s;
  Plan plan;
  *ps = (Parts){0}, *e = (Err){0};
  snprintf(path, sizeof path, "%.900s/study.ini", dir);
  if (!file_exists(path)) return OK;
  if (study_read(dir, &s, e)) return e->code;
  const int laws = study_part(&s, "isoflop");
  ps->laws = s.part[laws < 0 ? 0 : laws].cfg;
  if (s.n < 2 || verdict_pairs(dir, &s, e) || plan_make(&plan, &s, all, e)) return e->code;
  ps->p = mem_new(sizeof *ps->p * (size_t)s.n, "parts of the study", e);
  ps->n = ps->p ? s.n : 0;
  for (int k = 0; k < ps->n && !e->code; k++) {
    snprintf(ps->p[k].name, sizeof ps->p[k].name, "%s", s.part[k].name);
    for (int i = 0; i < plan.n && !e->code; i++) {
      const Record *r = plan.cells[i].parts >> k & 1 ? record_find(all, plan.cells[i].id) : NULL;
      if (r) record_add(&ps->p[k].rs, r, e);
    }
    if (!e->code) part_fit(&ps->p[k], &s.part[k].cfg, dir, e);
  }
  plan_free(&plan);
  if (e->code) parts_free(ps);
  return e->code;
}

const PartFit *parts_find(const Parts *ps, const char *name) {
  for (int k = 0; k < ps->n; k++)
    if (!strcmp(ps->p[k].name, name) && ps->p[k].rs.n) return &ps->p[k];
  return NULL;
}

int parts_main(Records *rs, const Parts *ps, const Records *all, Err *e) {
  static const char *const names[] = {"isoflop", "horizons"};
  *rs = (Records){.n_bad = all->n_bad}, *e = (Err){0};
  memcpy(rs->first_bad, all->first_bad, sizeof rs->first_bad);
  for (int k = 0; k < 2; k++) {
    const PartFit *p = parts_find(ps, names[k]);
    for (int i = 0; p && i < p->rs.n && !e->code; i++)
      if (!record_find(rs, p->rs.r[i].id)) record_add(rs, &p->rs.r[i], e);
  }
  // Without those: the first part that has runs; without parts: all runs.
  for (int k = 0; k < ps->n && !rs->n; k++)
    for (int i = 0; i < ps->p[k].rs.n && !e->code; i++) record_add(rs, &ps->p[k].rs.r[i], e);
  for (int i = 0; i < all->n && !ps->n && !e->code; i++)
    if (!record_add(rs, &all->r[i], e)) rs->r[i].cfg.from_flops = ps->laws.from_flops;
  if (e->code) records_free(rs);
  return e->code;
}

void parts_free(Parts *ps) {
  for (int k = 0; k < ps->n; k++) {
    points_free(&ps->p[k].points);
    curves_free(&ps->p[k].cs);
    records_free(&ps->p[k].rs);
  }
  free(ps->p);
  *ps = (Parts){0};
}
