// util.c: see util.h. Nothing here knows of models or studies.
#include "util.h"
#include <assert.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int fail(Err *e, int code, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(e->msg, sizeof e->msg, fmt, ap);
  va_end(ap);
  // One line, whatever bytes of a file it quotes, and none that a terminal would obey.
  for (char *c = e->msg; *c; c++)
    if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
  return e->code = code;
}

int finish(int code, const Err *e) {
  if (code > 0) fprintf(stderr, "isoflop: %s\n", e->msg);
  return code < 0 ? OK : code;
}

// ---- Numbers in text -------------------------------------------------------------------------------

bool number_scan(const char **s, double *x) {
  char *end;
  const char *p = *s;
  while (isspace((unsigned char)*p)) p++;
  if (!*p || !strchr("+-.0123456789", *p) || strpbrk(p, "xXpP")) return false;
  *x = strtod(p, &end);
  if (end == p || !isfinite(*x)) return false;
  while (isspace((unsigned char)*end)) end++;
  *s = end;
  return true;
}

bool number_parse(const char *text, bool whole, double lo, double hi, double *x) {
  double v;
  if (!number_scan(&text, &v) || *text || !(v >= lo && v <= hi) || (whole && v != floor(v))) return false;
  *x = v;
  return true;
}

// ---- Memory ---------------------------------------------------------------------------------------

void *mem_new(size_t bytes, const char *what, Err *e) {
  const size_t line = 64, huge = 2 << 20, page = bytes >= 2 * huge ? huge : line;
  size_t rounded = (bytes + line - 1) / line * line;
  void *p = NULL;
  if (rounded < bytes || posix_memalign(&p, page, rounded ? rounded : line)) {
    fail(e, E_MEMORY, "%s: no memory for %.1f MB", what, (double)bytes / 1e6);
    return NULL;
  }
  if (page == huge) madvise(p, rounded, MADV_HUGEPAGE);  // fewer misses of the address translation; may be refused
  return memset(p, 0, rounded);
}

void mem_none(const char *what) {
  fprintf(stderr, "isoflop: %s: no memory\n", what);
  _exit(E_MEMORY);  // perhaps one thread of many
}

size_t mem_resident(void) {
  size_t kb = 0;
  char line[128];
  FILE *f = fopen("/proc/self/smaps_rollup", "r");  // counted page by page, where status sums up what each CPU last told
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "Rss: %zu kB", &kb) == 1) break;
  if (f) fclose(f);
  return kb * 1024;
}

// Not open_memstream: in glibc's, a character that fputc could not store for want of memory is lost without a word.
typedef struct { char **text; size_t *len, room; } Text;

static ssize_t text_write(void *user, const char *bytes, size_t n) {
  Text *t = user;
  if (*t->len + n >= t->room) {
    const size_t room = 2 * (*t->len + n + 1);
    char *more = realloc(*t->text, room);
    if (!more) return 0;  // from now on ferror tells
    *t->text = more, t->room = room;
  }
  memcpy(*t->text + *t->len, bytes, n);
  (*t->text)[*t->len += n] = 0;
  return (ssize_t)n;
}

static int text_end(void *user) {
  free(user);
  return 0;
}

FILE *text_open(char **text, size_t *len, Err *e) {
  *len = 0;
  Text *t = malloc(sizeof *t);
  *text = calloc(1, 1);
  FILE *f = t && *text ? fopencookie(t, "w", (cookie_io_functions_t){.write = text_write, .close = text_end}) : NULL;
  if (f) {
    *t = (Text){text, len, 1};
    return f;
  }
  free(t);
  free(*text);
  *text = NULL;
  fail(e, E_MEMORY, "no memory for a text");
  return NULL;
}

int text_close(FILE *f, Err *e) {
  const bool lost = ferror(f);
  if ((fclose(f) || lost) && !e->code) fail(e, E_MEMORY, "no memory for a text");
  return e->code;
}

// ---- Files ----------------------------------------------------------------------------------------

// Of a call that failed with this errno.
static int code_of(int why) { return why == ENOMEM ? E_MEMORY : E_IO; }

// HOST.PID.tmp keeps two writers of one file apart, also on a shared file system; the last rename wins, whole.
static void temp_suffix(char host[HOST_NAME_MAX + 1]) {
  if (gethostname(host, HOST_NAME_MAX + 1) != 0) strcpy(host, "localhost");
  host[HOST_NAME_MAX] = 0;
}

int out_open(OutFile *o, const char *path, Err *e) {
  char host[HOST_NAME_MAX + 1];
  *o = (OutFile){0};
  if (snprintf(o->path, sizeof o->path, "%s", path) >= (int)sizeof o->path)
    return fail(e, E_IO, "%.100s...: path too long", path);
  temp_suffix(host);
  snprintf(o->temp, sizeof o->temp, "%s.%s.%ld.tmp", path, host, (long)getpid());
  o->f = fopen(o->temp, "wb");
  return o->f ? OK : fail(e, code_of(errno), "%s: cannot write: %s", path, strerror(errno));
}

void out_write(OutFile *o, const void *p, size_t n) {
  if (n && !o->why && fwrite(p, 1, n, o->f) != n) o->why = errno;
}

void out_abort(OutFile *o) {
  if (o->f) fclose(o->f);
  o->f = NULL;
  if (*o->temp) unlink(o->temp);
}

// No such process, or one that has ended and waits for its parent to notice (a killed one whose parent died too).
static bool is_dead(long pid) {
  char path[64], text[512];
  if (kill((pid_t)pid, 0) != 0) return errno == ESRCH;
  snprintf(path, sizeof path, "/proc/%ld/stat", pid);
  FILE *f = fopen(path, "r");
  if (!f) return false;
  text[fread(text, 1, sizeof text - 1, f)] = 0;
  fclose(f);
  const char *state = strrchr(text, ')');  // the name before it may hold anything
  return state && state[1] == ' ' && strchr("ZX", state[2]);
}

