// report.c: one HTML page of a study: `isoflop report DIR`.
//
// In: DIR/runs/*/run.ini. Out: what `isoflop fit` writes, DIR/figures, and DIR/report.html, which holds its drawings,
// needs no network, works without its script, follows light and dark, and prints. The invariant: every point of a
// figure links to its row in the table of runs, and every number of the page stands in a CSV at full precision. Bytes
// depend on the records alone.
#include "report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void put_summary(FILE *f, const StudyFit *s) {
  const Analysis *a = &s->a[0];
  const Points *ps = &a->points;
  double n0 = INFINITY, n1 = 0;
  int used = 0, inside = 0, fitted = 0;
  const Valley *top = NULL;
  for (int i = 0; i < ps->n; i++)
    if (ps->p[i].used || ps->p[i].below) used++, n0 = fmin(n0, ps->p[i].N), n1 = fmax(n1, ps->p[i].N);
  for (int i = 0; i < a->iso.n; i++) {
    fitted += a->iso.v[i].flag != VALLEY_FEW && !a->iso.v[i].below;
    if (a->iso.v[i].flag == VALLEY_OK) inside++, top = &a->iso.v[i];
  }
  fputs("<h1>How large should the model be?</h1>\n<p class=\"sub\">", f);
  if (s->imported)
    fputs("Runs imported from ", f), html_text(f, s->imported);
  else
    fputs("IsoFLOP study on ", f), put_distinct(f, s->records, get_corpus);
  fputs(" · after Hoffmann et al. 2022, <i>Training Compute-Optimal Large Language Models</i></p>\n<p class=\"lead\">",
        f);
  fprintf(f, "%d %s%s of %s to %s parameters", used, s->imported ? "model" : "transformer", used == 1 ? "" : "s",
          text_count(n0), text_count(n1));
  if (!s->imported) fputs(used == 1 ? " was trained from scratch" : " were trained from scratch", f);
  if (ps->n_budgets)
    fprintf(f, " at %d compute budget%s, %s to %s FLOPs", ps->n_budgets, ps->n_budgets == 1 ? "" : "s",
            text_budget(ps->budget[0]), text_budget(ps->budget[ps->n_budgets - 1]));
  fputs(". ", f);
  if (s->whole) {
    int below = 0, budgets = 0;
    for (int i = 0; i < ps->n; i++) below += ps->p[i].below;
    for (int i = 0; i < a->iso.n; i++) budgets += a->iso.v[i].below;
    fprintf(f, "The laws rest on the %d of them from %s FLOPs on; the other %d, with %d of the budgets, are <a "
               "href=\"#excluded\">left out of the laws</a> and drawn in grey. ",
            used - below, text_budget(s->parts.laws.from_flops), below, budgets);
  }
  if (a->iso.law) {
    const Interval *x = &a->iso.n_law.exponent, *y = &a->iso.d_law.exponent;
    fprintf(f,
            "The best number of parameters grew as <b>C<sup>%.3f</sup></b> (10–90 %%: %.3f to %.3f) and the best "
            "number of tokens as "
            "<b>C<sup>%.3f</sup></b> (%.3f to %.3f). The paper, at 6e18 to 3e21 FLOPs, found .49 (.462 to "
            ".534) and .51 (.483 to .529) by the same "
            "method. ",
            x->value, x->p10, x->p90, y->value, y->p10, y->p90);
    fprintf(f, "At %s FLOPs the best model has %s parameters and reads %s tokens, %.0f for each parameter. ",
            text_budget(top->budget), text_count(top->n_opt.value), text_count(top->d_opt.value), top->ratio.value);
  } else {
    fputs("No power law yet: it needs at least two budgets whose minimum lies inside the sampled sizes. ", f);
  }
  if (fitted > inside)
    fprintf(f, "Of %d valleys, %d %s no minimum well inside the sampled sizes and %s left out of the laws. ", fitted,
            fitted - inside, fitted - inside == 1 ? "has" : "have", fitted - inside == 1 ? "is" : "are");
  if (ps->n > used)
    fprintf(f, "<a href=\"#excluded\">%d run%s excluded</a>. ", ps->n - used, ps->n - used == 1 ? " is" : "s are");
  fputs("</p>\n", f);
}

// ---- The page -------------------------------------------------------------------------------------------

// Links to the sections of a body of HTML.
static void put_contents(FILE *f, const char *body) {
  static const char open[] = "<h2 id=\"";
  fputs("<nav>", f);
  for (const char *s = body; (s = strstr(s, open)) != NULL;) {
    s += strlen(open);
    const int id = (int)strcspn(s, "\"");
    const char *title = strchr(s, '>') + 1;
    fprintf(f, "<a href=\"#%.*s\">%.*s</a>\n", id, s, (int)strcspn(title, "<"), title);
  }
  fputs("</nav>\n", f);
}

static int page_write(const StudyFit *s, const char *dir, Err *e) {
  char path[1024];
  OutFile o;
  snprintf(path, sizeof path, "%s/figures", dir);
  if (dir_make(path, e)) return e->code;
  snprintf(path, sizeof path, "%s/report.html", dir);
  if (out_open(&o, path, e)) return e->code;
  put_head(o.f);
  put_summary(o.f, s);
  // The sections first, for the list of them that stands above.
  char *body;
  size_t len;
  FILE *f = text_open(&body, &len, e);
  if (!f) return out_abort(&o), e->code;
  static Section *const sections[] = {
      put_verdict,    put_exponents,  put_prediction,  put_curves, put_approach2, put_approach3, put_curvature,
      put_optima,     put_selftest,   put_conventions, put_ladder, put_corpora,   put_cosine,    put_optimizer,
      put_neighbours, put_invariance, put_precision,   put_shapes, put_excluded,  put_runs,      put_provenance};
  for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
    if (sections[i](f, s, dir, e)) break;
  if (text_close(f, e)) {
    free(body);
    out_abort(&o);
    return e->code;
  }
  put_contents(o.f, body);
  fwrite(body, 1, len, o.f);
  free(body);
  put_tail(o.f);
  return out_commit(&o, e);
}

static int report_fitted(const StudyFit *s, const char *dir, FILE *summary, Err *e) {
  if (study_write(s, dir, e) || page_write(s, dir, e)) return e->code;
  if (summary) {
    study_print(s, summary);
    fprintf(summary, "%s/report.html\n", dir);
  }
  return OK;
}

int report_study(const char *dir, int draws, double peak, FILE *summary, Err *e) {
  Records rs;
  StudyFit s;
  if (study_open(dir, &rs, &s, e)) return e->code;
  s.peak = peak;
  if (!selftest_run(&s.selftest, &s.a[0], NULL, draws, e)) report_fitted(&s, dir, summary, e);
  study_free(&s);
  records_free(&rs);
  return e->code;
}

int fit_imported(const char *file, const char *dir, int draws, FILE *summary, Err *e) {
  Records rs;
  Curves cs;
  StudyFit s;
  if (import_read(file, &rs, &cs, e)) return e->code;
  if (!study_fit(&s, &rs, &cs, e)) {
    s.imported = file;
    if (!selftest_run(&s.selftest, &s.a[0], NULL, draws, e)) report_fitted(&s, dir, summary, e);
    study_free(&s);
  }
  records_free(&rs);
  return e->code;
}
