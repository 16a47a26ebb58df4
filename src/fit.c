// fit.c: from a study's records to its scaling laws: `isoflop fit DIR`.
//
// In: DIR/runs/*/run.ini. Out: DIR/fits.csv (every number at full precision), DIR/tables/budgets.csv and excluded.csv,
// and a short table on the terminal. The invariant: the same records give the same bytes. The estimators live in
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
    if (fabs(x) >= .9995 * units[i].unit) return snprintf(s, TEXT_SIZE, "%.3g%s", x / units[i].unit, units[i].name), s;
  return snprintf(s, TEXT_SIZE, isfinite(x) ? "%.3g" : "-", x), s;
}

// ---- Fitting ----------------------------------------------------------------------------------------

// Do the runs of every budget have the same compute as this convention counts it?
static bool points_level(const Points *ps) {
  for (int i = 0, j; i < ps->n; i = j) {
    double lo = INFINITY, hi = 0;
    for (j = i; j < ps->n && ps->p[j].budget == ps->p[i].budget; j++)
      if (ps->p[j].used && ps->p[j].budget >= 0) lo = fmin(lo, ps->p[j].C), hi = fmax(hi, ps->p[j].C);
    if (hi > 1.03 * lo) return false;
  }
  return true;
}

int study_fit(StudyFit *s, const Records *rs, Err *e) {
  size_t n = 0;
  while (conventions[n].name) n++;
  *s = (StudyFit){.records = rs, .a = mem_new(n * sizeof(Analysis), "fits", e)};
  if (!s->a) return e->code;
  for (size_t i = 0; i < n; i++) {
    Analysis *a = &s->a[s->n];
    if (points_make(&a->points, rs, &conventions[i], e)) goto failed;
    if (i > 0 && !points_level(&a->points)) {
      points_free(&a->points);
      continue;
    }
    s->n++;
    if (iso_fit(&a->iso, &a->points, &conventions[i], RESAMPLES, e)) goto failed;
  }
  return OK;
failed:
  study_free(s);
  return e->code;
}

void study_free(StudyFit *s) {
  for (int i = 0; i < s->n; i++) points_free(&s->a[i].points);
  free(s->a);
  *s = (StudyFit){0};
}

// ---- fits.csv ---------------------------------------------------------------------------------------

// NaN as an empty field: no CSV reader agrees on another spelling.
static void csv_number(FILE *f, double x) {
  if (isnan(x))
    fputc(',', f);
  else
    fprintf(f, ",%.17g", x);
}

static void csv_row(FILE *f, const char *approach, const Convention *cv, const char *quantity, Interval v) {
  if (isnan(v.value)) return;
  fprintf(f, "%s,%s,%s", approach, cv->name, quantity);
  csv_number(f, v.value), csv_number(f, v.p10), csv_number(f, v.p90);
  fputc('\n', f);
}

static void csv_plain(FILE *f, const char *approach, const Convention *cv, const char *quantity, double v) {
  csv_row(f, approach, cv, quantity, (Interval){v, NAN, NAN});
}

static void iso_write(FILE *f, const IsoFit *x) {
  csv_row(f, "2", x->cv, "a", x->n_law.exponent);
  csv_row(f, "2", x->cv, "b", x->d_law.exponent);
  csv_row(f, "2", x->cv, "k_N", x->n_law.k);
  csv_row(f, "2", x->cv, "k_D", x->d_law.k);
  csv_plain(f, "2", x->cv, "R2_N", x->n_law.r2);
  csv_plain(f, "2", x->cv, "R2_D", x->d_law.r2);
  for (int i = 0; i < x->n; i++) {
    const Valley *v = &x->v[i];
    const struct {
      const char *name;
      Interval v;
    } q[] = {
        {"N_opt", v->n_opt},
        {"D_opt", v->d_opt},
        {"loss", v->loss},
        {"tokens_per_param", v->ratio},
        {"R2", {v->r2, NAN, NAN}},
        {"residual_sd", {v->sd, NAN, NAN}},
        {"t_cubic", {v->t_cubic, NAN, NAN}},
        {"runs", {v->runs, NAN, NAN}},
        {"sizes", {v->sizes, NAN, NAN}},
        {"in_law", {v->flag == VALLEY_OK, NAN, NAN}},
    };
    for (size_t j = 0; j < sizeof q / sizeof *q; j++) {
      char name[64];
      snprintf(name, sizeof name, "%s@%s", q[j].name, text_budget(v->budget));
      csv_row(f, "2", x->cv, name, q[j].v);
    }
  }
}

