// bench_gemm.h: the ladder of matrix products, from three plain loops to the fastest kernel and the library, and the
// measuring of all its rungs on one product, in alternation. Used by `isoflop bench gemm`.
#ifndef ISOFLOP_BENCH_GEMM_H
#define ISOFLOP_BENCH_GEMM_H
#include <stdbool.h>
#include "kernels.h"

enum { GEMM_MAX_RUNGS = 20, GEMM_MAX_PEERS = 6 };

// One way to multiply: a table of kernels (then gemm() or gemm_team() runs with it), or a function by itself.
typedef struct GemmRung {
  const char *name;                                  // "scalar_naive", ..., "avx512", "openblas"
  const char *table;                                 // name of a kernel table, or NULL
  void (*run)(Mat c, Mat a, Mat b, int accumulate);  // or NULL
  bool teams;                                        // can use several threads
  double max_flops;                                  // larger products are left out: they would take too long
  bool bf16;                                         // a table's gemm_bf16() instead
  const char *about;                                 // of another library: version and core, for the heading
} GemmRung;

// One product C[m x n] (+)= A[m x k] B[k x n] as training meets it. a_t: A is the transposed view of a row-major
// matrix, b_t: B is; `pack`: a kernel table gets B packed, as weights are once a step, before the clock starts or, with
// `pack_inside`, in every call (a library gets the view). lda, ldb, ldc: floats between the stored rows, 0 = no gap.
typedef struct GemmOp {
  const char *name;
  int m, n, k;
  bool a_t, b_t, pack, pack_inside, accumulate;
  int lda, ldb, ldc;
} GemmOp;

// Median, least and greatest GFLOP/s over the rounds; the median as a share of the FMA peak, which is sampled in
// every round; max |C - Cref| / (|A||B| + |C|) against double. `good` is false when that is beyond the bound of
// (k + 4) eps, with bf16 + 2^-7 (1 + 2^-9) for its rounded operands, or the rung left this product out: then there are no
// figures.
typedef struct GemmResult {
  bool good, wrong;
  double gflops, lo, hi, pct_peak, max_err;
} GemmResult;

// Other libraries, put here before bench_main() by a program that has them (scripts/bench-gemm-peers.c); name NULL
// ends.
extern GemmRung bench_gemm_peers[GEMM_MAX_PEERS];
// The rungs this CPU has, slowest first; returns how many.
int bench_gemm_rungs(GemmRung out[GEMM_MAX_RUNGS]);
// Measures every rung on one product, in `rounds` rounds, or in fewer (three at least) when the clock (omp_get_wtime)
// passes `deadline`. *peak gets the median GFLOP/s of `threads` cores doing nothing but FMAs. Returns false when there
// is no memory.
bool bench_gemm_product(const GemmOp *op, const GemmRung *rungs, int n_rungs, int threads, int rounds, double deadline,
                        GemmResult *out, double *peak);
// Sorts v; its median.
double bench_median(double *v, int n);
// GFLOP/s of `threads` cores in fma_burst of the default table (one sample of a millisecond), and GB/s of one core in
// y += x over operands of `bytes` each (both must fit: 3 streams counted), the best of a few samples.
double bench_peak(int threads);
double bench_bandwidth(size_t bytes);
// GFLOP/s of one core in the chosen table's bf16 micro-kernel on operands in the first-level cache: what limits
// products of bf16 (one sample of a millisecond).
double bench_peak_bf16(void);
#endif
