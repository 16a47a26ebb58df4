// test_config.c: the table of options: every error kind, every option there and back, what is and what is not a run's
// identity.
#include "config.h"
#include "testing.h"

// A value of this option that is legal and differs from its default.
static void other_value(const Option *o, char *text, size_t size) {
  Config c;
  char deflt[1024];
  config_defaults(&c);
  config_print_value(&c, o, deflt, sizeof deflt);
  if (o->type == OPT_BOOL) snprintf(text, size, "%s", strcmp(deflt, "true") ? "true" : "false");
  else if (o->choices) snprintf(text, size, "%s", strrchr(o->choices, ' ') + 1);
  else if (o->type == OPT_STR) snprintf(text, size, "some text, %s", o->key);
  else if (o->type == OPT_LIST) snprintf(text, size, "%.17g, %.17g", o->lo, o->hi);
  else snprintf(text, size, "%.17g", strtod(deflt, NULL) == o->hi ? o->lo : o->hi);
  assert_string_not_equal(text, deflt);
}

static void dump(const Config *c, const char *sections, char *text, size_t size) {
  FILE *f = fmemopen(text, size, "w");
  config_dump(c, sections, f);
  fclose(f);
}

UNIT(test_defaults_are_sound) {
  Config c;
  Err e;
  config_defaults(&c);
  assert_int_equal(config_check(&c, &e), OK);
  assert_int_equal(c.seq_len, 128);
  assert_true(c.qk_norm);
  assert_int_equal(c.params_range.n, 0);
}

// Every option alone, at another value: through --set, the dump and the parser, nothing else changes.
UNIT(test_every_option_round_trips) {
  for (const Option *o = config_options; o->key; o++) {
    Config a, b;
    Err e;
    char value[512], assignment[600], text[8192];
    other_value(o, value, sizeof value);
    snprintf(assignment, sizeof assignment, "%s=%s", o->key, value);
    config_defaults(&a);
    config_defaults(&b);
    if (config_set(&a, assignment, "--set", &e)) fail_msg("%s", e.msg);
    assert_memory_not_equal(&a, &b, sizeof a);
    dump(&a, NULL, text, sizeof text);
    if (config_parse(&b, text, "dump", &e)) fail_msg("%s", e.msg);
    assert_memory_equal(&a, &b, sizeof a);
  }
}

UNIT(test_numbers_survive_to_the_last_bit) {
  const double hard[] = {0.1, 1.0 / 3, M_PI * 1e-4, 0.0086 * pow(1.7, -0.27), 0x1.fffffffffffffp-3};
  for (int i = 0; i < COUNT(hard); i++) {
    Config a, b;
    Err e;
    char text[8192];
    config_defaults(&a);
    config_defaults(&b);
    a.lr = hard[i];
    dump(&a, "train", text, sizeof text);
    assert_int_equal(config_parse(&b, text, "dump", &e), OK);
    assert_memory_equal(&a.lr, &b.lr, sizeof a.lr);
  }
}

typedef struct Bad { const char *text, *says; } Bad;

