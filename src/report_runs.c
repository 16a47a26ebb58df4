// report_runs.c: every run of the study, what was left out, where it all comes from, and how to run one again.
//
// In: a fitted study. Out: HTML. The invariant: each run of the folder, whatever its part, has one row with the id that
// the figures link to, and that row has the command that runs it again.
#include "plan.h"
#include "report.h"
#include "shape.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

void put_distinct(FILE *f, const Records *rs, GetText get) {
  int n = 0;
  for (int i = 0; i < rs->n; i++) {
    bool seen = false;
    for (int j = 0; j < i && !seen; j++) seen = !strcmp(get(&rs->r[j]), get(&rs->r[i]));
    if (seen) continue;
    fputs(n++ ? "; " : "", f);
    html_text(f, *get(&rs->r[i]) ? get(&rs->r[i]) : "unknown");
  }
}
const char *get_corpus(const Record *r) { return r->corpus_name; }
static const char *get_hash(const Record *r) { return r->corpus_hash; }
static const char *get_commit(const Record *r) { return r->commit; }
static const char *get_cpu(const Record *r) { return r->cpu; }
static const char *get_kernels(const Record *r) { return r->kernels; }
static const char *get_compiler(const Record *r) { return r->compiler; }

// Why the laws leave out what lies below from_flops: what the rule for the batch wants there.
static void put_below(FILE *f, const StudyFit *s) {
  const Points *ps = &s->a[0].points;
  const Config *c = &s->parts.laws;
  int n = 0, budgets = 0;
  double least = INFINITY;
  for (int i = 0; i < ps->n; i++)
    if (ps->p[i].below) n++, least = fmin(least, ps->p[i].C);
  for (int i = 0; i < s->a[0].iso.n; i++) budgets += s->a[0].iso.v[i].below;
  fprintf(f,
          "<p id=\"below\">%d runs of less than %s FLOPs (%d of the %d budgets, and other horizons) are left out of all "
          "laws, by the study’s option <code>from_flops</code>: ",
          n, text_budget(c->from_flops), budgets, s->a[0].iso.n);
  const double sequences = recipe_sequences(c, c->from_flops);
  if (!c->batch_tokens && sequences < 1.5)
    fprintf(f,
            "there the recipe does not hold. Its rule for the batch, %g tokens at %g FLOPs and growing as "
            "C<sup>%g</sup>, wants %.2f sequences of %d tokens at %s FLOPs and %.2f at %s, the least of these runs; no "
            "run can have less than one. ",
            c->batch_at, RECIPE_FLOPS, c->batch_exponent, sequences, c->seq_len, text_budget(c->from_flops),
            recipe_sequences(c, least), text_budget(least));
  fputs("They are drawn in grey in Fig 3, with parabolas of their own, and <a href=\"#all-budgets\">what they would "
        "change</a> stands below Table 2; <a href=\"tables/excluded.csv\">excluded.csv</a> names each.</p>\n",
        f);
}

int put_excluded(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  (void)dir;
  int out = 0, repeats = 0;
  for (int i = 0; i < s->all->n; i++) {
    const Point p = point_of(&s->all->r[i], &conventions[0]);
    out += !p.used, repeats += p.used && p.repeats;
  }
  fputs("<h2 id=\"excluded\">What was left out, and why</h2>\n", f);
  if (s->whole) put_below(f, s);
  if (!out)
    fprintf(f, "<p>No %srun was excluded.</p>\n", s->whole ? "other " : "");
  else {
    fputs(
        "<div class=\"scroll\"><table><caption>Of all parts. <a href=\"tables/excluded.csv\">excluded.csv</a></caption>"
        "<thead><tr><th class=\"l\">run</th><th>FLOPs</th><th>parameters</th><th class=\"l\">why</th></tr></thead>"
        "<tbody>\n",
        f);
    for (int i = 0; i < s->all->n; i++) {
      const Record *r = &s->all->r[i];
      const Point p = point_of(r, &conventions[0]);
      if (p.used) continue;
      fprintf(f,
              "<tr><td class=\"l\"><a href=\"#run-%s\"><code>%s</code></a></td><td>%s</td><td>%s</td><td class=\"w\">",
              r->id, r->id, text_budget(r->tokens * r->flops_per_token.exact), text_count(r->params.total));
      html_text(f, p.why_not);
      fputs("</td></tr>\n", f);
    }
    fputs("</tbody></table></div>\n", f);
  }
  if (repeats)
    fprintf(f,
            "<p>%d run%s saw more than one epoch of the corpus: used in the fits, drawn as open circles, and marked in "
            "the table of runs.</p>\n",
            repeats, repeats == 1 ? "" : "s");
  if (s->records->n_bad) {
    fprintf(f, "<p>%d record%s could not be read. The first: ", s->records->n_bad, s->records->n_bad == 1 ? "" : "s");
    html_text(f, s->records->first_bad);
    fputs("</p>\n", f);
  }
  return e->code;
}

