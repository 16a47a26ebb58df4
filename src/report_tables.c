// report_tables.c: what the fits say, as tables: exponents, self-test, surface, floor, budgets.
//
// In: a fitted study. Out: HTML. The invariant: every number stands in a CSV at full precision, and the paper's beside.
#include "report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

// Ours and the paper's, or nothing where it has none: "0.451 (0.439 to 0.462)".
static void put_interval(FILE *f, const Interval *v, bool bold) {
  if (!v || isnan(v->value)) {
    fputs("<td></td><td></td>", f);
    return;
  }
  fprintf(f, bold ? "<td><b>%.3f</b></td>" : "<td class=\"p\">%.2f</td>", v->value);
  if (isnan(v->p10))
    fputs(bold ? "<td></td>" : "<td class=\"p\"></td>", f);
  else
    fprintf(f, bold ? "<td>%.3f to %.3f</td>" : "<td class=\"p\">%.3f to %.3f</td>", v->p10, v->p90);
}

static const Exponents *exponents_find(const Exponents *rows, int n, const char *approach) {
  for (int i = 0; i < n; i++)
    if (!strcmp(rows[i].approach, approach)) return &rows[i];
  return NULL;
}

// The same with the runs that from_flops leaves out: nobody shall think that they were hidden.
static void put_whole(FILE *f, const StudyFit *s) {
  if (!s->whole) return;
  Exponents rows[MAX_EXPONENTS], all[MAX_EXPONENTS];
  const int n = analysis_exponents(&s->a[0], rows), m = analysis_exponents(s->whole, all);
  const Analysis *a = &s->a[0], *w = s->whole;
  int budgets = 0;
  for (int i = 0; i < a->iso.n; i++) budgets += !a->iso.v[i].below;
  fprintf(f,
          "<div class=\"scroll\"><table id=\"all-budgets\" class=\"pairs\"><caption>Beside it, the same with the runs "
          "below %s FLOPs, which the laws leave out (<a href=\"#excluded\">why</a>). <a "
          "href=\"tables/all_budgets.csv\">all_budgets.csv</a></caption><thead><tr><th class=\"l\">Approach</th><th>a, "
          "%d budgets</th><th>10–90 %%</th><th>a, all %d</th><th>10–90 %%</th><th>b, %d budgets</th><th>10–90 "
          "%%</th><th>b, all %d</th><th>10–90 %%</th></tr></thead><tbody>\n",
          text_budget(s->parts.laws.from_flops), budgets, a->iso.n, budgets, a->iso.n);
  for (int k = 0; k < m; k++) {
    const Exponents *mine = exponents_find(rows, n, all[k].approach);
    fprintf(f, "<tr><td class=\"l\">%s</td>", all[k].title);
    put_interval(f, mine ? &mine->a : NULL, true), put_interval(f, &all[k].a, true);
    put_interval(f, mine ? &mine->b : NULL, true), put_interval(f, &all[k].b, true);
    fputs("</tr>\n", f);
  }
  fputs("</tbody></table></div>\n", f);
  if (a->surface.ok && w->surface.ok)
    fprintf(f,
            "<p class=\"note\">The runs lie %.4f nats (sd) about the surface, and %.4f about one through all budgets; the "
            "noise of a run is %.4f.</p>\n",
            surface_sd(&a->surface, &a->points), surface_sd(&w->surface, &w->points), a->noise.run);
}

