// bf16.h: the truth about rounding to bf16, for checkkern.c and test_vec.c: 8 significant bits, halfway to even as rint()
// does it; denormals go to 0, what is beyond the largest float to infinity, a NaN stays one.
#ifndef ISOFLOP_TESTS_BF16_H
#define ISOFLOP_TESTS_BF16_H
#include <float.h>
#include <math.h>

static float bf16_of(float x) {
  int e;
  const double fraction = frexp(x, &e), y = ldexp(rint(ldexp(fraction, 8)), e - 8);
  return fabsf(x) < FLT_MIN ? copysignf(0, x) : fabs(y) > FLT_MAX ? copysignf(INFINITY, x) : (float)y;
}
#endif
