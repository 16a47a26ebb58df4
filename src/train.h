// train.h: one model from its resolved config to its record; evaluation and sampling of a trained one.
#ifndef ISOFLOP_TRAIN_H
#define ISOFLOP_TRAIN_H
#include "checkpoint.h"
#include "corpus.h"
#include "record.h"

// How a run tells of itself: nothing, lines for a person on stderr, or "step steps loss\n" for the sweep on descriptor
// fd.
typedef enum { PROGRESS_NONE, PROGRESS_LINES, PROGRESS_PIPE } ProgressKind;

// Trains cfg (resolved) on the corpus in run folder `dir` (made if missing): continues from dir/checkpoint.bin if there
// is one; leaves dir/model.bin (parameters), dir/curve.tsv and, last, dir/run.ini, whose presence says that the run is
// over. Returns OK (also for a run that diverged: that is a result), 130 or 143 after a signal (checkpoint written), or
// an error.
int train_run(const Config *cfg, const Corpus *corpus, const char *dir, ProgressKind kind, int fd, Err *e);

// curve.tsv of a run, from its points; model.bin holds the same points, under a checksum.
void train_curve(const Config *cfg, const Progress *p, FILE *f);

enum { TRAIN_EVAL_CLUSTER = 16, TRAIN_MID_EVAL = 8 /* an evaluation on the way uses 1/8 of the final one's windows */ };
// The mean of n >= 1 values in the order of the text, and its standard error (`se` may be NULL; NaN below two clusters).
// Neighbours share a document, so the error is that of means over TRAIN_EVAL_CLUSTER of them in a row.
double train_mean(const double *each, int n, double *se);
// Held-out loss in nats per token over the first `windows` >= 1 windows of T tokens, and its standard error by train_mean.
// E_MEMORY.
int train_eval(Model *m, const Corpus *corpus, int windows, double *loss, double *se, Err *e);

// `isoflop train|eval|sample`: see their --help.
int train_main(int argc, char **argv);
int eval_main(int argc, char **argv);
int sample_main(int argc, char **argv);

// Who computes: for records and --version. train_provenance fills in the fields of r that tell of the program, the
// machine and, from r->cfg, the configuration.
const char *isoflop_version(void);
const char *isoflop_commit(void);
void train_provenance(Record *r);
#endif
