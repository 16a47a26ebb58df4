// tune.c: see tune.h. In: a tuning study. Out: its runs by model and knob; the order of the stages of `isoflop tune`.
// Invariant: everything that is trained goes through the sweep and has a record, so what is done is never done again,
// and the fit is a function of the records alone.
#include "tune.h"
#include "sweep.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const knob_name[KNOBS] = {"rate", "batch", "beta2", "warm-up"};

double knob_value(Knob k, const Config *c) {
  return k == KNOB_RATE ? c->lr : k == KNOB_BATCH ? c->batch_tokens : k == KNOB_BETA2 ? 1 - c->beta2 : c->warmup;
}

// ---- Runs as points -------------------------------------------------------------------------------------

// What the rule alone makes of a cell's model and horizon.
static int rule_of(Config *base, const Study *s, const Cell *c, Err *e) {
  int part = 0;
  while (!(c->parts >> part & 1)) part++;
  *base = s->part[part].cfg;
  base->d_model = c->cfg.d_model, base->n_layers = c->cfg.n_layers, base->n_heads = c->cfg.n_heads;
  base->budget = c->cfg.budget, base->seed = c->cfg.seed;
  if (!(base->budget > 0)) base->tokens = c->cfg.tokens;
  return recipe_resolve(base, e);
}

static int group_of(Tuning *t, const Config *base, double N, Err *e) {
  for (int g = 0; g < t->n_groups; g++)
    if (t->group[g].N == N && t->group[g].D == base->tokens) return g;
  if (t->n_groups == TUNE_GROUPS) return fail(e, E_CONFIG, "tune: more than %d models and horizons", TUNE_GROUPS), -1;
  t->group[t->n_groups] = (TuneGroup){.base = *base, .C = base->tokens * shape_flops(base).exact, .N = N,
                                      .D = base->tokens};
  return t->n_groups++;
}

static int turned_make(TunePoint *p, const TuneGroup *g, Err *e) {
  const Config *c = &p->cell->cfg;
  Config other = *c;
  p->knob = KNOBS;
  for (int k = 0; k < KNOBS; k++) {
    const double x = log(knob_value(k, c) / knob_value(k, &g->base));
    if (fabs(x) < 1e-9) continue;
    if (p->knob != KNOBS)
      return fail(e, E_CONFIG, "tune: run %s departs from the rule in %s and in %s: vary one at a time", p->cell->id,
                  knob_name[p->knob], knob_name[k]);
    p->knob = k, p->x = x;
  }
  // Whatever else a study varies is nothing that a rule for these four can be fitted to.
  other.lr = g->base.lr, other.batch_tokens = g->base.batch_tokens, other.beta2 = g->base.beta2;
  other.warmup = g->base.warmup, other.tokens = g->base.tokens, other.seed = g->base.seed;
  char id[17], rule[17];
  config_run_id(&other, 0, id), config_run_id(&g->base, 0, rule);
  if (!strcmp(id, rule)) return OK;
  return fail(e, E_CONFIG, "tune: run %s differs from the rule in more than rate, batch, beta2 and warm-up",
              p->cell->id);
}

int tuning_make(Tuning *t, const Study *s, const Records *rs, Err *e) {
  *t = (Tuning){.old = s->part[0].cfg};
  if (plan_make(&t->plan, s, rs, e)) return e->code;
  t->p = mem_new((size_t)(t->plan.n + 1) * sizeof *t->p, "points of the tuning", e);
  for (int i = 0; t->p && i < t->plan.n; i++) {
    Config base;
    TunePoint *p = &t->p[t->n++];
    *p = (TunePoint){.cell = &t->plan.cells[i], .seed = t->plan.cells[i].cfg.seed, .loss = NAN};
    if (rule_of(&base, s, p->cell, e)) break;
    p->group = group_of(t, &base, p->cell->params, e);
    if (p->group < 0) break;
    TuneGroup *g = &t->group[p->group];
    if (turned_make(p, g, e)) break;
    g->seeds += p->knob == KNOBS;
    for (int j = 0; rs && j < rs->n; j++)
      if (!strcmp(rs->r[j].id, p->cell->id) && !strcmp(rs->r[j].status, "finished")) p->loss = rs->r[j].val_loss;
  }
  if (e->code) tuning_free(t);
  return e->code;
}

