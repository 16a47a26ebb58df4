// fit.c: from a study's records to its scaling laws: `isoflop fit DIR`.
//
// In: DIR/runs/*/run.ini and curve.tsv. Out: every approach under every convention of counting, as files (fit_write.c)
// and as a short table on the terminal. The invariant: the same records give the same bytes. The estimators live in
// fit_*.c. Reference: Hoffmann et al. 2022, Training Compute-Optimal Large Language Models (arXiv 2203.15556),
// section 3.
#include "fit.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- Short names of numbers -----------------------------------------------------------------------

enum { TEXTS = 8, TEXT_SIZE = 32 };
static char *text_buffer(void) {
  static char text[TEXTS][TEXT_SIZE];
  static int at;
  return text[at++ % TEXTS];
}

const char *text_budget(double C) {
  char *s = text_buffer(), digits[TEXT_SIZE];
  snprintf(digits, sizeof digits, "%.4e", C);  // "4.0000e+11"
  char *exponent = strchr(digits, 'e');
  if (!exponent) return snprintf(s, TEXT_SIZE, "%g", C), s;
  *exponent = 0;
  snprintf(s, TEXT_SIZE, "%ge%d", atof(digits), atoi(exponent + 1));
  return s;
}

const char *text_count(double x) {
  static const struct {
    double unit;
    const char *name;
  } units[] = {{1e15, "P"}, {1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "k"}};
  char *s = text_buffer();
  for (size_t i = 0; i < sizeof units / sizeof *units; i++)
    // 999.6 would print as 1000 of the smaller unit
    if (isfinite(x) && fabs(x) >= .9995 * units[i].unit)
      return snprintf(s, TEXT_SIZE, "%.3g%s", x / units[i].unit, units[i].name), s;
  return snprintf(s, TEXT_SIZE, isfinite(x) ? "%.3g" : "-", x), s;
}

// ---- Fitting ----------------------------------------------------------------------------------------

static bool same_points(const Points *p, const Points *q, bool compute) {
  for (int i = 0; i < p->n; i++)
    if (p->p[i].run != q->p[i].run || p->p[i].used != q->p[i].used || p->p[i].N != q->p[i].N ||
        (compute && p->p[i].C != q->p[i].C))
      return false;
  return true;
}

// Where the surface's optimum is reported: at the budgets, or at nine computes where the runs have none.
static int frontier_computes(const Analysis *a, double *C) {
  int n = 0;
  for (int i = 0; i < a->iso.n; i++)
    if (a->iso.v[i].runs && !a->iso.v[i].below) C[n++] = a->iso.v[i].C;
  if (n >= 2) return n;
  double lo = INFINITY, hi = 0;
  for (int i = 0; i < a->points.n; i++)
    if (a->points.p[i].used) lo = fmin(lo, a->points.p[i].C), hi = fmax(hi, a->points.p[i].C);
  for (n = 0; n < 9 && hi > lo; n++) C[n] = lo * pow(hi / lo, n / 8.);
  return n;
}

int valleys_fit(IsoFit *f, const Points *ps, const SurfaceFit *level, const Convention *cv, int resamples, Err *e) {
  if (!level || !level->ok) return iso_fit(f, ps, cv, resamples, e);
  Points moved = *ps;
  const size_t size = sizeof(Point) * (size_t)moved.n;
  moved.p = mem_new(size + 1, "points of equal compute", e);
  if (!moved.p) return e->code;
  memcpy(moved.p, ps->p, size);
  points_to_level(&moved, &level->s);
  iso_fit(f, &moved, cv, resamples, e);
  free(moved.p);
  return e->code;
}

