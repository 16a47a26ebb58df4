// sweep_cmd.c: the commands about a study: plan, sweep and tune. In: argv. Out: an exit code.
#include "forecast.h"
#include "sweep.h"
#include "tune.h"
#include <getopt.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char PLAN_HELP[] =
    "Examples:\n"
    "  isoflop plan --config configs/smoke.ini\n"
    "  isoflop plan --config configs/sweep.ini --set corpus=english --set sizes_per_budget=7 --workers 8\n"
    "  isoflop plan --config configs/study.ini --forecast --noise 0.01\n"
    "\n"
    "Usage: isoflop plan [--config FILE]... [--workers N] [--set KEY=VALUE]... [--out DIR]\n"
    "       isoflop plan --forecast [--surface E,A,B,ALPHA,BETA] [--noise RUN[,CELL]] [--draws N] [--config FILE]...\n"
    "Prints every cell of a study and what it will cost (by a few steps of each shape), then the totals.\n"
    "  N parameters (embeds, attn+norm, ffn: its components) · D tokens · FLOPs exact, within 1 % of the budget\n"
    "--forecast: what interval on a (N_opt ~ C^a) the plan will buy, by each approach, and how often it will hold the\n"
    "truth: N drawn studies (default 100) of the planned runs from a law L = E + A/N^ALPHA + B/D^BETA with noise of RUN\n"
    "nats a run, and CELL shared by the seeds of a cell. Their defaults are what our study on English came to (docs/study.md).\n";

static const char SWEEP_HELP[] =
    "Examples:\n"
    "  isoflop sweep --config configs/smoke.ini --out out/smoke\n"
    "  isoflop sweep --config configs/smoke.ini --out out/smoke      # the same again: goes on where it was\n"
    "  isoflop sweep --config configs/sweep.ini --out out/code --set corpus=code --workers 4\n"
    "\n"
    "Usage: isoflop sweep --out DIR [--config FILE]... [--workers N] [--set KEY=VALUE]...\n"
    "Trains every cell of a study, N at a time, one core each, longest first. Finished runs are never run again,\n"
    "failed ones are. Ctrl-C saves a checkpoint of each run; a second one does not wait. At the end: DIR/runs.csv.\n"
    "More sweeps, and `isoflop worker`s on other machines, may work in the same folder at the same time.\n";

static const char TUNE_HELP[] =
    "Examples:\n"
    "  isoflop tune --config configs/tune.ini --out out/tune\n"
    "  isoflop sweep --config configs/sweep.ini --config out/tune/recipe.ini --out out/english\n"
    "\n"
    "Usage: isoflop tune --out DIR --config FILE... [--workers N] [--set KEY=VALUE]...\n"
    "Runs a study whose `vary` turns lr_scale, batch_scale, beta2 and warmup around the rule, as `isoflop sweep` would,\n"
    "and fits the rule to it: DIR/recipe.ini is the rule, changed where the runs say so by more than the noise, DIR/tune.csv\n"
    "the runs, DIR/figures/tune.svg the losses against the rate. If something moved, trains the models once more by the new\n"
    "rule (DIR/check), and keeps the old one if that is worse.\n";

static const char OPTIONS_HELP[] =
    "  --config FILE     the study; without it, the defaults. May be given again (a tuned recipe.ini): later ones win\n"
    "  --workers N       runs at a time (default: the cores there are)\n"
    "  --set KEY=VALUE   one option for all parts of the study; wins over the file's shared sections\n"
    "  --set PART:KEY=VALUE   one option of one part. `isoflop help options` lists them all\n";

enum { MAX_SETS = 64, MAX_FILES = 8, MAX_WORKERS = 1024 };
typedef struct Args {
  const char *out, *configs[MAX_FILES], *sets[MAX_SETS];
  int n_configs, n_sets, workers, draws;
  bool help, forecast;
  ForecastLaw law;
} Args;

static bool surface_parse(const char *text, Surface *s) {
  char after;
  return sscanf(text, "%lf,%lf,%lf,%lf,%lf%c", &s->E, &s->A, &s->B, &s->alpha, &s->beta, &after) == 5 && s->E > 0 &&
         s->A > 0 && s->B > 0 && s->alpha > 0 && s->beta > 0 && isfinite(s->E + s->A + s->B + s->alpha + s->beta);
}

static bool noise_parse(const char *text, ForecastLaw *law) {
  char after;
  law->cell_sd = 0;
  const int n = sscanf(text, "%lf,%lf%c", &law->run_sd, &law->cell_sd, &after);
  return (n == 2 || (n == 1 && !strchr(text, ','))) && law->run_sd >= 0 && law->run_sd < 10 && law->cell_sd >= 0 &&
         law->cell_sd < 10;
}

