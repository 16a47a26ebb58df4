// gemm.c: the loops around the micro-kernel: blocks for the caches, packing where strides demand it, shares for
// threads.
//
// In: C, A, B as views of any strides (C's rows contiguous). Out: C = or += A B.
// Invariant: the loops only choose which tile of C and which piece of k come next; each C(i,j) sees k = 0, 1, 2, ... in
// order, carried from piece to piece by accumulating, so no choice made here changes a bit of the result.
// Reference: Goto & van de Geijn, "Anatomy of high-performance matrix multiplication" (2008). Unlike theirs, an operand
// is read where it lies whenever its strides allow: A by broadcast, so any strides do; B by rows of a panel or a block,
// unless many rows of A use what does not lie well.
#include <assert.h>
#include <omp.h>
#include <string.h>
#include "kernels.h"

enum {
  LINE = 16,       // floats of a cache line
  KC = 256,        // depth of a block: a panel of B (KC x nr) stays in L1 or L2 while all tiles pass; C is carried on
  KC_READY = 512,  // the same where A lies well and B is packed, or, with small caches, copied: see way_of()
  KC_WHOLE = 384,  // rows of B, read where they lie, that a large first-level cache holds a panel of; deeper ones are cut
  MC = 256,        // height of a block: MC x KC of A stays in L2 while all panels of B pass over it
  // Rows of C, two blocks, from which on what B needs pays (not under tr(x), which waits for its own columns): where B
  // lies badly, and with small caches, it is packed first, at most so many floats at a time; else, from so many columns
  // on, C is written along its rows, under at most so many floats of B.
  MANY_ROWS = 512,
  PACK_FLOATS = 1 << 18,
  ALONG_FROM = 160,
  ALONG_FLOATS = 1 << 17,
  L1_FLOATS = 1 << 13,  // two thirds of a large first-level cache
  // Scores of attention: a C of so few tiles in height, tiles of so few steps, that it shows what a call of the
  // micro-kernel costs.
  FEW_TILES = 4,
  FEW_STEPS = 64,
  NARROW_ROWS = 15,  // rows of a narrow tile that leave a register for fetching the A below
  LOW = 12,  // rows of a tile whose lines of A fall into one set of the first-level cache, with room for a line of B
  // Rows of B that gemm_pack() takes across all panels before the next ones: as many streams as the CPU fetches ahead by
  // itself.
  PACK_ROWS = 8,
};

static int imax(int a, int b) { return a > b ? a : b; }
static int imin(int a, int b) { return a < b ? a : b; }
// The first of `parts` as equal as can be, the larger ones first. A small product has no time for divisions.
static int first_of(int parts, int n) { return parts == 1 ? n : (n + parts - 1) / parts; }

// Rows a multiple of 2 KiB apart fall into two sets of a first-level cache of 64 sets, which then holds 16 of them.
static int aliases(ptrdiff_t stride) { return stride && stride % 512 == 0; }

// The same rows at another stride, which spreads them over the cache; `room`: floats at dst.
static Mat unalias(float *dst, size_t room, Mat x) {
  const Mat to = mat_ld(dst, x.rows, x.cols, (x.cols + 31) / 16 * 16);
  assert((size_t)(to.rows * to.rs) <= room);
  kern->copy(to.p, to.rs, x.p, x.rs, x.rows, x.cols);
  return to;
}

// Rows of C in tiles as equal in height as can be, since a low tile cannot hide the latency of its adds: `higher` of
// `high` rows, then `lower` of one less.
typedef struct Cut { int high, higher, lower; } Cut;

static Cut cut(int rows, int mr) {
  const int tiles = rows <= mr ? 1 : (rows + mr - 1) / mr, high = first_of(tiles, rows), lower = tiles * high - rows;
  return (Cut){high, tiles - lower, lower};
}

// tr(x), whose columns are contiguous, by tiles of C as gemm_panels() cuts them, more than two of them:
// [tile][tile_floats()], of which the first are [k][mr]. As x lies, a tile's columns share their lines with its
// neighbours' and come from as many pages as there are k. Written in the order of addresses, since stores wait for each
// other's lines, loads do not.
static ptrdiff_t tile_floats(int mr, int k) { return (ptrdiff_t)mr * k + 16; }
static void pack_tiles(float *dst, int mr, Mat a) {
  const Cut rows = cut(a.rows, mr);
  // In whole vectors where a tile follows: what is copied too much, the next step overwrites, or there is room for it
  // behind the last.
  const int whole = mr > 8 ? 16 : mr > 4 ? 8 : 4;
  for (int t = 1, m, i = 0; i < a.rows; t++, i += m, dst += tile_floats(mr, a.cols)) {
    m = rows.high - (t > rows.higher);
    kern->copy(dst, mr, a.p + i, a.cs, a.cols, i + m < a.rows ? whole : m);
  }
}