static int analysis_fit(Analysis *a, const StudyFit *s, const Convention *cv, Err *e) {
  // Counting FLOPs another way leaves N and D, and so the surface, as they are.
  const Analysis *same = NULL;
  for (const Analysis *b = s->a; b < a && !same; b++)
    if (same_points(&b->points, &a->points, false)) same = b;
  if (same)
    a->surface = same->surface, a->varpro = same->varpro;
  else if (surface_fit(&a->surface, &a->points, RESAMPLES, e))
    return e->code;
  else if (a->surface.ok && varpro_fit(&a->varpro, &a->points, e))
    return e->code;
  a->levelled = !points_level(&a->points) && a->surface.ok;
  if (valleys_fit(&a->iso, &a->points, a->levelled ? &a->surface : NULL, cv, RESAMPLES, e)) return e->code;
  double C[MAX_VALLEYS];
  const int n = frontier_computes(a, C);
  if (frontier_fit(&a->frontier, &a->surface, &a->points, n, C, e)) return e->code;
  a->noise = points_noise(&a->points, &a->iso, &a->surface);
  a->ranking = ranking_new(&a->points, s->records, &s->curves, e);
  if (e->code || envelope_fit(&a->envelope, &a->points, a->ranking, e)) return e->code;
  return envelope_bootstrap(&a->envelope, a->ranking, &a->points, &a->surface, &a->frontier, &a->noise, RESAMPLES, e);
}

int study_fit(StudyFit *s, const Records *rs, Curves *cs, Err *e) {
  size_t n = 0;
  while (conventions[n].name) n++;
  *e = (Err){0};
  *s = (StudyFit){.all = rs, .records = rs, .curves = *cs, .a = mem_new((n + 1) * sizeof(Analysis), "fits", e)};
  *cs = (Curves){0};
  for (size_t i = 0; i < n && s->a; i++) {
    Analysis *a = &s->a[s->n];
    if (points_make(&a->points, rs, &conventions[i], e)) break;
    bool seen = false;
    for (int j = 0; j < s->n && !seen; j++) seen = same_points(&s->a[j].points, &a->points, true);
    if (seen) {
      points_free(&a->points);
      continue;
    }
    s->n++;
    if (analysis_fit(a, s, &conventions[i], e)) break;
  }
  bool below = false;
  for (int i = 0; i < rs->n && e->code == OK; i++) below = below || s->a[0].points.p[i].below;
  if (below && points_make(&s->a[s->n].points, rs, &conventions[0], e) == OK) {
    s->whole = &s->a[s->n];
    points_admit(&s->whole->points);
    analysis_fit(s->whole, s, &conventions[0], e);
  }
  if (e->code) study_free(s);
  return e->code;
}

const Valley *analysis_lowest(const Analysis *a) {
  for (int i = 0; i < a->iso.n; i++)
    if (!a->iso.v[i].below) return &a->iso.v[i];
  return NULL;
}

void study_free(StudyFit *s) {
  for (int i = 0; i < s->n + (s->whole != NULL); i++) points_free(&s->a[i].points), ranking_free(s->a[i].ranking);
  free(s->a);
  curves_free(&s->curves);
  parts_free(&s->parts);
  if (s->all != s->records) {
    records_free((Records *)s->records);
    free((Records *)s->records);
  }
  *s = (StudyFit){0};
}

// ---- The terminal -------------------------------------------------------------------------------------

static void law_print(FILE *f, const char *what, const PowerLaw *l, double paper) {
  fprintf(f, "  %s = %.3g C^%.3f   10-90 %%: %.3f to %.3f   (Hoffmann et al. 2022: %.2f)\n", what, l->k.value,
          l->exponent.value, l->exponent.p10, l->exponent.p90, paper);
}

