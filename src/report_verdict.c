// report_verdict.c: the forecast that was written down before the verdict's pair was trained, and what came of it.
//
// In: DIR/verdict.csv (a line a model; verdict_cmd.c writes it) and DIR/forecast-PART.ini. Out: a figure and a table a
// part. The invariant: the page judges nothing itself; it says what these files say.
#include "verdict.h"
#include "report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 64, MODELS = 16, MAX_NAME = 32 };
typedef struct Csv {
  char *head[COLUMNS], *cell[MODELS][COLUMNS];
  int columns, n;
} Csv;

static int line_split(char *line, char *out[COLUMNS]) {
  int n = 0;
  for (char *s = line; s && n < COLUMNS; n++) {
    out[n] = s;
    if ((s = strchr(s, ','))) *s++ = 0;
  }
  return n;
}

static void csv_parse(Csv *c, char *text) {
  *c = (Csv){0};
  for (char *s = text, *next; s && *s; s = next) {
    if ((next = strchr(s, '\n'))) *next++ = 0;
    if (!c->columns)
      c->columns = line_split(s, c->head);
    else if (c->n < MODELS && line_split(s, c->cell[c->n]) == c->columns)
      c->n++;
  }
}

static const char *text_of(const Csv *c, int row, const char *name) {
  for (int j = 0; j < c->columns; j++)
    if (!strcmp(c->head[j], name)) return c->cell[row][j];
  return "";
}
static double value_of(const Csv *c, int row, const char *name) {
  const char *s = text_of(c, row, name);
  char *end;
  const double x = strtod(s, &end);
  return end > s ? x : NAN;
}

static const Record *record_of(const StudyFit *s, const char *id) {
  for (int i = 0; i < s->all->n; i++)
    if (!strcmp(s->all->r[i].id, id)) return &s->all->r[i];
  return NULL;
}

static int put_figure(FILE *f, const StudyFit *s, const Csv *c, const char *dir, Err *e) {
  Plot p;
  plot_begin(&p, "verdict_losses", PLOT_WIDE, "Forecast and measured", "", "Held-out loss (nats per token)");
  p.panel.lin_x = true, p.key = "bottom right", p.panel.x0 = -.6, p.panel.x1 = c->n - .4;
  const int forecast = plot_series(&p, PLOT_BARS, plot_color(0), "forecast, 80 %%"),
            measured = plot_series(&p, PLOT_POINTS, plot_color(1), "measured");
  size_t at = 0;
  for (int i = 0; i < c->n; i++) {
    PlotPoint *q = plot_add(&p, forecast, i - .05, value_of(c, i, "forecast"));
    q->lo = value_of(c, i, "p10"), q->hi = value_of(c, i, "p90");
    snprintf(q->note, sizeof q->note, "forecast %.4f (%.4f to %.4f)", q->y, q->lo, q->hi);
    q = plot_add(&p, measured, i + .05, value_of(c, i, "loss"));
    q->run = record_of(s, text_of(c, i, "run_id"));
    snprintf(q->note, sizeof q->note, "measured %.4f", q->y);
    at += (size_t)snprintf(p.ticks + at, sizeof p.ticks - at, "%s'%.*s, %s' %d", at ? ", " : "", MAX_NAME,
                           text_of(c, i, "part"), text_count(value_of(c, i, "params")), i);
  }
  if (!plots_draw(&p, 1, dir, "verdict", e)) {
    fputs("<figure id=\"verdict-figure\">\n", f);
    plots_inline(f, &p, 1, dir, e);
    fputs("<figcaption>The loss of each model as it was forecast before training, and as it came out. ", f);
    put_files(f, "verdict", (const char *const[]){"verdict_losses", NULL});
  }
  plots_free(&p, 1);
  return e->code;
}

typedef struct Row {
  const char *title, *column, *se, *format;
  double scale;
} Row;
static const Row rows[] = {{"bits per byte", "bits_per_byte", "bits_per_byte_se", "%.4f", 1},
                           {"word perplexity", "word_perplexity", "word_perplexity_se", "%.4g", 1},
                           {"last word right, %", "last_word", "last_word_se", "%.2f", 100},
                           {"FLOPs a token, forward", "flops_per_token_forward", NULL, "%.4g", 1}},
                 unseen[] = {{"bits per byte", "other_bits_per_byte", "other_bits_per_byte_se", "%.4f", 1},
                             {"word perplexity", "other_word_perplexity", "other_word_perplexity_se", "%.4g", 1},
                             {"last word right, %", "other_last_word", "other_last_word_se", "%.2f", 100}};

// Of models k and k + 1.
static void put_row(FILE *f, const Csv *c, int k, const Row *row, const char *on) {
  fprintf(f, "</tr>\n<tr><td class=\"l\">%s", row->title);
  if (*on) fputs(", on ", f), html_text(f, on);
  fputs("</td>", f);
  for (int j = k; j < k + 2; j++) {
    fputs("<td>", f);
    fprintf(f, row->format, row->scale * value_of(c, j, row->column));
    if (row->se) fputs(" ± ", f), fprintf(f, row->format, row->scale * value_of(c, j, row->se));
    fputs("</td>", f);
  }
}

