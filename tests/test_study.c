// test_study.c: parts of a study, their cells, and what waits for records.
#include "fit.h"
#include "plan.h"
#include "shape.h"
#include "testing.h"
#include "verdict.h"

static const double CORPUS = 1e9;

// A study from the text of its file, every part on a corpus of hash 7.
static int study_text(Study *s, const char *text, const char *set, Err *e) {
  const char *files[] = {in("in.ini")}, *sets[] = {set};
  write_text(files[0], text);
  if (study_load(s, 1, files, set ? 1 : 0, sets, e)) return e->code;
  for (int i = 0; i < s->n; i++) s->part[i].corpus_hash = 7, s->part[i].corpus_tokens = CORPUS;
  return OK;
}

static void study_good(Study *s, const char *text, const char *set) {
  Err e;
  if (study_text(s, text, set, &e)) fail_msg("%s", e.msg);
}

static void plan_good(Plan *p, const Study *s, const Records *done) {
  Err e;
  if (plan_make(p, s, done, &e)) fail_msg("%s", e.msg);
}

static int count(const Plan *p, int part) {
  int n = 0;
  for (int i = 0; i < p->n; i++) n += p->cells[i].parts >> part & 1;
  return n;
}

UNIT(test_parts_copy_what_is_shared) {
  Study s;
  study_good(&s, "[part a]\nseed = 5\n[study]\nbudgets = 1e11\n[train]\nlr = 0.01\n[part b]\nlr = 0.02\n[part a]\n"
                 "warmup = 0.3\n", "weight_decay=0.5");
  assert_int_equal(s.n, 2);
  assert_int_equal(study_part(&s, "b"), 1);
  assert_int_equal(study_part(&s, "c"), -1);
  const Config *a = &s.part[0].cfg, *b = &s.part[1].cfg;
  assert_true(a->budgets.v[0] == 1e11 && b->budgets.v[0] == 1e11 && a->weight_decay == 0.5 && b->weight_decay == 0.5);
  assert_true(a->lr == 0.01 && b->lr == 0.02 && a->seed == 5 && b->seed == 1 && a->warmup == 0.3);
  // --set does not reach what a part says itself, unless it names the part.
  study_good(&s, "[part a]\nlr = 0.02\n", "lr=0.5");
  assert_true(s.part[0].cfg.lr == 0.02);
  study_good(&s, "[part a]\nlr = 0.02\n", "a:lr=0.5");
  assert_true(s.part[0].cfg.lr == 0.5);
  study_good(&s, "[study]\nstudy = plain\n", NULL);
  assert_int_equal(s.n, 1);
  assert_string_equal(s.part[0].name, "isoflop");
}

UNIT(test_bad_studies_are_refused) {
  const struct { const char *text, *set, *says; } bad[] = {
    {"[part a]\nlrr = 1\n", NULL, "in.ini:2: unknown key 'lrr'"},
    {"[part a]\nlr = 1\nlr = 2\n", NULL, "in.ini:3: lr is set twice"},
    {"[part a b]\nlr = 1\n", NULL, "part 'a b'"},
    {"[part a]\nd_model = 30\nn_heads = 4\n", NULL, "d_model = 30"},
    {"[parts]\nlr = 1\n", NULL, "unknown section [parts]"},
    {"[corpora]\na = 1 2\n", NULL, "unknown section [corpora]"},
    {"[part a]\nlr = 1\n", "b:lr=1", "no part 'b'"},
    {"[part a]\nthreads = 2\n", NULL, "part a: threads = 2: an option of [machine] is one for all parts"},
    {"[part a]\nlr = 1\n", "a:heartbeat=1", "part a: heartbeat = 1: an option of [machine]"},
  };
  for (int i = 0; i < COUNT(bad); i++) {
    Study s;
    Err e = {0};
    assert_refused(study_text(&s, bad[i].text, bad[i].set, &e), &e, E_CONFIG, bad[i].says);
  }
}

UNIT(test_a_cell_of_two_parts_is_one) {
  Study s;
  Plan p;
  study_good(&s, "[study]\nbudgets = 1e11\nparams_range = 10000, 100000\nsizes_per_budget = 4\n[part isoflop]\nseeds = 2\n"
                 "[part cosine]\nvary = cosine_cycle 1 1.5 | lr_scale 2\n", NULL);
  plan_good(&p, &s, NULL);
  assert_true(p.complete && p.later == 0 && p.due < 0);
  assert_int_equal(count(&p, 0), 8);
  assert_int_equal(count(&p, 1), 12);
  assert_int_equal(p.n, 16);  // cosine_cycle 1 and seed 1 is the plain cell
  double faster = 0;
  for (int i = 0; i < p.n; i++)
    for (int j = 0; j < p.n; j++)
      if (p.cells[i].params == p.cells[j].params && p.cells[i].cfg.lr > 1.5 * p.cells[j].cfg.lr)
        faster = p.cells[i].cfg.lr / p.cells[j].cfg.lr;
  assert_true(faster == 2);
  plan_free(&p);
  study_good(&s, "[study]\nbudgets = 1e11\nshapes = 32x2x2, 24x4x2\nseeds = 3\n", NULL);
  plan_good(&p, &s, NULL);
  assert_int_equal(p.n, 6);
  assert_int_equal(p.cells[3].cfg.n_layers, 4);
  plan_free(&p);
}

