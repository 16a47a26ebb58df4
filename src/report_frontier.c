// report_frontier.c: what the laws foretell, beside what others foretold: Fig 1, Tables 3 and A3, and Fig A5.
//
// In: a fitted study. Out: HTML, figures and tables/table3.csv. The invariant: a line is solid where runs support it
// and dashed beyond.
#include "report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

// The laws of N_opt and D_opt that the study has, by approach.
typedef struct Law {
  const char *approach, *title;
  const PowerLaw *n, *d;
} Law;
static int laws_list(const Analysis *a, Law law[3]) {
  int n = 0;
  if (a->envelope.ok) law[n++] = (Law){"1", "Approach 1", &a->envelope.n_law, &a->envelope.d_law};
  if (a->iso.law) law[n++] = (Law){"2", "Approach 2", &a->iso.n_law, &a->iso.d_law};
  if (a->frontier.law) law[n++] = (Law){"3-frontier", "Approach 3", &a->frontier.n_law, &a->frontier.d_law};
  return n;
}

static void used_range(const Points *ps, double *c0, double *c1) {
  *c0 = INFINITY, *c1 = 0;
  for (int i = 0; i < ps->n; i++)
    if (ps->p[i].used) *c0 = fmin(*c0, ps->p[i].C), *c1 = fmax(*c1, ps->p[i].C);
}

static void add_law(Plot *p, int series, const PowerLaw *l, double from, double to) {
  for (int k = 0; k <= 32; k++) {
    double C = from * pow(to / from, k / 32.);
    plot_add(p, series, C, l->k.value * pow(C, l->exponent.value));
  }
}

static void add_line(Plot *p, int series, double (*of)(double), double from, double to) {
  for (int k = 0; k <= 1; k++) plot_add(p, series, k ? to : from, of(k ? to : from));
}

static double paper_surface_size(double C) {
  const Surface *s = &paper_surface;
  return pow(s->alpha * s->A / (s->beta * s->B), 1 / (s->alpha + s->beta)) * pow(C / 6, surface_a(s));
}

static void put_models(Plot *p) {
  // Three of them crowd: labels go to either side.
  static const char *const side[] = {"right offset -.8,.2", "left offset .8,-.1", "", "left offset .8,.3",
                                     "left offset .5,-.8"};
  size_t at = 0;
  const int series = plot_series(p, PLOT_POINTS, plot_color(3), "published models");
  for (int i = 0; paper_models[i].name; i++) {
    const PaperModel *m = &paper_models[i];
    const double C = 6 * m->N * m->D;
    PlotPoint *q = plot_add(p, series, C, m->N);
    snprintf(q->note, sizeof q->note, "%s: %s parameters, %s tokens", m->name, text_count(m->N), text_count(m->D));
    if (*side[i])
      at += (size_t)snprintf(p->extra + at, sizeof p->extra - at,
                             "set label '%s%s' at %.17g,%.17g %s tc rgb '#20242a' font ',10'\n", m->name,
                             i ? "" : ", Jurassic-1", C, m->N, side[i]);
  }
}

int put_prediction(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  const Analysis *a = &s->a[0];
  Law law[3];
  const int n = laws_list(a, law);
  if (!n) return e->code;
  double c0, c1;
  used_range(&a->points, &c0, &c1);
  Plot p[2];
  plot_begin(&p[0], "fig1_near", PLOT_HALF, "Where the runs are", "Training FLOPs", "Parameters");
  plot_begin(&p[1], "fig1_far", PLOT_HALF, "And where others were", "Training FLOPs", "Parameters");
  for (int j = 0; j < 2; j++) p[j].panel.log_y = true, p[j].key = "top left";
  const int runs = plot_series(&p[0], PLOT_DOTS, "#8a9199", "runs");
  for (int i = 0; i < a->points.n; i++) {
    const Point *q = &a->points.p[i];
    if (q->used) plot_add(&p[0], runs, q->C, q->N)->run = q->run;
  }
  for (int k = 0; k < n; k++) {
    add_law(&p[0], plot_series(&p[0], PLOT_LINE, plot_color(k), "%s: C^{%.3f}", law[k].title, law[k].n->exponent.value),
            law[k].n, c0, c1);
    add_law(&p[0], plot_series(&p[0], PLOT_DASHED, plot_color(k), "%s", ""), law[k].n, c1, c1 * 10);
    add_law(&p[1], plot_series(&p[1], PLOT_LINE, plot_color(k), "%s", law[k].title), law[k].n, c0, c1);
    add_law(&p[1], plot_series(&p[1], PLOT_DASHED, plot_color(k), "%s", ""), law[k].n, c1, 1e26);
  }
  const double mid = sqrt(c0 * c1), at = law[n > 1].n->k.value * pow(mid, law[n > 1].n->exponent.value);
  const int slope = plot_series(&p[0], PLOT_DASHED, plot_color(6), "Kaplan’s slope: C^{.73}");
  for (int k = 0; k < 2; k++) plot_add(&p[0], slope, k ? c1 * 10 : c0, at * pow((k ? c1 * 10 : c0) / mid, .73));
  const int table3 = plot_series(&p[1], PLOT_LINE, "#20242a", "the paper’s Approach 1");
  for (const PaperOptimum *q = paper_table3; q->N > 0 && q->C < 2e26; q++) plot_add(&p[1], table3, q->C, q->N);
  add_line(&p[1], plot_series(&p[1], PLOT_THIN, "#20242a", "and its surface"), paper_surface_size, 6e18, 1e26);
  add_line(&p[1], plot_series(&p[1], PLOT_DASHED, plot_color(6), "Kaplan et al. 2020"), kaplan_size, 1e17, 1e25);
  put_models(&p[1]);
  p[1].panel.x0 = c0 / 4, p[1].panel.x1 = 1e29;
  if (plots_draw(p, 2, dir, "fig1", e)) goto done;
  fputs("<h2 id=\"prediction\">What it foretells</h2>\n<figure id=\"fig1\">\n", f);
  if (plots_inline(f, p, 2, dir, e)) goto done;
  fprintf(f,
          "<figcaption>Fig 1 of the paper. Left: best size against compute by each approach (dashed: beyond the runs), "
          "and every run. Right: the same lines carried %.0f orders of magnitude beyond the largest run, to the models "
          "of the paper’s day, for the eye alone: other text, other tokens, and an error of .01 in a is a factor %.1f "
          "there. ",
          log10(1e24 / c1), pow(1e24 / c1, .01));
  put_files(f, "fig1", (const char *const[]){"fig1_near", "fig1_far", NULL});
done:
  plots_free(p, 2);
  return e->code;
}

