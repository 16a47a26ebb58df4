// checkkern.c: every GEMM kernel this CPU can run, against double precision and against itself.
//
// `checkkern [table ...]` speaks TAP; with STRIDE=N in the environment it takes every Nth case, for an emulated CPU.
// `checkkern bench TOKENS [table ...]` checks the tables, then prints, for the products of training with so many tokens a
// step, GFLOP/s and the share of the FMA peak sampled beside each figure, the tables in alternation.
//
// What is checked, for edge shapes around the tile, all stride patterns, signed inputs:
//   bound   |C - Cref| <= (k + 4) eps (|A||B| + |C|) elementwise (one chain of k roundings, Higham 2002, eq. 3.5)
//   guards  NaN around and between the rows of every operand, and in C where it must not be read: none may reach C,
//           none may change
//   pack    a packed operand, word by word, with zeros where its panels end past its columns
//   bf16    bit by bit against a model of vdpbf16ps or TDPBF16PS; the hardware and the emulations alike
//   chains  the bits of any sub-block, of any cut of k, of any number of threads and of any tail are those of the whole
#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bf16.h"
#include "kernels.h"
#include "util.h"

static const float poison = NAN;

// ---- Operands inside a NaN-filled buffer ----------------------------------------------------------

typedef enum { ROW_MAJOR, TRANSPOSED, PADDED, PADDED_TRANSPOSED, PACKED, N_LAYOUTS } Layout;
static const char *const layout_name[] = {"row-major", "transposed", "ld > cols", "transposed, ld > rows", "packed"};
enum { GUARD = 64 };

typedef struct Operand { Mat m; float *buf, *packed; size_t size; } Operand;

static Operand operand_new(int rows, int cols, Layout layout, uint64_t seed) {
  const bool flip = layout == TRANSPOSED || layout == PADDED_TRANSPOSED;
  const int pad = layout == PADDED || layout == PADDED_TRANSPOSED ? 5 : 0;
  const int r = flip ? cols : rows, ld = (flip ? rows : cols) + pad;
  Operand o = {.size = (size_t)r * ld + 2 * GUARD};
  o.buf = malloc(o.size * sizeof *o.buf);
  for (size_t i = 0; i < o.size; i++) o.buf[i] = poison;
  o.m = mat_ld(o.buf + GUARD, r, ld - pad, ld);
  if (flip) o.m = tr(o.m);
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < cols; j++)
      o.m.p[i * o.m.rs + j * o.m.cs] = (float)(2 * rng_uniform(seed, (uint64_t)i * 4096 + j) - 1);
  return o;
}
static void operand_free(Operand *o) { free(o->buf), free(o->packed); }

// The number of NaNs that are gone: writes outside the view.
static int operand_trampled(const Operand *o) {
  int inside = o->m.rows * o->m.cols, nans = 0;
  for (size_t i = 0; i < o->size; i++) nans += isnan(o->buf[i]) != 0;
  return (int)o->size - inside - nans;
}

enum { PACK_GUARD = 256 };  // floats behind a packed operand
static Mat as_right_operand(Operand *o, Layout layout) {
  if (layout != PACKED) return o->m;
  const size_t n = gemm_pack_floats(o->m.rows, o->m.cols) + PACK_GUARD;
  o->packed = aligned_alloc(64, (n * sizeof(float) + 127) / 64 * 64);
  for (size_t i = 0; i < n; i++) o->packed[i] = poison;
  return gemm_pack(o->packed, o->m);
}

// ---- The checks -----------------------------------------------------------------------------------

static int failures;  // of the table under test, the first few are described
static int stride = 1;

static bool left_out(void) {
  static int cases;
  return cases++ % stride != 0;
}

static void complain(const char *what, int m, int n, int k, Layout la, Layout lb, int acc) {
  if (failures++ < 5)
    printf("# %s: %s: %dx%dx%d, A %s, B %s, accumulate %d\n", kern->name, what, m, n, k, layout_name[la],
           layout_name[lb], acc);
}