UNIT(test_horizons_span_their_range) {
  Study s;
  Plan p;
  study_good(&s, "[study]\nkind = horizons\nhorizons = 4\nparams_range = 10000, 100000\nsizes_per_budget = 3\n"
                 "tokens_per_param = 5, 80\n", NULL);
  plan_good(&p, &s, NULL);
  assert_int_equal(p.n, 12);
  for (int i = 0; i < p.n; i++) {
    const Cell *c = &p.cells[i];
    const double ratio = 5 * pow(16, i % 4 / 3.);
    assert_true(c->cfg.budget == 0 && c->params == p.cells[i / 4 * 4].params);
    assert_true(fabs(c->cfg.tokens / (c->params * ratio) - 1) < 0.03);  // whole steps: at least 20
  }
  plan_free(&p);
}

// Records of a plan's cells, with losses that have a valley at 2 sqrt(budget / 6) / 10 parameters, times `shift`.
static Records records_of(const Plan *p, double shift) {
  Records rs = {.n = p->n, .r = calloc((size_t)p->n + 1, sizeof(Record))};
  for (int i = 0; i < p->n; i++) {
    Record *r = &rs.r[i];
    const Config *c = &p->cells[i].cfg;
    const double off = log(p->cells[i].params / (shift * sqrt(c->budget / 6) / 5));
    *r = (Record){.status = "finished", .cfg = *c, .tokens = c->tokens, .params = shape_params(c),
                  .flops_per_token = shape_flops(c), .val_loss = 2 + 0.05 * off * off, .val_loss_se = 0.01};
    memcpy(r->id, p->cells[i].id, sizeof r->id);
  }
  return rs;
}

static const char STAGED[] = "[study]\nbudgets = 1e11, 2e11, 4e11, 8e11\nparams_range = 9000, 120000\nsizes_per_budget = 7\n"
                             "recentre = 2\nspan = 3\n[part isoflop]\nseed = 1\n[part verdict]\nkind = verdict\n"
                             "budgets = 6.4e12\n";

UNIT(test_later_budgets_wait_and_are_centred) {
  Study s;
  Plan first, second, third;
  study_good(&s, STAGED, NULL);
  plan_good(&first, &s, NULL);
  assert_int_equal(first.n, 14);
  assert_false(first.complete);
  assert_int_equal(first.later, 16);
  assert_true(fabs(first.later_flops / (7 * 1.2e12 + 2 * 6.4e12) - 1) < 1e-12);

  Records rs = records_of(&first, 1.3);
  Record kept = rs.r[5];
  strcpy(rs.r[5].status, "failed");
  plan_good(&second, &s, &rs);
  assert_int_equal(second.n, 14);  // one is missing
  plan_free(&second);
  rs.r[5] = kept;
  plan_good(&second, &s, &rs);
  assert_int_equal(second.n, 28);
  for (int i = 0; i < 14; i++) assert_string_equal(second.cells[i].id, first.cells[i].id);
  for (int i = 14; i < 28; i++) {
    const double centre = 1.3 * sqrt(second.cells[i].cfg.budget / 6) / 5, x = second.cells[i].params / centre;
    assert_int_equal(second.cells[i].stage, 1);
    assert_true(x > 1 / 3.1 && x < 3.1);
  }
  // What the laws leave out still says where the valleys lie.
  Plan left_out;
  for (int i = 0; i < rs.n; i++) rs.r[i].cfg.from_flops = 1e12;
  plan_good(&left_out, &s, &rs);
  assert_int_equal(left_out.n, 28);
  for (int i = 14; i < 28; i++) assert_string_equal(left_out.cells[i].id, second.cells[i].id);
  plan_free(&left_out);
  assert_true(second.cells[14].params < 0.45 * 1.3 * sqrt(4e11 / 6) / 5);  // the range is used
  free(rs.r);

  rs = records_of(&second, 1.3);
  plan_good(&third, &s, &rs);
  assert_int_equal(third.n, 28);
  assert_true(!third.complete && third.due == 1);
  plan_free(&third);
  s.part[1].pair[0] = 20, s.part[1].pair[1] = 30;
  plan_good(&third, &s, &rs);
  assert_true(third.n == 30 && third.complete && third.due < 0 && third.cells[28].parts == 2);
  Records subset;
  Err e;
  assert_int_equal(study_part_records(&s, &rs, 0, &subset, &e), OK);
  assert_int_equal(subset.n, 28);
  records_free(&subset);
  assert_int_equal(study_part_records(&s, &rs, 1, &subset, &e), OK);
  assert_int_equal(subset.n, 0);
  records_free(&subset);
  plan_free(&third), plan_free(&second), plan_free(&first);
  free(rs.r);
}

