// verify.h: is a study what it says it is?
#ifndef ISOFLOP_VERIFY_H
#define ISOFLOP_VERIFY_H
#include "util.h"

// Reads every file of a study folder and of its corpora and checks it against its checksum, its record or the files that
// it is derived from. One line on `out` for each that is damaged, and a last one with counts. Returns OK, E_RECORD when
// something is damaged, or an error.
int verify_study(const char *dir, FILE *out, Err *e);

// Trains run `id` of a study once more in a temporary folder and compares: model.bin and curve.tsv by bytes, the record
// by all that is not provenance or seconds. Lines on `out`. Returns OK when they agree, E_DIFFERS when not; E_RECORD
// when there is no run to repeat; E_CORPUS when the corpus has changed; 130 or 143 after a signal; or an error.
int verify_rerun(const char *dir, const char *id, int threads, FILE *out, Err *e);

// `isoflop verify|rerun`: see their --help.
int verify_main(int argc, char **argv);
int rerun_main(int argc, char **argv);
#endif