static void check_bound(int m, int n, int k, Layout la, Layout lb, Layout lc, int acc) {
  if (left_out()) return;
  const uint64_t seed = rng_u64(1, (uint64_t)m << 40 | (uint64_t)n << 20 | (uint64_t)k);
  Operand a = operand_new(m, k, la, rng_u64(seed, 1)), b = operand_new(k, n, lb, rng_u64(seed, 2));
  Operand c = operand_new(m, n, lc, rng_u64(seed, 3)), want = operand_new(m, n, lc, rng_u64(seed, 3));
  double *bound = malloc(((size_t)m * n + 1) * sizeof *bound);
  if (!acc)
    for (int i = 0; i < m; i++)
      for (int j = 0; j < n; j++) c.m.p[i * c.m.rs + j] = poison;
  gemm_ref(want.m, bound, a.m, b.m, acc);
  gemm(c.m, a.m, as_right_operand(&b, lb), acc);
  bool good = true;
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) {
      const double error = fabs((double)c.m.p[i * c.m.rs + j] - want.m.p[i * want.m.rs + j]);
      if (!(error <= (k + 4) * FLT_EPSILON * bound[(size_t)i * n + j])) good = false;
    }
  if (!good) complain("beyond the bound", m, n, k, la, lb, acc);
  if (operand_trampled(&a) || operand_trampled(&b) || operand_trampled(&c)) complain("guard", m, n, k, la, lb, acc);
  operand_free(&a), operand_free(&b), operand_free(&c), operand_free(&want), free(bound);
}

static void check_bounds(void) {
  static const int depths[] = {0, 1, 2, 3, 16, 31, 128};
  const int top_m = 2 * kern->mr + 1, top_n = 2 * kern->nr + 1;
  // Every edge of the tile at one depth and layout; the layouts and depths at a spread of sizes; then sizes beyond the
  // blocks of the caches.
  for (int m = 1; m <= top_m; m++)
    for (int n = 1; n <= top_n; n++) check_bound(m, n, 3, PADDED, PADDED, PADDED, (m + n) & 1);
  for (int i = 0; i < 400; i++) {
    const int m = 1 + (int)(rng_u64(7, 3 * i) % top_m), n = 1 + (int)(rng_u64(7, 3 * i + 1) % top_n);
    for (int la = 0; la < PACKED; la++)
      for (int lb = 0; lb < N_LAYOUTS; lb++)
        check_bound(m, n, depths[(i + la + lb) % 7], la, lb, i % 3 ? PADDED : ROW_MAJOR, (i + lb) & 1);
  }
  for (int la = 0; la < PACKED; la++)
    for (int lb = 0; lb < N_LAYOUTS; lb++) check_bound(70, 67, 1100, la, lb, PADDED, lb & 1);
  check_bound(1000, 40, 300, ROW_MAJOR, TRANSPOSED, ROW_MAJOR, 1);
  check_bound(130, 128, 512, TRANSPOSED, ROW_MAJOR, ROW_MAJOR, 0);  // strides of a power of two
  check_bound(512, 40, 1024, ROW_MAJOR, TRANSPOSED, ROW_MAJOR, 0);  // the same in A
  check_bound(512, 520, 2060, PADDED, PADDED, PADDED, 0);           // B packed by parts
}

static bool same(const Mat *x, const Mat *y) {
  for (int i = 0; i < x->rows; i++)
    if (memcmp(x->p + i * x->rs, y->p + i * y->rs, (size_t)x->cols * sizeof(float))) return false;
  return true;
}

