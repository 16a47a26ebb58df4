// tune_write.c: what a tuning leaves: the rule as an INI that a study takes, the runs as a table, the figure.
//
// In: a fitted tuning. Out: DIR/recipe.ini ([recipe], and [train] warmup where it moved), DIR/tune.csv (one row a run),
// DIR/figures/tune_points.csv, tune_curves.csv, tune_best.csv and what gnuplot draws of them: loss against peak rate, a
// curve a model, the new rule marked; the best rate against size. Invariant: a rule that a check found worse than the
// old one is not written.
#include "figures.h"
#include "tune.h"
#include <math.h>
#include <string.h>

// The rule that stands after all: the new one, unless training by it was worse beyond the noise, or diverged.
static bool rejected(const TuneCheck *k) { return k->run && (k->lost || !(k->gain >= -2 * k->se)); }

static Config standing(const Tuning *t, const TuneFit *f, const TuneCheck *k) {
  return rejected(k) ? t->old : f->rule;
}

static int recipe_ini(const Tuning *t, const TuneFit *f, const TuneCheck *k, const char *dir, Err *e) {
  char path[1024];
  OutFile o;
  const Config rule = standing(t, f, k);
  snprintf(path, sizeof path, "%.1000s/recipe.ini", dir);
  if (out_open(&o, path, e)) return e->code;
  fprintf(o.f, "; The rule that `isoflop tune` found from %d runs: a second --config of plan, sweep and train.\n", t->n);
  static const char *const keys[] = {"lr_at", "lr_exponent", "lr_horizon", "lr_max", "batch_at", "batch_exponent",
                                     "beta2_small", "beta2_large", "beta2_switch"};  // the rule; not a part's factors on it
  fputs("[recipe]\n", o.f);
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    for (const Option *q = config_options; q->key; q++) {
      char value[1024];
      if (strcmp(q->key, keys[i])) continue;
      config_print_value(&rule, q, value, sizeof value);
      fprintf(o.f, "%s = %s\n", q->key, value);
    }
  if (rule.warmup != t->old.warmup) {
    char number[32];
    config_print_number(number, sizeof number, rule.warmup);
    fprintf(o.f, "\n[train]\nwarmup = %s\n", number);
  }
  return out_commit(&o, e);
}

static int tune_csv(const Tuning *t, const char *dir, Err *e) {
  char path[1024];
  OutFile o;
  snprintf(path, sizeof path, "%.1000s/tune.csv", dir);
  if (out_open(&o, path, e)) return e->code;
  fputs("run_id,params,tokens,flops,seed,turned,factor,lr,batch_tokens,beta2,warmup,loss\n", o.f);
  for (int i = 0; i < t->n; i++) {
    const TunePoint *p = &t->p[i];
    const Config *c = &p->cell->cfg;
    fprintf(o.f, "%s,%.0f,%.0f,%.9g,%d,%s,%.9g,%.9g,%d,%.9g,%.9g,", p->cell->id, p->cell->params, c->tokens,
            p->cell->flops, p->seed, p->knob == KNOBS ? "none" : knob_name[p->knob], exp(p->x), c->lr, c->batch_tokens,
            c->beta2, c->warmup);
    if (!isnan(p->loss)) fprintf(o.f, "%.9g", p->loss);
    fputc('\n', o.f);
  }
  return out_commit(&o, e);
}

// ---- The figure -----------------------------------------------------------------------------------------

typedef struct Ranges { double lr0, lr1, n0, n1, l0, l1; } Ranges;

static double new_rate(const Config *rule, const TuneGroup *g) {
  Config c = *rule;
  Err e;
  c.d_model = g->base.d_model, c.n_layers = g->base.n_layers, c.n_heads = g->base.n_heads;
  c.lr = 0, c.batch_tokens = 0, c.beta2 = 0, c.budget = g->base.budget, c.tokens = g->base.budget > 0 ? 0 : g->D;
  return recipe_resolve(&c, &e) ? NAN : c.lr;
}

static int points_csv(const Tuning *t, const char *dir, Ranges *r, Err *e) {
  OutFile o;
  if (figures_open(&o, dir, "tune_points.csv", e)) return e->code;
  fputs("group,run_id,N,D,rate,loss\n", o.f);
  for (int i = 0; i < t->n; i++) {
    const TunePoint *p = &t->p[i];
    if ((p->knob != KNOB_RATE && p->knob != KNOBS) || isnan(p->loss)) continue;
    const double lr = p->cell->cfg.lr;
    fprintf(o.f, "%d,%s,%.0f,%.0f,%.17g,%.17g\n", p->group, p->cell->id, p->cell->params, p->cell->cfg.tokens, lr, p->loss);
    r->lr0 = fmin(r->lr0, lr), r->lr1 = fmax(r->lr1, lr), r->l0 = fmin(r->l0, p->loss), r->l1 = fmax(r->l1, p->loss);
    r->n0 = fmin(r->n0, p->cell->params), r->n1 = fmax(r->n1, p->cell->params);
  }
  return out_commit(&o, e);
}

