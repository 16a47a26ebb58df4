// plot.h: a panel of axes made of named series, for figures that need no more than that. One CSV a panel holds every
// number (series, name, x, y, lo, hi, run_id); points of runs become links in the page.
#ifndef ISOFLOP_PLOT_H
#define ISOFLOP_PLOT_H
#include "figures.h"

typedef enum { PLOT_LINE, PLOT_DASHED, PLOT_THIN, PLOT_POINTS, PLOT_OPEN, PLOT_DOTS, PLOT_BARS, PLOT_BAND } PlotStyle;
typedef struct PlotSeries {
  PlotStyle style;  // BARS: lo to hi upright; BAND: lo to hi filled
  char color[8], title[96];
} PlotSeries;
typedef struct PlotPoint {
  int series;
  double x, y, lo, hi;  // y NaN: lifts the pen; lo, hi NaN where there is no interval
  const Record *run;    // NULL: not a run
  char note[96];        // of the tooltip; a point with a note and no run has a tooltip and no link
} PlotPoint;

enum { PLOT_SERIES = 64 };
typedef struct Plot {
  Panel panel;  // ranges that are 0 are found from the data
  char title[96], xlabel[96], ylabel[96];
  bool counts;         // ticks of x as 10k, 1M
  const char *format;  // of ticks on a linear y; NULL: '%.2f'
  char ticks[1024];    // of x, as gnuplot's list; empty: by the range
  char extra[2048];    // more commands before the plot (labels)
  const char *key;     // where; NULL: none
  int n_series, n, room;
  PlotSeries series[PLOT_SERIES];
  PlotPoint *p;
  bool broken;  // memory ran out; plots_draw says so
} Plot;

enum { PLOT_WIDE, PLOT_HALF };  // 900 x 460, 560 x 420
void plot_begin(Plot *p, const char *name, int size, const char *title, const char *xlabel, const char *ylabel);
// Series number of the new one. `color` as "#rrggbb": of plot_color, figures_color or the theme.
int plot_series(Plot *p, PlotStyle style, const char *color, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
PlotPoint *plot_add(Plot *p, int series, double x, double y);  // valid until the next; never NULL
// The k-th colour of unordered things; the page has the same for its dark theme.
const char *plot_color(int k);
// Ranges, CSVs, scripts, drawings; `name` is the figure that shows all n side by side. E_IO, E_MEMORY.
int plots_draw(Plot *p, int n, const char *dir, const char *name, Err *e);
// The panels in the page, side by side from the first HALF on, with their links. Then frees the points.
int plots_inline(FILE *page, Plot *p, int n, const char *dir, Err *e);
void plots_free(Plot *p, int n);
// Ends a caption and its figure: "Files: svg, png, pdf; data: ..." of figure `name`; csv ends with NULL.
void put_files(FILE *page, const char *name, const char *const *csv);
#endif