static void surface_print(FILE *f, const Analysis *a) {
  const SurfaceFit *x = &a->surface;
  fprintf(f, "Approach 3, surface through %d runs: L = %.6g + %.6g / N^%.6g + %.6g / D^%.6g\n", x->runs, x->s.E, x->s.A,
          x->s.alpha, x->s.B, x->s.beta);
  fprintf(f,
          "  converged: gradient %.1e, condition %.1e (centred %.1e), %d of %d starts agree, %d of them off the "
          "grid's edge\n",
          x->gradient, x->condition, x->condition_centred, x->agree, SURFACE_STARTS, x->agree_inside);
  fprintf(f, "  objective %.6g; of the mean, with SciPy's default stop: %.6g, a = %.3f\n", x->objective,
          x->early_objective, surface_a(&x->early));
  fprintf(f, "  variable projection: E %.6g, alpha %.6g, beta %.6g, a = %.3f\n", a->varpro.s.E, a->varpro.s.alpha,
          a->varpro.s.beta, surface_a(&a->varpro.s));
}

// Of one convention; all are in tables/conventions.csv and in the report.
static void exponents_print(FILE *f, const Analysis *a) {
  Exponents rows[MAX_EXPONENTS];
  const int n = analysis_exponents(a, rows);
  for (int j = 0; j < n; j++)
    fprintf(f, "  a %6.3f (%.3f to %.3f)  b %6.3f (%.3f to %.3f)  %s\n", rows[j].a.value, rows[j].a.p10, rows[j].a.p90,
            rows[j].b.value, rows[j].b.p10, rows[j].b.p90, rows[j].title);
}

// What the runs below from_flops would change.
static void whole_print(FILE *f, const StudyFit *s) {
  if (!s->whole) return;
  int below = 0;
  for (int i = 0; i < s->a[0].points.n; i++) below += s->a[0].points.p[i].below;
  fprintf(f, "Beside: %d runs below from_flops = %s are left out of all that. With them:\n", below,
          text_budget(s->parts.laws.from_flops));
  exponents_print(f, s->whole);
  if (s->whole->surface.ok && s->a[0].surface.ok)
    fprintf(f, "  runs about the surface: %.4f nats (sd), without them %.4f\n",
            surface_sd(&s->whole->surface, &s->whole->points), surface_sd(&s->a[0].surface, &s->a[0].points));
}

static void selftest_print(FILE *f, const SelfTest *t) {
  static const char *const approach[] = {"1", "2", "3-frontier", "3"};
  if (!t->draws) return;
  fprintf(f, "Self-test: %d studies drawn from the surface, on the same runs; noise sd %.4f nats a run, %.4f a cell\n",
          t->draws, t->run_sd, t->cell_sd);
  if (selftest_misfit(t))
    fprintf(f, "  the runs lie %.4f (sd) about the surface, beyond that noise: its own misfit is not in this test\n",
            t->surface_sd);
  for (size_t i = 0; i < sizeof approach / sizeof *approach; i++) {
    const SelfTestRow *r = selftest_row(t, approach[i], "a");
    if (!r) continue;
    fprintf(f, "  a of %-10s true %.3f, bias %+.3f, the 80 %% interval holds it in %.0f %% (%.0f to %.0f) of %d\n",
            approach[i], r->truth, r->bias.value, 100 * r->coverage.value, 100 * r->coverage.p10, 100 * r->coverage.p90,
            r->draws);
  }
}

