// gemm_openblas.c: OpenBLAS behind the same seam: a second oracle, a baseline, a backend to choose (KERNELS=openblas).
// In and out as gemm(). It promises neither a summation order nor the same bits for another split of the work.
#if __has_include(<cblas.h>)
#include <assert.h>
#include <cblas.h>
#include <omp.h>
#include "ukr.h"

// A view is row-major, column-major (= a transposed row-major), or neither, which no caller needs here.
static enum CBLAS_TRANSPOSE layout(Mat x, int *ld) {
  assert(x.cs == 1 || x.rs == 1);
  const int plain = x.cs == 1 && (x.rs >= x.cols || x.rows == 1);
  const ptrdiff_t stride = plain ? x.rs : x.cs;
  const int least = plain ? x.cols : x.rows;
  *ld = stride > least ? (int)stride : least > 0 ? least : 1;
  return plain ? CblasNoTrans : CblasTrans;
}

void gemm_openblas(Mat c, Mat a, Mat b, int accumulate) {
  if (!c.rows || !c.cols) return;
  int lda, ldb;
  const enum CBLAS_TRANSPOSE ta = layout(a, &lda), tb = layout(b, &ldb);
  const int ldc = c.rs > c.cols ? (int)c.rs : c.cols;
  // One thread for one gemm() (the OpenMP flavour asks the runtime; inside a parallel region it is serial anyway).
  const int threads = omp_in_parallel() ? 0 : omp_get_max_threads();
  if (threads > 1) omp_set_num_threads(1);
  cblas_sgemm(CblasRowMajor, ta, tb, c.rows, c.cols, a.cols, 1, a.p, lda, b.p, ldb, accumulate ? 1 : 0, c.p, ldc);
  if (threads > 1) omp_set_num_threads(threads);
}

const char *gemm_openblas_core(void) { return openblas_get_corename(); }
#endif
