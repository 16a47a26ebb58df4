// bench_gemm.c: see bench_gemm.h. In: one product's shape. Out: what each rung of the ladder makes of it.
//
// The first four rungs are here: what a student writes on the way from the definition to a fast kernel, in portable C.
// Each changes one thing. The rest of the ladder are the kernel tables, and OpenBLAS with its own threads.
// Invariant: a figure exists only for a rung whose result was right in this very call, against double.
// Reference: Goto & van de Geijn (2008) for blocking and packing; README.md in this folder tells the ladder.
#include "bench_gemm.h"
#if __has_include(<cblas.h>)
#include <cblas.h>
#define HAVE_OPENBLAS 1
#endif
#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static int imin(int a, int b) { return a < b ? a : b; }
static float *at(Mat x, int i, int j) { return x.p + i * x.rs + j * x.cs; }

// ---- The first rungs -------------------------------------------------------------------------------

// 1. The definition. The inner loop walks down a column of B: a cache line for every number used, and each sum waits
// for the one before.
static void gemm_naive(Mat c, Mat a, Mat b, int accumulate) {
  for (int i = 0; i < c.rows; i++)
    for (int j = 0; j < c.cols; j++) {
      float sum = accumulate ? *at(c, i, j) : 0;
      for (int k = 0; k < a.cols; k++) sum += *at(a, i, k) * *at(b, k, j);
      *at(c, i, j) = sum;
    }
}

// c[j] += x * b[j]. Contiguous rows, the usual case, get a loop that the compiler can vectorise.
static void row_add(float *c, float x, const float *b, ptrdiff_t stride, int n) {
  if (stride == 1)
    for (int j = 0; j < n; j++) c[j] += x * b[j];
  else
    for (int j = 0; j < n; j++) c[j] += x * b[j * stride];
}

static void clear(Mat c) {
  for (int i = 0; i < c.rows; i++) memset(at(c, i, 0), 0, sizeof(float) * (size_t)c.cols);
}

// 2. Loops interchanged: the inner loop walks along rows of B and C, sums are independent.
static void gemm_interchange(Mat c, Mat a, Mat b, int accumulate) {
  if (!accumulate) clear(c);
  for (int i = 0; i < c.rows; i++)
    for (int k = 0; k < a.cols; k++) row_add(at(c, i, 0), *at(a, i, k), at(b, k, 0), b.cs, c.cols);
}

// 3. The same in blocks: 64 x 96 of B (24 KiB) stay in the first-level cache while all rows of A pass over them.
static void gemm_blocked(Mat c, Mat a, Mat b, int accumulate) {
  enum { KB = 64, JB = 96 };
  if (!accumulate) clear(c);
  for (int j0 = 0; j0 < c.cols; j0 += JB)
    for (int k0 = 0; k0 < a.cols; k0 += KB)
      for (int i = 0; i < c.rows; i++)
        for (int k = k0; k < imin(k0 + KB, a.cols); k++)
          row_add(at(c, i, j0), *at(a, i, k), at(b, k, j0), b.cs, imin(JB, c.cols - j0));
}

// 4. A tile of C in registers, so that each number loaded serves 4 or 8 multiply-adds; operands copied (packed) into
// the order in which the tile reads them, so that strides and edges cost nothing inside.
enum { MR = 4, NR = 8, KC = 256, MC = 128 };

// x(0..rows-1, 0..k-1) -> [k][width], zeros past the last row.
static void pack(float *dst, int width, Mat x, int rows, int k) {
  for (int kk = 0; kk < k; kk++)
    for (int i = 0; i < width; i++) *dst++ = i < rows ? *at(x, i, kk) : 0;
}

static void tile_add(Mat c, const float *a, const float *b, int k) {
  float t[MR][NR] = {{0}};
  for (; k > 0; k--, a += MR, b += NR)
    for (int i = 0; i < MR; i++)
      for (int j = 0; j < NR; j++) t[i][j] += a[i] * b[j];
  for (int i = 0; i < c.rows; i++)
    for (int j = 0; j < c.cols; j++) *at(c, i, j) += t[i][j];
}