// The bits of (m,n,k) whole against: k in pieces, sub-blocks of rows and columns, packed B, 1, 2, 3 and 5 threads, tiles
// that end another way.
static void check_chain(int m, int n, int k, Layout la, Layout lb, int acc) {
  if (left_out()) return;
  const uint64_t seed = rng_u64(2, (uint64_t)m << 40 | (uint64_t)n << 20 | (uint64_t)k);
  Operand a = operand_new(m, k, la, rng_u64(seed, 1)), b = operand_new(k, n, lb, rng_u64(seed, 2));
  Operand whole = operand_new(m, n, ROW_MAJOR, rng_u64(seed, 3));
  gemm(whole.m, a.m, b.m, acc);
  for (int form = 0; form < 9; form++) {
    Operand c = operand_new(m, n, ROW_MAJOR, rng_u64(seed, 3));
    if (form < 3) {  // k cut at a third, at 1, at k - 1
      const int cut = form == 0 ? k / 3 : form == 1 ? 1 : k - 1;
      gemm(c.m, mat_cols(a.m, 0, cut), mat_rows(b.m, 0, cut), acc);
      gemm(c.m, mat_cols(a.m, cut, k - cut), mat_rows(b.m, cut, k - cut), 1);
    } else if (form == 3) {  // four blocks
      const int im = m / 3, jn = n / 3;
      for (int q = 0; q < 4; q++) {
        const int i0 = q & 1 ? im : 0, j0 = q & 2 ? jn : 0, mm = q & 1 ? m - im : im, nn = q & 2 ? n - jn : jn;
        gemm(mat_cols(mat_rows(c.m, i0, mm), j0, nn), mat_rows(a.m, i0, mm), mat_cols(b.m, j0, nn), acc);
      }
    } else if (form == 8) {  // the tail of another CPU
      const Kernels *const own = kern;
      Kernels other = *own;
      other.tail = own->tail ? 0 : 4;
      kern = &other;
      gemm(c.m, a.m, b.m, acc);
      kern = own;
    } else {
      const Mat right = form == 4 ? as_right_operand(&b, PACKED) : form == 7 ? gemm_pack(b.packed, b.m) : b.m;
      const int threads = form == 4 ? 1 : form == 5 ? 2 : form == 6 ? 3 : 5;
#pragma omp parallel num_threads(threads)
      gemm_team(c.m, a.m, right, acc);
    }
    if (!same(&c.m, &whole.m)) complain("other bits", m, n, k, la, lb, acc), printf("#   form %d\n", form);
    operand_free(&c);
  }
  operand_free(&a), operand_free(&b), operand_free(&whole);
}

static void check_chains(void) {
  static const int shapes[][3] = {{1, 1, 2},    {3, 5, 7},      {28, 32, 16},  {29, 17, 31}, {15, 33, 64},
                                  {13, 40, 600}, {130, 70, 33},  {70, 130, 128}, {27, 12, 20}, {40, 24, 48},
                                  {520, 36, 40}, {33, 9, 1030}, {50, 300, 24}};
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
    for (int la = 0; la < PACKED; la++)
      for (int lb = 0; lb < PACKED; lb++)
        for (int acc = 0; acc < 2; acc++) check_chain(shapes[s][0], shapes[s][1], shapes[s][2], la, lb, acc);
  const Kernels *const chosen = kern;
  Kernels other = *kern;
  for (kern = &other, other.large_caches = 0; other.large_caches < 2; other.large_caches++) {  // also as on other CPUs
    check_chain(515, 530, 256, ROW_MAJOR, ROW_MAJOR, 1);  // over several blocks of B
    check_chain(260, 530, 512, ROW_MAJOR, ROW_MAJOR, 1);
    check_chain(260, 800, 300, TRANSPOSED, ROW_MAJOR, 1);
    check_chain(1300, 200, 140, TRANSPOSED, ROW_MAJOR, 0);
    check_chain(150, 75, 1024, ROW_MAJOR, ROW_MAJOR, 1);  // rows of A in one set of the first-level cache
    check_chain(150, 10, 1024, ROW_MAJOR, TRANSPOSED, 0);
    check_chain(24, 40, 600, TRANSPOSED, ROW_MAJOR, 1);
    check_chain(310, kern->nr / 2, 42, PADDED, ROW_MAJOR, 1);   // narrow, A beyond the first-level cache
    check_chain(600, 3 * kern->nr, 40, ROW_MAJOR, PADDED, 0);   // C along its rows, under all of B
    check_chain(520, 200, 300, ROW_MAJOR, PADDED, 0);           // and under parts of it
  }
  kern = chosen;
}

// ---- Packing and bf16 -----------------------------------------------------------------------------

static void check_pack(int k, int n, Layout layout) {
  if (left_out()) return;
  Operand b = operand_new(k, n, layout, rng_u64(9, (uint64_t)k << 20 | (uint64_t)n));
  const Mat packed = as_right_operand(&b, PACKED);
  // as_right_operand() filled the buffer with NaN, so a gap shows
  const float *at = packed.p;
  bool good = packed.cs == 0 && packed.rs == kern->nr;
  for (int j0 = 0; j0 < n; j0 += kern->nr)
    for (int kk = 0; kk < k; kk++)
      for (int j = j0; j < j0 + kern->nr; j++, at++)
        good &= *at == (j < n ? b.m.p[kk * b.m.rs + j * b.m.cs] : 0.0f);
  for (const float *end = packed.p + gemm_pack_floats(k, n) + PACK_GUARD; at < end; at++) good &= isnan(*at) != 0;
  if (!good) complain("packed wrongly", 0, n, k, layout, PACKED, 0);
  if (operand_trampled(&b)) complain("guard", 0, n, k, layout, PACKED, 0);
  operand_free(&b);
}

