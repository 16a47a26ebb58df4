// test_report.c: from records on disk to fits.csv, figures and the page.
#include "figures.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

// cmocka's assert_float_equal compares floats.
#define assert_near(a, b, tolerance) assert_true(fabs((a) - (b)) <= (tolerance))

static char dir[64];

// Five budgets of seven sizes on exact parabolas; run 3 diverged for a reason that must be escaped, run 4 repeated its
// corpus.
static void write_study(const char *where) {
  Err e;
  for (int i = 0; i < 35; i++) {
    Record r = {0};
    config_defaults(&r.cfg);
    double C = 1e11 * pow(4, i / 7), u = log(4) * (i % 7 - 3) / 3, N = .08 * sqrt(C) * exp(u);
    r.cfg.budget = C;
    r.params = (Params){.total = N, .nonemb = N / 2};
    r.flops_per_token = (Flops){6 * N, 5 * N, 6 * N, 3 * N};
    r.tokens = C / (6 * N);
    r.epochs = i == 4 ? 1.5 : .1;
    r.val_loss = i == 3 ? NAN : 2 - .15 * (i / 7) + .05 * u * u;
    r.val_loss_se = r.train_loss = .001, r.val_floor = r.floor_nats = NAN;
    strcpy(r.status, i == 3 ? "diverged" : "finished");
    if (i == 3) strcpy(r.reason, "loss <nan> & gone");
    strcpy(r.corpus_name, "english"), strcpy(r.cpu, "a cpu");
    snprintf(r.id, sizeof r.id, "%016x", (unsigned)i);
    char path[256];
    snprintf(path, sizeof path, "%s/runs/%s", where, r.id);
    assert_int_equal(dir_make(path, &e), OK);
    strcat(path, "/run.ini");
    assert_int_equal(record_write(path, &r, &e), OK);
  }
}

// Not inlined: gcc 12 then takes the text for its own address and warns of a dangling pointer.
__attribute__((noinline)) static char *slurp(const char *name) {
  char path[256], *text;
  size_t len;
  Err e;
  snprintf(path, sizeof path, "%s/%s", dir, name);
  if (file_read(path, &text, &len, &e)) fail_msg("%s", e.msg);
  return text;
}

static int setup(void **state) {
  (void)state;
  snprintf(dir, sizeof dir, "/tmp/isoflop-report-XXXXXX");
  if (!mkdtemp(dir)) return -1;
  write_study(dir);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", dir);
  return system(command);
}

static double number_after(const char *text, const char *key) {
  const char *at = strstr(text, key);
  if (!at) fail_msg("not found: %s", key);
  return at ? strtod(at + strlen(key), NULL) : NAN;
}

static void fits_csv_holds_the_laws(void **state) {
  (void)state;
  Err e;
  assert_int_equal(fit_study(dir, 0, NULL, &e), OK);
  char *text = slurp("fits.csv");
  assert_true(!strncmp(text, "approach,convention,quantity,value,p10,p90\n", 43));
  assert_near(number_after(text, "\n2,total/exact,a,"), .5, 1e-9);
  assert_near(number_after(text, "\n2,total/exact,N_opt@4e11,") / (.08 * sqrt(4e11)), 1, 1e-9);
  free(text);
  text = slurp("tables/excluded.csv");
  assert_non_null(strstr(text, "0000000000000003,100000000000,"));
  assert_non_null(strstr(text, "no,\"diverged: loss <nan> & gone\""));
  assert_non_null(strstr(text, "yes,\"more than one epoch"));
  free(text);
}

