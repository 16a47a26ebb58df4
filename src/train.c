// train.c: see train.h. The loop: batch, forward and backward, optimiser; now and then a point of the curve or a checkpoint.
//
// What happens when is a function of the step alone; the clock decides only when to save and to report, which changes no result.
#include "train.h"
#include "batch.h"
#include "kernels.h"
#include <math.h>
#include <omp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  CURVE_POINTS = 200,  // of the training loss, each a mean over 0.5 % of the run
  FINAL_POINTS = 4,    // points whose mean is the record's training loss: the last 2 % of the run
  EVAL_BATCH = 16,     // windows handed to the model at once
  MID_EVAL = 8,        // an evaluation on the way uses 1/8 of the final one's windows
};
static const double DIVERGED_RISE = 1.0;  // nats above the best held-out loss so far

static volatile sig_atomic_t stop_signal;

static void on_signal(int sig) {
  if (stop_signal) _exit(128 + sig);  // the second one does not wait
  stop_signal = sig;
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
  if (code == OK) {
    double sum = 0, cluster_sum = 0, cluster_sq = 0;
    for (int i = 0; i < windows; i++) sum += each[i];
    *loss = sum / windows;
    const int clusters = windows / TRAIN_EVAL_CLUSTER;
    for (int k = 0; k < clusters; k++) {
      double mean = 0;
      for (int i = 0; i < TRAIN_EVAL_CLUSTER; i++) mean += each[k * TRAIN_EVAL_CLUSTER + i] / TRAIN_EVAL_CLUSTER;
      cluster_sum += mean - *loss;
      cluster_sq += (mean - *loss) * (mean - *loss);
    }
    if (se) *se = clusters > 1 ? sqrt((cluster_sq - cluster_sum * cluster_sum / clusters) / (clusters - 1) / clusters) : NAN;
  }
  free(each);
  free(rows);
  return code;
}

// ---- The curve ----------------------------------------------------------------------------------------

// Whether point or evaluation k of n falls on this step: the n of them are even over the steps, the last on the last.
static bool falls_on(int step, int steps, int n) { return (int64_t)step * n / steps != (int64_t)(step - 1) * n / steps; }

static int curve_write(const char *dir, const Config *cfg, const Progress *p, Err *e) {
  char path[1024];
  snprintf(path, sizeof path, "%s/curve.tsv", dir);
  OutFile o;
  if (out_open(&o, path, e)) return e->code;
  const double per_token = shape_flops(cfg).exact;
  fprintf(o.f, "step\ttokens\tflops\tlr\ttrain_loss\tval_loss\n");
  for (int i = 0; i < p->n_points; i++) {
    const CurvePoint *c = &p->points[i];
    const double tokens = (double)c->step * cfg->batch_tokens;
    fprintf(o.f, "%lld\t%.0f\t%.9g\t%.9g\t%.9g\t", (long long)c->step, tokens, tokens * per_token, c->lr, c->train_loss);
    if (!isnan(c->val_loss)) fprintf(o.f, "%.9g", c->val_loss);
    fputc('\n', o.f);
  }
  return out_commit(&o, e);
}

static void report(ProgressKind kind, int fd, const Config *cfg, int step, int steps, double loss, double seconds, int done) {
  if (kind == PROGRESS_PIPE) dprintf(fd, "%d %d %.4f\n", step, steps, loss);
  if (kind == PROGRESS_LINES) {
    const double tokens = (double)done * cfg->batch_tokens, rate = seconds > 0 ? tokens / seconds : 0;
    fprintf(stderr, "step %d/%d  loss %.4f nats/byte  %.0f tokens/s  %.1f GFLOP/s\n", step, steps, loss, rate,
            rate * shape_flops(cfg).exact / 1e9);
  }
}

// ---- The run ------------------------------------------------------------------------------------------

static int finish(Record *r, Model *m, const Corpus *corpus, const char *dir, const Progress *p, double began, Err *e) {
  char path[1024];
  if (strcmp(r->status, "finished") == 0) {
    if (train_eval(m, corpus, batch_val_windows(corpus, m->cfg.eval_tokens, m->cfg.seq_len), &r->val_loss, &r->val_loss_se, e)) return e->code;
    if (p->n_points > 0) p->points[p->n_points - 1].val_loss = r->val_loss;
  }
  const int n = p->n_points < FINAL_POINTS ? p->n_points : FINAL_POINTS;
  for (int i = 0; i < n; i++) r->train_loss += p->points[p->n_points - 1 - i].train_loss / n;
  r->seconds = now_seconds() - began;
  snprintf(path, sizeof path, "%s/run.ini", dir);
  if (curve_write(dir, &m->cfg, p, e) || checkpoint_write(dir, "model.bin", m, false, p, e) || record_write(path, r, e)) return e->code;
  checkpoint_remove(dir, "checkpoint.bin");
  return OK;
}

