// report_corpora.c: the same analysis on other text (Table A2; parts code, synthetic), and the ladder from Kaplan's
// exponent to the paper's (parts kaplan-*).
//
// In: a study with these parts. Out: HTML, figures and tables. The invariant: every row is Approach 2 on runs of its
// own, fitted as the study's.
#include "report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

// Valleys of a part: its runs and parabolas, a colour a budget, as Fig 3.
static void add_valleys(Plot *p, const Points *ps, const IsoFit *iso) {
  p->counts = true, p->key = "top right";
  for (int b = 0; b < iso->n; b++) {
    const Valley *v = &iso->v[b];
    char hex[8];
    figures_color(b, iso->n, hex);
    const int points = plot_series(p, PLOT_POINTS, hex, "%s FLOPs", text_budget(v->budget));
    for (int i = v->first; i < v->first + v->n; i++)
      if (ps->p[i].used) plot_add(p, points, ps->p[i].N, ps->p[i].L)->run = ps->p[i].run;
    if (v->flag == VALLEY_FEW) continue;
    const int line = plot_series(p, PLOT_LINE, hex, "%s", "");
    for (int k = 0; k <= 48; k++) {
      const double x = log(v->lo) + (log(v->hi) - log(v->lo)) * k / 48;
      plot_add(p, line, exp(x), parabola_at(&v->q, x));
    }
  }
}

// Minima with their intervals, and the law through them.
static void add_minima(Plot *p, const IsoFit *iso, const char *color, const char *title) {
  const int bars = plot_series(p, PLOT_BARS, color, iso->law ? "%s: C^{%.3f}" : "%s", title, iso->n_law.exponent.value);
  for (int b = 0; b < iso->n; b++) {
    const Valley *v = &iso->v[b];
    if (v->flag != VALLEY_OK) continue;
    PlotPoint *q = plot_add(p, bars, v->C, v->n_opt.value);
    q->lo = v->n_opt.p10, q->hi = v->n_opt.p90;
    snprintf(q->note, sizeof q->note, "%s, %s FLOPs: %s parameters", title, text_budget(v->budget),
             text_count(v->n_opt.value));
  }
  if (!iso->law) return;
  const int line = plot_series(p, PLOT_LINE, color, "%s", "");
  int first = 0;
  while (iso->v[first].below) first++;
  for (int k = 0; k < 2; k++) {
    const double C = k ? iso->v[iso->n - 1].C * 1.5 : iso->v[first].C / 1.5;
    plot_add(p, line, C, iso->n_law.k.value * pow(C, iso->n_law.exponent.value));
  }
}

static void put_row(FILE *f, FILE *csv, const char *part, const char *title, const char *convention,
                    const IsoFit *iso) {
  int inside = 0, budgets = 0;
  for (int b = 0; b < iso->n; b++) inside += iso->v[b].flag == VALLEY_OK, budgets += !iso->v[b].below;
  const Interval *a = &iso->n_law.exponent, *b = &iso->d_law.exponent;
  fprintf(f, "<td class=\"l\">%s</td><td>%d of %d</td>", title, inside, budgets);
  if (iso->law)
    fprintf(f, "<td><b>%.3f</b></td><td>%.3f to %.3f</td><td><b>%.3f</b></td><td>%.3f to %.3f</td>", a->value, a->p10,
            a->p90, b->value, b->p10, b->p90);
  else
    fputs("<td>-</td><td></td><td>-</td><td></td>", f);
  fprintf(csv, "%s,%s,%d,%d", part, convention, budgets, inside);
  const double x[] = {a->value, a->p10, a->p90, b->value, b->p10, b->p90};
  for (int j = 0; j < 6; j++) isnan(x[j]) ? fputc(',', csv) : fprintf(csv, ",%.17g", x[j]);
  fputc('\n', csv);
}

// The study's row may leave out budgets that others have the like of.
static void put_floor_note(FILE *f, const StudyFit *s) {
  if (s->whole) fprintf(f, "The study’s row: from %s FLOPs on; other rows: all their budgets. ", text_budget(s->parts.laws.from_flops));
}

static const char csv_head[] = "part,convention,budgets,minima_inside,a,a_p10,a_p90,b,b_p10,b_p90\n";

// ---- Table A2 -----------------------------------------------------------------------------------------------