// B(0..k-1, 0..n-1) -> [k][nr], zeros past the n-th column.
static void pack_panel(float *dst, int nr, const float *b, ptrdiff_t rs, ptrdiff_t cs, int k, int n) {
  if (rs == 1 && cs != 1) {
    kern->pack_t((Word *)dst, nr, (const Word *)b, cs, k, n);
    return;
  }
  if (cs == 1) kern->copy(dst, nr, b, rs, k, n);
  else for (int kk = 0; kk < k; kk++)
    for (int j = 0; j < n; j++) dst[kk * nr + j] = b[kk * rs + j * cs];
  for (int kk = 0; n < nr && kk < k; kk++)
    for (int j = n; j < nr; j++) dst[kk * nr + j] = 0;
}

// Is B, rows where they lie, better copied? In too few sets of a cache it is: of rows a multiple of 256 bytes apart a
// small first-level cache holds a quarter of what else it could, half a panel. Large ones, under tr(x), have only rows
// 4 KiB apart to fear; where a row of a panel is one line, and enough tiles pass, those 512 bytes apart too.
static int far_rows(Mat a, Mat b) {
  if (!kern->large_caches) return b.rs % 64 == 0 && b.rs >= (a.rs != 1 && a.rows < MC ? 1024 : 512);
  if (a.rs != 1) return b.rs >= 1024;
  return b.rs && (b.rs % 1024 == 0 || (kern->nr <= LINE && b.rs % 128 == 0 && a.rows >= 32 * kern->mr));
}

// Element (k, j) of B; j begins a panel if B is packed.
static ptrdiff_t column(Mat b) { return b.cs ? b.cs : b.rows; }
static const float *at(Mat b, int k, int j) { return b.p + k * b.rs + j * column(b); }

// What will be wanted: `rows` rows of `floats` contiguous floats, at ld, fetched as many floats of all rows at a time as
// a tile has columns; or, with p NULL, nothing. `row`: how many rows of the first floats have been.
typedef struct Next { const float *p; int rows, floats; ptrdiff_t ld; int row; } Next;

static void next_done(Next *x, int rows, int floats) {
  x->row += rows;
  if (x->row < x->rows) return;
  x->row = 0, x->p += floats, x->floats -= floats;
  if (x->floats <= 0) x->p = NULL;
}

// `count` strips from t on, or, along, tiles of one strip, behind which t then stands. Between them they fetch all of
// next[0], then of next[1] as much as there is room for; next NULL: nothing, for small products.
static void run(Tile *t, int count, int along, Next *next) {
  for (int fetched = -1, now; count > 0; count -= now) {  // fetched: by one of them; -1: not known yet
    Next *const x = !next || next[0].p ? next : next + 1;
    now = count, t->next = NULL, t->ld_next = 0;
    if (x && x->p) {
      if (fetched) now = fetched < 0 ? 1 : imin(count, (x->rows - x->row + fetched - 1) / fetched);
      t->next = x->p + x->row * x->ld, t->ld_next = x->ld;
    }
    *(along ? &t->across : &t->strips) = now;
    fetched = kern->gemm_ukr(t) * (along ? 1 : t->across);
    if (x && x->p) next_done(x, now * fetched, imax(t->n, kern->nr));
    if (along) t->b += now * t->b_across, t->c += now * t->n;
    else t->a += now * t->a_strip, t->c += now * t->m * t->ldc;
  }
}

// The same strip by strip, each of which fetches the A below it.
static void run_strips(Tile *t, int strips) {
  const int across = t->across;
  const float *const b = t->b;
  float *c = t->c;
  for (t->strips = 1; strips > 0; strips--, t->a += t->a_strip, t->b = b, t->c = c += t->m * t->ldc) {
    Next below[2] = {{strips > 1 ? t->a + t->a_strip : NULL, t->m, t->k, t->a_rs, 0}, {.p = NULL}};
    run(t, across, 1, below);
  }
  t->across = across;
}

// The panels t of C, its rows cut into strips. a_strip: the distance of the tiles of an A from pack_tiles(), or 0.
static void gemm_panels(Tile *t, Cut rows, ptrdiff_t a_strip, int by_strips, Next *next) {
  for (int lower = 0; lower < 2; lower++) {
    const int strips = lower ? rows.lower : rows.higher;
    t->m = rows.high - lower;
    t->a_strip = a_strip ? a_strip : t->m * t->a_rs;
    if (by_strips) run_strips(t, strips);
    else run(t, strips, 0, next);
  }
}