int train_run(const Config *cfg, const Corpus *corpus, const char *dir, ProgressKind kind, int fd, Err *e) {
  const double began = now_seconds();
  const int T = cfg->seq_len, B = cfg->batch_tokens / T, steps = (int)lround(cfg->tokens / cfg->batch_tokens);
  if (corpus->n_train <= (size_t)T || batch_val_windows(corpus, 1e18, T) < 1)
    return fail(e, E_CORPUS, "corpus %s: %zu + %zu bytes are too few for windows of %d tokens", corpus->name, corpus->n_train, corpus->n_val, T);
  Record r = {.status = "finished", .cfg = *cfg, .params = shape_params(cfg), .flops_per_token = shape_flops(cfg),
              .tokens = cfg->tokens, .steps = steps, .epochs = cfg->tokens / (double)corpus->n_train,
              .floor_nats = corpus->floor_nats, .val_floor = corpus->val_floor_nats, .val_loss = NAN, .val_loss_se = NAN};
  snprintf(r.corpus_name, sizeof r.corpus_name, "%s", corpus->name);
  snprintf(r.corpus_hash, sizeof r.corpus_hash, "%016llx", (unsigned long long)corpus->hash);
  config_run_id(cfg, corpus->hash, r.id);
  train_provenance(&r);

  Model m;
  if (dir_make(dir, e) || model_new(&m, cfg, true, e)) return e->code;
  Progress p = {0};
  uint8_t *rows = mem_new((size_t)B * (T + 1), "batch", e);
  int code = rows ? OK : e->code;
  if (code == OK && checkpoint_read(dir, "checkpoint.bin", r.id, &m, true, &p, e) != OK) {
    if (e->code == E_MEMORY) code = e->code;
    else if (e->code != E_IO) fprintf(stderr, "isoflop: %s; starting again\n", e->msg);
    memcpy(p.run_id, r.id, sizeof p.run_id);
  }
  // Room for every point that can come: training bins, and evaluations between them.
  const int room = p.n_points + CURVE_POINTS + cfg->eval_points + 2;
  CurvePoint *points = code == OK ? mem_new(sizeof(CurvePoint) * (size_t)room, "curve", e) : NULL;
  if (code == OK && !points) code = e->code;
  if (points && p.n_points) memcpy(points, p.points, sizeof(CurvePoint) * (size_t)p.n_points);
  free(p.points);
  p.points = points;

  struct sigaction act = {.sa_handler = on_signal}, was_int, was_term;
  sigaction(SIGINT, &act, &was_int);
  sigaction(SIGTERM, &act, &was_term);
  const int first = p.step, mid_windows = batch_val_windows(corpus, cfg->eval_tokens / MID_EVAL, T);
  double saved = began, told = 0, best = INFINITY, smooth = NAN;
  for (int i = 0; i < p.n_points; i++)
    if (p.points[i].val_loss < best) best = p.points[i].val_loss;
  while (code == OK && p.step < steps && strcmp(r.status, "finished") == 0) {
    const int step = p.step + 1;
    const double lr = schedule_lr(cfg, step, steps);
    batch_train(corpus, (uint64_t)cfg->seed, p.step, B, T, rows);
    const double loss = model_step(&m, rows, B), norm = optim_step(&m, step, lr);
    p.step = step;
    p.bin_loss += loss;
    p.bin_steps++;
    smooth = isnan(smooth) ? loss : 0.98 * smooth + 0.02 * loss;
    if (!isfinite(loss) || !isfinite(norm)) {
      snprintf(r.status, sizeof r.status, "diverged");
      snprintf(r.reason, sizeof r.reason, "step %d: loss %g, gradient norm %g", step, loss, norm);
    }
    const bool evaluate = cfg->eval_points > 0 && step < steps && falls_on(step, steps, cfg->eval_points);
    if (falls_on(step, steps, CURVE_POINTS) || evaluate || step == steps) {
      CurvePoint c = {.step = step, .lr = lr, .train_loss = p.bin_loss / p.bin_steps, .val_loss = NAN};
      if (evaluate) code = train_eval(&m, corpus, mid_windows > 0 ? mid_windows : 1, &c.val_loss, NULL, e);
      if (evaluate && !(c.val_loss < best + DIVERGED_RISE)) {
        snprintf(r.status, sizeof r.status, "diverged");
        snprintf(r.reason, sizeof r.reason, "step %d: held-out loss %.4f after %.4f", step, c.val_loss, best);
      }
      if (c.val_loss < best) best = c.val_loss;
      p.points[p.n_points++] = c;
      p.bin_loss = p.bin_steps = 0;
    }
    const double now = now_seconds();
    if (now - told > (kind == PROGRESS_PIPE ? 0.25 : 2) || step == steps) {
      report(kind, fd, cfg, step, steps, smooth, now - began, step - first);
      told = now;
    }
    if (code == OK && step < steps && (stop_signal || now - saved > cfg->checkpoint_seconds)) {
      code = checkpoint_write(dir, "checkpoint.bin", &m, true, &p, e);
      saved = now;
      if (code == OK && stop_signal)
        code = fail(e, 128 + stop_signal, "stopped at step %d of %d; the same command goes on from there", step, steps);
    }
  }
  if (code == OK) code = finish(&r, &m, corpus, dir, &p, began, e);
  sigaction(SIGINT, &was_int, NULL);
  sigaction(SIGTERM, &was_term, NULL);
  free(p.points);
  free(rows);
  model_free(&m);
  return code;
}

// ---- Provenance ---------------------------------------------------------------------------------------

const char *isoflop_version(void) { return ISOFLOP_VERSION; }

void train_provenance(Record *r) {
  snprintf(r->version, sizeof r->version, "%s", isoflop_version());
  snprintf(r->compiler, sizeof r->compiler, "%.63s", __VERSION__);
  snprintf(r->kernels, sizeof r->kernels, "%s", kernels_describe(kern));
  snprintf(r->cpu, sizeof r->cpu, "unknown");
  r->threads = r->cfg.threads > 0 ? r->cfg.threads : omp_get_max_threads();
  FILE *f = fopen("/proc/cpuinfo", "r");
  char line[256];
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "model name : %95[^\n]", r->cpu) == 1) break;
  if (f) fclose(f);
}
