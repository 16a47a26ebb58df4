// figures.h: drawings of a fitted study, by gnuplot, and their way into the page.
#ifndef ISOFLOP_FIGURES_H
#define ISOFLOP_FIGURES_H
#include "fit.h"

// A rectangle of axes. Margins are fractions of the drawing, so the place of a datum is known and a point can be given
// a link. The drawing's scripts, CSVs, SVG, PNG and PDF are DIR/figures/<name>*.
typedef struct Panel {
  char name[32];
  int width, height;                // of the drawing, pixels
  double left, right, bottom, top;  // of the axes, fractions of the drawing, from below
  double x0, x1, y0, y1;            // ranges
  bool log_y, lin_x;                // linear y and logarithmic x unless said otherwise
} Panel;

// Ordered things (budgets, sizes) are coloured along one sequential ramp, dark to light (light to dark on a dark page),
// in one of LEVELS steps that the page knows as --r0, --r1, ...; unordered ones by a palette, --s0, --s1, ...
enum { FIGURE_LEVELS = 24, FIGURE_KINDS = 7 };
int figures_level(int i, int n);
void figures_level_color(int level, bool dark_page, char hex[8]);
void figures_color(int i, int n, char hex[8]);  // of level i of n, on white
const char *figures_kind_color(int k, bool dark_page);

// figures.c: Fig 3 of the paper (IsoFLOP curves, N_opt and D_opt against C). Fills the three panels.
enum { PANEL_VALLEYS, PANEL_PARAMS, PANEL_TOKENS, FIG3_PANELS };
int figures_isoflop(const StudyFit *s, const char *dir, Panel panels[FIG3_PANELS], Err *e);

// figures_surface.c: Fig 4 (contours of the fitted surface over C and N; its slices at the budgets).
enum { PANEL_CONTOURS, PANEL_SLICES, FIG4_PANELS };
// Does the study have a surface that can be drawn, and budgets?
bool figures_has_surface(const StudyFit *s);
int figures_surface(const StudyFit *s, const char *dir, Panel panels[FIG4_PANELS], Err *e);

// figures_curves.c: Fig 2 (training curves and their envelope; N and D along it).
enum { PANEL_CURVES, PANEL_CURVE_PARAMS, PANEL_CURVE_TOKENS, FIG2_PANELS };
bool figures_has_curves(const StudyFit *s);
int figures_curves(const StudyFit *s, const char *dir, Panel panels[FIG2_PANELS], Err *e);

// figures.c: what they share.
int figures_open(OutFile *o, const char *dir, const char *name, Err *e);  // DIR/figures/<name>
int figures_script(OutFile *o, const char *dir, const Panel *p, Err *e);  // DIR/figures/<panel>.gp
void figures_axes(FILE *f, const Panel *p, const char *title, const char *xlabel, const char *ylabel, bool x_counts);
// Draws n panels by their scripts, each by itself and all side by side as <name> of w x h pixels, where panel i spans
// left[i]..right[i] of the width.
int figures_draw(const char *dir, const char *name, const Panel *p, int n, int w, int h, const double *left,
                 const double *right, Err *e);

// figures_svg.c: what gnuplot needs and gives.
// Runs gnuplot on a script in folder `dir`. Missing gnuplot or an error in the script: E_IO with gnuplot's first line.
int figures_gnuplot(const char *dir, const char *script, Err *e);
// Copies DIR/figures/<name>.svg into a page: ids made unique, colours turned into the page's variables, and over each
// point of `marks` a transparent target with a tooltip and, unless it is empty, a link.
typedef struct Mark {
  double x, y;
  char link[64], text[320];
} Mark;
int figures_inline(FILE *page, const char *dir, const Panel *p, const Mark *marks, int n_marks, Err *e);
void mark_run(Mark *m, const Record *r, const char *note);  // link and tooltip of a run
void html_text(FILE *f, const char *s);                     // with <, >, & and " as entities
#endif
