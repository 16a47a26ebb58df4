// gemm_bf16.c: the loops around the bf16 micro-kernel: round both operands to bf16 into words of two consecutive k, in
// blocks for the caches, then multiply.
//
// In: A, B as views of floats by any strides, one of which is 1; B alternatively from gemm_pack_bf16(). Out: C = or
// += A B.
// Invariant: pieces of k are cut where the micro-kernel's steps end, so each C(i,j) sees its pairs of k in the same
// steps and order; no choice made here shows.
// Reference: Micikevicius et al., "Mixed precision training" (2018); the blocks as in gemm.c.
#include <assert.h>
#include <string.h>
#include "kernels.h"

enum {
  KC = 1024,  // depth of a block, a multiple of 32: with half the bytes an element, twice that of gemm.c
  MC = 320,  // height of a block, likewise
};

static int imin(int a, int b) { return a < b ? a : b; }
static int up(int x, int to) { return (x + to - 1) / to * to; }

// A block of A, row by row or, from a transposed matrix, pair by pair unless the micro-kernel wants rows. Strides in
// words.
typedef struct Words { Word *p; ptrdiff_t rs, cs; } Words;

static Words round_a(Word *dst, Mat a) {
  const int pairs = (a.cols + 1) / 2, padded = up(pairs, kern->bf16_step);
  if (a.cs == 1) {
    for (int i = 0; i < a.rows; i++, dst += padded) {
      kern->bf16_along(dst, a.p + i * a.rs, a.cols);
      for (int p = pairs; p < padded; p++) dst[p] = 0;
    }
    return (Words){dst - (ptrdiff_t)a.rows * padded, padded, 1};
  }
  assert(a.rs == 1);
  if (kern->bf16_step == 1) {
    kern->bf16_across(dst, a.rows, a.p, a.cs, a.cols, a.rows);
    return (Words){dst, 1, a.rows};
  }
  enum { ROWS = 64 };  // of the result at a time: columns of A that are whole lines
  static _Thread_local Word columns[KC / 2 * ROWS] __attribute__((aligned(64)));
  for (int i = 0, n; i < a.rows; i += n) {
    n = imin(ROWS, a.rows - i);
    kern->bf16_across(columns, ROWS, a.p + i, a.cs, a.cols, n);
    kern->pack_t(dst + (ptrdiff_t)i * padded, padded, columns, ROWS, n, pairs);
  }
  return (Words){dst, padded, 1};
}

// B(0..k-1, 0..n-1), n <= BF16_NR -> [pairs][BF16_NR], zeros past the n-th column.
static void round_panel(Word *dst, Mat b) {
  const int pairs = (b.rows + 1) / 2;
  if (b.cs == 1) {
    kern->bf16_across(dst, BF16_NR, b.p, b.rs, b.rows, b.cols);
    for (int p = 0; b.cols < BF16_NR && p < pairs; p++, dst += BF16_NR)
      memset(dst + b.cols, 0, (size_t)(BF16_NR - b.cols) * sizeof *dst);
    return;
  }
  assert(b.rs == 1);
  Word columns[BF16_NR][64];
  for (int p = 0, k, n; p < pairs; p += n) {
    k = imin(b.rows - 2 * p, 128), n = (k + 1) / 2;
    for (int j = 0; j < b.cols; j++) kern->bf16_along(columns[j], b.p + 2 * p + j * b.cs, k);
    kern->pack_t(dst + (ptrdiff_t)p * BF16_NR, BF16_NR, columns[0], 64, n, b.cols);
  }
}

void gemm_bf16(Mat c, Mat a, Mat b, int accumulate) {
  assert(c.rows == a.rows && c.cols == b.cols && a.cols == b.rows && c.cs == 1);
  if (kern->gemm_bf16) {
    kern->gemm_bf16(c, a, b, accumulate);
    return;
  }
  static _Thread_local Word a_scratch[MC * KC / 2] __attribute__((aligned(64)));
  static _Thread_local Word b_scratch[KC / 2 * BF16_NR] __attribute__((aligned(64)));
  const int m_blocks = (a.rows + MC - 1) / MC, k_blocks = a.cols ? (a.cols + KC - 1) / KC : 1;
  for (int mb = 0, i0 = 0, mc; mb < m_blocks; mb++, i0 += mc) {
    mc = (a.rows - i0 + m_blocks - mb - 1) / (m_blocks - mb);
    for (int kb = 0, k0 = 0, kc; kb < k_blocks; kb++, k0 += kc) {
      kc = (a.cols - k0 + k_blocks - kb - 1) / (k_blocks - kb);
      if (kb < k_blocks - 1) kc = up(kc, 2 * kern->bf16_step);
      const Words aw = round_a(a_scratch, mat_cols(mat_rows(a, i0, mc), k0, kc));
      for (int j0 = 0; j0 < c.cols; j0 += BF16_NR) {
        const int n = imin(BF16_NR, c.cols - j0);
        const Word *panel = b_scratch;
        if (b.cs) round_panel(b_scratch, mat_cols(mat_rows(b, k0, kc), j0, n));
        else panel = (const Word *)b.p + j0 / BF16_NR * b.rs + (ptrdiff_t)k0 / 2 * BF16_NR;
        // tiles as equal in height as can be, since a low one cannot hide the latency of its adds
        const int step = kern->bf16_step;
        for (int tiles = (mc + kern->bf16_mr - 1) / kern->bf16_mr, i = 0, rows; tiles > 0; tiles--, i += rows) {
          rows = imin(up((mc - i + tiles - 1) / tiles, step), mc - i);
          const Tile t = {.m = rows, .n = n, .k = (kc + 1) / 2, .tiles = 1, .tail = kern->tail,
                          .accumulate = accumulate || kb > 0, .a = (const float *)(aw.p + i * aw.rs), .a_rs = aw.rs,
                          .a_cs = aw.cs, .b = (const float *)panel, .ldb = BF16_NR,
                          .c = c.p + (i0 + i) * c.rs + j0, .ldc = c.rs};
          kern->bf16_ukr(&t);
        }
      }
    }
  }
}

Mat gemm_pack_bf16(float *dst, Mat b) {
  assert(b.cs != 0);
  const ptrdiff_t panel = (ptrdiff_t)(b.rows + 1) / 2 * BF16_NR;  // words
  for (int j0 = 0; j0 < b.cols; j0 += BF16_NR)
    round_panel((Word *)dst + j0 / BF16_NR * panel, mat_cols(b, j0, imin(BF16_NR, b.cols - j0)));
  return (Mat){dst, b.rows, b.cols, panel, 0};
}
