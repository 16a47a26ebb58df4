// report_choices.c: are the choices behind the runs good ones? Parts neighbours (rate and batch around the rule), depth
// and heads (shape at equal size), bf16.
//
// In: a study with these parts. Out: HTML, figures and tables. The invariant: every difference stands beside the noise
// between seeds.
#include "contrast.h"
#include "report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *short_name(const Record *r) {
  static char name[4][64];
  static int at;
  char *s = name[at++ % 4];
  snprintf(s, sizeof *name, "%s at %s", text_count(r->params.total), text_budget(r->cfg.budget));
  return s;
}

static double noise_of(const Contrast *k, const StudyFit *s) {
  return isnan(k->seed_sd) ? s->a[0].points.seed_sd : k->seed_sd;
}

// A group's levels less the mean of level `base`, as bars and a thin line.
static void add_group(Plot *p, const Contrast *k, int group, const Level *l, int n, int base, double scale, double sd) {
  const int bars = plot_series(p, PLOT_BARS, plot_color(group), "%s", short_name(contrast_first(k, group)));
  const int line = plot_series(p, PLOT_THIN, plot_color(group), "%s", "");
  for (int i = 0; i < n; i++) {
    double se;
    const double d = contrast_difference(k, l, n, i, base, sd, &se);
    PlotPoint *q = plot_add(p, bars, l[i].level / scale, d);
    if (!isnan(se)) q->lo = d - se, q->hi = d + se;
    q->run = k->item[l[i].first].r;
    snprintf(q->note, sizeof q->note, "mean of %d: %+.4f", l[i].n, d);
    plot_add(p, line, l[i].level / scale, d);
  }
}

// ---- Neighbours ---------------------------------------------------------------------------------------------

static double rate_of(const Record *r) { return r->cfg.lr; }
static double batch_of(const Record *r) { return r->cfg.batch_tokens; }
static double both_of(const Record *r) { return 1e9 * r->cfg.lr + r->cfg.batch_tokens; }  // tells runs apart by either

// The rule's value in a group: the one that most runs have, since everything else is varied around it.
static double most_common(const Contrast *k, int group, LevelOf *of) {
  double best = NAN;
  int most = 0;
  for (int i = 0; i < k->n; i++) {
    int same = 0;
    for (int j = 0; j < k->n; j++)
      same += k->item[j].group == group && k->item[i].group == group && of(k->item[j].r) == of(k->item[i].r);
    if (same > most) most = same, best = of(k->item[i].r);
  }
  return best;
}

// The runs of `all` in which only `of` departs from the rule.
static void along(Contrast *k, const Contrast *all, LevelOf *of, LevelOf *fixed) {
  k->n = 0, k->groups = all->groups, k->seed_sd = all->seed_sd;
  for (int i = 0; i < all->n; i++)
    if (fixed(all->item[i].r) == most_common(all, all->item[i].group, fixed)) {
      k->item[k->n] = all->item[i];
      k->item[k->n++].level = of(all->item[i].r);
    }
  // Ordered by rate so far; by level within a group.
  for (int i = 1; i < k->n; i++)
    for (int j = i; j > 0 && k->item[j].group == k->item[j - 1].group && k->item[j].level < k->item[j - 1].level; j--) {
      const Item swap = k->item[j];
      k->item[j] = k->item[j - 1], k->item[j - 1] = swap;
    }
}

static int base_of(const Level *l, int n, double at) {
  for (int i = 0; i < n; i++)
    if (l[i].level == at) return i;
  return -1;
}