// How many of `left` columns make whole panels, and the columns of the next one; `three`, `four`: are there tiles of so
// many vectors? A remainder just above a whole panel splits better as 3/4 + 1/2 than as 1 + 1/4, unless packing has
// decided.
static int whole_panels(int left, int packed) {
  const int nr = kern->nr, rest = left % nr;
  return left / nr - (!packed && left > nr && rest > 0 && rest <= nr / 4);
}
static int panel_cols(int left, int packed, int three, int four) {
  const int nr = kern->nr;
  if (four && left >= 2 * nr) return 2 * nr;
  if (three && left == nr + nr / 2) return left;
  return whole_panels(left, packed) ? nr : left > nr ? nr - nr / 4 : left;
}
// How many panels of n columns, k deep, a strip takes: those that are `floats`, and one at least.
static int panels_across(int left, int packed, int n, int k, int floats) {
  if (!floats || n < kern->nr) return 1;
  const int all = n == kern->nr ? whole_panels(left, packed) : left / n;
  return all * n * k <= floats ? all : imax(1, floats / (n * k));
}

// How a product reads its operands. What pays with the caches of one CPU costs with those of another: docs/gemm.md has
// the measurements.
typedef struct Way {
  int copy_a;   // a block of A is copied to another stride
  int low;      // tiles of fewer rows, whose lines of A fit a set of the first-level cache
  int tiles_a;  // a block of tr(x) is packed by tiles
  int copy_b;   // a panel of B is packed
  int along;    // C is written along its rows, under as many panels of B as are so many floats; 0: panel by panel
  int strips;   // of which all rows pass, in strips that fetch the A below them
  int four;     // in tiles of four vectors, where there are any
  int height, depth;  // of a block of A, at most
} Way;

// As tr(x) lies, every step of a tile has a line of its own, most of it for the neighbours: packed by tiles where C is
// wide. A small first-level cache holds 128 such lines beside a panel of B, unless they fall into few sets, so there C
// must be wider; else k is halved. Large caches hold a block of them, unless they lie 5 KiB apart, or 4 and k goes on; 2,
// where tiles are so low that more of them take each line.
static int tiles_pay(Mat c, Mat a) {
  const int large = kern->large_caches, nr = kern->nr;
  if (a.rs != 1 || a.cs < 128 || a.rows < 4 * kern->mr) return 0;
  if (!large && a.cs % 64) return c.cols >= 10 * nr && a.cols > KC / 2;
  const int far = a.cs > (kern->mr > 8 ? 1280 : 511) || (a.cs % 1024 == 0 && a.cols > KC);
  return c.cols >= (large && !far ? 24 : 6) * nr;
}

// Do so many floats of B stay in the first-level cache?
static int fit(int floats) { return floats <= L1_FLOATS / (kern->large_caches ? 1 : 2); }

// Do many rows of A gain by writing C along its rows though B does not fit? Unless two panels of it do, whose rows a
// power of two apart would take few sets.
static int strips_pay(Mat c, Mat a, Mat b, int k) {
  if (b.cs != 1 || a.rs == 1 || c.rows < MANY_ROWS || c.cols < ALONG_FROM || fit(k * c.cols)) return 0;
  return !kern->mr4 || !fit(k * imax((int)(b.rs & -b.rs), 2 * kern->nr));
}

static Way way_of(Mat c, Mat a, Mat b) {
  const int large = kern->large_caches, k = imin(a.cols, KC);
  Way way;
  // The lines of a tile of A still fit two sets of a large cache. In one, of twelve ways, those of a lower tile do,
  // which costs less than a copy; a small cache has eight.
  way.low = large && a.cs == 1 && a.rs && a.rs % 1024 == 0;
  way.copy_a = !large && a.cs == 1 && aliases(a.rs) && c.cols > kern->nr;
  way.tiles_a = tiles_pay(c, a);
  // Lines of C that are written one after the other are fetched by the CPU itself. That costs nothing where B fits the
  // first-level cache, and spares calls where tiles are few.
  const int few = b.cs == 0 && k <= FEW_STEPS && c.rows <= FEW_TILES * kern->mr, strips = strips_pay(c, a, b, k);
  way.copy_b = b.cs > 1 || (b.cs == 1 && !strips && far_rows(a, b) && a.rows >= 8 * kern->mr);
  way.along = way.copy_b || way.tiles_a ? 0 : fit(k * c.cols) ? L1_FLOATS : few || strips ? ALONG_FLOATS : 0;
  way.four = kern->mr4 && a.cs == 1 && !way.copy_b && (b.cs == 0 ? k <= KC / 2 : !strips);
  // A panel of B comes from L2 as fast as it is used, and the deeper it is the less often C is read and written; a
  // block of A that is copied, or passes under a packed B, has half the height then. With large caches copies of half
  // the depth were faster, and high blocks fit.
  const int ready = (b.cs == 0 || (way.copy_b && a.rs != 1 && !large)) && !way.tiles_a &&
                    (large || !aliases(a.rs) || way.copy_a);
  const int half = ready && a.cols > KC && (way.copy_a || (b.cs == 0 && !large));
  way.strips = strips && a.cols > KC;
  way.height = way.strips ? a.rows : half || (way.low && !way.copy_b) ? MC / 2 : MC;
  const int whole = large && a.cs == 1 && !way.copy_b && a.cols <= KC_WHOLE;
  way.depth = ready ? KC_READY : whole ? KC_WHOLE : a.rs == 1 && !way.tiles_a && !large ? KC / 2 : KC;
  return way;
}