int put_exponents(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  (void)dir;
  Exponents rows[MAX_EXPONENTS];
  const int n = analysis_exponents(&s->a[0], rows);
  const bool tested = s->selftest.draws > 0;
  fprintf(f,
          "<h2 id=\"table2\">Exponents</h2>\n<div class=\"scroll\"><table><caption>Table 2 of the paper: "
          "N<sub>opt</sub> = k C<sup>a</sup>, D<sub>opt</sub> = k′ C<sup>b</sup>, with 10th and 90th percentiles of %d "
          "resamples (1: studies drawn from the surface of 3; 2: residuals about the parabolas; 3: sizes of each budget; "
          "1 and 2 less their own error there, so that an interval need not lie around its value); here by %s.%s Full "
          "precision: <a href=\"fits.csv\">fits.csv</a>.</caption>\n<thead><tr><th class=\"l\">Approach</th><th>a</th>"
          "<th>10–90 %%</th><th class=\"p\">paper</th><th class=\"p\">10–90 %%</th><th>b</th><th>10–90 %%</th><th "
          "class=\"p\">paper</th><th class=\"p\">10–90 %%</th>%s</tr></thead><tbody>\n",
          RESAMPLES, s->a[0].iso.cv->title,
          tested
              ? " Bias: mean error of a in the <a href=\"#selftest\">self-test</a>; honest: how often the interval holds "
                "the true a there; 80 % is right."
              : "",
          tested ? "<th>bias of a</th><th>honest</th>" : "");
  for (int k = 0; k < n; k++) {
    const PaperLaw *paper = paper_law(rows[k].approach);
    const SelfTestRow *r = selftest_row(&s->selftest, rows[k].approach, "a");
    fprintf(f, "<tr><td class=\"l\">%s</td>", rows[k].title);
    put_interval(f, &rows[k].a, true), put_interval(f, paper ? &paper->a : NULL, false);
    put_interval(f, &rows[k].b, true), put_interval(f, paper ? &paper->b : NULL, false);
    if (r && r->draws) fprintf(f, "<td>%+.3f</td><td>%.0f %%</td>", r->bias.value, 100 * r->coverage.value);
    fputs("</tr>\n", f);
  }
  for (const PaperLaw *l = paper_laws; l->name; l++) {
    bool shown = false;
    for (int k = 0; k < n; k++) shown = shown || !strcmp(rows[k].approach, l->approach);
    if (shown) continue;
    fprintf(f, "<tr class=\"off\"><td class=\"l\">%s</td><td></td><td></td>", l->name);
    put_interval(f, &l->a, false);
    fputs("<td></td><td></td>", f);
    put_interval(f, &l->b, false);
    fputs(tested ? "<td></td><td></td></tr>\n" : "</tr>\n", f);
  }
  fputs("</tbody></table></div>\n", f);
  put_whole(f, s);
  return e->code;
}

int put_conventions(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  (void)dir;
  if (s->n < 2) return e->code;
  fputs(
      "<h2 id=\"conventions\">How far counting moves it</h2>\n<p>Nothing in the runs changes from row to row: only "
      "what "
      "is called a parameter and what a FLOP. The gap between Kaplan et al. 2020 (.73) and the paper (.50) is in part "
      "such a matter of counting (Porian et al. 2024).</p>\n<div class=\"scroll\"><table><caption>Where budgets are "
      "not "
      "level under a convention, the surface’s slope moves each run, at its size, to its budget’s mean compute. <a "
      "href=\"tables/conventions.csv\">conventions.csv</a></caption>\n<thead><tr><th class=\"l\">Counting</th><th "
      "class=\"l\">Approach</th><th>a</th><th>10–90 %</th><th>b</th><th>10–90 %</th></tr></thead><tbody>\n",
      f);
  for (int i = 0; i < s->n; i++) {
    Exponents rows[MAX_EXPONENTS];
    int n = analysis_exponents(&s->a[i], rows);
    for (int k = 0; k < n; k++) {
      fprintf(f, "<tr%s><td class=\"l\">%s</td><td class=\"l\">%s</td>", k ? "" : " class=\"top\"",
              k ? "" : s->a[i].iso.cv->title, rows[k].title);
      put_interval(f, &rows[k].a, true), put_interval(f, &rows[k].b, true);
      fputs("</tr>\n", f);
    }
  }
  fputs("</tbody></table></div>\n", f);
  return e->code;
}