// Of models k and k + 1, the recommended one and the larger.
static void put_pair(FILE *f, const Csv *c, int k, const char *dir) {
  const char *part = text_of(c, k, "part");
  const double gap = value_of(c, k + 1, "loss") - value_of(c, k, "loss");
  Forecast said;
  Err none;
  const bool read = !forecast_read(dir, part, &said, &none);
  fprintf(f, "<p class=\"lead\"><b>%s</b>, at %s FLOPs: the recommended size %s by %.4f nats", part,
          text_budget(read ? said.budget : value_of(c, k, "flops")), gap > 0 ? "wins" : "loses", fabs(gap));
  if (read) {
    const bool held = gap >= said.gap.p10 && gap <= said.gap.p90;
    fprintf(f, "; forecast %+.4f (%+.4f to %+.4f): <span class=\"%s\">%s</span>", said.gap.value, said.gap.p10,
            said.gap.p90, held ? "pass" : "fail", held ? "pass" : "fail");
  }
  fprintf(f, ". A token of the larger one costs %.2f times as much.</p>\n",
          value_of(c, k + 1, "flops_per_token_forward") / value_of(c, k, "flops_per_token_forward"));
  fputs("<div class=\"scroll\"><table class=\"pairs\"><thead><tr><th class=\"l\"></th><th>recommended</th><th>4× "
        "larger</th>"
        "</tr></thead><tbody>\n<tr><td class=\"l\">run</td>",
        f);
  for (int j = k; j < k + 2; j++)
    fprintf(f, "<td><a href=\"#run-%s\"><code>%s</code></a></td>", text_of(c, j, "run_id"), text_of(c, j, "run_id"));
  fputs("</tr>\n<tr><td class=\"l\">parameters, tokens</td>", f);
  for (int j = k; j < k + 2; j++)
    fprintf(f, "<td>%s, %s</td>", text_count(value_of(c, j, "params")), text_count(value_of(c, j, "tokens")));
  fputs("</tr>\n<tr><td class=\"l\">loss, forecast (80 %)</td>", f);
  for (int j = k; j < k + 2; j++)
    fprintf(f, "<td>%.4f (%.4f to %.4f)</td>", value_of(c, j, "forecast"), value_of(c, j, "p10"),
            value_of(c, j, "p90"));
  fputs("</tr>\n<tr><td class=\"l\">loss, measured</td>", f);
  for (int j = k; j < k + 2; j++)
    fprintf(f, "<td><b>%.4f</b> <span class=\"%s\">%s</span></td>", value_of(c, j, "loss"), text_of(c, j, "verdict"),
            text_of(c, j, "verdict"));
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) put_row(f, c, k, &rows[i], "");
  const char *other = text_of(c, k, "other_corpus");
  if (*other) {
    fputs("</tr>\n<tr class=\"off top\"><td class=\"l\" colspan=\"3\">Out of domain: held-out text of a corpus that it has "
          "never seen</td>", f);
    for (size_t i = 0; i < sizeof unseen / sizeof *unseen; i++) put_row(f, c, k, &unseen[i], other);
  }
  fputs("</tr>\n</tbody></table></div>\n", f);
}

// What goes into the page as it is, or would be missed there.
static int row_check(const Csv *c, int row, const char *path, Err *e) {
  static const char *const words[] = {"part", "run_id", "verdict"}, *const numbers[] = {"params", "tokens", "loss",
    "forecast", "p10", "p90", "flops_per_token_forward"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    const char *s = text_of(c, row, words[i]);
    if (!*s || strlen(s) > MAX_NAME || strpbrk(s, "<>&\"'"))
      return fail(e, E_RECORD, "%s: line %d: %s is '%.40s': expected a short word", path, row + 2, words[i], s);
  }
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    if (!*text_of(c, row, numbers[i]))
      return fail(e, E_RECORD, "%s: line %d: %s: expected a number", path, row + 2, numbers[i]);
  return OK;
}

int put_verdict(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  char path[1024], *text;
  size_t len;
  Csv c;
  snprintf(path, sizeof path, "%s/verdict.csv", dir);
  if (!file_exists(path)) return e->code;
  if (file_read(path, &text, &len, e)) return e->code;
  csv_parse(&c, text);
  for (int i = 0; i < c.n && !e->code; i++) row_check(&c, i, path, e);
  if (c.n && !e->code) {
    fputs("<h2 id=\"verdict\">The verdict: toy Chinchilla against toy Gopher</h2>\n<p>The size that this study "
          "recommends "
          "against one four times larger on a quarter of the tokens, of equal exact FLOPs, beyond every budget of the "
          "study. The forecast was written down before either was trained; last words are of held-out passages, as in "
          "LAMBADA; text is the corpus’ own unless a row says otherwise. <a href=\"verdict.csv\">verdict.csv</a></p>\n",
          f);
    for (int k = 0; k + 1 < c.n; k += 2) put_pair(f, &c, k, dir);
    put_figure(f, s, &c, dir, e);
  }
  free(text);
  return e->code;
}
