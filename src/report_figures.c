// report_figures.c: the drawings of the page.
//
// In: a fitted study. Out: in the page, Figs 3, 2 and 4 as far as the study has the data, drawn, each with its caption
// and its files. The invariant: a point that stands for a run links to the run's
// row.
#include "report.h"
#include <math.h>
#include <stdlib.h>

// The used runs of budgets (others: also those of none; below: also those below from_flops) at (N, loss).
static int run_marks(const Analysis *a, Mark *m, bool others, bool below) {
  int n = 0;
  for (int i = 0; i < a->points.n; i++) {
    const Point *p = &a->points.p[i];
    if (!(p->used || (p->below && below)) || (p->budget < 0 && !others)) continue;
    m[n] = (Mark){.x = p->N, .y = p->L};
    mark_run(&m[n++], p->run, p->below ? p->why_not : "");
  }
  return n;
}

static int vertex_marks(const Analysis *a, Mark *m, bool params) {
  int n = 0;
  for (int i = 0; i < a->iso.n; i++) {
    const Valley *v = &a->iso.v[i];
    const Interval *q = params ? &v->n_opt : &v->d_opt;
    if (isnan(q->value)) continue;
    Mark *k = &m[n++];
    *k = (Mark){.x = v->C, .y = q->value};
    snprintf(k->link, sizeof k->link, "budget-%d", i);
    snprintf(k->text, sizeof k->text, "%s FLOPs: %s %s\n10-90 %%: %s to %s%s%s", text_budget(v->budget),
             text_count(q->value), params ? "parameters" : "tokens", text_count(q->p10), text_count(q->p90),
             v->flag ? "\nleft out: " : "", valley_flag_text[v->flag]);
  }
  return n;
}

int put_isoflop(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  const Analysis *a = &s->a[0];
  Panel p[FIG3_PANELS];
  if (!a->points.n_budgets) return OK;
  Mark *m = mem_new((size_t)(a->points.n + MAX_VALLEYS) * sizeof(Mark), "points of the figures", e);
  if (!m || figures_isoflop(s, dir, p, e)) goto done;
  fputs("<figure id=\"fig3\">\n", f);
  if (figures_inline(f, dir, &p[PANEL_VALLEYS], m, run_marks(a, m, false, true), e)) goto done;
  fputs("<div class=\"pair\">\n", f);
  for (int j = 0; j < 2; j++)
    if (figures_inline(f, dir, &p[j ? PANEL_TOKENS : PANEL_PARAMS], m, vertex_marks(a, m, !j), e)) goto done;
  fputs("</div>\n<figcaption>Above: final held-out loss against model size; each colour is one compute budget in "
        "training FLOPs, each point one run (open: more than one "
        "epoch of the corpus; hover for its name, click for its row), each curve a parabola in log N, each star its "
        "minimum with its 10–90 % interval (white star: flagged, "
        "left out), each bar on a point one standard deviation of the noise between seeds. Below: the minima against "
        "compute, with the power law through them, its 10–90 % band, and its "
        "continuation to ten times the largest budget (dashed); dotted: the "
        "paper’s slope. ",
        f);
  if (s->whole)
    fprintf(f, "Grey, open and dashed: below %s FLOPs, left out of the laws (<a href=\"#excluded\">why</a>). ",
            text_budget(s->parts.laws.from_flops));
  put_files(f, "fig3", (const char *const[]){"fig3_points", "fig3_curves", "fig3_vertices", "fig3_laws", NULL});
done:
  free(m);
  return e->code;
}

int put_surface_figure(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  const Analysis *a = &s->a[0];
  Panel p[FIG4_PANELS];
  if (!figures_has_surface(s)) return OK;
  Mark *m = mem_new((size_t)(a->points.n + 1) * sizeof(Mark), "points of the figures", e);
  if (!m || figures_surface(s, dir, p, e)) goto done;
  fputs("<figure id=\"fig4\">\n<div class=\"pair\">\n", f);
  for (int j = 0; j < FIG4_PANELS; j++) {
    int n = run_marks(a, m, j == PANEL_CONTOURS, false);
    for (int i = 0, k = 0; i < a->points.n && j == PANEL_CONTOURS; i++)
      if (a->points.p[i].used) m[k].x = a->points.p[i].C, m[k++].y = a->points.p[i].N;
    if (figures_inline(f, dir, &p[j], m, n, e)) goto done;
  }
  fputs(
      "</div>\n<figcaption>Fig 4 of the paper. Left: lines of equal loss on the fitted surface (thin, with the loss in "
      "nats per token), the best size at each compute (bold) and the runs. Right: the surface at each budget’s compute "
      "through the runs of that budget; dashed: its minima. ",
      f);
  put_files(f, "fig4", (const char *const[]){"fig3_points", "fig4_contours", "fig4_frontier", "fig4_slices", NULL});
done:
  free(m);
  return e->code;
}

// Where each run's curve ends.
static int curve_marks(const StudyFit *s, Mark *m) {
  const Analysis *a = &s->a[0];
  int n = run_marks(a, m, true, false), kept = 0;
  for (int i = 0, k = 0; i < a->points.n && k < n; i++) {
    const Point *p = &a->points.p[i];
    if (!p->used) continue;
    const Curve *c = &s->curves.c[p->run - s->records->r];
    Mark mark = m[k++];
    if (c->n < 2) continue;
    mark.x = c->tokens[c->n - 1] * p->C / p->D, mark.y = curve_smooth_at(c, c->n - 1, curve_width(p));
    m[kept++] = mark;
  }
  return kept;
}

int put_curves(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  const Analysis *a = &s->a[0];
  Panel p[FIG2_PANELS];
  if (!figures_has_curves(s)) return OK;
  Mark *m = mem_new((size_t)(a->points.n + 1) * sizeof(Mark), "points of the figures", e);
  if (!m || figures_curves(s, dir, p, e)) goto done;
  fputs("<h2 id=\"approach1\">Approach 1: the envelope of training curves</h2>\n<figure id=\"fig2\">\n", f);
  if (figures_inline(f, dir, &p[PANEL_CURVES], m, curve_marks(s, m), e)) goto done;
  fputs("<div class=\"pair\">\n", f);
  for (int j = PANEL_CURVE_PARAMS; j < FIG2_PANELS; j++)
    if (figures_inline(f, dir, &p[j], m, 0, e)) goto done;
  fprintf(
      f,
      "</div>\n<figcaption>Fig 2 of the paper. Above: smoothed training loss of every run (colour: its size, dark "
      "is small) and their lower envelope (bold where it enters the laws). Below: size and tokens of the run on the "
      "envelope, and the power law through them. Of %d compute values, %d winners enter the laws; %d were not near "
      "the end of their run, %d were the smallest or largest model that got as far. ",
      ENVELOPE_POINTS, a->envelope.count[ENVELOPE_USED], a->envelope.count[ENVELOPE_EARLY],
      a->envelope.count[ENVELOPE_EDGE]);
  put_files(f, "fig2", (const char *const[]){"fig2_curves", "fig2_envelope", NULL});
done:
  free(m);
  return e->code;
}
