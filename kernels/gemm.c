// gemm.c: the loops around the micro-kernel: blocks for the caches, packing where strides demand it, shares for
// threads.
//
// In: C, A, B as views of any strides (C's rows contiguous). Out: C = or += A B.
// Invariant: the loops only choose which tile of C and which piece of k come next; each C(i,j) sees k = 0, 1, 2, ... in
// order, carried from piece to piece by accumulating, so no choice made here changes a bit of the result.
// Reference: Goto & van de Geijn, "Anatomy of high-performance matrix multiplication" (2008). Unlike theirs, an
// operand is read where it lies whenever its strides allow: A by broadcast, so any strides do; B by rows of a panel,
// unless many rows of A use it.
#include <assert.h>
#include <omp.h>
#include <string.h>
#include "kernels.h"

enum {
  MAX_NR = 32,  // of all tables
  KC = 256,     // depth of a block: a panel of B (KC x nr) stays in L1 or L2 while all tiles pass; C is carried on
  MC = 256,     // height of a block: MC x KC of A stays in L2 while all panels of B pass over it
  // Rows of C, two blocks, from which on B is packed first (not under tr(x), which waits for its own columns), at most
  // so much of it at a time:
  PACK_FROM = 512,
  PACK_K = 1024,          // rows
  PACK_FLOATS = 1 << 18,  // all in all
};

static int imin(int a, int b) { return a < b ? a : b; }

// Rows a multiple of 2 KiB apart fall into two sets of a first-level cache of 64 sets, which then holds 16 of them.
static int aliases(ptrdiff_t stride) { return stride && stride % 512 == 0; }

// The same block, one of whose strides is 1, at another stride that spreads its rows over the cache.
static Mat unalias(float *dst, Mat x) {
  const int flip = x.rs == 1;
  const Mat from = flip ? tr(x) : x, to = mat_ld(dst, from.rows, from.cols, (from.cols + 31) / 16 * 16);
  for (int i = 0; i < from.rows; i++) memcpy(to.p + i * to.rs, from.p + i * from.rs, (size_t)from.cols * sizeof(float));
  return flip ? tr(to) : to;
}

// B(0..k-1, 0..n-1) -> [k][nr], zeros past the n-th column.
static void pack_panel(float *dst, int nr, const float *b, ptrdiff_t rs, ptrdiff_t cs, int k, int n) {
  if (rs == 1 && cs != 1) {
    kern->pack_t((Word *)dst, nr, (const Word *)b, cs, k, n);
    return;
  }
  for (int kk = 0; kk < k; kk++, dst += nr, b += rs) {
    if (cs == 1) memcpy(dst, b, (size_t)n * sizeof *dst);
    else for (int j = 0; j < n; j++) dst[j] = b[j * cs];
    for (int j = n; j < nr; j++) dst[j] = 0;
  }
}

// One panel: C[m x n] (n <= nr) in tiles as equal in height as can be, since a low tile cannot hide the latency of
// its adds. Meanwhile each tile fetches its share of the next panel (`next`, rows at ld_next) into the second-level
// cache.
static void gemm_panel(int m, int n, int k, const float *a, ptrdiff_t a_rs, ptrdiff_t a_cs, const float *b,
                       ptrdiff_t ldb, float *c, ptrdiff_t ldc, int accumulate, const float *next, ptrdiff_t ld_next) {
  const int mr = n <= kern->nr / 2 ? 2 * kern->mr : kern->mr;
  int tiles = (m + mr - 1) / mr, fetched = 0;
  for (const int share = tiles ? (k + tiles - 1) / tiles : 0; tiles > 0; tiles--) {
    const int rows = (m + tiles - 1) / tiles;
    for (const int to = next ? imin(k, fetched + share) : 0; fetched < to; fetched++) {
      __builtin_prefetch(next + fetched * ld_next, 0, 2);
      __builtin_prefetch(next + fetched * ld_next + 16, 0, 2);
    }
    kern->gemm_ukr(rows, n, k, a, a_rs, a_cs, b, ldb, c, ldc, accumulate);
    m -= rows, a += rows * a_rs, c += rows * ldc;
  }
}

// The same product by parts of B, packed once for all blocks of A.
static void gemm_packing(Mat c, Mat a, Mat b, int accumulate) {
  static _Thread_local float packed[PACK_FLOATS] __attribute__((aligned(64)));
  for (int k0 = 0, k; k0 < a.cols; k0 += k) {
    k = imin(PACK_K, a.cols - k0);
    for (int j0 = 0, n; j0 < c.cols; j0 += n) {
      n = imin(PACK_FLOATS / k / MAX_NR * MAX_NR, c.cols - j0);
      const Mat part = gemm_pack(packed, mat_cols(mat_rows(b, k0, k), j0, n));
      gemm(mat_cols(c, j0, n), mat_cols(a, k0, k), part, accumulate || k0 > 0);
    }
  }
}