static void page_is_whole_and_offline(void **state) {
  (void)state;
  Err e;
  if (report_study(dir, 0, 0, NULL, &e)) fail_msg("%s", e.msg);
  char *page = slurp("report.html");
  assert_non_null(strstr(page, "C<sup>0.500</sup>"));
  assert_non_null(strstr(page, "loss &lt;nan&gt; &amp; gone"));
  assert_null(strstr(page, "<nan>"));
  // Nothing is fetched: the only http addresses are names of XML namespaces, and the page drops those of its drawings.
  assert_null(strstr(page, "http"));
  assert_null(strstr(page, "src="));
  assert_null(strstr(page, "<img"));
  // In Fig 1 34 points, in Fig 3 as many and 2 x 5 minima, in Fig 4 34 points twice: each a link to a row that exists.
  int marks = 0;
  for (char *s = page; (s = strstr(s, "<a href=\"#")) != NULL;) {
    char want[96];
    s += 10;
    size_t len = strcspn(s, "\"");
    snprintf(want, sizeof want, "id=\"%.*s\"", (int)len, s);
    assert_non_null(strstr(page, want));
    marks += !strncmp(s + len, "\"><circle", 9);
  }
  assert_int_equal(marks, 34 + 34 + 10 + 2 * 34);
  // No id twice.
  for (char *s = page; (s = strstr(s, " id=")) != NULL; s += 5) {
    char id[96];
    snprintf(id, sizeof id, "%.*s", (int)(strcspn(s + 5, "'\"") + 6), s);
    assert_null(strstr(s + 5, id));
  }
  // Every colour that is left in a drawing belongs to the page's theme.
  assert_null(strstr(page, "rgb("));
  assert_non_null(strstr(page, "var(--r0)"));
  free(page);
  for (const char *const *f = (const char *const[]){"figures/fig3.svg", "figures/fig3.png", "figures/fig3.pdf", "figures/fig3_valleys.svg",
                                                    "figures/fig3_points.csv", NULL};
       *f; f++)
    free(slurp(*f));
}

static void same_bytes_again(void **state) {
  (void)state;
  static const char *const files[] = {"fits.csv", "report.html", "figures/fig3.svg", "figures/fig3_laws.csv",
                                      "tables/budgets.csv"};
  char *before[5];
  Err e;
  assert_int_equal(report_study(dir, 0, 0, NULL, &e), OK);
  for (int i = 0; i < 5; i++) before[i] = slurp(files[i]);
  assert_int_equal(report_study(dir, 0, 0, NULL, &e), OK);
  for (int i = 0; i < 5; i++) {
    char *after = slurp(files[i]);
    assert_string_equal(before[i], after);
    free(after), free(before[i]);
  }
}

// The link lies over the point: gnuplot's own circle and ours agree to a pixel.
static void marks_lie_on_points(void **state) {
  (void)state;
  Err e;
  assert_int_equal(report_study(dir, 0, 0, NULL, &e), OK);
  char *svg = slurp("figures/fig3_valleys.svg"), *page = slurp("report.html");
  int found = 0;
  for (char *s = strstr(page, "id=\"fig3\""); (s = strstr(s, "class=\"mark\"")) != NULL && found < 34; s++) {
    double cx, cy, x, y;
    assert_int_equal(sscanf(s, "class=\"mark\" cx=\"%lf\" cy=\"%lf\"", &cx, &cy), 2);
    bool near = false;
    for (char *t = svg; (t = strstr(t, "<use xlink:href='#gpPt")) != NULL && !near; t++) {
      char *at = strstr(t, "translate(");
      near = at && sscanf(at, "translate(%lf,%lf)", &x, &y) == 2 && hypot(x - cx, y - cy) < 1.5;
    }
    assert_true(near);
    found++;
  }
  assert_int_equal(found, 34);
  free(svg), free(page);
}

static void missing_gnuplot_is_one_line(void **state) {
  (void)state;
  Err e;
  char *path = strdup(getenv("PATH")), fits[128];
  snprintf(fits, sizeof fits, "%s/fits.csv", dir);
  unlink(fits);
  setenv("PATH", "/nonexistent", 1);
  int code = report_study(dir, 0, 0, NULL, &e);
  setenv("PATH", path, 1);
  free(path);
  assert_int_equal(code, E_IO);
  assert_non_null(strstr(e.msg, "gnuplot-nox"));
  assert_null(strchr(e.msg, '\n'));
  assert_true(file_exists(fits));
}

