// verdict_file.c: forecasts as files. In: a Forecast. Out: DIR/forecast-PART.ini, and the same Forecast back from it.
// Invariant: a forecast is on disk before the plan holds the cells that it is about, and is never written again.
#include "verdict.h"
#include <stdlib.h>
#include <string.h>

static void forecast_path(const char *dir, const char *part, char path[1024]) {
  snprintf(path, 1024, "%.900s/forecast-%.31s.ini", dir, part);
}

// What a file holds besides the two members, in its order.
typedef struct Field { const char *key; size_t offset; } Field;
#define AT(key, field) {key, offsetof(Forecast, field)}
#define INTERVAL(key, field) AT(key, field.value), AT(key "_p10", field.p10), AT(key "_p90", field.p90)
static const Field fields[] = {
    AT("budget", budget), AT("n_opt", n_opt), INTERVAL("n_opt_approach2", n_iso), INTERVAL("n_opt_approach3", n_surface),
    AT("params", N[0]), AT("tokens", D[0]), INTERVAL("loss", loss[0]),
    AT("params4x", N[1]), AT("tokens4x", D[1]), INTERVAL("loss4x", loss[1]),
    INTERVAL("gap", gap), AT("run_sd", run_sd), AT("misfit_sd", misfit_sd),
};
enum { FIELDS = sizeof fields / sizeof *fields };
static const char *const member_key[2] = {"member", "member4x"};

int forecast_write(const char *dir, const char *part, const Forecast *f, Err *e) {
  char path[1024], number[32];
  OutFile o;
  forecast_path(dir, part, path);
  if (out_open(&o, path, e)) return e->code;
  fputs("; Written before either model of the pair was trained. Loss: held-out, nats per byte, 10th and 90th percentile.\n"
        "[forecast]\n", o.f);
  for (int k = 0; k < 2; k++) fprintf(o.f, "%s = %d\n", member_key[k], f->member[k]);
  for (int i = 0; i < FIELDS; i++) {
    config_print_number(number, sizeof number, *(const double *)((const char *)f + fields[i].offset));
    fprintf(o.f, "%s = %s\n", fields[i].key, number);
  }
  return out_commit(&o, e);
}

typedef struct Reading { Forecast *f; uint64_t seen; } Reading;

static int read_key(void *user, const char *section, const char *key, const char *value, const char *where, Err *e) {
  Reading *in = user;
  char *end;
  const double v = strtod(value, &end);
  const bool ours = !strcmp(section, "forecast");
  if (ours && (end == value || *end)) return fail(e, E_RECORD, "%s: %s = %.60s: expected a number", where, key, value);
  for (int k = 0; k < 2 && ours; k++) {
    if (strcmp(member_key[k], key)) continue;
    if (!(v >= 0 && v < 1000)) return fail(e, E_RECORD, "%s: %s: expected a member of the family", where, key);
    in->f->member[k] = (int)v;
    in->seen |= 1ull << (FIELDS + k);
    return OK;
  }
  for (int i = 0; i < FIELDS && ours; i++) {
    if (strcmp(fields[i].key, key)) continue;
    *(double *)((char *)in->f + fields[i].offset) = v;
    in->seen |= 1ull << i;
    return OK;
  }
  return fail(e, E_RECORD, "%s: [%.60s] %.60s is not part of a forecast", where, section, key);
}

int forecast_read(const char *dir, const char *part, Forecast *f, Err *e) {
  char path[1024], *text;
  size_t len;
  Reading in = {f, 0};
  *f = (Forecast){0};
  forecast_path(dir, part, path);
  if (file_read(path, &text, &len, e)) return e->code;
  if (ini_each(text, path, E_RECORD, read_key, &in, e) == OK)
    for (int i = 0; i < FIELDS + 2 && e->code == OK; i++)
      if (!(in.seen >> i & 1))
        fail(e, E_RECORD, "%s: damaged forecast: no %s", path, i < FIELDS ? fields[i].key : member_key[i - FIELDS]);
  free(text);
  return e->code;
}

int verdict_pairs(const char *dir, Study *s, Err *e) {
  for (int i = 0; i < s->n; i++) {
    char path[1024];
    Forecast f;
    forecast_path(dir, s->part[i].name, path);
    if (strcmp(s->part[i].cfg.kind, "verdict") || !file_exists(path)) continue;
    if (forecast_read(dir, s->part[i].name, &f, e)) return e->code;
    for (int k = 0; k < 2; k++) s->part[i].pair[k] = f.member[k];
  }
  return OK;
}

int verdict_plan(Plan *p, const char *dir, Study *s, const Records *done, Err *e) {
  for (;;) {
    if (verdict_pairs(dir, s, e) || plan_make(p, s, done, e) || p->due < 0) return e->code;
    const int part = p->due;
    Forecast f;
    plan_free(p);
    if (verdict_forecast(&f, s, part, done, e) || forecast_write(dir, s->part[part].name, &f, e)) return e->code;
  }
}
