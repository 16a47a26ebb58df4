// plan.c: a study's cells. In: its parts (budgets, ranges of sizes, what is varied), the family of shapes, the records
// that exist. Out: resolved configs, their costs, a table.
// Invariant: every cell's exact FLOPs lie within 1 % of its budget; the plan is a function of the study and of the
// records of earlier stages alone, so every worker and every restart plans the same cells.
// Reference: Hoffmann et al. 2022, sections 3.1 (fixed sizes, several horizons) and 3.2 (IsoFLOP profiles).
#include "plan.h"
#include "fit.h"
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

// At most sizes_per_budget members of the family whose N, or D/N at this budget, lies in lo..hi. shape[] gets their
// index in the family.
static int sizes_between(const Config *part, double budget, bool by_size, double lo, double hi, int *shape) {
  double log_n[MAX_FAMILY];
  int n = 0, candidate[MAX_FAMILY], picked[MAX_FAMILY];
  Config c = *part;
  for (int i = 0; n < MAX_FAMILY && shape_family(i, &c); i++) {
    const double N = shape_params(&c).total, x = by_size ? N : budget / shape_flops(&c).exact / N;
    if (x < lo || x > hi) continue;
    candidate[n] = i;
    log_n[n++] = log(N);
  }
  n = pick_even(log_n, n, part->sizes_per_budget, picked);
  for (int k = 0; k < n; k++) shape[k] = candidate[picked[k]];
  return n;
}

// "32x2x2, 48x3x4": width, layers, heads of the k-th. 0 past the last, -1 where the text is something else.
static int shape_listed(const char *text, int k, Config *c) {
  for (;; k--, text++) {
    int used = 0;
    if (sscanf(text, " %dx%dx%d %n", &c->d_model, &c->n_layers, &c->n_heads, &used) != 3) return -1;
    text += used;
    if (*text && *text != ',') return -1;
    if (k == 0) return 1;
    if (!*text) return 0;
  }
}

// ---- Cells --------------------------------------------------------------------------------------------

typedef struct Making {
  Plan *p;
  const Study *s;
  const Records *done;
  int part, stage, room;
  Err *e;
} Making;

static const Record *record_of(const Records *done, const char *id) {
  for (int i = 0; done && i < done->n; i++)
    if (!strcmp(done->r[i].id, id)) return &done->r[i];
  return NULL;
}

// A config whose shape, horizon or budget, and seed are set: resolved, checked, and added to the plan, unless it is
// there already for another part.
static int cell_add(Making *m, Config c) {
  Err why;
  const double budget = c.budget;
  if (recipe_resolve(&c, &why))
    return fail(m->e, E_CONFIG, "part %s, budget %g, d_model %d, n_layers %d: %.300s", m->s->part[m->part].name, budget,
                c.d_model, c.n_layers, why.msg);
  Cell cell = {.cfg = c, .flops = c.tokens * shape_flops(&c).exact, .params = shape_params(&c).total,
               .epochs = c.tokens / m->s->part[m->part].corpus_tokens, .seconds = NAN, .bytes = NAN,
               .parts = 1ull << m->part, .stage = m->stage};
  const double off = cell.flops / budget - 1;
  if (budget > 0 && fabs(off) > BUDGET_TOLERANCE)
    return fail(m->e, E_CONFIG, "budget %g, d_model %d, n_layers %d: %.0f steps of %d tokens miss the budget by %.1f "
                "%%, expected 1 %%: set batch_tokens or seq_len lower, or the budget higher", budget, c.d_model,
                c.n_layers, c.tokens / c.batch_tokens, c.batch_tokens, 100 * off);
  config_run_id(&c, m->s->part[m->part].corpus_hash, cell.id);
  for (int i = 0; i < m->p->n; i++)
    if (!strcmp(m->p->cells[i].id, cell.id)) return m->p->cells[i].parts |= cell.parts, OK;
  if (m->p->n == m->room) {
    m->room = m->room ? 2 * m->room : 64;
    Cell *grown = realloc(m->p->cells, (size_t)m->room * sizeof *grown);
    if (!grown) return fail(m->e, E_MEMORY, "no memory for a plan of %d cells", m->room);
    m->p->cells = grown;
  }
  m->p->cells[m->p->n++] = cell;
  return OK;
}

