// forecast.h: what a plan will tell of its law, before any of it has been trained.
#ifndef ISOFLOP_FORECAST_H
#define ISOFLOP_FORECAST_H
#include "fit.h"
#include "study.h"

// A law to draw studies from, and its noise in nats.
typedef struct ForecastLaw {
  Surface surface;
  double run_sd, cell_sd;  // of a run; shared by the runs of a cell
} ForecastLaw;
extern const ForecastLaw forecast_measured;  // by our own study on English; forecast.c says by which command

// Bias and coverage of every approach on the runs that the study plans (of the parts isoflop and horizons, or of its
// first), all stages, each with a training curve. `runs` how many those are. E_MEMORY, or as plan_make.
int forecast_run(SelfTest *t, int *runs, const Study *s, const ForecastLaw *law, int draws, Err *e);
void forecast_print(const SelfTest *t, int runs, const ForecastLaw *law, FILE *f);
#endif
