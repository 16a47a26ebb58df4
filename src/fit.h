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
  bool below;  // and that reason is the study's own from_flops: drawn, with a parabola of its own, and in no law
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

bool point_same_cell(const Point *p, const Point *q);  // do they differ by seed alone?
Point point_of(const Record *r, const Convention *cv);  // by itself, of no budget
// Has the run less compute (exact FLOPs) than this? A cell may miss its budget by 1 %.
bool record_below(const Record *r, double flops);
void points_admit(Points *ps);  // takes in the runs that are only `below`
int points_make(Points *ps, const Records *rs, const Convention *cv, Err *e);
void points_seed_noise(Points *ps);  // seed_sd and seed_cells, from the losses as they are
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

// ---- Power laws (fit_law.c) ---------------------------------------------------------------------------

typedef struct PowerLaw {
  Interval k, exponent;  // y = k C^exponent
  double r2;
  double draw_logk[RESAMPLES], draw_exponent[RESAMPLES];  // NaN where a resample gave none
} PowerLaw;
void law_clear(PowerLaw *l);  // all NaN
// Least squares of ln y against ln C over n points: the law's value (r < 0), or its resample r. False, and nothing set,
// for fewer than two points.
bool law_fit(PowerLaw *l, int r, int n, const double *logc, const double *logy);
void law_intervals(PowerLaw *l, int resamples);
// Basic intervals: the draws are estimates where ln k and the exponent are known to be these; their errors there, `wider`
// times, are taken off the value here. So an estimator's own bias is taken off, which percentiles would put in twice.
void law_pivot(PowerLaw *l, double logk, double exponent, double wider, int resamples);
// The law at compute C with its 10-90 % band.
Interval law_at(const PowerLaw *l, double C);

// ---- Approach 2: parabolas in log N (fit_parabola.c) ------------------------------------------------

typedef struct Parabola {
  double x0, c[3], rss;
} Parabola;  // L = c0 + c1 (x - x0) + c2 (x - x0)^2, x = ln N
bool parabola_fit(Parabola *q, int n, const double *x, const double *y);
double parabola_at(const Parabola *q, double x);

typedef enum { VALLEY_OK, VALLEY_FEW, VALLEY_FLAT, VALLEY_OUTSIDE, VALLEY_EDGE, VALLEY_BELOW } ValleyFlag;
extern const char *const valley_flag_text[];

typedef struct Valley {
  double budget, C;           // as asked for; geometric mean of the runs under the convention
  int first, n, runs, sizes;  // its points are p[first .. first+n); used ones; distinct sizes among them
  bool below;                 // its points are all `below`, and are used for this valley alone
  double lo, hi;              // smallest and largest N that was used
  Parabola q;
  Interval n_opt, d_opt, loss, ratio;  // at the vertex; ratio = tokens per parameter
  double r2, sd, t_cubic;  // r2 of the size means; residual sd of the runs in nats; t-value of a cubic term (NaN when
                           // undefined)
  ValleyFlag flag;         // anything but VALLEY_OK keeps the vertex out of the power laws
} Valley;

typedef struct IsoFit {
  const Convention *cv;
  int n;
  Valley v[MAX_VALLEYS];
  bool law;  // at least two vertices: N_law and D_law hold
  PowerLaw n_law, d_law;
} IsoFit;

bool valley_holds(const Valley *v, const Point *p);  // is a point of its budget behind its parabola?

// Fits every budget and the laws through the vertices. `resamples` 0..RESAMPLES; 0 gives no intervals.
int iso_fit(IsoFit *f, const Points *ps, const Convention *cv, int resamples, Err *e);
// ---- Approach 3: the surface L = E + A / N^alpha + B / D^beta (fit_surface.c) -----------------------

typedef struct Surface {
  double E, A, B, alpha, beta;
} Surface;
double surface_at(const Surface *s, double N, double D);

enum { SURFACE_STARTS = 4500 };
typedef struct SurfaceFit {
  bool ok;  // false: too few runs, sizes or horizons (10, 3, 3); the rest is then empty
  int runs;
  Surface s;                 // at the lowest objective of all starts
  double objective;          // sum of the Huber terms there
  double gradient;           // largest element of d objective / (1e-3 runs), in centred parameters: of order 1 far away
  double condition;          // of the Hessian in (ln A, ln B, ln E, alpha, beta)
  double condition_centred;  // and as it was solved, with ln N and ln D centred
  int agree, agree_inside;   // starts that reached the same minimum; of them, those not on the edge of the grid
  Surface early;             // where L-BFGS on the mean term ends by SciPy's default test
  double early_objective;    // the same sum there
  int resamples;
  Surface draw[RESAMPLES];  // bootstrap by run, stratified by budget; NaN where a resample gave none
} SurfaceFit;
// `resamples` 0..RESAMPLES; 0 gives no intervals. E_MEMORY.
int surface_fit(SurfaceFit *f, const Points *ps, int resamples, Err *e);
// The same from one start, without the proof; not ok where that does not converge. E_MEMORY.
int surface_refit(SurfaceFit *f, const Surface *start, const Points *ps, int resamples, Err *e);