void out_clear(const char *dir) {
  char host[HOST_NAME_MAX + 1];
  temp_suffix(host);
  DIR *d = opendir(dir);
  for (struct dirent *entry; d && (entry = readdir(d));) {
    const char *at = strstr(entry->d_name, host);
    long pid;
    int used = 0;
    if (!at || at == entry->d_name || at[-1] != '.') continue;
    at += strlen(host);
    if (sscanf(at, ".%ld.tmp%n", &pid, &used) != 1 || !used || at[used]) continue;
    if (pid == getpid() || is_dead(pid)) unlinkat(dirfd(d), entry->d_name, 0);
  }
  if (d) closedir(d);
}

// A rename is durable only once the folder that holds the name is on the disk. A file system that cannot do that for a
// folder says EINVAL.
static int dir_sync(const char *path) {
  char dir[1024];
  snprintf(dir, sizeof dir, "%s", path);
  char *slash = strrchr(dir, '/');
  if (slash) slash[slash == dir] = 0;
  int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY);
  if (fd < 0) return -1;
  int r = fsync(fd) == 0 || errno == EINVAL ? 0 : -1, keep = errno;
  close(fd);
  errno = keep;
  return r;
}

static int out_failed(OutFile *o, const char *what, Err *e) {
  const int why = errno;
  out_abort(o);
  return fail(e, code_of(why), "%s: cannot %s: %s", o->path, what, strerror(why));
}

int out_sync(OutFile *o, Err *e) {
  assert(o->f);
  errno = o->why;
  bool good = fflush(o->f) == 0;
  if (good && ferror(o->f) && !o->why) {  // printed long ago, and its errno is gone
    out_abort(o);
    return fail(e, E_IO, "%s: cannot write all of it: disk full, or an input or output error", o->path);
  }
  if (!good || ferror(o->f) || fsync(fileno(o->f)) != 0) return out_failed(o, "write", e);
  FILE *f = o->f;
  o->f = NULL;
  return fclose(f) == 0 ? OK : out_failed(o, "write", e);
}

int out_publish(OutFile *o, Err *e) {
  assert(!o->f);
  if (rename(o->temp, o->path) != 0) return out_failed(o, "write", e);
  return dir_sync(o->path) == 0 ? OK : fail(e, E_IO, "%s: cannot sync its folder: %s", o->path, strerror(errno));
}

int out_commit(OutFile *o, Err *e) { return out_sync(o, e) ? e->code : out_publish(o, e); }

int file_read(const char *path, char **data, size_t *len, Err *e) {
  *data = NULL;
  *len = 0;
  FILE *f = fopen(path, "rb");
  if (!f) return fail(e, code_of(errno), "%s: cannot read: %s", path, strerror(errno));
  struct stat st;
  if (fstat(fileno(f), &st) != 0 || !S_ISREG(st.st_mode)) {
    fclose(f);
    return fail(e, E_IO, "%s: not a regular file", path);
  }
  size_t n = (size_t)st.st_size;
  char *p = malloc(n + 1);
  if (!p) {
    fclose(f);
    return fail(e, E_MEMORY, "%s: no memory for %.1f MB", path, (double)n / 1e6);
  }
  errno = 0;
  size_t got = fread(p, 1, n, f);
  bool bad = ferror(f) || got != n;
  fclose(f);
  if (bad) {
    free(p);
    return fail(e, E_IO, "%s: cannot read: %s", path, errno ? strerror(errno) : "it changed while being read");
  }
  p[n] = 0;
  *data = p;
  *len = n;
  return OK;
}

bool file_exists(const char *path) { return access(path, F_OK) == 0; }

int dir_make(const char *path, Err *e) {
  char p[1024];
  if (!*path) return fail(e, E_IO, "a folder without a name cannot be made");
  if (snprintf(p, sizeof p, "%s", path) >= (int)sizeof p) return fail(e, E_IO, "%.100s...: path too long", path);
  for (char *s = p + 1;; s++) {
    if (*s && *s != '/') continue;
    char keep = *s;
    *s = 0;
    struct stat st;
    if (mkdir(p, 0777) != 0 && !(errno == EEXIST && stat(p, &st) == 0 && S_ISDIR(st.st_mode)))
      return fail(e, E_IO, "%s: cannot make this folder: %s", p,
                  errno == EEXIST ? "a file has that name" : strerror(errno));
    if (!keep) return OK;
    *s = keep;
  }
}

// ---- Hashing and random numbers ---------------------------------------------------------------------

// SplitMix64's finaliser (Steele et al. 2014): a bijection of 64 bits in which every input bit flips half of the
// output.
static uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint64_t hash_bytes(uint64_t seed, const void *p, size_t n) {
  const unsigned char *s = p;
  uint64_t h = 0xcbf29ce484222325u ^ seed;
  for (size_t i = 0; i < n; i++) h = (h ^ s[i]) * 0x100000001b3u;
  return mix(h);
}

uint64_t rng_u64(uint64_t seed, uint64_t i) {
  return mix(mix(seed + 0x9e3779b97f4a7c15u) + (i + 1) * 0x9e3779b97f4a7c15u);
}

double rng_uniform(uint64_t seed, uint64_t i) { return (double)(rng_u64(seed, i) >> 11) * 0x1p-53; }

double rng_normal(uint64_t seed, uint64_t i) {
  double u = 1.0 - rng_uniform(seed, 2 * i), v = rng_uniform(seed, 2 * i + 1);  // u in (0, 1]: the log is finite
  return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

double now_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
