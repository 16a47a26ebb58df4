// tile_avx2.S: the micro-kernel of tile.inc with AVX2 and FMA. Same chains as with AVX-512, hence on a CPU that has
// both the same bits.
//
// 6 rows x 2 vectors = 12 accumulators of the 16 registers leave room for two vectors of B, a broadcast of A and a
// mask. A narrow C (n <= 8) takes 12 rows x 1 vector, 24 columns 4 rows x 3; 12 columns a vector and a half, since
// AMD's masked stores take tens of cycles.
#ifdef __x86_64__
#define VEC ymm
#define HALF_VEC xmm
#define VEC_BYTES 32
#define FMA vfmadd231ps
#define GROUP_ROWS 3

.macro FMA_ONE at, x, y
 vbroadcastss \at, %ymm2
 FMA %ymm2, %\x, %\y
.endm
.macro GET_MASKED at, reg
 vmaskmovps \at, %ymm3, %\reg
.endm
.macro PUT_MASKED at, reg
 vmaskmovps %\reg, %ymm3, \at
.endm
.macro MASK
 neg %rcx
 lea 32+lanes(%rip), %rax
 vmovups (%rax,%rcx,4), %ymm3
.endm
#include "tile.inc"

.section .rodata
.p2align 6
lanes:
.rept 8
 .long -1
.endr
.rept 8
 .long 0
.endr

TABLE tiles_avx2
TILES tiles_avx2, ALONG, WIDE, 3, 6, 4
TILES tiles_avx2, ALONG, HALF, 3, 6, 4
TILES tiles_avx2, ALONG, NARROW, 3, 12, 4
TILES tiles_avx2, DOWN, WIDE, 3, 6, 4
TILES tiles_avx2, DOWN, HALF, 3, 6, 4
TILES tiles_avx2, DOWN, NARROW, 3, 12, 4
TILES tiles_avx2, ANY, WIDE, 1, 6, 1
TILES tiles_avx2, ANY, NARROW, 1, 12, 1
TILES tiles_avx2, ALONG, TRIPLE, 2, 4, 4
TILES tiles_avx2, DOWN, TRIPLE, 2, 4, 4
#endif
.section .note.GNU-stack, "", %progbits
