// fit_write.c: what the fits leave on disk: fits.csv and the tables.
//
// In: a fitted study. Out: DIR/fits.csv (approach, convention, quantity, value, p10, p90; every number at full
// precision, since an exponent rounded to two digits moves the optimal horizon by tens of percent), and in DIR/tables
// budgets.csv (a valley a line), conventions.csv (the exponents under every way of counting), all_budgets.csv (those with
// what from_flops leaves out) and excluded.csv. The
// invariant: the same records give the same bytes.
#include "fit.h"
#include <math.h>
#include <string.h>

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

static void law_write(FILE *f, const char *approach, const Convention *cv, const PowerLaw *n, const PowerLaw *d) {
  csv_row(f, approach, cv, "a", n->exponent);
  csv_row(f, approach, cv, "b", d->exponent);
  csv_row(f, approach, cv, "k_N", n->k);
  csv_row(f, approach, cv, "k_D", d->k);
  csv_plain(f, approach, cv, "R2_N", n->r2);
  csv_plain(f, approach, cv, "R2_D", d->r2);
}

static void iso_write(FILE *f, const IsoFit *x) {
  law_write(f, "2", x->cv, &x->n_law, &x->d_law);
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

static void envelope_write(FILE *f, const Envelope *x, const Convention *cv) {
  if (x->ok) law_write(f, "1", cv, &x->n_law, &x->d_law);
  if (x->runs) {
    csv_plain(f, "1", cv, "runs", x->runs);
    csv_plain(f, "1", cv, "points_used", x->count[ENVELOPE_USED]);
    csv_plain(f, "1", cv, "points_early", x->count[ENVELOPE_EARLY]);
    csv_plain(f, "1", cv, "points_edge", x->count[ENVELOPE_EDGE]);
  }
}

static void surface_write(FILE *f, const Analysis *a, const Convention *cv) {
  const SurfaceFit *x = &a->surface;
  if (!x->ok) return;
  for (int i = 0; i < SURFACE_QUANTITIES; i++)
    csv_row(f, "3", cv, surface_quantities[i].name, surface_interval(x, surface_quantities[i].of));
  const struct {
    const char *name;
    double v;
  } proof[] = {{"objective", x->objective},
               {"gradient", x->gradient},
               {"condition", x->condition},
               {"condition_centred", x->condition_centred},
               {"starts", SURFACE_STARTS},
               {"starts_agree", x->agree},
               {"starts_agree_inside", x->agree_inside},
               {"early_objective", x->early_objective},
               {"early_E", x->early.E},
               {"early_alpha", x->early.alpha},
               {"early_beta", x->early.beta},
               {"early_a", surface_a(&x->early)},
               {"runs", x->runs}};
  for (size_t i = 0; i < sizeof proof / sizeof *proof; i++) csv_plain(f, "3", cv, proof[i].name, proof[i].v);
  for (int i = 0; i < SURFACE_QUANTITIES; i++)
    csv_plain(f, "3-varpro", cv, surface_quantities[i].name, surface_quantities[i].of(&a->varpro.s));
  csv_plain(f, "3-varpro", cv, "rms", a->varpro.rms);
  const Frontier *q = &a->frontier;
  if (q->law) law_write(f, "3-frontier", cv, &q->n_law, &q->d_law);
  for (int i = 0; i < q->n && q->ok; i++) {
    char name[64];
    snprintf(name, sizeof name, "N_opt@%s", text_budget(q->C[i]));
    csv_row(f, "3-frontier", cv, name, q->N[i]);
    snprintf(name, sizeof name, "D_opt@%s", text_budget(q->C[i]));
    csv_row(f, "3-frontier", cv, name, q->D[i]);
  }
}

int analysis_exponents(const Analysis *a, Exponents rows[MAX_EXPONENTS]) {
  int n = 0;
  if (a->envelope.ok)
    rows[n++] = (Exponents){"1", "1 envelope", a->envelope.n_law.exponent, a->envelope.d_law.exponent};
  if (a->iso.law)
    rows[n++] = (Exponents){"2", a->levelled ? "2 IsoFLOP, moved to equal compute" : "2 IsoFLOP", a->iso.n_law.exponent,
                            a->iso.d_law.exponent};
  if (a->frontier.law)
    rows[n++] = (Exponents){"3-frontier", "3 surface, its optima at the budgets", a->frontier.n_law.exponent,
                            a->frontier.d_law.exponent};
  if (a->surface.ok)
    rows[n++] = (Exponents){"3", "3 surface, β/(α+β)", surface_interval(&a->surface, surface_a),
                            surface_interval(&a->surface, surface_b)};
  return n;
}

static int conventions_write(const StudyFit *s, const char *dir, Err *e) {
  char path[1024];
  OutFile o;
  snprintf(path, sizeof path, "%s/tables/conventions.csv", dir);
  if (out_open(&o, path, e)) return e->code;
  fprintf(o.f, "convention,approach,a,a_p10,a_p90,b,b_p10,b_p90,moved_to_equal_compute\n");
  for (int k = 0; k < s->n; k++) {
    Exponents rows[MAX_EXPONENTS];
    int n = analysis_exponents(&s->a[k], rows);
    for (int i = 0; i < n; i++) {
      const double x[] = {rows[i].a.value, rows[i].a.p10, rows[i].a.p90, rows[i].b.value, rows[i].b.p10, rows[i].b.p90};
      fprintf(o.f, "%s,%s", s->a[k].iso.cv->name, rows[i].approach);
      for (size_t j = 0; j < sizeof x / sizeof *x; j++) csv_number(o.f, x[j]);
      fprintf(o.f, ",%s\n", s->a[k].levelled && !strcmp(rows[i].approach, "2") ? "yes" : "no");
    }
  }
  return out_commit(&o, e);
}

// The exponents beside those with the runs below from_flops.
static int whole_write(const StudyFit *s, const char *dir, Err *e) {
  char path[1024];
  OutFile o;
  if (!s->whole) return OK;
  snprintf(path, sizeof path, "%s/tables/all_budgets.csv", dir);
  if (out_open(&o, path, e)) return e->code;
  fprintf(o.f, "runs,approach,a,a_p10,a_p90,b,b_p10,b_p90\n");
  for (int k = 0; k < 2; k++) {
    Exponents rows[MAX_EXPONENTS];
    const int n = analysis_exponents(k ? s->whole : &s->a[0], rows);
    for (int i = 0; i < n; i++) {
      const double x[] = {rows[i].a.value, rows[i].a.p10, rows[i].a.p90, rows[i].b.value, rows[i].b.p10, rows[i].b.p90};
      fprintf(o.f, "%s,%s", k ? "all" : "from_flops", rows[i].approach);
      for (size_t j = 0; j < sizeof x / sizeof *x; j++) csv_number(o.f, x[j]);
      fputc('\n', o.f);
    }
  }
  return out_commit(&o, e);
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

static void selftest_write(FILE *f, const SelfTest *t, const Convention *cv) {
  if (!t->draws) return;
  for (int i = 0; i < t->rows; i++) {
    const SelfTestRow *r = &t->row[i];
    char name[80];
    snprintf(name, sizeof name, "selftest_bias_%s", r->quantity);
    csv_row(f, r->approach, cv, name, r->bias);
    snprintf(name, sizeof name, "selftest_coverage_%s", r->quantity);
    csv_row(f, r->approach, cv, name, r->coverage);
  }
  csv_plain(f, "data", cv, "selftest_draws", t->draws);
  csv_plain(f, "data", cv, "selftest_run_sd", t->run_sd);
  csv_plain(f, "data", cv, "selftest_cell_sd", t->cell_sd);
  csv_plain(f, "data", cv, "surface_residual_sd", t->surface_sd);
}

bool study_floors(const StudyFit *s, Floors *f) {
  const Record *first = NULL;
  for (int i = 0; i < s->a[0].points.n; i++) {
    const Point *p = &s->a[0].points.p[i];
    if (!p->used) continue;
    if (!first) first = p->run;
    if (!(p->run->floor_nats == first->floor_nats && p->run->val_floor == first->val_floor)) return false;
  }
  if (!first) return false;
  *f = (Floors){first->floor_nats, first->val_floor};
  return true;
}

int study_write(const StudyFit *s, const char *dir, Err *e) {
  char path[1024];
  OutFile o;
  snprintf(path, sizeof path, "%s/tables", dir);
  if (dir_make(path, e)) return e->code;
  out_clear(path), out_clear(dir);
  snprintf(path, sizeof path, "%s/fits.csv", dir);
  if (out_open(&o, path, e)) return e->code;
  fprintf(o.f, "approach,convention,quantity,value,p10,p90\n");
  for (int i = 0; i < s->n; i++) {
    const Analysis *a = &s->a[i];
    envelope_write(o.f, &a->envelope, a->iso.cv);
    iso_write(o.f, &a->iso);
    surface_write(o.f, a, a->iso.cv);
  }
  selftest_write(o.f, &s->selftest, s->a[0].iso.cv);
  const Points *ps = &s->a[0].points;
  csv_plain(o.f, "data", s->a[0].iso.cv, "seed_sd", ps->seed_sd);
  csv_plain(o.f, "data", s->a[0].iso.cv, "seed_cells", ps->seed_cells);
  Floors floors;
  if (study_floors(s, &floors)) {
    csv_plain(o.f, "data", s->a[0].iso.cv, "floor_nats", floors.source);
    csv_plain(o.f, "data", s->a[0].iso.cv, "val_floor", floors.held_out);
  }
  if (out_commit(&o, e)) return e->code;
  return whole_write(s, dir, e) || budgets_write(s, dir, e) || conventions_write(s, dir, e) ? e->code : excluded_write(s, dir, e);
}