void gemm(Mat c, Mat a, Mat b, int accumulate) {
  assert(c.rows == a.rows && c.cols == b.cols && a.cols == b.rows && c.cs == 1);
  if (kern->gemm) {
    kern->gemm(c, a, b, accumulate);
    return;
  }
  if (b.cs != 0 && a.rs != 1 && c.rows >= PACK_FROM && a.cols > 0) {
    gemm_packing(c, a, b, accumulate);
    return;
  }
  static _Thread_local float a_scratch[(KC + 32) * (MC + 32)] __attribute__((aligned(64)));
  static _Thread_local float b_scratch[KC * MAX_NR] __attribute__((aligned(64)));
  // The lines of a tile of A still fit two sets, so they are copied only where they fall into one.
  const int down = a.rs == 1 && kern->nr > 16;  // tr(x), to a kernel that fetches its columns ahead
  const int row_a = a.cs == 1 && aliases(a.rs) && a.rs % 1024 == 0;
  const int col_a = a.rs == 1 && aliases(a.cs) && (!down || a.cs % 1024 == 0);
  const int copy_a = (row_a || col_a) && c.cols > kern->nr;
  // Rows of two lines and more, fetched early enough, are read where they lie even when they alias.
  const int copy_b = b.cs > 1 || (b.cs == 1 && aliases(b.rs) && kern->nr <= 16 && a.rows > 4 * kern->mr);
  const int far = (ptrdiff_t)b.rows * b.cols > 1 << 16;
  const int nr = kern->nr, m_blocks = (a.rows + MC - 1) / MC;
  const int k_blocks = a.cols ? (a.cols + KC - 1) / KC : 1;
  for (int mb = 0, i0 = 0, mc; mb < m_blocks; mb++, i0 += mc) {
    mc = (a.rows - i0 + m_blocks - mb - 1) / (m_blocks - mb);
    for (int kb = 0, k0 = 0, kc; kb < k_blocks; kb++, k0 += kc) {
      kc = (a.cols - k0 + k_blocks - kb - 1) / (k_blocks - kb);
      Mat ab = mat_cols(mat_rows(a, i0, mc), k0, kc);
      if (copy_a) ab = unalias(a_scratch, ab);
      for (int j0 = 0, n; j0 < c.cols; j0 += n) {
        n = imin(nr, c.cols - j0);
        const float *bp, *next = NULL;
        ptrdiff_t ldb = nr;
        if (copy_b) {
          pack_panel(b_scratch, nr, b.p + k0 * b.rs + j0 * b.cs, b.rs, b.cs, kc, n);
          bp = b_scratch;
        } else if (b.cs == 1) {
          // A remainder just above a full panel splits better as 3/4 + 1/2 than as 1 + 1/4.
          const int left = c.cols - j0;
          if (left > nr && left <= nr + nr / 4) n = nr - nr / 4;
          bp = b.p + k0 * b.rs + j0, ldb = b.rs;
        } else {
          bp = b.p + (ptrdiff_t)j0 * b.rows + (ptrdiff_t)k0 * nr;
        }
        // Worth its instructions only where the panels come from beyond the second-level cache.
        if (b.cs <= 1 && far && j0 + n < c.cols) next = b.cs ? b.p + k0 * b.rs + j0 + n : bp + (ptrdiff_t)b.rows * nr;
        gemm_panel(mc, n, kc, ab.p, ab.rs, ab.cs, bp, ldb, c.p + i0 * c.rs + j0, c.rs, accumulate || kb > 0,
                   next, b.rs);
      }
    }
  }
}

// Cuts the three views down to this thread's share: rows, or whole panels where C is wider than it is tall, unless a
// few panels would not go round and there are rows enough. False: nothing is left for it.
static int team_share(Mat *c, Mat *a, Mat *b, int mr, int nr) {
  const int nt = omp_get_num_threads(), id = omp_get_thread_num();
  const int um = (c->rows + mr - 1) / mr, un = (c->cols + nr - 1) / nr;
  if (nt == 1) return 1;
  if (um >= un || (un % nt && un < 4 * nt && c->rows >= 8 * nt)) {
    const int lo = (int)((int64_t)c->rows * id / nt), n = (int)((int64_t)c->rows * (id + 1) / nt) - lo;
    *c = mat_rows(*c, lo, n), *a = mat_rows(*a, lo, n);
    return n > 0;
  }
  const int lo = un * id / nt * nr, n = imin(un * (id + 1) / nt * nr, c->cols) - lo;
  *c = mat_cols(*c, lo, n);
  *b = (Mat){b->p + (b->cs ? lo * b->cs : (ptrdiff_t)lo * b->rows), b->rows, n, b->rs, b->cs};
  return n > 0;
}

void gemm_team(Mat c, Mat a, Mat b, int accumulate) {
  if (team_share(&c, &a, &b, kern->mr, kern->nr)) gemm(c, a, b, accumulate);
}

void gemm_bf16_team(Mat c, Mat a, Mat b, int accumulate) {
  assert(b.cs != 0);
  if (team_share(&c, &a, &b, kern->bf16_mr, BF16_NR)) gemm_bf16(c, a, b, accumulate);
}

size_t gemm_pack_floats(int k, int n) { return (size_t)k * ((n + MAX_NR - 1) / MAX_NR * MAX_NR); }

Mat gemm_pack(float *dst, Mat b) {
  if (!kern->gemm_ukr) {  // a library has its own layout: hand it plain rows
    for (int k = 0; k < b.rows; k++)
      for (int j = 0; j < b.cols; j++) dst[(ptrdiff_t)k * b.cols + j] = b.p[k * b.rs + j * b.cs];
    return mat(dst, b.rows, b.cols);
  }
  const int nr = kern->nr;
  assert(b.cs != 0 && nr <= MAX_NR);
  for (int j0 = 0; j0 < b.cols; j0 += nr)
    pack_panel(dst + (ptrdiff_t)j0 * b.rows, nr, b.p + j0 * b.cs, b.rs, b.cs, b.rows, imin(nr, b.cols - j0));
  return (Mat){dst, b.rows, b.cols, nr, 0};
}
