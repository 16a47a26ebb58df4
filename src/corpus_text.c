// corpus_text.c: from text files to documents to a token file. In: a text file, gzip'ed or not, or a folder of them.
// Out: a token file whose two parts are whole documents. Invariant: what a document's bytes are decides its place, so
// file names, order and offsets do not; no paragraph of PARAGRAPH bytes or more occurs twice, so none is in both parts.
// Why de-duplicate: Lee et al. 2022, arXiv:2107.06499 (repeats leak from training into held-out text).
#include "corpus.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

enum {
  PARAGRAPH = 40,         // bytes from which a repeated paragraph is dropped
  PIECE = 16 << 10,       // bytes of a document, about
  LEAST_TEXT = 64 << 10,  // bytes below which nothing can be learnt or measured
  HELD_OUT_PERCENT = 5,
};

typedef struct File {
  char *path;
  size_t size;
  uint64_t mtime_ns;
} File;
typedef struct Files {
  File *v;
  size_t n, cap;
} Files;
typedef struct Bytes {
  uint8_t *p;
  size_t n, cap;
} Bytes;
typedef struct Doc {
  uint64_t hash;
  size_t at, n;
} Doc;
typedef struct Docs {
  Doc *v;
  size_t n, cap;
} Docs;
typedef struct Set {
  uint64_t *slot;
  size_t n, cap;
} Set;  // open addressing; 0 is an empty slot

// Room for one more element of a vector {v|p, n, cap}; false without memory.
#define GROW(ptr, n, cap, more) grow((void **)&(ptr), sizeof *(ptr), (n) + (more), &(cap))
static bool grow(void **p, size_t size, size_t need, size_t *cap) {
  if (need <= *cap) return true;
  size_t wider = *cap + *cap / 2 + 64;
  if (wider < need) wider = need;
  void *q = realloc(*p, wider * size);
  if (q) *p = q, *cap = wider;
  return q != NULL;
}

static int no_memory(const char *source, Err *e) {
  return fail(e, E_MEMORY, "%s: no memory for this much text", source);
}

// ---- Listing ----------------------------------------------------------------------------------------

static void files_free(Files *f) {
  for (size_t i = 0; i < f->n; i++) free(f->v[i].path);
  free(f->v);
}

static int by_path(const void *a, const void *b) { return strcmp(((const File *)a)->path, ((const File *)b)->path); }

