// figures_svg.c: runs gnuplot, and carries its SVG into the page.
//
// In: a script; later the SVG that it drew. Out: the same drawing inside HTML, following the page's light or dark
// theme, with a tooltip and a link over every point. The invariant: only what gnuplot's svg terminal writes is
// rewritten (ids, href targets, rgb() colours); text and geometry pass through untouched.
#include "figures.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int figures_gnuplot(const char *dir, const char *script, Err *e) {
  int out[2];
  if (pipe(out)) return fail(e, E_IO, "gnuplot: cannot make a pipe: %s", strerror(errno));
  pid_t child = fork();
  if (child < 0) {
    close(out[0]), close(out[1]);
    return fail(e, E_IO, "gnuplot: cannot start a process: %s", strerror(errno));
  }
  if (child == 0) {
    dup2(out[1], 1), dup2(out[1], 2);
    close(out[0]), close(out[1]);
    setenv("LC_ALL", "C", 1);
    if (chdir(dir) == 0) execlp("gnuplot", "gnuplot", script, (char *)NULL);
    _exit(127);
  }
  close(out[1]);
  char text[2048];
  size_t n = 0;
  ssize_t got;
  // All of it is read, lest gnuplot block on a full pipe; the beginning is kept.
  for (char rest[512];
       (got = n < sizeof text - 1 ? read(out[0], text + n, sizeof text - 1 - n) : read(out[0], rest, sizeof rest)) > 0;)
    if (n < sizeof text - 1) n += (size_t)got;
  close(out[0]);
  text[n] = 0;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
    return fail(e, E_IO,
                "gnuplot: not found, and it draws the figures: install the package gnuplot-nox, then run the report "
                "again; the fits are written");
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return OK;
  char *line = text + strspn(text, "\n");
  // gnuplot echoes the command, a caret, and then says what is wrong in a line that names the script.
  // A warning also does, but is not why it stopped.
  char *said = strstr(line, "\" line ");
  while (said && !strncmp(strchr(said + 7, ':') ? strchr(said + 7, ':') : "", ": warning", 9))
    said = strstr(said + 7, "\" line ");
  if (said) {
    while (said > line && said[-1] != '\n') said--;
    line = said;
  }
  line[strcspn(line, "\n")] = 0;
  return fail(e, E_IO, "%s/%s: gnuplot: %.300s", dir, script, *line ? line : "stopped without a message");
}

// ---- SVG into the page --------------------------------------------------------------------------------

typedef struct Theme {
  int rgb[3];
  const char *name;
} Theme;
static const Theme theme[] = {
    {{0x20, 0x24, 0x2a}, "ink"},  {{0x70, 0x77, 0x7f}, "axis"},
    {{0xe3, 0xe6, 0xea}, "grid"}, {{0x8a, 0x91, 0x99}, "paper"},
    {{0xdf, 0xe7, 0xf1}, "band"}, {{255, 255, 255}, "page"},
    {{0, 0, 0}, "ink"},
};

// "rgb( 68,   1,  84)" becomes a variable of the page, if it is one of its colours. Returns what was read.
static size_t put_color(FILE *f, const char *s) {
  int r, g, b, len = 0;
  if (sscanf(s, "rgb(%d ,%d ,%d )%n", &r, &g, &b, &len) != 3 || !len) return 0;
  for (size_t i = 0; i < sizeof theme / sizeof *theme; i++)
    if (theme[i].rgb[0] == r && theme[i].rgb[1] == g && theme[i].rgb[2] == b)
      return fprintf(f, "var(--%s)", theme[i].name), (size_t)len;
  char mine[16];
  snprintf(mine, sizeof mine, "#%02x%02x%02x", (unsigned)r & 255, (unsigned)g & 255, (unsigned)b & 255);
  for (int i = 0; i < FIGURE_LEVELS; i++) {
    char hex[8];
    figures_level_color(i, false, hex);
    if (!strcmp(hex, mine)) return fprintf(f, "var(--r%d)", i), (size_t)len;
  }
  for (int k = 0; k < FIGURE_KINDS; k++)
    if (!strcmp(figures_kind_color(k, false), mine)) return fprintf(f, "var(--s%d)", k), (size_t)len;
  return 0;
}

static bool starts(const char *s, const char *with) { return strncmp(s, with, strlen(with)) == 0; }

void html_text(FILE *f, const char *s) {
  for (; *s; s++) {
    const char *t = *s == '<' ? "&lt;" : *s == '>' ? "&gt;" : *s == '&' ? "&amp;" : *s == '"' ? "&quot;" : NULL;
    if (t)
      fputs(t, f);
    else
      fputc(*s, f);
  }
}

static void put_marks(FILE *f, const Panel *p, const Mark *marks, int n) {
  for (int i = 0; i < n; i++) {
    double tx = p->lin_x ? (marks[i].x - p->x0) / (p->x1 - p->x0) : log(marks[i].x / p->x0) / log(p->x1 / p->x0);
    double ty = p->log_y ? log(marks[i].y / p->y0) / log(p->y1 / p->y0) : (marks[i].y - p->y0) / (p->y1 - p->y0);
    if (!(tx >= 0 && tx <= 1 && ty >= 0 && ty <= 1)) continue;
    if (*marks[i].link) fprintf(f, "<a href=\"#%s\">", marks[i].link);
    fprintf(f, "<circle class=\"mark\" cx=\"%.1f\" cy=\"%.1f\" r=\"8\"><title>",
            p->width * (p->left + tx * (p->right - p->left)), p->height * (1 - p->bottom - ty * (p->top - p->bottom)));
    html_text(f, marks[i].text);
    fprintf(f, "</title></circle>%s\n", *marks[i].link ? "</a>" : "");
  }
}

int figures_inline(FILE *f, const char *dir, const Panel *p, const Mark *marks, int n_marks, Err *e) {
  char path[1024], *svg;
  size_t len;
  snprintf(path, sizeof path, "%s/figures/%s.svg", dir, p->name);
  if (file_read(path, &svg, &len, e)) return e->code;
  char *s = strstr(svg, "<svg"), *end = strstr(svg, "</svg>"), *body = s ? strchr(s, '>') : NULL;
  if (!body || !end || end < body) {
    free(svg);
    return fail(e, E_IO, "%s: not an SVG drawing", path);
  }
  fprintf(f, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n", p->width, p->height, p->name);
  for (s = body + 1; s < end;) {
    size_t read;
    if (starts(s, "rgb(") && (read = put_color(f, s)))
      s += read;
    else if (starts(s, "#ffffff"))
      fputs("var(--page)", f), s += 7;
    // Two drawings in one page must not share ids.
    else if (starts(s, " id=\""))
      fprintf(f, " id=\"%s-", p->name), s += 5;
    else if (starts(s, " id='"))
      fprintf(f, " id='%s-", p->name), s += 5;
    else if (starts(s, "xlink:href='#"))
      fprintf(f, "href='#%s-", p->name), s += 13;
    else if (starts(s, "url(#"))
      fprintf(f, "url(#%s-", p->name), s += 5;
    else
      fputc(*s++, f);
  }
  put_marks(f, p, marks, n_marks);
  fputs("</svg>\n", f);
  free(svg);
  return OK;
}
