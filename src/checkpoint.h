// checkpoint.h: the state of a run on disk: exactly what is needed to go on with the same bits.
#ifndef ISOFLOP_CHECKPOINT_H
#define ISOFLOP_CHECKPOINT_H
#include "model.h"

// A point of the training curve. train_loss is the mean since the point before; val_loss NaN where not evaluated. Goes
// to disk as it is, so it has no hidden padding, whose bytes would be anyone's guess.
typedef struct CurvePoint {
  int64_t step;
  double lr, train_loss, val_loss;
} CurvePoint;

// What a run carries from step to step besides the model.
typedef struct Progress {
  char run_id[17];
  int step;         // done so far
  double bin_loss;  // sum of the losses since the last point of the curve
  double seconds;   // that the processes before this one have spent on what is done; not in a file without moments
  int bin_steps, n_points;
  CurvePoint *points;  // owned; checkpoint_read allocates it
} Progress;

// Writes DIR/NAME atomically. With `moments` it is one to go on from: both AdamW moments too, and the generation before
// becomes DIR/NAME.old, so that at every moment the disk has a whole one, whatever fails (E_IO).
int checkpoint_write(const char *dir, const char *name, const Model *m, bool moments, const Progress *p, Err *e);
// Whether there is a generation, good or not.
bool checkpoint_exists(const char *dir, const char *name);
// Reads the newest whole generation into m and p. OK with a message in e: the newest was damaged (and is replaced), this
// is the one before. E_RECORD: damaged, or of another shape; E_DIFFERS: of another run (when run_id is given) or, with
// `moments`, by other kernels, whose bits are others; E_IO: unreadable or none; E_MEMORY. On an error the model is as it was.
int checkpoint_read(const char *dir, const char *name, const char *run_id, Model *m, bool moments, Progress *p, Err *e);
void checkpoint_remove(const char *dir, const char *name);
#endif
