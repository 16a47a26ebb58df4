// plan.h: from a study file to its cells, with what each will cost.
#ifndef ISOFLOP_PLAN_H
#define ISOFLOP_PLAN_H
#include "record.h"
#include "study.h"

typedef struct Cell {
  Config cfg;      // resolved
  char id[17];
  double flops;    // exact, of the whole run; within 1 % of cfg.budget
  double params;   // total N
  double epochs;   // passes over the corpus; above 1 tokens repeat
  double seconds;  // predicted by plan_measure; NaN before
  double bytes;    // of memory, likewise
  uint64_t parts;  // bit i: part i of the study wants it
  int stage;       // planned once every cell of the stages before it was done
} Cell;
typedef struct Plan {
  int n;
  Cell *cells;
  bool complete;       // nothing waits for a record any more
  int due;             // the verdict's part whose forecast has to be written now (Part.pair); -1: none
  int later;           // runs of later stages, roughly
  double later_flops;  // their FLOPs
} Plan;

// The cells of a study, each within 1 % of its budget in exact FLOPs, by stage, part, budget, size, seed. Stage 0 follows
// from the study alone; budgets of later groups (`recentre`) are centred on the law through the part's smaller ones, and
// the verdict's pair on its forecast, so they are planned only once every cell of earlier stages has a record in `done`
// (NULL: none) that finished or diverged. Pure: runs nothing, and the same records give the same cells. E_CONFIG when a
// budget cannot be met.
int plan_make(Plan *p, const Study *s, const Records *done, Err *e);
// The records of one part of a study, in the order of its plan; subset->r is the caller's to free (records_free).
// E_MEMORY, or as plan_make.
int study_part_records(const Study *s, const Records *all, int part, Records *subset, Err *e);
// Predicts seconds and memory of every cell from a few steps of each distinct shape, on one thread; about 50 ms a
// shape.
int plan_measure(Plan *p, Err *e);
// Every cell as a line of an aligned table, then the totals on that many workers.
void plan_print(const Plan *p, const Study *s, int workers, FILE *f);
void plan_free(Plan *p);

// When the last of n runs (seconds[], descending) ends if each goes to the worker that is free first; busy[workers]
// says when each is free to begin with, and is used up.
double plan_makespan(const double *seconds, int n, double *busy, int workers);
// A duration for people: "48 s", "12 min 30 s", "3 h 20 min". Static storage.
const char *plan_duration(double seconds);
#endif
