// figures.h: drawings of a fitted study, by gnuplot, and their way into the page.
#ifndef ISOFLOP_FIGURES_H
#define ISOFLOP_FIGURES_H
#include "fit.h"

// A rectangle of axes: x always logarithmic. Margins are fractions of the drawing, so the place of a datum is known and
// a point can be given a link. The drawing's scripts, CSVs, SVG and PNG are DIR/figures/<name>*.
typedef struct Panel {
  char name[32];
  int width, height;                // of the drawing, pixels
  double left, right, bottom, top;  // of the axes, fractions of the drawing, from below
  double x0, x1, y0, y1;            // ranges
  bool log_y;
} Panel;

// Budgets are coloured along one sequential ramp, dark to light (light to dark on a dark page); the same in CSS and in
// gnuplot.
void figures_color(int i, int n, bool dark_page, char hex[8]);

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
// Copies DIR/figures/<name>.svg into a page: ids made unique, colours of `n` budgets turned into the page's variables,
// and over each point of `marks` a transparent target with a tooltip and a link.
typedef struct Mark {
  double x, y;
  char link[64], text[256];
} Mark;
int figures_inline(FILE *page, const char *dir, const Panel *p, int n, const Mark *marks, int n_marks, Err *e);
// report_figures.c: every figure that the study has data for, in the page.
int report_figures(FILE *page, const StudyFit *s, const char *dir, const Panel *fig3, Err *e);
void html_text(FILE *f, const char *s);  // with <, >, & and " as entities
#endif
