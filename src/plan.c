// plan.c: a study's cells. In: budgets, a range of sizes, the family of shapes. Out: resolved configs, their costs, a
// table.
// Invariant: every cell's exact FLOPs lie within 1 % of its budget; the plan is a function of the study and the
// corpus alone.
// Reference: Hoffmann et al. 2022, section 3.2 (IsoFLOP profiles): several sizes N a budget C, each with D set by C
// and N.
#include "plan.h"
#include "kernels.h"
#include "model.h"
#include "train.h"
#include "shape.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double BUDGET_TOLERANCE = 0.01;

// ---- Which sizes ------------------------------------------------------------------------------------

enum { MAX_FAMILY = 256 };

// The range [lo, hi] of budget b: one pair for all or a pair for each.
static void range_of(const NumList *l, int b, double *lo, double *hi) {
  const int i = l->n == 2 ? 0 : 2 * b;
  *lo = l->v[i];
  *hi = l->v[i + 1];
}

// Picks at most `want` of the n candidates, whose coordinates x are ascending: the ones nearest to a log-even grid
// from the first to the last, all distinct. picked[] ascending; returns how many.
static int pick_even(const double *x, int n, int want, int *picked) {
  if (want >= n) {
    for (int i = 0; i < n; i++) picked[i] = i;
    return n;
  }
  for (int k = 0; k < want; k++) {
    const double target = want > 1 ? x[0] + (x[n - 1] - x[0]) * k / (want - 1) : (x[0] + x[n - 1]) / 2;
    const int from = k ? picked[k - 1] + 1 : 0, to = n - (want - k);  // leaves a candidate for each later point
    int best = from;
    for (int i = from; i <= to; i++)
      if (fabs(x[i] - target) < fabs(x[best] - target)) best = i;
    picked[k] = best;
  }
  return want;
}

// The members of the family whose N (params_range) or D/N (tokens_per_param) at this budget lies in the study's range.
static int sizes_of(const Config *study, int b, int *member) {
  const bool by_size = study->params_range.n > 0;
  double lo, hi, log_n[MAX_FAMILY];
  range_of(by_size ? &study->params_range : &study->tokens_per_param, b, &lo, &hi);
  int n = 0, candidate[MAX_FAMILY], picked[MAX_FAMILY];
  Config c = *study;
  for (int i = 0; n < MAX_FAMILY && shape_family(i, &c); i++) {
    const double N = shape_params(&c).total, D = study->budgets.v[b] / shape_flops(&c).exact;
    const double x = by_size ? N : D / N;
    if (x < lo || x > hi) continue;
    candidate[n] = i;
    log_n[n++] = log(N);
  }
  n = pick_even(log_n, n, study->sizes_per_budget, picked);
  for (int k = 0; k < n; k++) member[k] = candidate[picked[k]];
  return n;
}

// ---- Cells --------------------------------------------------------------------------------------------

static int cell_make(Cell *cell, const Config *study, double budget, int member, int seed, Err *e) {
  Config c = *study;
  c.budget = budget;
  c.seed = seed;
  shape_family(member, &c);
  Err why;
  if (recipe_resolve(&c, &why) || config_check(&c, &why))
    return fail(e, E_CONFIG, "budget %g, d_model %d, n_layers %d: %s", budget, c.d_model, c.n_layers, why.msg);
  *cell = (Cell){.cfg = c, .flops = c.tokens * shape_flops(&c).exact, .params = shape_params(&c).total,
                 .seconds = NAN, .bytes = NAN};
  const double off = cell->flops / budget - 1;
  if (fabs(off) > BUDGET_TOLERANCE)
    return fail(e, E_CONFIG, "budget %g, d_model %d, n_layers %d: %.0f steps of %d tokens miss the budget by %.1f %%, "
                "expected 1 %%: set batch_tokens or seq_len lower, or the budget higher", budget, c.d_model, c.n_layers,
                c.tokens / c.batch_tokens, c.batch_tokens, 100 * off);
  return OK;
}

