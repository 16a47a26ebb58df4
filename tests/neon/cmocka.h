// cmocka.h for tests/neon.sh: as much of cmocka's interface as tests/rows.h uses, since Debian has no cross-built
// one at hand. The first failure of a test is reported and ends the program.
#ifndef ISOFLOP_NEON_CMOCKA_H
#define ISOFLOP_NEON_CMOCKA_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void (*CMUnitTestFunction)(void **state);
struct CMUnitTest {
  const char *name;
  CMUnitTestFunction test_func;
  void *setup_func, *teardown_func, *initial_state;
};

static const char *cmocka_running;
#define fail_msg(...) \
  (printf("not ok - %s\n# ", cmocka_running), printf(__VA_ARGS__), printf("\n"), fflush(stdout), exit(1))
#define assert_true(c) ((c) ? (void)0 : fail_msg("%s:%d: %s", __FILE__, __LINE__, #c))
#define assert_memory_equal(a, b, n) assert_true(!memcmp(a, b, n))

static inline int _cmocka_run_group_tests(const char *group, const struct CMUnitTest *tests, size_t n, void *up,
                                          void *down) {
  (void)group, (void)up, (void)down;
  for (size_t i = 0; i < n; i++) {
    void *state = tests[i].initial_state;
    cmocka_running = tests[i].name;
    tests[i].test_func(&state);
    printf("ok %zu - %s\n", i + 1, tests[i].name);
  }
  printf("1..%zu\n", n);
  return 0;
}
#endif
