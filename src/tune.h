// tune.h: what a sweep around the recipe's rule says about the rule.
//
// A tuning study is an ordinary one (configs/tune.ini): a size or so at each budget, whose `vary` turns lr_scale,
// batch_scale, beta2 and warmup around the rule, one at a time. Here its runs are read as points of valleys.
#ifndef ISOFLOP_TUNE_H
#define ISOFLOP_TUNE_H
#include "fit.h"
#include "plan.h"

// What is varied, each by its logarithm; that of beta2 is 1 - beta2.
typedef enum { KNOB_RATE, KNOB_BATCH, KNOB_BETA2, KNOB_WARMUP, KNOBS } Knob;
extern const char *const knob_name[KNOBS];
double knob_value(Knob k, const Config *resolved);

// One model at one horizon.
enum { TUNE_GROUPS = 4 * MAX_BUDGETS };
typedef struct TuneGroup {
  Config base;  // as the rule resolves it
  double C, N, D;
  int seeds;
} TuneGroup;

// One run. A run of the rule itself is a point of every knob.
typedef struct TunePoint {
  int group, seed, knob;  // knob KNOBS: the rule
  double x;               // ln of its value over the rule's
  const Cell *cell;
  double loss;            // nats per byte; NaN: no finished run
} TunePoint;

typedef struct Tuning {
  Plan plan;
  Config old;    // the study's options, with the rule as it was
  int n_groups, n;
  TuneGroup group[TUNE_GROUPS];
  TunePoint *p;  // one a cell of the plan
} Tuning;
// The cells of the study, and the losses of those that `rs` holds. A cell that departs from the rule in two knobs, or
// in none that is tuned here, is E_CONFIG. E_MEMORY.
int tuning_make(Tuning *t, const Study *s, const Records *rs, Err *e);
void tuning_free(Tuning *t);

// ---- What the losses say (tune_fit.c) -----------------------------------------------------------------

// A group's valley under one knob: a parabola in x whose curvature all groups share.
typedef struct TuneValley {
  int runs;
  double lo, hi;   // of x
  double loss, slope;  // at the rule
  double weight;   // of its minimum in the law: sum of squares of x about their mean
  Interval best;   // x of the minimum, held within lo..hi
  bool edge;       // it was outside
} TuneValley;

// A coefficient of the rule, and what the runs make of it.
typedef struct TuneCoef {
  Knob knob;
  char what[48];       // "peak rate at 41k parameters"
  double was, now;     // by the old rule and the new one
  Interval found;      // by the runs
  bool moved;          // by more than two standard deviations of what was found
} TuneCoef;
enum { TUNE_COEFS = 7 };

typedef struct TuneFit {
  double noise;         // of a run in nats, beside what its seed does to every run of the group
  double curve[KNOBS];  // nats per square of x; NaN: not turned
  TuneValley valley[KNOBS][TUNE_GROUPS];
  int n;
  TuneCoef coef[TUNE_COEFS];
  Config rule;          // the study's options with what moved
} TuneFit;
int tune_fit(TuneFit *f, const Tuning *t, Err *e);

// The rule as a whole: the same models by the new rule, seed by seed.
typedef struct TuneCheck {
  bool run;
  int lost;         // runs that diverged or failed by the new rule, and not by the old
  double gain, se;  // mean over the groups of loss(old) - loss(new), nats
  double old_loss[TUNE_GROUPS], new_loss[TUNE_GROUPS];
} TuneCheck;
void tune_check_study(Study *out, const Study *s, const TuneFit *f);
void tune_check(TuneCheck *k, const Tuning *t, const TuneFit *f, const Tuning *again);

// ---- What is left of it (tune_write.c) -----------------------------------------------------------------

// DIR/recipe.ini, DIR/tune.csv, DIR/figures/tune.*. E_IO.
int tune_write(const Tuning *t, const TuneFit *f, const TuneCheck *k, const char *dir, Err *e);
void tune_print(const Tuning *t, const TuneFit *f, const TuneCheck *k, const char *dir, FILE *out);

// All of it: sweeps, fits, checks, writes, prints. `study` with its corpora. Goes on where it was; E_RUNS and the codes
// of sweep_run.
int tune_run(const Study *study, const char *dir, int workers, Err *e);
#endif