static int list_into(Files *f, const char *path, bool top, Err *e) {
  struct stat st;
  // Links inside a folder are left out: they could lead back up.
  if ((top ? stat : lstat)(path, &st) != 0) return fail(e, E_CORPUS, "%s: cannot read: %s", path, strerror(errno));
  if (S_ISREG(st.st_mode)) {
    if (!GROW(f->v, f->n, f->cap, 1)) return no_memory(path, e);
    char *copy = strdup(path);
    if (!copy) return no_memory(path, e);
    f->v[f->n++] =
        (File){copy, (size_t)st.st_size, (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec};
    return OK;
  }
  if (!S_ISDIR(st.st_mode)) return top ? fail(e, E_CORPUS, "%s: neither a file nor a folder", path) : OK;
  DIR *d = opendir(path);
  if (!d) return fail(e, E_CORPUS, "%s: cannot read: %s", path, strerror(errno));
  int r = OK;
  struct dirent *entry = NULL;
  while (r == OK && (errno = 0, entry = readdir(d))) {
    if (entry->d_name[0] == '.') continue;
    char child[PATH_MAX];
    if (snprintf(child, sizeof child, "%s/%s", path, entry->d_name) >= (int)sizeof child)
      r = fail(e, E_CORPUS, "%.100s...: path too long", path);
    else
      r = list_into(f, child, false, e);
  }
  if (r == OK && errno) r = fail(e, E_CORPUS, "%s: cannot read all of it: %s", path, strerror(errno));
  closedir(d);
  return r;
}

static int list_files(Files *f, const char *source, Err *e) {
  if (list_into(f, source, true, e)) return e->code;
  if (f->n) qsort(f->v, f->n, sizeof *f->v, by_path);
  return OK;
}

int corpus_signature(const char *source, uint64_t *signature, Err *e) {
  Files f = {0};
  char *real = realpath(source, NULL);
  uint64_t h = real ? hash_bytes(1, real, strlen(real)) : 0;
  free(real);
  if (!list_files(&f, source, e))
    for (size_t i = 0; i < f.n; i++) {
      uint64_t about[2] = {f.v[i].size, f.v[i].mtime_ns};
      h = hash_bytes(hash_bytes(h, f.v[i].path, strlen(f.v[i].path)), about, sizeof about);
    }
  else
    h = 0;
  files_free(&f);
  *signature = h;
  return h ? OK : e->code;
}

// ---- Reading ----------------------------------------------------------------------------------------

// Fills b with the file's text, unpacked. gzopen reads plain files as they are.
static int read_text(Bytes *b, const char *path, Err *e) {
  gzFile g = gzopen(path, "rb");
  if (!g) return fail(e, E_CORPUS, "%s: cannot read: %s", path, strerror(errno));
  gzbuffer(g, 1 << 17);
  b->n = 0;
  int got = 0;
  do {
    if (!GROW(b->p, b->n, b->cap, 1 << 20)) {
      gzclose(g);
      return no_memory(path, e);
    }
    got = gzread(g, b->p + b->n, 1 << 20);
    if (got > 0) b->n += (size_t)got;
  } while (got > 0);
  int status;
  const char *why = gzerror(g, &status);
  // Z_BUF_ERROR at the end: the compressed stream stops in the middle.
  if (got < 0 || status != Z_OK) {
    fail(e, E_CORPUS, "%s: cannot read: %s", path,
         status == Z_ERRNO       ? strerror(errno)
         : status == Z_BUF_ERROR ? "the gzip file is cut short"
                                 : why);
    gzclose(g);
    return e->code;
  }
  gzclose(g);
  return OK;
}

// What makes these bytes no text, or NULL.
static const char *binary(const uint8_t *p, size_t n) {
  size_t control = 0;
  for (size_t i = 0; i < n; i++) {
    if (p[i] == 0) return "it has NUL bytes";
    control += p[i] < 32 && p[i] != '\n' && p[i] != '\t' && p[i] != '\r' && p[i] != '\f';
  }
  return control * 20 > n ? "more than 5 % of it are control bytes" : NULL;
}

// Line ends become \n.
static size_t unix_lines(uint8_t *p, size_t n) {
  size_t k = 0;
  for (size_t i = 0; i < n; i++)
    if (p[i] != '\r' || i + 1 == n || p[i + 1] != '\n') p[k++] = p[i];
  return k;
}

// ---- Paragraphs ---------------------------------------------------------------------------------------

// Adds h; *was says whether it was there. Two different paragraphs share a 64-bit hash with probability below 1e-5 in a
// million of them, and then a paragraph is lost: harmless. False without memory.
static bool set_add(Set *s, uint64_t h, bool *was) {
  h += h == 0;
  if (s->n * 2 >= s->cap) {
    Set wider = {calloc(s->cap ? s->cap * 2 : 1024, 8), s->n, s->cap ? s->cap * 2 : 1024};
    if (!wider.slot) return false;
    for (size_t i = 0; i < s->cap; i++)
      if (s->slot[i]) {
        size_t k = s->slot[i] & (wider.cap - 1);
        while (wider.slot[k]) k = (k + 1) & (wider.cap - 1);
        wider.slot[k] = s->slot[i];
      }
    free(s->slot);
    *s = wider;
  }
  size_t k = h & (s->cap - 1);
  while (s->slot[k] && s->slot[k] != h) k = (k + 1) & (s->cap - 1);
  *was = s->slot[k] == h;
  if (!*was) s->slot[k] = h, s->n++;
  return true;
}

static size_t line_end(const uint8_t *p, size_t at, size_t n) {
  const uint8_t *nl = memchr(p + at, '\n', n - at);
  return nl ? (size_t)(nl - p) + 1 : n;
}

static bool blank(const uint8_t *p, size_t at, size_t end) {
  while (at < end && (p[at] == ' ' || p[at] == '\t' || p[at] == '\n')) at++;
  return at == end;
}

// Drops, in place, each paragraph (lines up to a blank one) that was seen before, with the blank lines after it. Also
// blank lines at the start and the end. Returns the new length; SIZE_MAX without memory.
static size_t drop_repeats(Set *seen, uint8_t *p, size_t n) {
  size_t k = 0, at = 0;
  while (at < n) {
    size_t end = at, body, next;
    while (end < n && !blank(p, end, next = line_end(p, end, n))) end = next;
    body = end;
    while (end < n && blank(p, end, next = line_end(p, end, n))) end = next;
    bool was = false;
    if (body - at >= PARAGRAPH && !set_add(seen, hash_bytes(0, p + at, body - at), &was)) return SIZE_MAX;
    if (!was && !(k == 0 && body == at)) {
      memmove(p + k, p + at, end - at);
      k += end - at;
    }
    at = end;
  }
  while (k > 0 && (p[k - 1] == '\n' || p[k - 1] == ' ' || p[k - 1] == '\t')) k--;
  return k;
}

// ---- Documents ----------------------------------------------------------------------------------------

// Where to end the piece that starts at p: the first blank line after piece bytes, else the last line end, else the
// last space, else anywhere but inside a UTF-8 character; within 1.5 pieces.
static size_t cut(const uint8_t *p, size_t n, size_t piece) {
  size_t most = piece + piece / 2;
  if (n <= most) return n;
  for (size_t i = piece; i + 1 < most; i++)
    if (p[i] == '\n' && p[i + 1] == '\n') return i + 2;
  for (size_t i = most; i > piece / 2; i--)
    if (p[i - 1] == '\n') return i;
  for (size_t i = most; i > piece / 2; i--)
    if (p[i - 1] == ' ') return i;
  while (most > 1 && (p[most] & 0xc0) == 0x80) most--;
  return most;
}

static int by_hash(const void *a, const void *b) {
  const Doc *x = a, *y = b;
  return x->hash != y->hash ? (x->hash < y->hash ? -1 : 1) : x->n != y->n ? (x->n < y->n ? -1 : 1) : 0;
}

// Copies documents until `bytes` are reached, each with a form feed behind it; *i moves on.
static size_t gather(uint8_t *out, const uint8_t *text, const Docs *d, size_t *i, size_t bytes) {
  size_t k = 0;
  for (; *i < d->n && k < bytes; ++*i) {
    const Doc *doc = &d->v[*i];
    memcpy(out + k, text + doc->at, doc->n);
    k += doc->n;
    out[k++] = '\f';
  }
  return k;
}

// text: files with a form feed after each.
static int write_documents(const Bytes *text, const char *source, const char *name, const char *token_file,
                           CorpusCounts *counts, Err *e) {
  if (text->n < LEAST_TEXT)
    return fail(e, E_CORPUS, "%s: too short: %zu bytes of text, expected %d or more", source, text->n, LEAST_TEXT);
  Docs d = {0};
  // A short text in smaller pieces, so that 5 % of it is still more than one of them.
  size_t piece = text->n / 64 < PIECE ? text->n / 64 : PIECE;
  for (size_t at = 0; at < text->n;) {
    const uint8_t *ff = memchr(text->p + at, '\f', text->n - at);
    size_t end = ff ? (size_t)(ff - text->p) : text->n;
    while (at < end) {
      size_t n = cut(text->p + at, end - at, piece);
      if (!blank(text->p, at, at + n)) {
        if (!GROW(d.v, d.n, d.cap, 1)) {
          free(d.v);
          return no_memory(source, e);
        }
        d.v[d.n++] = (Doc){hash_bytes(2, text->p + at, n), at, n};
      }
      at += n;
    }
    at = end + 1;
  }
  if (d.n) qsort(d.v, d.n, sizeof *d.v, by_hash);
  size_t unique = 0, bytes = 0;
  for (size_t i = 0; i < d.n; i++) {
    if (unique && by_hash(&d.v[unique - 1], &d.v[i]) == 0) continue;
    d.v[unique++] = d.v[i];
    bytes += d.v[i].n + 1;
  }
  d.n = unique;
  uint8_t *out = malloc(bytes + 1);
  if (!out) {
    free(d.v);
    return no_memory(source, e);
  }
  size_t i = 0, n_val = gather(out, text->p, &d, &i, bytes / 100 * HELD_OUT_PERCENT);
  size_t n_train = gather(out + n_val, text->p, &d, &i, SIZE_MAX);
  free(d.v);
  counts->documents = unique;
  counts->bytes_kept = n_val + n_train;
  int r = n_val + n_train < LEAST_TEXT || n_train < n_val
              ? fail(e, E_CORPUS, "%s: too short: %zu bytes of text without repeats, expected %d or more", source,
                     n_val + n_train, LEAST_TEXT)
              : corpus_write(token_file, name, out + n_val, n_train, out, n_val, NAN, NAN, e);
  free(out);
  return r;
}

static int read_all(Bytes *text, const Files *files, bool folder, CorpusCounts *counts, Err *e) {
  Bytes b = {0};
  Set seen = {0};
  int r = OK;
  for (size_t i = 0; i < files->n && r == OK; i++) {
    const char *path = files->v[i].path;
    if ((r = read_text(&b, path, e))) break;
    counts->bytes_read += b.n;
    const char *why = binary(b.p, b.n);
    if (why && !folder) r = fail(e, E_CORPUS, "%s: not text: %s", path, why);
    counts->files_skipped += why != NULL;
    if (why) continue;
    counts->files++;
    size_t n = unix_lines(b.p, b.n);
    for (size_t at = 0; at < n;) {  // form feeds part a file into texts of their own
      const uint8_t *ff = memchr(b.p + at, '\f', n - at);
      size_t end = ff ? (size_t)(ff - b.p) : n, kept = drop_repeats(&seen, b.p + at, end - at);
      if (kept == SIZE_MAX || !GROW(text->p, text->n, text->cap, kept + 2)) {
        r = no_memory(path, e);
        break;
      }
      counts->bytes_repeated += end - at - kept;
      if (kept) {
        memcpy(text->p + text->n, b.p + at, kept);
        text->n += kept;
        text->p[text->n++] = '\n';
        text->p[text->n++] = '\f';
      }
      at = end + 1;
    }
  }
  free(b.p);
  free(seen.slot);
  return r;
}

int corpus_build(const char *source, const char *name, const char *token_file, CorpusCounts *counts, Err *e) {
  CorpusCounts local;
  if (!counts) counts = &local;
  memset(counts, 0, sizeof *counts);
  Files files = {0};
  Bytes text = {0};
  struct stat st;
  int r = list_files(&files, source, e);
  bool folder = r == OK && stat(source, &st) == 0 && S_ISDIR(st.st_mode);
  if (r == OK && files.n == 0) r = fail(e, E_CORPUS, "%s: an empty folder, expected text files in it", source);
  if (r == OK) r = read_all(&text, &files, folder, counts, e);
  if (r == OK && text.n == 0)
    r = fail(e, E_CORPUS, "%s: no text in it (%zu files, of which %zu binary)", source, files.n, counts->files_skipped);
  if (r == OK) r = write_documents(&text, source, name, token_file, counts, e);
  files_free(&files);
  free(text.p);
  return r;
}
