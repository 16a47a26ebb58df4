// vec_neon.c: 4 lanes of NEON for the row operations of vec.inc, which says what each primitive must do. As wide as
// vec_scalar.c, in the same order, but with real fused multiply-adds.
#ifdef __aarch64__
#include <arm_neon.h>
#include "vec.h"
VEC_DECLARE(neon);

#define ISA neon
enum { W = 4 };
typedef float32x4_t V;
typedef float64x2_t D;

static const int window[2 * W] = {-1, -1, -1, -1};  // lane masks: W ones, then W zeros
static inline uint32x4_t first(int k) { return vreinterpretq_u32_s32(vld1q_s32(window + W - k)); }

static inline V vset(float a) { return vdupq_n_f32(a); }
static inline V vload(const float *p, int k) {
  if (k >= W) return vld1q_f32(p);
  V x = vset(0);
  if (k > 0) x = vld1q_lane_f32(p, x, 0);
  if (k > 1) x = vld1q_lane_f32(p + 1, x, 1);
  if (k > 2) x = vld1q_lane_f32(p + 2, x, 2);
  return x;
}
static inline void vstore(float *p, int k, V x) {
  if (k >= W) {
    vst1q_f32(p, x);
    return;
  }
  if (k > 0) vst1q_lane_f32(p, x, 0);
  if (k > 1) vst1q_lane_f32(p + 1, x, 1);
  if (k > 2) vst1q_lane_f32(p + 2, x, 2);
}
static inline V vkeep(int k, V x, V fill) { return vbslq_f32(first(k), x, fill); }
static inline V vfma(V a, V b, V c) { return vfmaq_f32(c, a, b); }
static inline V vfnma(V a, V b, V c) { return vfmsq_f32(c, a, b); }
// Not vmaxq and vminq: those give NaN where a or b is one.
static inline V vmax(V a, V b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
static inline V vmin(V a, V b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
static inline V vsqrt(V a) { return vsqrtq_f32(a); }
static inline V vquotient(V a, V b) { return a / b; }
static inline V vzero_below(float low, V x, V y) {
  return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(y), vcltq_f32(x, vset(low))));
}
static inline V vscale(V p, V t) {
  return vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(p), vshlq_n_u32(vreinterpretq_u32_f32(t), 23)));
}
static inline V vpow2(V t) { return vscale(vset(1), t); }
static inline V vrounded(V a) {
  __asm__("" : "+w"(a));
  return a;
}
static inline V vswap(V a) { return vrev64q_f32(a); }
static inline V valternate(float even, float odd) { return (V){even, odd, even, odd}; }

static inline float vsum(V a) { return (a[0] + a[2]) + (a[1] + a[3]); }
static inline V vsums(const V *a) { return (V){vsum(a[0]), vsum(a[1]), vsum(a[2]), vsum(a[3])}; }
static inline V vlane(V a, int j) { return vset(a[j]); }
static inline float vtop(V a) {
  a = vmax(a, vextq_f32(a, a, 2));
  return vmax(a, vswap(a))[0];
}
static inline D dload(const float *p) { return vcvt_f64_f32(vld1_f32(p)); }
static inline double dsum(D a) { return a[0] + a[1]; }

#include "vec.inc"
#endif
