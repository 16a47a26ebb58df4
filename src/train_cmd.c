// train_cmd.c: the commands about one model: train, eval, sample. In: argv. Out: an exit code.
#include "eval.h"
#include "kernels.h"
#include "train.h"
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char TRAIN_HELP[] =
    "Examples:\n"
    "  isoflop train --out runs/first --set corpus=english --set d_model=64 --set n_layers=4 --set n_heads=4 --set "
    "tokens=2e6\n"
    "  isoflop train --out runs/first                       # the same again: goes on from its checkpoint\n"
    "  isoflop train --config my.ini --set lr=0.004 --out runs/second\n"
    "\n"
    "Usage: isoflop train --out DIR [--config FILE]... [--set KEY=VALUE]...\n"
    "Trains one model and leaves DIR/model.bin, DIR/curve.tsv and DIR/run.ini. Ctrl-C saves a checkpoint first; the same\n"
    "command, or one with --out alone, then goes on from it. The folder of another run is left as it is.\n"
    "  --out DIR         the run's folder\n"
    "  --config FILE     options from an INI file (default: DIR/run.ini or DIR/cell.ini where there is one); may be\n"
    "                    given again, later ones win\n"
    "  --set KEY=VALUE   one option; wins over the file. `isoflop help options` lists them all\n"
    "  --progress-fd N   progress as \"step steps loss\" lines on descriptor N (used by the sweep)\n";

static const char EVAL_HELP[] =
    "Examples:\n"
    "  isoflop eval --run runs/first\n"
    "  isoflop eval --run runs/first --set corpus=code --set eval_tokens=1e6\n"
    "\n"
    "Usage: isoflop eval --run DIR [--passages N] [--set KEY=VALUE]...\n"
    "Held-out loss of a trained model in nats and bits per byte; word perplexity, exp(nats per byte x bytes per word of\n"
    "the held-out part; a word is a run of letters, digits, _ and bytes above 127); last-word accuracy: how many of N\n"
    "passages (default 4096, 0 for none) of seq_len held-out bytes that end at a word's end have that word right, when it\n"
    "is generated greedily from what stands before it; forward FLOPs a token. With standard errors.\n";

static const char SAMPLE_HELP[] =
    "Examples:\n"
    "  isoflop sample --run runs/first\n"
    "  isoflop sample --run runs/first --prompt 'In the beginning ' --bytes 400 --temperature 0.8 --seed 7\n"
    "\n"
    "Usage: isoflop sample --run DIR [--prompt TEXT] [--bytes N] [--temperature X] [--seed N]\n"
    "Writes the prompt and N sampled bytes (default 500) to stdout. Temperature 0 takes the likeliest byte; default "
    "0.8.\n";

typedef struct Args {
  const char *out, *prompt, *help;
  int fd, bytes, seed, passages, n_configs, n_sets;
  double temperature;
  const char *configs[8], *sets[64];
} Args;

// Returns OK, E_USAGE (message in e) or -1 when help was asked for.
static int args_parse(int argc, char **argv, Args *a, Err *e) {
  static const struct option longs[] = {{"out", 1, 0, 'o'},
                                        {"run", 1, 0, 'o'},
                                        {"config", 1, 0, 'c'},
                                        {"set", 1, 0, 's'},
                                        {"progress-fd", 1, 0, 'f'},
                                        {"passages", 1, 0, 'a'},
                                        {"prompt", 1, 0, 'p'},
                                        {"bytes", 1, 0, 'n'},
                                        {"temperature", 1, 0, 't'},
                                        {"seed", 1, 0, 'r'},
                                        {"help", 0, 0, 'h'},
                                        {0}};
  *a = (Args){.help = a->help, .fd = -1, .bytes = 500, .seed = 1, .passages = EVAL_PASSAGES, .temperature = 0.8, .prompt = "The "};
  optind = 1;
  opterr = 0;  // one line, and it is ours
  bool good = true;
  double x = 0;
  for (int c; good && (c = getopt_long(argc, argv, "+h", longs, NULL)) != -1;) switch (c) {
      case 'o': a->out = optarg; break;
      case 'c':
        if (a->n_configs == 8) return fail(e, E_USAGE, "more than 8 --config");
        a->configs[a->n_configs++] = optarg;
        break;
      case 's':
        if (a->n_sets == 64) return fail(e, E_USAGE, "more than 64 --set");
        a->sets[a->n_sets++] = optarg;
        break;
      case 'f': good = number_parse(optarg, true, 0, 1 << 20, &x), a->fd = (int)x; break;
      case 'a': good = number_parse(optarg, true, 0, 1 << 24, &x), a->passages = (int)x; break;
      case 'p': a->prompt = optarg; break;
      case 'n': good = number_parse(optarg, true, 0, 1 << 24, &x), a->bytes = (int)x; break;
      case 't': good = number_parse(optarg, false, 0, 100, &a->temperature); break;
      case 'r': good = number_parse(optarg, true, 0, 1 << 30, &x), a->seed = (int)x; break;
      case 'h': fputs(a->help, stdout); return -1;
      default:
        return fail(e, E_USAGE, "%s: unknown option %s, or its value is missing: see --help", argv[0], argv[optind - 1]);
    }
  if (!good) return fail(e, E_USAGE, "%s: '%s' is no number, or out of range: see --help", argv[0], optarg);
  if (optind < argc) return fail(e, E_USAGE, "%s: unexpected argument '%s': see --help", argv[0], argv[optind]);
  if (!a->out) return fail(e, E_USAGE, "%s: the run's folder is missing: see --help", argv[0]);
  return OK;
}

