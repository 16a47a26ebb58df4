// train.c: see train.h. The loop: batch, forward and backward, optimiser; now and then a point of the curve or a
// checkpoint.
//
// What happens when is a function of the step alone; the clock decides only when to save and to report, which changes
// no result.
#include "train.h"
#include "batch.h"
#include "kernels.h"
#include "signals.h"
#include <gnu/libc-version.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  CURVE_POINTS = 200,  // of the training loss, each a mean since the point before: 0.5 % of a long run
  FINAL_POINTS = 4,    // points whose mean is the record's training loss: the last 2 % of it
  EVAL_BATCH = 16,     // windows handed to the model at once
  THREAD_BYTES = 1 << 20,  // of each thread but the first: its stack and the blocks of its products, as measured
};
static const double MAX_LOST = 60;        // seconds of work that a kill may cost
static const double DIVERGED_RISE = 1.0;  // nats above the best held-out loss so far, or above that of knowing nothing

double train_mean(const double *each, int n, double *se) {
  double sum = 0, cluster_sum = 0, cluster_sq = 0;
  for (int i = 0; i < n; i++) sum += each[i];
  const double mean = sum / n;
  const int clusters = n / TRAIN_EVAL_CLUSTER;
  for (int k = 0; k < clusters; k++) {
    double own = 0;
    for (int i = 0; i < TRAIN_EVAL_CLUSTER; i++) own += each[k * TRAIN_EVAL_CLUSTER + i] / TRAIN_EVAL_CLUSTER;
    cluster_sum += own - mean;
    cluster_sq += (own - mean) * (own - mean);
  }
  if (se) *se = clusters > 1 ? sqrt((cluster_sq - cluster_sum * cluster_sum / clusters) / (clusters - 1) / clusters) : NAN;
  return mean;
}

int train_eval(Model *m, const Corpus *corpus, int windows, double *loss, double *se, Err *e) {
  const int T = m->cfg.seq_len;
  double *each = mem_new(sizeof(double) * (size_t)windows, "evaluation", e);
  uint8_t *rows = mem_new((size_t)EVAL_BATCH * (T + 1), "evaluation", e);
  int code = each && rows ? OK : e->code;
  for (int i = 0; code == OK && i < windows; i += EVAL_BATCH) {
    const int n = windows - i < EVAL_BATCH ? windows - i : EVAL_BATCH;
    batch_val(corpus, i, n, T, rows);
    model_losses(m, rows, n, each + i);
  }
  if (code == OK) *loss = train_mean(each, windows, se);
  free(each);
  free(rows);
  return code;
}

// ---- The curve ----------------------------------------------------------------------------------------

// Whether point or evaluation k of n falls on this step: the n of them are even over the steps, the last on the last.
static bool falls_on(int step, int steps, int n) {
  return (int64_t)step * n / steps != (int64_t)(step - 1) * n / steps;
}

void train_curve(const Config *cfg, const Progress *p, FILE *f) {
  const double per_token = shape_flops(cfg).exact;
  fprintf(f, "step\ttokens\tflops\tlr\ttrain_loss\tval_loss\n");
  for (int i = 0; i < p->n_points; i++) {
    const CurvePoint *c = &p->points[i];
    const double tokens = (double)c->step * cfg->batch_tokens;
    fprintf(f, "%lld\t%.0f\t%.9g\t%.9g\t%.9g\t", (long long)c->step, tokens, tokens * per_token, c->lr, c->train_loss);
    if (!isnan(c->val_loss)) fprintf(f, "%.9g", c->val_loss);
    fputc('\n', f);
  }
}

static int curve_write(const char *dir, const Config *cfg, const Progress *p, Err *e) {
  char path[1024];
  snprintf(path, sizeof path, "%s/curve.tsv", dir);
  OutFile o;
  if (out_open(&o, path, e)) return e->code;
  train_curve(cfg, p, o.f);
  return out_commit(&o, e);
}

// ---- The run ------------------------------------------------------------------------------------------

