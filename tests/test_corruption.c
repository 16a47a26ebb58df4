// test_corruption.c: damage of files on the disk. In: checkpoints, token files, records and study files as the program
// writes them, then with every bit turned over, cut at every length, with bytes behind their end, or of another run.
// Out: counts. The claim: all damage is detected, with the file's name, or harmless by construction; nothing crashes; a
// damaged checkpoint's previous generation is used.
//
// STRIDE=1 tries every bit (`make test-corruption`); the default tries each 61st, so that all bits of a byte have their
// turn.
#include "checkpoint.h"
#include "corpus.h"
#include "record.h"
#include "testing.h"
#include <fcntl.h>
#include <sys/stat.h>

static long stride = 61;

static int setup(void **state) {
  if (getenv("STRIDE")) stride = atol(getenv("STRIDE"));
  return stride > 0 ? folder_make(state) : -1;
}

// ---- Damage of every kind, and what must become of it ------------------------------------------------------

// Reads the damaged file: true if it was refused (or harmless) as it should be.
typedef bool Check(void *user, const char *damage, long at);

typedef struct Counts {
  long bits, cuts, tails;
} Counts;

// Each bit, each shorter length, and 1 to 64 bytes more, on a file that holds data[n] and afterwards holds it again.
static Counts damage_all(const char *file, const char *data, size_t n, Check *check, void *user) {
  Counts c = {0};
  char path[128];
  snprintf(path, sizeof path, "%s", in("%s", file));
  write_file(path, data, n);
  int fd = open(path, O_RDWR);
  for (long bit = 0; bit < (long)n * 8; bit += stride, c.bits++) {
    char byte = (char)(data[bit / 8] ^ 1 << bit % 8);
    assert_int_equal(pwrite(fd, &byte, 1, bit / 8), 1);
    if (!check(user, "bit", bit)) fail_msg("%s: bit %ld of byte %ld turned over", path, bit % 8, bit / 8);
    struct stat now, then;
    if (fstat(fd, &now) != 0 || stat(path, &then) != 0 || now.st_ino != then.st_ino) {  // it was replaced
      close(fd);
      write_file(path, data, n);
      fd = open(path, O_RDWR);
    }
    assert_int_equal(pwrite(fd, data + bit / 8, 1, bit / 8), 1);
  }
  close(fd);
  for (long length = 0; length < (long)n; length += (stride + 7) / 8, c.cuts++) {
    write_file(path, data, (size_t)length);
    if (!check(user, "length", length)) fail_msg("%s: cut to %ld bytes", path, length);
  }
  char *longer = calloc(1, n + 64);
  memcpy(longer, data, n);
  for (int more = 1; more <= 64; more++)
    for (int kind = 0; kind < 3; kind++, c.tails++) {  // zeros, ones, the file's own beginning
      for (int i = 0; i < more; i++) longer[n + (size_t)i] = kind == 0 ? 0 : kind == 1 ? '\xff' : data[i];
      write_file(path, longer, n + (size_t)more);
      if (!check(user, "tail", more)) fail_msg("%s: %d bytes appended", path, more);
    }
  free(longer);
  write_file(path, data, n);
  return c;
}

static void tell(const char *what, Counts c) {
  print_message("# %s: %ld bits, %ld truncations, %ld tails: all detected or harmless\n", what, c.bits, c.cuts, c.tails);
}

// ---- Checkpoints ------------------------------------------------------------------------------------------

static const char ID[17] = "0123456789abcdef", OTHER[17] = "fedcba9876543210";

static void make_model(Model *m, int d_model) {
  Err e;
  Config cfg;
  config_defaults(&cfg);
  cfg.d_model = d_model, cfg.n_layers = 1, cfg.n_heads = 1, cfg.seq_len = 16, cfg.batch_tokens = 16, cfg.threads = 1;
  if (model_new(m, &cfg, true, &e)) fail_msg("%s", e.msg);
}

// A state that depends on the step, in every array.
static void set_state(Model *m, Progress *p, int step, const char *id) {
  *p = (Progress){.step = step, .bin_loss = step / 3.0, .bin_steps = 1, .n_points = 200};
  memcpy(p->run_id, id, sizeof p->run_id);
  p->points = calloc(200, sizeof *p->points);
  for (int i = 0; i < 200; i++) p->points[i] = (CurvePoint){.step = i, .lr = step, .train_loss = i, .val_loss = NAN};
  for (size_t i = 0; i < m->n_params; i++) {
    m->params[i] = (float)rng_normal((uint64_t)step, i);
    m->m[i] = m->params[i] / 2, m->v[i] = 1 + (float)i;
  }
}

