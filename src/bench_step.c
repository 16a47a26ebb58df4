// bench_step.c: milliseconds of a whole training step. In: shapes. Out: a row a shape, on stdout, as it is measured.
//
// A step is what training does: forward, backward, clip, AdamW, on new random tokens; the corpus, evaluation and
// records are left out. FLOPs are counted as flops_exact (shape.h): every key of the attention, so skipping the masked
// half shows as speed. The peak beside each row comes from bursts of multiply-adds between its steps.
#include "bench.h"
#include "bench_gemm.h"
#include "kernels.h"
#include "model.h"
#include "shape.h"
#include <malloc.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

// The shapes of docs/performance.md. Those of `full` are left out of the 20 seconds.
typedef struct Shape {
  int d, layers, heads, seq, batch;
  bool full;
} Shape;
static const Shape SHAPES[] = {
    {16, 1, 2, 128, 1, 0},  {24, 2, 2, 128, 1, 0},  {32, 2, 2, 128, 1, 0},  {48, 3, 2, 128, 1, 0},
    {64, 3, 2, 128, 1, 0},  {96, 4, 3, 128, 1, 0},  {16, 1, 2, 128, 8, 0},  {24, 2, 2, 128, 8, 0},
    {32, 2, 2, 128, 8, 0},  {48, 3, 2, 128, 8, 0},  {64, 3, 2, 128, 8, 0},  {96, 4, 3, 128, 8, 0},
    {32, 2, 2, 256, 2, 0},  {64, 3, 2, 256, 2, 0},  {96, 4, 3, 256, 2, 0},  {128, 4, 4, 256, 2, 0},
    {192, 5, 6, 256, 2, 1}, {256, 6, 8, 256, 2, 1}, {384, 8, 6, 256, 2, 1}, {512, 8, 8, 256, 2, 1},
    {32, 2, 2, 256, 8, 0},  {64, 3, 2, 256, 8, 0},  {96, 4, 3, 256, 8, 0},  {128, 4, 4, 256, 8, 0},
    {192, 5, 6, 256, 8, 1}, {256, 6, 8, 256, 8, 1}, {384, 8, 6, 256, 8, 1}, {512, 8, 8, 256, 8, 1},
};
// Where --profile looks: a small, a middle and a large model.
static const Shape PROFILED[] = {{32, 2, 2, 256, 8, 0}, {128, 4, 4, 256, 8, 0}, {512, 8, 8, 256, 2, 0}};

int bench_step_time(const Config *cfg, double seconds, StepTime *out, Err *e) {
  enum { MAX_STEPS = 20000, MAX_PEAKS = 1000, WARM_UP = 1, LEAST = 1 };
  static const double PEAK_EVERY = 0.03;  // seconds
  const int T = cfg->seq_len, B = cfg->batch_tokens / T, row = T + 1;
  Model m;
  malloc_trim(0);  // what an earlier shape left behind is not this one's
  if (model_new(&m, cfg, true, e)) return e->code;
  uint8_t *tokens = mem_new((size_t)B * row, "bench", e);
  double *ms = mem_new(sizeof *ms * (MAX_STEPS + MAX_PEAKS), "bench", e), *peaks = ms + MAX_STEPS;
  int n = -WARM_UP, n_peaks = 0;
  double sampled = 0;
  for (double began = now_seconds(); tokens && ms && n < MAX_STEPS && (n < LEAST || now_seconds() - began < seconds);
       n++) {
    for (int i = 0; i < B * row; i++) tokens[i] = (uint8_t)rng_u64((uint64_t)(n + WARM_UP), (uint64_t)i);
    if (n_peaks < MAX_PEAKS && now_seconds() - sampled > PEAK_EVERY) {
      peaks[n_peaks++] = bench_peak(m.threads);
      sampled = now_seconds();
    }
    const double start = now_seconds();
    model_step(&m, tokens, B);
    optim_step(&m, n + WARM_UP + 1, 1e-3);
    if (n >= 0)
      ms[n] = (now_seconds() - start) * 1e3;
    else
      began = now_seconds();
  }
  if (tokens && ms) {
    const double middle = bench_median(ms, n);  // and sorted
    *out = (StepTime){.median = middle,
                      .min = ms[0],
                      .peak = bench_median(peaks, n_peaks),
                      .rss_mb = 1e-6 * (double)mem_resident(),  // also the peak: a model's memory is touched at its start
                      .steps = n};
    e->code = OK;
  }
  free(ms);
  free(tokens);
  model_free(&m);
  return e->code;
}

