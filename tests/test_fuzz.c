// test_fuzz.c: every parser on bytes that nobody wrote on purpose. In: bytes, and which parser (TARGET). Out: nothing; no
// crash, no leak, no undefined behaviour, and an error, where there is one, with the documented code and a message.
//
// Two ways to be built. With -DFUZZER: the entry of libFuzzer (`make fuzz`), for the parser that FUZZ_TARGET names. Else a
// unit test: the seeds, which the program's own writers make, the findings of earlier campaigns (tests/fuzz/TARGET-*), and a few
// hundred mutations of each seed, the same ones every time. `test_fuzz --seeds DIR` writes the seeds of FUZZ_TARGET.
//
// Where a checksum stands before the parser, the bytes are tried twice: as they are, and with the checksum made to fit,
// lest the checksum be all that is ever tested.
#include "checkpoint.h"
#include "corpus.h"
#include "fit.h"
#include "record.h"
#include "shape.h"
#include "study.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static char folder[64], path[128];  // where the bytes of a file's parser are put

static void folder_make(void) {
  snprintf(folder, sizeof folder, "%s/test_fuzz.XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
  if (!mkdtemp(folder)) abort();
  char dir[128];
  Err e;
  snprintf(dir, sizeof dir, "%s/runs/x", folder);
  if (dir_make(dir, &e)) abort();
}

static void folder_remove(void) {
  char command[100];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  if (system(command)) abort();
}

static void put(const char *name, const void *data, size_t n) {
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *f = fopen(path, "wb");
  if (!f || fwrite(data, 1, n, f) != n || fclose(f) != 0) abort();
}

// An error has one of these codes and a message; success has none.
static void judge(int code, const Err *e, int expected) {
  if (code == OK) return;
  if (code != expected || e->code != code || !*e->msg || strchr(e->msg, '\n')) {
    fprintf(stderr, "exit code %d, expected %d: %s\n", code, expected, e->msg);
    abort();
  }
}

// ---- The parsers ---------------------------------------------------------------------------------------

static void try_study(const uint8_t *data, size_t n) {
  static Study s;
  Err e = {0};
  put("study.ini", data, n);
  const char *files[] = {path};
  judge(study_load(&s, 1, files, 0, NULL, &e), &e, E_CONFIG);
  if (!e.code)
    for (int i = 0; i < s.n; i++) {
      Config c = s.part[i].cfg;
      Err why = {0};
      judge(recipe_resolve(&c, &why), &why, E_CONFIG);
      if (!why.code) judge(config_check(&c, &why), &why, E_CONFIG);
    }
  judge(study_read(folder, &s, &e), &e, E_RECORD);
}

static void try_override(const uint8_t *data, size_t n) {
  char *text = strndup((const char *)data, n);
  Config c;
  Err e = {0};
  config_defaults(&c);
  for (char *at = text, *end; *at; at = end) {
    end = at + strcspn(at, "\n");
    if (*end) *end++ = 0;
    judge(config_set(&c, at, "--set", &e), &e, E_CONFIG);
    e = (Err){0};
  }
  if (config_check(&c, &e) == OK) judge(recipe_resolve(&c, &e), &e, E_CONFIG);
  else judge(e.code, &e, E_CONFIG);
  free(text);
}

static void try_corpus(const uint8_t *data, size_t n) {
  for (int fit = 0; fit <= (n >= 128); fit++) {
    uint8_t *own = malloc(n + 1);
    memcpy(own, data, n);
    if (fit) {  // the header's checksum, and the two parts', if its lengths are those of parts
      uint64_t train;
      memcpy(&train, own + 16, 8);
      train = train < n - 128 ? train : n - 128;
      const uint32_t crc[] = {(uint32_t)crc32(0, own + 128, (uInt)train),
                              (uint32_t)crc32(0, own + 128 + train, (uInt)(n - 128 - train))};
      memcpy(own + 56, crc, 8);
      memset(own + 12, 0, 4);
      const uint32_t head = (uint32_t)crc32(0, own, 128);
      memcpy(own + 12, &head, 4);
    }
    Corpus c;
    Err e = {0};
    put("t.tok", own, n);
    judge(corpus_open(&c, path, &e), &e, E_CORPUS);
    if (!e.code) {
      assert(strlen(c.name) < sizeof c.name);
      hash_bytes(hash_bytes(0, c.train, c.n_train), c.val, c.n_val);  // all of it can be read
      corpus_close(&c);
    }
    free(own);
  }
}

static void try_checkpoint(const uint8_t *data, size_t n) {
  static float arrays[3][64];
  for (int moments = 0; moments < 2; moments++)
    for (int fit = 0; fit <= (n >= 80); fit++) {
      uint8_t *own = malloc(n + 1);
      memcpy(own, data, n);
      if (fit) {
        const uint32_t crc = (uint32_t)crc32(0, own + 16, (uInt)(n - 16));
        memcpy(own + 12, &crc, 4);
      }
      Model m = {.n_params = 64, .params = arrays[0], .m = arrays[1], .v = arrays[2]};
      Progress p;
      Err e = {0};
      put("c.bin", own, n);
      judge(checkpoint_read(folder, "c.bin", NULL, &m, moments, &p, &e), &e, E_RECORD);
      if (!e.code) {
        double sum = 0;
        for (int i = 0; i < p.n_points; i++) sum += p.points[i].lr;
        assert(sum == sum || isnan(sum));
        free(p.points);
      }
      free(own);
    }
}

static void try_record(const uint8_t *data, size_t n) {
  Record r;
  Err e = {0};
  put("runs/x/run.ini", data, n);
  judge(record_read(path, &r, &e), &e, E_RECORD);
  char *own = malloc(n + 32);
  memcpy(own, data, n);
  const int tail = sprintf(own + n, "check = %08lx\n", crc32(0, data, (uInt)n));
  put("runs/x/run.ini", own, n + (size_t)tail);
  if (record_read(path, &r, &e)) judge(e.code, &e, E_RECORD);
  else {
    // What was read can be written, and reads back.
    Record again;
    if (record_write(path, &r, &e) || record_read(path, &again, &e)) {
      fprintf(stderr, "%s\n", e.msg);
      abort();
    }
    Records rs = {.n = 1, .r = &r};
    if (records_write_csv(folder, &rs, &e)) abort();
  }
  free(own);
}

static void try_import(const uint8_t *data, size_t n) {
  Records rs;
  Curves cs;
  Err e = {0};
  put("i.csv", data, n);
  judge(import_read(path, &rs, &cs, &e), &e, E_RECORD);
  if (e.code) return;
  for (int i = 0; i < rs.n; i++) assert(rs.r[i].tokens > 0 && strlen(rs.r[i].id) < sizeof rs.r[i].id);
  records_free(&rs);
  curves_free(&cs);
}

static void try_curve(const uint8_t *data, size_t n) {
  Record r = {.id = "x"};
  Records rs = {.n = 1, .r = &r};
  Curves cs;
  Err e = {0};
  put("runs/x/curve.tsv", data, n);
  judge(curves_load(&cs, folder, &rs, &e), &e, E_RECORD);
  if (e.code) return;
  for (int j = 1; j < cs.c[0].n; j++) assert(cs.c[0].tokens[j] > cs.c[0].tokens[j - 1]);
  curves_free(&cs);
}

// ---- Seeds: what the program itself writes ------------------------------------------------------------------

typedef void Seed(int i, char **data, size_t *n);  // the i-th; data NULL after the last

static void text_seed(const char *text, char **data, size_t *n) { *data = strdup(text), *n = strlen(text); }

static void slurp(char **data, size_t *n) {
  Err e;
  if (file_read(path, data, n, &e)) abort();
}

static void seed_study(int i, char **data, size_t *n) {
  static const char *const text[] = {
      "[study]\nbudgets = 1e9, 4e9\ntokens_per_param = 4, 160\nsizes_per_budget = 5\nseeds = 1, 2\n[model]\nseq_len = 32\n",
      "[train]\nlr = 0.01 ; comment\nbatch_tokens=1024\n# comment\n[part one]\nseed = 3\n[part two]\nprecision = bf16\n"};
  static Study s;
  Config c;
  Err e;
  if (i == 2) {
    config_defaults(&c);
    study_single(&s, &c, 0x1234, 1e6);
    if (study_save(folder, &s, &e)) abort();
    snprintf(path, sizeof path, "%s/study.ini", folder);
    slurp(data, n);
  } else if (i < 2) text_seed(text[i], data, n);
}

static void seed_override(int i, char **data, size_t *n) {
  if (i == 0) text_seed("d_model=64\nlr=4e-3\ntied=true\ncorpus=a/b.txt\nbudgets=1e9,2e9\noptimizer=adam\nseed=7", data, n);
  FILE *f = i == 1 ? open_memstream(data, n) : NULL;  // every option, at its default
  Config c;
  config_defaults(&c);
  for (const Option *o = config_options; f && o->key; o++) {
    char value[1024];
    config_print_value(&c, o, value, sizeof value);
    fprintf(f, "%s=%s\n", o->key, value);
  }
  if (f) fclose(f);
}

static void seed_corpus(int i, char **data, size_t *n) {
  static const uint8_t text[300] = "Text to learn from. ";
  Err e;
  if (i > 1) return;
  snprintf(path, sizeof path, "%s/seed.tok", folder);
  if (corpus_write(path, i ? "a name" : "x", text, i ? 200 : 1, text + 200, i ? 100 : 0, i ? 1.5 : NAN, NAN, &e)) abort();
  slurp(data, n);
}

static void seed_checkpoint(int i, char **data, size_t *n) {
  static float array[64];
  CurvePoint points[3] = {{.step = 1, .lr = .1}, {.step = 2, .val_loss = NAN}, {.step = 3}};
  Model m = {.n_params = 64, .params = array, .m = array, .v = array};
  Progress p = {.run_id = "0123456789abcdef", .step = 3, .n_points = 3 * (i % 2), .points = points};
  Err e;
  if (i > 3) return;
  if (checkpoint_write(folder, "seed.bin", &m, i > 1, &p, &e)) abort();
  snprintf(path, sizeof path, "%s/seed.bin", folder);
  slurp(data, n);
}

static void seed_record(int i, char **data, size_t *n) {
  Record r = {.id = "0123456789abcdef", .status = "finished", .version = "v1-3-gabc", .compiler = "12.2.0", .cpu = "A CPU",
              .kernels = "avx512", .corpus_name = "english", .corpus_hash = "00000000000000ff", .floor_nats = NAN,
              .val_loss = 2 / 3.0};
  Err e;
  if (i > 1) return;
  config_defaults(&r.cfg);
  if (i) strcpy(r.status, "failed"), strcpy(r.reason, "signal 9 (Killed)");
  snprintf(path, sizeof path, "%s/seed.ini", folder);
  if (record_write(path, &r, &e)) abort();
  slurp(data, n);
  *n = (size_t)(strstr(*data, "check = ") - *data);  // the target puts it back
}

static void seed_csv(int i, char **data, size_t *n) {
  static const char *const text[] = {
      "N,D,loss\n1e6,2e7,3.5\n2e6,1e7,3.4\n", "\xef\xbb\xbf\"Model Size\",\"Training Tokens\",final_loss,run\r\n1e6,2e7,3.5,\"a,\"\"b\"\n1e6,3e7,3.4,a\n",
      "budget,params,loss,extra\n6e13,1e6,3.5,x\n6e13,2e6,3.4,\n6e13,4e6,3.6,y\n6e13,8e6,3.7,y\n"};
  if (i < 3) text_seed(text[i], data, n);
}

static void seed_json(int i, char **data, size_t *n) {
  static const char *const text[] = {
      "[{\"N\": 1e6, \"D\": 2e7, \"loss\": 3.5}, {\"N\": 2000000, \"D\": 1e7, \"loss\": 3.4}]",
      " [{\"params\": 1e6, \"flops\": 6e13, \"final_loss\": 3.5, \"run\": \"a\"}, {\"params\": 1e6, \"flops\": 7e13, \"loss\": 3.4, \"run\": 7}]"};
  if (i < 2) text_seed(text[i], data, n);
}

static void seed_curve(int i, char **data, size_t *n) {
  if (i == 0)
    text_seed("step\ttokens\tflops\tlr\ttrain_loss\tval_loss\n1\t128\t1e6\t0.01\t5.5\t\n2\t256\t2e6\t0.01\t5.1\t5.2\n", data, n);
}

static const struct Target {
  const char *name;
  void (*try)(const uint8_t *, size_t);
  Seed *seed;
} targets[] = {
    {"study", try_study, seed_study},    {"override", try_override, seed_override},
    {"corpus", try_corpus, seed_corpus}, {"checkpoint", try_checkpoint, seed_checkpoint},
    {"record", try_record, seed_record}, {"csv", try_import, seed_csv},
    {"json", try_import, seed_json},     {"curve", try_curve, seed_curve},
};
enum { TARGETS = sizeof targets / sizeof *targets };

static const struct Target *target_named(const char *name) {
  for (int i = 0; i < TARGETS; i++)
    if (name && !strcmp(targets[i].name, name)) return &targets[i];
  fprintf(stderr, "FUZZ_TARGET: expected one of");
  for (int i = 0; i < TARGETS; i++) fprintf(stderr, " %s", targets[i].name);
  fputc('\n', stderr);
  exit(2);
}

#ifdef FUZZER
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  folder_make();
  atexit(folder_remove);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static const struct Target *t;
  if (!t) t = target_named(getenv("FUZZ_TARGET"));
  t->try(data, n);
  return 0;
}
#else
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { MUTATIONS = 300 };