// What the part varies at a cell: "key a b c | key d e", each value in turn and one at a time; "none": the cell alone.
static int cell_vary(Making *m, const Config *c) {
  const char *at = c->vary;
  if (!strcmp(at, "none")) return cell_add(m, *c);
  for (bool more = true; more; more = *at++ == '|') {
    char key[64] = "", word[64];
    int values = 0;
    for (size_t n; (n = strcspn(at += strspn(at, " "), " |")); at += n) {
      Config v = *c;
      snprintf(word, sizeof word, "%.*s", (int)n, at);
      if (!*key) {
        snprintf(key, sizeof key, "%s", word);
        continue;
      }
      values++;
      if (config_set_key(&v, NULL, key, word, "vary", m->e)) return m->e->code;
      if (!config_is_of_run(key))
        return fail(m->e, E_CONFIG, "vary: %s is one for a whole part", key);
      if (cell_add(m, v)) return m->e->code;
    }
    if (!values)
      return fail(m->e, E_CONFIG, "vary = %.80s: expected KEY VALUE VALUE | KEY VALUE", c->vary);
  }
  return OK;
}

static int cell_seeds(Making *m, Config c, int b) {
  const Config *part = &m->s->part[m->part].cfg;
  const int seeds = (int)part->seeds.v[part->seeds.n == 1 ? 0 : b];
  for (int k = 0; k < seeds && m->e->code == OK; k++) {
    c.seed = part->seed + k;
    cell_vary(m, &c);
  }
  return m->e->code;
}

// ---- Parts --------------------------------------------------------------------------------------------

static int groups_of(const Config *c) { return c->recentre ? (c->budgets.n + c->recentre - 1) / c->recentre : 1; }

// The best size at a budget as the part's smaller budgets predict it. NaN where they allow no law.
static double centre_of(Making *m, double budget) {
  Records rs = {.r = mem_new((size_t)(m->p->n + 1) * sizeof(Record), "records of smaller budgets", m->e)};
  IsoFit *f = mem_new(sizeof *f, "fit of smaller budgets", m->e);
  Points ps = {0};
  double N = NAN;
  for (int i = 0; rs.r && i < m->p->n; i++) {
    const Cell *c = &m->p->cells[i];
    const Record *r = c->parts >> m->part & 1 && c->stage < m->stage ? record_of(m->done, c->id) : NULL;
    if (!r) continue;
    rs.r[rs.n] = *r;
    rs.r[rs.n++].cfg.from_flops = 0;  // what the laws leave out still says where a valley lies
  }
  if (rs.r && f && points_make(&ps, &rs, conventions, m->e) == OK && iso_fit(f, &ps, conventions, 0, m->e) == OK &&
      f->law)
    N = f->n_law.k.value * pow(budget, f->n_law.exponent.value);
  points_free(&ps);
  free(f);
  free(rs.r);
  return N;
}

static int budget_cells(Making *m, int b) {
  const Config *part = &m->s->part[m->part].cfg;
  Config c = *part;
  c.budget = part->budgets.v[b];
  if (strcmp(part->shapes, "none")) {
    int listed = 1;
    for (int k = 0; m->e->code == OK && (listed = shape_listed(part->shapes, k, &c)) > 0; k++) cell_seeds(m, c, b);
    if (listed < 0)
      fail(m->e, E_CONFIG, "shapes = %.60s: expected 32x2x2, 48x3x4: width, layers, heads", part->shapes);
    return m->e->code;
  }
  bool by_size = part->params_range.n > 0;
  double lo, hi;
  range_of(by_size ? &part->params_range : &part->tokens_per_param, b, &lo, &hi);
  const double centre = m->stage > 0 ? centre_of(m, c.budget) : NAN;
  if (m->e->code) return m->e->code;
  if (isfinite(centre)) by_size = true, lo = centre / part->span, hi = centre * part->span;
  int shape[MAX_FAMILY];
  const int n = sizes_between(part, c.budget, by_size, lo, hi, shape);
  if (n == 0)
    return fail(m->e, E_CONFIG, "budget %g: no member of the family of shapes lies in %s", c.budget,
                by_size ? "params_range" : "tokens_per_param");
  for (int k = 0; k < n && m->e->code == OK; k++) {
    shape_family(shape[k], &c);
    cell_seeds(m, c, b);
  }
  return m->e->code;
}