static void write_generation(Model *m, int step, const char *id) {
  Err e;
  Progress p;
  set_state(m, &p, step, id);
  if (checkpoint_write(folder, "c.bin", m, true, &p, &e)) fail_msg("%s", e.msg);
  free(p.points);
}

// The step that a read gives, 0 for a refusal, -1 when a refusal touched the model or did not name the file.
static int read_step(Model *m, const char *id, Err *e) {
  Progress p;
  memset(m->params, 0x55, m->n_params * sizeof(float));
  if (checkpoint_read(folder, "c.bin", id, m, true, &p, e)) {
    float untouched;
    memset(&untouched, 0x55, sizeof untouched);
    for (size_t i = 0; i < m->n_params; i++)
      if (memcmp(&m->params[i], &untouched, sizeof untouched)) return -1;
    return strstr(e->msg, "c.bin") ? 0 : -1;
  }
  Model want = *m;
  Progress q;
  want.params = calloc(m->n_params, sizeof(float));
  want.m = calloc(m->n_params, sizeof(float)), want.v = calloc(m->n_params, sizeof(float));
  set_state(&want, &q, p.step, id);
  const size_t bytes = m->n_params * sizeof(float);
  bool same = !memcmp(m->params, want.params, bytes) && !memcmp(m->m, want.m, bytes) && !memcmp(m->v, want.v, bytes) &&
              p.n_points == 200 && !memcmp(p.points, q.points, 200 * sizeof *p.points) && p.bin_loss == q.bin_loss;
  free(want.params), free(want.m), free(want.v), free(q.points), free(p.points);
  return same ? p.step : -1;
}

static bool refused(void *m, const char *damage, long at) {
  (void)damage, (void)at;
  Err e;
  return read_step(m, ID, &e) == 0 && e.code == E_RECORD;
}

UNIT(test_a_damaged_checkpoint_is_refused) {
  Err e;
  Model m;
  char *data;
  size_t n;
  make_model(&m, 8);
  write_generation(&m, 1, ID);
  assert_int_equal(read_step(&m, ID, &e), 1);
  assert_int_equal(file_read(in("c.bin"), &data, &n, &e), OK);
  assert_in_range(n, 60 << 10, 68 << 10);
  tell("checkpoint alone", damage_all("c.bin", data, n, refused, &m));
  assert_int_equal(read_step(&m, ID, &e), 1);
  checkpoint_remove(folder, "c.bin");
  assert_false(checkpoint_exists(folder, "c.bin"));
  free(data);
  model_free(&m);
}

typedef struct Two {
  Model m;
  char *old;  // what c.bin.old holds
  size_t n;
} Two;

// The generation before is used, with a word about the newest, and takes its place.
static bool previous_used(void *user, const char *damage, long at) {
  (void)damage, (void)at;
  Two *two = user;
  Err e;
  Progress p;
  if (checkpoint_read(folder, "c.bin", ID, &two->m, true, &p, &e)) return false;
  free(p.points);
  bool good = p.step == 1 && strstr(e.msg, "c.bin:") && !file_exists(in("c.bin.old"));
  write_file(in("c.bin.old"), two->old, two->n);
  return good;
}

UNIT(test_the_generation_before_a_damaged_one_is_used) {
  Err e;
  Two two;
  char *data;
  size_t n;
  make_model(&two.m, 8);
  write_generation(&two.m, 1, ID);
  write_generation(&two.m, 2, ID);
  assert_int_equal(read_step(&two.m, ID, &e), 2);
  assert_string_equal(e.msg, "");
  assert_int_equal(file_read(in("c.bin"), &data, &n, &e), OK);
  assert_int_equal(file_read(in("c.bin.old"), &two.old, &two.n, &e), OK);
  tell("checkpoint with a generation before", damage_all("c.bin", data, n, previous_used, &two));
  // Both damaged: refused.
  write_file(in("c.bin"), data, n - 1);
  write_file(in("c.bin.old"), two.old, two.n - 1);
  assert_int_equal(read_step(&two.m, ID, &e), 0);
  assert_int_equal(e.code, E_RECORD);
  // A kill between the two renames of a write: only .old is there.
  unlink(in("c.bin"));
  write_file(in("c.bin.old"), two.old, two.n);
  assert_true(checkpoint_exists(folder, "c.bin"));
  assert_int_equal(read_step(&two.m, ID, &e), 1);
  assert_string_equal(e.msg, "");
  write_file(in("c.bin.old"), two.old, two.n - 1);
  assert_int_equal(read_step(&two.m, ID, &e), 0);
  assert_non_null(strstr(e.msg, "c.bin.old: damaged"));
  checkpoint_remove(folder, "c.bin");
  free(data), free(two.old);
  model_free(&two.m);
}

