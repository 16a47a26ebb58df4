// rows.h: how a micro-kernel for x86 walks the rows of its tile. In: A or C by any strides, in 4-byte elements. Out:
// addresses. Nothing here is of one instruction set; everything is inlined into the file that includes it.
#ifndef ISOFLOP_ROWS_H
#define ISOFLOP_ROWS_H
#include <stddef.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

// Row i of A's tile at a step k is base[i/5] + {0, rs, 2rs, 3rs, 4rs}[i%5]: x86 addressing multiplies the index by 1, 2
// or 4, so 28 rows need only 6 moving pointers and 2 fixed offsets. The empty asm hides how they are related, at every
// step anew, lest the compiler keep 28 pointers, or multiples of rs, in registers that it does not have.
typedef struct Rows { const char *base[6]; ptrdiff_t rs, rs3; } Rows;

INLINE Rows rows_new(int m, const void *a, ptrdiff_t a_rs) {
  Rows r = {.rs = a_rs * 4, .rs3 = a_rs * 12};
  __asm__("" : "+r"(r.rs), "+r"(r.rs3));
  UNROLL for (int g = 0; g < (m + 4) / 5; g++) {
    r.base[g] = (const char *)a + 20 * g * a_rs;
    __asm__("" : "+r"(r.base[g]));
  }
  return r;
}
INLINE const void *rows_at(const Rows *r, int i) {
  const char *p = r->base[i / 5];
  switch (i % 5) {
    case 0: return p;
    case 1: return p + r->rs;
    case 2: return p + r->rs * 2;
    case 3: return p + r->rs3;
    default: return p + r->rs * 4;
  }
}
INLINE void rows_next(Rows *r, int m, ptrdiff_t a_cs) {
  UNROLL for (int g = 0; g < (m + 4) / 5; g++) r->base[g] += a_cs * 4;
  __asm__("" : "+r"(r->rs));
}

// `by` bytes on. Opaque, so that an address stays one register that walks on, instead of 14 being kept or spilled.
INLINE const char *walk(const char *p, ptrdiff_t by) {
  p += by;
  __asm__("" : "+r"(p));
  return p;
}
INLINE float *row_next(float *c, ptrdiff_t ldc) { return (float *)walk((char *)c, ldc * 4); }

// What the steps of k fetch ahead of its use, a line or two at a time: a burst at the start of a tile would fill the
// queue of misses before the tile's own loads. B: its row AHEAD steps on. C: a row below the tile. A, where its rows
// are contiguous: each step goes down a row and along an element, so that SPAN steps touch every line of the rows
// below; a next span starts again just below the tile, since what is fetched farther ahead is lost before its use. Both
// come as near as the second-level cache: in the first, rows a multiple of 2 KiB apart would drive each other out.
// `down`: A's columns are contiguous, and the 1 or 2 lines that a step reads are fetched AHEAD steps early like B's.
enum { AHEAD = 16, SPAN = 64 };
typedef struct Far { const char *a, *b, *c; ptrdiff_t ldb, ldc; } Far;

INLINE Far far_new(int down, const void *a, ptrdiff_t a_cs, const void *b, ptrdiff_t ldb, ptrdiff_t ldc) {
  Far f = {.b = walk(b, AHEAD * 4 * ldb), .ldb = ldb * 4, .ldc = ldc * 4};
  if (down) f.a = walk(a, AHEAD * 4 * a_cs);
  __asm__("" : "+r"(f.ldb), "+r"(f.ldc));
  return f;
}
INLINE void far_span(Far *f, int m, int down, const Rows *r, const float *c) {
  if (!down) f->a = r->base[0] + m * r->rs;
  f->c = (const char *)c + m * f->ldc;
}
INLINE void far_next(Far *f, int m, int cols, int down, const Rows *r, ptrdiff_t a_cs) {
  if (cols > 24) {
    __builtin_prefetch(f->b);
    __builtin_prefetch(f->b + 64);
    f->b = walk(f->b, f->ldb);
  }
  __builtin_prefetch(f->c, 0, 2);
  if (cols > 16) __builtin_prefetch(f->c + 4 * cols - 4, 0, 2);
  f->c = walk(f->c, f->ldc);
  if (down) {
    __builtin_prefetch(f->a);
    __builtin_prefetch(f->a + 4 * m - 4);
    f->a = walk(f->a, a_cs * 4);
  } else {
    __builtin_prefetch(f->a, 0, 2);
    f->a = walk(f->a, r->rs + 4);
  }
}
#endif