UNIT(test_bad_files_say_where_and_what) {
  const Bad bad[] = {
    {"[train]\nlearning = 1\n", "study.ini:2: unknown key 'learning'"},
    {"[model]\nd_mdoel = 32\n", "the nearest known one is 'd_model'"},
    {"[train]\n\nd_model = 32\n", "study.ini:3: d_model belongs in section [model], not in [train]"},
    {"[trian]\nlr = 1\n", "study.ini:2: unknown section [trian]"},
    {"lr = 1\n", "study.ini:1: unknown section []"},
    {"[train]\nlr = 11\n", "lr = 11 is out of range, expected 0 to 10"},
    {"[train]\nlr = -1\n", "out of range"},
    {"[train]\nlr = fast\n", "lr = fast: expected a number"},
    {"[train]\nlr = 0.1x\n", "expected a number"},
    {"[train]\nlr = 0x1p-3\n", "expected a number"},
    {"[train]\nlr = nan\n", "expected a number"},
    {"[train]\nlr = 1e999\n", "expected a number"},
    {"[train]\nlr =\n", "expected a number"},
    {"[train]\nseed = 1.5\n", "seed = 1.5: expected a whole number"},
    {"[train]\nseed = 1e30\n", "out of range"},
    {"[train]\nlr = 1\nlr = 2\n", "study.ini:3: lr is set twice"},
    {"[model]\ntied = maybe\n", "tied = maybe: expected true or false"},
    {"[train]\noptimizer = sgd\n", "optimizer = sgd: expected one of: adamw adam"},
    {"[train]\noptimizer = adamw adam\n", "expected one of"},
    {"[train]\noptimizer = ada\n", "expected one of"},
    {"[train]\ncorpus =\n", "corpus is empty"},
    {"[train]\ncorpus = a\"b\n", "a control character, a semicolon or a quote"},
    {"[study]\nbudgets = 1e10; 2e10\n", "budgets = 1e10; 2e10: expected numbers"},
    {"[study]\nbudgets = 1e10, ten\n", "expected numbers"},
    {"[study]\nbudgets = 1e10, 1\n", "1 is out of range"},
    {"[study\n", "study.ini:1: expected [section], key = value"},
    {"[study]\nnonsense\n", "study.ini:2: expected [section], key = value"},
  };
  for (int i = 0; i < COUNT(bad); i++) {
    Config c, before;
    Err e = {0};
    config_defaults(&c);
    config_defaults(&before);
    assert_refused(config_parse(&c, bad[i].text, "study.ini", &e), &e, E_CONFIG, bad[i].says);
    assert_memory_equal(&c, &before, sizeof c);  // an error leaves the config as it was
  }
}

UNIT(test_long_lines_lists_and_strings) {
  Config c;
  Err e;
  char text[9000];
  config_defaults(&c);
  int n = snprintf(text, sizeof text, "[study]\nbudgets = 1e9");
  for (int i = 0; i < 2 * MAX_BUDGETS; i++) n += snprintf(text + n, sizeof text - (size_t)n, ", 1e9");
  assert_refused(config_parse(&c, text, "f", &e), &e, E_CONFIG, "at most 32 numbers");

  n = snprintf(text, sizeof text, "[train]\ncorpus = ");
  memset(text + n, 'x', 512);
  text[n + 511] = 0;
  assert_int_equal(config_parse(&c, text, "f", &e), OK);
  assert_int_equal(strlen(c.corpus), 511);
  text[n + 511] = 'x', text[n + 512] = 0;
  assert_refused(config_parse(&c, text, "f", &e), &e, E_CONFIG, "longer than 511");
  memset(text + n, 'x', 5000), text[n + 5000] = 0;
  assert_refused(config_parse(&c, text, "f", &e), &e, E_CONFIG, "f:2: line longer than");
}

UNIT(test_assignments) {
  Config c;
  Err e;
  config_defaults(&c);
  assert_int_equal(config_set(&c, "lr=0.004", "--set", &e), OK);
  assert_true(c.lr == 0.004);
  const char *bad[] = {"lr", "=1", "", "lr 1",
                       "a_key_that_is_much_longer_than_any_key_that_there_could_be_in_the_table=1"};
  for (int i = 0; i < COUNT(bad); i++) {
    assert_int_equal(config_set(&c, bad[i], "--set", &e), E_CONFIG);
    assert_int_equal(strncmp(e.msg, "--set: ", 7), 0);
  }
}