// Once, a write renamed whatever was the newest to .old: after a resume from the generation before a damaged one, the
// next write pushed the only whole generation out before the new one was there.
UNIT(test_a_damaged_checkpoint_never_pushes_a_whole_one_out) {
  Err e;
  Model m;
  make_model(&m, 8);
  write_generation(&m, 1, ID);
  write_generation(&m, 2, ID);
  assert_int_equal(truncate(in("c.bin"), 1000), 0);
  assert_int_equal(read_step(&m, ID, &e), 1);
  write_generation(&m, 3, ID);
  assert_int_equal(read_step(&m, ID, &e), 3);
  assert_int_equal(truncate(in("c.bin"), 1000), 0);
  assert_int_equal(read_step(&m, ID, &e), 1);
  checkpoint_remove(folder, "c.bin");
  model_free(&m);
}

UNIT(test_a_checkpoint_of_another_run_is_refused) {
  Err e;
  Model m, wide;
  make_model(&m, 8);
  make_model(&wide, 16);
  write_generation(&wide, 1, ID);
  assert_int_equal(read_step(&m, ID, &e), 0);
  assert_non_null(strstr(e.msg, "another shape"));
  checkpoint_remove(folder, "c.bin");
  write_generation(&m, 1, OTHER);
  assert_int_equal(read_step(&m, ID, &e), 0);
  assert_non_null(strstr(e.msg, "belongs to run fedcba9876543210"));
  write_generation(&m, 2, ID);
  assert_int_equal(read_step(&m, OTHER, &e), 1);  // for that run the generation before is the newest
  checkpoint_remove(folder, "c.bin");
  write_file(in("c.bin"), "", 0);
  assert_int_equal(read_step(&m, ID, &e), 0);
  assert_int_equal(e.code, E_RECORD);
  unlink(in("c.bin"));
  assert_int_equal(mkdir(in("c.bin"), 0777), 0);
  assert_int_equal(read_step(&m, ID, &e), 0);
  assert_int_equal(e.code, E_IO);
  assert_int_equal(rmdir(in("c.bin")), 0);
  model_free(&m), model_free(&wide);
}

// A finished model has one generation: an older one may be of another run, and must not take its place unseen.
UNIT(test_a_damaged_model_is_never_replaced_by_an_older_one) {
  Err e;
  Model m;
  Progress p, q;
  make_model(&m, 8);
  for (int step = 1; step <= 2; step++) {
    set_state(&m, &p, step, ID);
    assert_int_equal(checkpoint_write(folder, "model.bin", &m, false, &p, &e), OK);
    free(p.points);
  }
  assert_false(file_exists(in("model.bin.old")));
  assert_int_equal(checkpoint_read(folder, "model.bin", NULL, &m, false, &q, &e), OK);
  assert_int_equal(q.step, 2);
  free(q.points);
  assert_int_equal(checkpoint_read(folder, "model.bin", NULL, &m, true, &q, &e), E_RECORD);  // no moments
  write_file(in("model.bin.old"), "", 0);
  assert_int_equal(truncate(in("model.bin"), 100), 0);
  assert_int_equal(checkpoint_read(folder, "model.bin", NULL, &m, false, &q, &e), E_RECORD);
  assert_non_null(strstr(e.msg, "model.bin: damaged"));
  checkpoint_remove(folder, "model.bin");
  model_free(&m);
}

// ---- Token files, records, study files ----------------------------------------------------------------------

static bool corpus_refused(void *user, const char *damage, long at) {
  (void)user, (void)damage, (void)at;
  Err e;
  Corpus c;
  return corpus_open(&c, in("t.tok"), &e) == E_CORPUS && strstr(e.msg, "t.tok");
}

