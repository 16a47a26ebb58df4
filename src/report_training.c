// report_training.c: how the schedule and the optimiser change a run: Fig A1 (part cosine), Fig A7 (part adam).
//
// In: a study with these parts. Out: HTML, figures and tables. The invariant: a difference is shown with the noise
// between seeds.
#include "contrast.h"
#include "report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 80, MAX_GROUPS = 6 };
static const double FROM = .15;  // of the horizon, where curves begin to tell

static const char *group_name(const Record *r) {
  static char name[4][64];
  static int at;
  char *s = name[at++ % 4];
  snprintf(s, sizeof *name, "%s parameters, %s FLOPs", text_count(r->params.total), text_budget(r->cfg.budget));
  return s;
}

// ---- Fig A1 -------------------------------------------------------------------------------------------------

static double cycle_of(const Record *r) { return r->cfg.cosine_cycle; }

static void cosine_curves(Plot *p, const Contrast *k, int group) {
  Level l[MAX_LEVELS_SHOWN];
  const int n = contrast_levels(k, group, l);
  double lo = INFINITY, hi = 0;
  char name[32];
  snprintf(name, sizeof name, "figa1_curves%d", group);
  plot_begin(p, name, PLOT_HALF, group_name(contrast_first(k, group)), "Share of the run",
             "Training loss (nats per token)");
  p->panel.lin_x = true, p->key = "top right";
  for (int i = 0; i < n; i++) {
    char hex[8];
    figures_color(i, n, hex);
    const int line = plot_series(p, PLOT_LINE, hex, "cosine %g times the run", l[i].level);
    for (int j = 0; j <= STEPS; j++) {
      const double u = FROM + (1 - FROM) * j / STEPS, y = level_curve_at(k, &l[i], u);
      plot_add(p, line, u, y);
      lo = fmin(lo, y);
      if (u > .35) hi = fmax(hi, y);
    }
  }
  if (hi > lo) p->panel.y0 = lo - .05 * (hi - lo), p->panel.y1 = hi + .35 * (hi - lo);
}

static int cosine_table(FILE *f, const Contrast *k, const char *dir, Plot *final, Err *e) {
  char path[1024];
  OutFile o;
  snprintf(path, sizeof path, "%s/tables/figa1.csv", dir);
  if (out_open(&o, path, e)) return e->code;
  fputs("params,budget,cosine_cycle,runs,loss,loss_se,minus_matched,minus_matched_se\n", o.f);
  fputs("<div class=\"scroll\"><table><caption>Final held-out loss, less that of the matched cosine; ± one standard "
        "error of the mean difference. <a href=\"tables/figa1.csv\">figa1.csv</a></caption><thead><tr><th "
        "class=\"l\">size"
        "</th><th>cosine</th><th>runs</th><th>loss</th><th>difference</th><th>±</th></tr></thead><tbody>\n",
        f);
  for (int g = 0; g < k->groups; g++) {
    Level l[MAX_LEVELS_SHOWN];
    const int n = contrast_levels(k, g, l);
    const Record *r = contrast_first(k, g);
    const int bars = plot_series(final, PLOT_BARS, plot_color(g), "%s", group_name(r));
    const int line = plot_series(final, PLOT_THIN, plot_color(g), "%s", "");
    for (int i = 0; i < n; i++) {
      double se;
      const double d = contrast_difference(k, l, n, i, 0, k->seed_sd, &se);
      PlotPoint *q = plot_add(final, bars, l[i].level, d);
      q->run = k->item[l[i].first].r;
      snprintf(q->note, sizeof q->note, "cosine %g times the run, mean of %d: %+.4f", l[i].level, l[i].n, d);
      if (!isnan(se)) q->lo = d - se, q->hi = d + se;
      plot_add(final, line, l[i].level, d);
      fprintf(o.f, "%.17g,%.17g,%.17g,%d,%.17g,%.17g,%.17g,%.17g\n", r->params.total, r->cfg.budget, l[i].level, l[i].n,
              l[i].mean, l[i].se, d, se);
      fprintf(
          f,
          "<tr%s><td class=\"l\">%s</td><td>%g×</td><td>%d</td><td>%.4f</td><td><b>%+.4f</b></td><td>%.4f</td></tr>\n",
          i ? "" : " class=\"top\"", i ? "" : group_name(r), l[i].level, l[i].n, l[i].mean, d, se);
    }
  }
  fputs("</tbody></table></div>\n", f);
  return out_commit(&o, e);
}

