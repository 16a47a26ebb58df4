// tile_avx512.S: the micro-kernel of tile.inc with AVX-512.
//
// 14 rows x 2 vectors = 28 accumulators of the 32 registers leave room for two vectors of B and a broadcast of A: a
// step of k costs 16 loads for 28 multiply-adds. A C 24 wide takes a half vector, which costs half on cores with
// 256-bit units (Zen 4); a narrow one (n <= 16) 28 rows x 1 vector, with 29 loads; 48 columns 9 rows x 3.
#ifdef __x86_64__
#define VEC zmm
#define HALF_VEC ymm
#define VEC_BYTES 64
#ifndef FMA  // tile_avx512bf16.S has another
#define FMA vfmadd231ps
#define TILES_OF tiles_avx512
#endif
#define GROUP_ROWS 5

.macro FMA_ONE at, x, y
 FMA \at{1to16}, %\x, %\y
.endm
.macro GET_MASKED at, reg
 vmovups \at, %\reg{%k1}{z}
.endm
.macro PUT_MASKED at, reg
 vmovups %\reg, \at{%k1}
.endm
.macro MASK
 mov $-1, %eax
 bzhi %ecx, %eax, %eax
 kmovw %eax, %k1
.endm
#include "tile.inc"

// Low tiles wait for their adds anyway and have no versions of their own.
TABLE TILES_OF
TILES TILES_OF, ALONG, WIDE, 8, 14, 4
TILES TILES_OF, ALONG, HALF, 8, 14, 4
TILES TILES_OF, ALONG, NARROW, 8, 28, 4
TILES TILES_OF, DOWN, WIDE, 8, 14, 4
TILES TILES_OF, DOWN, HALF, 8, 14, 4
TILES TILES_OF, DOWN, NARROW, 8, 28, 4
TILES TILES_OF, ANY, WIDE, 1, 14, 1
TILES TILES_OF, ANY, HALF, 1, 14, 1
TILES TILES_OF, ANY, NARROW, 1, 28, 1
TILES TILES_OF, ALONG, TRIPLE, 5, 9, 4
TILES TILES_OF, DOWN, TRIPLE, 5, 9, 4
TILES TILES_OF, ALONG, QUAD, 3, 6, 4
#endif
.section .note.GNU-stack, "", %progbits
