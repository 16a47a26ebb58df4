// vec_scalar.c: the row operations of vec.inc in plain C for any CPU. A "vector" is 4 floats of GCC's vector extension,
// which the compiler maps to whatever the architecture's baseline has. vec.inc says what each primitive must do.
#include <math.h>
#include <string.h>

#define ISA scalar
enum { W = 4 };
typedef float V __attribute__((vector_size(16)));
typedef int I __attribute__((vector_size(16)));
typedef unsigned N __attribute__((vector_size(16)));
typedef double D __attribute__((vector_size(16)));

static inline V vset(float a) { return (V){a, a, a, a}; }
static inline V vload(const float *p, int k) {
  V x = {0};
  if (k < W) for (int l = 0; l < k; l++) x[l] = p[l];
  else memcpy(&x, p, sizeof x);
  return x;
}
static inline void vstore(float *p, int k, V x) {
  if (k < W) for (int l = 0; l < k; l++) p[l] = x[l];
  else memcpy(p, &x, sizeof x);
}
static inline V vselect(I mask, V yes, V no) { return (V)(((I)yes & mask) | ((I)no & ~mask)); }
static inline V vkeep(int k, V x, V fill) { return vselect((I){0, 1, 2, 3} < (I){k, k, k, k}, x, fill); }

// The product of two floats is exact in double: one rounding to double, one to float, with FMA and without, on any CPU.
static inline V vfma(V a, V b, V c) {
  V r;
  for (int l = 0; l < W; l++) r[l] = (float)((double)a[l] * b[l] + c[l]);
  return r;
}
static inline V vfnma(V a, V b, V c) { return vfma(-a, b, c); }
static inline V vmax(V a, V b) { return vselect(a > b, a, b); }
static inline V vmin(V a, V b) { return vselect(a < b, a, b); }
static inline V vsqrt(V a) { return (V){sqrtf(a[0]), sqrtf(a[1]), sqrtf(a[2]), sqrtf(a[3])}; }
static inline V vquotient(V a, V b) { return a / b; }
static inline V vzero_below(float low, V x, V y) { return (V)((I)y & ~(I)(x < vset(low))); }
static inline V vscale(V p, V t) { return (V)((N)p + ((N)t << 23)); }
static inline V vpow2(V t) { return vscale(vset(1), t); }
static inline V vrounded(V a) {
#ifdef __x86_64__
  __asm__("" : "+x"(a));
#elif defined(__aarch64__)
  __asm__("" : "+w"(a));
#else
  __asm__("" : "+m"(a));
#endif
  return a;
}
static inline V vswap(V a) { return (V){a[1], a[0], a[3], a[2]}; }
static inline V valternate(float even, float odd) { return (V){even, odd, even, odd}; }

static inline float vsum(V a) { return (a[0] + a[2]) + (a[1] + a[3]); }
static inline V vsums(const V *a) { return (V){vsum(a[0]), vsum(a[1]), vsum(a[2]), vsum(a[3])}; }
static inline V vlane(V a, int j) { return vset(a[j]); }
static inline float vtop(V a) {
  a = vmax(a, (V){a[2], a[3], a[0], a[1]});
  return vmax(a, vswap(a))[0];
}
static inline D dload(const float *p) { return (D){p[0], p[1]}; }
static inline double dsum(D a) { return a[0] + a[1]; }

#include "vec.inc"