// A file of options over *cfg; a record is taken as it stands.
static int config_add(Config *cfg, const char *file, Err *e) {
  const size_t n = strlen(file);
  if (n < 7 || strcmp(file + n - 7, "run.ini") != 0) return config_load(cfg, file, e);
  Record r;
  if (record_read(file, &r, e)) return e->code;
  *cfg = r.cfg;
  return OK;
}

// The config of the command: defaults, then the files (without any, what the run's folder holds), then --set.
static int config_gather(const Args *a, Config *cfg, Err *e) {
  static const char *const own[] = {"run.ini", "cell.ini"};
  config_defaults(cfg);
  for (int i = 0; i < a->n_configs; i++)
    if (config_add(cfg, a->configs[i], e)) return e->code;
  for (int i = 0; !a->n_configs && i < 2; i++) {
    char found[1100];
    snprintf(found, sizeof found, "%s/%s", a->out, own[i]);
    if (!file_exists(found)) continue;
    if (config_add(cfg, found, e)) return e->code;
    break;
  }
  for (int i = 0; i < a->n_sets; i++)
    if (config_set(cfg, a->sets[i], "--set", e)) return e->code;
  return OK;
}

static int open_corpus(const Config *cfg, Corpus *c, Err *e) {
  char path[1024];
  return corpus_resolve(cfg->corpus, path, sizeof path, e) ? e->code : corpus_open(c, path, e);
}

static int result_print(const char *dir, Err *e) {
  Record r;
  char path[1100];
  snprintf(path, sizeof path, "%s/run.ini", dir);
  if (record_read(path, &r, e)) return e->code;
  printf("%s: held-out loss %.4f +- %.4f nats (%.4f bits) per byte, training loss %.4f, %.1f s\n", r.status, r.val_loss,
         r.val_loss_se, r.val_loss / log(2), r.train_loss, r.seconds);
  return OK;
}

// Does the folder hold this run, finished? Another finished run there is an error: it is not to be written over.
static bool run_there(const char *dir, const Config *cfg, const Corpus *corpus, Err *e) {
  Record r;
  Err why;
  char path[1100], id[17];
  snprintf(path, sizeof path, "%s/run.ini", dir);
  config_run_id(cfg, corpus->hash, id);
  if (!file_exists(path)) return false;
  const int code = record_read(path, &r, &why);
  if (code && code != E_RECORD) return *e = why, false;  // it may be good: not to be trained over
  if (code || !strcmp(r.status, "failed")) return false;
  if (strcmp(r.id, id)) return fail(e, E_RECORD, "%s: holds run %s, not %s: give --out another folder", dir, r.id, id), false;
  return true;
}

// What was asked for, as DIR/cell.ini: `train --out DIR` goes on with it, until the record takes its place.
static int config_keep(const char *dir, const Config *given, Err *e) {
  char path[1100];
  OutFile o;
  snprintf(path, sizeof path, "%s/cell.ini", dir);
  if (dir_make(dir, e) || out_open(&o, path, e)) return e->code;
  config_dump(given, "model train recipe eval machine", o.f);
  return out_commit(&o, e);
}