UNIT(test_a_damaged_token_file_is_refused) {
  Err e;
  Corpus c;
  char *data;
  size_t n;
  uint8_t text[3000];
  for (size_t i = 0; i < sizeof text; i++) text[i] = (uint8_t)rng_u64(1, i);
  assert_int_equal(corpus_write(in("t.tok"), "t", text, 2000, text + 2000, 1000, NAN, NAN, &e), OK);
  assert_int_equal(corpus_open(&c, in("t.tok"), &e), OK);
  corpus_close(&c);
  assert_int_equal(file_read(in("t.tok"), &data, &n, &e), OK);
  tell("token file", damage_all("t.tok", data, n, corpus_refused, NULL));
  free(data);
}

static bool record_refused(void *user, const char *damage, long at) {
  (void)user, (void)damage, (void)at;
  Err e;
  Record r;
  return record_read(in("run.ini"), &r, &e) == E_RECORD && strstr(e.msg, "run.ini");
}

UNIT(test_a_damaged_record_is_refused) {
  Err e;
  char *data;
  size_t n;
  Record r = {.id = "0123456789abcdef", .status = "finished", .version = "v1", .compiler = "12", .cpu = "a CPU",
              .kernels = "scalar", .corpus_name = "english", .corpus_hash = "00000000000000ff", .val_loss = 2 / 3.0};
  config_defaults(&r.cfg);
  assert_int_equal(record_write(in("run.ini"), &r, &e), OK);
  assert_int_equal(record_read(in("run.ini"), &r, &e), OK);
  assert_int_equal(file_read(in("run.ini"), &data, &n, &e), OK);
  tell("record", damage_all("run.ini", data, n, record_refused, NULL));
  free(data);
}

// A study file has no checksum: a person writes it. Any byte in the place of any other: refused with the file's name, or
// the study that the text now says, each of its values in range; a study's folder then takes it only if that is the
// same study (sweep.c compares every value).
UNIT(test_a_damaged_study_file_is_refused_or_says_what_it_says) {
  Err e;
  Config was, now, again;
  char *text = NULL, *dump = NULL;
  size_t n = 0, dumped = 0;
  long refusals = 0, same = 0, other = 0;
  config_defaults(&was);
  FILE *f = open_memstream(&text, &n);
  config_dump(&was, NULL, f);
  fclose(f);
  for (size_t i = 0; i < n; i++)
    for (int byte = 0; byte < 256; byte += (stride + 7) / 8) {
      const char keep = text[i];
      text[i] = (char)byte;
      now = was;
      const int code = strlen(text) == n ? config_parse(&now, text, "s.ini", &e) : E_CONFIG;
      if (strlen(text) == n && code && (code != E_CONFIG || !strstr(e.msg, "s.ini:"))) fail_msg("%zu: %s", i, e.msg);
      if (code) refusals++;
      else if (!memcmp(&now, &was, sizeof now)) same++;
      else {
        other++;
        config_check(&now, &e);  // says what it thinks; must not die
        f = open_memstream(&dump, &dumped);
        config_dump(&now, NULL, f);
        fclose(f);
        config_defaults(&again);
        if (config_parse(&again, dump, "again.ini", &e)) fail_msg("byte %zu to %d: %s", i, byte, e.msg);
        assert_memory_equal(&again, &now, sizeof now);
        free(dump);
      }
      text[i] = keep;
    }
  for (size_t i = 0; i <= n; i++) {  // and cut anywhere
    char *cut = strndup(text, i);
    now = was;
    if (config_parse(&now, cut, "s.ini", &e) == OK && !memcmp(&now, &was, sizeof now)) same++;
    else refusals++;
    free(cut);
  }
  print_message("# study file: %ld refused, %ld harmless, %ld another study\n", refusals, same, other);
  assert_true(refusals > 0 && same > 0 && other > 0);
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_damaged_checkpoint_is_refused),
    cmocka_unit_test(test_the_generation_before_a_damaged_one_is_used),
    cmocka_unit_test(test_a_damaged_checkpoint_never_pushes_a_whole_one_out),
    cmocka_unit_test(test_a_checkpoint_of_another_run_is_refused),
    cmocka_unit_test(test_a_damaged_model_is_never_replaced_by_an_older_one),
    cmocka_unit_test(test_a_damaged_token_file_is_refused),
    cmocka_unit_test(test_a_damaged_record_is_refused),
    cmocka_unit_test(test_a_damaged_study_file_is_refused_or_says_what_it_says),
  };
  return cmocka_run_group_tests_name("corruption", tests, setup, folder_remove);
}