// ---- Tables 3 and A3 ----------------------------------------------------------------------------------------

// The compute for which N is best by a law, and the tokens there.
static void law_optimum(const Law *l, double N, double *C, double *D) {
  *C = pow(N / l->n->k.value, 1 / l->n->exponent.value);
  *D = l->d->k.value * pow(*C, l->d->exponent.value);
}

static void put_number(FILE *f, FILE *csv, double x, bool budget) {
  if (isfinite(x)) {
    budget ? fprintf(f, "<td>%.3g</td>", x) : fprintf(f, "<td>%s</td>", text_count(x));
    fprintf(csv, ",%.17g", x);
  } else {
    fputs("<td></td>", f), fputc(',', csv);
  }
}

int put_optima(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  static const double ours[] = {1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7};
  const Analysis *a = &s->a[0];
  Law law[3];
  const int n = laws_list(a, law);
  double lo = INFINITY, hi = 0;
  char path[1024];
  OutFile o;
  if (!n || s->imported) return e->code;
  for (int i = 0; i < a->points.n; i++)
    if (a->points.p[i].used) lo = fmin(lo, a->points.p[i].N), hi = fmax(hi, a->points.p[i].N);
  snprintf(path, sizeof path, "%s/tables/table3.csv", dir);
  if (out_open(&o, path, e)) return e->code;
  fputs("<h2 id=\"table3\">For which compute is a size the best?</h2>\n<div class=\"scroll\"><table><caption>Tables 3 "
        "and "
        "A3 of the paper: training FLOPs and tokens for which a model of N parameters is the best. Rows in grey lie "
        "beyond the sizes of this study; the paper’s own sizes follow, with its Table 3 (Approach 1) and its surface "
        "(from the unrounded parameters, C = 6ND). <a href=\"tables/table3.csv\">table3.csv</a></caption><thead><tr>"
        "<th>N</th>",
        f);
  fputs("N", o.f);
  for (int k = 0; k < n; k++)
    fprintf(f, "<th>C, %s</th><th>D</th>", law[k].title), fprintf(o.f, ",C_%s,D_%s", law[k].approach, law[k].approach);
  fputs("<th class=\"p\">C, paper’s 1</th><th class=\"p\">D</th><th class=\"p\">C, paper’s 3</th><th "
        "class=\"p\">D</th></tr>"
        "</thead><tbody>\n",
        f);
  fputs(",C_paper_1,D_paper_1,C_paper_3,D_paper_3\n", o.f);
  const int mine = sizeof ours / sizeof *ours;
  for (int i = 0; i < mine || paper_table3[i - mine].N > 0; i++) {
    const PaperOptimum *paper = i < mine ? NULL : &paper_table3[i - mine];
    const double N = paper ? paper->N : ours[i];
    fprintf(f, "<tr%s><td><b>%s</b></td>", N < lo || N > hi ? " class=\"off\"" : "", text_count(N));
    fprintf(o.f, "%.17g", N);
    for (int k = 0; k < n; k++) {
      double C, D;
      law_optimum(&law[k], N, &C, &D);
      put_number(f, o.f, C, true), put_number(f, o.f, D, false);
    }
    put_number(f, o.f, paper ? paper->C : NAN, true), put_number(f, o.f, paper ? paper->D : NAN, false);
    const double C3 = 6 * pow(N / paper_surface_size(6), 1 / surface_a(&paper_surface));
    put_number(f, o.f, paper ? C3 : NAN, true), put_number(f, o.f, paper ? C3 / (6 * N) : NAN, false);
    fputs("</tr>\n", f), fputc('\n', o.f);
  }
  fputs("</tbody></table></div>\n", f);
  return out_commit(&o, e);
}