int train_main(int argc, char **argv) {
  Err e = {0};
  Args a = {.help = TRAIN_HELP};
  int code = args_parse(argc, argv, &a, &e);
  if (code) return finish(code, &e);
  Config cfg, given;
  Corpus corpus;
  if ((code = config_gather(&a, &given, &e)) || (cfg = given, code = recipe_resolve(&cfg, &e)) ||
      (code = open_corpus(&cfg, &corpus, &e)))
    return finish(code, &e);
  const bool there = run_there(a.out, &cfg, &corpus, &e);
  if (there || e.code) {
    corpus_close(&corpus);
    if (there) fprintf(stderr, "%s: this run is finished\n", a.out), result_print(a.out, &e);
    return finish(e.code, &e);
  }
  const bool by_hand = a.fd < 0;  // a worker keeps the config itself
  if (by_hand)
    fprintf(stderr, "%s: %.0f parameters, %.0f tokens of %s, %.3g exact FLOPs, batch %d, peak rate %.4g, kernels %s\n",
            a.out, shape_params(&cfg).total, cfg.tokens, corpus.name, cfg.tokens * shape_flops(&cfg).exact,
            cfg.batch_tokens, cfg.lr, kernels_describe(kern));
  if (by_hand && !checkpoint_exists(a.out, "checkpoint.bin")) code = config_keep(a.out, &given, &e);
  if (code == OK) code = train_run(&cfg, &corpus, a.out, by_hand ? PROGRESS_LINES : PROGRESS_PIPE, a.fd, &e);
  corpus_close(&corpus);
  if (code == OK && by_hand) {
    char kept[1100];
    snprintf(kept, sizeof kept, "%s/cell.ini", a.out);
    unlink(kept);
    code = result_print(a.out, &e);
  }
  return finish(code, &e);
}

// The trained model of a run folder.
static int open_model(const Args *a, Config *cfg, Model *m, Err *e) {
  if (config_gather(a, cfg, e) || config_check(cfg, e) || model_new(m, cfg, false, e)) return e->code;
  Progress p;
  if (checkpoint_read(a->out, "model.bin", NULL, m, false, &p, e)) {
    model_free(m);
    return e->code;
  }
  free(p.points);
  return OK;
}

static void eval_print(const Evaluation *v, const char *corpus) {
  printf("%s: %.6f +- %.6f nats per byte, %.6f +- %.6f bits per byte, over %.0f tokens\n", corpus, v->nats, v->nats_se,
         v->nats / log(2), v->nats_se / log(2), v->tokens);
  printf("word perplexity %.2f +- %.2f, at %.3f bytes a word\n", v->word_ppl, v->word_ppl_se, v->bytes_per_word);
  if (v->passages)
    printf("last word right in %.2f +- %.2f %% of %d passages\n", 100 * v->last_word, 100 * v->last_word_se, v->passages);
  printf("%.4g FLOPs a token, forward\n", v->flops_per_token);
}

int eval_main(int argc, char **argv) {
  Err e = {0};
  Args a = {.help = EVAL_HELP};
  Config cfg;
  Model m;
  Corpus corpus;
  int code = args_parse(argc, argv, &a, &e);
  if (code || (code = open_model(&a, &cfg, &m, &e))) return finish(code, &e);
  Evaluation v;
  if ((code = open_corpus(&cfg, &corpus, &e)) == OK) {
    if ((code = eval_model(&m, &corpus, cfg.eval_tokens, a.passages, &v, &e)) == OK) eval_print(&v, corpus.name);
    corpus_close(&corpus);
  }
  model_free(&m);
  return finish(code, &e);
}

int sample_main(int argc, char **argv) {
  Err e = {0};
  Args a = {.help = SAMPLE_HELP};
  Config cfg;
  Model m;
  int code = args_parse(argc, argv, &a, &e);
  if (code || (code = open_model(&a, &cfg, &m, &e))) return finish(code, &e);
  const int T = cfg.seq_len;
  size_t n = strlen(a.prompt), total = n + (size_t)(a.bytes > 0 ? a.bytes : 0);
  uint8_t *text = mem_new(total + 2, "sample", &e);
  if (!text)
    code = e.code;
  else {
    if (n == 0)
      text[n++] = '\n', total++;
    else
      memcpy(text, a.prompt, n);
    for (; n < total; n++) {
      const size_t from = n > (size_t)T ? n - (size_t)T : 0;
      float logits[VOCAB];
      model_logits(&m, text + from, (int)(n - from), logits);
      int best = 0;
      for (int v = 1; v < VOCAB; v++)
        if (logits[v] > logits[best]) best = v;
      if (a.temperature > 0) {
        double sum = 0, u = rng_uniform((uint64_t)a.seed, n);
        double weight[VOCAB];
        for (int v = 0; v < VOCAB; v++) sum += weight[v] = exp((logits[v] - logits[best]) / a.temperature);
        int v = 0;
        for (u *= sum; v < VOCAB - 1 && u >= weight[v]; v++) u -= weight[v];
        best = v;
      }
      text[n] = (uint8_t)best;
    }
    fwrite(text, 1, n, stdout);
    putchar('\n');
  }
  free(text);
  model_free(&m);
  return finish(code, &e);
}