typedef struct Run {
  const Config *cfg;
  const Corpus *corpus;
  const char *dir;
  ProgressKind kind;
  int fd;
  Model model;
  Progress p;
  Record record;
  uint8_t *rows;        // [B][T+1], the batch
  int steps, first;     // of the whole run; done before this process began
  double best, smooth;  // lowest held-out loss so far; running mean of the training loss, for people
  double began, told, attended;
  double saved, save_seconds;  // when the last checkpoint's state was, and how long it took to write
} Run;

static bool is_running(const Run *r) { return strcmp(r->record.status, "finished") == 0; }

static void diverge(Run *r, const char *what, double value, double other) {
  snprintf(r->record.status, sizeof r->record.status, "diverged");
  snprintf(r->record.reason, sizeof r->record.reason, what, r->p.step, value, other);
}

static void report(const Run *r) {
  const double tokens = (double)(r->p.step - r->first) * r->cfg->batch_tokens, rate = tokens / (r->told - r->began);
  if (r->kind == PROGRESS_PIPE) dprintf(r->fd, "%d %d %.4f\n", r->p.step, r->steps, r->smooth);
  if (r->kind == PROGRESS_LINES)
    fprintf(stderr, "step %d/%d  loss %.4f nats/byte  %.0f tokens/s  %.1f GFLOP/s\n", r->p.step, r->steps, r->smooth,
            rate, rate * shape_flops(r->cfg).exact / 1e9);
}

// Everything that a run needs, from its checkpoint where there is a good one.
static int begin(Run *r, Err *e) {
  const Config *cfg = r->cfg;
  const Corpus *corpus = r->corpus;
  const int T = cfg->seq_len;
  if (corpus->n_train <= (size_t)T || batch_val_windows(corpus, 1e18, T) < 1)
    return fail(e, E_CORPUS, "corpus %s: %zu + %zu bytes are too few for windows of %d tokens", corpus->name,
                corpus->n_train, corpus->n_val, T);
  Record *rec = &r->record;
  *rec = (Record){
      .status = "finished", .cfg = *cfg, .val_loss = NAN, .val_loss_se = NAN};
  rec->params = shape_params(cfg);
  rec->flops_per_token = shape_flops(cfg);
  rec->floor_nats = corpus->floor_nats;
  rec->val_floor = corpus->val_floor_nats;
  snprintf(rec->corpus_name, sizeof rec->corpus_name, "%s", corpus->name);
  snprintf(rec->corpus_hash, sizeof rec->corpus_hash, "%016llx", (unsigned long long)corpus->hash);
  config_run_id(cfg, corpus->hash, rec->id);
  train_provenance(rec);

  const size_t before = mem_resident();  // the program and the corpus, which has been read once
  if (dir_make(r->dir, e) || model_new(&r->model, cfg, true, e)) return e->code;
  r->rows = mem_new((size_t)(cfg->batch_tokens / T) * (T + 1), "batch", e);
  if (!r->rows) return e->code;
  out_clear(r->dir);
  memcpy(r->p.run_id, rec->id, sizeof r->p.run_id);
  const bool resumed = checkpoint_exists(r->dir, "checkpoint.bin");
  if (r->kind == PROGRESS_LINES)
    fprintf(stderr, "memory: %.1f MB, %.1f of them the model and its optimiser\n",
            1e-6 * (double)(before + r->model.bytes + (size_t)(r->model.threads - 1) * THREAD_BYTES +
                            (resumed ? 3 * r->model.n_params * sizeof(float) : 0)),
            1e-6 * (double)r->model.bytes);
  if (resumed) {
    Err why;
    const int code = checkpoint_read(r->dir, "checkpoint.bin", rec->id, &r->model, true, &r->p, &why);
    if (code == E_DIFFERS) return fail(e, E_RECORD, "%.400s: give --out another folder", why.msg);
    if (code && code != E_RECORD) return *e = why, code;  // it may be good: not to be written over
    if (*why.msg)
      fprintf(stderr, "isoflop: %s; %s\n", why.msg, code ? "starting again" : "going on from the one before");
  }
  // Room for every point that can still come: training bins, and evaluations between them.
  const size_t room = (size_t)(r->p.n_points + CURVE_POINTS + cfg->eval_points + 2);
  CurvePoint *points = mem_new(sizeof(CurvePoint) * room, "curve", e);
  if (!points) return e->code;
  if (r->p.n_points) memcpy(points, r->p.points, sizeof(CurvePoint) * (size_t)r->p.n_points);
  free(r->p.points);
  r->p.points = points;
  r->first = r->p.step;
  r->best = log(VOCAB);
  for (int i = 0; i < r->p.n_points; i++)
    if (points[i].val_loss < r->best) r->best = points[i].val_loss;
  return OK;
}