int put_selftest(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  (void)dir;
  const SelfTest *t = &s->selftest;
  const SelfTestRow *a = selftest_row(t, "2", "a");
  if (!a) return e->code;
  fprintf(f,
          "<h2 id=\"trust\">Can these intervals be trusted?</h2>\n<p>%d studies were drawn from the fitted surface, on "
          "the same runs, with the "
          "noise of these (sd %.4f nats of a run, %.4f shared by the runs of a cell), and fitted in the same way. ",
          t->draws, t->run_sd, t->cell_sd);
  if (a->draws)
    fprintf(f,
            "Approach 2 was off by %+.3f in a on average, and its 80 %% interval held the true a in %.0f %% of them "
            "(%.0f to %.0f %% with the draws’ own uncertainty). ",
            a->bias.value, 100 * a->coverage.value, 100 * a->coverage.p10, 100 * a->coverage.p90);
  if (selftest_misfit(t))
    fprintf(f,
            "The runs scatter about the surface by %.4f nats, beyond that noise: the surface does not quite have their "
            "shape, and what that does to Approach 3 is not in this test. ",
            t->surface_sd);
  fputs(
      "For Approach 1 every curve keeps its shape and is moved so that it ends on the drawn loss.</p>\n"
      "<div class=\"scroll\"><table id=\"selftest\"><caption>Self-test. Error: estimate minus truth, or the logarithm "
      "of their ratio for N<sub>opt</sub>, E, A, B and G; mean, and 10th and 90th percentile. Coverage: how often the "
      "10–90 % interval (200 resamples) holds the truth; 80 % is honest. Draws: those that gave an "
      "estimate.</caption><thead><tr><th class=\"l\">Approach</th><th class=\"l\">quantity</th><th>true</th><th>mean "
      "error</th><th>10–90 %</th><th>coverage</th><th>± of it</th><th>draws</th></tr></thead><tbody>\n",
      f);
  for (int i = 0; i < t->rows; i++) {
    const SelfTestRow *r = &t->row[i];
    if (!r->draws) continue;
    fprintf(f,
            "<tr><td class=\"l\">%s</td><td class=\"l\">%s</td><td>%.4g</td><td>%+.4f</td><td>%+.4f to "
            "%+.4f</td><td><b>%.0f %%</b></td><td>%.0f to %.0f %%</td><td>%d</td></tr>\n",
            r->approach, r->quantity, r->truth, r->bias.value, r->bias.p10, r->bias.p90, 100 * r->coverage.value,
            100 * r->coverage.p10, 100 * r->coverage.p90, r->draws);
  }
  fputs("</tbody></table></div>\n", f);
  return e->code;
}

// On a corpus whose source is known E has a true value.
static void put_floor(FILE *f, const StudyFit *s) {
  Floors floors;
  if (!s->a[0].surface.ok || !study_floors(s, &floors)) return;
  Interval E = surface_interval(&s->a[0].surface, surface_quantities[0].of);
  fprintf(
      f,
      "<p id=\"floor\">The source of this corpus is known, so E has a true value. Its entropy is %.4f nats per token, "
      "and the held-out text, on which losses are measured, costs %.4f under the source itself. The fitted E is "
      "<b>%.4f</b> (10–90 %%: %.4f to %.4f), %+.4f from the latter%s.</p>\n",
      floors.source, floors.held_out, E.value, E.p10, E.p90, E.value - floors.held_out,
      E.p10 <= floors.held_out && floors.held_out <= E.p90 ? ": the interval holds it" : ", outside the interval");
}

static void put_parameters(FILE *f, const Analysis *a) {
  const SurfaceFit *x = &a->surface;
  if (!x->ok) return;
  fprintf(f,
          "<p>L(N, D) = E + A / N<sup>α</sup> + B / D<sup>β</sup> through %d runs, by the paper’s "
          "Huber loss (threshold 10<sup>−3</sup> in log loss) from its %d starts.</p>\n",
          x->runs, SURFACE_STARTS);
  fputs(
      "<div class=\"scroll\"><table><thead><tr><th class=\"l\"></th><th>E</th><th>A</th><th>B</th><th>α</th><th>β</th>"
      "<th>a = β/(α+β)</th><th>b</th><th>G</th></tr></thead><tbody>\n<tr><td class=\"l\"><b>this fit</b></td>",
      f);
  for (int i = 0; i < SURFACE_QUANTITIES; i++) fprintf(f, "<td><b>%.6g</b></td>", surface_quantities[i].of(&x->s));
  fputs("</tr>\n<tr><td class=\"l\">10–90 %</td>", f);
  for (int i = 0; i < SURFACE_QUANTITIES; i++) {
    Interval v = surface_interval(x, surface_quantities[i].of);
    fprintf(f, "<td>%.3g to %.3g</td>", v.p10, v.p90);
  }
  const struct {
    const char *name;
    const Surface *s;
  } rows[] = {{"variable projection", &a->varpro.s},
              {"mean of Huber terms, SciPy’s default stop", &x->early},
              {"Hoffmann et al. 2022", &paper_surface}};
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
    fprintf(f, "</tr>\n<tr class=\"off\"><td class=\"l\">%s</td>", rows[k].name);
    for (int i = 0; i < SURFACE_QUANTITIES; i++) fprintf(f, "<td>%.6g</td>", surface_quantities[i].of(rows[k].s));
  }
  fprintf(f,
          "</tr>\n</tbody></table></div>\n<p class=\"note\">Convergence: largest element of the gradient %.1e of its "
          "unit; condition number of the Hessian %.2g in the published parameters, %.2g centred; %d of %d starts reach "
          "this "
          "minimum, %d of them from inside the grid of starts%s. Objective %.8g; where L-BFGS "
          "on the mean of the terms with SciPy’s default stopping test ends: %.8g.</p>\n",
          x->gradient, x->condition, x->condition_centred, x->agree, SURFACE_STARTS, x->agree_inside,
          x->agree_inside ? "" : ": only starts on its edge, so a wider grid is needed", x->objective,
          x->early_objective);
}

