// report.c: one HTML page of a study: `isoflop report DIR`.
//
// In: DIR/runs/*/run.ini. Out: what `isoflop fit` writes, DIR/figures, and DIR/report.html, which holds its drawings,
// needs no network and no script, follows light and dark, and prints. The invariant: every point of a figure links to
// its row in the table of runs, and every number of the page stands in a CSV at full precision. Bytes depend on the
// records alone.
#include "figures.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

// clang-format off
static const char style[] =
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;max-width:1180px;padding:2.2rem 1.2rem 4rem;background:var(--page);color:var(--ink)}\n"
    "body{font:16px/1.55 system-ui,'Segoe UI','DejaVu Sans',sans-serif}\n"
    "h1{font-size:1.75rem;line-height:1.2;margin:0 0 .3rem}\n"
    "h2{font-size:1.2rem;margin:2.6rem 0 .6rem}\n"
    "p{max-width:46rem}a{color:var(--link)}.lead{font-size:1.06rem}\n"
    ".sub,.note,caption,figcaption{color:var(--soft);font-size:.88rem}\n"
    "figure{margin:1.2rem 0}svg text{font-family:inherit}\n"
    "figure svg{display:block;width:100%;height:auto;overflow:visible}\n"
    ".pair{display:grid;grid-template-columns:1fr 1fr;gap:1rem;margin:1.4rem 0 .8rem}\n"
    "@media screen and (max-width:760px){.pair{grid-template-columns:1fr}}\n"
    ".mark{fill:transparent;stroke:none}\n"
    "a:hover .mark,a:focus .mark{stroke:var(--ink);stroke-width:1.6}\n"
    ".scroll{overflow-x:auto}\n"
    "table{border-collapse:collapse;font-size:.81rem;font-variant-numeric:tabular-nums;width:100%}\n"
    "caption{text-align:left;padding-bottom:.4rem;white-space:normal}\n"
    "th,td{padding:.26rem .5rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--grid)}\n"
    "th{font-weight:600;border-bottom-color:var(--axis)}\n"
    "td.l,th.l{text-align:left}td.w{white-space:normal;text-align:left}\n"
    "tr.off td{color:var(--soft)}tr:target td{background:var(--band)}\n"
    ".dot{display:inline-block;width:.7em;height:.7em;border-radius:50%;margin-right:.45em}\n"
    "code,pre{font-family:ui-monospace,'DejaVu Sans Mono',monospace;font-size:.86em}\n"
    "pre{background:var(--band);padding:.8rem 1rem;overflow-x:auto;border-radius:4px}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.2rem;font-size:.9rem}\n"
    "dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}\n"
    "@media print{\n"
    "body{max-width:none;padding:0;font-size:10.5pt}.lead{max-width:none}h2{break-after:avoid}\n"
    "svg,tr,pre,.pair{break-inside:avoid}figure svg{max-height:9.5cm}.scroll{overflow:visible}\n"
    "table{font-size:7.2pt}th,td{padding:.12rem .3rem}thead{display:table-header-group}pre{white-space:pre-wrap}\n"
    "}\n";
// clang-format on

static void put_theme(FILE *f, const char *selector, bool dark, int n) {
  static const char *const names[] = {"page", "ink", "soft", "axis", "grid", "paper", "band", "link"};
  static const char *const light[] = {"#ffffff", "#20242a", "#5c646d", "#70777f",
                                      "#e3e6ea", "#8a9199", "#e6ecf4", "#1a5fa8"};
  static const char *const night[] = {"#15181c", "#e6e8eb", "#a3abb4", "#8a9199",
                                      "#2b3036", "#8a9199", "#26303c", "#7db4f0"};
  fprintf(f, "%s{", selector);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) fprintf(f, "--%s:%s;", names[i], (dark ? night : light)[i]);
  for (int i = 0; i < n; i++) {
    char hex[8];
    figures_color(i, n, dark, hex);
    fprintf(f, "--c%d:%s;", i, hex);
  }
  fputs("}", f);
}

static void put_head(FILE *f, int budgets) {
  fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
        "content=\"width=device-width\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\"><title>IsoFLOP study</title>\n<style>\n",
        f);
  put_theme(f, ":root", false, budgets);
  fputs("\n@media screen and (prefers-color-scheme:dark){", f);
  put_theme(f, ":root", true, budgets);
  fprintf(f, "}\n%s</style></head><body>\n", style);
}

// ---- Summary --------------------------------------------------------------------------------------------