// E, A, B, alpha, beta, and of C = 6ND: N_opt = G (C/6)^a, D_opt = (C/6)^b / G.
typedef struct SurfaceQuantity {
  const char *name;
  double (*of)(const Surface *);
} SurfaceQuantity;
enum { SURFACE_QUANTITIES = 8 };
extern const SurfaceQuantity surface_quantities[SURFACE_QUANTITIES];
double surface_a(const Surface *s), surface_b(const Surface *s);
double surface_sd(const SurfaceFit *f, const Points *ps);  // of the runs about it, in nats
Interval surface_interval(const SurfaceFit *f, double (*of)(const Surface *));

// ---- Its cross-check (fit_varpro.c) -----------------------------------------------------------------

typedef struct VarproFit {
  Surface s;
  double rms;  // of L_fit / L - 1
} VarproFit;
int varpro_fit(VarproFit *f, const Points *ps, Err *e);

// ---- The surface's frontier under a convention (fit_frontier.c) ---------------------------------------

// FLOPs per token as a function of N: ln(C/D) is a parabola in ln N through the used sizes, which lie in lo..hi.
typedef struct CostCurve {
  double x0, c[3], lo, hi;
} CostCurve;
bool cost_fit(CostCurve *q, const Points *ps);  // false: fewer than three sizes
double cost_at(const CostCurve *q, double N);
// The size and horizon of least loss at compute C. False when they lie beyond twice the sampled sizes.
bool surface_optimum(const Surface *s, const CostCurve *q, double C, double *N, double *D);

typedef struct Frontier {
  bool ok, law;
  CostCurve cost;
  int n;
  double C[MAX_VALLEYS];
  Interval N[MAX_VALLEYS], D[MAX_VALLEYS];  // NaN where there is no optimum
  PowerLaw n_law, d_law;                    // through them
} Frontier;
// The optima at n computes C. E_MEMORY.
int frontier_fit(Frontier *f, const SurfaceFit *s, const Points *ps, int n, const double *C, Err *e);

// The optimal size at a compute that frontier_fit was given; NULL where there is none.
const Interval *frontier_size(const Frontier *f, double C);

// Do the runs of every budget have the same compute (within 3 %) as this convention counts it?
bool points_level(const Points *ps);
// Moves every run of a budget, at its size, to the budget's mean compute: D in proportion, L by the surface's slope.
void points_to_level(Points *ps, const Surface *s);

// ---- Noise (fit_noise.c) ------------------------------------------------------------------------------

// In nats: of a run; shared by the runs of a cell.
typedef struct Noise {
  double run, cell;
} Noise;
// What a study's runs show of it: residuals about the parabolas (about the surface where there are none), and how much of
// them is between seeds of the same cell.
Noise points_noise(const Points *ps, const IsoFit *iso, const SurfaceFit *surface);
// Losses drawn from a surface: loss[i] of the used point i, NaN of others. A function of (draw, stream) and the points.
void losses_draw(double *loss, const Points *ps, const Surface *truth, const Noise *noise, uint64_t stream, int draw);

// ---- Approach 1: the envelope of training curves (fit_envelope.c) ------------------------------------

typedef struct Curve {
  int n;
  double *tokens, *loss;  // tokens ascending; one allocation, owned by tokens
} Curve;
typedef struct Curves {
  int n;
  Curve *c;  // that of records.r[i] is c[i]; n = 0 where there is none
} Curves;
// Reads DIR/runs/<id>/curve.tsv of every record (training loss). E_RECORD for a damaged one.
int curves_load(Curves *cs, const char *dir, const Records *rs, Err *e);
void curves_free(Curves *cs);
// The curve's loss at its point i, smoothed over a run's width in tokens.
double curve_width(const Point *p);
double curve_smooth_at(const Curve *c, int i, double width);

