// plan.h: from a study file to its cells, with what each will cost.
#ifndef ISOFLOP_PLAN_H
#define ISOFLOP_PLAN_H
#include "config.h"

typedef struct Cell {
  Config cfg;      // resolved
  char id[17];
  double flops;    // exact, of the whole run; within 1 % of cfg.budget
  double params;   // total N
  double epochs;   // passes over the corpus; above 1 tokens repeat
  double seconds;  // predicted by plan_measure; NaN before
  double bytes;    // of memory, likewise
} Cell;
typedef struct Plan { int n; Cell *cells; } Plan;

// The cells of a study, each within 1 % of its budget in exact FLOPs, ordered by budget, size, seed. Pure: runs
// nothing. Needs the corpus for identity and epochs. E_CONFIG when a budget cannot be met.
int plan_make(Plan *p, const Config *study, uint64_t corpus_hash, double corpus_train_tokens, Err *e);
// Predicts seconds and memory of every cell from a few steps of each distinct shape, on one thread; about 50 ms a
// shape.
int plan_measure(Plan *p, Err *e);
// Every cell as a line of an aligned table, then the totals on that many workers.
void plan_print(const Plan *p, int workers, FILE *f);
void plan_free(Plan *p);

// When the last of n runs (seconds[], descending) ends if each goes to the worker that is free first; busy[workers]
// says when each is free to begin with, and is used up.
double plan_makespan(const double *seconds, int n, double *busy, int workers);
// A duration for people: "48 s", "12 min 30 s", "3 h 20 min". Static storage.
const char *plan_duration(double seconds);
#endif