int put_corpora(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  static const char *const names[] = {"code", "synthetic"};
  const PartFit *part[2];
  Plot p[3] = {0};
  int n = 0;
  OutFile o;
  char path[1024];
  for (int k = 0; k < 2; k++)
    if ((part[n] = parts_find(&s->parts, names[k]))) n++;
  if (!n) return e->code;
  snprintf(path, sizeof path, "%s/tables/tablea2.csv", dir);
  if (out_open(&o, path, e)) return e->code;
  char *rows;
  size_t len;
  FILE *t = text_open(&rows, &len, e);
  if (!t) return out_abort(&o), e->code;
  fputs(csv_head, o.f);
  plot_begin(&p[n], "tablea2_minima", PLOT_HALF, "Best size", "Training FLOPs", "Parameters");
  p[n].panel.log_y = true, p[n].key = "top left";
  const char *own = s->records->n ? get_corpus(&s->records->r[0]) : "";
  add_minima(&p[n], &s->a[0].iso, plot_color(0), own);
  fputs("<tr>", t), put_row(t, o.f, "isoflop", own, "total/exact", &s->a[0].iso), fputs("</tr>\n", t);
  for (int k = 0; k < n; k++) {
    char panel[48], title[64];
    snprintf(panel, sizeof panel, "tablea2_%s", part[k]->name);
    snprintf(title, sizeof title, "IsoFLOP curves on %s", part[k]->name);
    plot_begin(&p[k], panel, PLOT_HALF, title, "Parameters", "Held-out loss (nats per token)");
    add_valleys(&p[k], &part[k]->points, &part[k]->iso);
    add_minima(&p[n], &part[k]->iso, plot_color(k + 1), part[k]->name);
    fputs("<tr>", t), put_row(t, o.f, part[k]->name, part[k]->name, "total/exact", &part[k]->iso), fputs("</tr>\n", t);
  }
  for (const PaperCorpus *c = paper_corpora; c->name; c++)
    fprintf(t,
            "<tr class=\"off\"><td class=\"l\">the paper, %s</td><td>4</td><td>%.2f</td><td></td><td>%.2f</td><td></td>"
            "</tr>\n",
            c->name, c->a, c->b);
  if (text_close(t, e)) out_abort(&o);
  else if (!out_commit(&o, e) && !plots_draw(p, n + 1, dir, "tablea2", e)) {
    fputs("<h2 id=\"corpora\">Does it depend on the text?</h2>\n<figure id=\"tablea2\">\n", f);
    plots_inline(f, p, n + 1, dir, e);
    fputs("<figcaption>The same analysis on other text: valleys, and the best sizes beside those of the study. ", f);
    put_floor_note(f, s);
    put_files(f, "tablea2",
              (const char *const[]){p[0].panel.name, p[1].panel.name, n > 1 ? p[2].panel.name : NULL, NULL});
    fprintf(
        f,
        "<div class=\"scroll\"><table><caption>Table A2 of the paper: Approach 2 on each text. <a "
        "href=\"tables/tablea2.csv\">tablea2.csv</a></caption><thead><tr><th class=\"l\">text</th><th>minima inside"
        "</th><th>a</th><th>10–90 %%</th><th>b</th><th>10–90 %%</th></tr></thead><tbody>\n%s</tbody></table></div>\n",
        rows);
  }
  free(rows);
  plots_free(p, 3);
  return e->code;
}

// ---- The ladder ---------------------------------------------------------------------------------------------

typedef struct Rung {
  const char *part, *title, *tick;
} Rung;
static const Rung rungs[] = {{"isoflop", "this study", "this study"},
                             {"kaplan-warmup", "long warm-up, the same for all", "warm-up"},
                             {"kaplan-cosine", "one cosine for all horizons", "one cosine"},
                             {"kaplan-rate", "rate and batch not tuned to the size", "one rate"}};
enum { RUNGS = sizeof rungs / sizeof *rungs };
static const char AS_KAPLAN[] = "nonemb/nohead";

// Approach 2 on a part as Kaplan et al. counted: no embeddings, no logits. Runs are moved to equal compute by a surface
// of their own, where they allow one.
static int kaplan_fit(IsoFit *out, const PartFit *p, Err *e) {
  const Convention *cv = conventions;
  while (strcmp(cv->name, AS_KAPLAN)) cv++;
  Points ps;
  SurfaceFit *x = mem_new(sizeof *x, "a surface", e);
  if (!x) return e->code;
  if (points_make(&ps, &p->rs, cv, e)) goto done;
  if (!points_level(&ps) && !surface_fit(x, &ps, 0, e) && x->ok) points_to_level(&ps, &x->s);
  if (!e->code) iso_fit(out, &ps, cv, RESAMPLES, e);
  points_free(&ps);
done:
  free(x);
  return e->code;
}

static const IsoFit *study_iso(const StudyFit *s, const char *convention) {
  for (int i = 0; i < s->n; i++)
    if (!strcmp(s->a[i].iso.cv->name, convention)) return &s->a[i].iso;
  return NULL;
}

