// verdict.h: the size that a study recommends against one 4x larger at equal compute: forecast, then measured.
#ifndef ISOFLOP_VERDICT_H
#define ISOFLOP_VERDICT_H
#include "fit.h"
#include "plan.h"

// What was said before either model of the pair was trained. [0] is the recommended size, [1] the one 4x larger.
typedef struct Forecast {
  double budget;      // exact FLOPs
  double n_opt;       // recommended parameters; the pair are the members of the family nearest to it and to 4 n_opt
  int member[2];      // index in the family (shape_family)
  double N[2], D[2];
  Interval loss[2];   // held-out, nats per byte; 80 %
  Interval gap;       // loss[1] - loss[0]
  Interval n_iso, n_surface;  // best size by Approach 2 and by Approach 3; NaN where one gave none
  double run_sd, misfit_sd;   // noise of a run; how far the surface is off when it is extrapolated as far; nats
} Forecast;

// DIR/forecast-PART.ini, written once and read by every later plan. E_IO; E_RECORD when damaged.
int forecast_write(const char *dir, const char *part, const Forecast *f, Err *e);
int forecast_read(const char *dir, const char *part, Forecast *f, Err *e);
// Tells the verdict's parts of a study the pairs that have been forecast in its folder (Part.pair). E_RECORD.
int verdict_pairs(const char *dir, Study *s, Err *e);
// The forecast of a verdict's part from the records of the parts that its `from` names. E_RECORD when they give no law,
// E_CONFIG when the family has no such sizes. Takes as long as the fits of `isoflop fit`.
int verdict_forecast(Forecast *f, const Study *s, int part, const Records *all, Err *e);
// The same from fits of those records.
int forecast_make(Forecast *f, const StudyFit *s, const Config *part, Err *e);

// plan_make of a study folder: reads the forecasts that it holds, and writes one that is due. As plan_make and
// verdict_forecast; E_IO.
int verdict_plan(Plan *p, const char *dir, Study *s, const Records *done, Err *e);

// Forecast against measured of every verdict's part, on the terminal and in DIR/verdict.csv; parts whose pair has not
// been trained are named and left out. E_RECORD when that is all of them.
int verdict_run(const char *dir, FILE *out, Err *e);
int verdict_main(int argc, char **argv);  // `isoflop verdict DIR`
#endif
