// bench_cmd.c: `isoflop bench gemm|step`. In: argv. Out: a table for people or CSV for programs, on stdout.
//
// Figures are medians of alternated rounds with the machine's own peak sampled beside them, so that a noisy neighbour
// slows all kernels of a row alike. The invariant: what is printed was correct in the same run.
#include "bench.h"
#include "bench_gemm.h"
#include <getopt.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char HELP[] =
    "Examples:\n"
    "  isoflop bench gemm                                  # the ladder from three loops to AVX-512 and OpenBLAS\n"
    "  isoflop bench gemm --full --csv --threads 1 --kernels avx512,openblas >gemm.csv\n"
    "  isoflop bench step                                  # milliseconds and tokens/s of a training step\n"
    "  isoflop bench step --profile --set d_model=128 --set n_layers=4 --set n_heads=4\n"
    "\n"
    "Usage: isoflop bench gemm [--csv] [--full [--widths D,E,...]] [--threads N] [--kernels A,B,...] [--seconds S]\n"
    "                          [--out DIR]\n"
    "       isoflop bench step [--csv] [--full] [--threads N] [--profile] [--seconds S] [--set KEY=VALUE]...\n"
    "  --seconds S  gemm: begin no product after S seconds; step: measure each shape for S seconds\n"
    "gemm: GFLOP/s of square and training products (within 50 seconds; --full: all shapes, minutes;\n"
    "      --widths: of those only the linear layers of these widths)\n"
    "  kernel,op,m,n,k,threads,gflops,gflops_min,gflops_max,pct_peak,max_err\n"
    "  pct_peak   of the fp32 multiply-add peak sampled in the same rounds on as many threads\n"
    "  max_err    largest |C - Cref| / (|A||B| + |C|) against double; a kernel beyond its bound gets no row\n"
    "  dx         dy times a weight packed before the clock starts, as once a step; dx_pack: packed inside\n"
    "step: forward + backward + clip + AdamW (20 seconds; --full: more shapes, all threads, minutes)\n"
    "  --profile  time per operation and its distance from its bound, one thread\n"
    "  --set      one shape instead of the list: d_model, n_layers, n_heads, seq_len, batch_tokens, precision, ...\n"
    "  --out DIR  also writes DIR/gemm.csv and DIR/machine.gp, which scripts/bench-gemm-plot.gp draws (`make bench`)\n"
    "KERNELS=avx2 measures against the AVX2 peak, with OpenBLAS pinned to its AVX2 kernels.\n";

// ---- gemm: which products ------------------------------------------------------------------------------

typedef struct Cell {
  GemmOp op;
  int threads;
  bool ladder;
} Cell;
typedef struct Cells {
  Cell *c;
  int n, room;
} Cells;

static void cell_add(Cells *s, GemmOp op, int threads, bool ladder) {
  if (s->n == s->room) {
    s->room = s->room ? 2 * s->room : 256;
    s->c = realloc(s->c, sizeof *s->c * (size_t)s->room);
    if (!s->c) abort();
  }
  s->c[s->n++] = (Cell){op, threads, ladder};
}

// The three products of a linear layer in -> out.
static void cells_layer(Cells *s, int in, int out, int tokens, int threads, bool ladder, bool packing) {
  cell_add(s, (GemmOp){.name = "forward", .m = tokens, .n = out, .k = in}, threads, ladder);
  cell_add(s, (GemmOp){.name = "dx", .m = tokens, .n = in, .k = out, .b_t = true, .pack = true}, threads, ladder);
  if (packing)
    cell_add(
        s, (GemmOp){.name = "dx_pack", .m = tokens, .n = in, .k = out, .b_t = true, .pack = true, .pack_inside = true},
        threads, ladder);
  cell_add(s, (GemmOp){.name = "dw", .m = in, .n = out, .k = tokens, .a_t = true, .accumulate = true}, threads, ladder);
}

// A block of query rows of one head of width hd in a model of width d: scores against `keys`, and their weighted sum.
static void cells_attention(Cells *s, int d, int hd, int keys, bool ladder) {
  const int rows = 32;
  cell_add(
      s,
      (GemmOp){.name = "scores", .m = rows, .n = keys, .k = hd, .b_t = true, .pack = true, .lda = 2 * d, .ldb = 2 * d},
      1, ladder);
  cell_add(s, (GemmOp){.name = "values", .m = rows, .n = hd, .k = keys, .ldb = 3 * d, .ldc = d}, 1, ladder);
}

