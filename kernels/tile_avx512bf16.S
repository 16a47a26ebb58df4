// tile_avx512bf16.S: the same tiles of words of two bf16, in twice the FLOPs. vdpbf16ps computes t = c + a1 b1, then
// t + a0 b0, each rounded to nearest as by a fused multiply-add that takes denormals as 0 and gives 0 for them,
// whatever MXCSR says.
// Reference: Intel, "BFLOAT16 - Hardware Numerics Definition" (2018); the order was checked on Zen 4 by the tests.
#define FMA vdpbf16ps
#define TILES_OF tiles_avx512bf16
#include "tile_avx512.S"
