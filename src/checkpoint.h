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
  int bin_steps, n_points;
  CurvePoint *points;  // owned; checkpoint_read allocates it
} Progress;

// Writes DIR/NAME atomically; with `moments` also both AdamW moments. The generation before becomes DIR/NAME.old.
int checkpoint_write(const char *dir, const char *name, const Model *m, bool moments, const Progress *p, Err *e);
// Reads the newest whole generation into m and p. E_RECORD: damaged, or of another run (when run_id is given) or shape;
// E_IO: none. A damaged file leaves the model as it was.
int checkpoint_read(const char *dir, const char *name, const char *run_id, Model *m, bool moments, Progress *p, Err *e);
void checkpoint_remove(const char *dir, const char *name);
#endif