// The held-out loss over about that many tokens; one that has risen far, or is no number, ends the run.
static int evaluate(Run *r, double tokens, double *loss, double *se, Err *e) {
  const int windows = batch_val_windows(r->corpus, tokens, r->cfg->seq_len);
  if (train_eval(&r->model, r->corpus, windows > 0 ? windows : 1, loss, se, e)) return e->code;
  if (!(*loss < r->best + DIVERGED_RISE)) diverge(r, "step %d: held-out loss %.4f after %.4f", *loss, r->best);
  r->best = fmin(r->best, *loss);
  return OK;
}

// One step of training, and the point of the curve where one falls on it.
static int advance(Run *r, Err *e) {
  const Config *cfg = r->cfg;
  const int B = cfg->batch_tokens / cfg->seq_len, step = r->p.step + 1;
  const double lr = schedule_lr(cfg, step, r->steps);
  batch_train(r->corpus, (uint64_t)cfg->seed, r->p.step, B, cfg->seq_len, r->rows);
  const double loss = model_step(&r->model, r->rows, B), norm = optim_step(&r->model, step, lr);
  r->p.step = step;
  r->p.bin_loss += loss;
  r->p.bin_steps++;
  r->smooth = isnan(r->smooth) ? loss : 0.98 * r->smooth + 0.02 * loss;
  if (!isfinite(loss) || !isfinite(norm)) diverge(r, "step %d: loss %g, gradient norm %g", loss, norm);

  const bool due = cfg->eval_points > 0 && step < r->steps && falls_on(step, r->steps, cfg->eval_points);
  if (!falls_on(step, r->steps, CURVE_POINTS) && !due && step < r->steps && is_running(r)) return OK;
  CurvePoint c = {.step = step, .lr = lr, .train_loss = r->p.bin_loss / r->p.bin_steps, .val_loss = NAN};
  if (due && is_running(r) && evaluate(r, cfg->eval_tokens / TRAIN_MID_EVAL, &c.val_loss, NULL, e)) return e->code;
  r->p.points[r->p.n_points++] = c;
  r->p.bin_loss = r->p.bin_steps = 0;
  return OK;
}

// Whether to write a checkpoint now. checkpoint_seconds apart, or further where that costs more than 1 % of the time;
// but a kill costs at most MAX_LOST seconds of work (or checkpoint_seconds, if that is more), whatever writing costs: the
// next chance comes a step from now, and until it is written what is lost goes on growing. 0: after every step, for tests.
static bool save_due(const Run *r, double now) {
  const double since = now - r->saved, wish = r->cfg->checkpoint_seconds;
  return wish == 0 || since >= fmax(wish, 100 * r->save_seconds) ||
         since + (now - r->attended) + r->save_seconds >= fmax(wish, MAX_LOST);
}