int put_cosine(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  const PartFit *part = parts_find(&s->parts, "cosine");
  Contrast k;
  Plot p[4] = {0};
  if (!part || contrast_make(&k, part, cycle_of, 1, e)) return e->code;
  char *table;
  size_t len;
  FILE *t = text_open(&table, &len, e);
  const int shown = k.groups < 3 ? k.groups : 3, n = shown + 1;
  if (!k.groups || !t) goto done;
  for (int g = 0; g < shown; g++) cosine_curves(&p[g], &k, g);
  plot_begin(&p[shown], "figa1_final", PLOT_HALF, "What it costs at the end", "Length of the cosine, in runs",
             "Held-out loss less the matched one’s");
  p[shown].key = "top left", p[shown].format = "%.3f";
  snprintf(p[shown].ticks, sizeof p->ticks, "'1' 1, '1.25' 1.25, '1.5' 1.5, '2' 2, '3' 3, '5' 5");
  if (cosine_table(t, &k, dir, &p[shown], e)) goto done;
  text_close(t, e);
  t = NULL;
  if (e->code || plots_draw(p, n, dir, "figa1", e)) goto done;
  fputs("<h2 id=\"cosine\">Does the cosine have to end with the run?</h2>\n<figure id=\"figa1\">\n", f);
  if (plots_inline(f, p, n, dir, e)) goto done;
  fputs("<figcaption>Fig A1 of the paper, which found that a cosine more than 25 % too long clearly hurts. Curves: "
        "smoothed training loss, mean over seeds; last panel: final held-out loss, with one standard error of the mean "
        "difference between runs of the same seed. ",
        f);
  if (!isnan(k.seed_sd)) fprintf(f, "The noise between seeds is %.4f (sd). ", k.seed_sd);
  put_files(f, "figa1", (const char *const[]){p[0].panel.name, p[shown].panel.name, NULL});
  fputs(table, f);
done:
  if (t) fclose(t);
  free(table);
  plots_free(p, 4);
  contrast_free(&k);
  return e->code;
}

// ---- Fig A7 -------------------------------------------------------------------------------------------------

// Without decay Adam and AdamW are one.
enum { ADAMW, ADAM, NO_DECAY, OPTIMIZERS };
static const char *const optimizer_name[OPTIMIZERS] = {"AdamW", "Adam, decay as an L2 penalty", "no decay"};
static double adam_of(const Record *r) {
  return r->cfg.weight_decay == 0 ? NO_DECAY : !strcmp(r->cfg.optimizer, "adam") ? ADAM : ADAMW;
}

// Both of them, as the first two levels?
static bool has_pair(const Contrast *k, int group, Level l[MAX_LEVELS_SHOWN], int *n) {
  *n = contrast_levels(k, group, l);
  return *n >= 2 && l[0].level == ADAMW && l[1].level == ADAM;
}

// The share of the run from which on AdamW stays below Adam; NaN where it does not.
static double crossing(const Contrast *k, const Level l[2]) {
  double from = NAN;
  for (int j = 0; j <= STEPS; j++) {
    const double u = FROM + (1 - FROM) * j / STEPS;
    const bool below = level_curve_at(k, &l[0], u) < level_curve_at(k, &l[1], u);
    if (!below)
      from = NAN;
    else if (isnan(from))
      from = u;
  }
  return from;
}

