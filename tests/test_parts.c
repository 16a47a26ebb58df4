// test_parts.c: a study of many parts, with records that were made up from a known surface and known effects: which
// runs belong to which part, what each part's section says, and that every point leads to its row.
#include "contrast.h"
#include "made.h"
#include "plan.h"
#include "report.h"

static const Surface toy = {1.2, 30, 50, .35, .33};
static const char study_file[] =
    "[study]\nbudgets = 4e11\nseeds = 2\n"
    "[part isoflop]\nbudgets = 1e11, 2.5e11, 6e11\ntokens_per_param = 2, 60\nseeds = 1\n"
    "[part horizons]\nkind = horizons\nparams_range = 20000, 90000\ntokens_per_param = 4, 64\n"
    "sizes_per_budget = 4\nseeds = 1\n"
    "[part code]\ncorpus = code\nbudgets = 1e11, 2.5e11, 6e11\ntokens_per_param = 2, 60\n"
    "[part cosine]\nshapes = 32x2x2\nvary = cosine_cycle 1 1.5 5\n"
    "[part adam]\nshapes = 32x2x2\nvary = optimizer adamw adam\n"
    "[part depth]\nshapes = 52x2x2, 42x3x3\n[part heads]\nshapes = 48x3x2, 48x3x4\n"
    "[part neighbours]\nshapes = 48x3x3\nvary = lr_scale 0.5 1 2 | batch_scale 2\n"
    "[part kaplan-rate]\nbudgets = 1e11, 2.5e11, 6e11\ntokens_per_param = 2, 60\nlr = 0.003\n"
    "[part bf16]\nshapes = 32x2x2, 48x3x3\nvary = precision fp32 bf16\n";

// What a run's settings add to its loss. Seeds add .01 (seed - 1.5): the same to every run of a seed.
static double effect(const Config *c) {
  return .02 * log(c->cosine_cycle) + (strcmp(c->optimizer, "adam") ? 0 : .03) +
         (strcmp(c->precision, "bf16") ? 0 : .001) + .01 * (c->seed - 1.5);
}

static void make_run(const Cell *cell) {
  enum { POINTS = 60 };
  Record r = {.cfg = cell->cfg, .params = shape_params(&cell->cfg), .flops_per_token = shape_flops(&cell->cfg)};
  r.tokens = r.cfg.tokens, r.steps = (int)(r.tokens / r.cfg.batch_tokens), r.epochs = .1;
  r.val_loss = surface_at(&toy, r.params.total, r.tokens) + effect(&r.cfg);
  r.val_loss_se = .002, r.train_loss = r.val_loss, r.floor_nats = r.val_floor = NAN, r.seconds = 1;
  strcpy(r.id, cell->id), strcpy(r.status, "finished");
  snprintf(r.corpus_name, sizeof r.corpus_name, "%.60s", r.cfg.corpus);
  write_run(folder, &r);
  double loss[POINTS];
  for (int k = 0; k < POINTS; k++) {
    // Adam is ahead in the first half of a run.
    const double at = (k + 1.) / POINTS, ahead = strcmp(r.cfg.optimizer, "adam") ? 0 : -.06 * (1 - at);
    loss[k] = surface_at(&toy, r.params.total, at * r.tokens) + effect(&r.cfg) + ahead + .05 * (1 - at);
  }
  write_curve(folder, &r, loss, POINTS);
}

static int setup(void **state) {
  Err e;
  Study *s = calloc(1, sizeof *s);
  Plan p;
  if (folder_make(state)) return -1;
  const char *file = in("file.ini");
  write_text(file, study_file);
  if (study_load(s, 1, &file, 0, NULL, &e)) fail_msg("%s", e.msg);
  for (int i = 0; i < s->n; i++)
    s->part[i].corpus_hash = hash_bytes(1, s->part[i].cfg.corpus, 4), s->part[i].corpus_tokens = 1e9;
  if (study_save(folder, s, &e) || plan_make(&p, s, NULL, &e)) fail_msg("%s", e.msg);
  assert_true(p.complete);
  for (int i = 0; i < p.n; i++) make_run(&p.cells[i]);
  plan_free(&p);
  free(s);
  return 0;
}

static void study_opened(Records *all, StudyFit *s) {
  Err e;
  if (study_open(folder, all, s, &e)) fail_msg("%s", e.msg);
}

static void study_closed(Records *all, StudyFit *s) {
  study_free(s);
  records_free(all);
}