static int budgets_write(const StudyFit *s, const char *dir, Err *e) {
  char path[1024];
  OutFile o;
  snprintf(path, sizeof path, "%s/tables/budgets.csv", dir);
  if (out_open(&o, path, e)) return e->code;
  fprintf(o.f, "convention,budget,runs,sizes,N_min,N_max,N_opt,N_opt_p10,N_opt_p90,D_opt,D_opt_p10,D_opt_p90,tokens_"
               "per_param,loss,loss_p10,"
               "loss_p90,R2,residual_sd,t_cubic,flag\n");
  for (int k = 0; k < s->n; k++)
    for (int i = 0; i < s->a[k].iso.n; i++) {
      const Valley *v = &s->a[k].iso.v[i];
      const double x[] = {v->lo,          v->hi,        v->n_opt.value, v->n_opt.p10,   v->n_opt.p90,
                          v->d_opt.value, v->d_opt.p10, v->d_opt.p90,   v->ratio.value, v->loss.value,
                          v->loss.p10,    v->loss.p90,  v->r2,          v->sd,          v->t_cubic};
      fprintf(o.f, "%s,%.17g,%d,%d", s->a[k].iso.cv->name, v->budget, v->runs, v->sizes);
      for (size_t j = 0; j < sizeof x / sizeof *x; j++) csv_number(o.f, x[j]);
      fprintf(o.f, ",%s\n", valley_flag_text[v->flag]);
    }
  return out_commit(&o, e);
}

// Reasons hold text from anywhere: quoted, quotes doubled, as RFC 4180 has it.
static void csv_quoted(FILE *f, const char *s) {
  fputc('"', f);
  for (; *s; s++) {
    if (*s == '"') fputc('"', f);
    fputc(*s == '\n' ? ' ' : *s, f);
  }
  fputc('"', f);
}

static int excluded_write(const StudyFit *s, const char *dir, Err *e) {
  char path[1024];
  OutFile o;
  snprintf(path, sizeof path, "%s/tables/excluded.csv", dir);
  if (out_open(&o, path, e)) return e->code;
  fprintf(o.f, "run_id,budget,params_total,used,why\n");
  const Points *ps = &s->a[0].points;
  for (int i = 0; i < ps->n; i++) {
    const Point *p = &ps->p[i];
    if (p->used && !p->repeats) continue;
    fprintf(o.f, "%s,%.17g,%.17g,%s,", p->run->id, p->run->cfg.budget, p->run->params.total, p->used ? "yes" : "no");
    csv_quoted(o.f, p->used ? "more than one epoch: the corpus repeats" : p->why_not);
    fputc('\n', o.f);
  }
  return out_commit(&o, e);
}

int study_write(const StudyFit *s, const char *dir, Err *e) {
  char path[1024];
  OutFile o;
  snprintf(path, sizeof path, "%s/tables", dir);
  if (dir_make(path, e)) return e->code;
  snprintf(path, sizeof path, "%s/fits.csv", dir);
  if (out_open(&o, path, e)) return e->code;
  fprintf(o.f, "approach,convention,quantity,value,p10,p90\n");
  for (int i = 0; i < s->n; i++) iso_write(o.f, &s->a[i].iso);
  const Points *ps = &s->a[0].points;
  csv_plain(o.f, "data", s->a[0].iso.cv, "seed_sd", ps->seed_sd);
  csv_plain(o.f, "data", s->a[0].iso.cv, "seed_cells", ps->seed_cells);
  if (out_commit(&o, e)) return e->code;
  return budgets_write(s, dir, e) ? e->code : excluded_write(s, dir, e);
}

