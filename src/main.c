// main.c: argv to one command. Every command parses its own options and returns an exit code from util.h.
#include "bench.h"
#include "corpus.h"
#include "fit.h"
#include "kernels.h"
#include "sweep.h"
#include "train.h"
#include "verdict.h"
#include "verify.h"
#include "worker.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct Command {
  const char *name;
  int (*run)(int, char **);
  const char *help;
} Command;
static const Command COMMANDS[] = {
    {"train", train_main, "train one model"},
    {"sample", sample_main, "text from a trained model"},
    {"eval", eval_main, "held-out loss of a trained model"},
    {"plan", plan_main, "the cells of a study, what each costs"},
    {"sweep", sweep_main, "run a study's cells on all cores; goes on where it was"},
    {"tune", tune_main, "the recipe's rule from small sweeps around it"},
    {"worker", worker_main, "take cells of a study folder, here or on any machine that sees it"},
    {"fit", fit_main, "scaling laws from a study's finished runs"},
    {"report", report_main, "figures, tables and one HTML page from a study"},
    {"verdict", verdict_main, "the forecast pair of a study against what it came to"},
    {"rerun", rerun_main, "one run of a study again: does it give the same bytes?"},
    {"verify", verify_main, "the files of a study checked, what is damaged named"},
    {"corpus", corpus_main, "make and inspect token files"},
    {"bench", bench_main, "speed of the kernels and of a training step, beside the machine's peak"},
    {0},
};

static void help(FILE *f) {
  fputs("isoflop: train small transformers on a CPU and measure their scaling laws (Hoffmann et al. 2022)\n\n"
        "Examples:\n"
        "  make sweep                                         # the default study, end to end\n"
        "  isoflop plan --config configs/smoke.ini            # what a study would run\n"
        "  isoflop sweep --config configs/smoke.ini --out out/smoke && isoflop report out/smoke\n"
        "  isoflop train --out runs/first --set tokens=1e6    # one model\n\n"
        "Commands (each has --help):\n",
        f);
  for (const Command *c = COMMANDS; c->name; c++) fprintf(f, "  %-8s %s\n", c->name, c->help);
  fputs("  help options    every option of study files and --set, with range and default\n\n"
        "Exit codes: 0 done · 2 command line · 3 configuration · 4 corpus · 5 damaged or foreign study, record, "
        "checkpoint or import ·\n"
        "  6 a file cannot be read or written · 7 memory · 8 some runs of a sweep failed, or a kernel in bench ·\n"
        "  9 a rerun gave other bytes · 75, 130, 143 stopped after a checkpoint, run again\n"
        "Environment: KERNELS=scalar|avx2|avx512|avx512amx|neon|openblas forces a table ·\n"
        "  ISOFLOP_DATA where token files live (default data)\n",
        f);
}

static int run(int argc, char **argv) {
  if (kernels_init(NULL) != 0) {
    fprintf(stderr, "isoflop: KERNELS=%s: unknown here or not supported by this CPU: one of", getenv("KERNELS"));
    for (int i = 0; kernels_all[i]; i++)
      if (kernels_all[i]->supported()) fprintf(stderr, " %s", kernels_all[i]->name);
    fputc('\n', stderr);
    return E_USAGE;
  }
  const char *name = argc > 1 ? argv[1] : "";
  if (strcmp(name, "--version") == 0) {
    printf("isoflop %s\ncommit %s\nkernels %s\n", isoflop_version(), isoflop_commit(), kernels_describe(kern));
    for (int i = 0; kernels_all[i]; i++)
      if (strcmp(kernels_all[i]->name, "openblas") == 0) printf("BLAS %s\n", kernels_describe(kernels_all[i]));
    return OK;
  }
  if (strcmp(name, "help") == 0 && argc > 2 && strcmp(argv[2], "options") == 0) {
    config_help(stdout);
    return OK;
  }
  if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
    help(stdout);
    return OK;
  }
  for (const Command *c = COMMANDS; c->name; c++)
    if (strcmp(c->name, name) == 0) return c->run(argc - 1, argv + 1);
  if (*name)
    fprintf(stderr, "isoflop: unknown command '%s': see isoflop --help\n", name);
  else
    help(stderr);
  return E_USAGE;
}

int main(int argc, char **argv) {
  const int code = run(argc, argv);
  errno = EIO;  // for what failed long ago
  if (fflush(stdout) == 0 && !ferror(stdout)) return code;
  fprintf(stderr, "isoflop: standard output: cannot write: %s\n", strerror(errno));
  return code ? code : E_IO;
}
