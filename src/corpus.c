// corpus.c: token files. In: two runs of bytes (corpus_write), a token file (corpus_open), or what a user calls a
// corpus (corpus_resolve). Out: a mapped, checked Corpus. Invariant: a token file is whole or not there, and
// corpus_open accepts only a file in which every header byte, both lengths and both checksums agree.
//
// Layout, little-endian:
//   0 magic[8]   8 version u32   12 crc32 of the header (this field zero) u32   16 n_train u64   24 n_val u64   32 hash
//   u64 40 floor_nats f64   48 val_floor_nats f64   56 crc32 of train u32   60 crc32 of val u32   64 name[64]   128
//   train, val
#include "corpus.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { HEADER = 128, VERSION = 1 };
static const char MAGIC[9] = "isoflop\n";

static void put(uint8_t *p, uint64_t v, int bytes) {
  for (int i = 0; i < bytes; i++) p[i] = (uint8_t)(v >> 8 * i);
}

static uint64_t get(const uint8_t *p, int bytes) {
  uint64_t v = 0;
  for (int i = 0; i < bytes; i++) v |= (uint64_t)p[i] << 8 * i;
  return v;
}

static uint64_t double_bits(double d) {
  uint64_t u;
  memcpy(&u, &d, 8);
  return u;
}
static double bits_double(uint64_t u) {
  double d;
  memcpy(&d, &u, 8);
  return d;
}

// ---- Writing ----------------------------------------------------------------------------------------

int corpus_write(const char *token_file, const char *name, const uint8_t *train, size_t n_train, const uint8_t *val,
                 size_t n_val, double floor_nats, double val_floor_nats, Err *e) {
  uint8_t h[HEADER] = {0};
  memcpy(h, MAGIC, 8);
  put(h + 8, VERSION, 4);
  put(h + 16, n_train, 8);
  put(h + 24, n_val, 8);
  put(h + 32, hash_bytes(hash_bytes(n_train, train, n_train), val, n_val), 8);
  put(h + 40, double_bits(floor_nats), 8);
  put(h + 48, double_bits(val_floor_nats), 8);
  put(h + 56, crc32_z(0, train, n_train), 4);
  put(h + 60, crc32_z(0, val, n_val), 4);
  snprintf((char *)h + 64, 64, "%s", name);
  put(h + 12, crc32_z(0, h, HEADER), 4);

  OutFile o;
  if (out_open(&o, token_file, e)) return e->code;
  out_write(&o, h, HEADER);
  out_write(&o, train, n_train);
  out_write(&o, val, n_val);
  return out_commit(&o, e);
}

// ---- Reading ----------------------------------------------------------------------------------------

static int header_check(const uint8_t *map, size_t size, const char *file, Err *e) {
  if (size < HEADER || memcmp(map, MAGIC, 8))
    return fail(e, E_CORPUS, "%s: not a token file (expected one that `isoflop corpus build` wrote)", file);
  if (get(map + 8, 4) != VERSION)
    return fail(e, E_CORPUS, "%s: token file version %lu, expected %d: build it again", file,
                (unsigned long)get(map + 8, 4), VERSION);
  uint8_t h[HEADER];
  memcpy(h, map, HEADER);
  memset(h + 12, 0, 4);
  if (get(map + 12, 4) != crc32_z(0, h, HEADER))
    return fail(e, E_CORPUS, "%s: damaged header (checksum differs): build it again", file);
  uint64_t n_train = get(map + 16, 8), n_val = get(map + 24, 8), body = size - HEADER;
  if (n_train > body || n_val != body - n_train)
    return fail(e, E_CORPUS, "%s: %zu bytes long, expected %lu: cut short or appended to; build it again", file, size,
                (unsigned long)(HEADER + n_train + n_val));
  return OK;
}