// ---- The terminal -------------------------------------------------------------------------------------

static void law_print(FILE *f, const char *what, const PowerLaw *l, double paper) {
  fprintf(f, "  %s = %.3g C^%.3f   10-90 %%: %.3f to %.3f   (Hoffmann et al. 2022: %.2f)\n", what, l->k.value,
          l->exponent.value, l->exponent.p10, l->exponent.p90, paper);
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
  for (int i = 0, n = 0; i < a->points.n; i++)
    if (!a->points.p[i].used && n++ < 5)
      fprintf(f, "  excluded %s: %s\n", a->points.p[i].run->id, a->points.p[i].why_not);
  if (s->records->n_bad)
    fprintf(f, "  %d damaged record%s, first: %s\n", s->records->n_bad, s->records->n_bad > 1 ? "s" : "",
            s->records->first_bad);
}

int study_open(const char *dir, Records *rs, StudyFit *s, Err *e) {
  *e = (Err){0};
  if (records_load(dir, rs, e)) return e->code;
  if (!rs->n)
    fail(e, E_RECORD, "%s/runs: no run record found, expected <id>/run.ini%s%s", dir, rs->n_bad ? "; " : "",
         rs->first_bad);
  else
    study_fit(s, rs, e);
  if (e->code) records_free(rs);
  return e->code;
}

int fit_study(const char *dir, FILE *summary, Err *e) {
  Records rs;
  StudyFit s;
  if (study_open(dir, &rs, &s, e)) return e->code;
  if (!study_write(&s, dir, e) && summary) study_print(&s, summary);
  study_free(&s);
  records_free(&rs);
  return e->code;
}

// ---- Command --------------------------------------------------------------------------------------------

static const char fit_help[] = "Examples:\n"
                               "  isoflop fit runs/sweep            fit the finished runs of a study folder\n"
                               "\n"
                               "Usage: isoflop fit DIR\n"
                               "Reads DIR/runs/*/run.ini, writes DIR/fits.csv and DIR/tables/, prints the laws. Runs "
                               "that did not finish are left out and\n"
                               "listed in DIR/tables/excluded.csv. Fits whatever part of a study has been run.\n";

// One folder and nothing else, or --help. Shared by fit and report.
static int command_dir(int argc, char **argv, const char *help, const char **dir) {
  *dir = NULL;
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return fputs(help, stdout), OK;
    if (argv[i][0] == '-' || *dir) {
      fprintf(stderr, "isoflop: %s: unexpected argument '%s': see `isoflop %s --help`\n", argv[0], argv[i], argv[0]);
      return E_USAGE;
    }
    *dir = argv[i];
  }
  if (*dir) return OK;
  fprintf(stderr, "isoflop: %s: which study folder? Usage: isoflop %s DIR\n", argv[0], argv[0]);
  return E_USAGE;
}

static int command_run(int argc, char **argv, const char *help, int (*work)(const char *, FILE *, Err *)) {
  const char *dir;
  Err e = {0};
  int code = command_dir(argc, argv, help, &dir);
  if (code || !dir) return code;
  if (work(dir, stdout, &e)) fprintf(stderr, "isoflop: %s\n", e.msg);
  return e.code;
}

int fit_main(int argc, char **argv) { return command_run(argc, argv, fit_help, fit_study); }

static const char report_help[] =
    "Examples:\n"
    "  isoflop report runs/sweep         then open runs/sweep/report.html\n"
    "\n"
    "Usage: isoflop report DIR\n"
    "Fits as `isoflop fit DIR` does, then writes DIR/report.html (one file, works offline) and DIR/figures/ (SVG, PNG, "
    "and the CSV and\n"
    "gnuplot script behind each). Needs gnuplot; without it the fits are still written.\n";

int report_main(int argc, char **argv) { return command_run(argc, argv, report_help, report_study); }