static void gemm_packed(Mat c, Mat a, Mat b, int accumulate) {
  static _Thread_local float a_pack[MC * KC], b_pack[NR * KC];
  if (!accumulate) clear(c);
  for (int k0 = 0; k0 < a.cols; k0 += KC)
    for (int i0 = 0; i0 < c.rows; i0 += MC) {
      const int kc = imin(KC, a.cols - k0), mc = imin(MC, c.rows - i0);
      for (int i = 0; i < mc; i += MR)
        pack(a_pack + i * kc, MR, mat_cols(mat_rows(a, i0 + i, MR), k0, kc), imin(MR, mc - i), kc);
      for (int j0 = 0; j0 < c.cols; j0 += NR) {
        const int nc = imin(NR, c.cols - j0);
        pack(b_pack, NR, tr(mat_cols(mat_rows(b, k0, kc), j0, NR)), nc, kc);
        for (int i = 0; i < mc; i += MR)
          tile_add(mat_cols(mat_rows(c, i0 + i, imin(MR, mc - i)), j0, nc), a_pack + i * kc, b_pack, kc);
      }
    }
}

#if HAVE_OPENBLAS
// OpenBLAS with as many threads as OpenMP grants, unlike the backend behind gemm(), which gives it one a call.
static void gemm_library(Mat c, Mat a, Mat b, int accumulate) {
  const bool a_t = a.cs != 1, b_t = b.cs != 1;
  cblas_sgemm(CblasRowMajor, a_t ? CblasTrans : CblasNoTrans, b_t ? CblasTrans : CblasNoTrans, c.rows, c.cols, a.cols,
              1, a.p, (int)(a_t ? a.cs : a.rs), b.p, (int)(b_t ? b.cs : b.rs), accumulate ? 1 : 0, c.p, (int)c.rs);
}
#endif

GemmRung bench_gemm_peers[GEMM_MAX_PEERS];

int bench_gemm_rungs(GemmRung out[GEMM_MAX_RUNGS]) {
  int n = 0;
  out[n++] = (GemmRung){"scalar_naive", NULL, gemm_naive, false, 3e8, false, NULL};
  out[n++] = (GemmRung){"scalar_interchange", NULL, gemm_interchange, false, 1e9, false, NULL};
  out[n++] = (GemmRung){"scalar_blocked", NULL, gemm_blocked, false, 1e9, false, NULL};
  out[n++] = (GemmRung){"scalar_packed", NULL, gemm_packed, false, 1e9, false, NULL};
  for (int i = 0; kernels_all[i]; i++)  // the tables but for OpenBLAS's, and those that are for bf16
    if (kernels_all[i]->supported() && !kernels_all[i]->gemm && kernels_all[i]->bf16_step <= 1 &&
        n + 3 + GEMM_MAX_PEERS < GEMM_MAX_RUNGS)
      out[n++] = (GemmRung){kernels_all[i]->name, kernels_all[i]->name, NULL, true, i ? INFINITY : 1e9, false, NULL};
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512bf16"))  // elsewhere bf16 is emulated, which is no rung of a ladder of speed
    out[n++] = (GemmRung){"avx512bf16", "avx512", NULL, true, INFINITY, true, NULL};
  for (int i = 0; kernels_all[i]; i++)
    if (kernels_all[i]->bf16_step > 1 && kernels_all[i]->supported())
      out[n++] = (GemmRung){kernels_all[i]->name, kernels_all[i]->name, NULL, true, INFINITY, true, NULL};
#endif
#if HAVE_OPENBLAS
  out[n++] = (GemmRung){"openblas", NULL, gemm_library, true, INFINITY, false, NULL};
#endif
  for (int i = 0; i < GEMM_MAX_PEERS && bench_gemm_peers[i].name; i++) out[n++] = bench_gemm_peers[i];
  return n;
}

