// report_shapes.c: the shapes of the models (Table A9) and exact FLOPs over 6ND, the paper's and ours (Table A4).
//
// In: a fitted study. Out: HTML, tables/shapes.csv, tables/tablea4.csv. The invariant: each shape once, by size.
#include "report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int by_shape(const void *a, const void *b) {
  const Record *p = *(Record *const *)a, *q = *(Record *const *)b;
  double d = p->params.total - q->params.total;
  if (d == 0) d = p->cfg.d_model - q->cfg.d_model;
  if (d == 0) d = p->cfg.n_layers - q->cfg.n_layers;
  if (d == 0) d = p->cfg.n_heads - q->cfg.n_heads;
  if (d == 0) d = p->flops_per_token.exact - q->flops_per_token.exact;
  if (d == 0) d = strcmp(p->id, q->id);  // qsort is stable only while it has memory
  return d < 0 ? -1 : d > 0;
}

static int put_paper_ratios(FILE *f, const char *dir, Err *e) {
  char path[1024];
  OutFile o;
  snprintf(path, sizeof path, "%s/tables/tablea4.csv", dir);
  if (out_open(&o, path, e)) return e->code;
  fputs("model,d_model,n_layers,n_heads,params,ratio,printed\n", o.f);
  fputs(
      "<div class=\"scroll\"><table><caption>Table A4 of the paper: exact FLOPs over 6ND of six of its shapes, by this "
      "program’s counter (2,048 tokens, 32,000 words, without embedding and logits). <a href=\"tables/tablea4.csv\">"
      "tablea4.csv</a></caption><thead><tr><th class=\"l\">model</th><th>width</th><th>layers</th><th>heads</th><th>N"
      "</th><th>exact / 6ND</th><th class=\"p\">printed</th></tr></thead><tbody>\n",
      f);
  for (const PaperShape *s = paper_shapes; s->name; s++) {
    fprintf(
        f,
        "<tr><td class=\"l\">%s</td><td>%d</td><td>%d</td><td>%d</td><td>%s</td><td><b>%.4f</b></td><td class=\"p\">"
        "%.2f</td></tr>\n",
        s->name, s->d_model, s->n_layers, s->n_heads, text_count(paper_shape_params(s)), paper_shape_ratio(s),
        s->printed);
    fprintf(o.f, "%s,%d,%d,%d,%.17g,%.17g,%.2f\n", s->name, s->d_model, s->n_layers, s->n_heads, paper_shape_params(s),
            paper_shape_ratio(s), s->printed);
  }
  fputs("</tbody></table></div>\n", f);
  return out_commit(&o, e);
}

int put_shapes(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  if (s->imported) return e->code;
  const int n = s->all->n;
  char path[1024];
  OutFile o;
  const Record **r = mem_new(sizeof *r * (size_t)n, "shapes", e);
  snprintf(path, sizeof path, "%s/tables/shapes.csv", dir);
  if (!r || out_open(&o, path, e)) goto done;
  for (int i = 0; i < n; i++) r[i] = &s->all->r[i];
  qsort(r, (size_t)n, sizeof *r, by_shape);
  fputs("<h2 id=\"shapes\">The models</h2>\n<div class=\"scroll\"><table><caption>Table A9 of the paper: every shape "
        "of this "
        "study; feed-forward 4 × width. Rate and batch: the smallest and the largest among its runs. Exact / 6ND as in "
        "Table A4. <a "
        "href=\"tables/shapes.csv\">shapes.csv</a></caption><thead><tr><th>N</th><th>width</th><th>layers</th>"
        "<th>heads</th><th>head width</th><th>feed-forward</th><th>embeddings</th><th>without</th><th>exact / 6ND</th>"
        "<th>runs</th><th>peak rate</th><th>batch, tokens</th></tr></thead><tbody>\n",
        f);
  fputs("params,d_model,n_layers,n_heads,head_width,ffn,embeddings,params_nonemb,flops_per_token,ratio_6nd,runs,lr_min,"
        "lr_max,batch_min,batch_max\n",
        o.f);
  for (int i = 0, j; i < n; i = j) {
    const Config *c = &r[i]->cfg;
    double lr[2] = {INFINITY, 0}, batch[2] = {INFINITY, 0};
    for (j = i; j < n && !by_shape(&r[i], &r[j]); j++) {
      lr[0] = fmin(lr[0], r[j]->cfg.lr), lr[1] = fmax(lr[1], r[j]->cfg.lr);
      batch[0] = fmin(batch[0], r[j]->cfg.batch_tokens), batch[1] = fmax(batch[1], r[j]->cfg.batch_tokens);
    }
    const Params *q = &r[i]->params;
    const double ratio = r[i]->flops_per_token.exact / r[i]->flops_per_token.sixn;
    fprintf(f,
            "<tr><td><b>%s</b></td><td>%d</td><td>%d</td><td>%d</td><td>%d</td><td>%d</td><td>%s</td><td>%s</td>"
            "<td>%.3f</td><td>%d</td><td>%.2g to %.2g</td><td>%.0f to %.0f</td></tr>\n",
            text_count(q->total), c->d_model, c->n_layers, c->n_heads, c->d_model / c->n_heads, 4 * c->d_model,
            text_count(q->embed + q->head), text_count(q->nonemb), ratio, j - i, lr[0], lr[1], batch[0], batch[1]);
    // Two calls: for 15 conversions glibc's takes memory, and where there is none, the row is lost and ferror does not tell.
    fprintf(o.f, "%.17g,%d,%d,%d,%d,%d,%.17g,%.17g,", q->total, c->d_model, c->n_layers, c->n_heads,
            c->d_model / c->n_heads, 4 * c->d_model, q->embed + q->head, q->nonemb);
    fprintf(o.f, "%.17g,%.17g,%d,%.17g,%.17g,%.17g,%.17g\n", r[i]->flops_per_token.exact, ratio, j - i, lr[0], lr[1],
            batch[0], batch[1]);
  }
  fputs("</tbody></table></div>\n", f);
  if (!out_commit(&o, e)) put_paper_ratios(f, dir, e);
done:
  free(r);
  return e->code;
}