// Calls put for each distinct text that `get` finds among the records, in order of first appearance.
typedef const char *(*GetText)(const Record *);
static void put_distinct(FILE *f, const Records *rs, GetText get) {
  int n = 0;
  for (int i = 0; i < rs->n; i++) {
    bool seen = false;
    for (int j = 0; j < i && !seen; j++) seen = !strcmp(get(&rs->r[j]), get(&rs->r[i]));
    if (seen) continue;
    fputs(n++ ? "; " : "", f);
    html_text(f, *get(&rs->r[i]) ? get(&rs->r[i]) : "unknown");
  }
}
static const char *get_corpus(const Record *r) { return r->corpus_name; }
static const char *get_hash(const Record *r) { return r->corpus_hash; }
static const char *get_commit(const Record *r) { return r->commit; }
static const char *get_cpu(const Record *r) { return r->cpu; }
static const char *get_kernels(const Record *r) { return r->kernels; }
static const char *get_compiler(const Record *r) { return r->compiler; }

static void put_summary(FILE *f, const StudyFit *s) {
  const Analysis *a = &s->a[0];
  const Points *ps = &a->points;
  double n0 = INFINITY, n1 = 0;
  int used = 0, inside = 0, fitted = 0;
  const Valley *top = NULL;
  for (int i = 0; i < ps->n; i++)
    if (ps->p[i].used) used++, n0 = fmin(n0, ps->p[i].N), n1 = fmax(n1, ps->p[i].N);
  for (int i = 0; i < a->iso.n; i++) {
    fitted += a->iso.v[i].flag != VALLEY_FEW;
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

// ---- Tables ---------------------------------------------------------------------------------------------

static void put_exponents(FILE *f, const StudyFit *s) {
  fputs(
      "<h2>Exponents</h2>\n<div class=\"scroll\"><table><caption>Table 2 of the paper, and how far counting moves it: "
      "N<sub>opt</sub> = k C<sup>a</sup>, D<sub>opt</sub> = k′ C<sup>b</sup>, with 10th and 90th percentiles of 1,000 "
      "bootstrap resamples by run within each budget (of residuals for 2). Full precision: <a "
      "href=\"fits.csv\">fits.csv</a>, <a href=\"tables/conventions.csv\">conventions.csv</a>. Where budgets are not "
      "level under a convention, the surface’s slope moves each run, at its size, to its budget’s mean "
      "compute.</caption>\n"
      "<thead><tr><th class=\"l\">Approach</th><th class=\"l\">Counting</th><th>a</th><th>10–90 "
      "%</th><th>b</th><th>10–90 %</th></tr></thead><tbody>\n",
      f);
  for (int i = 0; i < s->n; i++) {
    Exponents rows[MAX_EXPONENTS];
    int n = analysis_exponents(&s->a[i], rows);
    for (int k = 0; k < n; k++)
      fprintf(f,
              "<tr><td class=\"l\">%s</td><td class=\"l\">%s</td><td><b>%.3f</b></td><td>%.3f to "
              "%.3f</td><td><b>%.3f</b></td><td>%.3f to %.3f</td></tr>\n",
              rows[k].title, s->a[i].iso.cv->title, rows[k].a.value, rows[k].a.p10, rows[k].a.p90, rows[k].b.value,
              rows[k].b.p10, rows[k].b.p90);
  }
  static const char *const paper[][5] = {{"1 envelope", ".50", ".488 to .502", ".50", ".501 to .512"},
                                         {"2 IsoFLOP", ".49", ".462 to .534", ".51", ".483 to .529"},
                                         {"3 surface", ".46", ".454 to .455", ".54", ".542 to .543"}};
  for (size_t i = 0; i < sizeof paper / sizeof *paper; i++)
    fprintf(f,
            "<tr class=\"off\"><td class=\"l\">%s</td><td class=\"l\">Hoffmann et al. 2022, Table "
            "2</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n",
            paper[i][0], paper[i][1], paper[i][2], paper[i][3], paper[i][4]);
  fputs("<tr class=\"off\"><td class=\"l\"></td><td class=\"l\">Kaplan et al. "
        "2020</td><td>.73</td><td></td><td>.27</td><td></td></tr>\n</tbody></table></div>\n",
        f);
}

static void put_selftest(FILE *f, const SelfTest *t) {
  const SelfTestRow *a = selftest_row(t, "2", "a");
  if (!a) return;
  fprintf(
      f,
      "<p>Can these intervals be trusted? %d studies were drawn from the fitted surface, on the same runs, with the "
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
      "Approach 1 is left out of this test: it reads whole training curves, and a surface of final losses has none to "
      "draw from.</p>\n"
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

static void put_surface(FILE *f, const Analysis *a) {
  const SurfaceFit *x = &a->surface;
  if (!x->ok) return;
  fprintf(
      f,
      "<h2>The surface</h2>\n<p>L(N, D) = E + A / N<sup>α</sup> + B / D<sup>β</sup> through %d runs, by the paper’s "
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
  // log A, log B, log E, alpha and beta as in the source of the paper, since rounding moves the frontier.
  const Surface paper = {exp(.5267228), exp(6.0073404), exp(6.0179186), .33917084, .2849083};
  const struct {
    const char *name;
    const Surface *s;
  } rows[] = {{"variable projection", &a->varpro.s},
              {"mean of Huber terms, SciPy’s default stop", &x->early},
              {"Hoffmann et al. 2022", &paper}};
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

static void put_budgets(FILE *f, const Analysis *a) {
  fputs(
      "<h2>Budgets</h2>\n<div class=\"scroll\"><table><caption>The minimum of each valley; surface: the optimum of "
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
            "<tr id=\"budget-%d\"%s><td class=\"l\"><span class=\"dot\" "
            "style=\"background:var(--c%d)\"></span>%s</td><td>%d</td><td>%d</td>",
            i, v->flag ? " class=\"off\"" : "", i, text_budget(v->budget), v->runs, v->sizes);
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

static void put_excluded(FILE *f, const StudyFit *s) {
  const Points *ps = &s->a[0].points;
  int out = 0, repeats = 0;
  for (int i = 0; i < ps->n; i++) out += !ps->p[i].used, repeats += ps->p[i].used && ps->p[i].repeats;
  fputs("<h2 id=\"excluded\">What was left out, and why</h2>\n", f);
  if (!out)
    fputs("<p>No run was excluded.</p>\n", f);
  else {
    fputs("<div class=\"scroll\"><table><caption><a "
          "href=\"tables/excluded.csv\">excluded.csv</a></caption><thead><tr><th "
          "class=\"l\">run</th><th>FLOPs</th><th>parameters</th><th class=\"l\">why</th></tr></thead><tbody>\n",
          f);
    for (int i = 0; i < ps->n; i++) {
      const Point *p = &ps->p[i];
      if (p->used) continue;
      fprintf(f,
              "<tr><td class=\"l\"><a href=\"#run-%s\"><code>%s</code></a></td><td>%s</td><td>%s</td><td class=\"w\">",
              p->run->id, p->run->id, text_budget(p->run->cfg.budget), text_count(p->run->params.total));
      html_text(f, p->why_not);
      fputs("</td></tr>\n", f);
    }
    fputs("</tbody></table></div>\n", f);
  }
  if (repeats)
    fprintf(f, "<p>%d run%s saw more than one epoch of the corpus: used in the fits, drawn as open circles.</p>\n",
            repeats, repeats == 1 ? "" : "s");
  if (s->records->n_bad) {
    fprintf(f, "<p>%d record%s could not be read. The first: ", s->records->n_bad, s->records->n_bad == 1 ? "" : "s");
    html_text(f, s->records->first_bad);
    fputs("</p>\n", f);
  }
}

// Of imported runs only this much is known.
static void put_imported(FILE *f, const Points *ps) {
  fputs("<h2>All runs</h2>\n<div class=\"scroll\"><table><caption>Named by their rows in the "
        "file.</caption><thead><tr><th "
        "class=\"l\">run</th><th>FLOPs</th><th>parameters</th><th>tokens</th><th>loss</th></tr></thead><tbody>\n",
        f);
  for (int i = 0; i < ps->n; i++) {
    const Point *p = &ps->p[i];
    fprintf(
        f,
        "<tr id=\"run-%s\"><td class=\"l\"><code>%s</code></td><td>%.4g</td><td>%s</td><td>%s</td><td>%.4f</td></tr>\n",
        p->run->id, p->run->id, p->C, text_count(p->N), text_count(p->D), p->L);
  }
  fputs("</tbody></table></div>\n", f);
}

static void put_runs(FILE *f, const Points *ps) {
  fputs("<h2>All runs</h2>\n<div class=\"scroll\"><table><caption><a href=\"runs.csv\">runs.csv</a> has every "
        "column.</caption><thead><tr><th class=\"l\">run</th><th class=\"l\">status</th>"
        "<th>FLOPs</th><th>width</th><th>layers</th><th>heads</th><th>parameters</th><th>tokens</th><th>steps</"
        "th><th>batch</th><th>rate</th><th>seed</th><th>epochs</th><th>loss</th><th>± se</th>"
        "<th>train</th><th>seconds</th></tr></thead><tbody>\n",
        f);
  for (int i = 0; i < ps->n; i++) {
    const Record *r = ps->p[i].run;
    fprintf(f, "<tr id=\"run-%s\"%s><td class=\"l\"><code>%s</code></td><td class=\"l\">%s</td><td>%s</td>", r->id,
            ps->p[i].used ? "" : " class=\"off\"", r->id, r->status, text_budget(r->cfg.budget));
    fprintf(f,
            "<td>%d</td><td>%d</td><td>%d</td><td>%s</td><td>%s</td><td>%d</td><td>%d</td><td>%.3g</td><td>%d</"
            "td><td>%.2f</td>",
            r->cfg.d_model, r->cfg.n_layers, r->cfg.n_heads, text_count(r->params.total), text_count(r->tokens),
            r->steps, r->cfg.batch_tokens, r->cfg.lr, r->cfg.seed, r->epochs);
    const double loss[] = {r->val_loss, r->val_loss_se, r->train_loss};
    for (int j = 0; j < 3; j++) isfinite(loss[j]) ? fprintf(f, "<td>%.4f</td>", loss[j]) : fprintf(f, "<td>-</td>");
    fprintf(f, "<td>%.1f</td></tr>\n", r->seconds);
  }
  fputs("</tbody></table></div>\n", f);
}

static void put_provenance(FILE *f, const StudyFit *s) {
  const Points *ps = &s->a[0].points;
  double flops = 0, seconds = 0;
  for (int i = 0; i < s->records->n; i++) {
    const Record *r = &s->records->r[i];
    if (isfinite(r->tokens * r->flops_per_token.exact)) flops += r->tokens * r->flops_per_token.exact;
    if (isfinite(r->seconds)) seconds += r->seconds;
  }
  fputs("<h2>Where it comes from</h2>\n<dl>\n", f);
  const struct {
    const char *name;
    GetText get;
  } rows[] = {{"corpus", get_corpus},   {"corpus hash", get_hash}, {"processor", get_cpu},
              {"kernels", get_kernels}, {"commit", get_commit},  {"compiler", get_compiler}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    fprintf(f, "<dt>%s</dt><dd>", rows[i].name);
    put_distinct(f, s->records, rows[i].get);
    fputs("</dd>\n", f);
  }
  fprintf(f, "<dt>training</dt><dd>%.4g exact FLOPs in %.0f core-seconds</dd>\n</dl>\n", flops, seconds);
  const Point *example = NULL;
  for (int i = 0; i < ps->n && !example; i++)
    if (ps->p[i].used) example = &ps->p[i];
  if (!example) return;
  fprintf(f,
          "<h2>Run one again</h2>\n<p>A record holds all that determines its run. In the study’s folder, with the "
          "run’s name from the table above, for instance <code>%s</code>:</p>\n"
          "<pre>isoflop train --config runs/%s/run.ini --out again\ndiff runs/%s/run.ini again/run.ini</pre>\n"
          "<p>The same program on the same kernels gives the same bytes, all but the seconds and the checksum over "
          "them, for any number of "
          "threads.</p>\n",
          example->run->id, example->run->id, example->run->id);
}

// ---- The page -------------------------------------------------------------------------------------------

static int page_write(const StudyFit *s, const char *dir, const Panel *panels, Err *e) {
  char path[1024];
  OutFile o;
  snprintf(path, sizeof path, "%s/report.html", dir);
  if (out_open(&o, path, e)) return e->code;
  put_head(o.f, s->a[0].iso.n);
  put_summary(o.f, s);
  if (report_figures(o.f, s, dir, panels, e)) {
    out_abort(&o);
    return e->code;
  }
  put_exponents(o.f, s);
  put_selftest(o.f, &s->selftest);
  put_surface(o.f, &s->a[0]);
  put_floor(o.f, s);
  put_budgets(o.f, &s->a[0]);
  put_excluded(o.f, s);
  if (s->imported) {
    put_imported(o.f, &s->a[0].points);
  } else {
    put_runs(o.f, &s->a[0].points);
    put_provenance(o.f, s);
  }
  fputs("</body></html>\n", o.f);
  return out_commit(&o, e);
}

static int report_fitted(const StudyFit *s, const char *dir, FILE *summary, Err *e) {
  Panel panels[FIG3_PANELS];
  if (study_write(s, dir, e) || (s->a[0].points.n_budgets && figures_isoflop(s, dir, panels, e)) ||
      page_write(s, dir, panels, e))
    return e->code;
  if (summary) {
    study_print(s, summary);
    fprintf(summary, "%s/report.html\n", dir);
  }
  return OK;
}

int report_study(const char *dir, int draws, FILE *summary, Err *e) {
  Records rs;
  StudyFit s;
  if (study_open(dir, &rs, &s, e)) return e->code;
  if (!selftest_run(&s.selftest, &s.a[0], draws, e)) report_fitted(&s, dir, summary, e);
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
    if (!selftest_run(&s.selftest, &s.a[0], draws, e)) report_fitted(&s, dir, summary, e);
    study_free(&s);
  }
  records_free(&rs);
  return e->code;
}
