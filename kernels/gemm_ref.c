// gemm_ref.c: the truth every kernel is tested against. Three loops in double, rounded to float once at the end.
#include <math.h>
#include "kernels.h"

// bound, if not NULL, is [m][n] row-major: (|A||B|)(i,j) + |C(i,j)|, what an error of one chain is proportional to
// (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1).
void gemm_ref(Mat c, double *bound, Mat a, Mat b, int accumulate) {
  for (int i = 0; i < c.rows; i++)
    for (int j = 0; j < c.cols; j++) {
      float *cij = c.p + i * c.rs + j * c.cs;
      double sum = accumulate ? *cij : 0, size = fabs(sum);
      for (int k = 0; k < a.cols; k++) {
        const double product = (double)a.p[i * a.rs + k * a.cs] * b.p[k * b.rs + j * b.cs];
        sum += product;
        size += fabs(product);
      }
      *cij = (float)sum;
      if (bound) bound[(size_t)i * c.cols + j] = size;
    }
}
