// verdict_cmd.c: `isoflop verdict DIR`: the forecasts of a study folder beside what the trained pair came to.
//
// In: DIR/study.ini, DIR/forecast-PART.ini, the pair's run folders and the corpora. Out: DIR/verdict.csv and lines on the
// terminal. The loss that is judged is the record's final held-out loss, the same windows for every run of the study,
// so the standard error of that text is in none of the differences; the other measures are taken here from the models.
// Invariant: measured beside forecast; nothing here changes either.
#include "eval.h"
#include "plan.h"
#include "verdict.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

// One cell of a part: means over its seeds.
typedef struct Measured {
  int runs;
  char id[17];  // of the first
  double loss;  // of the records, nats per byte
  double flops;  // of training
  Evaluation v, other;  // on the held-out text of its own corpus, and of one that it has never seen
} Measured;

// What the models are measured on: the part's own corpus and, where the study has a verdict on another, that one.
typedef struct Texts {
  int n;
  const char *name[2];
  Corpus corpus[2];
} Texts;

static void texts_close(Texts *t) {
  for (; t->n > 0; t->n--) corpus_close(&t->corpus[t->n - 1]);
}

static int texts_open(Texts *t, const Study *s, int part, Err *e) {
  const Part *own = &s->part[part], *other = NULL;
  *t = (Texts){0}, *e = (Err){0};
  for (int i = 0; i < s->n && !other; i++)
    if (!strcmp(s->part[i].cfg.kind, "verdict") && s->part[i].corpus_hash != own->corpus_hash) other = &s->part[i];
  for (int k = 0; k < 1 + (other != NULL); k++) {
    char path[1024];
    t->name[k] = k ? other->cfg.corpus : own->cfg.corpus;
    if (corpus_resolve(t->name[k], path, sizeof path, e) || corpus_open(&t->corpus[k], path, e)) break;
    t->n++;
  }
  if (e->code) texts_close(t);
  return e->code;
}

// Takes another run into the mean over `runs` of them.
static void evaluation_mean(Evaluation *m, const Evaluation *v, int runs) {
  const double w = 1. / runs;
  if (runs == 1) *m = *v;
  m->nats += w * (v->nats - m->nats), m->nats_se += w * (v->nats_se - m->nats_se);
  m->last_word += w * (v->last_word - m->last_word), m->last_word_se += w * (v->last_word_se - m->last_word_se);
  m->word_ppl = exp(m->nats * m->bytes_per_word);
  m->word_ppl_se = m->word_ppl * m->bytes_per_word * m->nats_se;
}

static int cell_measure(Measured *m, double N, const Records *rs, const Texts *t, const char *dir, Err *e) {
  *m = (Measured){0};
  for (int i = 0; i < rs->n; i++) {
    const Record *r = &rs->r[i];
    char run[1024];
    Evaluation v[2];
    if (r->params.total != N || strcmp(r->status, "finished")) continue;
    snprintf(run, sizeof run, "%.900s/runs/%s", dir, r->id);
    for (int k = 0; k < t->n; k++)
      if (eval_run(run, &t->corpus[k], EVAL_PASSAGES, &v[k], e)) return e->code;
    if (!m->runs++) m->flops = r->tokens * r->flops_per_token.exact, memcpy(m->id, r->id, sizeof m->id);
    m->loss += (r->val_loss - m->loss) / m->runs;
    evaluation_mean(&m->v, &v[0], m->runs);
    if (t->n > 1) evaluation_mean(&m->other, &v[1], m->runs);
  }
  return OK;
}

static bool inside(const Interval *i, double x) { return x >= i->p10 && x <= i->p90; }
static const char *pass(bool yes) { return yes ? "pass" : "FAIL"; }
static const char *const cell_title[2] = {"recommended", "4x larger"};

static void part_print(FILE *out, const Part *p, const Forecast *f, const Measured m[2], const char *other) {
  fprintf(out, "%s: %s FLOPs on %s; best size by Approach 2 %s, by Approach 3 %s, taken %s\n", p->name, text_budget(f->budget),
          p->cfg.corpus, text_count(f->n_iso.value), text_count(f->n_surface.value), text_count(f->N[0]));
  fprintf(out, "               parameters   tokens   loss forecast (80 %%)          measured        bits per byte      word "
               "perplexity     last word right   FLOPs a token, forward\n");
  for (int k = 0; k < 2; k++) {
    const Interval *loss = &f->loss[k];
    const Evaluation *v = &m[k].v;
    fprintf(out, "  %-12s %9s  %8s   %.4f (%.4f to %.4f)  %.4f %s  %.4f +- %.4f  %9.4g +- %-8.3g %5.2f +- %.2f %%  %.4g\n",
            cell_title[k], text_count(f->N[k]), text_count(f->D[k]), loss->value, loss->p10, loss->p90, m[k].loss,
            pass(inside(loss, m[k].loss)), v->nats / log(2), v->nats_se / log(2), v->word_ppl, v->word_ppl_se,
            100 * v->last_word, 100 * v->last_word_se, v->flops_per_token);
  }
  for (int k = 0; k < 2 && other; k++) {
    const Evaluation *v = &m[k].other;
    fprintf(out, "  %-12s on %s, which it has never seen: %.4f +- %.4f bits per byte, word perplexity %.4g +- %.3g, last word "
            "right %.2f +- %.2f %%\n", cell_title[k], other, v->nats / log(2), v->nats_se / log(2), v->word_ppl,
            v->word_ppl_se, 100 * v->last_word, 100 * v->last_word_se);
  }
  const double gap = m[1].loss - m[0].loss;
  fprintf(out, "  the larger one's loss is higher by %+.4f, forecast %+.4f (%+.4f to %+.4f): %s; a run's noise is %.4f\n", gap,
          f->gap.value, f->gap.p10, f->gap.p90, pass(inside(&f->gap, gap)), f->run_sd);
  fprintf(out, "  %s; inference of the larger one costs %.2f times as much\n",
          gap > 0 ? "the recommended size wins" : "the larger size wins: the recommendation FAILS",
          m[1].v.flops_per_token / m[0].v.flops_per_token);
}

