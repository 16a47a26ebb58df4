// util.h: errors, files that appear whole or not at all, hashing, random numbers, time.
#ifndef ISOFLOP_UTIL_H
#define ISOFLOP_UTIL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

// ---- Errors: a bug is an assert; the world is an Err ----------------------------------------------

// Exit codes, listed in `isoflop --help`. 130 and 143 follow a SIGINT and a SIGTERM.
enum {
  OK = 0,
  E_USAGE = 2,   // command line
  E_CONFIG = 3,  // study file, option, impossible shape or budget
  E_CORPUS = 4,  // text or token file
  E_RECORD = 5,  // study folder, run record, checkpoint, CSV: missing, damaged or of another study
  E_IO = 6,      // a file cannot be read or written: not there, disk full
  E_MEMORY = 7,
  E_RUNS = 8,      // the sweep finished, but some runs failed
  E_DIFFERS = 9,   // a rerun gave other bytes than the run; inside, what is there is of another run
  E_REQUEUE = 75,  // stopped after a checkpoint: run the same command again
};
typedef struct Err {
  int code;
  char msg[512];
} Err;

// Sets e to code and message (where, what, what was expected); returns code, so that `return fail(...)` reads well.
int fail(Err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

// Ends a command: e's message, if there is one, on stderr. code: of e, or -1 where help was all that was asked for. Returns the
// exit code.
int finish(int code, const Err *e);

// ---- Numbers in text -------------------------------------------------------------------------------

// A finite decimal number at *s, with spaces around it: moves *s past them. False: there is none.
bool number_scan(const char **s, double *x);
// Is the text, all of it, such a number from lo to hi, and an integer if `whole`? Only then *x is set.
bool number_parse(const char *text, bool whole, double lo, double hi, double *x);

// ---- Memory ---------------------------------------------------------------------------------------

// Zeroed, 64-byte aligned; NULL (and e set to E_MEMORY, saying what for) when there is none. Free with free().
void *mem_new(size_t bytes, const char *what, Err *e);
// Bytes of this process in memory now (its resident size); 0 where the system does not tell.
size_t mem_resident(void);
// A text in memory that grows as it is written. text_open: NULL without memory (E_MEMORY). text_close ends it, *text then is
// the caller's to free; E_MEMORY where some of it was lost, unless e holds an earlier error, which stays.
FILE *text_open(char **text, size_t *len, Err *e);
int text_close(FILE *f, Err *e);

// For small scratch deep inside a sum that has no way to say no: one line on stderr, exit code 7. Nothing on the disk is
// harmed: files appear whole or not at all.
_Noreturn void mem_none(const char *what);

// ---- Files ----------------------------------------------------------------------------------------

// A file that appears whole or not at all: written beside its destination, then fsync, rename, fsync of the folder.
typedef struct OutFile {
  FILE *f;
  int why;  // errno of the first out_write that failed
  char path[1024], temp[1160];
} OutFile;
int out_open(OutFile *o, const char *path, Err *e);
void out_write(OutFile *o, const void *p, size_t n);  // of much; printing to f does as well. out_sync sees any error
int out_commit(OutFile *o, Err *e);  // out_sync and out_publish
// The two halves, for who has something to do between them: the bytes are on the disk; the name is. E_IO, and then
// the temporary file is closed and removed.
int out_sync(OutFile *o, Err *e);
int out_publish(OutFile *o, Err *e);
void out_abort(OutFile *o);
// Removes the temporary files in a folder whose writers, processes of this machine, are dead.
void out_clear(const char *dir);

// The whole file, NUL-terminated, malloc'd. Missing file: E_IO.
int file_read(const char *path, char **data, size_t *len, Err *e);
bool file_exists(const char *path);
int dir_make(const char *path, Err *e);  // like mkdir -p

// ---- Hashing and random numbers: pure functions of their arguments, the same on every machine ------

// 64-bit FNV-1a with a final mix, seeded for chaining. For identity, not for security.
uint64_t hash_bytes(uint64_t seed, const void *p, size_t n);
// SplitMix64 finaliser of a counter: a random 64-bit number for (seed, i). Also written rng_u64(rng_u64(s,a),b).
uint64_t rng_u64(uint64_t seed, uint64_t i);
double rng_uniform(uint64_t seed, uint64_t i);  // [0, 1), 53 bits
double rng_normal(uint64_t seed, uint64_t i);   // Box-Muller on two uniforms of counter i; its last bits are the C library's

double now_seconds(void);  // monotonic
#endif
