// rows.h: how a micro-kernel for x86 walks the rows of its tile. In: A or C by any strides, in 4-byte elements. Out:
// addresses. Nothing here is of one instruction set; everything is inlined into the file that includes it.
#ifndef ISOFLOP_ROWS_H
#define ISOFLOP_ROWS_H
#include <stddef.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

// Row i of A's tile at a step k is base[i/5] + {0, rs, 2rs, 3rs, 4rs}[i%5]: x86 addressing multiplies the index by 1, 2
// or 4, so 28 rows need only 6 moving pointers and 2 fixed offsets. The empty asm hides how they are related,
// lest the compiler derive 28 pointers and spill them.
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
}

// The next row of C. Opaque, so that rows are walked as they come instead of 14 addresses being kept through the loop
// over k.
INLINE float *row_next(float *c, ptrdiff_t ldc) {
  c += ldc;
  __asm__("" : "+r"(c));
  return c;
}

// Starts fetching the lines of C that will be wanted: of this tile, to be stored, or, when C is read too, of the tile
// below. Without it the stores of a C that is not in the caches wait for memory one after another. The tile below only
// comes as near as the second-level cache: in the first, rows a multiple of 2 KiB apart would drive each other out.
INLINE void prefetch_c(int m, int n, int k, const float *c, ptrdiff_t ldc, int accumulate) {
  if (k < 32) return;
  if (accumulate) c += m * ldc;
  UNROLL for (int i = 0; i < m; i++, c = row_next((float *)c, ldc)) {
    if (accumulate) {
      __builtin_prefetch(c, 0, 2);
      if (n > 16) __builtin_prefetch(c + n - 1, 0, 2);
    } else {
      __builtin_prefetch(c);
      if (n > 16) __builtin_prefetch(c + n - 1);
    }
  }
}
#endif