static void check_packs(void) {
  static const int depths[] = {1, 2, 3, 4, 5, 15, 16, 17, 22, 33, 64};
  for (int i = 0; i < 11; i++)
    for (int n = 1; n <= 2 * kern->nr + 1; n++)
      for (Layout layout = 0; layout < PACKED; layout++) check_pack(depths[i], n, layout);
}

static float flushed(float x) { return fabsf(x) < FLT_MIN ? copysignf(0, x) : x; }
static float fma_flushed(float x, float y, float sum) { return flushed(fmaf(x, y, flushed(sum))); }

// c + the sum of x y, as vdpbf16ps adds up one pair after the other, the odd element first; or as TDPBF16PS adds up 16
// pairs, even and odd elements by themselves.
static float bf16_chain(const Operand *a, const Operand *b, int i, int j, int k, float c) {
  const int step = 2 * kern->bf16_step;
  for (int k0 = 0; k0 < k; k0 += step) {
    float part[2] = {0, 0};
    for (int q = 0; q < step; q++) {
      const int kk = k0 + (q ^ 1);
      const float x = kk < k ? bf16_of(a->m.p[i * a->m.rs + kk * a->m.cs]) : 0;
      const float y = kk < k ? bf16_of(b->m.p[kk * b->m.rs + j * b->m.cs]) : 0;
      float *sum = step == 2 ? &c : &part[kk & 1];
      *sum = fma_flushed(x, y, *sum);
    }
    if (step > 2) c = flushed(flushed(c) + flushed(part[0] + part[1]));
  }
  return c;
}

// Elements are scaled by 2^-60 to 2^-67 when `tiny`, so that products and sums fall among the denormals.
static void check_bf16(int m, int n, int k, Layout la, Layout lb, int acc, bool tiny) {
  if (left_out()) return;
  const uint64_t seed = rng_u64(11, (uint64_t)m << 40 | (uint64_t)n << 20 | (uint64_t)k);
  Operand a = operand_new(m, k, la, rng_u64(seed, 1));
  Operand b = operand_new(k, n, lb == PACKED ? TRANSPOSED : lb, rng_u64(seed, 2));
  Operand c = operand_new(m, n, PADDED, rng_u64(seed, 3)), cut = operand_new(m, n, PADDED, rng_u64(seed, 3));
  Operand want = operand_new(m, n, PADDED, rng_u64(seed, 3));
  for (size_t i = 0; tiny && i < a.size; i++) a.buf[i] = ldexpf(a.buf[i], -60 - (int)(i % 8));
  for (size_t i = 0; tiny && i < b.size; i++) b.buf[i] = ldexpf(b.buf[i], -60 - (int)(i % 7));
  for (size_t i = 0; tiny && i < c.size; i++)
    c.buf[i] = cut.buf[i] = want.buf[i] = ldexpf(c.buf[i], -122 - (int)(i % 8));
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) {
      float *sum = want.m.p + i * want.m.rs + j;
      *sum = bf16_chain(&a, &b, i, j, k, acc ? *sum : 0);
      if (!acc) c.m.p[i * c.m.rs + j] = cut.m.p[i * cut.m.rs + j] = poison;
    }
  Mat right = b.m;
  if (lb == PACKED) {
    const size_t floats = gemm_pack_bf16_floats(k, n) + PACK_GUARD;
    b.packed = aligned_alloc(64, (floats * sizeof(float) + 127) / 64 * 64);
    for (size_t i = 0; i < floats; i++) b.packed[i] = poison;
    right = gemm_pack_bf16(b.packed, b.m);
    for (size_t i = floats - PACK_GUARD; i < floats; i++)
      if (!isnan(b.packed[i])) complain("bf16: packed beyond its end", m, n, k, la, lb, acc);
  }
  gemm_bf16(c.m, a.m, right, acc);
  if (!same(&c.m, &want.m)) complain(tiny ? "bf16, tiny: other bits" : "bf16: other bits", m, n, k, la, lb, acc);
  const int step = 2 * kern->bf16_step, half = k / 2 / step * step, im = m / 3;
  gemm_bf16(mat_rows(cut.m, 0, im), mat_rows(mat_cols(a.m, 0, half), 0, im), mat_rows(right, 0, half), acc);
  gemm_bf16(mat_rows(cut.m, im, m - im), mat_rows(mat_cols(a.m, 0, half), im, m - im), mat_rows(b.m, 0, half), acc);
  gemm_bf16(cut.m, mat_cols(a.m, half, k - half), mat_rows(b.m, half, k - half), 1);
  if (!same(&cut.m, &want.m)) complain("bf16: cuts show", m, n, k, la, lb, acc);
  if (operand_trampled(&a) || operand_trampled(&b) || operand_trampled(&c))
    complain("bf16: guard", m, n, k, la, lb, acc);
  operand_free(&a), operand_free(&b), operand_free(&c), operand_free(&cut), operand_free(&want);
}