void tuning_free(Tuning *t) {
  free(t->p);
  plan_free(&t->plan);
  *t = (Tuning){0};
}

// ---- The rule as a whole --------------------------------------------------------------------------------

void tune_check_study(Study *out, const Study *s, const TuneFit *f) {
  *out = *s;
  for (int i = -1; i < s->n; i++) {
    Config *c = i < 0 ? &out->base : &out->part[i].cfg;
    c->lr_at = f->rule.lr_at, c->lr_exponent = f->rule.lr_exponent, c->lr_horizon = f->rule.lr_horizon;
    c->lr_max = f->rule.lr_max, c->batch_at = f->rule.batch_at, c->batch_exponent = f->rule.batch_exponent;
    c->beta2_small = f->rule.beta2_small, c->warmup = f->rule.warmup;
    snprintf(c->vary, sizeof c->vary, "none");
  }
}

void tune_check(TuneCheck *k, const Tuning *t, const TuneFit *f, const Tuning *again) {
  int groups = 0;
  double variance = 0;
  *k = (TuneCheck){.run = true};
  for (int g = 0; g < t->n_groups; g++) {
    int pairs = 0;
    for (int i = 0; i < again->n; i++)
      for (int j = 0; j < t->n; j++) {
        const TunePoint *p = &again->p[i], *q = &t->p[j];
        if (q->group != g || q->knob != KNOBS || q->seed != p->seed || p->cell->params != t->group[g].N ||
            p->cell->cfg.budget != q->cell->cfg.budget || isnan(q->loss))
          continue;
        if (isnan(p->loss)) {
          k->lost++;
          continue;
        }
        k->old_loss[g] += q->loss, k->new_loss[g] += p->loss, pairs++;
      }
    k->old_loss[g] /= pairs, k->new_loss[g] /= pairs;
    if (!pairs) continue;
    groups++;
    k->gain += k->old_loss[g] - k->new_loss[g];
    variance += 2 * f->noise * f->noise / pairs;
  }
  k->gain /= groups;
  k->se = sqrt(variance) / groups;
}

// ---- All of it --------------------------------------------------------------------------------------------

// Runs a study's missing cells and reads all of them.
static int tuning_run(Tuning *t, const Study *s, const char *dir, int workers, Err *e) {
  Records rs;
  if (tuning_make(t, s, NULL, e)) return e->code;  // says what is wrong with the study before it has trained anything
  tuning_free(t);
  if (sweep_open(dir, s, e)) return e->code;
  sweep_run(s, dir, workers, e);
  if (e->code || records_load(dir, &rs, e)) return e->code;
  tuning_make(t, s, &rs, e);
  records_free(&rs);
  return e->code;
}

int tune_run(const Study *study, const char *dir, int workers, Err *e) {
  Tuning t, again;
  TuneCheck check = {0};
  TuneFit *f = mem_new(sizeof *f, "tuning", e);
  Study *next = mem_new(sizeof *next, "tuning", e);
  if (!f || !next || tuning_run(&t, study, dir, workers, e)) goto done;
  bool moved = false;
  if (tune_fit(f, &t, e)) goto fitted;
  for (int i = 0; i < f->n; i++) moved |= f->coef[i].moved;
  if (moved) {
    char path[1024];
    snprintf(path, sizeof path, "%.1000s/check", dir);
    tune_check_study(next, study, f);
    printf("the new rule as a whole:\n");
    if (tuning_run(&again, next, path, workers, e)) goto fitted;
    tune_check(&check, &t, f, &again);
    tuning_free(&again);
  }
  if (!tune_write(&t, f, &check, dir, e)) tune_print(&t, f, &check, dir, stdout);
fitted:
  tuning_free(&t);
done:
  free(f);
  free(next);
  return e->code;
}