// Fixed sizes, each for several horizons, log-even in tokens per parameter; such a run has no budget.
static int horizon_cells(Making *m) {
  const Config *part = &m->s->part[m->part].cfg;
  int shape[MAX_FAMILY];
  if (part->params_range.n != 2 || part->tokens_per_param.n != 2)
    return fail(m->e, E_CONFIG, "part %s: horizons need one pair of params_range and one of tokens_per_param",
                m->s->part[m->part].name);
  const int n = sizes_between(part, 0, true, part->params_range.v[0], part->params_range.v[1], shape);
  const double lo = part->tokens_per_param.v[0], ratio = part->tokens_per_param.v[1] / lo;
  for (int k = 0; k < n; k++)
    for (int h = 0; h < part->horizons && m->e->code == OK; h++) {
      Config c = *part;
      shape_family(shape[k], &c);
      c.budget = 0;
      c.tokens = round(shape_params(&c).total * lo * pow(ratio, part->horizons > 1 ? h / (part->horizons - 1.) : 0));
      cell_seeds(m, c, 0);
    }
  return m->e->code;
}

// The recommended size and the one 4x larger, at one budget: known once they have been forecast.
static int verdict_cells(Making *m) {
  const Part *part = &m->s->part[m->part];
  if (part->pair[0] < 0) return m->p->due = m->part, OK;
  for (int k = 0; k < 2 && m->e->code == OK; k++) {
    Config c = part->cfg;
    c.budget = c.budgets.v[0];
    shape_family(part->pair[k], &c);
    cell_seeds(m, c, 0);
  }
  return m->e->code;
}

static int part_cells(Making *m, int last) {
  const Config *c = &m->s->part[m->part].cfg;
  if (!strcmp(c->kind, "verdict")) return m->stage == last ? verdict_cells(m) : OK;
  if (!strcmp(c->kind, "horizons")) return m->stage == 0 ? horizon_cells(m) : OK;
  for (int b = 0; b < c->budgets.n && m->e->code == OK; b++)
    if ((c->recentre ? b / c->recentre : 0) == m->stage) budget_cells(m, b);
  return m->e->code;
}

// What the stages behind this one will hold, roughly: for the time that is left.
static void plan_later(Plan *p, const Study *s, int stage) {
  for (int i = 0; i < s->n; i++) {
    const Config *c = &s->part[i].cfg;
    const bool verdict = !strcmp(c->kind, "verdict");
    if (!strcmp(c->kind, "horizons")) continue;
    for (int b = 0; b < c->budgets.n; b++) {
      if (!verdict && (!c->recentre || b / c->recentre <= stage)) continue;
      const int runs = (verdict ? 2 : c->sizes_per_budget) * (int)c->seeds.v[c->seeds.n == 1 ? 0 : b];
      p->later += runs;
      p->later_flops += runs * c->budgets.v[b];
    }
  }
}

int plan_make(Plan *p, const Study *s, const Records *done, Err *e) {
  *p = (Plan){.due = -1};
  *e = (Err){0};
  int last = 0;
  bool verdict = false;
  for (int i = 0; i < s->n; i++) {
    const Config *c = &s->part[i].cfg;
    if (c->tokens != 0)
      return fail(e, E_CONFIG, "tokens = %.0f: a study sets budgets, and they set tokens", c->tokens);
    last = groups_of(c) - 1 > last ? groups_of(c) - 1 : last;
    verdict |= !strcmp(c->kind, "verdict");
  }
  last += verdict;
  Making m = {.p = p, .s = s, .done = done, .e = e};
  for (; m.stage <= last && e->code == OK; m.stage++) {
    for (m.part = 0; m.part < s->n && e->code == OK; m.part++) part_cells(&m, verdict ? last : -1);
    bool over = true;
    for (int i = 0; i < p->n && over; i++) {
      const Record *r = record_of(done, p->cells[i].id);
      over = r && strcmp(r->status, "failed");
    }
    p->complete = m.stage == last && p->due < 0;
    if (!over) break;
  }
  if (e->code) plan_free(p);
  else if (m.stage < last) plan_later(p, s, m.stage);
  return e->code;
}

void plan_free(Plan *p) {
  free(p->cells);
  *p = (Plan){.due = -1};
}

int study_part_records(const Study *s, const Records *all, int part, Records *subset, Err *e) {
  Plan p;
  *subset = (Records){0};
  if (plan_make(&p, s, all, e)) return e->code;
  subset->r = mem_new(((size_t)p.n + 1) * sizeof(Record), "records of a part", e);
  for (int i = 0; subset->r && i < p.n; i++) {
    const Record *r = p.cells[i].parts >> part & 1 ? record_of(all, p.cells[i].id) : NULL;
    if (r) subset->r[subset->n++] = *r;
  }
  plan_free(&p);
  return e->code;
}

