// eval.h: what a trained model is worth, in the measures of the paper: bits per byte, word perplexity, last words.
//
// A word is a maximal run of letters, digits, underscores and bytes above 127. Word perplexity is exp(nats per byte x
// bytes per word of the whole held-out part): the perplexity of a word with what stands around it, for a model that
// reads bytes. Last-word accuracy, as LAMBADA asks for it: passages of seq_len bytes that end where a word ends, all of
// whose last word has to be generated, greedily, byte by byte, from the rest of the passage.
#ifndef ISOFLOP_EVAL_H
#define ISOFLOP_EVAL_H
#include "corpus.h"
#include "model.h"

typedef struct Evaluation {
  double tokens;                  // held-out tokens behind nats
  double nats, nats_se;           // per byte
  double bytes_per_word;
  double word_ppl, word_ppl_se;   // se by first order from that of nats
  int passages;
  double last_word, last_word_se; // share of the passages; as nats_se, between means over neighbours
  double flops_per_token;         // forward, exact
} Evaluation;

// Passages: at most as many as lie seq_len bytes apart; 4096 keep the standard error of a share below 0.8 %.
enum { EVAL_PASSAGES = 4096 };
// Over `tokens` of the held-out part (those of every run's final loss) and `passages` of all of it. The same for any
// number of threads. E_CORPUS when the held-out part has no window, E_MEMORY.
int eval_model(Model *m, const Corpus *c, double tokens, int passages, Evaluation *out, Err *e);
// The same of the run in a folder, on any corpus. E_IO or E_RECORD when it has no model.
int eval_run(const char *dir, const Corpus *c, int passages, Evaluation *out, Err *e);

// Parts of it that are worth a test. The start of passage k of n in val[0..n_val), and the length of its last word; -1
// when no word ends behind that place.
bool eval_word_byte(uint8_t b);
double eval_bytes_per_word(const uint8_t *val, size_t n_val);
int64_t eval_passage(const uint8_t *val, size_t n_val, int T, int k, int n, int *word);
#endif
