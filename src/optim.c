// optim.c: gradient clipping, AdamW (Loshchilov & Hutter 2019), the learning-rate schedule. See model.h.
#include "kernels.h"
#include "model.h"
#include <math.h>
#include <string.h>

enum { CHUNK = 8192 };  // floats: the unit of work and of partial sums, whatever the number of threads

size_t model_chunks(const Model *m) { return (m->n_params + CHUNK - 1) / CHUNK; }

static double gradient_norm(const Model *m) {
  const int n = (int)model_chunks(m);
#pragma omp parallel for schedule(static) num_threads(m->threads) if (n > 8)
  for (int i = 0; i < n; i++) {
    const size_t at = (size_t)i * CHUNK, left = m->n_params - at;
    m->chunk_sums[i] = kern->sumsq(m->grads + at, left < CHUNK ? left : CHUNK);
  }
  double sum = 0;
  for (int i = 0; i < n; i++) sum += m->chunk_sums[i];
  return sqrt(sum);
}

double optim_step(Model *m, int step, double lr) {
  const Config *c = &m->cfg;
  const double norm = gradient_norm(m);
  if (!isfinite(norm)) return norm;
  const bool decoupled = strcmp(c->optimizer, "adam") != 0;
  const AdamCoef base = {.lr = (float)lr,
                         .b1 = (float)c->beta1,
                         .b2 = (float)c->beta2,
                         .eps = (float)c->eps,
                         .grad_scale = c->clip > 0 && norm > c->clip ? (float)(c->clip / norm) : 1,
                         .m_corr = (float)(1 / (1 - pow(c->beta1, step))),
                         .v_corr = (float)(1 / (1 - pow(c->beta2, step)))};
  const int n = (int)model_chunks(m);
#pragma omp parallel for schedule(static) num_threads(m->threads) if (n > 8)
  for (int i = 0; i < n; i++) {
    const size_t lo = (size_t)i * CHUNK, hi = lo + CHUNK < m->n_params ? lo + CHUNK : m->n_params;
    for (int k = 0; k < m->n_tensors; k++) {  // the part of each tensor that lies in this chunk, padding included
      const Tensor *t = &m->tensors[k];
      const size_t end = k + 1 < m->n_tensors ? m->tensors[k + 1].offset : m->n_params;
      const size_t a = t->offset > lo ? t->offset : lo, b = end < hi ? end : hi;
      if (a >= b) continue;
      AdamCoef coef = base;
      if (t->decay) *(decoupled ? &coef.decay : &coef.l2) = (float)c->weight_decay;
      kern->adamw(m->params + a, m->grads + a, m->m + a, m->v + a, b - a, &coef);
    }
  }
  return norm;
}

double schedule_lr(const Config *c, int step, int steps) {
  const double warm = fmax(1, round(c->warmup * steps)), end = c->cosine_cycle * steps;
  if (step <= warm) return c->lr * step / warm;
  const double x = fmin(1, (step - warm) / fmax(1, end - warm));
  return c->lr * (c->lr_final + (1 - c->lr_final) * 0.5 * (1 + cos(3.141592653589793 * x)));
}