int plan_make(Plan *p, const Config *study, uint64_t corpus_hash, double corpus_train_tokens, Err *e) {
  *p = (Plan){0};
  if (config_check(study, e)) return e->code;
  if (study->tokens != 0)
    return fail(e, E_CONFIG, "tokens = %.0f: a study sets budgets, and they set tokens", study->tokens);
  double most = 0;
  for (int b = 0; b < study->budgets.n; b++) most += study->seeds.v[study->seeds.n == 1 ? 0 : b];
  p->cells = mem_new((size_t)most * (size_t)study->sizes_per_budget * sizeof(Cell), "plan", e);
  if (!p->cells) return e->code;

  for (int b = 0; b < study->budgets.n; b++) {
    int member[MAX_FAMILY];
    const int n = sizes_of(study, b, member), seeds = (int)study->seeds.v[study->seeds.n == 1 ? 0 : b];
    if (n == 0) {
      plan_free(p);
      return fail(e, E_CONFIG, "budget %g: no member of the family of shapes lies in %s", study->budgets.v[b],
                  study->params_range.n ? "params_range" : "tokens_per_param");
    }
    for (int k = 0; k < n; k++)
      for (int s = 0; s < seeds; s++) {
        Cell *cell = &p->cells[p->n++];
        if (cell_make(cell, study, study->budgets.v[b], member[k], study->seed + s, e)) {
          plan_free(p);
          return e->code;
        }
        cell->epochs = cell->cfg.tokens / corpus_train_tokens;
        config_run_id(&cell->cfg, corpus_hash, cell->id);
      }
  }
  return OK;
}

void plan_free(Plan *p) {
  free(p->cells);
  *p = (Plan){0};
}

// ---- What they cost -------------------------------------------------------------------------------------

static bool same_cost(const Config *a, const Config *b) {
  return a->d_model == b->d_model && a->n_layers == b->n_layers && a->n_heads == b->n_heads &&
         a->seq_len == b->seq_len && a->batch_tokens == b->batch_tokens;  // the rest is common to a study
}

// Seconds of a training step, and of the forward pass of one held-out token: the least of a few, for other programs
// only ever add to them.
static void measure(Model *m, const uint8_t *rows, double *step, double *forward) {
  enum { REPEAT = 5 };
  static const double ENOUGH = 0.05;  // seconds after which no more repeats are made
  const int T = m->cfg.seq_len, B = m->cfg.batch_tokens / T;
  double loss[1];
  *step = *forward = INFINITY;
  const double began = now_seconds();
  for (int i = 0; i < REPEAT && (i < 2 || now_seconds() - began < ENOUGH); i++) {
    double t = now_seconds();
    model_step(m, rows, B);
    optim_step(m, i + 1, 1e-6);
    *step = fmin(*step, now_seconds() - t);
    t = now_seconds();
    model_losses(m, rows, 1, loss);
    *forward = fmin(*forward, (now_seconds() - t) / T);
  }
}

static int measure_cell(Cell *cell, double *step, double *forward, Err *e) {
  Config c = cell->cfg;
  c.threads = 1;
  Model m;
  if (model_new(&m, &c, true, e)) return e->code;
  const size_t n = (size_t)(c.batch_tokens / c.seq_len) * (size_t)(c.seq_len + 1);
  uint8_t *rows = mem_new(n, "batch", e);
  if (rows) {
    for (size_t i = 0; i < n; i++) rows[i] = (uint8_t)rng_u64(1, i);
    measure(&m, rows, step, forward);
    cell->bytes = (double)(m.bytes + n);
  }
  free(rows);
  model_free(&m);
  return rows ? OK : e->code;
}

int plan_measure(Plan *p, Err *e) {
  for (int i = 0; i < p->n; i++) {
    Cell *cell = &p->cells[i];
    if (!isnan(cell->seconds)) continue;
    double step, forward;
    if (measure_cell(cell, &step, &forward, e)) return e->code;
    for (int j = i; j < p->n; j++) {
      Cell *alike = &p->cells[j];
      const Config *c = &alike->cfg;
      if (!same_cost(c, &cell->cfg)) continue;
      const double eval = c->eval_tokens * (1 + c->eval_points / (double)TRAIN_MID_EVAL);
      alike->seconds = c->tokens / c->batch_tokens * step + eval * forward;
      alike->bytes = cell->bytes;
    }
  }
  return OK;
}

