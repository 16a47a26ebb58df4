// corpus_cmd.c: the command `isoflop corpus`. In: argv. Out: a token file, or a description of one on stdout, and an
// exit code of util.h. Tells what corpus.h does to a human, and holds no logic of its own.
#include "corpus.h"
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char HELP[] =
    "isoflop corpus: make and look at token files\n"
    "\n"
    "  isoflop corpus build books/ mybooks data/mybooks.tok   from a folder, a text file or a .gz file\n"
    "  isoflop corpus synth data/synthetic.tok                the synthetic source (48 MB of training text)\n"
    "  isoflop corpus synth data/small.tok 1000000 100000     the same, other sizes in bytes: training, held-out\n"
    "  isoflop corpus info data/mybooks.tok                   sizes, hash, floors; checks every byte\n"
    "\n"
    "build SOURCE NAME OUT    NAME is what records and reports call it. Text is cut into documents of about 16 KiB, "
    "repeated\n"
    "                         paragraphs are dropped, and 5 % of the documents, chosen by hash, are held out.\n"
    "synth OUT [TRAIN VAL]    from a source of exactly known entropy; the same bytes on every machine\n"
    "info FILE                also takes synthetic, english, code, or a path, as --set corpus=... does\n"
    "\n"
    "Exit codes: 0 done, 2 wrong command line, 4 text or token file is missing, damaged, binary or too short,\n"
    "6 cannot write, 7 no memory.\n";

static int usage(Err *e) {
  return fail(e, E_USAGE,
              "corpus: expected build SOURCE NAME OUT, synth OUT [TRAIN VAL] or info FILE; see isoflop corpus --help");
}

static int info(const char *spec, Err *e) {
  char path[1024];
  Corpus c;
  if (corpus_resolve(spec, path, sizeof path, e) || corpus_open(&c, path, e)) return e->code;
  printf("file       %s\nname       %s\ntrain      %zu bytes\nheld-out   %zu bytes\nhash       %016lx\n", path, c.name,
         c.n_train, c.n_val, (unsigned long)c.hash);
  if (isnan(c.floor_nats))
    printf("floor      unknown (real text)\n");
  else
    printf("floor      %.6f bits per byte, %.6f nats per byte (entropy rate of the source)\n"
           "held-out   %.6f bits per byte, %.6f nats per byte (its cross-entropy under the source)\n",
           c.floor_nats / M_LN2, c.floor_nats, c.val_floor_nats / M_LN2, c.val_floor_nats);
  corpus_close(&c);
  return OK;
}

static int build(char **a, Err *e) {
  CorpusCounts n;
  if (corpus_build(a[0], a[1], a[2], &n, e)) return e->code;
  printf("%zu files (%zu binary ones left out), %.2f MB read, %.2f MB repeated, %.2f MB kept in %zu documents\n",
         n.files, n.files_skipped, (double)n.bytes_read / 1e6, (double)n.bytes_repeated / 1e6,
         (double)n.bytes_kept / 1e6, n.documents);
  return info(a[2], e);
}

static int synth(int argc, char **a, Err *e) {
  double train = SYNTH_TRAIN_BYTES, val = SYNTH_VAL_BYTES;
  if (argc == 3 && (!number_parse(a[1], true, 0, 1e12, &train) || !number_parse(a[2], true, 0, 1e12, &val)))
    return fail(e, E_USAGE, "corpus synth: sizes '%s' '%s': expected bytes, from 0 to 1e12", a[1], a[2]);
  if (synth_build(a[0], (size_t)train, (size_t)val, e)) return e->code;
  return info(a[0], e);
}

int corpus_main(int argc, char **argv) {
  Err e = {0};
  for (int i = 1; i < argc; i++)
    if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
      fputs(HELP, stdout);
      return OK;
    }
  const char *verb = argc > 1 ? argv[1] : "";
  int n = argc - 2, r;
  char **rest = argv + 2;
  if (!strcmp(verb, "build") && n == 3)
    r = build(rest, &e);
  else if (!strcmp(verb, "synth") && (n == 1 || n == 3))
    r = synth(n, rest, &e);
  else if (!strcmp(verb, "info") && n == 1)
    r = info(rest[0], &e);
  else
    r = usage(&e);
  return finish(r, &e);
}