// A shape as a config, with the user's --set on top; what follows from the size by rule is filled in.
static int shape_config(const Shape *s, const BenchArgs *a, Config *c, Err *e) {
  config_defaults(c);
  c->d_model = s->d;
  c->n_layers = s->layers;
  c->n_heads = s->heads;
  c->seq_len = s->seq;
  c->batch_tokens = s->seq * s->batch;
  c->threads = 1;
  for (int i = 0; i < a->n_sets; i++)
    if (config_set(c, a->sets[i], "bench: --set", e)) return e->code;
  c->tokens = 1000.0 * (c->batch_tokens > 0 ? c->batch_tokens : c->seq_len);
  return recipe_resolve(c, e);
}

static int row_measure(const Config *c, double seconds, bool csv, Err *e) {
  StepTime t;
  if (bench_step_time(c, seconds, &t, e)) return e->code;
  const int B = c->batch_tokens / c->seq_len, threads = c->threads > 0 ? c->threads : omp_get_max_threads();
  const double per_second = c->batch_tokens / (t.median * 1e-3), gflops = shape_flops(c).exact * per_second * 1e-9;
  printf(csv ? "%d,%d,%d,%d,%d,%d,%s,%s,%.4f,%.4f,%.0f,%.2f,%.1f,%.1f\n"
             : "%7d %8d %7d %5d %10d %7d %9s %8s %10.3f %8.3f %12.0f %12.1f %8.1f %7.1f\n",
         c->d_model, c->n_layers, c->n_heads, c->seq_len, B, threads, c->precision, kern->name, t.median, t.min,
         per_second, gflops, 100 * gflops / t.peak, t.rss_mb);
  fflush(stdout);
  return OK;
}

int bench_step(const BenchArgs *a, Err *e) {
  Config c;
  const bool own = a->n_sets > 0;  // --set: one shape, starting from d_model = 64
  const Shape one = {64, 3, 2, 256, 8, 0}, *shapes = own ? &one : a->profile ? PROFILED : SHAPES;
  const int n = own          ? 1
                : a->profile ? (int)(sizeof PROFILED / sizeof *PROFILED)
                             : (int)(sizeof SHAPES / sizeof *SHAPES);
  if (a->profile) {
    for (int i = 0; i < n; i++) {
      if (shape_config(&shapes[i], a, &c, e)) return e->code;
      c.threads = 1;
      if (bench_profile(&c, a->seconds > 0 ? a->seconds : a->full ? 10 : 2, a->csv, i == 0, e)) return e->code;
    }
    return OK;
  }
  printf(a->csv ? "%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s\n"
                : "%7s %8s %7s %5s %10s %7s %9s %8s %10s %8s %12s %12s %8s %7s\n",
         "d_model", "n_layers", "n_heads", "seq", "batch_seqs", "threads", "precision", "kernels", "ms_median",
         "ms_min", "tokens_per_s", "gflops_exact", "pct_peak", "rss_mb");
  const double seconds = a->seconds > 0 ? a->seconds : a->full ? 3 : 0.75;
  const int all = omp_get_max_threads(), t_hi = a->threads ? a->threads : own ? 0 : a->full ? all : 1;
  const double deadline = now_seconds() + (a->full || own ? 1e9 : 18);
  int left_out = 0;
  for (int t = a->threads ? a->threads : own ? 0 : 1; t <= t_hi; t += t_hi > t ? t_hi - t : 1)
    for (int i = 0; i < n; i++) {
      if (shapes[i].full && !a->full) continue;
      if (now_seconds() > deadline) {
        left_out++;
        continue;
      }
      if (shape_config(&shapes[i], a, &c, e)) return e->code;
      if (t) c.threads = t;
      if (row_measure(&c, seconds, a->csv, e)) return e->code;
    }
  if (left_out)
    fprintf(stderr, "isoflop: bench: time is up: %d shapes left out (--full has no limit of time)\n", left_out);
  return OK;
}
