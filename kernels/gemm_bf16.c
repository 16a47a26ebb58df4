// gemm_bf16.c: the loops around the bf16 micro-kernel: round both operands to bf16 into words of two consecutive k, in
// blocks for the caches, then multiply. Where no instruction does that, or a slow one: round them to floats, and
// multiply those.
//
// In: A, B as views of floats by any strides, one of which is 1; B alternatively from gemm_pack_bf16(). Out: C = or
// += A B.
// Invariant: pieces of k are cut where the micro-kernel's steps end, so each C(i,j) sees its pairs of k in the same
// steps and order; no choice made here shows.
// Reference: Micikevicius et al., "Mixed precision training" (2018); the blocks as in gemm.c.
#include <assert.h>
#include <string.h>
#ifdef __x86_64__
#include <xmmintrin.h>
#endif
#include "kernels.h"

enum {
  KC = 1024,  // depth of a block, and
  MC = 320,   // its height, multiples of 32: half the bytes an element leave room for more than in gemm.c
  A_WORDS = MC * KC / 2,
  // As floats: depth of a block, and words of one of B.
  KC_FLOATS = KC / 2,
  B_WORDS = 1 << 16,
};
static _Thread_local Word a_scratch[A_WORDS] __attribute__((aligned(64)));
static _Thread_local Word b_scratch[B_WORDS] __attribute__((aligned(64)));

static int imin(int a, int b) { return a < b ? a : b; }
static int up(int x, int to) { return (x + to - 1) / to * to; }

// ---- As words -------------------------------------------------------------------------------------------------------

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

static void product_of_words(Mat c, Mat a, Mat b, int accumulate) {
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
          const Tile t = {.m = rows, .n = n, .k = (kc + 1) / 2, .across = 1, .strips = 1, .tail = kern->tail,
                          .accumulate = accumulate || kb > 0, .a = (const float *)(aw.p + i * aw.rs), .a_rs = aw.rs,
                          .a_cs = aw.cs, .b = (const float *)panel, .ldb = BF16_NR,
                          .c = c.p + (i0 + i) * c.rs + j0, .ldc = c.rs};
          kern->bf16_ukr(&t);
        }
      }
    }
  }
}

// ---- As floats ------------------------------------------------------------------------------------------------------
//
// What vdpbf16ps does to a pair is two fused multiply-adds of floats, the odd element first, without denormals. Where no
// instruction does it fast, gemm() does: on floats that have bf16's values, in which the two of each pair have changed
// places, while the CPU takes denormals for 0 and gives 0 for them.

// Rows k of x, n floats, to rows of dst in the order in which they are multiplied.
static void floats_across(float *dst, ptrdiff_t ld_dst, const float *x, ptrdiff_t ld, int k, int n) {
  kern->bf16_round(dst + ld_dst, 2 * ld_dst, x, 2 * ld, (k + 1) / 2, n, 0);
  kern->bf16_round(dst, 2 * ld_dst, x + ld, 2 * ld, k / 2, n, 0);
  if (k % 2) memset(dst + (k - 1) * ld_dst, 0, (size_t)n * sizeof *dst);
}

// Rows that lie spread over the sets of a cache.
static ptrdiff_t spread(int n) { return up(n, 16) | 16; }

static Mat floats_of_a(Mat a) {
  float *const dst = (float *)a_scratch;
  const int k = up(a.cols, 2);
  if (a.cs == 1) {
    kern->bf16_round(dst, spread(k), a.p, a.rs, a.rows, a.cols, 1);
    return mat_ld(dst, a.rows, k, spread(k));
  }
  assert(a.rs == 1);
  floats_across(dst, spread(a.rows), a.p, a.cs, a.cols, a.rows);
  return tr(mat_ld(dst, k, a.rows, spread(a.rows)));
}

