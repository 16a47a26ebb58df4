// sweep.h: runs the cells of a plan, each as a process of its own, and keeps the study folder:
//   DIR/study.ini       the study that this folder belongs to; another one is refused
//   DIR/lock            held by the sweep and its runs, so that two sweeps cannot write here at once
//   DIR/runs/<id>/      cell.ini (what to run), then train's checkpoint.bin, model.bin, curve.tsv and, last, run.ini
//   DIR/runs.csv        one row a run; derived
// A run is started as `isoflop train --config DIR/runs/<id>/cell.ini --out DIR/runs/<id> --progress-fd 2`: on its
// stderr the lines "step steps loss" are progress, and the last other line is the reason when it fails.
#ifndef ISOFLOP_SWEEP_H
#define ISOFLOP_SWEEP_H
#include "corpus.h"
#include "plan.h"

// Makes or opens the study folder, locks it and checks that it holds this study. Returns the lock in *lock (close it
// to unlock). E_RECORD when it belongs to another study or to a running sweep.
int sweep_open(const char *dir, const Study *study, int *lock, Err *e);

// Runs every cell that has no finished or diverged record yet (a failed one is tried again), `workers` at a time, stage
// after stage, longest first; then writes runs.csv. Returns OK; E_RUNS if some run failed; E_REQUEUE if some run was
// stopped from outside; 130 or 143 after a signal, when all runs have saved a checkpoint; or an error.
int sweep_run(const Study *study, const char *dir, int workers, Err *e);

// `isoflop plan|sweep|tune`: see their --help.
int plan_main(int argc, char **argv);
int sweep_main(int argc, char **argv);
int tune_main(int argc, char **argv);
#endif