static bool listed(const char *list, const char *name) {
  const size_t n = strlen(name);
  for (const char *p = list; p && *p; p += strcspn(p, ","), p += *p == ',')
    if (strcspn(p, ",") == n && !strncmp(p, name, n)) return true;
  return !list;
}

static void cells_list(Cells *s, bool full, int threads, const char *only) {
  const int all = omp_get_max_threads(), t_lo = threads ? threads : 1, t_hi = threads ? threads : all;
  static const int squares[] = {64, 128, 256, 512, 1024, 2048, 96, 192, 384, 768, 1536};
  static const int widths[] = {32, 64, 128, 256, 512, 16, 24, 48, 96, 192, 384};
  static const int tokens[] = {2048, 128, 512, 8192}, hds[] = {16, 32, 12, 24, 64};
  const int n_widths = full ? 11 : 5, n_tokens = full ? 4 : 1;
  const int n_squares = only ? 0 : full ? 11 : 6, n_hds = only ? 0 : full ? 5 : 2;
  for (int t = t_lo; t <= t_hi; t += t_hi > t_lo ? t_hi - t_lo : 1) {
    const bool ladder = t == t_lo;
    for (int i = 0; i < n_squares; i++) {
      const int n = squares[i];
      if (full || ladder || n >= 256) cell_add(s, (GemmOp){.name = "square", .m = n, .n = n, .k = n}, t, ladder);
    }
    if (t == 1)
      for (int i = 0; i < n_hds; i++)
        for (int keys = 128; keys <= (full ? 256 : 128); keys += 128)
          cells_attention(s, 4 * hds[i], hds[i], keys, !full);
    for (int k = 0; k < n_tokens; k++)
      for (int i = 0; i < n_widths; i++) {
        const int d = widths[i];
        char name[16];
        snprintf(name, sizeof name, "%d", d);
        if (!listed(only, name)) continue;
        const bool packing = full && tokens[k] <= 512;  // with many tokens it is a small part
        cells_layer(s, d, 4 * d, tokens[k], t, ladder && !full, packing);
        if (!full) continue;
        cells_layer(s, d, 3 * d, tokens[k], t, false, packing);
        cells_layer(s, d, d, tokens[k], t, false, packing);
        cells_layer(s, 4 * d, d, tokens[k], t, false, packing);
        cells_layer(s, d, 256, tokens[k], t, false, packing);
      }
  }
}

// ---- gemm: what is printed ---------------------------------------------------------------------------------

static const char *label(const GemmRung *r) { return strncmp(r->name, "scalar_", 7) ? r->name : r->name + 7; }

static void machine_print(FILE *f, const char *mark, FILE *gp, int threads) {
  const int all = omp_get_max_threads();
  const double one = bench_peak(1), many = all > 1 ? bench_peak(all) : one;
  const double near = bench_bandwidth(64 << 10), far = bench_bandwidth(256 << 20);
  fprintf(f,
          "%sFMA peak (fp32, %s): %.1f GFLOP/s on 1 thread, %.1f on %d; y += x: %.0f GB/s in the cache, %.1f in "
          "memory (1 thread)\n",
          mark, kern->name, one, many, all, near, far);
  for (int i = 0; kernels_all[i]; i++)
    if (kernels_all[i]->supported()) {
      if (!kernels_all[i]->gemm)
        fprintf(f, "%s%s\n", mark, kernels_describe(kernels_all[i]));
      else
        fprintf(f, "%s%.*s), as many threads as the row says\n", mark,
                (int)strcspn(kernels_describe(kernels_all[i]), ","), kernels_describe(kernels_all[i]));
    }
  for (const GemmRung *r = bench_gemm_peers; r < bench_gemm_peers + GEMM_MAX_PEERS && r->name; r++)
    fprintf(f, "%s%s (%s), as many threads as the row says\n", mark, r->name, r->about);
  if (gp)
    fprintf(gp, "peak = %.4g\npeak_all = %.4g\nthreads = %d\nbandwidth = %.4g\n", one, many, threads ? threads : all,
            far);
}

static void row_csv(FILE *f, const Cell *c, const GemmRung *r, const GemmResult *x) {
  fprintf(f, "%s,%s,%d,%d,%d,%d,%.2f,%.2f,%.2f,%.1f,%.2g\n", r->name, c->op.name, c->op.m, c->op.n, c->op.k, c->threads,
          x->gflops, x->lo, x->hi, x->pct_peak, x->max_err);
}