// Panels as gemm_pack() makes them, but for what is past the last column.
static Mat floats_of_b(float *dst, Mat b) {
  enum { ROWS = 16, DEEP = 64 };  // of a piece, by rows of B or of its transpose
  const int nr = kern->nr, deep = b.cs == 1 ? ROWS : DEEP, k = up(b.rows, 2);
  float columns[MAX_NR][DEEP];
  assert((b.cs == 1 || b.rs == 1) && nr <= MAX_NR);
  for (int k0 = 0; k0 < b.rows; k0 += deep)
    for (int j0 = 0; j0 < b.cols; j0 += nr) {
      const int kc = imin(deep, b.rows - k0), n = imin(nr, b.cols - j0);
      const float *const from = b.p + k0 * b.rs + j0 * b.cs;
      float *const to = dst + (ptrdiff_t)j0 * k + (ptrdiff_t)k0 * nr;
      if (b.cs == 1) {
        floats_across(to, nr, from, b.rs, kc, n);
      } else {
        kern->bf16_round(columns[0], DEEP, from, b.cs, n, kc, 1);
        kern->pack_t((Word *)to, nr, (const Word *)columns[0], DEEP, up(kc, 2), n);
      }
    }
  return (Mat){dst, k, b.cols, nr, 0};
}

static void product_of_floats(Mat c, Mat a, Mat b, int accumulate) {
  const int nr = kern->nr, k_blocks = a.cols ? (a.cols + KC_FLOATS - 1) / KC_FLOATS : 1;
  const int whole = k_blocks == 1 && b.rs == (ptrdiff_t)up(a.cols, 2) * nr;  // a packed B that gemm() can take as it is
  for (int kb = 0, k0 = 0, k; kb < k_blocks; kb++, k0 += k) {
    k = imin(KC_FLOATS, a.cols - k0);
    const int high = A_WORDS / spread(k) / 16 * 16 - 16, wide = B_WORDS / (k + 1) / nr * nr;  // at most
    for (int i0 = 0, m; i0 < c.rows; i0 += m) {
      m = imin(high, c.rows - i0);
      const Mat am = floats_of_a(mat_cols(mat_rows(a, i0, m), k0, k));
      for (int j0 = 0, n; j0 < c.cols; j0 += n) {
        n = imin(b.cs ? wide : whole ? c.cols : nr, c.cols - j0);
        const Mat bn = b.cs ? floats_of_b((float *)b_scratch, mat_cols(mat_rows(b, k0, k), j0, n))
                            : (Mat){b.p + j0 / nr * b.rs + (ptrdiff_t)k0 * nr, am.cols, n, nr, 0};
        gemm(mat_cols(mat_rows(c, i0, m), j0, n), am, bn, accumulate || kb > 0);
      }
    }
  }
}

#ifdef __x86_64__
static unsigned denormals_off(void) {
  enum { DAZ = 0x40, FTZ = 0x8000 };
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | DAZ | FTZ);
  return before;
}
static void denormals_as(unsigned before) { _mm_setcsr(before); }
#else  // no table needs it
static unsigned denormals_off(void) { return 0; }
static void denormals_as(unsigned before) { (void)before; }
#endif

// ---- Either way ----------------------------------------------------------------------------------------------------

void gemm_bf16(Mat c, Mat a, Mat b, int accumulate) {
  assert(c.rows == a.rows && c.cols == b.cols && a.cols == b.rows && c.cs == 1);
  if (kern->gemm_bf16) {
    kern->gemm_bf16(c, a, b, accumulate);
  } else if (kern->bf16_as_floats) {
    const unsigned before = denormals_off();
    product_of_floats(c, a, b, accumulate);
    denormals_as(before);
  } else {
    product_of_words(c, a, b, accumulate);
  }
}

_Static_assert(MAX_NR % BF16_NR == 0, "gemm_pack_floats() makes room for whole panels");
size_t gemm_pack_bf16_floats(int k, int n) {
  return gemm_pack_floats(kern->bf16_as_floats ? up(k, 2) : (k + 1) / 2, n);
}

Mat gemm_pack_bf16(float *dst, Mat b) {
  assert(b.cs != 0);
  if (kern->bf16_as_floats) {
    const Mat packed = floats_of_b(dst, b);
    return (Mat){dst, b.rows, b.cols, (ptrdiff_t)packed.rows * kern->nr, 0};
  }
  const ptrdiff_t panel = (ptrdiff_t)(b.rows + 1) / 2 * BF16_NR;  // words
  for (int j0 = 0; j0 < b.cols; j0 += BF16_NR)
    round_panel((Word *)dst + j0 / BF16_NR * panel, mat_cols(b, j0, imin(BF16_NR, b.cols - j0)));
  return (Mat){dst, b.rows, b.cols, panel, 0};
}
