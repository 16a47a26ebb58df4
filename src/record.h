// record.h: what is kept of a run. runs/<id>/run.ini (resolved config + provenance + result) and curve.tsv; runs.csv
// is derived.
#ifndef ISOFLOP_RECORD_H
#define ISOFLOP_RECORD_H
#include "config.h"
#include "shape.h"

typedef struct Record {
  char id[17];
  char status[16];            // finished, diverged, failed
  char reason[256];           // one line when not finished
  Config cfg;                 // resolved
  // provenance
  char version[64], commit[64];     // of the program; "-dirty" ends the commit of a tree that was changed
  char compiler[64], libc[64];      // with its flags; of the machine that computed (libm's last bits are its own)
  char cpu[96], kernels[64], corpus_name[64], corpus_hash[17];
  char config_hash[17];             // of [model], [train], [eval] as resolved; with corpus_hash it determines the run
  int threads;
  double floor_nats;          // of the corpus; NaN unknown
  // result
  Params params;
  Flops flops_per_token;
  double tokens;              // D, trained
  int steps;
  double epochs;              // D / training bytes of the corpus
  double val_loss, val_loss_se;  // nats per byte; NaN when the run did not get there
  double val_floor;           // exact cross-entropy of the held-out part under the true source; NaN unknown
  double train_loss;          // smoothed over the last steps
  double seconds;             // of training and evaluation, those before a restart included
} Record;

// Written whole or not at all; E_IO.
int record_write(const char *path, const Record *r, Err *e);
// Every field back, bit for bit. E_RECORD when damaged (a key missing, unknown or out of range, or the checksum in
// the last line does not match), E_IO when unreadable.
int record_read(const char *path, Record *r, Err *e);

typedef struct Records { int n; Record *r; int n_bad; char first_bad[512]; } Records;
// All runs/<id>/run.ini of a study folder, ordered by (budget, params, seed, id). A bad file is counted and named, and
// never hides the others; a run that has no record yet is left out. E_RECORD when `dir` is no study folder.
int records_load(const char *dir, Records *out, Err *e);
void records_free(Records *rs);
// DIR/runs.csv: one row a run in the order given. FLOPs are those of the whole run. E_IO.
int records_write_csv(const char *dir, const Records *rs, Err *e);
#endif