// Geometric mean of the shares of the peak on training products, for the rungs that did all of them.
typedef struct Means {
  double log_sum[GEMM_MAX_RUNGS];
  int n[GEMM_MAX_RUNGS], cells;
} Means;

static int gemm_run(const BenchArgs *a, FILE *csv, bool table, const GemmRung *rungs, int n) {
  enum { ROUNDS = 9 };
  const double deadline = omp_get_wtime() + (a->seconds > 0 ? a->seconds : a->full ? 1e9 : 44);
  Cells s = {0};
  cells_list(&s, a->full, a->threads, a->widths);
  Means mean = {0};
  int left_out = 0, wrong = 0;
  if (csv) fprintf(csv, "kernel,op,m,n,k,threads,gflops,gflops_min,gflops_max,pct_peak,max_err\n");
  if (table) {
    printf("\nGFLOP/s\n%-8s %5s %5s %5s %3s", "op", "m", "n", "k", "thr");
    for (int t = 0; t < n; t++) printf(" %*s", (int)fmax(7, (double)strlen(label(&rungs[t]))), label(&rungs[t]));
    printf(" | %7s %6s\n", "peak", "best");
  }
  for (int i = 0; i < s.n; i++) {
    const Cell *c = &s.c[i];
    if (omp_get_wtime() > deadline) {
      left_out++;
      continue;
    }
    GemmResult x[GEMM_MAX_RUNGS];
    GemmRung some[GEMM_MAX_RUNGS];
    for (int t = 0; t < n; t++) {
      some[t] = rungs[t];
      if (!c->ladder && !some[t].teams) some[t].max_flops = 0;
    }
    double peak = 0, best = 0;
    if (!bench_gemm_product(&c->op, some, n, c->threads, ROUNDS, deadline, x, &peak)) {
      free(s.c);
      return -1;
    }
    if (table) printf("%-8s %5d %5d %5d %3d", c->op.name, c->op.m, c->op.n, c->op.k, c->threads);
    const bool counts = strcmp(c->op.name, "square") && strcmp(c->op.name, "scores") && strcmp(c->op.name, "values");
    mean.cells += counts;
    for (int t = 0; t < n; t++) {
      const int width = (int)fmax(7, (double)strlen(label(&rungs[t])));
      if (x[t].wrong) {
        fprintf(stderr, "isoflop: bench: %s: wrong result for %s %d x %d x %d: error %.3g of (|A||B|)\n", rungs[t].name,
                c->op.name, c->op.m, c->op.n, c->op.k, x[t].max_err);
        wrong++;
      }
      if (table && !x[t].good) printf(" %*s", width, x[t].wrong ? "WRONG" : "-");
      if (!x[t].good) continue;
      if (table) printf(" %*.*f", width, x[t].gflops < 10 ? 2 : 1, x[t].gflops);
      if (csv) row_csv(csv, c, &rungs[t], &x[t]);
      if (x[t].pct_peak > best) best = x[t].pct_peak;
      if (counts) mean.log_sum[t] += log(x[t].pct_peak), mean.n[t]++;
    }
    if (table) printf(" | %7.1f %5.0f%%\n", peak, best);
    fflush(stdout);
  }
  if (table && mean.cells) {
    printf("%% of the peak, geometric mean of %d training products:", mean.cells);
    for (int t = 0; t < n; t++)
      if (mean.n[t] == mean.cells) printf(" %s %.0f", rungs[t].name, exp(mean.log_sum[t] / mean.cells));
    printf("\n");
  }
  if (left_out)
    fprintf(stderr, "isoflop: bench: time is up: %d of %d products left out (--full has no limit of time)\n", left_out,
            s.n);
  free(s.c);
  return wrong;
}

static int bench_gemm(const BenchArgs *a, Err *e) {
  GemmRung all[GEMM_MAX_RUNGS], rungs[GEMM_MAX_RUNGS];
  int n = 0;
  for (int i = 0, n_all = bench_gemm_rungs(all); i < n_all; i++)
    if (listed(a->kernels, all[i].name)) rungs[n++] = all[i];
  if (a->widths && !a->full) return fail(e, E_USAGE, "bench gemm: --widths chooses among the shapes of --full");
  if (!n) return fail(e, E_USAGE, "bench gemm: --kernels %s: none of them is here", a->kernels);
  OutFile csv = {0}, gp = {0};
  if (a->out) {
    char path[1024];
    snprintf(path, sizeof path, "%s/gemm.csv", a->out);
    if (dir_make(a->out, e) || out_open(&csv, path, e)) return e->code;
    snprintf(path, sizeof path, "%s/machine.gp", a->out);
    if (out_open(&gp, path, e)) {
      out_abort(&csv);
      return e->code;
    }
  }
  machine_print(a->csv ? stderr : stdout, a->csv ? "# " : "", gp.f, a->threads);
  const int wrong = gemm_run(a, a->out ? csv.f : a->csv ? stdout : NULL, !a->csv, rungs, n);
  if (wrong < 0)
    fail(e, E_MEMORY, "bench gemm: no memory for the operands");
  else if (wrong > 0)
    fail(e, E_RUNS, "bench gemm: %d results were wrong and are not shown", wrong);
  if (!a->out) return e->code;
  if (e->code || out_commit(&csv, e)) {
    out_abort(&csv);
    out_abort(&gp);
    return e->code;
  }
  return out_commit(&gp, e);
}

