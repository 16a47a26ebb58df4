// made.h: a study that nobody trained. In: records, losses on their way. Out: the files that a run leaves, as
// src/train.c names them; and what every report's page must be.
#ifndef ISOFLOP_MADE_H
#define ISOFLOP_MADE_H
#include "record.h"
#include "testing.h"

// STUDY/runs/<id>/run.ini
SHARED void write_run(const char *study, const Record *r) {
  Err e;
  char path[1200];
  snprintf(path, sizeof path, "%s/runs/%s", study, r->id);
  assert_int_equal(dir_make(path, &e), OK);
  strcat(path, "/run.ini");
  assert_int_equal(record_write(path, r, &e), OK);
}

// And beside it curve.tsv: the training loss at each n-th part of the run's tokens.
SHARED void write_curve(const char *study, const Record *r, const double loss[], int n) {
  Err e;
  OutFile o;
  char path[1200];
  snprintf(path, sizeof path, "%s/runs/%s/curve.tsv", study, r->id);
  assert_int_equal(out_open(&o, path, &e), OK);
  fputs("step\ttokens\tflops\tlr\ttrain_loss\tval_loss\n", o.f);
  for (int k = 1; k <= n; k++) {
    const double D = r->tokens * k / n;
    fprintf(o.f, "%d\t%.17g\t%.17g\t0\t%.17g\t\n", k, D, D * r->flops_per_token.exact, loss[k - 1]);
  }
  assert_int_equal(out_commit(&o, &e), OK);
}

// Every link within the page leads to an id that is there, every colour of a drawing to the page's theme, and no id
// stands twice. How many links there are.
SHARED int page_checked(const char *page) {
  int links = 0;
  char id[96];
  for (const char *s = page; (s = strstr(s, "href=\"#")) != NULL; links++) {
    s += 7;
    snprintf(id, sizeof id, "id=\"%.*s\"", (int)strcspn(s, "\""), s);
    if (!strstr(page, id)) fail_msg("a link leads nowhere: %s", id);
  }
  for (const char *s = page; (s = strstr(s, " id=")) != NULL; s += 5) {
    snprintf(id, sizeof id, "%.*s", (int)(strcspn(s + 5, "'\"") + 6), s);
    if (strstr(s + 5, id)) fail_msg("twice on the page: %s", id);
  }
  assert_null(strstr(page, "rgb("));
  return links;
}

SHARED void assert_on_page(const char *page, const char *const ids[], int n) {
  for (int i = 0; i < n; i++) {
    char want[48];
    snprintf(want, sizeof want, " id=\"%s\"", ids[i]);
    if (!strstr(page, want)) fail_msg("not on the page: %s", want);
  }
}
#endif