// What the clock and signals ask for between two steps.
static int attend(Run *r, Err *e) {
  const double now = now_seconds();
  const bool over = r->p.step == r->steps || !is_running(r);
  const bool asked = status_asked();
  if (over || asked || now - r->told > (r->kind == PROGRESS_PIPE ? 0.25 : 2)) {
    r->told = now;
    report(r);
  }
  const bool save = !over && (stop_signal || save_due(r, now));
  r->attended = now;
  if (!save) return OK;
  Progress p = r->p;
  p.seconds += now - r->began;
  if (checkpoint_write(r->dir, "checkpoint.bin", &r->model, true, &p, e)) return e->code;
  r->saved = now;
  r->attended = now_seconds();
  r->save_seconds = r->attended - now;
  if (!stop_signal) return OK;
  return fail(e, 128 + stop_signal, "stopped at step %d of %d; the same command goes on from there", r->p.step,
              r->steps);
}

static int conclude(Run *r, Err *e) {
  Record *rec = &r->record;
  Progress *p = &r->p;
  if (is_running(r)) {
    if (evaluate(r, r->cfg->eval_tokens, &rec->val_loss, &rec->val_loss_se, e)) return e->code;
    p->points[p->n_points - 1].val_loss = rec->val_loss;
  }
  const int n = p->n_points < FINAL_POINTS ? p->n_points : FINAL_POINTS;
  for (int i = 0; i < n; i++) rec->train_loss += p->points[p->n_points - 1 - i].train_loss / n;
  rec->steps = p->step, rec->tokens = (double)p->step * r->cfg->batch_tokens;
  rec->epochs = rec->tokens / (double)r->corpus->n_train;
  rec->seconds = p->seconds + (now_seconds() - r->began);
  char path[1024];
  snprintf(path, sizeof path, "%.1000s/run.ini", r->dir);
  if (curve_write(r->dir, r->cfg, p, e) || checkpoint_write(r->dir, "model.bin", &r->model, false, p, e) ||
      record_write(path, rec, e))
    return e->code;
  checkpoint_remove(r->dir, "checkpoint.bin");
  return OK;
}

int train_run(const Config *cfg, const Corpus *corpus, const char *dir, ProgressKind kind, int fd, Err *e) {
  const double now = now_seconds();
  Run r = {.cfg = cfg,
           .corpus = corpus,
           .dir = dir,
           .kind = kind,
           .fd = fd,
           .smooth = NAN,
           .began = now,
           .told = now,
           .attended = now,
           .saved = now};
  r.steps = (int)lround(cfg->tokens / cfg->batch_tokens);
  Signals before;
  signals_listen(&before, true);
  int code = begin(&r, e);
  while (code == OK && r.p.step < r.steps && is_running(&r)) {
    code = advance(&r, e);
    if (code == OK) code = attend(&r, e);
  }
  if (code == OK) code = conclude(&r, e);
  signals_leave(&before);
  free(r.p.points);
  free(r.rows);
  model_free(&r.model);
  return code;
}

// ---- Provenance ---------------------------------------------------------------------------------------

const char *isoflop_version(void) { return ISOFLOP_VERSION; }
const char *isoflop_commit(void) { return ISOFLOP_COMMIT; }

#ifdef __clang__
#define COMPILER __VERSION__
#else
#define COMPILER "gcc " __VERSION__
#endif

void train_provenance(Record *r) {
  snprintf(r->version, sizeof r->version, "%s", isoflop_version());
  snprintf(r->commit, sizeof r->commit, "%s", isoflop_commit());
  snprintf(r->compiler, sizeof r->compiler, "%.63s", COMPILER " " ISOFLOP_FLAGS);
  snprintf(r->libc, sizeof r->libc, "glibc %.57s", gnu_get_libc_version());
  config_run_id(&r->cfg, 0, r->config_hash);
  snprintf(r->kernels, sizeof r->kernels, "%s", kernels_describe(kern));
  snprintf(r->cpu, sizeof r->cpu, "unknown");
  r->threads = r->cfg.threads > 0 ? r->cfg.threads : omp_get_max_threads();
  FILE *f = fopen("/proc/cpuinfo", "r");
  char line[256];
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "model name : %95[^\n]", r->cpu) == 1) break;
  if (f) fclose(f);
}