// ---- Machine limits --------------------------------------------------------------------------------

double bench_peak(int threads) {
  static const double SAMPLE = 0.001;  // seconds: long enough for the core to settle with wide vectors at work
  enum { ROUNDS = 2000 };
  kernels_init(NULL);
  double rate = 0;
#pragma omp parallel num_threads(threads) reduction(+ : rate)
  {
    double flops = 0, seconds = 0;
    kern->fma_burst(ROUNDS);
#pragma omp barrier
    for (const double start = omp_get_wtime(); seconds < SAMPLE; seconds = omp_get_wtime() - start)
      flops += kern->fma_burst(ROUNDS);
    rate += flops / seconds * 1e-9;
  }
  return rate;
}

double bench_peak_bf16(void) {
  enum { MAX_MR = 32, PAIRS = 128 };
  static Word a[MAX_MR * PAIRS] __attribute__((aligned(64))), b[PAIRS * BF16_NR] __attribute__((aligned(64)));
  static float c[MAX_MR * BF16_NR] __attribute__((aligned(64)));
  const Tile t = {.m = kern->bf16_mr, .n = BF16_NR, .k = PAIRS, .across = 1, .strips = 1, .accumulate = 1,
                  .a = (const float *)a, .a_rs = PAIRS, .a_cs = 1, .b = (const float *)b, .ldb = BF16_NR, .c = c,
                  .ldc = BF16_NR};
  double flops = 0, seconds = 0;
  for (const double start = omp_get_wtime(); seconds < 0.001; seconds = omp_get_wtime() - start)
    for (int i = 0; i < 8; i++) {
      kern->bf16_ukr(&t);
      flops += 4.0 * kern->bf16_mr * BF16_NR * PAIRS;
    }
  return flops / seconds * 1e-9;
}

double bench_bandwidth(size_t bytes) {
  const size_t n = bytes / sizeof(float);
  float *x = aligned_alloc(64, (n + 16) / 16 * 64), *y = aligned_alloc(64, (n + 16) / 16 * 64);
  double best = 0;
  if (x && y) {
    memset(x, 0, n * sizeof *x);
    memset(y, 0, n * sizeof *y);
    const int reps = (int)(4e6 / (double)n) + 1;
    for (int sample = 0; sample < 5; sample++) {
      const double start = omp_get_wtime();
      for (int r = 0; r < reps; r++) kern->add(y, x, n);
      best = fmax(best, 12.0 * (double)n * reps / (omp_get_wtime() - start) * 1e-9);
    }
  }
  free(x);
  free(y);
  return best;
}

// ---- One product on all rungs ----------------------------------------------------------------------

static const double SLICE = 0.003;  // seconds of calls between two readings of the clock

// In pages of 2 MiB from half of one on, as training has its numbers.
static float *floats_new(size_t n) {
  const size_t huge = 2 << 20, page = n * sizeof(float) >= huge / 2 ? huge : 64;
  const size_t bytes = (n * sizeof(float) + page - 1) / page * page;
  float *p = aligned_alloc(page, bytes);
  if (p && page == huge) madvise(p, bytes, MADV_HUGEPAGE);
  return p;
}

// Rows of signed random numbers; the same on every machine.
static Mat operand(int rows, int cols, bool transposed, int ld, uint32_t seed) {
  const int r = transposed ? cols : rows, w = transposed ? rows : cols;
  if (ld < w) ld = w;
  float *p = floats_new((size_t)r * ld);
  for (size_t i = 0; p && i < (size_t)r * ld; i++) {
    seed = seed * 1664525u + 1013904223u;
    p[i] = (float)(int32_t)seed * 0x1p-31f;
  }
  const Mat m = mat_ld(p, r, w, ld);
  return transposed ? tr(m) : m;
}