static void put_valleys(FILE *f, const Analysis *a) {
  fputs(
      "<div class=\"scroll\"><table><caption>The minimum of each valley; surface: the optimum of "
      "Approach 3 at the same compute; D/N in tokens per "
      "parameter. Residual: sd of the runs about their parabola. Cubic: t-value of a cubic term; "
      "beyond ±2 the valley leans and its vertex is biased. <a href=\"tables/budgets.csv\">budgets.csv</a></caption>\n"
      "<thead><tr><th "
      "class=\"l\">FLOPs</th><th>runs</th><th>sizes</th><th>sampled</th><th>N<sub>opt</sub></th><th>10–90 "
      "%</th><th>surface</th><th>D<sub>opt</sub></th><th>10–90 %</th>"
      "<th>D/N</th><th>loss</th><th>R²</th><th>residual</th><th>cubic</th><th "
      "class=\"l\">flag</th></tr></thead><tbody>\n",
      f);
  for (int i = 0; i < a->iso.n; i++) {
    const Valley *v = &a->iso.v[i];
    fprintf(f,
            "<tr id=\"budget-%d\"%s><td class=\"l\"><span class=\"dot\" style=\"background:var(",
            i, v->flag ? " class=\"off\"" : "");
    v->below ? fputs("--paper", f) : fprintf(f, "--r%d", figures_level(i, a->iso.n));
    fprintf(f, ")\"></span>%s</td><td>%d</td><td>%d</td>", text_budget(v->budget), v->runs, v->sizes);
    if (v->runs)
      fprintf(f, "<td>%s – %s</td>", text_count(v->lo), text_count(v->hi));
    else
      fputs("<td></td>", f);
    const Interval *surface = frontier_size(&a->frontier, v->C);
    const char *beside = surface ? text_count(surface->value) : "";
    if (isnan(v->n_opt.value))
      fprintf(f, "<td></td><td></td><td>%s</td><td></td><td></td><td></td><td></td>", beside);
    else {
      fprintf(f, "<td><b>%s</b></td><td>%s – %s</td><td>%s</td><td>%s</td>", text_count(v->n_opt.value),
              text_count(v->n_opt.p10), text_count(v->n_opt.p90), beside, text_count(v->d_opt.value));
      fprintf(f, "<td>%s – %s</td><td>%.1f</td><td>%.4f</td>", text_count(v->d_opt.p10), text_count(v->d_opt.p90),
              v->ratio.value, v->loss.value);
    }
    if (isnan(v->r2))
      fputs("<td></td><td></td><td></td>", f);
    else
      fprintf(f, "<td>%.3f</td><td>%.4f</td><td>%+.1f</td>", v->r2, v->sd, v->t_cubic);
    fprintf(f, "<td class=\"l\">%s</td></tr>\n", valley_flag_text[v->flag]);
  }
  fputs("</tbody></table></div>\n", f);
  if (a->points.seed_cells)
    fprintf(f,
            "<p class=\"note\">Seed noise: runs that differ by seed alone scatter by %.4f nats (sd, pooled over %d "
            "cell%s).</p>\n",
            a->points.seed_sd, a->points.seed_cells, a->points.seed_cells == 1 ? "" : "s");
}

int put_approach2(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  if (!s->a[0].points.n_budgets) return e->code;
  fputs("<h2 id=\"approach2\">Approach 2: IsoFLOP profiles</h2>\n", f);
  if (put_isoflop(f, s, dir, e)) return e->code;
  put_valleys(f, &s->a[0]);
  return e->code;
}

int put_approach3(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  if (!s->a[0].surface.ok) return e->code;
  fputs("<h2 id=\"approach3\">Approach 3: a surface</h2>\n", f);
  if (put_surface_figure(f, s, dir, e)) return e->code;
  put_parameters(f, &s->a[0]);
  put_floor(f, s);
  return e->code;
}
