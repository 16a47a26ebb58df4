// gemm_avx512amx.c: the bf16 micro-kernel on AMX, whose registers are tiles: 16 rows of 64 bytes.
//
// In: A as rows of words of two bf16, B as a panel of such words. Out: the tile of C in floats, up to 32 x 32: four
// tiles of C from two of A and two of B, so that a load feeds two products.
// Invariant: each C(i,j) is one chain over blocks of 32 k. Within a block, the even elements' products are one chain of
// fused multiply-adds from 0, the odd ones' another; their sum is added to C. Every step is rounded to nearest, takes
// denormals as 0 and gives 0 for them, whatever MXCSR says. Blocks begin at multiples of 32 and are filled up by zeros.
// Reference: Intel, "Software Developer's Manual" vol. 2, TDPBF16PS; the tests hold a model of it against the hardware.
#if defined __x86_64__
#include <immintrin.h>
#include <string.h>
#include "ukr.h"

enum { SIDE = 16, ROW = SIDE * 4 };  // a tile: rows (of A and C, pairs of B), bytes of a row

// All eight registers are whole tiles. A thread says so once; the system keeps it across switches.
static void configure(void) {
  static _Thread_local int done;
  if (done) return;
  struct { uint8_t palette, start, reserved[14]; uint16_t bytes[16]; uint8_t rows[16]; } c = {.palette = 1};
  for (int i = 0; i < 8; i++) c.bytes[i] = ROW, c.rows[i] = SIDE;
  _tile_loadconfig(&c);
  done = 1;
}

// A tile of C where not all of it exists goes through a whole one. gcc's intrinsics for tiles do not tell the compiler
// which memory they read: it must not write it earlier or later than it says here.
#define SEEN_BY_TILES() __asm__ volatile("" : : : "memory")
static __mmask16 columns(int n) { return (__mmask16)((1u << n) - 1); }
static void take(float *whole, const float *c, ptrdiff_t ldc, int m, int n) {
  SEEN_BY_TILES();
  for (int i = 0; i < m; i++) _mm512_storeu_ps(whole + i * SIDE, _mm512_maskz_loadu_ps(columns(n), c + i * ldc));
  SEEN_BY_TILES();
}
static void give(float *c, ptrdiff_t ldc, const float *whole, int m, int n) {
  SEEN_BY_TILES();
  for (int i = 0; i < m; i++) _mm512_mask_storeu_ps(c + i * ldc, columns(n), _mm512_loadu_ps(whole + i * SIDE));
}

// Tile t of C, m x n of it. The numbers of tiles are part of the instructions, hence macros.
#define C_LOAD(t, c, m, n)             \
  if (!accumulate) {                   \
    _tile_zero(t);                     \
  } else if (m == SIDE && n == SIDE) { \
    _tile_loadd(t, c, ldc * 4);        \
  } else {                             \
    take(whole, c, ldc, m, n);         \
    _tile_loadd(t, whole, ROW);        \
  }
#define C_STORE(t, c, m, n)            \
  if (m == SIDE && n == SIDE) {        \
    _tile_stored(t, c, ldc * 4);       \
  } else {                             \
    _tile_stored(t, whole, ROW);       \
    give(c, ldc, whole, m, n);         \
  }
// A step: the upper tile of A, and the lower, times the left one of B, and the right.
#define STEP(a, b)                              \
  _tile_loadd(4, a, a_rs * 4);                  \
  _tile_loadd(6, b, BF16_NR * 4);               \
  _tile_dpbf16ps(0, 4, 6);                      \
  if (right) {                                  \
    _tile_loadd(7, b + SIDE, BF16_NR * 4);      \
    _tile_dpbf16ps(1, 4, 7);                    \
  }                                             \
  if (low) {                                    \
    _tile_loadd(5, a + SIDE * a_rs, a_rs * 4);  \
    _tile_dpbf16ps(2, 5, 6);                    \
    if (right) { _tile_dpbf16ps(3, 5, 7); }     \
  }

// What is done to each tile of C that there is.
#define EACH(op)                                  \
  op(0, c, m0, n0)                                \
  if (right) { op(1, c + SIDE, m0, n - SIDE) }    \
  if (low) { op(2, c_low, m - SIDE, n0) }         \
  if (low && right) { op(3, c_low + SIDE, m - SIDE, n - SIDE) }

INLINE void tiles(int low, int right, const Tile *t) {
  const int m = t->m, n = t->n, accumulate = t->accumulate;
  const ptrdiff_t a_rs = t->a_rs, ldc = t->ldc;
  const Word *a = (const Word *)t->a, *b = (const Word *)t->b;
  float *const c = t->c;
  int pairs = t->k;
  float whole[SIDE * SIDE] __attribute__((aligned(64)));
  const int m0 = low ? SIDE : m, n0 = right ? SIDE : n;
  float *c_low = c + SIDE * ldc;
  EACH(C_LOAD)
  // The rows of C below, which are wanted next and too far apart for the hardware to see them come.
  const float *next = c + m * ldc;
  for (; pairs >= SIDE; pairs -= SIDE, a += SIDE, b += SIDE * BF16_NR) {
    for (int i = 0; i < 4; i++, next += ldc) {
      __builtin_prefetch(next, 0, 2);
      if (right) __builtin_prefetch(next + SIDE, 0, 2);
    }
    STEP(a, b)
  }
  if (pairs) {  // what follows in the panel may be no zeros
    Word last[SIDE * BF16_NR] __attribute__((aligned(64))) = {0};
    memcpy(last, b, (size_t)pairs * BF16_NR * sizeof *b);
    SEEN_BY_TILES();
    STEP(a, last)
  }
  EACH(C_STORE)
}

// A: a_cs == 1, rows filled up by zeros to a multiple of 16 words; those past the m-th, up to 16 or 32, are read.
void bf16_ukr_avx512amx(const Tile *t) {
  configure();
  if (t->m > SIDE && t->n > SIDE) tiles(1, 1, t);
  else if (t->m > SIDE) tiles(1, 0, t);
  else if (t->n > SIDE) tiles(0, 1, t);
  else tiles(0, 0, t);
}
#endif
