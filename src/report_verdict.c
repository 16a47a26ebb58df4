// report_verdict.c: the forecast that was written down before the verdict's pair was trained, and what came of it.
//
// In: DIR/verdict.csv (verdict.h has its columns). Out: its rows as a table. The invariant: the page says what the file
// says, cell by cell, and nothing where there is none.
#include "report.h"
#include <stdlib.h>
#include <string.h>

// The next field of a CSV line, in place; *at moves on, to NULL after the last.
static char *field(char **at) {
  char *s = *at, *to = s, *start = s;
  bool quoted = *s == '"';
  for (s += quoted; *s && (quoted ? *s != '"' || s[1] == '"' : *s != ','); s++) {
    if (quoted && *s == '"') s++;
    *to++ = *s;
  }
  if (quoted) s += strcspn(s, ",");
  *at = *s ? s + 1 : NULL;
  *to = 0;
  return start;
}

static void put_cell(FILE *f, const char *tag, const char *text) {
  char *end;
  const double x = strtod(text, &end);
  if (!*text || *end || !strcmp(tag, "th")) {
    const char *kind = !strcmp(text, "pass") ? " pass" : !strcmp(text, "fail") ? " fail" : "";
    fprintf(f, "<%s class=\"l%s\">", tag, kind);
    for (; *text; text++) {
      char one[2] = {*text == '_' && !strcmp(tag, "th") ? ' ' : *text, 0};
      html_text(f, one);
    }
  } else {
    fprintf(f, "<%s>%.5g", tag, x);
  }
  fprintf(f, "</%s>", tag);
}

int put_verdict(FILE *f, const StudyFit *s, const char *dir, Err *e) {
  char path[1024], *text;
  size_t len;
  (void)s;
  snprintf(path, sizeof path, "%s/verdict.csv", dir);
  if (!file_exists(path)) return e->code;
  if (file_read(path, &text, &len, e)) return e->code;
  fputs(
      "<h2 id=\"verdict\">The verdict</h2>\n<div class=\"scroll\"><table><caption>The size that this study recommends "
      "against one four times larger, at equal compute; the forecast was written down before either was trained. <a "
      "href=\"verdict.csv\">verdict.csv</a></caption>\n",
      f);
  int line = 0;
  for (char *at = text, *next; at; at = next) {
    next = strchr(at, '\n');
    if (next) *next++ = 0;
    at[strcspn(at, "\r")] = 0;
    if (!*at) continue;
    fputs(line ? "<tr>" : "<thead><tr>", f);
    while (at) put_cell(f, line ? "td" : "th", field(&at));
    fputs(line ? "</tr>\n" : "</tr></thead><tbody>\n", f);
    line++;
  }
  fputs("</tbody></table></div>\n", f);
  free(text);
  return e->code;
}
