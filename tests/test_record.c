// test_record.c: records there and back, damage, the table of a study.
#include "made.h"

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

// Written and read again.
static Record back(const Record *a) {
  Err e;
  Record b;
  assert_int_equal(record_write(in("run.ini"), a, &e), OK);
  if (record_read(in("run.ini"), &b, &e)) fail_msg("%s", e.msg);
  return b;
}

UNIT(test_round_trip) {
  const Record a = sample(5), b = back(&a);
  assert_same(&a, &b);
}

// What a crashed run says may hold anything; the record must stay one that can be read.
UNIT(test_reason_stays_on_its_line) {
  Record a = sample(1);
  strncpy(a.status, "failed", sizeof a.status);  // with zeros to its end
  strcpy(a.reason, "signal 6: x.c:3: f: Assertion `a ; b' failed.\n[result]\tlost = [1] # \"so\"");
  Record b = back(&a);
  assert_string_equal(b.reason, "signal 6: x.c:3: f: Assertion `a , b' failed. [result] lost = [1] # \"so\"");
  memcpy(b.reason, a.reason, sizeof b.reason);
  assert_same(&a, &b);
}

// Cut anywhere, or with any one bit turned over: refused, with the file's name.
UNIT(test_every_damage_is_seen) {
  Err e;
  char *text;
  size_t len;
  const Record a = sample(5);
  Record b;
  assert_int_equal(record_write(in("good.ini"), &a, &e), OK);
  assert_int_equal(file_read(in("good.ini"), &text, &len, &e), OK);
  const char *bad = in("bad.ini");
  for (size_t i = 0; i < len; i++) {
    write_file(bad, text, i);
    assert_refused(record_read(bad, &b, &e), &e, E_RECORD, "bad.ini");  // cut
    text[i] ^= (char)(1 << i % 8);
    write_file(bad, text, len);
    if (record_read(bad, &b, &e) != E_RECORD) fail_msg("bit %zu of byte %zu was not seen", i % 8, i);
    text[i] ^= (char)(1 << i % 8);
  }
  free(text);
  assert_int_equal(record_read("/no/such/run.ini", &b, &e), E_IO);
}

UNIT(test_study) {
  Err e;
  Records rs;
  assert_int_equal(records_load(in("study"), &rs, &e), E_RECORD);

  Record big = sample(1), late = sample(2), early = sample(1), failed = sample(3);
  strcpy(big.id, "b"), strcpy(late.id, "l"), strcpy(early.id, "e"), strcpy(failed.id, "f");
  big.cfg.budget = 2e11;
  big.params.total = early.params.total = late.params.total = failed.params.total = 5;
  strcpy(failed.status, "failed");
  strcpy(failed.reason, "exit code 6: disk full, \"really\"");
  failed.val_loss = -NAN;
  for (int i = 0; i < 4; i++) write_run(in("study"), (const Record *[]){&big, &late, &early, &failed}[i]);
  const char *others[] = {"damaged", "no-record-yet"};
  for (int i = 0; i < 2; i++) assert_int_equal(dir_make(in("study/runs/%s", others[i]), &e), OK);
  write_text(in("study/runs/damaged/run.ini"), "[model]\n");

  if (records_load(in("study"), &rs, &e)) fail_msg("%s", e.msg);
  assert_int_equal(rs.n, 4);
  assert_int_equal(rs.n_bad, 1);
  assert_non_null(strstr(rs.first_bad, "runs/damaged/run.ini"));
  const char *order[] = {"e", "l", "f", "b"};  // budget, size, seed
  for (int i = 0; i < 4; i++) assert_string_equal(rs.r[i].id, order[i]);

  assert_int_equal(records_write_csv(in("study"), &rs, &e), OK);
  char *text = slurp(in("study/runs.csv"));
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
  return cmocka_run_group_tests_name("record", tests, folder_make, folder_remove);
}
