// eval.c: see eval.h. In: a model and a corpus. Out: losses, perplexity and last words with their standard errors.
// Invariant: passages are a function of the corpus, seq_len and their number alone; generation is greedy, so the word is
// right exactly when each of its bytes is the likeliest after the true ones before it, and the first wrong byte ends it.
// Reference: Hoffmann et al. 2022, section 4.2; Paperno et al. 2016, The LAMBADA dataset.
#include "eval.h"
#include "batch.h"
#include "train.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>

bool eval_word_byte(uint8_t b) { return b >= 128 || b == '_' || (b < 128 && isalnum(b)); }

double eval_bytes_per_word(const uint8_t *val, size_t n_val) {
  size_t words = 0;
  for (size_t i = 0; i < n_val; i++) words += eval_word_byte(val[i]) && (i == 0 || !eval_word_byte(val[i - 1]));
  return words ? (double)n_val / (double)words : NAN;
}

int64_t eval_passage(const uint8_t *val, size_t n_val, int T, int k, int n, int *word) {
  const size_t from = (size_t)((double)(n_val - (size_t)T) / n * k) + (size_t)T;
  for (size_t end = from; end < n_val; end++) {
    if (!eval_word_byte(val[end - 1]) || eval_word_byte(val[end])) continue;
    int w = 1;
    while (w < T && eval_word_byte(val[end - 1 - (size_t)w])) w++;
    if (w > T / 2) continue;  // no word of a text: a line of ciphers
    *word = w;
    return (int64_t)(end - (size_t)T);
  }
  return -1;
}

static bool last_word_right(Model *m, const uint8_t *passage, int T, int word) {
  for (int at = T - word; at < T; at++) {
    float logits[VOCAB];
    model_logits(m, passage, at, logits);
    int best = 0;
    for (int v = 1; v < VOCAB; v++)
      if (logits[v] > logits[best]) best = v;
    if (best != passage[at]) return false;
  }
  return true;
}

static int eval_last_words(Model *m, const Corpus *c, int passages, Evaluation *out, Err *e) {
  const int T = m->cfg.seq_len;
  const size_t most = c->n_val / (size_t)T;
  const int n = (size_t)passages < most ? passages : (int)most;
  double *right = mem_new(((size_t)n + 1) * sizeof *right, "last words", e);
  if (!right) return e->code;
  for (int k = 0; k < n; k++) {
    int word;
    const int64_t at = eval_passage(c->val, c->n_val, T, k, n, &word);
    if (at < 0) break;
    right[out->passages++] = last_word_right(m, c->val + at, T, word);
  }
  out->last_word = out->last_word_se = NAN;
  if (out->passages) out->last_word = train_mean(right, out->passages, &out->last_word_se);
  free(right);
  return OK;
}

int eval_model(Model *m, const Corpus *c, double tokens, int passages, Evaluation *out, Err *e) {
  *out = (Evaluation){.flops_per_token = shape_flops(&m->cfg).exact / 3};
  const int windows = batch_val_windows(c, fmax(tokens, m->cfg.seq_len), m->cfg.seq_len);
  if (windows < 1)
    return fail(e, E_CORPUS, "corpus %s: held-out part shorter than one window of %d tokens", c->name, m->cfg.seq_len);
  if (train_eval(m, c, windows, &out->nats, &out->nats_se, e)) return e->code;
  out->tokens = (double)windows * m->cfg.seq_len;
  out->bytes_per_word = eval_bytes_per_word(c->val, c->n_val);
  out->word_ppl = exp(out->nats * out->bytes_per_word);
  out->word_ppl_se = out->word_ppl * out->bytes_per_word * out->nats_se;
  return passages > 0 ? eval_last_words(m, c, passages, out, e) : OK;
}

int eval_run(const char *dir, const Corpus *c, int passages, Evaluation *out, Err *e) {
  char path[1100];
  Record r;
  Model m;
  Progress p;
  snprintf(path, sizeof path, "%.1000s/run.ini", dir);
  if (record_read(path, &r, e) || model_new(&m, &r.cfg, false, e)) return e->code;
  if (checkpoint_read(dir, "model.bin", NULL, &m, false, &p, e) == OK) {
    free(p.points);
    eval_model(&m, c, r.cfg.eval_tokens, passages, out, e);
  }
  model_free(&m);
  return e->code;
}
