// test_util.c: files that appear whole or not at all, what is swept away of those that did not, and texts in memory.
// Linked with --wrap=realloc.
#include "testing.h"
#include <sys/wait.h>

static const char *touched(const char *path) {
  write_text(path, "");
  return path;
}

UNIT(test_only_temporary_files_of_the_dead_are_swept_away) {
  Err e;
  OutFile o;
  char host[300];
  assert_int_equal(gethostname(host, sizeof host), 0);
  const pid_t dead = fork();
  if (dead == 0) _exit(0);
  waitpid(dead, NULL, 0);
  const char *gone = touched(in("a.bin.%s.%d.tmp", host, (int)dead));
  const char *kept[] = {touched(in("b.bin.%s.%d.tmp", host, (int)getppid())),
                        touched(in("c.bin.elsewhere.%d.tmp", (int)dead)),
                        touched(in("d.bin.%s.%d.tmpx", host, (int)dead)),
                        touched(in("%s.%d.tmp", host, (int)dead)), touched(in("e.tmp"))};
  out_clear(folder);
  assert_false(file_exists(gone));
  for (int i = 0; i < COUNT(kept); i++) assert_true(file_exists(kept[i]));
  out_clear("/no/such/folder");

  // Until it is published a file has its temporary name alone; given up, none.
  const char *wanted = in("f");
  assert_int_equal(out_open(&o, wanted, &e), OK);
  out_write(&o, "text", 4);
  assert_int_equal(out_sync(&o, &e), OK);
  assert_false(file_exists(wanted));
  assert_true(file_exists(o.temp));
  assert_int_equal(out_publish(&o, &e), OK);
  assert_true(file_exists(wanted) && !file_exists(o.temp));
  assert_int_equal(out_open(&o, wanted, &e), OK);
  out_abort(&o);
  assert_false(file_exists(o.temp));
}

UNIT(test_what_cannot_be_written_is_named) {
  Err e;
  OutFile o;
  char path[1200];
  memset(path, 'x', sizeof path);
  path[sizeof path - 1] = 0;
  assert_refused(out_open(&o, path, &e), &e, E_IO, "path too long");
  assert_refused(dir_make(path, &e), &e, E_IO, "path too long");
  assert_refused(out_open(&o, "/no/such/folder/f", &e), &e, E_IO, "/no/such/folder/f: cannot write");
  // A folder in the file's place: the rename fails, and the temporary file is gone.
  assert_int_equal(dir_make(in("in-the-way/file"), &e), OK);
  assert_int_equal(out_open(&o, in("in-the-way"), &e), OK);
  assert_refused(out_commit(&o, &e), &e, E_IO, "in-the-way: cannot write");
  assert_false(file_exists(o.temp));
  assert_null(mem_new((size_t)-1 / 4, "far too much", &e));
  assert_int_equal(e.code, E_MEMORY);
  assert_null(mem_new((size_t)-1, "more than there is", &e));
}

static size_t largest = (size_t)-1;  // no block beyond it
void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n) { return n > largest ? NULL : __real_realloc(p, n); }

UNIT(test_no_character_of_a_text_is_lost_silently) {
  for (int i = 0; i < 3; i++) {
    Err e = {0};
    size_t len, n = i == 2 ? 0 : 100000;
    char *text;
    FILE *f = text_open(&text, &len, &e);
    assert_non_null(f);
    largest = i == 1 ? 50000 : (size_t)-1;
    for (size_t j = 0; j < n; j++) fputc('a' + (int)(j % 26), f);
    assert_int_equal(text_close(f, &e), i == 1 ? E_MEMORY : OK);
    largest = (size_t)-1;
    if (i != 1) {
      assert_int_equal(len, n);
      assert_int_equal(strlen(text), n);
      for (size_t j = 0; j < n; j++) assert_int_equal(text[j], 'a' + j % 26);
    }
    free(text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_only_temporary_files_of_the_dead_are_swept_away),
    cmocka_unit_test(test_what_cannot_be_written_is_named),
    cmocka_unit_test(test_no_character_of_a_text_is_lost_silently),
  };
  return cmocka_run_group_tests_name("util", tests, folder_make, folder_remove);
}