int put_optimizer(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  const PartFit *part = parts_find(&s->parts, "adam");
  Contrast k;
  Plot p[3] = {0};
  OutFile o;
  char path[1024];
  if (!part || contrast_make(&k, part, adam_of, 1, e)) return e->code;
  Level l[MAX_LEVELS_SHOWN];
  int last = -1, levels;
  for (int g = 0; g < k.groups; g++)
    if (has_pair(&k, g, l, &levels)) last = g;
  snprintf(path, sizeof path, "%s/tables/figa7.csv", dir);
  if (last < 0 || out_open(&o, path, e)) goto done;
  plot_begin(&p[0], "figa7_curves", PLOT_HALF, group_name(contrast_first(&k, last)), "Share of the run",
             "Training loss (nats per token)");
  static const char *const panel[] = {"figa7_difference", "figa7_no_decay"}, *const title[] = {"AdamW less Adam",
                                                                                               "AdamW less no decay"};
  for (int j = 1; j < 3; j++) {
    plot_begin(&p[j], panel[j - 1], PLOT_HALF, title[j - 1], "Share of the run", "Difference of training loss");
    p[j].key = "bottom left", p[j].format = "%.3f";
  }
  for (int j = 0; j < 3; j++) p[j].panel.lin_x = true;
  p[0].key = "top right";
  has_pair(&k, last, l, &levels);
  for (int j = 0; j < levels; j++) {
    const int line = plot_series(&p[0], PLOT_LINE, plot_color(j), "%s", optimizer_name[(int)l[j].level]);
    for (int i = 0; i <= STEPS; i++) {
      const double u = FROM + (1 - FROM) * i / STEPS;
      PlotPoint *q = plot_add(&p[0], line, u, level_curve_at(&k, &l[j], u));
      if (i == STEPS) q->run = k.item[l[j].first].r;
    }
  }
  const int panels = levels > 2 ? 3 : 2;
  for (int j = 1; j < panels; j++) {
    const int zero = plot_series(&p[j], PLOT_THIN, "#70777f", "%s", "");
    plot_add(&p[j], zero, FROM, 0), plot_add(&p[j], zero, 1, 0);
  }
  char *rows;
  size_t len;
  FILE *t = text_open(&rows, &len, e);
  if (!t) {
    out_abort(&o);
    goto done;
  }
  fputs("params,budget,runs,loss_adamw,loss_adam,difference,difference_se,loss_no_decay,crossing\n", o.f);
  int better = 0, pairs = 0;
  for (int g = 0; g < k.groups; g++) {
    if (!has_pair(&k, g, l, &levels)) continue;
    const Record *r = contrast_first(&k, g);
    double se;
    const double d = contrast_difference(&k, l, 2, 0, 1, k.seed_sd, &se), cross = crossing(&k, l);
    for (int j = 1; j < panels && j < levels; j++) {
      const int line = plot_series(&p[j], PLOT_LINE, plot_color(g), "%s", group_name(r));
      for (int i = 0; i <= STEPS; i++) {
        const double u = FROM + (1 - FROM) * i / STEPS;
        PlotPoint *q = plot_add(&p[j], line, u, level_curve_at(&k, &l[0], u) - level_curve_at(&k, &l[j], u));
        if (i == STEPS) q->run = k.item[l[j].first].r;
      }
    }
    better += d < 0, pairs++;
    fprintf(o.f, "%.17g,%.17g,%d,%.17g,%.17g,%.17g,%.17g", r->params.total, r->cfg.budget, l[0].n + l[1].n, l[0].mean,
            l[1].mean, d, se);
    levels > 2 ? fprintf(o.f, ",%.17g", l[2].mean) : fputc(',', o.f);
    isnan(cross) ? fputs(",\n", o.f) : fprintf(o.f, ",%.17g\n", cross);
    fprintf(t,
            "<tr><td class=\"l\">%s</td><td>%d + %d</td><td>%.4f</td><td>%.4f</td><td><b>%+.4f</b></td><td>%.4f</td>",
            group_name(r), l[0].n, l[1].n, l[0].mean, l[1].mean, d, se);
    levels > 2 ? fprintf(t, "<td>%.4f</td>", l[2].mean) : fputs("<td></td>", t);
    isnan(cross)    ? fputs("<td>never</td></tr>\n", t)
    : cross <= FROM ? fputs("<td>from the start</td></tr>\n", t)
                    : fprintf(t, "<td>%.0f %%</td></tr>\n", 100 * cross);
  }
  if (text_close(t, e)) out_abort(&o);
  else if (!out_commit(&o, e) && !plots_draw(p, panels, dir, "figa7", e)) {
    fputs("<h2 id=\"adam\">AdamW or Adam?</h2>\n<figure id=\"figa7\">\n", f);
    plots_inline(f, p, panels, dir, e);
    fprintf(
        f,
        "<figcaption>Fig A7 of the paper, where AdamW ends lower and crosses about 80 %% of the way. Smoothed training "
        "loss, mean over seeds. Here AdamW ends lower at %d of %d sizes. ",
        better, pairs);
    put_files(f, "figa7",
              (const char *const[]){"figa7_curves", "figa7_difference", panels > 2 ? "figa7_no_decay" : NULL, NULL});
    fprintf(f,
            "<div class=\"scroll\"><table><caption>Final held-out loss; ± one standard error of the difference. "
            "Crossing: the share "
            "of the run from which on AdamW’s training loss stays below. <a href=\"tables/figa7.csv\">figa7.csv</a>"
            "</caption><thead><tr><th class=\"l\">size</th><th>runs</th><th>AdamW</th><th>Adam</th><th>difference</th>"
            "<th>±</th><th>no decay</th><th>crossing</th></tr></thead><tbody>\n%s</tbody></table></div>\n",
            rows);
  }
  free(rows);
done:
  plots_free(p, 3);
  contrast_free(&k);
  return e->code;
}
