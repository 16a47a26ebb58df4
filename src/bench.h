// bench.h: how fast the kernels and the training step are on this machine. See `isoflop bench --help`.
#ifndef ISOFLOP_BENCH_H
#define ISOFLOP_BENCH_H
#include "config.h"

// Options of both benches. `sets`: --set key=value, for one shape of one's own.
typedef struct BenchArgs {
  bool csv, full, profile;
  const char *out, *kernels;  // folder for gemm.csv and machine.gp; comma-separated rungs, NULL = all
  const char *widths;         // comma-separated widths d of linear layers, with --full; NULL = all, squares and attention
  int threads;                // 0: gemm: 1 and all; step: 1, with full 1 and all, with sets what these say
  double seconds;             // of measuring a shape of the step; 0 = the default
  int n_sets;
  const char *sets[32];
} BenchArgs;

// `isoflop bench gemm|step`.
int bench_main(int argc, char **argv);
// Prints rows on stdout as they are measured; an exit code of util.h.
int bench_step(const BenchArgs *a, Err *e);

// One training step (forward, backward, clip, AdamW) of cfg on random tokens, repeated for `seconds`, once at
// least after one that warms up. Milliseconds; `peak` is the GFLOP/s of cfg->threads cores in FMAs alone, sampled
// between the steps; rss_mb the memory that the process holds then.
typedef struct StepTime {
  double median, min, peak, rss_mb;
  int steps;
} StepTime;
int bench_step_time(const Config *cfg, double seconds, StepTime *out, Err *e);

// Time per operation of cfg's step on one thread, as a table (or CSV) on stdout: calls, ms a step, share, rate, and
// how far from its bound: FLOPs over the FMA peak, or bytes over the bandwidth of the cache or memory they live in.
// `first`: the CSV's heading comes before.
int bench_profile(const Config *cfg, double seconds, bool csv, bool first, Err *e);
#endif