UNIT(runs_find_their_parts) {
  Records all;
  StudyFit s;
  study_opened(&all, &s);
  assert_int_equal(s.parts.n, 10);
  const PartFit *isoflop = parts_find(&s.parts, "isoflop"), *horizons = parts_find(&s.parts, "horizons"),
                *cosine = parts_find(&s.parts, "cosine"), *bf16 = parts_find(&s.parts, "bf16");
  assert_null(parts_find(&s.parts, "synthetic"));
  assert_int_equal(horizons->rs.n, 16), assert_int_equal(cosine->rs.n, 6), assert_int_equal(bf16->rs.n, 8);
  // The laws rest on isoflop and horizons, each run once; horizons belong to no budget.
  assert_int_equal(s.records->n, isoflop->rs.n + horizons->rs.n);
  assert_int_equal(s.a[0].points.n_budgets, 3);
  for (int i = 0; i < horizons->rs.n; i++) assert_int_equal(horizons->points.p[i].budget, -1);
  // The matched cosine in fp32 is a run of cosine and of bf16.
  int shared = 0;
  for (int i = 0; i < cosine->rs.n; i++)
    for (int j = 0; j < bf16->rs.n; j++) shared += !strcmp(cosine->rs.r[i].id, bf16->rs.r[j].id);
  assert_int_equal(shared, 2);
  // Half of the runs have one seed only, of +-.005: the surface is off by no more than that.
  assert_near(surface_a(&s.a[0].surface.s), surface_a(&toy), .1);
  study_closed(&all, &s);
}

static int used_of(const Points *ps) {
  int n = 0;
  for (int i = 0; i < ps->n; i++) n += ps->p[i].used;
  return n;
}

// from_flops leaves runs out of the laws and of nothing else: the same as if they had never been there; and beside that
// everything as it was without it.
UNIT(laws_from_a_compute_on) {
  Err e;
  Records all, again;
  StudyFit before, s;
  study_opened(&all, &before);
  assert_null(before.whole);
  char *text = slurp(in("study.ini"));
  FILE *f = fopen(in("study.ini"), "w");
  for (char *line = text, *next; *line; line = next) {
    next = line + strcspn(line, "\n") + 1;
    fwrite(line, 1, (size_t)(next - line), f);
    if (!strncmp(line, "[part isoflop]", 14) || !strncmp(line, "[part horizons]", 15))
      fputs("from_flops = 2.5e11\n", f);
  }
  fclose(f);
  study_opened(&again, &s);
  const Points *ps = &s.a[0].points;
  assert_int_equal(ps->n, before.a[0].points.n);
  assert_true(used_of(ps) > 0 && used_of(ps) < ps->n);
  for (int i = 0; i < ps->n; i++) {
    assert_int_equal(ps->p[i].used, ps->p[i].C >= .99 * 2.5e11);  // the budget itself is in, though cells miss it a little
    assert_int_equal(ps->p[i].below, !ps->p[i].used);
  }
  const IsoFit *iso = &s.a[0].iso, *was = &before.a[0].iso;
  assert_int_equal(iso->v[0].flag, VALLEY_BELOW);
  assert_near(iso->v[0].n_opt.value, was->v[0].n_opt.value, 0);
  const double rise = log(was->v[2].n_opt.value / was->v[1].n_opt.value) / log(was->v[2].C / was->v[1].C);
  assert_near(iso->n_law.exponent.value, rise, 1e-9);
  assert_true(fabs(was->n_law.exponent.value - rise) > 1e-6);
  assert_int_equal(s.a[0].surface.runs, used_of(ps));
  assert_int_equal(s.a[0].frontier.n, 2);
  assert_non_null(s.whole);
  assert_int_equal(used_of(&s.whole->points), ps->n);
  Exponents mine[MAX_EXPONENTS], old[MAX_EXPONENTS];
  const int n = analysis_exponents(s.whole, mine);
  assert_int_equal(n, analysis_exponents(&before.a[0], old));
  for (int i = 0; i < n; i++)
    assert_memory_equal(&mine[i].a, &old[i].a, sizeof mine->a), assert_memory_equal(&mine[i].b, &old[i].b, sizeof mine->b);
  study_closed(&again, &s);
  if (report_study(folder, 0, 0, NULL, &e)) fail_msg("%s", e.msg);
  char *page = slurp(in("report.html")), *csv = slurp(in("tables/excluded.csv"));
  assert_non_null(strstr(page, "id=\"all-budgets\""));
  assert_non_null(strstr(page, "drawn in grey"));
  assert_null(strstr(page, "no run can have less than one"));  // the rule holds well below 2.5e11
  assert_non_null(strstr(csv, "less compute than the laws take"));
  write_text(in("study.ini"), text);
  free(page), free(csv), free(text);
  study_closed(&all, &before);
}