static void numbers_csv(FILE *f, const double *x, size_t n) {
  for (size_t i = 0; i < n; i++) {
    char number[32];
    config_print_number(number, sizeof number, x[i]);
    fprintf(f, ",%s", number);
  }
}

static void part_csv(FILE *f, const Part *p, const Forecast *q, const Measured m[2], const char *other) {
  for (int k = 0; k < 2; k++) {
    const Interval *loss = &q->loss[k];
    const Evaluation *v = &m[k].v;
    const double columns[] = {q->N[k], q->D[k], m[k].flops, loss->value, loss->p10, loss->p90, m[k].loss, v->nats / log(2),
                              v->nats_se / log(2), v->bytes_per_word, v->word_ppl, v->word_ppl_se, v->passages,
                              v->last_word, v->last_word_se, v->flops_per_token};
    fprintf(f, "%s,%s,%s,%d,%s", p->name, k ? "larger" : "recommended", m[k].id, m[k].runs,
            inside(loss, m[k].loss) ? "pass" : "fail");
    numbers_csv(f, columns, sizeof columns / sizeof *columns);
    const Evaluation *u = &m[k].other;
    const double unseen[] = {u->nats / log(2), u->nats_se / log(2), u->bytes_per_word, u->word_ppl, u->word_ppl_se,
                             u->passages, u->last_word, u->last_word_se};
    fprintf(f, ",%s", other ? other : "");
    if (other)
      numbers_csv(f, unseen, sizeof unseen / sizeof *unseen);
    else
      for (size_t i = 0; i < sizeof unseen / sizeof *unseen; i++) fputc(',', f);
    fputc('\n', f);
  }
}

// One part: forecast, records, measures. *runs: how many of its two models there are.
static int part_judge(const Study *s, int part, const Records *all, const char *dir, FILE *csv, FILE *out, int *runs,
                      Err *e) {
  const Part *p = &s->part[part];
  Forecast f;
  Records rs;
  Measured m[2];
  Texts texts;
  *runs = 0;
  if (p->pair[0] < 0) return OK;
  if (forecast_read(dir, p->name, &f, e) || study_part_records(s, all, part, &rs, e)) return e->code;
  if (rs.n && texts_open(&texts, s, part, e) == OK) {
    for (int k = 0; k < 2 && e->code == OK; k++)
      if (cell_measure(&m[k], f.N[k], &rs, &texts, dir, e) == OK) *runs += m[k].runs > 0;
    const char *other = texts.n > 1 ? texts.name[1] : NULL;
    if (e->code == OK && *runs == 2) part_print(out, p, &f, m, other), part_csv(csv, p, &f, m, other);
    texts_close(&texts);
  }
  records_free(&rs);
  return e->code;
}

int verdict_run(const char *dir, FILE *out, Err *e) {
  *e = (Err){0};
  Study *s = mem_new(sizeof *s, "study", e);
  Records all = {0};
  OutFile o;
  char path[1024];
  int judged = 0;
  if (!s || study_read(dir, s, e) || verdict_pairs(dir, s, e) || records_load(dir, &all, e)) goto done;
  snprintf(path, sizeof path, "%.1000s/verdict.csv", dir);
  if (out_open(&o, path, e)) goto done;
  fputs("part,size,run_id,runs,verdict,params,tokens,flops,forecast,p10,p90,loss,bits_per_byte,bits_per_byte_se,bytes_per_word,"
        "word_perplexity,word_perplexity_se,passages,last_word,last_word_se,flops_per_token_forward,other_corpus,"
        "other_bits_per_byte,other_bits_per_byte_se,other_bytes_per_word,other_word_perplexity,other_word_perplexity_se,"
        "other_passages,other_last_word,other_last_word_se\n", o.f);
  for (int i = 0; i < s->n; i++) {
    int runs;
    if (strcmp(s->part[i].cfg.kind, "verdict")) continue;
    if (part_judge(s, i, &all, dir, o.f, out, &runs, e)) {
      out_abort(&o);
      goto done;
    }
    if (runs == 2) judged++;
    else fprintf(out, "%s: %d of its 2 models are there: not judged yet\n", s->part[i].name, runs);
  }
  if (judged) out_commit(&o, e);
  else out_abort(&o), fail(e, E_RECORD, "%s: no verdict yet: no part of kind verdict has both its models", dir);
done:
  records_free(&all);
  free(s);
  return e->code;
}

int verdict_main(int argc, char **argv) {
  Err e = {0};
  if (argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
    return printf("Examples:\n  isoflop verdict out/study\n\nUsage: isoflop verdict DIR\n"
                  "The pair of models whose losses were forecast before they were trained (DIR/forecast-PART.ini): forecast\n"
                  "against measured, word perplexity, last-word accuracy, cost of a token; DIR/verdict.csv. Where the study has verdicts on\n"
                  "two corpora, each pair is measured on the other's held-out text too.\n"), OK;
  if (argc != 2 || argv[1][0] == '-')
    return finish(fail(&e, E_USAGE, "verdict: which study folder? Usage: isoflop verdict DIR"), &e);
  return finish(verdict_run(argv[1], stdout, &e), &e);
}
