// corpus.h: text in, token file out, token file in. Byte-level: a token is a byte, the vocabulary is 256.
#ifndef ISOFLOP_CORPUS_H
#define ISOFLOP_CORPUS_H
#include "util.h"

// A token file, mapped read-only: 128-byte header (magic "isoflop\n", version, lengths, hash, name, floors), the
// training bytes, the held-out bytes; every length and a crc32 of each part are checked when it is opened.
typedef struct Corpus {
  char name[64];
  const uint8_t *train, *val;  // [n_train], [n_val]
  size_t n_train, n_val;
  uint64_t hash;          // of name-independent content: part of every run's identity
  double floor_nats;      // entropy rate of the source per byte; NaN where it is unknown (real text)
  double val_floor_nats;  // exact cross-entropy of the held-out part under the true source, per byte; NaN likewise
  void *map;
  size_t map_bytes;
} Corpus;

int corpus_open(Corpus *c, const char *token_file, Err *e);  // E_CORPUS: unreadable or damaged; E_MEMORY
void corpus_close(Corpus *c);

// What became of the text on its way in; bytes. kept = train + held-out.
typedef struct CorpusCounts {
  size_t files, files_skipped;  // skipped: binary (in a folder; a single binary file is an error)
  size_t bytes_read, bytes_repeated, bytes_kept, documents;
} CorpusCounts;

// Makes a token file from a text file (.gz or not) or a folder of them (sorted by path, recursively, hidden files left
// out). Paragraphs of 40 bytes or more that were seen before are dropped. Documents (files, cut further at form feeds,
// else at blank lines into pieces of about 16 KiB) are put in the order of their hashes: the first 5 % are held out,
// the rest is the training part. So the split depends neither on order nor on offset, and any prefix of either part is
// a fair sample of the whole. Empty, binary (NUL, or > 5 % control bytes) and too short text is refused with E_CORPUS.
// counts may be NULL.
int corpus_build(const char *source, const char *name, const char *token_file, CorpusCounts *counts, Err *e);

// A hash of the paths, sizes and times of what corpus_build would read: changes when the source was edited.
int corpus_signature(const char *source, uint64_t *signature, Err *e);

// From what a user names to a token file that exists: "synthetic" (made on first use), "english" and "code" (made by
// `make corpus-english` / `make corpus-code`: says so when missing), or a path to .txt, .gz, .tok or a folder
// (converted once, again when the source's size or time changes). Files live in $ISOFLOP_DATA, default "data".
int corpus_resolve(const char *spec, char *path, size_t path_size, Err *e);

// ---- The synthetic source (synth.c) ---------------------------------------------------------------

// Writes the token file of the synthetic source: byte-identical on every machine. The parts hold as many whole words as
// fit into train_bytes and val_bytes; longer parts begin with the bytes of shorter ones.
// A lexicon of pseudo-words; each next word's Zipf rank is mapped through a permutation chosen by an earlier word, so
// the entropy per word is exactly the Zipf distribution's. See synth.c.
int synth_build(const char *token_file, size_t train_bytes, size_t val_bytes, Err *e);
double synth_floor_nats(void);                                     // entropy rate in nats per byte
enum { SYNTH_TRAIN_BYTES = 48000000, SYNTH_VAL_BYTES = 2000000 };  // of corpus_resolve("synthetic")

// `isoflop corpus build|info|synth`: argv[0] is "corpus". Returns an exit code (util.h).
int corpus_main(int argc, char **argv);

// Shared by the builders: writes header and both parts to a token file atomically. E_IO.
int corpus_write(const char *token_file, const char *name, const uint8_t *train, size_t n_train, const uint8_t *val,
                 size_t n_val, double floor_nats, double val_floor_nats, Err *e);
#endif