static void broken_script_is_named(void **state) {
  (void)state;
  Err e;
  char path[128];
  OutFile o;
  snprintf(path, sizeof path, "%s/bad.gp", dir);
  assert_int_equal(out_open(&o, path, &e), OK);
  fputs("set terminal dumb\nplot sin(x\n", o.f);
  assert_int_equal(out_commit(&o, &e), OK);
  assert_int_equal(figures_gnuplot(dir, "bad.gp", &e), E_IO);
  assert_non_null(strstr(e.msg, "bad.gp"));
  assert_non_null(strstr(e.msg, "line 2"));
  assert_null(strchr(e.msg, '\n'));
}

static void bad_records_are_named(void **state) {
  (void)state;
  Err e;
  char path[256];
  OutFile o;
  snprintf(path, sizeof path, "%s/runs/damaged", dir);
  assert_int_equal(dir_make(path, &e), OK);
  strcat(path, "/run.ini");
  assert_int_equal(out_open(&o, path, &e), OK);
  fputs("[result]\nstatus = fin", o.f);
  assert_int_equal(out_commit(&o, &e), OK);
  char *text = NULL;
  size_t len;
  FILE *f = open_memstream(&text, &len);
  assert_int_equal(fit_study(dir, 0, f, &e), OK);
  fclose(f);
  assert_non_null(strstr(text, "damaged/run.ini"));
  assert_non_null(strstr(text, "C^0.500"));
  free(text);
  unlink(path);

  assert_int_equal(fit_study("/nonexistent", 0, NULL, &e), E_RECORD);
  assert_non_null(strstr(e.msg, "/nonexistent"));
  snprintf(path, sizeof path, "%s/empty", dir);
  char runs[300];
  snprintf(runs, sizeof runs, "%s/runs", path);
  assert_int_equal(dir_make(runs, &e), OK);
  assert_int_equal(fit_study(path, 0, NULL, &e), E_RECORD);
  assert_non_null(strstr(e.msg, "no run record"));
}

// Reports honestly on whatever part has been run: one run, no budget that can be fitted.
static void one_run_is_reported(void **state) {
  (void)state;
  Err e;
  char whole[64], part[128], command[512];
  snprintf(part, sizeof part, "%s/part", dir);
  snprintf(command, sizeof command, "mkdir -p %s/runs && cp -r %s/runs/0000000000000000 %s/runs/", part, dir, part);
  assert_int_equal(system(command), 0);
  if (report_study(part, 0, 0, NULL, &e)) fail_msg("%s", e.msg);
  strcpy(whole, dir), strcat(dir, "/part");
  char *page = slurp("report.html");
  strcpy(dir, whole);
  assert_non_null(strstr(page, "No power law yet"));
  assert_non_null(strstr(page, "too few sizes"));
  free(page);
}

// Losses and training curves of a known surface, on a corpus whose floor is known.
static const Surface toy = {1.2, 30, 50, .35, .33};
static void write_curves(const char *where) {
  Err e;
  OutFile o;
  for (int i = 0; i < 35; i++) {
    Record r = {0};
    config_defaults(&r.cfg);
    double C = 1e11 * pow(4, i / 7), N = .08 * sqrt(C) * exp(log(4) * (i % 7 - 3) / 3);
    r.cfg.budget = C, r.cfg.batch_tokens = 256;
    r.params = (Params){.total = N, .nonemb = N};
    r.flops_per_token = (Flops){6 * N, 6 * N, 6 * N, 6 * N};
    r.tokens = C / (6 * N), r.epochs = .1;
    r.val_loss = surface_at(&toy, N, r.tokens) + .002 * rng_normal(7, (uint64_t)i);
    r.val_loss_se = r.train_loss = .001, r.val_floor = 1.21, r.floor_nats = 1.2;
    strcpy(r.status, "finished"), strcpy(r.corpus_name, "synthetic");
    snprintf(r.id, sizeof r.id, "%016x", (unsigned)i);
    char path[256];
    snprintf(path, sizeof path, "%s/runs/%s/run.ini", where, r.id);
    *strrchr(path, '/') = 0;
    assert_int_equal(dir_make(path, &e), OK);
    strcat(path, "/run.ini");
    assert_int_equal(record_write(path, &r, &e), OK);
    strcpy(strrchr(path, '/'), "/curve.tsv");
    assert_int_equal(out_open(&o, path, &e), OK);
    fputs("step\ttokens\tflops\tlr\ttrain_loss\tval_loss\n", o.f);
    for (int k = 1; k <= 100; k++) {
      double D = r.tokens * k / 100;
      fprintf(o.f, "%d\t%.17g\t%.17g\t0\t%.17g\t\n", k, D, 6 * N * D, surface_at(&toy, N, D) + .05 * (1 - k / 100.));
    }
    assert_int_equal(out_commit(&o, &e), OK);
  }
}