static double cycle_of(const Record *r) { return r->cfg.cosine_cycle; }

// Luck that runs of one seed share falls out of a difference, and is there in the noise between seeds.
UNIT(differences_are_paired) {
  Err e;
  Records all;
  StudyFit s;
  Contrast k;
  Level l[MAX_LEVELS_SHOWN];
  double se;
  study_opened(&all, &s);
  assert_int_equal(contrast_make(&k, parts_find(&s.parts, "cosine"), cycle_of, 1, &e), OK);
  assert_int_equal(k.groups, 1);
  assert_near(k.seed_sd, .01 / sqrt(2), 1e-9);
  assert_int_equal(contrast_levels(&k, 0, l), 3);
  assert_near(contrast_difference(&k, l, 3, 2, 0, k.seed_sd, &se), .02 * log(5), 1e-9);
  assert_near(se, 0, 1e-9);
  // With other seeds there are no pairs.
  Record other = *k.item[l[2].first].r;
  other.cfg.seed = 9, k.item[l[2].first].r = &other;
  contrast_difference(&k, l, 3, 2, 0, .01, &se);
  assert_near(se, .01, 1e-12);  // sqrt(1/2 + 1/2)
  contrast_free(&k);
  study_closed(&all, &s);
}

UNIT(page_has_every_part) {
  Err e;
  if (report_study(folder, 3, 100, NULL, &e)) fail_msg("%s", e.msg);
  char *page = slurp(in("report.html"));
  static const char *const ids[] = {"fig1",  "fig2",  "fig3",       "fig4",         "ladder-figure", "tablea2",
                                    "figa1", "figa7", "neighbours", "shape-figure", "bf16-figure",   "shapes"};
  assert_on_page(page, ids, COUNT(ids));
  assert_null(strstr(page, "id=\"verdict\""));
  assert_non_null(strstr(page, "% of its peak of 100.0"));
  const int rows = count_of(page, "<tr id=\"run-");
  assert_true(page_checked(page) > rows && rows > 60);
  free(page);
  char *csv = slurp(in("tables/figa1.csv"));
  assert_near(number_at(csv, ",5,2,", 2), .02 * log(5), 1e-9);
  free(csv), csv = slurp(in("tables/neighbours.csv"));
  assert_near(number_at(csv, "rate,0.5,", 0), 2, 0);  // runs: the rule was found among its neighbours
  assert_near(number_at(csv, "batch,2,", 0), 2, 0);
  free(csv), csv = slurp(in("tables/figa7.csv"));
  assert_near(number_at(csv, "difference_se,loss_no_decay,crossing\n", 5), -.03, 1e-9);
  assert_near(number_at(csv, "difference_se,loss_no_decay,crossing\n", 8), .5, .03);
  free(csv);
}

UNIT(verdict_is_shown_as_written) {
  Err e;
  FILE *f = fopen(in("verdict.csv"), "w");
  fputs("part,size,run_id,runs,verdict,params,tokens,flops,forecast,p10,p90,loss,bits_per_byte,bits_per_byte_se,word_"
        "perplexity,word_perplexity_se,last_word,last_word_se,flops_per_token_forward,other_corpus,other_bits_per_byte,other_"
        "bits_per_byte_se\n",
        f);
  for (int k = 0; k < 2; k++)
    fprintf(f, "verdict,%s,%s,1,%s,%d,1e6,6e13,1.5,1.4,1.6,%.4f,2.1,.01,90,2,.125,.01,%d,code,3.25,.02\n",
            k ? "larger" : "recommended", "id", k ? "fail" : "pass", k ? 400000 : 100000, k ? 1.7 : 1.45, k ? 8 : 2);
  fclose(f);
  if (report_study(folder, 0, 0, NULL, &e)) fail_msg("%s", e.msg);
  char *page = slurp(in("report.html"));
  assert_non_null(strstr(page, "the recommended size wins by 0.2500 nats"));
  assert_non_null(strstr(page, "costs 4.00 times as much"));
  assert_non_null(strstr(page, "<b>1.7000</b> <span class=\"fail\">fail</span>"));
  assert_non_null(strstr(page, "12.50 ± 1.00"));
  assert_non_null(strstr(page, "bits per byte, on code</td><td>3.2500 ± 0.0200"));
  free(page);
  unlink(in("verdict.csv"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(runs_find_their_parts),
      cmocka_unit_test(laws_from_a_compute_on),
      cmocka_unit_test(differences_are_paired),
      cmocka_unit_test(page_has_every_part),
      cmocka_unit_test(verdict_is_shown_as_written),
  };
  return cmocka_run_group_tests(tests, setup, folder_remove);
}