static void check_bf16s(void) {
  for (int m = 1; m <= 2 * kern->bf16_mr + 1; m++)
    for (int n = 1; n <= 2 * BF16_NR + 1; n += 1 + (m & 1)) check_bf16(m, n, 5, PADDED, PADDED, (m + n) & 1, false);
  for (Layout la = 0; la < PACKED; la++)
    for (Layout lb = 0; lb < N_LAYOUTS; lb++)
      for (int tiny = 0; tiny < 2; tiny++) {
        check_bf16(17, 37, 33, la, lb, lb & 1, tiny);
        check_bf16(30, 21, 150, la, lb, la & 1, tiny);
      }
  check_bf16(330, 20, 40, ROW_MAJOR, TRANSPOSED, 1, false);  // beyond the blocks of the caches
  check_bf16(20, 40, 1599, TRANSPOSED, PACKED, 0, false);  // in thirds that are odd
  check_bf16(330, 130, 601, ROW_MAJOR, ROW_MAJOR, 1, false);
  check_bf16(330, 130, 600, TRANSPOSED, TRANSPOSED, 0, false);
}

static int tests_run, tests_failed;
static void ok(bool pass, const char *what) {
  printf("%sok %d - %s: %s\n", pass ? "" : "not ", ++tests_run, kernels_describe(kern), what);
  tests_failed += !pass;
}

static bool check_table(const char *name) {
  if (kernels_init(name)) return false;
  failures = 0;
  check_bounds();
  ok(!failures, "elementwise bound, guards, edges, strides, packing");
  if (kern->gemm) return !failures;  // OpenBLAS promises no chains
  int before = failures;
  check_packs();
  ok(failures == before, "packed operands, with zeros past the last column");
  before = failures;
  check_bf16s();
  if (!strncmp(kern->name, "avx", 3) && kern->bf16_step == 1) {  // words or rounded floats: whichever is not its choice
    const Kernels *const chosen = kern;
    Kernels other = *kern;
    other.bf16_as_floats ^= 1;
    kern = &other;
    check_bf16s();
    kern = chosen;
  }
  ok(failures == before, "bf16, bit by bit, edges, strides, denormals, cuts between steps of k");
  before = failures;
  check_chains();
  ok(failures == before, "bits independent of sub-block, cut of k, packing and threads");
  return !failures;
}

// The tables with fused multiply-adds run the same chains, hence give the same bits as each other.
static void check_tables_agree(void) {
  Operand a = operand_new(61, 77, PADDED, 4), b = operand_new(77, 83, PADDED, 5);
  Operand first = operand_new(61, 83, ROW_MAJOR, 6), next = operand_new(61, 83, ROW_MAJOR, 6);
  if (!kernels_init("avx512")) {
    gemm(first.m, a.m, b.m, 0);
    kernels_init("avx2");
    gemm(next.m, a.m, b.m, 0);
    ok(same(&first.m, &next.m), "same bits as avx512");
  }
  operand_free(&a), operand_free(&b), operand_free(&first), operand_free(&next);
}

// ---- The bench ------------------------------------------------------------------------------------

enum { MAX_TABLES = 8, ROUNDS = 9 };
static const char *bench_tables[MAX_TABLES];
static int n_bench_tables;