int corpus_open(Corpus *c, const char *token_file, Err *e) {
  memset(c, 0, sizeof *c);
  int fd = open(token_file, O_RDONLY);
  if (fd < 0) return fail(e, E_CORPUS, "%s: cannot read: %s", token_file, strerror(errno));
  struct stat st;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0) {
    close(fd);
    return fail(e, E_CORPUS, "%s: not a token file (expected one that `isoflop corpus build` wrote)", token_file);
  }
  size_t size = (size_t)st.st_size;
  uint8_t *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
  int why = errno;
  close(fd);
  if (map == MAP_FAILED)
    return fail(e, why == ENOMEM ? E_MEMORY : E_CORPUS, "%s: cannot map: %s", token_file, strerror(why));
  c->map = map;
  c->map_bytes = size;
  if (header_check(map, size, token_file, e)) {
    corpus_close(c);
    return e->code;
  }
  c->n_train = get(map + 16, 8);
  c->n_val = get(map + 24, 8);
  c->hash = get(map + 32, 8);
  c->floor_nats = bits_double(get(map + 40, 8));
  c->val_floor_nats = bits_double(get(map + 48, 8));
  c->train = map + HEADER;
  c->val = c->train + c->n_train;
  memcpy(c->name, map + 64, sizeof c->name - 1);
  const char *bad = crc32_z(0, c->train, c->n_train) != get(map + 56, 4) ? "training"
                    : crc32_z(0, c->val, c->n_val) != get(map + 60, 4)   ? "held-out"
                                                                         : NULL;
  if (bad) {
    corpus_close(c);
    return fail(e, E_CORPUS, "%s: damaged %s part (checksum differs): build it again", token_file, bad);
  }
  return OK;
}

void corpus_close(Corpus *c) {
  if (c->map) munmap(c->map, c->map_bytes);
  memset(c, 0, sizeof *c);
}

// ---- From a user's word to a token file ---------------------------------------------------------------

static bool ends_with(const char *s, const char *tail) {
  size_t n = strlen(s), m = strlen(tail);
  return n >= m && !strcmp(s + n - m, tail);
}

// "books/My Novel.txt.gz" -> "My_Novel": what the corpus is called, and the beginning of its file name.
static void stem(const char *path, char out[48]) {
  size_t end = strlen(path);
  while (end > 1 && path[end - 1] == '/') end--;
  size_t start = end;
  while (start > 0 && path[start - 1] != '/') start--;
  size_t n = 0;
  for (size_t i = start; i < end && n < 47; i++) {
    char ch = path[i];
    if (ch == '.' && i > start) break;
    bool plain =
        (ch >= '0' && ch <= '9') || (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') || ch == '-' || ch == '_';
    out[n++] = plain ? ch : '_';
  }
  out[n] = 0;
}

int corpus_resolve(const char *spec, char *path, size_t path_size, Err *e) {
  const char *data = getenv("ISOFLOP_DATA");
  if (!data || !*data) data = "data";
  bool synthetic = !strcmp(spec, "synthetic"), package = !strcmp(spec, "english") || !strcmp(spec, "code");
  char name[48] = "";
  int n;
  if (synthetic || package) {
    n = snprintf(path, path_size, "%s/%s.tok", data, spec);
  } else if (ends_with(spec, ".tok")) {
    n = snprintf(path, path_size, "%s", spec);
  } else {
    struct stat st;
    if (stat(spec, &st) != 0)
      return fail(e, E_CORPUS,
                  "corpus '%s': %s (expected synthetic, english, code, or the path of a text file, .gz file, "
                  "folder or .tok file)",
                  spec, strerror(errno));
    uint64_t signature;
    if (corpus_signature(spec, &signature, e)) return e->code;
    stem(spec, name);
    n = snprintf(path, path_size, "%s/%s-%016lx.tok", data, name, (unsigned long)signature);
  }
  if (n < 0 || (size_t)n >= path_size) return fail(e, E_CORPUS, "corpus '%.100s...': path too long", spec);
  if (file_exists(path)) return OK;
  if (package)
    return fail(e, E_CORPUS, "%s: not there yet: `make corpus-%s` makes it from Debian packages (nothing is installed)",
                path, spec);
  if (!synthetic && !*name) return fail(e, E_CORPUS, "%s: cannot read: no such token file", path);
  if (dir_make(data, e)) return e->code;
  return synthetic ? synth_build(path, SYNTH_TRAIN_BYTES, SYNTH_VAL_BYTES, e) : corpus_build(spec, name, path, NULL, e);
}
