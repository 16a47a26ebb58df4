// bench-commits.c: the training step of several builds of isoflop in one process, alternated step by step, so that what a
// shared machine does to one it does to all. In: the builds as shared libraries, --, seconds a shape, threads, shapes. Out:
// a row a shape: median ms of each, and from the second on first/this, the median of the pairs, with its 95 % interval
// (order statistics).
// Built and run by bench-commits.sh. Knows no header of theirs, whose structures may differ from build to build: a Config, a
// Model and an Err are large pieces of zeroed memory.
#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_BUILDS = 8, MAX_PAIRS = 20000, ROOM = 1 << 16 };

typedef struct Build {
  void *library;
  _Alignas(64) char config[ROOM], model[ROOM], err[ROOM];
  double (*step)(void *model, const uint8_t *tokens, int batch);
  double (*optimise)(void *model, int step, double lr);
  int steps;
  double ms[MAX_PAIRS];
} Build;
static Build builds[MAX_BUILDS];

static void die(const char *what) {
  fprintf(stderr, "bench-commits: %s\n", what);
  exit(1);
}

static void *symbol(const Build *b, const char *name) {
  void *at = dlsym(b->library, name);
  if (!at) die(dlerror());
  return at;
}

static void set(Build *b, const char *key, int value) {
  char text[64];
  snprintf(text, sizeof text, "%s=%d", key, value);
  int (*config_set)(void *, const char *, const char *, void *) = symbol(b, "config_set");
  if (config_set(b->config, text, "bench-commits", b->err)) die(text);
}

static void model_make(Build *b, const int shape[5], int threads) {
  const char *keys[] = {"d_model", "n_layers", "n_heads", "seq_len"};
  memset(b->config, 0, ROOM), memset(b->model, 0, ROOM), b->steps = 0;
  void (*config_defaults)(void *) = symbol(b, "config_defaults");
  int (*recipe_resolve)(void *, void *) = symbol(b, "recipe_resolve");
  int (*model_new)(void *, const void *, bool, void *) = symbol(b, "model_new");
  config_defaults(b->config);
  for (int i = 0; i < 4; i++) set(b, keys[i], shape[i]);
  set(b, "batch_tokens", shape[3] * shape[4]);
  set(b, "tokens", 1000 * shape[3] * shape[4]);
  set(b, "threads", threads);
  if (recipe_resolve(b->config, b->err) || model_new(b->model, b->config, true, b->err)) die("no such model");
}

static double ms_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static double run(Build *b, const uint8_t *tokens, int batch, int steps) {
  const double start = ms_now();
  for (int i = 0; i < steps; i++) {
    b->step(b->model, tokens, batch);
    b->optimise(b->model, ++b->steps, 1e-3);
  }
  return (ms_now() - start) / steps;
}

static int by_size(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
static double middle(double *x, int n) {
  qsort(x, (size_t)n, sizeof *x, by_size);
  return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

int main(int argc, char **argv) {
  int n = 0, at = 1;
  for (; at < argc && strcmp(argv[at], "--"); at++, n++) {
    Build *b = &builds[n < MAX_BUILDS ? n : MAX_BUILDS - 1];
    b->library = dlopen(argv[at], RTLD_NOW | RTLD_LOCAL);
    if (!b->library) die(dlerror());
    int (*kernels_init)(const char *) = symbol(b, "kernels_init");
    if (kernels_init(NULL)) die("no such KERNELS");
    b->step = symbol(b, "model_step");
    b->optimise = symbol(b, "optim_step");
  }
  if (n < 2 || n > MAX_BUILDS || argc < at + 4)
    return fprintf(stderr, "usage: bench-commits LIB LIB ... -- SECONDS THREADS SHAPE ...\n"), 2;
  const double seconds = atof(argv[at + 1]);
  const int threads = atoi(argv[at + 2]);
  for (at += 3; at < argc; at++) {
    int s[5], pairs = 0;
    if (sscanf(argv[at], "%d,%d,%d,%d,%d", s, s + 1, s + 2, s + 3, s + 4) != 5) die("a shape is d,layers,heads,seq,batch");
    for (int i = 0; i < n; i++) model_make(&builds[i], s, threads);
    const size_t size = (size_t)s[4] * (size_t)(s[3] + 1);
    uint8_t *tokens = malloc(size);
    uint32_t random = 1;
    int each = 1;  // steps a turn, after one that brings the build's memory back into the caches: at least 4 ms of them
    for (double began = ms_now(); pairs < MAX_PAIRS && (pairs < 3 || ms_now() - began < 1e3 * seconds); pairs++) {
      for (size_t i = 0; i < size; i++) random = random * 1664525u + 1013904223u, tokens[i] = (uint8_t)(random >> 24);
      for (int k = 0; k < n; k++) {
        Build *b = &builds[pairs % 2 ? n - 1 - k : k];
        const double warm = run(b, tokens, s[4], 1);
        if (pairs == 0) each = warm > 4 ? 1 : 1 + (int)(4 / warm);
        b->ms[pairs] = run(b, tokens, s[4], each);
      }
    }
    printf("%s,%d,%d", argv[at], threads, pairs);
    static double x[MAX_BUILDS][MAX_PAIRS];
    for (int i = 0; i < n; i++)
      for (int p = 0; p < pairs; p++) x[i][p] = i ? builds[0].ms[p] / builds[i].ms[p] : builds[0].ms[p];
    const int away = (int)ceil(.98 * sqrt(pairs)), low = pairs / 2 - away, high = pairs / 2 + away;
    for (int i = 0; i < n; i++) {
      printf(",%.4f", middle(i ? builds[i].ms : x[0], pairs));
      if (i) {
        printf(",%.3f", middle(x[i], pairs));  // and sorted
        printf(",%.3f,%.3f", x[i][low < 0 ? 0 : low], x[i][high < pairs ? high : pairs - 1]);
      }
      void (*model_free)(void *) = symbol(&builds[i], "model_free");
      model_free(builds[i].model);
    }
    puts("");
    fflush(stdout);
    free(tokens);
  }
  return 0;
}
