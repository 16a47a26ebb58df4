// vec_avx512.c: 16 lanes of AVX-512 for the row operations of vec.inc, which says what each primitive must do.
#ifdef __x86_64__
#include <immintrin.h>

#define ISA avx512
enum { W = 16 };
typedef __m512 V;
typedef __m512d D;

static inline __mmask16 first(int k) { return (__mmask16)((1u << k) - 1); }

static inline V vset(float a) { return _mm512_set1_ps(a); }
static inline V vload(const float *p, int k) { return k < W ? _mm512_maskz_loadu_ps(first(k), p) : _mm512_loadu_ps(p); }
static inline void vstore(float *p, int k, V x) {
  if (k < W) _mm512_mask_storeu_ps(p, first(k), x);
  else _mm512_storeu_ps(p, x);
}
static inline V vkeep(int k, V x, V fill) { return k < W ? _mm512_mask_mov_ps(fill, first(k), x) : x; }
static inline V vfma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
static inline V vfnma(V a, V b, V c) { return _mm512_fnmadd_ps(a, b, c); }
static inline V vmax(V a, V b) { return _mm512_max_ps(a, b); }
static inline V vmin(V a, V b) { return _mm512_min_ps(a, b); }
static inline V vsqrt(V a) { return _mm512_sqrt_ps(a); }
// Two Newton steps from an estimate give the reciprocal as it is rounded, but where b's mantissa is all ones; then the
// quotient's remainder is exact and settles its last bit (Markstein 1990, "Computation of elementary functions on the
// IBM RISC System/6000 processor"). Eight instructions, for which nothing waits as for the divider (docs/performance.md).
static inline V vquotient(V a, V b) {
  const V y0 = _mm512_rcp14_ps(b);
  const V y1 = vfma(vfnma(b, y0, vset(1)), y0, y0), y2 = vfma(vfnma(b, y1, vset(1)), y1, y1);
  const V q = a * y2;
  return vfma(vfnma(b, q, a), y2, q);
}
static inline V vzero_below(float low, V x, V y) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, vset(low), _CMP_NLT_UQ), y);
}
static inline V vscale(V p, V t) {
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), _mm512_slli_epi32(_mm512_castps_si512(t), 23)));
}
static inline V vpow2(V t) { return vscale(vset(1), t); }
static inline V vrounded(V a) {
  __asm__("" : "+v"(a));
  return a;
}
static inline V vswap(V a) { return _mm512_permute_ps(a, 0xb1); }
static inline V valternate(float even, float odd) { return _mm512_set4_ps(odd, even, odd, even); }

static inline float vsum(V a) {
  __m256 b = _mm512_castps512_ps256(a) + _mm512_extractf32x8_ps(a, 1);
  __m128 c = _mm256_castps256_ps128(b) + _mm256_extractf128_ps(b, 1);
  c += _mm_permute_ps(c, 0x4e);
  return c[0] + c[1];
}
// A matrix is transposed and summed at once: each step halves the number of vectors and of summands.
static inline V vsums(const V *a) {
  V b[8], c[4];
  for (int j = 0; j < 8; j++)
    b[j] = _mm512_unpacklo_ps(a[2 * j], a[2 * j + 1]) + _mm512_unpackhi_ps(a[2 * j], a[2 * j + 1]);
  for (int j = 0; j < 4; j++) {
    const __m512d lo = _mm512_castps_pd(b[2 * j]), hi = _mm512_castps_pd(b[2 * j + 1]);
    c[j] = _mm512_castpd_ps(_mm512_unpacklo_pd(lo, hi)) + _mm512_castpd_ps(_mm512_unpackhi_pd(lo, hi));
  }
  V d = _mm512_shuffle_f32x4(c[0], c[1], 0x88) + _mm512_shuffle_f32x4(c[0], c[1], 0xdd);
  V e = _mm512_shuffle_f32x4(c[2], c[3], 0x88) + _mm512_shuffle_f32x4(c[2], c[3], 0xdd);
  return _mm512_shuffle_f32x4(d, e, 0x88) + _mm512_shuffle_f32x4(d, e, 0xdd);
}
static inline V vlane(V a, int j) { return _mm512_permutexvar_ps(_mm512_set1_epi32(j), a); }
static inline float vtop(V a) {
  __m256 b = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  c = _mm_max_ps(c, _mm_permute_ps(c, 0x4e));
  return _mm_cvtss_f32(_mm_max_ss(c, _mm_permute_ps(c, 0xb1)));
}
static inline D dload(const float *p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
static inline double dsum(D a) {
  __m256d b = _mm512_castpd512_pd256(a) + _mm512_extractf64x4_pd(a, 1);
  __m128d c = _mm256_castpd256_pd128(b) + _mm256_extractf128_pd(b, 1);
  return c[0] + c[1];
}

#include "vec.inc"
#endif
