// test_report.c: from records on disk to fits.csv, figures and the page.
#include "figures.h"
#include "made.h"

// Five budgets of seven sizes a factor 4 either way of the middle one; C = 6ND.
enum { SIZES = 7, RUNS = 5 * SIZES };

static Record run_of(int i, const char *corpus) {
  const double C = 1e11 * pow(4, i / SIZES), N = .08 * sqrt(C) * exp(log(4) * (i % SIZES - 3) / 3);
  Record r = {.params = {.total = N, .nonemb = N}, .flops_per_token = {6 * N, 6 * N, 6 * N, 6 * N},
              .tokens = C / (6 * N), .epochs = .1, .val_loss_se = .001, .train_loss = .001, .floor_nats = NAN,
              .val_floor = NAN, .status = "finished", .cpu = "a cpu"};
  config_defaults(&r.cfg);
  r.cfg.budget = C;
  strcpy(r.corpus_name, corpus);
  snprintf(r.id, sizeof r.id, "%016x", (unsigned)i);
  return r;
}

// On exact parabolas; run 3 diverged for a reason that must be escaped, run 4 repeated its corpus.
static int setup(void **state) {
  if (folder_make(state)) return -1;
  for (int i = 0; i < RUNS; i++) {
    Record r = run_of(i, "english");
    const double N = r.params.total, u = log(4) * (i % SIZES - 3) / 3;
    r.params.nonemb = N / 2, r.flops_per_token = (Flops){6 * N, 5 * N, 6 * N, 3 * N};
    r.val_loss = 2 - .15 * (i / SIZES) + .05 * u * u;
    if (i == 3) r.val_loss = NAN, strcpy(r.status, "diverged"), strcpy(r.reason, "loss <nan> & gone");
    if (i == 4) r.epochs = 1.5;
    write_run(folder, &r);
  }
  return 0;
}

static char *reported(const char *study, int draws) {
  Err e;
  if (report_study(study, draws, 0, NULL, &e)) fail_msg("%s", e.msg);
  char page[1200];
  snprintf(page, sizeof page, "%s/report.html", study);
  return slurp(page);
}

UNIT(fits_csv_holds_the_laws) {
  Err e;
  assert_int_equal(fit_study(folder, 0, NULL, &e), OK);
  char *text = slurp(in("fits.csv"));
  assert_true(!strncmp(text, "approach,convention,quantity,value,p10,p90\n", 43));
  assert_near(number_at(text, "\n2,total/exact,a,", 0), .5, 1e-9);
  assert_near(number_at(text, "\n2,total/exact,N_opt@4e11,", 0) / (.08 * sqrt(4e11)), 1, 1e-9);
  free(text);
  text = slurp(in("tables/excluded.csv"));
  assert_non_null(strstr(text, "0000000000000003,100000000000,"));
  assert_non_null(strstr(text, "no,\"diverged: loss <nan> & gone\""));
  assert_non_null(strstr(text, "yes,\"more than one epoch"));
  free(text);
}

UNIT(page_is_whole_and_offline) {
  char *page = reported(folder, 0);
  assert_non_null(strstr(page, "C<sup>0.500</sup>"));
  assert_non_null(strstr(page, "loss &lt;nan&gt; &amp; gone"));
  assert_null(strstr(page, "<nan>"));
  // Nothing is fetched: the only http addresses are names of XML namespaces, and the page drops those of its drawings.
  static const char *const fetched[] = {"http", "src=", "<img"};
  for (int i = 0; i < COUNT(fetched); i++) assert_null(strstr(page, fetched[i]));
  // In Fig 1 34 points, in Fig 3 as many and 2 x 5 minima, in Fig 4 34 points twice: each a link to a row that exists.
  assert_true(page_checked(page) >= 34 + 34 + 10 + 2 * 34);
  int marks = 0;
  for (const char *s = page; (s = strstr(s, "<a href=\"#")) != NULL; s++)
    marks += !strncmp(strchr(s, '>'), "><circle", 8);
  assert_int_equal(marks, 34 + 34 + 10 + 2 * 34);
  assert_non_null(strstr(page, "var(--r0)"));
  free(page);
  static const char *const files[] = {"fig3.svg", "fig3.png", "fig3.pdf", "fig3_valleys.svg", "fig3_points.csv"};
  for (int i = 0; i < COUNT(files); i++) free(slurp(in("figures/%s", files[i])));
}

UNIT(same_bytes_again) {
  static const char *const files[] = {"fits.csv", "report.html", "figures/fig3.svg", "figures/fig3_laws.csv",
                                      "tables/budgets.csv"};
  char *before[COUNT(files)];
  free(reported(folder, 0));
  for (int i = 0; i < COUNT(files); i++) before[i] = slurp(in("%s", files[i]));
  free(reported(folder, 0));
  for (int i = 0; i < COUNT(files); i++) {
    char *after = slurp(in("%s", files[i]));
    assert_string_equal(before[i], after);
    free(after), free(before[i]);
  }
}