double plan_makespan(const double *seconds, int n, double *busy, int workers) {
  double end = 0;
  for (int i = 0; i < n; i++) {
    int first = 0;
    for (int w = 1; w < workers; w++)
      if (busy[w] < busy[first]) first = w;
    busy[first] += seconds[i];
  }
  for (int w = 0; w < workers; w++) end = fmax(end, busy[w]);
  return end;
}

// ---- The table ------------------------------------------------------------------------------------------

const char *plan_duration(double seconds) {
  static char text[40];
  const long s = lround(seconds);
  if (isnan(seconds)) snprintf(text, sizeof text, "?");
  else if (seconds < 10) snprintf(text, sizeof text, "%.1f s", seconds);
  else if (s < 60) snprintf(text, sizeof text, "%ld s", s);
  else if (s < 3600) snprintf(text, sizeof text, "%ld min %ld s", s / 60, s % 60);
  else snprintf(text, sizeof text, "%ld h %ld min", s / 3600, s % 3600 / 60);
  return text;
}

// What stays of a run (parameters, curve, record), and what it holds while it runs: a checkpoint with both moments,
// twice.
static double disk_kept(const Cell *c) { return 4 * c->params + 16e3; }
static double disk_running(const Cell *c) { return 2 * 12 * c->params + 16e3; }

static int descending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x < y) - (x > y);
}

void plan_print(const Plan *p, int workers, FILE *f) {
  double flops = 0, seconds = 0, bytes = 0, kept = 0, running = 0, epochs = 0;
  fprintf(f, "%-16s %9s %4s %2s %2s %4s %10s %9s %10s %10s", "run_id", "budget", "d", "L", "H", "seed", "N", "embeds",
          "attn+norm", "ffn");
  fprintf(f, " %7s %11s %6s %6s %6s %10s %6s %8s %7s %7s\n", "D/N", "D", "steps", "batch", "lr", "FLOPs", "epochs",
          "seconds", "mem MB", "disk MB");
  for (int i = 0; i < p->n; i++) {
    const Cell *c = &p->cells[i];
    const Config *g = &c->cfg;
    const Params q = shape_params(g);
    if (i && g->budget != p->cells[i - 1].cfg.budget) fputc('\n', f);
    fprintf(f, "%-16s %9.3g %4d %2d %2d %4d %10.0f %9.0f %10.0f %10.0f", c->id, g->budget, g->d_model, g->n_layers,
            g->n_heads, g->seed, q.total, q.embed + q.head, q.attn + q.norm, q.ffn);
    fprintf(f, " %7.1f %11.0f %6.0f %6d %6.4f %10.4g %6.2f %8.2f %7.1f %7.2f%s\n", g->tokens / q.total, g->tokens,
            g->tokens / g->batch_tokens, g->batch_tokens, g->lr, c->flops, c->epochs, c->seconds, c->bytes / 1e6,
            disk_kept(c) / 1e6, c->epochs > 1 ? "  repeats the corpus" : "");
    flops += c->flops;
    seconds += c->seconds;
    kept += disk_kept(c);
    bytes = fmax(bytes, c->bytes);
    running = fmax(running, disk_running(c));
    epochs = fmax(epochs, c->epochs);
  }
  double *each = calloc((size_t)p->n + (size_t)workers, sizeof *each);
  if (!each) return;
  for (int i = 0; i < p->n; i++) each[i] = p->cells[i].seconds;
  qsort(each, (size_t)p->n, sizeof *each, descending);
  const double span = plan_makespan(each, p->n, each + p->n, workers);
  free(each);
  fprintf(f, "\n%d runs, %.4g FLOPs, at most %.2f epochs of the corpus\n", p->n, flops, epochs);
  fprintf(f, "%s of one core; ", plan_duration(seconds));
  fprintf(f, "%s on %d worker%s; ", plan_duration(span), workers, workers == 1 ? "" : "s");
  fprintf(f, "at most %.1f MB of memory and %.1f MB of disk\n", workers * bytes / 1e6,
          (kept + workers * running) / 1e6);
}
