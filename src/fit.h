// fit.h: scaling-law estimators on plain points. Sees records and files, never a model.
#ifndef ISOFLOP_FIT_H
#define ISOFLOP_FIT_H
#include "record.h"

enum {
  MAX_VALLEYS = 64,  // budgets of one analysis (imported files may have more than a study has)
  MAX_VALLEY_RUNS = 512,
  MIN_SIZES = 5,     // distinct sizes that a budget needs for a parabola
  RESAMPLES = 1000,  // of every bootstrap
};

// ---- Points (fit_points.c) ------------------------------------------------------------------------

// What counts as a parameter and as a FLOP. The first of the list is the default everywhere.
typedef enum { FLOPS_EXACT, FLOPS_NOHEAD, FLOPS_6ND } FlopsKind;
typedef struct Convention {
  const char *name, *title;
  bool nonemb;
  FlopsKind flops;
} Convention;
extern const Convention conventions[];  // ends with name == NULL

// One run as a fit sees it, under one convention of counting. C in FLOPs, N in parameters, D in tokens, L in nats per
// token.
typedef struct Point {
  const Record *run;
  double C, N, D, L;
  int budget;  // index in Points.budget; -1 for a run that belongs to none
  bool used;   // false: left out of every fit, for the reason why_not
  char why_not[288];
  bool repeats;  // more than one epoch of its corpus: used, and marked
} Point;

typedef struct Points {
  int n;
  Point *p;  // ordered by budget, N, seed, id
  int n_budgets;
  double budget[MAX_VALLEYS];  // ascending; exact FLOPs as the study asked for them
  double seed_sd;              // pooled sd of the loss between seeds of the same cell; NaN when no cell has two
  int seed_cells;              // cells with two or more seeds
  double largest_C;            // of the used points
} Points;

int points_make(Points *ps, const Records *rs, const Convention *cv, Err *e);
void points_free(Points *ps);

// ---- Intervals (fit_bootstrap.c) ------------------------------------------------------------------

typedef struct Interval {
  double value, p10, p90;
} Interval;  // p10, p90: NaN when there are too few resamples

// Draws resample number `resample` of a stratum of n runs: pick[j] in [0, n), j = 0..n-1, with replacement. A function
// of its arguments alone.
void bootstrap_draw(int resample, int stratum, int n, int *pick);
// 10th and 90th percentile of n draws, NaN left out (fewer than half left: NaN). Reorders draws.
Interval bootstrap_interval(double value, double *draws, int n);

// ---- Least squares (fit_lsq.c) --------------------------------------------------------------------

enum { LSQ_MAX = 4 };
// Minimises |X beta - y|. X [n][p] row-major; both X and y are overwritten. var[j] (may be NULL) gets (X'X)^-1_jj, so
// that the variance of beta_j is var[j] * rss / (n - p). Returns false when X has no full rank.
bool lsq_solve(int n, int p, double *X, double *y, double *beta, double *rss, double *var);

// ---- Approach 2: parabolas in log N (fit_parabola.c) ------------------------------------------------

typedef struct Parabola {
  double x0, c[3], rss;
} Parabola;  // L = c0 + c1 (x - x0) + c2 (x - x0)^2, x = ln N
bool parabola_fit(Parabola *q, int n, const double *x, const double *y);
double parabola_at(const Parabola *q, double x);

typedef enum { VALLEY_OK, VALLEY_FEW, VALLEY_FLAT, VALLEY_OUTSIDE, VALLEY_EDGE } ValleyFlag;
extern const char *const valley_flag_text[];

typedef struct Valley {
  double budget, C;           // as asked for; geometric mean of the runs under the convention
  int first, n, runs, sizes;  // its points are p[first .. first+n); used ones; distinct sizes among them
  double lo, hi;              // smallest and largest N that was used
  Parabola q;
  Interval n_opt, d_opt, loss, ratio;  // at the vertex; ratio = tokens per parameter
  double r2, sd, t_cubic;              // r2 of the size means; residual sd of the runs in nats; t-value of a cubic term (NaN when undefined)
  ValleyFlag flag;                     // anything but VALLEY_OK keeps the vertex out of the power laws
} Valley;

typedef struct PowerLaw {
  Interval k, exponent;  // y = k C^exponent
  double r2;
  double draw_logk[RESAMPLES], draw_exponent[RESAMPLES];  // NaN where a resample gave none
} PowerLaw;

typedef struct IsoFit {
  const Convention *cv;
  int n;
  Valley v[MAX_VALLEYS];
  bool law;  // at least two vertices: N_law and D_law hold
  PowerLaw n_law, d_law;
} IsoFit;

// Fits every budget and the laws through the vertices. `resamples` 0..RESAMPLES; 0 gives no intervals.
int iso_fit(IsoFit *f, const Points *ps, const Convention *cv, int resamples, Err *e);
// The law at compute C with its 10-90 % band.
Interval law_at(const PowerLaw *law, double C);

// ---- A study (fit.c, report.c) --------------------------------------------------------------------

// Everything that is known of a study: what fits.csv, the terminal and the report show.
typedef struct Analysis {
  Points points;
  IsoFit iso;
} Analysis;
typedef struct StudyFit {
  const Records *records;
  int n;
  Analysis
      *a;  // one for each convention under which the runs of a budget have equal compute (within 3 %); a[0] the default
} StudyFit;

int study_fit(StudyFit *s, const Records *rs, Err *e);  // rs must outlive s
// Loads a study folder's records and fits them; on success the caller frees both. E_RECORD when there is none.
int study_open(const char *dir, Records *rs, StudyFit *s, Err *e);
void study_free(StudyFit *s);
// DIR/fits.csv and DIR/tables/*.csv
int study_write(const StudyFit *s, const char *dir, Err *e);
void study_print(const StudyFit *s, FILE *f);

int fit_study(const char *dir, FILE *summary, Err *e);     // reads runs/, writes DIR/fits.csv and DIR/tables/
int report_study(const char *dir, FILE *summary, Err *e);  // the same, and DIR/figures/, DIR/report.html

// Commands: argv[0] is the command's name. They print their own errors and return the exit code.
int fit_main(int argc, char **argv);
int report_main(int argc, char **argv);

// Short names of numbers: "1e11" for a budget, "26.1k" for a count. Static buffers, eight in turn.
const char *text_budget(double C);
const char *text_count(double x);
#endif