static void curves_surface_floor_and_selftest_are_shown(void **state) {
  (void)state;
  Err e;
  char whole[64], made[64];
  strcpy(whole, dir);
  snprintf(made, sizeof made, "%s/made", whole);
  write_curves(made);
  if (report_study(made, 5, 0, NULL, &e)) fail_msg("%s", e.msg);
  strcpy(dir, made);
  char *page = slurp("report.html"), *fits = slurp("fits.csv"), *lines = slurp("figures/fig4_contours.csv"),
       *envelope = slurp("figures/fig2_envelope.csv");
  strcpy(dir, whole);
  for (const char *const *id = (const char *const[]){"fig2", "fig3", "fig4", "selftest", "floor", NULL}; *id; id++) {
    char want[32];
    snprintf(want, sizeof want, " id=\"%s\"", *id);
    if (!strstr(page, want)) fail_msg("not on the page: %s", want);
  }
  assert_non_null(strstr(page, "entropy is 1.2000 nats"));
  assert_null(strstr(page, "rgb("));
  assert_near(number_after(fits, "\ndata,total/exact,val_floor,"), 1.21, 0);
  assert_near(number_after(fits, "\ndata,total/exact,selftest_draws,"), 5, 0);
  double covered = number_after(fits, "\n2,total/exact,selftest_coverage_a,");
  assert_true(covered >= 0 && covered <= 1 && fabs(covered * 5 - round(covered * 5)) < 1e-9);
  // A contour is a line of equal loss: of the fitted surface, at C = 6ND.
  Surface s = {number_after(fits, "\n3,total/exact,E,"), number_after(fits, "\n3,total/exact,A,"),
               number_after(fits, "\n3,total/exact,B,"), number_after(fits, "\n3,total/exact,alpha,"),
               number_after(fits, "\n3,total/exact,beta,")};
  int n = 0, used = 0;
  for (char *at = strchr(lines, '\n'); at; at = strchr(at + 1, '\n')) {
    double L, N, C;
    if (sscanf(at + 1, "%lf,%lf,%lf", &L, &N, &C) == 3 && at[1] != '\n')
      assert_near(surface_at(&s, N, C / (6 * N)), L, 1e-6), n++;
  }
  assert_true(n > 300);
  for (char *at = strchr(envelope, '\n'); at; at = strchr(at + 1, '\n')) {
    int yes;
    if (sscanf(at + 1, "%*f,%*f,%*f,%*f,%*[^,],%d", &yes) == 1) used += yes;
  }
  assert_near(number_after(fits, "\n1,total/exact,points_used,"), used, 0);
  free(page), free(fits), free(lines), free(envelope);
}

static void draws_are_checked(void **state) {
  (void)state;
  char *bad[] = {"fit", "--selftest", "many", dir}, *few[] = {"fit", "--selftest", "-1", dir},
       *end[] = {"fit", dir, "--selftest"};
  assert_int_equal(fit_main(4, bad), E_USAGE);
  assert_int_equal(fit_main(4, few), E_USAGE);
  assert_int_equal(fit_main(3, end), E_USAGE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fits_csv_holds_the_laws),
      cmocka_unit_test(page_is_whole_and_offline),
      cmocka_unit_test(same_bytes_again),
      cmocka_unit_test(marks_lie_on_points),
      cmocka_unit_test(missing_gnuplot_is_one_line),
      cmocka_unit_test(broken_script_is_named),
      cmocka_unit_test(bad_records_are_named),
      cmocka_unit_test(one_run_is_reported),
      cmocka_unit_test(curves_surface_floor_and_selftest_are_shown),
      cmocka_unit_test(draws_are_checked),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
