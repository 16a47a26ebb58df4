// verdict_file.c: forecasts as files. In: a Forecast. Out: DIR/forecast-PART.ini, and the same Forecast back from it.
// Invariant: a forecast is on disk before the plan holds the cells that it is about, and is never written again.
#include "verdict.h"
#include <stdlib.h>
#include <string.h>

static void forecast_path(const char *dir, const char *part, char path[1024]) {
  snprintf(path, 1024, "%.900s/forecast-%.31s.ini", dir, part);
}

// The numbers of a forecast in the order of the file.
enum { NUMBERS = 14 };
static const char *const keys[NUMBERS] = {"budget",   "n_opt",    "member",   "params",   "tokens", "loss",     "loss_p10",
                                          "loss_p90", "member4x", "params4x", "tokens4x", "loss4x", "loss4x_p10",
                                          "loss4x_p90"};
static void numbers_of(const Forecast *f, double v[NUMBERS]) {
  v[0] = f->budget, v[1] = f->n_opt;
  for (int k = 0; k < 2; k++) {
    const double each[] = {f->member[k], f->N[k], f->D[k], f->loss[k].value, f->loss[k].p10, f->loss[k].p90};
    memcpy(v + 2 + 6 * k, each, sizeof each);
  }
}

int forecast_write(const char *dir, const char *part, const Forecast *f, Err *e) {
  char path[1024];
  double v[NUMBERS];
  OutFile o;
  forecast_path(dir, part, path);
  if (out_open(&o, path, e)) return e->code;
  numbers_of(f, v);
  fputs("; Written before either model of the pair was trained. Loss: held-out, nats per byte, 10th and 90th percentile.\n"
        "[forecast]\n", o.f);
  for (int i = 0; i < NUMBERS; i++) {
    char number[32];
    config_print_number(number, sizeof number, v[i]);
    fprintf(o.f, "%s = %s\n", keys[i], number);
  }
  return out_commit(&o, e);
}

typedef struct Reading { double v[NUMBERS]; int seen; } Reading;

static int read_key(void *user, const char *section, const char *key, const char *value, const char *where, Err *e) {
  Reading *in = user;
  char *end;
  for (int i = 0; i < NUMBERS && !strcmp(section, "forecast"); i++) {
    if (strcmp(keys[i], key)) continue;
    in->v[i] = strtod(value, &end);
    in->seen |= 1 << i;
    return end != value && !*end ? OK : fail(e, E_RECORD, "%s: %s = %.60s: expected a number", where, key, value);
  }
  return fail(e, E_RECORD, "%s: [%.60s] %.60s is not part of a forecast", where, section, key);
}

int forecast_read(const char *dir, const char *part, Forecast *f, Err *e) {
  char path[1024], *text;
  size_t len;
  Reading in = {.seen = 0};
  forecast_path(dir, part, path);
  if (file_read(path, &text, &len, e)) return e->code;
  if (ini_each(text, path, E_RECORD, read_key, &in, e) == OK) {
    for (int i = 0; i < NUMBERS && e->code == OK; i++)
      if (!(in.seen >> i & 1)) fail(e, E_RECORD, "%s: damaged forecast: no %s", path, keys[i]);
    for (int k = 0; k < 2 && e->code == OK; k++) {
      const double *v = in.v + 2 + 6 * k;
      if (!(v[0] >= 0 && v[0] < 1000)) fail(e, E_RECORD, "%s: %s: expected a member of the family", path, keys[2 + 6 * k]);
      else f->member[k] = (int)v[0], f->N[k] = v[1], f->D[k] = v[2], f->loss[k] = (Interval){v[3], v[4], v[5]};
    }
    f->budget = in.v[0], f->n_opt = in.v[1];
  }
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