static int curves_csv(const Tuning *t, const TuneFit *f, const char *dir, Err *e) {
  OutFile o;
  if (figures_open(&o, dir, "tune_curves.csv", e)) return e->code;
  fputs("group,rate,loss\n", o.f);
  enum { STEPS = 64 };
  for (int g = 0; g < t->n_groups; g++) {
    const TuneValley *v = &f->valley[KNOB_RATE][g];
    for (int k = 0; k <= STEPS && !isnan(v->loss); k++) {
      const double x = v->lo + (v->hi - v->lo) * k / STEPS;
      fprintf(o.f, "%d,%.17g,%.17g\n", g, t->group[g].base.lr * exp(x),
              v->loss + v->slope * x + f->curve[KNOB_RATE] * x * x);
    }
    fputc('\n', o.f);
  }
  return out_commit(&o, e);
}

// Each model's best rate, and the rates of the old rule and the new one with the losses the parabola gives them.
static int best_csv(const Tuning *t, const TuneFit *f, const Config *rule, const char *dir, Err *e) {
  OutFile o;
  if (figures_open(&o, dir, "tune_best.csv", e)) return e->code;
  fputs("group,N,D,best,best_p10,best_p90,old,new,new_loss\n", o.f);
  for (int g = 0; g < t->n_groups; g++) {
    const TuneValley *v = &f->valley[KNOB_RATE][g];
    const TuneGroup *q = &t->group[g];
    if (isnan(v->best.value)) continue;
    const double lr = new_rate(rule, q), x = log(lr / q->base.lr);
    fprintf(o.f, "%d,%.0f,%.0f,%.17g,%.17g,%.17g,%.17g,%.17g,%.17g\n", g, q->N, q->D, q->base.lr * exp(v->best.value),
            q->base.lr * exp(v->best.p10), q->base.lr * exp(v->best.p90), q->base.lr, lr,
            v->loss + v->slope * x + f->curve[KNOB_RATE] * x * x);
  }
  return out_commit(&o, e);
}

static int rates_gp(const Tuning *t, const TuneFit *f, const char *dir, const Panel *p, Err *e) {
  OutFile o;
  if (figures_script(&o, dir, p, e)) return e->code;
  figures_axes(o.f, p, "Loss against peak rate", "Peak learning rate", "Held-out loss (nats per token)", false);
  for (int g = 0; g < t->n_groups; g++) {
    const TuneValley *v = &f->valley[KNOB_RATE][g];
    char hex[8];
    if (isnan(v->loss)) continue;
    figures_color(g, t->n_groups, hex);
    fprintf(o.f, "set label %d '%s, %.0f a parameter' at %.17g,%.17g left offset .8,0 tc rgb '%s'\n", g + 1,
            text_count(t->group[g].N), t->group[g].D / t->group[g].N, t->group[g].base.lr * exp(v->hi),
            v->loss + v->slope * v->hi + f->curve[KNOB_RATE] * v->hi * v->hi, hex);
  }
  fputs("plot \\\n", o.f);
  for (int g = 0; g < t->n_groups; g++) {
    char hex[8];
    figures_color(g, t->n_groups, hex);
    fprintf(o.f, "  'tune_curves.csv' using (column('group') == %d ? column('rate') : NaN):'loss' with lines lw 1.6 lc rgb '%s', \\\n", g, hex);
    fprintf(o.f, "  'tune_points.csv' using (column('group') == %d ? column('rate') : NaN):'loss' with points pt 7 ps .6 lc rgb '%s', \\\n", g, hex);
  }
  fputs("  'tune_best.csv' using 'new':'new_loss' with points pt 9 ps 1.5 lc rgb '#20242a'\n", o.f);
  return out_commit(&o, e);
}

static int rule_gp(const Config *rule, const Tuning *t, const char *dir, const Panel *p, Err *e) {
  OutFile o;
  if (figures_script(&o, dir, p, e)) return e->code;
  figures_axes(o.f, p, "Best rate and the rule", "Parameters", "Peak learning rate", true);
  fputs("set key top right samplen 2 spacing 1.25 tc rgb '#20242a'\nplot \\\n", o.f);
  const Config *rules[] = {&t->old, rule};
  for (int k = 0; k < 2; k++)
    fprintf(o.f, "  [%.17g:%.17g] x * 0 + (%.17g * (x / %.17g) ** %.17g < %.17g ? %.17g * (x / %.17g) ** %.17g : %.17g) with lines lw %g %s "
            "lc rgb '%s' title '%s rule', \\\n", p->x0, p->x1, rules[k]->lr_at, RECIPE_PARAMS, rules[k]->lr_exponent,
            rules[k]->lr_max, rules[k]->lr_at, RECIPE_PARAMS, rules[k]->lr_exponent, rules[k]->lr_max, k ? 1.8 : 1.2,
            k ? "dt 1" : "dt '-'", k ? "#20242a" : "#8a9199", k ? "new" : "old");
  for (int g = 0; g < t->n_groups; g++) {
    char hex[8];
    figures_color(g, t->n_groups, hex);
    fprintf(o.f, "  'tune_best.csv' using (column('group') == %d ? column('N') : NaN):'best':'best_p10':'best_p90' with "
            "yerrorbars pt 7 ps .8 lw 1.4 lc rgb '%s' notitle%s\n", g, hex, g + 1 < t->n_groups ? ", \\" : "");
  }
  return out_commit(&o, e);
}

