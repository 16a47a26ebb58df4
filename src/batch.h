// batch.h: which tokens a step sees: a pure function of (seed, step), so any step can be remade after a restart.
#ifndef ISOFLOP_BATCH_H
#define ISOFLOP_BATCH_H
#include "corpus.h"

// Fills out [B][T+1] with the training windows of `step` (from 0). Windows of T targets tile the training part; an
// epoch visits each once in an order drawn from (seed, epoch). The order does not depend on B or on the model: runs of
// one seed see the same text in the same order, which makes their losses comparable beyond their noise. n_train > T.
void batch_train(const Corpus *c, uint64_t seed, int64_t step, int B, int T, uint8_t *out);

// Held-out windows `first` .. `first + B`, in the order of the file; batch_val_windows: how many `tokens` come to, at
// most all.
void batch_val(const Corpus *c, int first, int B, int T, uint8_t *out);
int batch_val_windows(const Corpus *c, double tokens, int T);
#endif