void study_print(const StudyFit *s, FILE *f) {
  const Analysis *a = &s->a[0];
  int used = 0, repeats = 0;
  for (int i = 0; i < a->points.n; i++)
    used += a->points.p[i].used, repeats += a->points.p[i].used && a->points.p[i].repeats;
  fprintf(f, "Approach 2, IsoFLOP profiles (%s): %d of %d runs used", a->iso.cv->title, used, a->points.n);
  if (repeats) fprintf(f, ", %d of them over one epoch", repeats);
  fprintf(f, "\n  budget  runs sizes   N_opt  (10-90 %%)          D_opt  tok/par    loss     R2     sd  t_cubic\n");
  for (int i = 0; i < a->iso.n; i++) {
    const Valley *v = &a->iso.v[i];
    fprintf(f, "%8s  %4d %5d", text_budget(v->budget), v->runs, v->sizes);
    if (isfinite(v->n_opt.value)) {
      char span[48];
      snprintf(span, sizeof span, "(%s-%s)", text_count(v->n_opt.p10), text_count(v->n_opt.p90));
      fprintf(f, "  %6s  %-16s  %6s  %7.1f  %6.4f  %5.3f  %5.4f  %+5.1f", text_count(v->n_opt.value), span,
              text_count(v->d_opt.value), v->ratio.value, v->loss.value, v->r2, v->sd, v->t_cubic);
    }
    fprintf(f, "%s%s\n", v->flag ? "  left out: " : "", valley_flag_text[v->flag]);
  }
  if (a->iso.law) {
    law_print(f, "N_opt", &a->iso.n_law, .49);
    law_print(f, "D_opt", &a->iso.d_law, .51);
  } else {
    fprintf(f, "  no power law: it needs at least two budgets whose minimum lies inside the sampled sizes\n");
  }
  if (a->points.seed_cells)
    fprintf(f, "  seed noise: sd %.4f nats (%d cells with two seeds or more)\n", a->points.seed_sd,
            a->points.seed_cells);
  if (a->surface.ok) surface_print(f, a);
  fprintf(f, "Exponents (%s)\n", a->iso.cv->title);
  exponents_print(f, a);
  selftest_print(f, &s->selftest);
  whole_print(f, s);
  for (int i = 0, n = 0; i < a->points.n; i++)
    if (!a->points.p[i].used && !a->points.p[i].below && n++ < 5)
      fprintf(f, "  excluded %s: %s\n", a->points.p[i].run->id, a->points.p[i].why_not);
  if (s->records->n_bad)
    fprintf(f, "  %d damaged record%s, first: %s\n", s->records->n_bad, s->records->n_bad > 1 ? "s" : "",
            s->records->first_bad);
}

int study_open(const char *dir, Records *rs, StudyFit *s, Err *e) {
  Curves cs;
  Parts parts = {0};
  Records *laws = NULL;
  *e = (Err){0}, *s = (StudyFit){0};
  if (records_load(dir, rs, e)) return e->code;
  if (!rs->n)
    fail(e, E_RECORD, "%s/runs: no run record found, expected <id>/run.ini%s%s", dir, rs->n_bad ? "; " : "",
         rs->first_bad);
  else if ((laws = mem_new(sizeof *laws, "records", e)) && !parts_open(&parts, dir, rs, e) &&
           !parts_main(laws, &parts, rs, e) && !curves_load(&cs, dir, laws, e) && !study_fit(s, laws, &cs, e)) {
    s->all = rs, s->parts = parts;
    return OK;
  }
  parts_free(&parts);
  if (laws) records_free(laws);
  free(laws);
  records_free(rs);
  return e->code;
}

int fit_study(const char *dir, int draws, FILE *summary, Err *e) {
  Records rs;
  StudyFit s;
  if (study_open(dir, &rs, &s, e)) return e->code;
  if (!selftest_run(&s.selftest, &s.a[0], NULL, draws, e) && !study_write(&s, dir, e) && summary) study_print(&s, summary);
  study_free(&s);
  records_free(&rs);
  return e->code;
}

// ---- Command --------------------------------------------------------------------------------------------

static const char fit_help[] =
    "Examples:\n"
    "  isoflop fit runs/sweep                        fit the finished runs of a study folder\n"
    "  isoflop fit --import their.csv --out theirs   fit runs that others made, with figures and report\n"
    "\n"
    "Usage: isoflop fit [--selftest DRAWS] DIR\n"
    "       isoflop fit [--selftest DRAWS] --import FILE --out DIR\n"
    "Reads DIR/runs/*/run.ini and curve.tsv, writes DIR/fits.csv and DIR/tables/, prints the laws: training-curve\n"
    "envelope (1), parabolas (2) and surface (3) under every convention of counting. Runs that did not finish are "
    "left\n"
    "out and listed in DIR/tables/excluded.csv. Fits whatever part of a study has been run.\n"
    "--selftest DRAWS (default 200, 0 for none) draws that many studies from the fitted surface, on the same runs "
    "with\n"
    "the same noise, fits them, and says how far the estimates are off and how often their intervals hold the truth.\n"
    "FILE is a CSV with a header, or a JSON array of objects: final loss (loss, final_loss), two of N (params,\n"
    "parameters), D (tokens) and C (flops, compute, compute_budget, budget), the third by C = 6ND. With a column run,\n"
    "rows of one run are its curve, in order of tokens, and its last row is its end. Without a column budget, runs of five\n"
    "sizes or more within 3 % of one compute make one. Other columns are ignored.\n";

