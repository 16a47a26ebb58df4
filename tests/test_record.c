// test_record.c: records there and back, damage, the table of a study.
#include "record.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[] = "/tmp/test_record.XXXXXX";

static int make_folder(void **state) {
  (void)state;
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
  (void)state;
  char command[100];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command);
}

static void path_of(const char *file, char path[300]) { snprintf(path, 300, "%s/%s", folder, file); }

static Record sample(int seed) {
  Record r = {.id = "0123456789abcdef", .status = "finished", .version = "v1-3-gabc", .commit = "abc-dirty",
              .compiler = "12.2.0", .libc = "glibc 2.36", .config_hash = "00000000000000fe",
              .cpu = "A CPU, 2 GHz", .kernels = "avx512 (14x32)", .corpus_name = "english",
              .corpus_hash = "00000000000000ff", .threads = 1,
              .floor_nats = NAN, .tokens = 12800, .steps = 100, .epochs = 1.0 / 3, .val_loss = 2 / 3.0,
              .val_loss_se = 1e-3 / 7, .val_floor = NAN, .train_loss = 0.1, .seconds = M_PI};
  config_defaults(&r.cfg);
  r.cfg.seed = seed;
  r.cfg.lr = 0.0086 / 3;
  r.params = shape_params(&r.cfg);
  r.flops_per_token = shape_flops(&r.cfg);
  return r;
}

// All but NaNs as bytes; those by what they are.
static void assert_same(const Record *a, const Record *b) {
  Record x = *a, y = *b;
  assert_int_equal(isnan(x.floor_nats), isnan(y.floor_nats));
  assert_int_equal(isnan(x.val_floor), isnan(y.val_floor));
  if (isnan(x.floor_nats)) x.floor_nats = y.floor_nats = 0;
  if (isnan(x.val_floor)) x.val_floor = y.val_floor = 0;
  assert_memory_equal(&x, &y, sizeof x);
}

static void test_round_trip(void **state) {
  (void)state;
  Err e;
  char path[300];
  path_of("run.ini", path);
  const Record a = sample(5);
  Record b;
  assert_int_equal(record_write(path, &a, &e), OK);
  if (record_read(path, &b, &e)) fail_msg("%s", e.msg);
  assert_same(&a, &b);
}

// What a crashed run says may hold anything; the record must stay one that can be read.
static void test_reason_stays_on_its_line(void **state) {
  (void)state;
  Err e;
  char path[300];
  path_of("reason.ini", path);
  Record a = sample(1), b;
  strncpy(a.status, "failed", sizeof a.status);  // with zeros to its end
  strcpy(a.reason, "signal 6: x.c:3: f: Assertion `a ; b' failed.\n[result]\tlost = [1] # \"so\"");
  assert_int_equal(record_write(path, &a, &e), OK);
  if (record_read(path, &b, &e)) fail_msg("%s", e.msg);
  assert_string_equal(b.reason, "signal 6: x.c:3: f: Assertion `a , b' failed. [result] lost = [1] # \"so\"");
  memcpy(b.reason, a.reason, sizeof b.reason);
  assert_same(&a, &b);
}

static void write_file(const char *path, const char *data, size_t n) {
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(data, 1, n, f), n);
  fclose(f);
}

// Cut anywhere, or with any one bit turned over: refused, with the file's name.
static void test_every_damage_is_seen(void **state) {
  (void)state;
  Err e;
  char good[300], path[300], *text;
  size_t len;
  path_of("good.ini", good);
  path_of("bad.ini", path);
  const Record a = sample(5);
  Record b;
  assert_int_equal(record_write(good, &a, &e), OK);
  assert_int_equal(file_read(good, &text, &len, &e), OK);
  for (size_t i = 0; i < len; i++) {
    write_file(path, text, i);
    if (record_read(path, &b, &e) != E_RECORD) fail_msg("cut at %zu was not seen", i);
    assert_non_null(strstr(e.msg, "bad.ini"));
    text[i] ^= (char)(1 << i % 8);
    write_file(path, text, len);
    if (record_read(path, &b, &e) != E_RECORD) fail_msg("bit %zu of byte %zu was not seen", i % 8, i);
    text[i] ^= (char)(1 << i % 8);
  }
  free(text);
  assert_int_equal(record_read("/no/such/run.ini", &b, &e), E_IO);
}

