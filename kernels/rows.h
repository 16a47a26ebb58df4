// rows.h: how a micro-kernel for x86 walks the rows of its tile. In: A or C by any strides, in 4-byte elements. Out:
// addresses. Nothing here is of one instruction set; everything is inlined into the file that includes it.
#ifndef ISOFLOP_ROWS_H
#define ISOFLOP_ROWS_H
#include <stddef.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

// How A's elements lie: by any strides, contiguous along its rows (a_cs == 1), or down its columns (a_rs == 1). Where
// one stride is known, TURN steps of k make a turn of the loop: constants in the addresses then take the place of most
// additions of a step, which the multiply-adds have to make room for (docs/gemm.md).
typedef enum Way { ANY, ALONG, DOWN } Way;
enum { TURN = 4 };

// x86 addressing multiplies an index by 1, 2 or 4 and adds a constant.
INLINE const char *apart(const char *p, ptrdiff_t d, ptrdiff_t d3, int i) {
  switch (i) {
    case 0: return p;
    case 1: return p + d;
    case 2: return p + d * 2;
    case 3: return p + d3;
    default: return p + d * 4;
  }
}

// Row i of A's tile at step s of a turn is base[i/5] + {0, d, 2d, 3d, 4d}[i%5] + 4s, d the distance of rows, so that 28
// rows need only 6 moving pointers and 2 fixed offsets; or, down the columns, base[0] + {0, d, 2d, 3d}[s] + 4i, d that
// of columns. The empty asm hides how they are related, at every turn anew, lest the compiler keep 28 pointers, or
// multiples of d, in registers that it does not have.
typedef struct Rows { const char *base[6]; ptrdiff_t d, d3; } Rows;

INLINE Rows rows_new(Way way, int m, const void *a, ptrdiff_t a_rs, ptrdiff_t a_cs) {
  const ptrdiff_t d = 4 * (way == DOWN ? a_cs : a_rs);
  Rows r = {.base = {a}, .d = d, .d3 = 3 * d};
  __asm__("" : "+r"(r.d), "+r"(r.d3));
  if (way != DOWN)
    UNROLL for (int g = 0; g < (m + 4) / 5; g++) {
      r.base[g] = (const char *)a + 20 * g * a_rs;
      __asm__("" : "+r"(r.base[g]));
    }
  return r;
}
INLINE const void *rows_at(Way way, const Rows *r, int i, int s) {
  if (way == DOWN) return apart(r->base[0], r->d, r->d3, s) + 4 * i;
  return apart(r->base[i / 5], r->d, r->d3, i % 5) + 4 * s;
}
// `steps` on: 1 or TURN.
INLINE void rows_next(Way way, Rows *r, int m, ptrdiff_t a_cs, int steps) {
  if (way == ANY) __asm__("" : "+r"(a_cs));
  if (way == DOWN) r->base[0] += steps * r->d;
  else UNROLL for (int g = 0; g < (m + 4) / 5; g++) r->base[g] += 4 * steps * (way == ALONG ? 1 : a_cs);
  __asm__("" : "+r"(r->d), "+r"(r->d3));
}

// `by` bytes on. Opaque, so that an address stays one register that walks on, instead of 14 being kept or spilled.
INLINE const char *walk(const char *p, ptrdiff_t by) {
  p += by;
  __asm__("" : "+r"(p));
  return p;
}
INLINE float *row_next(float *c, ptrdiff_t ldc) { return (float *)walk((char *)c, ldc * 4); }

// B: its row at step s of a turn is p + {0, d, 2d, 3d}[s].
typedef struct Lines { const char *p; ptrdiff_t d, d3; } Lines;

INLINE Lines lines_new(const void *p, ptrdiff_t ld) {
  Lines l = {.p = p, .d = 4 * ld, .d3 = 12 * ld};
  __asm__("" : "+r"(l.d), "+r"(l.d3));
  return l;
}
INLINE const void *lines_at(const Lines *l, int s) { return apart(l->p, l->d, l->d3, s); }
INLINE void lines_next(Lines *l, int steps) {
  l->p = walk(l->p, steps * l->d);
  __asm__("" : "+r"(l->d), "+r"(l->d3));
}

// What a tile fetches into the second-level cache ahead of its use, a row a turn, since a burst would fill the queue of
// misses before the tile's own loads: the rows of C below it, then what the tile's `next` says, if anything. More than
// that costs more than it brings (docs/gemm.md).
enum { BELOW = 16 };
typedef struct Far { const char *p; ptrdiff_t by; } Far;

INLINE Far far_rows(const void *p, ptrdiff_t ld) {
  Far f = {p, 4 * ld};
  __asm__("" : "+r"(f.p), "+r"(f.by));
  return f;
}
INLINE void far_fetch(Far *f, int cols) {
  __builtin_prefetch(f->p, 0, 2);
  __builtin_prefetch(f->p + 4 * cols - 4, 0, 2);
  f->p = walk(f->p, f->by);
}
#endif
