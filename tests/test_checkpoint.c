// test_checkpoint.c: what a checkpoint does when the disk or the memory refuses, and with every header that is whole but
// wrong. Damage is in test_corruption.c. Linked with --wrap=malloc.
#include "checkpoint.h"
#include "kernels.h"
#include "testing.h"
#include <dlfcn.h>
#include <errno.h>
#include <zlib.h>

// ---- The system ------------------------------------------------------------------------------------------

static const char *refused = "";  // the call that fails with EIO
static size_t no_memory_for;      // the next allocation of exactly this many bytes fails
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static bool refuses(const char *call) {
  errno = EIO;
  return !strcmp(refused, call);
}
int fsync(int fd) { return refuses("fsync") ? -1 : REAL(fsync)(fd); }
int rename(const char *from, const char *to) { return refuses("rename") ? -1 : REAL(rename)(from, to); }
void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_malloc(size_t n) {
  if (n != no_memory_for) return __real_malloc(n);
  no_memory_for = 0;
  return NULL;
}

// ---- A folder with checkpoints ------------------------------------------------------------------------------

enum { POINTS = 123 };  // a number of bytes that nothing else asks for
static const char ID[17] = "0123456789abcdef";
static Model m;

static int begin(void **state) {
  Err e;
  Config cfg;
  config_defaults(&cfg);
  cfg.d_model = 8, cfg.n_layers = 1, cfg.n_heads = 1, cfg.seq_len = 16, cfg.batch_tokens = 16, cfg.threads = 1;
  return folder_make(state) == 0 && model_new(&m, &cfg, true, &e) == OK ? 0 : -1;
}

static int end(void **state) {
  refused = "", no_memory_for = 0;
  model_free(&m);
  return folder_remove(state);
}

static int write_step(int step, Err *e) {
  CurvePoint points[POINTS] = {{.step = step}};
  Progress p = {.step = step, .seconds = 10 * step, .n_points = POINTS, .points = points};
  memcpy(p.run_id, ID, sizeof ID);
  for (size_t i = 0; i < m.n_params; i++) m.params[i] = (float)step;
  return checkpoint_write(folder, "c.bin", &m, true, &p, e);
}

// The step that is read, or minus the error.
static int read_step(bool moments, Err *e) {
  Progress p;
  if (checkpoint_read(folder, "c.bin", ID, &m, moments, &p, e)) return -e->code;
  assert_int_equal(p.n_points, POINTS);
  assert_int_equal(p.points[0].step, p.step);
  assert_true(p.seconds == 10 * p.step);
  assert_true(m.params[m.n_params - 1] == (float)p.step);
  free(p.points);
  return p.step;
}

static void put_field(char *data, size_t n, size_t at, const void *value, size_t size) {
  memcpy(data + at, value, size);
  const uint32_t crc = (uint32_t)crc32_z(0, (unsigned char *)data + 16, n - 16);
  memcpy(data + 12, &crc, sizeof crc);
  write_file(in("c.bin"), data, n);
}

// ---- Refusals --------------------------------------------------------------------------------------------

UNIT(a_save_that_fails_leaves_what_was) {
  Err e = {0};
  assert_int_equal(write_step(1, &e), OK);
  assert_int_equal(write_step(2, &e), OK);
  const char *calls[] = {"fsync", "rename"};
  for (int i = 0; i < 2; i++) {
    refused = calls[i];
    assert_refused(write_step(3, &e), &e, E_IO, "c.bin");
    refused = "";
    assert_int_equal(read_step(true, &e), 2);
    assert_int_equal(rename(in("c.bin"), in("aside")), 0);
    assert_int_equal(read_step(true, &e), 1);
    assert_int_equal(rename(in("aside"), in("c.bin")), 0);
  }
  char command[100];
  snprintf(command, sizeof command, "! ls %s | grep tmp", folder);
  assert_int_equal(system(command), 0);
  assert_int_equal(folder_remove(NULL), 0);
  assert_int_equal(write_step(3, &e), E_IO);
}

// To go on with other kernels would mix two kinds of bits; to look at the parameters does not.
UNIT(other_kernels_do_not_go_on) {
  Err e = {0};
  Kernels other = *kern;
  const Kernels *const own = kern;
  other.name = "another table";
  assert_int_equal(write_step(1, &e), OK);
  kern = &other;
  assert_refused(-read_step(true, &e), &e, E_DIFFERS, "written with other kernels than another table");
  assert_int_equal(read_step(false, &e), 1);
  char *data;
  size_t n;
  assert_int_equal(file_read(in("c.bin"), &data, &n, &e), OK);
  put_field(data, n, 33, (char[3]){0}, 3);  // an earlier program's does not tell
  assert_int_equal(read_step(true, &e), 1);
  free(data);
  assert_int_equal(remove(in("c.bin")), 0);
  kern = own;
  assert_int_equal(write_step(1, &e), OK);
  kern = &other;
  assert_int_equal(write_step(2, &e), OK);
  kern = own;
  assert_int_equal(read_step(true, &e), 1);  // its own, the one before
}

UNIT(between_two_renames_the_older_is_there) {
  Err e = {0};
  assert_false(checkpoint_exists(folder, "c.bin"));
  assert_int_equal(read_step(true, &e), -E_IO);
  assert_int_equal(write_step(1, &e), OK);
  assert_true(checkpoint_exists(folder, "c.bin"));
  assert_int_equal(rename(in("c.bin"), in("c.bin.old")), 0);
  assert_true(checkpoint_exists(folder, "c.bin"));
  assert_int_equal(read_step(true, &e), 1);
  assert_int_equal(truncate(in("c.bin.old"), 100), 0);
  assert_refused(-read_step(true, &e), &e, E_RECORD, "c.bin.old");
}

// No memory says nothing of the file: the one before must not be gone on with.
UNIT(no_memory_is_no_damage) {
  Err e = {0};
  assert_int_equal(write_step(1, &e), OK);
  assert_int_equal(write_step(2, &e), OK);
  no_memory_for = POINTS * sizeof(CurvePoint);
  assert_int_equal(read_step(true, &e), -E_MEMORY);
  assert_int_equal(read_step(true, &e), 2);
}

// As another version of the program might write it, its checksum right.
UNIT(a_whole_header_may_still_be_wrong) {
  Err e = {0};
  char *data;
  size_t n;
  static const struct Wrong {
    size_t at;
    int32_t value;
    const char *word;
  } wrong[] = {{8, 2, "format 2"}, {44, -1, "another shape"}, {44, POINTS + 1, "another shape"},
               {48, 0, "another shape"}, {56, 1, "another shape"}};
  assert_int_equal(write_step(1, &e), OK);
  assert_int_equal(file_read(in("c.bin"), &data, &n, &e), OK);
  for (int i = 0; i < COUNT(wrong); i++)
    for (int moments = 0; moments < 2; moments++) {
      int32_t right;
      memcpy(&right, data + wrong[i].at, sizeof right);
      put_field(data, n, wrong[i].at, &wrong[i].value, sizeof wrong[i].value);
      assert_refused(-read_step(moments, &e), &e, E_RECORD, wrong[i].word);
      put_field(data, n, wrong[i].at, &right, sizeof right);
      assert_int_equal(read_step(moments, &e), 1);
    }
  free(data);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
  const struct CMUnitTest tests[] = {
      TEST(a_save_that_fails_leaves_what_was), TEST(other_kernels_do_not_go_on),
      TEST(between_two_renames_the_older_is_there),
      TEST(no_memory_is_no_damage), TEST(a_whole_header_may_still_be_wrong)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