// ---- What they cost -------------------------------------------------------------------------------------

static bool same_cost(const Config *a, const Config *b) {
  return a->d_model == b->d_model && a->n_layers == b->n_layers && a->n_heads == b->n_heads &&
         a->seq_len == b->seq_len && a->batch_tokens == b->batch_tokens && !strcmp(a->precision, b->precision) &&
         a->tied == b->tied && a->qk_norm == b->qk_norm;
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

// What stays of a run (parameters, curve, record), and what it holds while it runs: a checkpoint with both moments, the
// one before, and the next while it is written.
static double disk_kept(const Cell *c) { return 4 * c->params + 16e3; }
static double disk_running(const Cell *c) { return 3 * 12 * c->params + 16e3; }

static int descending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x < y) - (x > y);
}

// A cell stands under the first part that wants it; the others are named behind it.
static int first_part(const Cell *c) { return __builtin_ctzll(c->parts); }

static void print_others(const Cell *c, const Study *s, FILE *f) {
  for (int i = first_part(c) + 1; i < s->n; i++)
    if (c->parts >> i & 1) fprintf(f, "  also %s", s->part[i].name);
}

void plan_print(const Plan *p, const Study *s, int workers, FILE *f) {
  double flops = 0, seconds = 0, bytes = 0, kept = 0, running = 0, epochs = 0;
  fprintf(f, "%-16s %9s %4s %2s %2s %4s %10s %9s %10s %10s", "run_id", "budget", "d", "L", "H", "seed", "N", "embeds",
          "attn+norm", "ffn");
  fprintf(f, " %7s %11s %6s %6s %6s %10s %6s %8s %7s %7s\n", "D/N", "D", "steps", "batch", "lr", "FLOPs", "epochs",
          "seconds", "mem MB", "disk MB");
  for (int i = 0; i < p->n; i++) {
    const Cell *c = &p->cells[i];
    const Config *g = &c->cfg;
    const Params q = shape_params(g);
    if (s->n > 1 && (!i || first_part(c) != first_part(&p->cells[i - 1])))
      fprintf(f, "\npart %s\n", s->part[first_part(c)].name);
    else if (i && g->budget != p->cells[i - 1].cfg.budget) fputc('\n', f);
    fprintf(f, "%-16s %9.3g %4d %2d %2d %4d %10.0f %9.0f %10.0f %10.0f", c->id, g->budget, g->d_model, g->n_layers,
            g->n_heads, g->seed, q.total, q.embed + q.head, q.attn + q.norm, q.ffn);
    fprintf(f, " %7.1f %11.0f %6.0f %6d %6.4f %10.4g %6.2f %8.2f %7.1f %7.2f%s", g->tokens / q.total, g->tokens,
            g->tokens / g->batch_tokens, g->batch_tokens, g->lr, c->flops, c->epochs, c->seconds, c->bytes / 1e6,
            disk_kept(c) / 1e6, c->epochs > 1 ? "  repeats the corpus" : "");
    print_others(c, s, f);
    fputc('\n', f);
    flops += c->flops;
    seconds += c->seconds;
    kept += disk_kept(c);
    bytes = fmax(bytes, c->bytes);
    running = fmax(running, disk_running(c));
    epochs = fmax(epochs, c->epochs);
  }
  double *each = calloc((size_t)p->n + (size_t)workers, sizeof *each);
  if (!each) mem_none("plan");
  for (int i = 0; i < p->n; i++) each[i] = p->cells[i].seconds;
  qsort(each, (size_t)p->n, sizeof *each, descending);
  const double span = plan_makespan(each, p->n, each + p->n, workers);
  free(each);
  if (p->later)
    fprintf(f, "\nand, once these have been run, about %d runs of %.4g FLOPs: budgets centred on smaller ones, the "
            "verdict's pair\n", p->later, p->later_flops);
  fprintf(f, "\n%d runs, %.4g FLOPs, at most %.2f epochs of the corpus\n", p->n, flops, epochs);
  fprintf(f, "%s of one core; ", plan_duration(seconds));
  fprintf(f, "%s on %d worker%s; ", plan_duration(span), workers, workers == 1 ? "" : "s");
  fprintf(f, "at most %.1f MB of memory and %.1f MB of disk\n", workers * bytes / 1e6,
          (kept + workers * running) / 1e6);
}