// Every step-th row, up to the last one. A product of thinned operands is the thinned product.
static Mat thin_rows(Mat x, int step) {
  const int first = (x.rows - 1) % step;
  return (Mat){x.p + first * x.rs, (x.rows - 1 - first) / step + 1, x.cols, x.rs * step, x.cs};
}
static Mat thin(Mat c, int rows, int cols) { return tr(thin_rows(tr(thin_rows(c, rows)), cols)); }

// The rung's table; in bf16 with its instruction, even where rounded floats are faster.
static void use(const GemmRung *r) {
  static Kernels words;
  if (!r->table) return;
  kernels_init(r->table);
  words = *kern, words.bf16_as_floats = 0;
  if (r->bf16) kern = &words;
}

// One rung at work on one product.
typedef struct Job {
  const GemmRung *rung;
  Mat c, a, b, right;
  int threads, accumulate, reps;
  bool pack_inside;
  float *pack_here;
} Job;

static Mat job_pack(const Job *j) {
  return j->rung->bf16 ? gemm_pack_bf16(j->pack_here, j->b) : gemm_pack(j->pack_here, j->b);
}

// A thread's share of the product, of which it is number `id` of `n`.
static void job_share(const Job *j, Mat right, int id, int n) {
  const int lo = (int)((int64_t)j->c.rows * id / n), hi = (int)((int64_t)j->c.rows * (id + 1) / n);
  if (!j->rung->bf16)
    gemm_team(j->c, j->a, right, j->accumulate);
  else if (hi > lo)
    gemm_bf16(mat_rows(j->c, lo, hi - lo), mat_rows(j->a, lo, hi - lo), right, j->accumulate);
}