UNIT(test_a_folder_remembers_its_study) {
  Study s, back, other;
  Err e;
  study_good(&s, STAGED, NULL);
  assert_int_equal(study_save(folder, &s, &e), OK);
  if (study_read(folder, &back, &e)) fail_msg("%s", e.msg);
  Plan p, q;
  plan_good(&p, &s, NULL), plan_good(&q, &back, NULL);
  assert_int_equal(p.n, q.n);
  for (int i = 0; i < p.n; i++) assert_string_equal(p.cells[i].id, q.cells[i].id);
  plan_free(&p), plan_free(&q);
  assert_int_equal(study_compare(folder, &s, &e), OK);
  const struct { const char *set, *says; } changed[] = {
    {"lr=0.5", "lr of part isoflop"}, {"verdict:lr=0.5", "lr of part verdict"}, {"lr_at=0.5", "lr_at of part"},
    {"eval_points=9", "eval_points"}};
  for (int i = 0; i < COUNT(changed); i++) {
    study_good(&other, STAGED, changed[i].set);
    assert_refused(study_compare(folder, &other, &e), &e, E_RECORD, changed[i].says);
  }
  study_good(&other, STAGED, "threads=2");
  assert_int_equal(study_compare(folder, &other, &e), OK);
  other = s;
  other.part[1].corpus_hash = 8;
  assert_refused(study_compare(folder, &other, &e), &e, E_RECORD, "corpus");
  other = s, other.n = 1;
  assert_int_equal(study_compare(folder, &other, &e), E_RECORD);
}

UNIT(test_a_forecast_is_read_back) {
  const Forecast f = {.budget = 6.4e13, .n_opt = 123456.789, .member = {12, 19}, .N = {1e5 / 3, 4e5}, .D = {1e7, 2.5e6},
                      .loss = {{1.5, 1.4, 1.6}, {1.7, 1.6, 1.0 / 3}}, .gap = {.2, .1, .3}, .n_iso = {NAN, NAN, NAN},
                      .n_surface = {1e5, 9e4, 2e5}, .run_sd = .01, .misfit_sd = 1e-3 / 7};
  Forecast back;
  Study s;
  Err e;
  assert_int_equal(forecast_write(folder, "verdict", &f, &e), OK);
  if (forecast_read(folder, "verdict", &back, &e)) fail_msg("%s", e.msg);
  assert_true(back.budget == f.budget && back.n_opt == f.n_opt);
  for (int k = 0; k < 2; k++) {
    assert_int_equal(back.member[k], f.member[k]);
    assert_true(back.N[k] == f.N[k] && back.D[k] == f.D[k]);
    assert_memory_equal(&back.loss[k], &f.loss[k], sizeof f.loss[k]);
  }
  assert_memory_equal(&back.gap, &f.gap, sizeof f.gap);
  assert_memory_equal(&back.n_surface, &f.n_surface, sizeof f.n_surface);
  assert_true(isnan(back.n_iso.value) && back.run_sd == f.run_sd && back.misfit_sd == f.misfit_sd);
  study_good(&s, STAGED, NULL);
  assert_int_equal(verdict_pairs(folder, &s, &e), OK);
  assert_true(s.part[0].pair[0] == -1 && s.part[1].pair[0] == 12 && s.part[1].pair[1] == 19);
  const char *const bad[] = {"", "[forecast]\nbudget = 1\n", "[forecast]\nmember = x\n", "[forecast]\nwhat = 1\n"};
  for (int i = 0; i < COUNT(bad); i++) {
    write_text(in("forecast-verdict.ini"), bad[i]);
    assert_int_equal(verdict_pairs(folder, &s, &e), E_RECORD);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_parts_copy_what_is_shared), cmocka_unit_test(test_bad_studies_are_refused),
    cmocka_unit_test(test_a_cell_of_two_parts_is_one), cmocka_unit_test(test_horizons_span_their_range),
    cmocka_unit_test(test_later_budgets_wait_and_are_centred), cmocka_unit_test(test_a_folder_remembers_its_study),
    cmocka_unit_test(test_a_forecast_is_read_back),
  };
  return cmocka_run_group_tests_name("study", tests, folder_make, folder_remove);
}