// Of imported runs only this much is known.
static void put_imported(FILE *f, const Points *ps) {
  fputs(
      "<h2 id=\"runs\">All runs</h2>\n<div class=\"scroll\"><table class=\"sort\"><caption>Named by their rows in the "
      "file.</caption><thead><tr><th class=\"l\">run</th><th>FLOPs</th><th>parameters</th><th>tokens</th><th>loss</th>"
      "</tr></thead><tbody>\n",
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

// Does no fit of the laws see this run, for a reason that stands under "What was left out"?
static bool left_out(const StudyFit *s, const Record *r) {
  for (int i = 0; i < s->a[0].points.n && s->whole; i++) {
    const Point *p = &s->a[0].points.p[i];
    if (p->below && !strcmp(p->run->id, r->id)) return true;
  }
  return !point_of(r, &conventions[0]).used;
}

// The parts that want a run, by name.
static void put_part_names(FILE *f, const Parts *ps, const char *id) {
  int n = 0;
  for (int k = 0; k < ps->n; k++)
    for (int i = 0; i < ps->p[k].rs.n; i++)
      if (!strcmp(ps->p[k].rs.r[i].id, id)) {
        fprintf(f, "%s%s", n++ ? ", " : "", ps->p[k].name);
        break;
      }
}

int put_runs(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  (void)dir;
  if (s->imported) return put_imported(f, &s->a[0].points), e->code;
  fputs(
      "<h2 id=\"runs\">All runs</h2>\n<p class=\"note\">The last column, typed in the study’s folder, runs a row again "
      "and compares. The same program on the same kernels and the same C library gives the same bytes, all but the "
      "seconds, for any number of threads.</p>\n<div class=\"scroll\"><table class=\"sort\"><caption><a "
      "href=\"runs.csv\">runs.csv</a> has every column. Shape: width × layers × heads. D in tokens; ± is the standard "
      "error of the held-out loss.</caption><thead><tr><th class=\"l\">run</th><th class=\"l\">part</th><th "
      "class=\"l\">status</th><th>FLOPs</th><th>shape</th><th>N</th><th>D</th><th>steps</th><th>batch</th><th>rate</th>"
      "<th>seed</th><th>epochs</th><th>loss</th><th>± se</th><th>train</th><th>seconds</th><th class=\"l "
      "again\">again</th>"
      "</tr></thead><tbody>\n",
      f);
  for (int i = 0; i < s->all->n; i++) {
    const Record *r = &s->all->r[i];
    const Config *c = &r->cfg;
    fprintf(f, "<tr id=\"run-%s\"%s><td class=\"l\"><code>%s</code></td><td class=\"l\">", r->id,
            left_out(s, r) ? " class=\"off\"" : "", r->id);
    put_part_names(f, &s->parts, r->id);
    fprintf(f,
            "</td><td class=\"l\">%s%s</td><td>%.3g</td><td>%d×%d×%d</td><td>%s</td><td>%s</td><td>%d</td><td>%d</td>",
            r->status, r->epochs > 1 ? ", repeats" : "", r->tokens * r->flops_per_token.exact, c->d_model, c->n_layers,
            c->n_heads, text_count(r->params.total), text_count(r->tokens), r->steps, c->batch_tokens);
    fprintf(f, "<td>%.3g</td><td>%d</td><td>%.2f</td>", c->lr, c->seed, r->epochs);
    const double loss[] = {r->val_loss, r->val_loss_se, r->train_loss};
    for (int j = 0; j < 3; j++) isfinite(loss[j]) ? fprintf(f, "<td>%.4f</td>", loss[j]) : fprintf(f, "<td>-</td>");
    fprintf(f, "<td>%.1f</td><td class=\"l again\"><code>isoflop rerun . %s</code></td></tr>\n", r->seconds, r->id);
  }
  fputs("</tbody></table></div>\n", f);
  return e->code;
}

int put_provenance(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  (void)dir;
  if (s->imported) return e->code;
  double flops = 0, seconds = 0;
  int finished = 0;
  for (int i = 0; i < s->all->n; i++) {
    const Record *r = &s->all->r[i];
    if (isfinite(r->tokens * r->flops_per_token.exact)) flops += r->tokens * r->flops_per_token.exact;
    if (isfinite(r->seconds)) seconds += r->seconds * (r->threads > 1 ? r->threads : 1);
    finished += !strcmp(r->status, "finished");
  }
  fputs("<h2 id=\"provenance\">Where it comes from</h2>\n<dl>\n", f);
  const struct {
    const char *name;
    GetText get;
  } rows[] = {{"corpora", get_corpus},  {"corpus hashes", get_hash}, {"processor", get_cpu},
              {"kernels", get_kernels}, {"commit", get_commit},      {"compiler", get_compiler}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    fprintf(f, "<dt>%s</dt><dd>", rows[i].name);
    put_distinct(f, s->all, rows[i].get);
    fputs("</dd>\n", f);
  }
  const double rate = flops / seconds / 1e9;
  fprintf(f, "<dt>training</dt><dd>%d runs, %.4g exact FLOPs in %s of one core: %.1f GFLOP/s", finished, flops,
          plan_duration(seconds), rate);
  if (s->peak > 0) fprintf(f, ", %.0f %% of its peak of %.1f", 100 * rate / s->peak, s->peak);
  fputs("</dd>\n", f);
  fputs("</dl>\n", f);
  return e->code;
}
