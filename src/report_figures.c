// report_figures.c: the drawings of the page.
//
// In: a fitted study. Out: in the page, Fig 3, 2 and 4 as far as the study has the data, each with its caption and its
// files; Figs 2 and 4 are drawn here, Fig 3 before. The invariant: a point that stands for a run links to the run's
// row.
#include "figures.h"
#include <math.h>
#include <stdlib.h>

static int run_marks(const Analysis *a, Mark *m) {
  int n = 0;
  for (int i = 0; i < a->points.n; i++) {
    const Point *p = &a->points.p[i];
    if (!p->used || p->budget < 0) continue;
    Mark *k = &m[n++];
    *k = (Mark){.x = p->N, .y = p->L};
    snprintf(k->link, sizeof k->link, "run-%s", p->run->id);
    snprintf(k->text, sizeof k->text,
             "run %s\n%s FLOPs, %s parameters, %s tokens\n%d wide, %d layers, seed %d\nloss %.4f%s", p->run->id,
             text_budget(a->points.budget[p->budget]), text_count(p->N), text_count(p->D), p->run->cfg.d_model,
             p->run->cfg.n_layers, p->run->cfg.seed, p->L, p->repeats ? "\nover one epoch" : "");
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

static int put_isoflop(FILE *f, const StudyFit *s, const char *dir, const Panel *p, Err *e) {
  const Analysis *a = &s->a[0];
  Mark *m = mem_new((size_t)(a->points.n + MAX_VALLEYS) * sizeof(Mark), "points of the figures", e);
  if (!m) return e->code;
  fputs("<figure id=\"fig3\">\n", f);
  if (figures_inline(f, dir, &p[PANEL_VALLEYS], a->iso.n, m, run_marks(a, m), e)) goto done;
  fputs("<div class=\"pair\">\n", f);
  for (int j = 0; j < 2; j++)
    if (figures_inline(f, dir, &p[j ? PANEL_TOKENS : PANEL_PARAMS], a->iso.n, m, vertex_marks(a, m, !j), e)) goto done;
  fputs("</div>\n<figcaption>Above: final held-out loss against model size; each colour is one compute budget in "
        "training FLOPs, each point one run (open: more than one "
        "epoch of the corpus; hover for its name, click for its row), each curve a parabola in log N, each star its "
        "minimum with its 10–90 % interval (white star: flagged, "
        "left out). Below: the minima against compute, with the power law through them, its 10–90 % band, and its "
        "continuation to ten times the largest budget (dashed); dotted: the "
        "paper’s slope. Files: <a href=\"figures/fig3.svg\">svg</a>, <a href=\"figures/fig3.png\">png</a>, data: <a "
        "href=\"figures/fig3_points.csv\">points</a>, "
        "<a href=\"figures/fig3_curves.csv\">curves</a>, <a href=\"figures/fig3_vertices.csv\">minima</a>, <a "
        "href=\"figures/fig3_laws.csv\">laws</a>.</figcaption>\n</figure>\n",
        f);
done:
  free(m);
  return e->code;
}

static int put_surface_figure(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  const Analysis *a = &s->a[0];
  Panel p[FIG4_PANELS];
  if (!figures_has_surface(s)) return OK;
  Mark *m = mem_new((size_t)(a->points.n + 1) * sizeof(Mark), "points of the figures", e);
  if (!m || figures_surface(s, dir, p, e)) goto done;
  fputs("<figure id=\"fig4\">\n<div class=\"pair\">\n", f);
  for (int j = 0; j < FIG4_PANELS; j++) {
    int n = run_marks(a, m);
    for (int i = 0, k = 0; i < a->points.n && j == PANEL_CONTOURS; i++)
      if (a->points.p[i].used && a->points.p[i].budget >= 0) m[k].x = a->points.p[i].C, m[k++].y = a->points.p[i].N;
    if (figures_inline(f, dir, &p[j], a->iso.n, m, n, e)) goto done;
  }
  fputs(
      "</div>\n<figcaption>Fig 4 of the paper. Left: lines of equal loss on the fitted surface (thin, with the loss in "
      "nats per token), the best size at each compute (bold) and the runs. Right: the surface at each budget’s compute "
      "through the runs of that budget; dashed: its minima. Files: <a href=\"figures/fig4.svg\">svg</a>, <a "
      "href=\"figures/fig4.png\">png</a>, data: <a href=\"figures/fig4_contours.csv\">contours</a>, <a "
      "href=\"figures/fig4_frontier.csv\">frontier</a>, <a href=\"figures/fig4_slices.csv\">slices</a>.</figcaption>\n"
      "</figure>\n",
      f);
done:
  free(m);
  return e->code;
}

// Where each run's curve ends.
static int curve_marks(const StudyFit *s, Mark *m) {
  const Analysis *a = &s->a[0];
  int n = run_marks(a, m), kept = 0;
  for (int i = 0, k = 0; i < a->points.n && k < n; i++) {
    const Point *p = &a->points.p[i];
    if (!p->used || p->budget < 0) continue;
    const Curve *c = &s->curves.c[p->run - s->records->r];
    Mark mark = m[k++];
    if (c->n < 2) continue;
    mark.x = c->tokens[c->n - 1] * p->C / p->D, mark.y = curve_smooth_at(c, c->n - 1, curve_width(p));
    m[kept++] = mark;
  }
  return kept;
}

static int put_curves_figure(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  const Analysis *a = &s->a[0];
  Panel p[FIG2_PANELS];
  if (!figures_has_curves(s)) return OK;
  Mark *m = mem_new((size_t)(a->points.n + 1) * sizeof(Mark), "points of the figures", e);
  if (!m || figures_curves(s, dir, p, e)) goto done;
  fputs("<figure id=\"fig2\">\n", f);
  if (figures_inline(f, dir, &p[PANEL_CURVES], a->iso.n, m, curve_marks(s, m), e)) goto done;
  fputs("<div class=\"pair\">\n", f);
  for (int j = PANEL_CURVE_PARAMS; j < FIG2_PANELS; j++)
    if (figures_inline(f, dir, &p[j], a->iso.n, m, 0, e)) goto done;
  fprintf(
      f,
      "</div>\n<figcaption>Fig 2 of the paper. Above: smoothed training loss of every run (colour: its size, dark "
      "is small) and their lower envelope (bold where it enters the laws). Below: size and tokens of the run on the "
      "envelope, and the power law through them. Of %d compute values, %d winners enter the laws; %d were not near "
      "the end of their run, %d have the smallest or largest size. Files: <a href=\"figures/fig2.svg\">svg</a>, <a "
      "href=\"figures/fig2.png\">png</a>, data: <a href=\"figures/fig2_curves.csv\">curves</a>, <a "
      "href=\"figures/fig2_envelope.csv\">envelope</a>.</figcaption>\n</figure>\n",
      ENVELOPE_POINTS, a->envelope.count[ENVELOPE_USED], a->envelope.count[ENVELOPE_EARLY],
      a->envelope.count[ENVELOPE_EDGE]);
done:
  free(m);
  return e->code;
}

int report_figures(FILE *f, const StudyFit *s, const char *dir, const Panel *fig3, Err *e) {
  if (!s->a[0].points.n_budgets) return OK;
  return put_isoflop(f, s, dir, fig3, e) || put_curves_figure(f, s, dir, e) || put_surface_figure(f, s, dir, e)
             ? e->code
             : OK;
}