int put_neighbours(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  const PartFit *part = parts_find(&s->parts, "neighbours");
  Contrast all, k = {0};
  Plot p[2] = {0};
  OutFile o;
  char path[1024], *rows = NULL;
  size_t len;
  if (!part || contrast_make(&all, part, both_of, 1, e)) return e->code;
  if (!(k.item = mem_new(sizeof(Item) * (size_t)(all.n + 1), "runs of a part", e))) goto done;
  snprintf(path, sizeof path, "%s/tables/neighbours.csv", dir);
  if (!all.n || out_open(&o, path, e)) goto done;
  FILE *t = text_open(&rows, &len, e);
  if (!t) {
    out_abort(&o);
    goto done;
  }
  plot_begin(&p[0], "neighbours_rate", PLOT_HALF, "Peak rate", "Times the rule", "Held-out loss less the rule’s");
  plot_begin(&p[1], "neighbours_batch", PLOT_HALF, "Batch", "Times the rule", "Held-out loss less the rule’s");
  fputs("params,budget,varied,times_the_rule,runs,minus_rule,minus_rule_se\n", o.f);
  int better = 0, neighbours = 0;
  const double sd = noise_of(&all, s);
  for (int j = 0; j < 2; j++) {
    p[j].key = "top center", p[j].format = "%.3f";
    snprintf(p[j].ticks, sizeof p->ticks, "'.25' .25, '.4' .4, '.6' .6, '1' 1, '1.6' 1.6, '2.5' 2.5, '4' 4");
    along(&k, &all, j ? batch_of : rate_of, j ? rate_of : batch_of);
    for (int g = 0; g < all.groups; g++) {
      Level l[MAX_LEVELS_SHOWN];
      const int n = contrast_levels(&k, g, l);
      const double rule = most_common(&all, g, j ? batch_of : rate_of);
      const int base = base_of(l, n, rule);
      const Record *r = contrast_first(&all, g);
      if (base < 0) continue;
      add_group(&p[j], &k, g, l, n, base, rule, sd);
      for (int i = 0; i < n; i++) {
        if (i == base) continue;
        double se;
        const double d = contrast_difference(&k, l, n, i, base, sd, &se);
        neighbours++, better += d < -2 * se;
        fprintf(o.f, "%.17g,%.17g,%s,%.17g,%d,%.17g,%.17g\n", r->params.total, r->cfg.budget, j ? "batch" : "rate",
                l[i].level / rule, l[i].n, d, se);
        fprintf(t,
                "<tr><td class=\"l\">%s</td><td class=\"l\">%s</td><td>%.3g×</td><td>%d</td><td><b>%+.4f</b></td>"
                "<td>%.4f</td><td class=\"l\">%s</td></tr>\n",
                short_name(r), j ? "batch" : "rate", l[i].level / rule, l[i].n, d, se,
                d < -2 * se  ? "better than the rule"
                : d < 2 * se ? "no better than noise"
                             : "worse");
      }
    }
  }
  if (text_close(t, e)) {
    out_abort(&o);
    goto done;
  }
  if (out_commit(&o, e) || plots_draw(p, 2, dir, "neighbours", e)) goto done;
  fputs("<h2 id=\"tuning\">Is the tuning right?</h2>\n<figure id=\"neighbours\">\n", f);
  if (plots_inline(f, p, 2, dir, e)) goto done;
  fprintf(
      f,
      "<figcaption>Peak rate and batch around the rule, everything else as it is; bars are one standard error of the "
      "mean difference (the noise between seeds is %.4f, sd). Of %d neighbours, %d %s better than the rule by more "
      "than "
      "two of them. ",
      sd, neighbours, better, better == 1 ? "is" : "are");
  put_files(f, "neighbours", (const char *const[]){"neighbours_rate", "neighbours_batch", NULL});
  fprintf(
      f,
      "<div class=\"scroll\"><table><caption><a "
      "href=\"tables/neighbours.csv\">neighbours.csv</a></caption><thead><tr><th class=\"l\">size</th><th class=\"l\">"
      "varied</th><th>times the rule</th><th>runs</th><th>difference</th><th>±</th><th class=\"l\"></th></tr></thead>"
      "<tbody>\n%s</tbody></table></div>\n",
      rows ? rows : "");
done:
  free(rows);
  plots_free(p, 2);
  free(k.item);
  contrast_free(&all);
  return e->code;
}

// ---- Shape at equal size --------------------------------------------------------------------------------------

static double depth_of(const Record *r) { return r->cfg.n_layers; }
static double heads_of(const Record *r) { return r->cfg.n_heads; }

