// vec_avx2.c: 8 lanes of AVX2 and FMA for the row operations of vec.inc, which says what each primitive must do.
#ifdef __x86_64__
#include <immintrin.h>

#define ISA avx2
enum { W = 8 };
typedef __m256 V;
typedef __m256d D;

// Lane masks are windows of this table: W ones, then W zeros.
static const int window[2 * W] = {-1, -1, -1, -1, -1, -1, -1, -1};
static inline __m256i first(int k) { return _mm256_loadu_si256((const __m256i *)(window + W - k)); }

static inline V vset(float a) { return _mm256_set1_ps(a); }
static inline V vload(const float *p, int k) { return k < W ? _mm256_maskload_ps(p, first(k)) : _mm256_loadu_ps(p); }
static inline void vstore(float *p, int k, V x) {
  if (k < W) _mm256_maskstore_ps(p, first(k), x);
  else _mm256_storeu_ps(p, x);
}
static inline V vkeep(int k, V x, V fill) {
  return k < W ? _mm256_blendv_ps(fill, x, _mm256_castsi256_ps(first(k))) : x;
}
static inline V vfma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
static inline V vfnma(V a, V b, V c) { return _mm256_fnmadd_ps(a, b, c); }
static inline V vmax(V a, V b) { return _mm256_max_ps(a, b); }
static inline V vmin(V a, V b) { return _mm256_min_ps(a, b); }
static inline V vsqrt(V a) { return _mm256_sqrt_ps(a); }
static inline V vquotient(V a, V b) { return a / b; }
static inline V vzero_below(float low, V x, V y) { return _mm256_and_ps(_mm256_cmp_ps(x, vset(low), _CMP_NLT_UQ), y); }
static inline V vscale(V p, V t) {
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_castps_si256(t), 23)));
}
static inline V vpow2(V t) { return vscale(vset(1), t); }
static inline V vrounded(V a) {
  __asm__("" : "+x"(a));
  return a;
}
static inline V vswap(V a) { return _mm256_permute_ps(a, 0xb1); }
static inline V valternate(float even, float odd) { return _mm256_setr_ps(even, odd, even, odd, even, odd, even, odd); }

static inline float vsum(V a) {
  __m128 c = _mm256_castps256_ps128(a) + _mm256_extractf128_ps(a, 1);
  c += _mm_permute_ps(c, 0x4e);
  return c[0] + c[1];
}
static inline V vsums(const V *a) {
  const V b = _mm256_hadd_ps(_mm256_hadd_ps(a[0], a[1]), _mm256_hadd_ps(a[2], a[3]));
  const V c = _mm256_hadd_ps(_mm256_hadd_ps(a[4], a[5]), _mm256_hadd_ps(a[6], a[7]));
  return _mm256_permute2f128_ps(b, c, 0x20) + _mm256_permute2f128_ps(b, c, 0x31);
}
static inline V vlane(V a, int j) { return _mm256_permutevar8x32_ps(a, _mm256_set1_epi32(j)); }
static inline float vtop(V a) {
  __m128 c = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  c = _mm_max_ps(c, _mm_permute_ps(c, 0x4e));
  return _mm_cvtss_f32(_mm_max_ss(c, _mm_permute_ps(c, 0xb1)));
}
static inline D dload(const float *p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
static inline double dsum(D a) {
  __m128d c = _mm256_castpd256_pd128(a) + _mm256_extractf128_pd(a, 1);
  return c[0] + c[1];
}

#include "vec.inc"
#endif