// GFLOP/s of one FMA-bound moment of the core, with the widest table's instructions.
static double peak_sample(void) {
  kernels_init(NULL);
  const double start = now_seconds(), flops = kern->fma_burst(4000);
  return flops / (now_seconds() - start) * 1e-9;
}

// One product in every table, in alternation; the best of ROUNDS each. C is m x n, the chain k long; flip_a: A is
// given transposed; pack_b: B is given transposed and packed before the clock starts.
static void bench_product(const char *what, int m, int n, int k, bool flip_a, bool pack_b, bool acc) {
  Operand a = operand_new(m, k, flip_a ? TRANSPOSED : ROW_MAJOR, 1), c = operand_new(m, n, ROW_MAJOR, 3);
  Operand b = operand_new(k, n, pack_b ? TRANSPOSED : ROW_MAJOR, 2);
  const double flops = 2.0 * m * n * k;
  const int reps = (int)(1e7 / flops) + 1;
  double best[MAX_TABLES] = {0}, peak = 0;
  for (int round = 0; round < ROUNDS; round++) {
    const double p = peak_sample();
    if (p > peak) peak = p;
    for (int t = 0; t < n_bench_tables; t++) {
      kernels_init(bench_tables[t]);
      free(b.packed), b.packed = NULL;
      const Mat right = as_right_operand(&b, pack_b ? PACKED : ROW_MAJOR);
      gemm(c.m, a.m, right, acc);
      const double start = now_seconds();
      for (int r = 0; r < reps; r++) gemm(c.m, a.m, right, acc);
      const double rate = reps * flops / (now_seconds() - start) * 1e-9;
      if (rate > best[t]) best[t] = rate;
    }
  }
  printf("%-9s %5d x %4d x %5d  peak %5.1f ", what, m, n, k, peak);
  for (int t = 0; t < n_bench_tables; t++) printf("  %s %6.1f %5.1f%%", bench_tables[t], best[t], 100 * best[t] / peak);
  printf("\n");
  fflush(stdout);
  operand_free(&a), operand_free(&b), operand_free(&c);
}

static void bench(int tokens) {
  static const int widths[] = {16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512};
  for (int t = 0; t < n_bench_tables; t++)
    if (!kernels_init(bench_tables[t])) printf("# %s\n", kernels_describe(kern));
  for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
    const int d = widths[i], shapes[][2] = {{d, 3 * d}, {d, d}, {d, 4 * d}, {4 * d, d}, {d, 256}};
    for (int s = 0; s < 5; s++) {
      const int in = shapes[s][0], out = shapes[s][1];
      bench_product("forward", tokens, out, in, false, false, false);
      bench_product("dX", tokens, in, out, false, true, false);
      bench_product("dW", in, out, tokens, true, false, true);
    }
  }
  for (int hd = 12; hd <= 64; hd = hd < 16 ? 16 : hd < 22 ? 22 : hd < 32 ? 32 : 2 * hd) {
    bench_product("scores", 32, 128, hd, false, true, false);
    bench_product("values", 32, hd, 128, false, false, false);
    bench_product("dV", 128, hd, 32, true, false, true);
  }
}

int main(int argc, char **argv) {
  if (getenv("STRIDE")) stride = atoi(getenv("STRIDE"));
  if (stride < 1) stride = 1;
  if (stride > 1) printf("# one of %d cases\n", stride);
  const int tokens = argc > 2 && !strcmp(argv[1], "bench") ? atoi(argv[2]) : 0;
  for (int i = 0; kernels_all[i]; i++) {
    const int first = tokens ? 3 : 1;
    bool wanted = kernels_all[i]->supported() && argc == first;
    for (int arg = first; arg < argc; arg++) wanted |= !strcmp(argv[arg], kernels_all[i]->name);
    if (wanted && check_table(kernels_all[i]->name) && n_bench_tables < MAX_TABLES)
      bench_tables[n_bench_tables++] = kernels_all[i]->name;
  }
  if (tokens && n_bench_tables) {
    bench(tokens);
    return 0;
  }
  check_tables_agree();
  tests_run++;
  const bool refused = kernels_init("none-such") == -1;
  printf("%sok %d - dispatch: an unknown table is refused\n", refused ? "" : "not ", tests_run);
  printf("1..%d\n", tests_run);
  return tests_failed || !refused;
}