// C = or += A B by blocks of A, each of which meets all panels of B.
static void gemm_blocks(Mat c, Mat a, Mat b, int accumulate) {
  static _Thread_local float a_scratch[(KC + 32) * (MC + 32)] __attribute__((aligned(64)));
  static _Thread_local float b_scratch[KC_READY * MAX_NR] __attribute__((aligned(64)));
  const Way way = way_of(c, a, b);
  // Do their next panels and blocks come from beyond the second-level cache?
  const ptrdiff_t a_floats = (ptrdiff_t)a.rows * a.cols;
  const int far_b = (ptrdiff_t)b.rows * b.cols > 1 << 14, far_a = a_floats > 1 << 16;
  Next next[2];
  const int nr = kern->nr, m_blocks = (a.rows + way.height - 1) / way.height;
  const int k_blocks = a.cols <= way.depth ? 1 : (a.cols + way.depth - 1) / way.depth;
  for (int mb = 0, i0 = 0, mc; mb < m_blocks; mb++, i0 += mc) {
    mc = first_of(m_blocks - mb, a.rows - i0);
    for (int kb = 0, k0 = 0, kc; kb < k_blocks; kb++, k0 += kc) {
      kc = first_of(k_blocks - kb, a.cols - k0);
      Mat ab = mat_cols(mat_rows(a, i0, mc), k0, kc);
      next[1].p = NULL;
      if (far_a && !way.strips) {
        const float *const p = kb + 1 < k_blocks ? ab.p + kc * a.cs : mb + 1 < m_blocks ? a.p + (i0 + mc) * a.rs : NULL;
        next[1] = a.rs == 1 ? (Next){p, kc, mc, a.cs, 0} : (Next){p, mc, kc, a.rs, 0};
      }
      if (way.copy_a) ab = unalias(a_scratch, sizeof a_scratch / sizeof *a_scratch, ab);
      if (way.tiles_a) {
        pack_tiles(a_scratch, kern->mr, ab);
        ab = tr(mat(a_scratch, kc, kern->mr));
      }
      const int packed = b.cs != 1 || way.copy_b;
      const int three = kern->mr3 && mc >= kern->mr3 && !way.tiles_a && !way.copy_b && (ab.cs == 1 || ab.rs == 1);
      const int four = way.four && mc >= kern->mr4;
      for (int j0 = 0, n, across; j0 < c.cols; j0 += across * n) {
        n = panel_cols(c.cols - j0, packed, three, four);
        across = panels_across(c.cols - j0, packed, n, kc, way.along);
        // Every member, since what is left out is set to 0 by a slow instruction.
        Tile t = {.m = 0, .n = n, .k = kc, .across = across, .strips = 0, .tail = kern->tail,
                  .accumulate = accumulate || kb > 0, .a = ab.p, .b = at(b, k0, j0), .next = NULL,
                  .c = c.p + i0 * c.rs + j0, .a_rs = ab.rs, .a_cs = ab.cs, .ldb = b.rs, .ldc = c.rs, .ld_next = 0,
                  .a_strip = 0, .b_across = n * column(b), .b_right = nr * column(b), .a_ahead = 0};
        next[0].p = NULL;
        if (far_b) {
          const int j = j0 + across * n;
          const float *const p = j < c.cols ? at(b, k0, j) : kb + 1 < k_blocks ? at(b, k0 + kc, 0) : NULL;
          // Packed panels lie one behind the other: two of them, all of their k, are as many rows of twice the width.
          next[0] = b.cs > 1 ? (Next){p, n, kc, b.cs, 0} : (Next){p, kc, n, b.cs ? b.rs : imax(n, nr), 0};
        }
        if (way.copy_b) {
          pack_panel(b_scratch, nr, t.b, b.rs, b.cs, kc, n);
          t.b = b_scratch, t.ldb = nr;
        }
        const int wide = n > nr / 2 || way.tiles_a;
        int high = n == 2 * nr ? kern->mr4 : n > nr ? kern->mr3 : wide ? kern->mr : 2 * kern->mr;
        // a narrow C whose A lies in rows near each other, beyond the first-level cache
        if (n == nr / 2 && ab.cs == 1 && ab.rs < 2 * kc && a_floats > L1_FLOATS / 2) {
          high = imin(high, NARROW_ROWS);
          t.a_ahead = cut(mc, high).high * ab.rs * 4 / kc;
        }
        gemm_panels(&t, cut(mc, way.low ? imin(high, LOW) : high), way.tiles_a ? tile_floats(kern->mr, kc) : 0,
                    way.strips, far_a || far_b ? next : NULL);
      }
    }
  }
}