// ---- Fig A5 -------------------------------------------------------------------------------------------------

static void put_thirds(FILE *f, const Curvature *c) {
  static const char *const name[] = {"first", "middle", "last"};
  fputs(
      "<div class=\"scroll\"><table><caption>The exponent of N<sub>opt</sub> along each third, measured, and on the "
      "same "
      "grid of runs when their losses come from the fitted surface: mean and 10–90 % of the draws, whose errors the "
      "interval of the measured one takes off. <a "
      "href=\"tables/thirds.csv\">thirds.csv</a></caption><thead><tr><th class=\"l\">third</th><th>FLOPs</th><th>a</th>"
      "<th>10–90 %</th><th>its null</th><th>10–90 %</th><th>the surface itself</th></tr></thead><tbody>\n",
      f);
  for (int j = 0; j < 3; j++)
    fprintf(
        f,
        "<tr><td class=\"l\"><span class=\"dot\" style=\"background:var(--s%d)\"></span>%s</td><td>%.2g to %.2g</td>"
        "<td><b>%.3f</b></td><td>%.3f to %.3f</td><td>%.3f</td><td>%.3f to %.3f</td><td>%.3f</td></tr>\n",
        j, name[j], c->C[j], c->C[j + 1], c->law[j].exponent.value, c->law[j].exponent.p10, c->law[j].exponent.p90,
        c->null[j].value, c->null[j].p10, c->null[j].p90, c->surface[j]);
  fputs("</tbody></table></div>\n", f);
}

static int thirds_csv(const Curvature *c, const char *dir, Err *e) {
  char path[1024];
  OutFile o;
  snprintf(path, sizeof path, "%s/tables/thirds.csv", dir);
  if (out_open(&o, path, e)) return e->code;
  fputs("third,C_min,C_max,a,a_p10,a_p90,null,null_p10,null_p90,surface\n", o.f);
  for (int j = 0; j < 3; j++)
    fprintf(o.f, "%d,%.17g,%.17g,%.17g,%.17g,%.17g,%.17g,%.17g,%.17g,%.17g\n", j + 1, c->C[j], c->C[j + 1],
            c->law[j].exponent.value, c->law[j].exponent.p10, c->law[j].exponent.p90, c->null[j].value, c->null[j].p10,
            c->null[j].p90, c->surface[j]);
  return out_commit(&o, e);
}

int put_curvature(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  const Analysis *a = &s->a[0];
  Curvature *c = mem_new(sizeof *c, "thirds of the envelope", e);
  Plot p = {0};
  if (!c || curvature_fit(c, a, e) || !c->ok || thirds_csv(c, dir, e)) goto done;
  plot_begin(&p, "figa5_thirds", PLOT_WIDE, "The frontier by thirds", "Training FLOPs", "Parameters of the best run");
  p.panel.log_y = true, p.key = "top left";
  const int points = plot_series(&p, PLOT_DOTS, "#8a9199", "best run at a compute");
  for (int k = 0; k < ENVELOPE_POINTS; k++) {
    const EnvelopePoint *q = &a->envelope.p[k];
    if (q->kind != ENVELOPE_USED) continue;
    // Neighbours share their run: one link each.
    const bool first = !k || a->envelope.p[k - 1].point != q->point;
    PlotPoint *mark = plot_add(&p, points, q->C, q->N);
    if (first) mark->run = a->points.p[q->point].run;
  }
  static const char *const name[] = {"first third", "middle third", "last third"};
  for (int j = 0; j < 3; j++) {
    add_law(&p, plot_series(&p, PLOT_LINE, plot_color(j), "%s: C^{%.3f}", name[j], c->law[j].exponent.value),
            &c->law[j], c->C[j], c->C[j + 1]);
    add_law(&p, plot_series(&p, PLOT_DASHED, plot_color(j), "%s", ""), &c->law[j], c->C[j + 1], c->C[3] * 10);
  }
  if (plots_draw(&p, 1, dir, "figa5", e)) goto done;
  fputs("<h2 id=\"curvature\">Is the frontier bent?</h2>\n<figure id=\"figa5\">\n", f);
  if (plots_inline(f, &p, 1, dir, e)) goto done;
  const PowerLaw *l = c->law;
  const bool bent = l[2].exponent.value < c->null[2].p10 || l[2].exponent.value > c->null[2].p90;
  fprintf(
      f,
      "<figcaption>Fig A5 of the paper, which found that the exponent falls along the frontier. Here it is %.3f, %.3f "
      "and %.3f; on the same sizes and horizons a frontier without a bend gives %.3f, %.3f and %.3f, so the last third "
      "is %s what the grid alone does. ",
      l[0].exponent.value, l[1].exponent.value, l[2].exponent.value, c->null[0].value, c->null[1].value,
      c->null[2].value, bent ? "outside" : "within");
  put_files(f, "figa5", (const char *const[]){"figa5_thirds", NULL});
  put_thirds(f, c);
done:
  plots_free(&p, 1);
  free(c);
  return e->code;
}
