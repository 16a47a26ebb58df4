// test_bench.c: the bench of matrix products refuses figures for a wrong kernel, however little is wrong.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "bench_gemm.h"

static void right(Mat c, Mat a, Mat b, int accumulate) { gemm_ref(c, NULL, a, b, accumulate); }
static void reads_c(Mat c, Mat a, Mat b, int accumulate) {
  (void)accumulate;
  gemm_ref(c, NULL, a, b, 1);
}
static void last_corner(Mat c, Mat a, Mat b, int accumulate) {
  gemm_ref(c, NULL, a, b, accumulate);
  c.p[(c.rows - 1) * c.rs + c.cols - 1] += 0.1f;
}
static void skips_last_k(Mat c, Mat a, Mat b, int accumulate) {
  gemm_ref(c, NULL, mat_cols(a, 0, a.cols - 1), mat_rows(b, 0, b.rows - 1), accumulate);
}
static void overwrites(Mat c, Mat a, Mat b, int accumulate) {
  (void)accumulate;
  gemm_ref(c, NULL, a, b, 0);
}

static const GemmRung RUNGS[] = {{"right", NULL, right, false, INFINITY, false},
                                 {"reads c", NULL, reads_c, false, INFINITY, false},
                                 {"last corner", NULL, last_corner, false, INFINITY, false},
                                 {"skips last k", NULL, skips_last_k, false, INFINITY, false},
                                 {"overwrites", NULL, overwrites, false, INFINITY, false}};
enum { N_RUNGS = sizeof RUNGS / sizeof *RUNGS };

static void figures_only_for_right_kernels(void **state) {
  (void)state;
  // small, and large enough for the check to look at a part only
  static const GemmOp ops[] = {{.name = "forward", .m = 7, .n = 9, .k = 5},
                               {.name = "dx", .m = 130, .n = 70, .k = 90, .b_t = true},
                               {.name = "dw", .m = 33, .n = 65, .k = 700, .a_t = true, .accumulate = true},
                               {.name = "values", .m = 32, .n = 16, .k = 128, .ldb = 96, .ldc = 64}};
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
    GemmResult got[N_RUNGS];
    double peak = 0;
    assert_true(bench_gemm_product(&ops[i], RUNGS, N_RUNGS, 1, 3, 0, got, &peak));
    assert_true(peak > 0);
    for (int r = 0; r < N_RUNGS; r++) {
      const bool good = r == 0 || (r == 1 && ops[i].accumulate) || (r == 4 && !ops[i].accumulate);
      assert_int_equal(got[r].good, good);
      assert_int_equal(got[r].wrong, !good);
      assert_true(good ? got[r].gflops > 0 && got[r].lo <= got[r].gflops && got[r].gflops <= got[r].hi
                       : got[r].gflops == 0);
    }
  }
}

static void rungs_of_this_machine_are_right(void **state) {
  (void)state;
  const GemmOp ops[] = {{.name = "square", .m = 45, .n = 50, .k = 300},
                        {.name = "dx", .m = 40, .n = 33, .k = 70, .b_t = true, .pack = true},
                        {.name = "dx_pack", .m = 40, .n = 33, .k = 70, .b_t = true, .pack = true, .pack_inside = true},
                        {.name = "dw", .m = 33, .n = 65, .k = 128, .a_t = true, .accumulate = true}};
  GemmRung rungs[GEMM_MAX_RUNGS];
  const int n = bench_gemm_rungs(rungs);
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
    for (int threads = 1; threads <= 3; threads += 2) {
      GemmResult got[GEMM_MAX_RUNGS];
      double peak = 0;
      assert_true(bench_gemm_product(&ops[i], rungs, n, threads, 3, 0, got, &peak));
      for (int r = 0; r < n; r++) assert_true(got[r].good || (threads > 1 && !rungs[r].teams && !got[r].wrong));
    }
}

static void median_of_odd_and_even(void **state) {
  (void)state;
  double odd[] = {3, 1, 2}, even[] = {4, 1, 3, 2};
  assert_true(bench_median(odd, 3) == 2 && bench_median(even, 4) == 2.5);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(figures_only_for_right_kernels),
                                     cmocka_unit_test(rungs_of_this_machine_are_right),
                                     cmocka_unit_test(median_of_odd_and_even)};
  return kernels_init(NULL) || cmocka_run_group_tests(tests, NULL, NULL);
}