UNIT(test_check_sees_what_ranges_cannot) {
  const Bad bad[] = {
    {"d_model=33", "d_model = 33 is not divisible by n_heads = 2"},
    {"d_model=34", "expected an even width"},
    {"batch_tokens=200", "not a multiple of seq_len"},
    {"budget=0", "budget and tokens are both 0"},
    {"tokens=1000.5", "expected a whole number"},
    {"budgets=4e10, 1e10", "expected ascending"},
    {"budgets=1e10, 1e10", "expected ascending"},
    {"budgets=", "budgets holds 0 numbers"},
    {"tokens_per_param=20", "tokens_per_param holds 1 numbers: expected 2, or 2 for each of the 3 budgets"},
    {"tokens_per_param=40, 20", "expected the lower bound first"},
    {"params_range=1e4, 1e5, 1e4", "params_range holds 3 numbers"},
    {"seeds=1, 2", "seeds: expected one whole number, or one for each"},
    {"seeds=1.5", "seeds: expected one whole number"},
  };
  for (int i = 0; i < COUNT(bad); i++) {
    Config c;
    Err e = {0};
    config_defaults(&c);
    if (config_set(&c, bad[i].text, "--set", &e)) fail_msg("%s", e.msg);
    assert_refused(config_check(&c, &e), &e, E_CONFIG, bad[i].says);
  }
}

// Values that came by a rule or a list, not through config_set().
UNIT(test_check_sees_ranges_too) {
  Config c;
  Err e = {0};
  config_defaults(&c);
  c.lr = 12;
  assert_refused(config_check(&c, &e), &e, E_CONFIG, "lr = 12 is out of range, expected 0 to 10");
  config_defaults(&c);
  c.n_heads = 0;
  assert_refused(config_check(&c, &e), &e, E_CONFIG, "n_heads = 0 is out of range, expected 1 to 256");
  config_defaults(&c);
  c.cosine_cycle = NAN;
  assert_refused(config_check(&c, &e), &e, E_CONFIG, "cosine_cycle = nan is out of range");
}

// The identity follows every option of [model], [train], [eval] but the corpus' name, and none of the others.
UNIT(test_run_id) {
  Config base;
  char id[17], other[17];
  config_defaults(&base);
  config_run_id(&base, 7, id);
  assert_int_equal(strlen(id), 16);
  config_run_id(&base, 8, other);
  assert_string_not_equal(id, other);
  for (const Option *o = config_options; o->key; o++) {
    Config c = base;
    Err e;
    char value[512], where[] = "test";
    other_value(o, value, sizeof value);
    assert_int_equal(config_set_key(&c, o->section, o->key, value, where, &e), OK);
    config_run_id(&c, 7, other);
    bool determines = strcmp(o->section, "study") && strcmp(o->section, "recipe") && strcmp(o->section, "machine") &&
                      strcmp(o->key, "corpus");
    if (determines != (strcmp(id, other) != 0)) fail_msg("run id and %s", o->key);
  }
}

UNIT(test_load_skips_what_records_add) {
  Config c;
  Err e;
  config_defaults(&c);
  const char *text = "[train]\nseed = 9\n[result]\nval_loss = 2\n[provenance]\nany = thing\n";
  assert_int_equal(config_parse(&c, text, "record", &e), OK);
  assert_int_equal(c.seed, 9);
  assert_refused(config_load(&c, "/no/such/file.ini", &e), &e, E_IO, "/no/such/file.ini");
}

UNIT(test_help_lists_every_option) {
  static char text[32768];
  FILE *f = fmemopen(text, sizeof text, "w");
  config_help(f);
  fclose(f);
  for (const Option *o = config_options; o->key; o++) {
    char line[100];
    snprintf(line, sizeof line, "\n  %-19s %s", o->key, o->help);
    if (!strstr(text, line)) fail_msg("--help leaves out %s", o->key);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_defaults_are_sound),         cmocka_unit_test(test_every_option_round_trips),
    cmocka_unit_test(test_numbers_survive_to_the_last_bit), cmocka_unit_test(test_bad_files_say_where_and_what),
    cmocka_unit_test(test_long_lines_lists_and_strings), cmocka_unit_test(test_assignments),
    cmocka_unit_test(test_check_sees_what_ranges_cannot), cmocka_unit_test(test_check_sees_ranges_too),
    cmocka_unit_test(test_run_id),
    cmocka_unit_test(test_load_skips_what_records_add), cmocka_unit_test(test_help_lists_every_option),
  };
  return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