static int args_parse(int argc, char **argv, Args *a, Err *e) {
  static const struct option longs[] = {{"out", 1, 0, 'o'}, {"config", 1, 0, 'c'}, {"workers", 1, 0, 'w'},
                                        {"set", 1, 0, 's'}, {"forecast", 0, 0, 'f'}, {"surface", 1, 0, 'u'},
                                        {"noise", 1, 0, 'n'}, {"draws", 1, 0, 'd'}, {"help", 0, 0, 'h'}, {0}};
  *a = (Args){.draws = 100, .law = forecast_measured};
  double x;
  optind = 1;
  opterr = 0;
  for (int c; (c = getopt_long(argc, argv, "+:h", longs, NULL)) != -1;) switch (c) {
      case 'o': a->out = optarg; break;
      case 'c':
        if (a->n_configs == MAX_FILES) return fail(e, E_USAGE, "%s: more than %d --config", argv[0], MAX_FILES);
        a->configs[a->n_configs++] = optarg;
        break;
      case 'h': a->help = true; return OK;
      case 'f': a->forecast = true; break;
      case 'u':
        if (!surface_parse(optarg, &a->law.surface))
          return fail(e, E_USAGE, "%s: --surface %.80s: expected E,A,B,alpha,beta, all above 0", argv[0], optarg);
        break;
      case 'n':
        if (!noise_parse(optarg, &a->law))
          return fail(e, E_USAGE, "%s: --noise %.80s: expected nats from 0 to 10, of a run, or RUN,CELL", argv[0], optarg);
        break;
      case 'd':
        if (!number_parse(optarg, true, 1, SELFTEST_MAX, &x))
          return fail(e, E_USAGE, "%s: --draws: expected a number from 1 to %d", argv[0], SELFTEST_MAX);
        a->draws = (int)x;
        break;
      case 'w':
        if (!number_parse(optarg, true, 1, MAX_WORKERS, &x))
          return fail(e, E_USAGE, "%s: --workers: expected a number from 1 to %d", argv[0], MAX_WORKERS);
        a->workers = (int)x;
        break;
      case 's':
        if (a->n_sets == MAX_SETS) return fail(e, E_USAGE, "%s: more than %d --set", argv[0], MAX_SETS);
        a->sets[a->n_sets++] = optarg;
        break;
      case ':':
        return fail(e, E_USAGE, "%s: %s needs a value: see `isoflop %s --help`", argv[0], argv[optind - 1], argv[0]);
      default:
        return fail(e, E_USAGE, "%s: unknown option %s: see `isoflop %s --help`", argv[0], argv[optind - 1], argv[0]);
    }
  if (optind < argc) return fail(e, E_USAGE, "%s: unexpected argument '%s': see --help", argv[0], argv[optind]);
  cpu_set_t cores;
  if (!a->workers) a->workers = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 1;
  return OK;
}

// From the command line to the study and what its corpora are.
static int study_gather(const Args *a, Study *s, Err *e) {
  return study_load(s, a->n_configs, a->configs, a->n_sets, a->sets, e) ? e->code : study_corpora(s, e);
}

static int forecast_main(const Args *a, const Study *study, Err *e) {
  int runs;
  SelfTest *t = mem_new(sizeof *t, "forecast", e);
  if (t && forecast_run(t, &runs, study, &a->law, a->draws, e) == OK) forecast_print(t, runs, &a->law, stdout);
  free(t);
  return e->code;
}

int plan_main(int argc, char **argv) {
  Err e = {0};
  Args a;
  Study study;
  Plan plan;
  if (args_parse(argc, argv, &a, &e)) return finish(e.code, &e);
  if (a.help)
    return printf("%s  --out DIR         make the study's folder, too, for `isoflop worker --dir DIR`\n%s", PLAN_HELP,
                  OPTIONS_HELP), OK;
  if (study_gather(&a, &study, &e)) return finish(e.code, &e);
  if (a.forecast) return finish(forecast_main(&a, &study, &e), &e);
  if (plan_make(&plan, &study, NULL, &e)) return finish(e.code, &e);
  if (plan_measure(&plan, &e) == OK) {
    printf("study %s on corpus %s (%.1f MB to train on)\n\n", study.base.study, study.part[0].cfg.corpus,
           study.part[0].corpus_tokens / 1e6);
    plan_print(&plan, &study, a.workers, stdout);
    if (a.out) sweep_open(a.out, &study, &e);
  }
  plan_free(&plan);
  return finish(e.code, &e);
}

int sweep_main(int argc, char **argv) {
  Err e = {0};
  Args a;
  Study study;
  if (args_parse(argc, argv, &a, &e)) return finish(e.code, &e);
  if (a.help) return printf("%s  --out DIR         the study's folder\n%s", SWEEP_HELP, OPTIONS_HELP), OK;
  if (!a.out) return finish(fail(&e, E_USAGE, "sweep: --out DIR is missing: see `isoflop sweep --help`"), &e);
  Plan plan;
  // What cannot be planned is refused before anything is made.
  if (study_gather(&a, &study, &e) || plan_make(&plan, &study, NULL, &e)) return finish(e.code, &e);
  plan_free(&plan);
  if (sweep_open(a.out, &study, &e) == OK) sweep_run(&study, a.out, a.workers, &e);
  return finish(e.code, &e);
}

int tune_main(int argc, char **argv) {
  Err e = {0};
  Args a;
  Study study;
  if (args_parse(argc, argv, &a, &e)) return finish(e.code, &e);
  if (a.help) return printf("%s  --out DIR         where the tuning goes\n%s", TUNE_HELP, OPTIONS_HELP), OK;
  if (!a.out) return finish(fail(&e, E_USAGE, "tune: --out DIR is missing: see `isoflop tune --help`"), &e);
  if (study_gather(&a, &study, &e) == OK) tune_run(&study, a.out, a.workers, &e);
  return finish(e.code, &e);
}
