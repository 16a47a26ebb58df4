// test_paper.c: the published numbers agree with each other and with our counter.
#include "paper.h"
#include "testing.h"

// Table A4 to the printed digit, and N to the digits of its name ("552M", "1.1B").
UNIT(six_ratios_to_the_printed_digit) {
  int n = 0;
  for (const PaperShape *s = paper_shapes; s->name; s++, n++) {
    char *unit;
    const double named = strtod(s->name, &unit) * (*unit == 'B' ? 1e9 : 1e6), N = paper_shape_params(s);
    assert_near(round(100 * paper_shape_ratio(s)) / 100, s->printed, 1e-9);
    assert_near(N / named, 1, *unit == 'B' ? .05 / strtod(s->name, NULL) : 1 / strtod(s->name, NULL));
    assert_int_equal(s->d_model % s->n_heads, 0);
  }
  assert_int_equal(n, 6);
}

// The surface gives the exponents of Table 2 and, rounded, the printed parameters.
UNIT(surface_is_the_published_one) {
  const Surface *s = &paper_surface;
  assert_near(log(s->A), 6.0073404, 1e-12);
  assert_near(log(s->B), 6.0179186, 1e-12);
  assert_near(log(s->E), .5267228, 1e-12);
  assert_near(s->E, 1.69, .005), assert_near(s->A, 406.4, .05), assert_near(s->B, 410.7, .05);
  assert_near(surface_a(s), paper_law("3")->a.value, .005);
  assert_near(surface_b(s), paper_law("3")->b.value, .005);
  assert_null(paper_law("4"));
}

// C = 6ND in Table 3, to the digits that are printed, and its slope is Approach 1's .50.
UNIT(table3_is_consistent) {
  int n = 0;
  const PaperOptimum *q = paper_table3;
  for (; q->N > 0; q++, n++) {
    assert_near(q->C / (6 * q->N * q->D), 1, q->D >= 1e12 && q->D < 1e13 ? .05 : .006);
    if (n) assert_true(q->N > q[-1].N && q->C > q[-1].C && q->D > q[-1].D);
  }
  assert_int_equal(n, 9);
  assert_near(log(q[-1].N / paper_table3[0].N) / log(q[-1].C / paper_table3[0].C), .50, .005);
}

// Kaplan's law crosses the paper's where both were measured, and its slope is .73.
UNIT(kaplan_is_steeper) {
  assert_near(log(kaplan_size(1e22) / kaplan_size(1e20)) / log(100), .73, 1e-9);
  assert_near(kaplan_size(8.64e19), 1.3e9, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(six_ratios_to_the_printed_digit),
      cmocka_unit_test(surface_is_the_published_one),
      cmocka_unit_test(table3_is_consistent),
      cmocka_unit_test(kaplan_is_steeper),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