typedef struct Args {
  const char *dir, *import;
  int draws;
  double peak;
} Args;

// A folder and options, in any order. `import` also takes --import FILE --out DIR. Shared by fit and report.
static int args_parse(Args *a, int argc, char **argv, bool import, Err *e) {
  const char *out = NULL;
  double draws = SELFTEST_DRAWS;
  *a = (Args){0};
  for (int i = 1; i < argc; i++) {
    const char *s = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (!strcmp(s, "--selftest") && value) {
      if (!number_parse(value, true, 0, SELFTEST_MAX, &draws))
        return fail(e, E_USAGE, "%s: --selftest: expected 0 to %d draws, not '%s'", argv[0], SELFTEST_MAX, value);
      i++;
    } else if (!import && value && !strcmp(s, "--peak")) {
      if (!number_parse(value, false, 0.001, 1e6, &a->peak))
        return fail(e, E_USAGE, "%s: --peak: expected GFLOP/s, .001 to 1e6, not '%s'", argv[0], value);
      i++;
    } else if (import && value && !strcmp(s, "--import")) {
      a->import = value, i++;
    } else if (import && value && !strcmp(s, "--out")) {
      out = value, i++;
    } else if (s[0] == '-' || a->dir) {
      return fail(e, E_USAGE, "%s: unexpected or unfinished argument '%s': see `isoflop %s --help`", argv[0], s, argv[0]);
    } else {
      a->dir = s;
    }
  }
  const bool whole = a->import ? out && !a->dir : a->dir && !out;
  if (a->import) a->dir = out;
  a->draws = (int)draws;
  return whole ? OK : fail(e, E_USAGE, "%s: which study folder? Usage: isoflop %s DIR%s", argv[0], argv[0],
                           import ? ", or isoflop fit --import FILE --out DIR" : "");
}

static bool help_wanted(int argc, char **argv, const char *help) {
  for (int i = 1; i < argc; i++)
    if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return fputs(help, stdout), true;
  return false;
}

int fit_main(int argc, char **argv) {
  Args a;
  Err e = {0};
  if (help_wanted(argc, argv, fit_help)) return OK;
  if (args_parse(&a, argc, argv, true, &e)) return finish(e.code, &e);
  return finish(a.import ? fit_imported(a.import, a.dir, a.draws, stdout, &e) : fit_study(a.dir, a.draws, stdout, &e), &e);
}

static const char report_help[] =
    "Examples:\n"
    "  isoflop report runs/sweep         then open runs/sweep/report.html\n"
    "\n"
    "Usage: isoflop report [--selftest DRAWS] [--peak GFLOPS] DIR\n"
    "Fits as `isoflop fit DIR` does, then writes DIR/report.html (one file, works offline) and DIR/figures/ (SVG, PNG, "
    "and the CSV and\n"
    "gnuplot script behind each). Needs gnuplot; without it the fits are still written. --peak: multiply-adds of one core "
    "as\n"
    "`isoflop bench gemm` prints them; the page then says the study's share of it.\n";

int report_main(int argc, char **argv) {
  Args a;
  Err e = {0};
  if (help_wanted(argc, argv, report_help)) return OK;
  if (args_parse(&a, argc, argv, false, &e)) return finish(e.code, &e);
  return finish(report_study(a.dir, a.draws, a.peak, stdout, &e), &e);
}