static void put(const char *name, const Record *r) {
  Err e;
  char dir[300], path[400];
  snprintf(dir, sizeof dir, "%s/study/runs/%s", folder, name);
  assert_int_equal(dir_make(dir, &e), OK);
  snprintf(path, sizeof path, "%s/run.ini", dir);
  if (r) assert_int_equal(record_write(path, r, &e), OK);
  else write_file(path, "[model]\n", 8);
}

static void test_study(void **state) {
  (void)state;
  Err e;
  char dir[300], path[300], *text;
  size_t len;
  path_of("study", dir);
  Records rs;
  assert_int_equal(records_load(dir, &rs, &e), E_RECORD);

  Record big = sample(1), late = sample(2), early = sample(1), failed = sample(3);
  strcpy(big.id, "b"), strcpy(late.id, "l"), strcpy(early.id, "e"), strcpy(failed.id, "f");
  big.cfg.budget = 2e11;
  big.params.total = early.params.total = late.params.total = failed.params.total = 5;
  strcpy(failed.status, "failed");
  strcpy(failed.reason, "exit code 6: disk full, \"really\"");
  failed.val_loss = -NAN;
  put("b", &big), put("l", &late), put("e", &early), put("f", &failed), put("damaged", NULL);
  path_of("study/runs/no-record-yet", path);
  assert_int_equal(dir_make(path, &e), OK);

  if (records_load(dir, &rs, &e)) fail_msg("%s", e.msg);
  assert_int_equal(rs.n, 4);
  assert_int_equal(rs.n_bad, 1);
  assert_non_null(strstr(rs.first_bad, "runs/damaged/run.ini"));
  const char *order[] = {"e", "l", "f", "b"};  // budget, size, seed
  for (int i = 0; i < 4; i++) assert_string_equal(rs.r[i].id, order[i]);

  assert_int_equal(records_write_csv(dir, &rs, &e), OK);
  path_of("study/runs.csv", path);
  assert_int_equal(file_read(path, &text, &len, &e), OK);
  const char columns[] = "run_id,status,corpus,budget,d_model,n_layers,n_heads,params_total,params_nonemb,tokens,steps,"
                         "batch_tokens,lr,flops_exact,flops_6nd,epochs,val_loss,val_loss_se,train_loss,seconds,";
  assert_int_equal(strncmp(text, columns, strlen(columns)), 0);
  // Exact FLOPs of a run: 3 (2 layers (24 C^2 + 4 T C) + 2 C V) a token at C = 32, T = 128, V = 256.
  char row[200];
  snprintf(row, sizeof row, "\ne,finished,english,100000000000,32,2,2,5,");
  assert_non_null(strstr(text, row));
  snprintf(row, sizeof row, ",%.0f,", 12800.0 * 3 * (2 * (24 * 1024 + 4 * 128 * 32) + 2 * 32 * 256));
  assert_non_null(strstr(text, row));
  assert_non_null(strstr(text, ",nan,"));
  assert_null(strstr(text, "-nan"));
  assert_non_null(strstr(text, ",\"exit code 6: disk full, \"\"really\"\"\"\n"));
  free(text);
  records_free(&rs);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_round_trip), cmocka_unit_test(test_reason_stays_on_its_line),
    cmocka_unit_test(test_every_damage_is_seen), cmocka_unit_test(test_study),
  };
  return cmocka_run_group_tests_name("record", tests, make_folder, remove_folder);
}