// The same product by parts of B, packed once for all blocks of A.
static void gemm_packing(Mat c, Mat a, Mat b, int accumulate) {
  static _Thread_local float packed[PACK_FLOATS] __attribute__((aligned(64)));
  for (int k0 = 0, k; k0 < a.cols; k0 += k) {
    k = imin(KC_READY, a.cols - k0);
    for (int j0 = 0, n; j0 < c.cols; j0 += n) {
      n = imin(PACK_FLOATS / k / MAX_NR * MAX_NR, c.cols - j0);
      const Mat part = gemm_pack(packed, mat_cols(mat_rows(b, k0, k), j0, n));
      gemm_blocks(mat_cols(c, j0, n), mat_cols(a, k0, k), part, accumulate || k0 > 0);
    }
  }
}

// Do many rows of A use B enough to pack all of it first? With small caches; where rows of B lie in too many pages, or
// rows of B or A in few sets of a cache; and where a row of a panel is one line, of which a deep panel has too many.
static int packing_pays(Mat c, Mat a, Mat b) {
  if (b.cs == 0 || a.rs == 1 || a.cols == 0 || c.rows < MANY_ROWS) return 0;
  return !kern->large_caches || b.cs != 1 || b.rs >= 2048 || b.rs % 1024 == 0 || a.rs % 1024 == 0 ||
         (kern->nr <= LINE && a.cols > KC / 2);
}

void gemm(Mat c, Mat a, Mat b, int accumulate) {
  assert(c.rows == a.rows && c.cols == b.cols && a.cols == b.rows && c.cs == 1);
  if (kern->gemm)
    kern->gemm(c, a, b, accumulate);
  else if (packing_pays(c, a, b))
    gemm_packing(c, a, b, accumulate);
  else
    gemm_blocks(c, a, b, accumulate);
}

// Cuts the three views down to this thread's share: rows, or whole panels where C has more of them than tiles in height,
// or as many and they go round, unless a few would not and there are rows enough. False: nothing is left for it.
static int team_share(Mat *c, Mat *a, Mat *b, int mr, int nr) {
  const int nt = omp_get_num_threads(), id = omp_get_thread_num();
  const int um = (c->rows + mr - 1) / mr, un = (c->cols + nr - 1) / nr;
  if (nt == 1) return 1;
  if (um >= un + (c->cols % (nt * nr) == 0) || (un % nt && un < 4 * nt && c->rows >= 8 * nt)) {
    const int lo = (int)((int64_t)c->rows * id / nt), n = (int)((int64_t)c->rows * (id + 1) / nt) - lo;
    *c = mat_rows(*c, lo, n), *a = mat_rows(*a, lo, n);
    return n > 0;
  }
  const int lo = un * id / nt * nr, n = imin(un * (id + 1) / nt * nr, c->cols) - lo;
  *c = mat_cols(*c, lo, n);
  *b = (Mat){b->p + lo * column(*b), b->rows, n, b->rs, b->cs};
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
  for (int k0 = 0, k; k0 < b.rows; k0 += k) {
    k = b.cs == 1 ? imin(PACK_ROWS, b.rows - k0) : b.rows;
    for (int j0 = 0; j0 < b.cols; j0 += nr)
      pack_panel(dst + (ptrdiff_t)j0 * b.rows + k0 * nr, nr, b.p + k0 * b.rs + j0 * b.cs, b.rs, b.cs, k,
                 imin(nr, b.cols - j0));
  }
  return (Mat){dst, b.rows, b.cols, nr, 0};
}