int put_ladder(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  int n = 0;
  for (int k = 1; k < RUNGS; k++) n += parts_find(&s->parts, rungs[k].part) != NULL;
  if (!n) return e->code;
  Plot p[2] = {0};
  OutFile o;
  char path[1024], *rows = NULL;
  size_t len;
  IsoFit *counted = mem_new(sizeof *counted * RUNGS, "the ladder", e);
  snprintf(path, sizeof path, "%s/tables/ladder.csv", dir);
  if (!counted || out_open(&o, path, e)) goto done;
  FILE *t = text_open(&rows, &len, e);
  if (!t) {
    out_abort(&o);
    goto done;
  }
  fputs(csv_head, o.f);
  plot_begin(&p[0], "ladder_sizes", PLOT_HALF, "Best size under each fault", "Training FLOPs", "Parameters");
  plot_begin(&p[1], "ladder_exponents", PLOT_HALF, "And its exponent", "", "a of N_{opt} ∝ C^a");
  p[0].panel.log_y = true, p[0].key = "top left", p[1].panel.lin_x = true, p[1].key = "bottom right";
  p[1].panel.x0 = -.5, p[1].panel.x1 = RUNGS - .5;
  const int exact = plot_series(&p[1], PLOT_BARS, plot_color(0), "all parameters, exact FLOPs");
  const int kaplan = plot_series(&p[1], PLOT_BARS, plot_color(1), "without embeddings and head");
  for (int j = 0; j < 2; j++) {
    const int line = plot_series(&p[1], PLOT_DASHED, plot_color(6), "%s", "");
    for (int i = 0; i < 2; i++) plot_add(&p[1], line, i ? RUNGS - .5 : -.5, j ? .73 : .50);
  }
  snprintf(p[1].extra, sizeof p->extra,
           "set label 'Kaplan et al. 2020: .73' at -.4,.73 left offset 0,.6 tc rgb '#5a6472' font ',10'\n"
           "set label 'Hoffmann et al. 2022: .50' at -.4,.5 left offset 0,.6 tc rgb '#5a6472' font ',10'\n");
  size_t ticks = 0;
  for (int k = 0; k < RUNGS && !e->code; k++) {
    const PartFit *part = k ? parts_find(&s->parts, rungs[k].part) : NULL;
    const IsoFit *fit[2] = {k ? part ? &part->iso : NULL : &s->a[0].iso, NULL};
    ticks +=
        (size_t)snprintf(p[1].ticks + ticks, sizeof p->ticks - ticks, "%s'%s' %d", k ? ", " : "", rungs[k].tick, k);
    if (!fit[0] || (part && kaplan_fit(&counted[k], part, e))) continue;
    fit[1] = k ? &counted[k] : study_iso(s, AS_KAPLAN);
    add_minima(&p[0], fit[0], plot_color(k), rungs[k].title);
    for (int j = 0; j < 2; j++) {
      if (!fit[j]) continue;
      fprintf(t, "<tr%s><td class=\"l\">%s</td>", j ? "" : " class=\"top\"", j ? "" : rungs[k].title);
      put_row(t, o.f, rungs[k].part, j ? "without embeddings and head" : "all parameters, exact FLOPs",
              fit[j]->cv->name, fit[j]);
      fputs("</tr>\n", t);
      if (!fit[j]->law) continue;
      const Interval *a = &fit[j]->n_law.exponent;
      PlotPoint *q = plot_add(&p[1], j ? kaplan : exact, k + (j ? .1 : -.1), a->value);
      q->lo = a->p10, q->hi = a->p90;
      snprintf(q->note, sizeof q->note, "%s: a = %.3f (%.3f to %.3f)", rungs[k].title, a->value, a->p10, a->p90);
    }
  }
  if (text_close(t, e)) {
    out_abort(&o);
    goto done;
  }
  if (out_commit(&o, e) || plots_draw(p, 2, dir, "ladder", e)) goto done;
  fputs("<h2 id=\"ladder\">From Kaplan’s exponent to Chinchilla’s</h2>\n<figure id=\"ladder-figure\">\n", f);
  if (plots_inline(f, p, 2, dir, e)) goto done;
  fputs(
      "<figcaption>What Porian et al. 2024 found to explain the gap, live: the same IsoFLOP grid with one fault each, "
      "and each counted both ways. ",
      f);
  put_floor_note(f, s);
  put_files(f, "ladder", (const char *const[]){"ladder_sizes", "ladder_exponents", NULL});
  fprintf(
      f,
      "<div class=\"scroll\"><table><caption>Approach 2 under each fault. <a href=\"tables/ladder.csv\">ladder.csv</a>"
      "</caption><thead><tr><th class=\"l\">fault</th><th class=\"l\">counting</th><th>minima inside</th><th>a</th>"
      "<th>10–90 %%</th><th>b</th><th>10–90 %%</th></tr></thead><tbody>\n%s<tr class=\"off\"><td class=\"l\">Kaplan et "
      "al. 2020</td><td class=\"l\">without embeddings and head</td><td></td><td>.73</td><td></td><td>.27</td><td></td>"
      "</tr></tbody></table></div>\n",
      rows);
done:
  free(rows);
  free(counted);
  plots_free(p, 2);
  return e->code;
}
