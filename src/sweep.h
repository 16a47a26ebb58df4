// sweep.h: a study on this machine: makes the folder, starts workers (worker.h), tells people how it goes.
//   DIR/study.ini       the study that this folder belongs to; another one is refused
//   DIR/runs/<id>/      one folder a cell: worker.h
//   DIR/runs.csv        one row a run; derived
#ifndef ISOFLOP_SWEEP_H
#define ISOFLOP_SWEEP_H
#include "plan.h"

// Makes or opens the study folder and checks that it holds this study. E_RECORD when it belongs to another one.
int sweep_open(const char *dir, const Study *study, Err *e);

// Starts workers and waits for them: they run every cell that has no finished or diverged record yet (a failed one is
// tried again), stage after stage, longest first, sharing them with whoever else works in the folder. Then writes
// runs.csv. Returns OK; E_RUNS if some run failed; E_REQUEUE if some run was stopped from outside; 130 or 143 after a
// signal, when all runs have saved a checkpoint; or an error.
int sweep_run(const Study *study, const char *dir, int workers, Err *e);

// `isoflop plan|sweep|tune`: see their --help.
int plan_main(int argc, char **argv);
int sweep_main(int argc, char **argv);
int tune_main(int argc, char **argv);
#endif