// One to eight bytes changed, inserted or taken out, as the i-th mutation says.
static void mutate(const struct Target *t, const char *data, size_t n, uint64_t i) {
  uint8_t *own = malloc(n + 8);
  memcpy(own, data, n);
  for (uint64_t j = 0; j <= rng_u64(i, 0) % 8; j++) {
    const size_t at = n ? rng_u64(i, 3 * j + 1) % n : 0;
    const uint64_t how = rng_u64(i, 3 * j + 2);
    static const char bytes[] = "\0\xff\n=,;[]\"{}0-+.eE9 \t";
    const uint8_t byte = how % 2 ? (uint8_t)(how >> 8) : (uint8_t)bytes[(how >> 8) % (sizeof bytes - 1)];
    if (n && how % 16 < 10) own[at] = byte;
    else if (n && how % 16 < 13) memmove(own + at, own + at + 1, --n - at);
    else memmove(own + at + 1, own + at, n++ - at), own[at] = byte;
  }
  t->try(own, n);
  free(own);
}

static void test_target(void **state) {
  const struct Target *t = *state;
  char *data, pattern[64];
  size_t n;
  int seeds = 0;
  glob_t found;
  Err e;
  for (;; seeds++) {
    data = NULL;
    t->seed(seeds, &data, &n);
    if (!data) break;
    t->try((uint8_t *)data, n);
    for (uint64_t i = 0; i < MUTATIONS; i++) mutate(t, data, n, i);
    free(data);
  }
  assert_true(seeds > 0);
  snprintf(pattern, sizeof pattern, "tests/fuzz/%s-*", t->name);
  if (glob(pattern, 0, NULL, &found) == 0)
    for (size_t i = 0; i < found.gl_pathc; i++) {
      if (file_read(found.gl_pathv[i], &data, &n, &e)) fail_msg("%s", e.msg);
      print_message("# %s\n", found.gl_pathv[i]);
      t->try((uint8_t *)data, n);
      free(data);
    }
  globfree(&found);
}

static void write_seeds(const struct Target *t, const char *dir) {
  for (int i = 0;; i++) {
    char *data = NULL, name[300];
    size_t n;
    t->seed(i, &data, &n);
    if (!data) return;
    snprintf(name, sizeof name, "%s/seed%d", dir, i);
    FILE *f = fopen(name, "wb");
    if (!f || fwrite(data, 1, n, f) != n || fclose(f)) abort();
    free(data);
  }
}

int main(int argc, char **argv) {
  folder_make();
  int code = 0;
  if (argc == 3 && !strcmp(argv[1], "--seeds")) write_seeds(target_named(getenv("FUZZ_TARGET")), argv[2]);
  else {
    struct CMUnitTest tests[TARGETS];
    for (int i = 0; i < TARGETS; i++)
      tests[i] = (struct CMUnitTest){targets[i].name, test_target, NULL, NULL, (void *)&targets[i]};
    code = cmocka_run_group_tests_name("parsers", tests, NULL, NULL);
  }
  folder_remove();
  return code;
}
#endif