enum { ENVELOPE_POINTS = 1500 };
// What the winner at a FLOP value is: used in the laws; none (no curve reaches it); not near its end; the
// smallest or largest of the models that got as far.
typedef enum { ENVELOPE_USED, ENVELOPE_NONE, ENVELOPE_EARLY, ENVELOPE_EDGE, ENVELOPE_KINDS } EnvelopeKind;
typedef struct EnvelopePoint {
  double C, N, D, L;
  int point;  // index of the run in Points
  EnvelopeKind kind;
} EnvelopePoint;
typedef struct Envelope {
  bool ok;   // the laws hold: the used points come from three sizes at least
  int runs;  // with a curve; 0 where these are fewer than three
  int count[ENVELOPE_KINDS];
  EnvelopePoint p[ENVELOPE_POINTS];
  PowerLaw n_law, d_law;
} Envelope;
// Every curve at ENVELOPE_POINTS computes. NULL with e OK: fewer than three curves.
typedef struct Ranking Ranking;
Ranking *ranking_new(const Points *ps, const Records *rs, const Curves *cs, Err *e);
void ranking_free(Ranking *q);
// The winners, each curve moved by shift[i] nats (NULL: none).
void ranking_winners(const Ranking *q, const Points *ps, const double *shift, EnvelopePoint *out /* [ENVELOPE_POINTS] */);
// Laws through the used winners number first..last-1, as values (r < 0) or resample r. d_law may be NULL. False: fewer
// than three sizes.
bool envelope_laws(PowerLaw *n_law, PowerLaw *d_law, int r, const EnvelopePoint *p, int first, int last);
// How far each curve has to be moved so that it ends on loss[i]; 0 where there is no curve or no loss.
void ranking_shift(const Ranking *q, const Points *ps, const double *loss, double *shift);
int envelope_fit(Envelope *f, const Points *ps, const Ranking *q, Err *e);  // q NULL: not ok
// Intervals of its laws from drawn studies whose best sizes are those of the surface and its frontier; without a surface
// none.
int envelope_bootstrap(Envelope *f, const Ranking *q, const Points *ps, const SurfaceFit *surface,
                       const Frontier *frontier, const Noise *noise, int resamples, Err *e);

// Is the frontier bent (Fig A5)? The exponent of N_opt along thirds of the envelope, beside what a frontier without a
// bend of its own gives on the same runs: their curves moved to end on the fitted surface, plus noise
// (fit_curvature.c).
typedef struct Curvature {
  bool ok;
  double C[4];                // bounds of the thirds
  PowerLaw law[3];            // of N_opt, with intervals
  Interval null[3];           // mean over the draws, 10th and 90th percentile
  double surface[3];          // slope of the surface's own frontier there
} Curvature;

// ---- A study (fit.c, fit_write.c, fit_selftest.c, report.c)
// ----------------------------------------------------------

// Everything that is known of a study under one convention: what fits.csv, the terminal and the report show.
typedef struct Analysis {
  Points points;
  Ranking *ranking;  // of the curves; NULL without
  Noise noise;
  bool levelled;  // iso was fitted to runs that the surface moved to equal compute
  Envelope envelope;
  IsoFit iso;
  SurfaceFit surface;
  VarproFit varpro;  // of a surface that is ok
  Frontier frontier;
} Analysis;

// Approach 2 on points that the surface has moved to equal compute, where `level` and it is ok. E_MEMORY.
int valleys_fit(IsoFit *f, const Points *ps, const SurfaceFit *level, const Convention *cv, int resamples, Err *e);
int curvature_fit(Curvature *f, const Analysis *a, Err *e);

// Bias and coverage of the estimators on losses drawn from the fitted surface (fit_selftest.c).
enum { SELFTEST_DRAWS = 200, SELFTEST_MAX = 100000, SELFTEST_RESAMPLES = 200, SELFTEST_ROWS = MAX_VALLEYS + 16 };
typedef struct SelfTestRow {
  const char *approach;  // as in fits.csv
  char quantity[48];
  double truth;
  bool relative;      // errors are ln(estimate / truth), else estimate - truth
  int draws;          // that gave an estimate and an interval
  Interval bias;      // mean error; 10th and 90th percentile of the errors
  double width;       // of the 10-90 % intervals, mean
  Interval coverage;  // share of the 10-90 % intervals that hold the truth; Wilson's 80 % interval of that share
} SelfTestRow;
typedef struct SelfTest {
  int draws;               // 0: it was not run
  double run_sd, cell_sd;  // noise in nats: of a run; shared by the runs of a cell
  double surface_sd;       // of the study's runs about its surface: above the noise where the surface does not fit
  int rows;
  SelfTestRow row[SELFTEST_ROWS];
} SelfTest;
// Draws 0..SELFTEST_MAX studies; 0, or an analysis without a surface, gives none. `noise` NULL: the study's own, as its
// residuals tell. E_MEMORY.
int selftest_run(SelfTest *t, const Analysis *a, const Noise *noise, int draws, Err *e);
// Do the runs scatter about the surface by half as much again as the noise, or more?
bool selftest_misfit(const SelfTest *t);
const SelfTestRow *selftest_row(const SelfTest *t, const char *approach, const char *quantity);  // NULL: no such row