int put_invariance(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  static const char *const name[] = {"depth", "heads"}, *const title[] = {"Depth against width", "Number of heads"},
                           *const axis[] = {"Layers", "Heads"};
  Plot p[2] = {0};
  int n = 0;
  double spread[2] = {NAN, NAN}, noise = NAN;
  for (int j = 0; j < 2 && !e->code; j++) {
    const PartFit *part = parts_find(&s->parts, name[j]);
    Contrast k;
    // A shape of another depth has not quite the same number of parameters.
    if (!part || contrast_make(&k, part, j ? heads_of : depth_of, 1.35, e)) continue;
    char panel[32];
    snprintf(panel, sizeof panel, "shape_%s", name[j]);
    plot_begin(&p[n], panel, PLOT_HALF, title[j], axis[j], "Held-out loss less the best");
    p[n].key = "top center", p[n].format = "%.3f";
    snprintf(p[n].ticks, sizeof p->ticks,
             "'1' 1, '2' 2, '3' 3, '4' 4, '5' 5, '6' 6, '8' 8, '10' 10, '12' 12, '16' 16, '24' 24, '32' 32");
    noise = noise_of(&k, s);
    for (int g = 0; g < k.groups; g++) {
      Level l[MAX_LEVELS_SHOWN];
      const int levels = contrast_levels(&k, g, l);
      int best = 0;
      for (int i = 1; i < levels; i++)
        if (l[i].mean < l[best].mean) best = i;
      if (levels < 2) continue;
      add_group(&p[n], &k, g, l, levels, best, 1, noise);
      // From two layers on: one cannot copy from its context.
      double most = 0;
      for (int i = 0; i < levels; i++)
        if (j || l[i].level > 1) most = fmax(most, l[i].mean - l[best].mean);
      spread[j] = fmax(isnan(spread[j]) ? 0 : spread[j], most);
    }
    n += p[n].n_series > 0;
    contrast_free(&k);
  }
  if (!n || e->code || plots_draw(p, n, dir, "shape", e)) goto done;
  fputs("<h2 id=\"shape\">Does the shape matter at equal size?</h2>\n<figure id=\"shape-figure\">\n", f);
  if (plots_inline(f, p, n, dir, e)) goto done;
  fputs("<figcaption>Final held-out loss of shapes with the same budget and (nearly) the same parameters, less that of "
        "the "
        "best; bars are one standard error of the mean difference. ",
        f);
  if (!isnan(spread[0])) fprintf(f, "From two layers on, depth moves the loss by at most %.4f nats. ", spread[0]);
  if (!isnan(spread[1])) fprintf(f, "The number of heads moves it by at most %.4f. ", spread[1]);
  put_files(f, "shape", (const char *const[]){p[0].panel.name, n > 1 ? p[1].panel.name : NULL, NULL});
done:
  plots_free(p, 2);
  return e->code;
}

// ---- bf16 -----------------------------------------------------------------------------------------------------

static double bf16_of(const Record *r) { return !strcmp(r->cfg.precision, "bf16"); }

int put_precision(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  const PartFit *part = parts_find(&s->parts, "bf16");
  Contrast k;
  Plot p = {0};
  if (!part || contrast_make(&k, part, bf16_of, 1, e)) return e->code;
  plot_begin(&p, "bf16_difference", PLOT_WIDE, "bf16 less fp32", "Parameters", "Difference of held-out loss");
  p.counts = true, p.format = "%.3f";
  const double sd = noise_of(&k, s);
  const int zero = plot_series(&p, PLOT_THIN, "#70777f", "%s", ""),
            bars = plot_series(&p, PLOT_BARS, plot_color(0), "%s", "");
  double sum = 0, squares = 0, seconds[2] = {0};
  int pairs = 0;
  for (int g = 0; g < k.groups; g++) {
    Level l[MAX_LEVELS_SHOWN];
    if (contrast_levels(&k, g, l) != 2) continue;
    double se;
    const double d = contrast_difference(&k, l, 2, 1, 0, sd, &se);
    const Record *r = k.item[l[1].first].r;
    PlotPoint *q = plot_add(&p, bars, r->params.total, d);
    q->run = r, q->lo = d - se, q->hi = d + se;
    snprintf(q->note, sizeof q->note, "bf16 less fp32: %+.4f", d);
    sum += d, squares += d * d, pairs++;
    for (int j = 0; j < 2; j++)
      for (int i = l[j].first; i < l[j].first + l[j].n; i++) seconds[j] += k.item[i].r->seconds / l[j].n;
  }
  if (!pairs) goto done;
  double n0 = INFINITY, n1 = 0;
  for (int i = 0; i < p.n; i++) n0 = fmin(n0, p.p[i].x), n1 = fmax(n1, p.p[i].x);
  plot_add(&p, zero, n0 / 1.1, 0), plot_add(&p, zero, n1 * 1.1, 0);
  if (plots_draw(&p, 1, dir, "bf16", e)) goto done;
  fputs("<h2 id=\"bf16\">bf16 or fp32?</h2>\n<figure id=\"bf16-figure\">\n", f);
  if (plots_inline(f, &p, 1, dir, e)) goto done;
  fprintf(
      f,
      "<figcaption>%d cells run with products in bf16 and in fp32, everything else the same, seed included; bars are "
      "one standard error of the difference (the noise between seeds is %.4f, sd). Mean difference %+.4f nats (± "
      "%.4f); time %.2f of fp32’s. ",
      pairs, sd, sum / pairs, pairs > 1 ? sqrt((squares - sum * sum / pairs) / (pairs - 1) / pairs) : NAN,
      seconds[1] / seconds[0]);
  put_files(f, "bf16", (const char *const[]){"bf16_difference", NULL});
done:
  plots_free(&p, 1);
  contrast_free(&k);
  return e->code;
}