// The calls that are timed; with a table and several threads as a team that meets after each.
static void calls(const Job *j, int reps) {
  Mat right = j->right;
  if (j->rung->run) {
    for (int i = 0; i < reps; i++) j->rung->run(j->c, j->a, right, j->accumulate);
  } else if (j->threads == 1) {
    for (int i = 0; i < reps; i++) {
      if (j->pack_inside) right = job_pack(j);
      (j->rung->bf16 ? gemm_bf16 : gemm)(j->c, j->a, right, j->accumulate);
    }
  } else {
#pragma omp parallel num_threads(j->threads)
    for (int i = 0; i < reps; i++) {
      if (j->pack_inside) {
#pragma omp single
        right = job_pack(j);
      }
      job_share(j, right, omp_get_thread_num(), omp_get_num_threads());
#pragma omp barrier
    }
  }
}

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
double bench_median(double *v, int n) {
  qsort(v, (size_t)n, sizeof *v, by_value);
  return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

// Largest error of c, relative to (|A||B| + |C0|), on at most about a million multiply-adds of the result.
static double largest_error(const GemmOp *op, Mat c, Mat c0, Mat a, Mat b) {
  const int rows = op->m / 24 + 1, cols = (int)(24.0 * op->n * op->k / 1e6) + 1;
  const Mat got = thin(c, rows, cols), from = thin(c0, rows, cols);
  const Mat sub_a = thin_rows(a, rows), sub_b = tr(thin_rows(tr(b), cols));
  Mat want = mat(malloc(sizeof(float) * (size_t)got.rows * got.cols), got.rows, got.cols);
  double *bound = malloc(sizeof *bound * (size_t)got.rows * got.cols), worst = 0;
  if (!want.p || !bound)
    worst = NAN;
  else {
    for (int i = 0; i < got.rows; i++)
      for (int j = 0; j < got.cols; j++) *at(want, i, j) = *at(from, i, j);
    gemm_ref(want, bound, sub_a, sub_b, op->accumulate);
    for (int i = 0; i < got.rows; i++)
      for (int j = 0; j < got.cols; j++) {
        const double error = fabs((double)*at(got, i, j) - *at(want, i, j)) / bound[i * got.cols + j];
        if (!(error <= worst)) worst = error;  // NaN stays
        if (isnan(worst)) i = got.rows, j = got.cols;
      }
  }
  free(want.p);
  free(bound);
  return worst;
}

// Sets up one rung: packs, checks the result, counts how many calls fill a slice. False when there is no memory.
static bool job_prepare(Job *j, const GemmOp *op, Mat c0, GemmResult *out) {
  const GemmRung *r = j->rung;
  *out = (GemmResult){0};
  if (2.0 * op->m * op->n * op->k > r->max_flops || (j->threads > 1 && !r->teams)) return true;
  use(r);
  if (r->table && op->pack) {
    j->pack_here = floats_new(gemm_pack_floats(op->k, op->n));
    if (!j->pack_here) return false;
    j->right = job_pack(j);
    j->pack_inside = op->pack_inside;
  }
  for (int i = 0; i < op->m; i++)
    for (int k = 0; k < op->n; k++) *at(j->c, i, k) = op->accumulate ? *at(c0, i, k) : NAN;
  calls(j, 1);
  out->max_err = largest_error(op, j->c, c0, j->a, j->b);
  out->good = out->max_err <= (op->k + 4) * FLT_EPSILON + (r->bf16 ? 0x1.008p-7 : 0);  // (1 + 2^-8)^2 - 1
  out->wrong = !out->good;
  const double start = omp_get_wtime();
  if (out->good) calls(j, 1);
  j->reps = (int)fmin(1e6, SLICE / (omp_get_wtime() - start + 1e-7)) + 1;
  return true;
}

bool bench_gemm_product(const GemmOp *op, const GemmRung *rungs, int n_rungs, int threads, int rounds, double deadline,
                        GemmResult *out, double *peak) {
  const Mat a = operand(op->m, op->k, op->a_t, op->lda, 1), b = operand(op->k, op->n, op->b_t, op->ldb, 2);
  const Mat c0 = operand(op->m, op->n, false, op->ldc, 3), c = operand(op->m, op->n, false, op->ldc, 3);
  double *rate = malloc(sizeof *rate * (size_t)rounds * (size_t)(n_rungs + 1));
  double *peaks = rate ? rate + n_rungs * rounds : NULL;
  int done = 0;
  Job jobs[GEMM_MAX_RUNGS] = {0};
  bool enough = a.p && b.p && c0.p && c.p && rate;
  const int threads_were = omp_get_max_threads();
  omp_set_num_threads(threads);
  for (int t = 0; enough && t < n_rungs; t++) {
    jobs[t] = (Job){&rungs[t], c, a, b, b, threads, op->accumulate, 0, false, NULL};
    enough = job_prepare(&jobs[t], op, c0, &out[t]);
  }
  for (; enough && done < rounds && (done < 3 || omp_get_wtime() < deadline); done++) {
    peaks[done] = bench_peak(threads);
    for (int t = 0; t < n_rungs; t++) {
      const Job *j = &jobs[t];
      if (!out[t].good) continue;
      use(j->rung);
      if (j->reps > 1) calls(j, 1);  // its operands back into the caches
      const double start = omp_get_wtime();
      calls(j, j->reps);
      rate[t * rounds + done] = 2.0 * op->m * op->n * op->k * j->reps / (omp_get_wtime() - start) * 1e-9;
    }
  }
  if (enough) *peak = bench_median(peaks, done);
  for (int t = 0; enough && t < n_rungs; t++) {
    double *v = rate + t * rounds;
    if (!out[t].good) continue;
    out[t].gflops = bench_median(v, done);
    out[t].lo = v[0];
    out[t].hi = v[done - 1];
    out[t].pct_peak = 100 * out[t].gflops / *peak;
  }
  omp_set_num_threads(threads_were);
  kernels_init(NULL);
  for (int t = 0; t < n_rungs; t++) free(jobs[t].pack_here);
  free(a.p);
  free(b.p);
  free(c0.p);
  free(c.p);
  free(rate);
  return enough;
}