// One part of a study (parts.c): its runs in the order of its plan, their curves, and its own parabolas (default
// convention; of horizons, whose runs share no budgets, there are none).
typedef struct PartFit {
  char name[32];
  Records rs;
  Curves cs;
  Points points;
  IsoFit iso;
} PartFit;
typedef struct Parts {
  int n;
  PartFit *p;
  Config laws;  // of the part isoflop, or of the first: from_flops, and the rule behind it
} Parts;
// The parts of DIR/study.ini that have records among `all`; none where there is no such file. E_RECORD, E_MEMORY.
int parts_open(Parts *ps, const char *dir, const Records *all, Err *e);
// The runs behind the laws: those of the parts isoflop and horizons (whose runs belong to no budget), each once; all
// runs where there are no parts. Each with the from_flops of its part. Copies: free with records_free. E_MEMORY.
int parts_main(Records *rs, const Parts *ps, const Records *all, Err *e);
const PartFit *parts_find(const Parts *ps, const char *name);  // NULL: none, or no run yet
void parts_free(Parts *ps);

typedef struct StudyFit {
  const Records *all;      // of the folder
  const Records *records;  // behind the laws; owned when it is not `all`
  Parts parts;
  double peak;           // of one core in GFLOP/s; 0: not known
  const char *imported;  // the file that the runs come from; NULL for a study of ours
  Curves curves;
  int n;
  Analysis *a;        // one for each convention that counts N or C differently from those before; a[0] the default
  Analysis *whole;    // a[0] with the runs below from_flops; NULL where there are none. a[n], so not to be freed
  SelfTest selftest;  // of a[0]
} StudyFit;

const Valley *analysis_lowest(const Analysis *a);  // that of the smallest budget which is not `below`; NULL: there is none
// rs must outlive s; cs is taken over (also on failure). E_MEMORY.
int study_fit(StudyFit *s, const Records *rs, Curves *cs, Err *e);
// Loads a study folder's records and fits them; on success the caller frees both. E_RECORD when there is none.
int study_open(const char *dir, Records *rs, StudyFit *s, Err *e);
void study_free(StudyFit *s);
// DIR/fits.csv and DIR/tables/*.csv
int study_write(const StudyFit *s, const char *dir, Err *e);
void study_print(const StudyFit *s, FILE *f);

// What no model can go below, nats per token: of a corpus whose source is known. False for any other, or for several.
typedef struct Floors {
  double source, held_out;  // entropy rate of the source; exact cross-entropy of the held-out part under it
} Floors;
bool study_floors(const StudyFit *s, Floors *f);

// N_opt ~ C^a and D_opt ~ C^b by every approach that the data allowed. Returns how many rows.
enum { MAX_EXPONENTS = 4 };
typedef struct Exponents {
  const char *approach, *title;  // as in fits.csv; for people
  Interval a, b;
} Exponents;
int analysis_exponents(const Analysis *a, Exponents rows[MAX_EXPONENTS]);

// Reads runs/, writes DIR/fits.csv and DIR/tables/. `draws` of the self-test.
int fit_study(const char *dir, int draws, FILE *summary, Err *e);
// The same, and DIR/figures/, DIR/report.html. `peak` of one core in GFLOP/s, 0 when it is not known.
int report_study(const char *dir, int draws, double peak, FILE *summary, Err *e);
// Runs that others made (fit_import.c): a CSV or JSON file in; fits, tables, figures and report in DIR.
int fit_imported(const char *file, const char *dir, int draws, FILE *summary, Err *e);
// The file's runs as records, and its curves. E_IO, or E_RECORD with file:line.
int import_read(const char *file, Records *rs, Curves *cs, Err *e);

// Commands: argv[0] is the command's name. They print their own errors and return the exit code.
int fit_main(int argc, char **argv);
int report_main(int argc, char **argv);

// Short names of numbers: "1e11" for a budget, "26.1k" for a count. Static buffers, eight in turn.
const char *text_budget(double C);
const char *text_count(double x);
#endif
