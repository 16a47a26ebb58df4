// testing.h: what the unit tests share, cmocka included: a folder that lasts as long as a group or a test, files in it,
// and refusals. In: nothing. Out: assertions of the test that calls. Invariant: when folder_remove has run, nothing is
// left of the folder.
#ifndef ISOFLOP_TESTING_H
#define ISOFLOP_TESTING_H
#include "util.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define SHARED static __attribute__((unused))  // a test takes what it needs
#define UNIT(name) static void name(void **state __attribute__((unused)))  // one test of a group
#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))
// cmocka's assert_float_equal compares floats.
#define assert_near(a, b, tolerance) assert_true(fabs((a) - (b)) <= (tolerance))

// ---- A folder ------------------------------------------------------------------------------------------

static char folder[64];

// Setup and teardown, of a group or of each test. In memory where there is room for it: a save costs little there.
SHARED int folder_make(void **state) {
  (void)state;
  snprintf(folder, sizeof folder, "%s/isoflop-test.XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
  return mkdtemp(folder) ? 0 : -1;
}

SHARED int folder_remove(void **state) {
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command);
}

// A path in the folder; eight may be in use at once.
__attribute__((format(printf, 1, 2))) SHARED const char *in(const char *format, ...) {
  static char paths[8][1024];
  static int turn;
  char *path = paths[turn++ % 8];
  va_list args;
  va_start(args, format);
  const int n = snprintf(path, sizeof *paths, "%s/", folder);
  vsnprintf(path + n, sizeof *paths - (size_t)n, format, args);
  va_end(args);
  return path;
}

SHARED void write_file(const char *path, const void *data, size_t n) {
  FILE *f = fopen(path, "wb");
  if (!f || fwrite(data, 1, n, f) != n || fclose(f) != 0) fail_msg("%s: cannot write", path);
}
SHARED void write_text(const char *path, const char *text) { write_file(path, text, strlen(text)); }

// The text of a file. Not inlined: gcc 12 then takes the text for its own address and warns of a dangling pointer.
__attribute__((noinline)) SHARED char *slurp(const char *path) {
  char *text;
  size_t n;
  Err e;
  if (file_read(path, &text, &n, &e)) fail_msg("%s", e.msg);
  return text;
}

// ---- What is said --------------------------------------------------------------------------------------

// A call that must fail: with this code, and with one line that has these words.
#define assert_refused(call, e, want, words) refused_at(call, e, want, words, __FILE__, __LINE__)
SHARED void refused_at(int code, const Err *e, int want, const char *words, const char *file, int line) {
  const char *said = code ? e->msg : "nothing";
  if (code == want && code == e->code && strstr(said, words) && !strchr(said, '\n')) return;
  print_error("exit code %d, expected %d: '%s' should say: %s\n", code, want, said, words);
  _fail(file, line);
}

SHARED int count_of(const char *text, const char *what) {
  int n = 0;
  for (; (text = strstr(text, what)) != NULL; text += strlen(what)) n++;
  return n;
}

// The number so many commas behind `key`, in a text that must have it.
SHARED double number_at(const char *text, const char *key, int commas) {
  const char *at = strstr(text, key);
  if (!at) fail_msg("not found: %s", key);
  for (at += strlen(key); at && commas > 0; commas--) at = strchr(at + 1, ',');
  return at ? strtod(at + (*at == ','), NULL) : NAN;
}
#endif