static int tune_figure(const Tuning *t, const TuneFit *f, const Config *rule, const char *dir, Err *e) {
  char path[1024];
  Ranges r = {INFINITY, 0, INFINITY, 0, INFINITY, 0};
  snprintf(path, sizeof path, "%.1000s/figures", dir);
  if (dir_make(path, e) || points_csv(t, dir, &r, e) || curves_csv(t, f, dir, e) || best_csv(t, f, rule, dir, e))
    return e->code;
  if (!(r.lr1 > r.lr0) || isnan(f->curve[KNOB_RATE])) return OK;  // no rates were varied
  const double pad = .05 * (r.l1 - r.l0) + 1e-3;
  const Panel p[] = {
      {"tune_rates", 900, 500, .085, .975, .125, .925, r.lr0 / 1.15, r.lr1 * 2, r.l0 - pad, r.l1 + pad, false, false},
      {"tune_rule", 560, 420, .15, .965, .145, .915, r.n0 / 1.4, r.n1 * 1.4, r.lr0 / 1.2, r.lr1 * 1.2, true, false}};
  static const double left[] = {.06, .68}, right[] = {.58, .98};
  if (rates_gp(t, f, dir, &p[0], e) || rule_gp(rule, t, dir, &p[1], e)) return e->code;
  return figures_draw(dir, "tune", p, 2, 1300, 460, left, right, e);
}

int tune_write(const Tuning *t, const TuneFit *f, const TuneCheck *k, const char *dir, Err *e) {
  const Config rule = standing(t, f, k);
  return recipe_ini(t, f, k, dir, e) || tune_csv(t, dir, e) || tune_figure(t, f, &rule, dir, e) ? e->code : OK;
}

// ---- The terminal -----------------------------------------------------------------------------------------

// Best factor on the rule's value, or why there is none.
static void valley_print(FILE *out, const TuneFit *f, Knob k, const TuneValley *v) {
  char text[48] = "-";
  if (!isnan(v->best.value))
    snprintf(text, sizeof text, "%s%.2f (%.2f-%.2f)", v->edge ? "*" : "", exp(v->best.value), exp(v->best.p10),
             exp(v->best.p90));
  else if (v->runs && f->curve[k] <= 0) snprintf(text, sizeof text, "no valley");
  fprintf(out, "  %-18s", text);
}

void tune_print(const Tuning *t, const TuneFit *f, const TuneCheck *k, const char *dir, FILE *out) {
  int runs = 0;
  for (int i = 0; i < t->n; i++) runs += !isnan(t->p[i].loss);
  fprintf(out, "Tuning: %d of %d runs used; noise of a run %.4f nats beside its seed's own\n", runs, t->n, f->noise);
  fprintf(out, "Best factor on the rule with its 10-90 %% interval (*: at the end of what was tried)\n"
               "       N   D/N       C  seeds      loss");
  for (int j = 0; j < KNOBS; j++) fprintf(out, "  %-18s", knob_name[j]);
  fputc('\n', out);
  for (int g = 0; g < t->n_groups; g++) {
    const TuneGroup *q = &t->group[g];
    fprintf(out, "%8s  %4.0f  %6s  %5d  %8.4f", text_count(q->N), q->D / q->N, text_budget(q->C), q->seeds,
            f->valley[KNOB_RATE][g].loss);
    for (int j = 0; j < KNOBS; j++) valley_print(out, f, (Knob)j, &f->valley[j][g]);
    fputc('\n', out);
  }
  fprintf(out, "The rule                            was      found   (10-90 %%)               now\n");
  for (int i = 0; i < f->n; i++) {
    const TuneCoef *c = &f->coef[i];
    fprintf(out, "  %-30s %8.4g  %8.4g   (%.4g to %.4g)  %s", c->what, c->was, c->found.value, c->found.p10,
            c->found.p90, c->moved ? "" : "kept: within the noise\n");
    if (c->moved) fprintf(out, "%.4g\n", c->now);
  }
  for (int j = 0; j < KNOBS; j++)
    if (f->curve[j] <= 0) fprintf(out, "  %s: no valley in what was tried: kept\n", knob_name[j]);
  if (k->run && (k->lost || isnan(k->gain)))
    fprintf(out, "  by the new rule as a whole %d runs have no loss where the old one's have: the old rule is kept\n", k->lost);
  else if (k->run)
    fprintf(out, "  by the new rule as a whole the loss is %.4f nats lower, +- %.4f, mean of the models%s\n", k->gain,
            k->se, rejected(k) ? ": worse beyond the noise, the old rule is kept" : "");
  fprintf(out, "%s/recipe.ini, %s/tune.csv, %s/figures/tune.svg\n", dir, dir, dir);
}
