// test_bench.c: the bench of matrix products refuses figures for a wrong kernel, however little is wrong; the memory that
// training announces is the memory that it takes. Environment: ISOFLOP, the program.
#include "bench_gemm.h"
#include "corpus.h"
#include "testing.h"
#include <sys/resource.h>
#include <sys/wait.h>

// The run's whole resident size, program and corpus included, at its peak and as announced: within 5 %, of models large
// enough that the system's own count of pages, which each CPU tells 32 at a time, is not what is tested. The peak that the
// system tells of a process begins with that of the memory it had before exec: so fork, which copies no mapped file, and not
// posix_spawn, and this test comes first, while this process has allocated less than any run.
__attribute__((unused)) UNIT(announced_memory_is_taken) {
  static const char *shapes[][7] = {
      {"d_model=256", "n_layers=2", "n_heads=4", "seq_len=64", "batch_tokens=64", "threads=1", "precision=fp32"},
      {"d_model=192", "n_layers=4", "n_heads=6", "seq_len=64", "batch_tokens=128", "threads=2", "precision=fp32"},
      {"d_model=192", "n_layers=3", "n_heads=6", "seq_len=64", "batch_tokens=256", "threads=1", "precision=bf16"}};
  char corpus[128], set[160], line[256] = "";
  const char *program = getenv("ISOFLOP") ? getenv("ISOFLOP") : "build/isoflop";
  snprintf(corpus, sizeof corpus, "%s", in("c.tok"));
  snprintf(set, sizeof set, "corpus=%s", corpus);
  const char *err = in("err");
  Err e;
  assert_int_equal(synth_build(corpus, 300000, 30000, &e), OK);
  for (int i = 0; i < COUNT(shapes); i++) {
    const char *run = in("%d", i);
    const char *args[40] = {program, "train", "--out", run, "--set", set, "--set", "eval_tokens=2048"};
    int n = 8;
    for (int k = 0; k < 7; k++) args[n++] = "--set", args[n++] = shapes[i][k];
    char tokens[32];
    snprintf(tokens, sizeof tokens, "tokens=%d", 20 * atoi(strchr(shapes[i][4], '=') + 1));
    args[n++] = "--set", args[n++] = tokens;
    const pid_t pid = fork();
    if (pid == 0) {
      if (!freopen(err, "w", stderr)) _exit(126);
      execv(program, (char **)args);
      _exit(127);
    }
    int status;
    struct rusage used;
    assert_int_equal(wait4(pid, &status, 0, &used), pid);
    assert_int_equal(status, 0);
    FILE *f = fopen(err, "r");
    double announced = 0;
    while (f && fgets(line, sizeof line, f) && sscanf(line, "memory: %lf MB", &announced) != 1) continue;
    fclose(f);
    const double peak = 1024e-6 * (double)used.ru_maxrss;
    if (!(fabs(peak / announced - 1) < 0.05)) fail_msg("%s: announced %.1f MB, peak %.1f", run, announced, peak);
  }
}

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

static const GemmRung RUNGS[] = {{"right", NULL, right, false, INFINITY, false, NULL},
                                 {"reads c", NULL, reads_c, false, INFINITY, false, NULL},
                                 {"last corner", NULL, last_corner, false, INFINITY, false, NULL},
                                 {"skips last k", NULL, skips_last_k, false, INFINITY, false, NULL},
                                 {"overwrites", NULL, overwrites, false, INFINITY, false, NULL}};
enum { N_RUNGS = sizeof RUNGS / sizeof *RUNGS };

UNIT(figures_only_for_right_kernels) {
  // small, and large enough for the check to look at a part only
  static const GemmOp ops[] = {{.name = "forward", .m = 7, .n = 9, .k = 5},
                               {.name = "dx", .m = 130, .n = 70, .k = 90, .b_t = true},
                               {.name = "dw", .m = 33, .n = 65, .k = 700, .a_t = true, .accumulate = true},
                               {.name = "values", .m = 32, .n = 16, .k = 128, .ldb = 96, .ldc = 64}};
  for (int i = 0; i < COUNT(ops); i++) {
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

UNIT(rungs_of_this_machine_are_right) {
  const GemmOp ops[] = {{.name = "square", .m = 45, .n = 50, .k = 300},
                        {.name = "dx", .m = 40, .n = 33, .k = 70, .b_t = true, .pack = true},
                        {.name = "dx_pack", .m = 40, .n = 33, .k = 70, .b_t = true, .pack = true, .pack_inside = true},
                        {.name = "dw", .m = 33, .n = 65, .k = 128, .a_t = true, .accumulate = true}};
  GemmRung rungs[GEMM_MAX_RUNGS];
  const int n = bench_gemm_rungs(rungs);
  for (int i = 0; i < COUNT(ops); i++)
    for (int threads = 1; threads <= 3; threads += 2) {
      GemmResult got[GEMM_MAX_RUNGS];
      double peak = 0;
      assert_true(bench_gemm_product(&ops[i], rungs, n, threads, 3, 0, got, &peak));
      for (int r = 0; r < n; r++) assert_true(got[r].good || (threads > 1 && !rungs[r].teams && !got[r].wrong));
    }
}

UNIT(median_of_odd_and_even) {
  double odd[] = {3, 1, 2}, even[] = {4, 1, 3, 2};
  assert_true(bench_median(odd, 3) == 2 && bench_median(even, 4) == 2.5);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#ifndef __SANITIZE_ADDRESS__  // whose shadow memory and quarantine are in nobody's plan
                                     cmocka_unit_test(announced_memory_is_taken),
#endif
                                     cmocka_unit_test(figures_only_for_right_kernels),
                                     cmocka_unit_test(rungs_of_this_machine_are_right),
                                     cmocka_unit_test(median_of_odd_and_even)};
  return kernels_init(NULL) || cmocka_run_group_tests(tests, folder_make, folder_remove);
}