// ---- The command -----------------------------------------------------------------------------------------

// OpenBLAS reads its variables when it is loaded, so what would hold it back has to be gone before that: the program
// starts itself again. Pinned to Haswell's kernels it would be no peer for AVX-512.
static void unpin_openblas(int argc, char **argv) {
  const char *want = kernels_openblas_pin(), *core = getenv("OPENBLAS_CORETYPE");
  const bool right = want ? core && !strcmp(core, want) : !core;
  if (right && !getenv("OPENBLAS_L2_SIZE")) return;
  unsetenv("OPENBLAS_L2_SIZE");
  if (want)
    setenv("OPENBLAS_CORETYPE", want, 1);
  else
    unsetenv("OPENBLAS_CORETYPE");
  char **again = calloc((size_t)argc + 2, sizeof *again);
  if (!again) return;
  again[0] = "isoflop", again[1] = "bench";
  memcpy(again + 2, argv + 1, (size_t)argc * sizeof *argv);  // with the NULL behind them
  execv("/proc/self/exe", again);
  free(again);  // there is no /proc: OpenBLAS runs as it is
}

static int args_parse(int argc, char **argv, BenchArgs *a, Err *e) {
  static const struct option longs[] = {{"csv", 0, 0, 'c'},     {"full", 0, 0, 'f'},
                                        {"profile", 0, 0, 'p'}, {"out", 1, 0, 'o'},
                                        {"kernels", 1, 0, 'k'}, {"threads", 1, 0, 't'},
                                        {"seconds", 1, 0, 'S'}, {"set", 1, 0, 's'},
                                        {"widths", 1, 0, 'w'},
                                        {"help", 0, 0, 'h'},    {0}};
  optind = 1;
  opterr = 0;
  double x;
  for (int c; (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;) switch (c) {
      case 'c': a->csv = true; break;
      case 'f': a->full = true; break;
      case 'p': a->profile = true; break;
      case 'o': a->out = optarg; break;
      case 'k': a->kernels = optarg; break;
      case 'w': a->widths = optarg; break;
      case 't':
        if (!number_parse(optarg, true, 1, 1024, &x))
          return fail(e, E_USAGE, "bench: --threads %s: expected a number from 1 to 1024", optarg);
        a->threads = (int)x;
        break;
      case 'S':
        if (!number_parse(optarg, false, 0.001, 1e6, &a->seconds))
          return fail(e, E_USAGE, "bench: --seconds %s: expected a number from .001 to 1e6", optarg);
        break;
      case 's':
        if (a->n_sets == 32) return fail(e, E_USAGE, "bench: more than 32 --set");
        a->sets[a->n_sets++] = optarg;
        break;
      case 'h': fputs(HELP, stdout); return -1;
      default:
        return fail(e, E_USAGE, "bench: unknown option %s, or its value is missing: see --help", argv[optind - 1]);
    }
  if (optind == argc) return fail(e, E_USAGE, "bench: what? gemm or step: see `isoflop bench --help`");
  if (optind + 1 < argc) return fail(e, E_USAGE, "bench: unexpected argument '%s': see --help", argv[optind + 1]);
  return OK;
}

int bench_main(int argc, char **argv) {
  Err e = {0};
  BenchArgs a = {0};
  unpin_openblas(argc, argv);
  const int parsed = args_parse(argc, argv, &a, &e);
  if (parsed == OK) {
    const char *what = argv[optind];
    if (!strcmp(what, "gemm"))
      bench_gemm(&a, &e);
    else if (!strcmp(what, "step"))
      bench_step(&a, &e);
    else
      fail(&e, E_USAGE, "bench: unknown bench '%s': gemm or step", what);
  }
  return finish(e.code, &e);
}