// The link lies over the point: gnuplot's own circle and ours agree to a pixel.
UNIT(marks_lie_on_points) {
  char *page = reported(folder, 0), *svg = slurp(in("figures/fig3_valleys.svg"));
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

UNIT(missing_gnuplot_is_one_line) {
  Err e;
  char *path = strdup(getenv("PATH"));
  unlink(in("fits.csv"));
  setenv("PATH", "/nonexistent", 1);
  const int code = report_study(folder, 0, 0, NULL, &e);
  setenv("PATH", path, 1);
  free(path);
  assert_refused(code, &e, E_IO, "gnuplot-nox");
  assert_true(file_exists(in("fits.csv")));
}

UNIT(broken_script_is_named) {
  Err e;
  write_text(in("bad.gp"), "set terminal dumb\nplot sin(x\n");
  assert_refused(figures_gnuplot(folder, "bad.gp", &e), &e, E_IO, "bad.gp");
  assert_non_null(strstr(e.msg, "line 2"));
}

UNIT(bad_records_are_named) {
  Err e;
  assert_int_equal(dir_make(in("runs/damaged"), &e), OK);
  write_text(in("runs/damaged/run.ini"), "[result]\nstatus = fin");
  char *text = NULL;
  size_t len;
  FILE *f = open_memstream(&text, &len);
  assert_int_equal(fit_study(folder, 0, f, &e), OK);
  fclose(f);
  assert_non_null(strstr(text, "damaged/run.ini"));
  assert_non_null(strstr(text, "C^0.500"));
  free(text);
  unlink(in("runs/damaged/run.ini"));

  assert_refused(fit_study("/nonexistent", 0, NULL, &e), &e, E_RECORD, "/nonexistent");
  assert_int_equal(dir_make(in("empty/runs"), &e), OK);
  assert_refused(fit_study(in("empty"), 0, NULL, &e), &e, E_RECORD, "no run record");
}

// Reports honestly on whatever part has been run: one run, no budget that can be fitted.
UNIT(one_run_is_reported) {
  Record r;
  Err e;
  assert_int_equal(record_read(in("runs/%016x/run.ini", 0), &r, &e), OK);
  write_run(in("part"), &r);
  char *page = reported(in("part"), 0);
  assert_non_null(strstr(page, "No power law yet"));
  assert_non_null(strstr(page, "too few sizes"));
  free(page);
}

// Losses and training curves of a known surface, on a corpus whose floor is known.
static const Surface toy = {1.2, 30, 50, .35, .33};
static void write_curves(const char *study) {
  enum { POINTS = 100 };
  for (int i = 0; i < RUNS; i++) {
    Record r = run_of(i, "synthetic");
    double loss[POINTS];
    r.cfg.batch_tokens = 256, r.val_floor = 1.21, r.floor_nats = 1.2;
    r.val_loss = surface_at(&toy, r.params.total, r.tokens) + .002 * rng_normal(7, (uint64_t)i);
    for (int k = 0; k < POINTS; k++) {
      const double at = (k + 1.) / POINTS;
      loss[k] = surface_at(&toy, r.params.total, at * r.tokens) + .05 * (1 - at);
    }
    write_run(study, &r);
    write_curve(study, &r, loss, POINTS);
  }
}

UNIT(curves_surface_floor_and_selftest_are_shown) {
  static const char *const ids[] = {"fig2", "fig3", "fig4", "selftest", "floor"};
  write_curves(in("made"));
  char *page = reported(in("made"), 5), *fits = slurp(in("made/fits.csv")),
       *lines = slurp(in("made/figures/fig4_contours.csv")), *envelope = slurp(in("made/figures/fig2_envelope.csv"));
  assert_on_page(page, ids, COUNT(ids));
  page_checked(page);
  assert_non_null(strstr(page, "entropy is 1.2000 nats"));
  assert_near(number_at(fits, "\ndata,total/exact,val_floor,", 0), 1.21, 0);
  assert_near(number_at(fits, "\ndata,total/exact,selftest_draws,", 0), 5, 0);
  double covered = number_at(fits, "\n2,total/exact,selftest_coverage_a,", 0);
  assert_true(covered >= 0 && covered <= 1 && fabs(covered * 5 - round(covered * 5)) < 1e-9);
  // A contour is a line of equal loss: of the fitted surface, at C = 6ND.
  Surface s = {number_at(fits, "\n3,total/exact,E,", 0), number_at(fits, "\n3,total/exact,A,", 0),
               number_at(fits, "\n3,total/exact,B,", 0), number_at(fits, "\n3,total/exact,alpha,", 0),
               number_at(fits, "\n3,total/exact,beta,", 0)};
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
  assert_near(number_at(fits, "\n1,total/exact,points_used,", 0), used, 0);
  free(page), free(fits), free(lines), free(envelope);
}

UNIT(draws_are_checked) {
  char *bad[] = {"fit", "--selftest", "many", folder}, *few[] = {"fit", "--selftest", "-1", folder},
       *end[] = {"fit", folder, "--selftest"};
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
  return cmocka_run_group_tests(tests, setup, folder_remove);
}
