// test_import.c: other people's files: every layout that is promised, and one clear line for every other.
#include "fit.h"
#include "testing.h"

static int imported(const char *text, Records *rs, Curves *cs, Err *e) {
  write_text(in("runs.csv"), text);
  return import_read(in("runs.csv"), rs, cs, e);
}

// One row of N = 2e5, D = 5e6, C = 6e12, loss 2.5 in every layout.
UNIT(layouts) {
  static const char *const texts[] = {
      "N,D,loss\n2e5,5e6,2.5\n",
      "C,N,loss\n6e12,2e5,2.5\n",
      "c, d, LOSS\r\n6e12, 5e6, 2.5\r\n",
      "\xef\xbb\xbf"
      "budget,params,tokens,loss\n6e12,2e5,5e6,2.5\n\n",
      "\"note, with comma\",Parameters,Tokens,Final_Loss\n\"he said \"\"hi\"\"\",200000,5000000,2.5",
      "[{\"parameters\": 200000, \"compute_budget\": 6e12, \"final_loss\": 2.5, \"x\": null}]",
      "run_id,d_model,params_total,tokens,flops_exact,val_loss\nab,64,2e5,5e6,6e12,2.5\n",
  };
  for (int i = 0; i < COUNT(texts); i++) {
    Records rs;
    Curves cs;
    Err e;
    if (imported(texts[i], &rs, &cs, &e)) fail_msg("%s", e.msg);
    assert_int_equal(rs.n, 1);
    const Record *r = rs.r;
    assert_near(r->params.total, 2e5, 1e-6);
    assert_near(r->tokens, 5e6, 1e-5);
    assert_near(r->flops_per_token.exact * r->tokens / 6e12, 1, 1e-12);
    assert_near(r->val_loss, 2.5, 0);
    assert_near(r->cfg.budget, strstr(texts[i], "budget,") ? 6e12 : 0, 0);
    assert_int_equal(cs.c[0].n, 0);
    records_free(&rs), curves_free(&cs);
  }
}

UNIT(bad_files_are_one_line) {
  static const struct {
    const char *text, *says;
  } bad[] = {
      {"", "no rows"},
      {"N,D,loss\n", "no rows"},
      {"N,D\n1,2\n", "no column loss"},
      {"N,loss\n1,2\n", "two of the columns"},
      {"N,D,loss\n1e5,1e6,2\n1e5,x,2\n", "runs.csv:3: column D: expected a positive number, found 'x'"},
      {"N,D,loss\n1e5,1e6,-2\n", "runs.csv:2: column loss"},
      {"N,D,loss\n1e5,1e6,nan\n", "found 'nan'"},
      {"N,D,loss\n\n1e5,1e6\n", "runs.csv:3: 2 fields, expected 3"},
      {"[{\"parameters\": 1", "not JSON"},
      {"{\"parameters\": 1}", "array"},
      {"[3]", "element 1"},
      {"[{\"parameters\": 1e5, \"compute_budget\": \"big\", \"final_loss\": 2}]", "found 'big'"},
      {"[{\"parameters\": 1e5, \"final_loss\": 2}]", "two of the columns"},
      {"run,N,tokens,loss\nr,1e5,20,3\nr,1e5,10,2\n", "ascend"},
      {"run,N,D,loss\n0123456789012345678901234567890123456789012345678901234567890123,1e5,1e6,2\n", "longer than 63"},
      {"[{\"run\": null, \"N\": 1e5, \"D\": 1e6, \"loss\": 2}]", "column run: expected a name or a number"},
      {"N,D,loss\n1e5,1e6,2\r1e5,1e6,3\n", "5 fields, expected 3"},
  };
  for (int i = 0; i < COUNT(bad); i++) {
    Records rs;
    Curves cs;
    Err e;
    assert_refused(imported(bad[i].text, &rs, &cs, &e), &e, E_RECORD, bad[i].says);
  }
  Records rs;
  Curves cs;
  Err e;
  assert_refused(import_read("/nonexistent.csv", &rs, &cs, &e), &e, E_IO, "/nonexistent.csv");
  const char cut[] = "N,D,loss\n1e5,1e6,2\n\0001e5,2e6,2\n";
  write_file(in("runs.csv"), cut, sizeof cut - 1);
  assert_refused(import_read(in("runs.csv"), &rs, &cs, &e), &e, E_RECORD, "NUL byte");
}

// Found by fuzzing: jansson's message quotes what it could not read, and with it a line's end.
UNIT(a_quoted_line_end_does_not_break_the_message) {
  Records rs;
  Curves cs;
  Err e;
  assert_int_equal(imported("[{\"pa\\\n\x1b\": 1}]", &rs, &cs, &e), E_RECORD);
  for (const char *c = e.msg; *c; c++) assert_true((unsigned char)*c >= ' ' && *c != 127);
}

UNIT(curves_end_in_their_run) {
  Records rs;
  Curves cs;
  Err e;
  assert_int_equal(imported("run,N,tokens,flops,loss\na,1e5,1e5,6e10,4\nb,2e5,1e5,12e10,5\na,1e5,2e5,12e10,3\n"
                            "a,1e5,4e5,24e10,2.5\n",
                            &rs, &cs, &e),
                   OK);
  assert_int_equal(rs.n, 2);
  assert_near(rs.r[0].params.total, 2e5, 0);  // in the order in which they end
  assert_int_equal(cs.c[0].n, 0);
  assert_near(rs.r[1].val_loss, 2.5, 0);
  assert_near(rs.r[1].tokens, 4e5, 0);
  assert_int_equal(cs.c[1].n, 3);
  assert_near(cs.c[1].tokens[0], 1e5, 0);
  assert_near(cs.c[1].loss[1], 3, 0);
  records_free(&rs), curves_free(&cs);
}

// From N, D and loss alone: budgets are found, all approaches that need no curve run, files appear.
UNIT(whole_way) {
  static const Surface s = {1.2, 30, 50, .35, .33};
  Err e;
  FILE *f = fopen(in("runs.csv"), "w");
  fprintf(f, "N,D,loss\n");
  for (int i = 0; i < 35; i++) {
    double C = 1e11 * pow(4, i / 7), n = .06 * sqrt(C) * pow(4, (i % 7 - 3) / 3.), D = C / (6 * n);
    fprintf(f, "%.17g,%.17g,%.17g\n", n, D, surface_at(&s, n, D));
  }
  fclose(f);
  if (fit_imported(in("runs.csv"), in("out"), 0, NULL, &e)) fail_msg("%s", e.msg);
  char *text = slurp(in("out/fits.csv"));
  assert_near(number_at(text, "\n3,total/exact,alpha,", 0), .35, 1e-6);
  // The vertex is biased where alpha != beta.
  assert_near(number_at(text, "\n2,total/exact,a,", 0), surface_a(&s), .02);
  assert_null(strstr(text, "nonemb"));  // nothing is known of embeddings
  free(text);
  text = slurp(in("out/report.html"));
  assert_non_null(strstr(text, "imported from"));
  assert_null(strstr(text, "isoflop train"));
  assert_null(strstr(text, "nan"));
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(layouts),
      cmocka_unit_test(bad_files_are_one_line),
      cmocka_unit_test(a_quoted_line_end_does_not_break_the_message),
      cmocka_unit_test(curves_end_in_their_run),
      cmocka_unit_test(whole_way),
  };
  return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
