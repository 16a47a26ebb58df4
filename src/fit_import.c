// fit_import.c: other people's runs: `isoflop fit --import FILE --out DIR`.
//
// In: a CSV file with a header (names in any case and order, other columns ignored), or a JSON array of objects with
// the same names: two of N, D, C (the third by C = 6 N D) and the final loss; perhaps the budget a run belongs to;
// perhaps the run a row belongs to, and then the rows of a run are its curve. Out: records and curves as a study would
// have them, with what is not known left empty. The invariant: a row is used as it stands or refused by its line
// number; none is dropped or repaired.
#include "fit.h"
#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

// ---- Columns ------------------------------------------------------------------------------------------

enum { COL_N, COL_D, COL_C, COL_BUDGET, COL_LOSS, NUMBERS, COL_RUN = NUMBERS, COLUMNS };
// Names in order of preference.
static const char *const names[COLUMNS][8] = {
    [COL_N] = {"N", "params", "parameters", "params_total", "model_size", "model size"},
    [COL_D] = {"D", "tokens", "training_tokens", "training tokens"},
    [COL_C] = {"C", "flops", "compute", "compute_budget", "flops_exact", "training_flop", "training flop"},
    [COL_BUDGET] = {"budget"},
    [COL_LOSS] = {"loss", "final_loss", "val_loss"},
    [COL_RUN] = {"run", "run_id"},
};

typedef struct Row {
  double v[NUMBERS];  // NaN where there is no such column
  char run[64];
  int line;  // of the file, or number of the object
} Row;
typedef struct Rows {
  int n, room;
  Row *r;
} Rows;

static Row *row_new(Rows *rows, int line, Err *e) {
  if (rows->n == rows->room) {
    rows->room = rows->room ? 2 * rows->room : 256;
    Row *more = realloc(rows->r, sizeof(Row) * (size_t)rows->room);
    if (!more) return fail(e, E_MEMORY, "no memory for %d imported rows", rows->room), NULL;
    rows->r = more;
  }
  Row *r = &rows->r[rows->n++];
  *r = (Row){.line = line};
  for (int j = 0; j < NUMBERS; j++) r->v[j] = NAN;
  return r;
}

static int number_check(double v, const char *file, int line, const char *column, const char *text, Err *e) {
  if (v > 0 && isfinite(v)) return OK;
  return fail(e, E_RECORD, "%s:%d: column %s: expected a positive number, found '%.40s'", file, line, column, text);
}

static int run_name(Row *r, const char *name, const char *file, int line, Err *e) {
  if (strlen(name) >= sizeof r->run)
    return fail(e, E_RECORD, "%s:%d: run '%.20s...': longer than %zu characters", file, line, name, sizeof r->run - 1);
  memcpy(r->run, name, strlen(name) + 1);
  return OK;
}

static int columns_check(const int *have, const char *file, Err *e) {
  int sizes = (have[COL_N] >= 0) + (have[COL_D] >= 0) + (have[COL_C] >= 0 || have[COL_BUDGET] >= 0);
  if (have[COL_LOSS] < 0) return fail(e, E_RECORD, "%s: no column loss (or final_loss, val_loss)", file);
  if (sizes < 2)
    return fail(e, E_RECORD, "%s: expected two of the columns N (params), D (tokens), C (flops, budget)", file);
  return OK;
}

// ---- CSV (RFC 4180) -------------------------------------------------------------------------------------

// The next field of a line, in place: quotes taken off, spaces around it trimmed. *at moves on, to NULL after the last.
static char *field_next(char **at) {
  char *s = *at + strspn(*at, " \t"), *to = s, *start = s;
  if (*s == '"') {
    for (s++; *s && (*s != '"' || s[1] == '"'); s++) {
      if (*s == '"') s++;
      *to++ = *s;
    }
    s += strcspn(s, ",");
  } else {
    to = s += strcspn(s, ",");
    while (to > start && isspace((unsigned char)to[-1])) to--;
  }
  *at = *s ? s + 1 : NULL;
  *to = 0;
  return start;
}

enum { MAX_FIELDS = 256 };
static int csv_split(char *line, char *field[MAX_FIELDS]) {
  int n = 0;
  for (char *at = line; at && n < MAX_FIELDS;) field[n++] = field_next(&at);
  return n;
}

static int csv_read(Rows *rows, char *text, const char *file, Err *e) {
  int have[COLUMNS], line = 0, n = 0;
  char *header[MAX_FIELDS], *field[MAX_FIELDS], *next;
  for (char *s = text; s; s = next) {
    line++;
    next = strchr(s, '\n');
    if (next) *next++ = 0;
    if (*s && s[strlen(s) - 1] == '\r') s[strlen(s) - 1] = 0;
    if (!s[strspn(s, " \t")]) continue;
    int fields = csv_split(s, n ? field : header);
    if (!n) {
      n = fields;
      for (int j = 0; j < COLUMNS; j++) {
        have[j] = -1;
        for (int k = 0; names[j][k] && have[j] < 0; k++)
          for (int i = 0; i < n && have[j] < 0; i++)
            if (!strcasecmp(header[i], names[j][k])) have[j] = i;
      }
      if (columns_check(have, file, e)) return e->code;
      continue;
    }
    if (fields != n) return fail(e, E_RECORD, "%s:%d: %d fields, expected %d as in the header", file, line, fields, n);
    Row *r = row_new(rows, line, e);
    if (!r) return e->code;
    for (int j = 0; j < NUMBERS; j++) {
      if (have[j] < 0) continue;
      char *end, *value = field[have[j]];
      r->v[j] = strtod(value, &end);
      if (number_check(*end ? NAN : r->v[j], file, line, header[have[j]], value, e)) return e->code;
    }
    if (have[COL_RUN] >= 0 && run_name(r, field[have[COL_RUN]], file, line, e)) return e->code;
  }
  return rows->n ? OK : fail(e, E_RECORD, "%s: no rows, expected a header and a run a line", file);
}

// ---- JSON -------------------------------------------------------------------------------------------------

static int json_row(Rows *rows, json_t *object, const char *file, int number, Err *e) {
  int have[COLUMNS];
  Row *r = row_new(rows, number, e);
  if (!r) return e->code;
  for (int j = 0; j < COLUMNS; j++) {
    json_t *value = NULL;
    const char *key, *name = "";
    json_t *each;
    for (int k = 0; names[j][k] && !value; k++)
      json_object_foreach(object, key, each) if (!value && !strcasecmp(key, names[j][k])) value = each, name = key;
    have[j] = value ? 0 : -1;
    if (!value) continue;
    if (j < NUMBERS) {
      r->v[j] = json_is_number(value) ? json_number_value(value) : NAN;
      if (number_check(r->v[j], file, number, name, json_is_string(value) ? json_string_value(value) : "", e))
        return e->code;
    } else {
      char text[32];
      snprintf(text, sizeof text, "%.17g", json_number_value(value));
      if (!json_is_string(value) && !json_is_number(value))
        return fail(e, E_RECORD, "%s:%d: column %s: expected a name or a number", file, number, name);
      if (run_name(r, json_is_string(value) ? json_string_value(value) : text, file, number, e)) return e->code;
    }
  }
  return columns_check(have, file, e);
}

static int json_read(Rows *rows, const char *text, const char *file, Err *e) {
  json_error_t why;
  json_t *all = json_loads(text, 0, &why), *object;
  size_t i;
  if (!all) return fail(e, E_RECORD, "%s:%d: not JSON: %s", file, why.line, why.text);
  if (!json_is_array(all) || !json_array_size(all))
    fail(e, E_RECORD, "%s: expected an array of objects, one a run", file);
  else
    json_array_foreach(all, i, object) {
      if (!json_is_object(object))
        fail(e, E_RECORD, "%s: element %zu is no object", file, i + 1);
      else
        json_row(rows, object, file, (int)i + 1, e);
      if (e->code) break;
    }
  json_decref(all);
  return e->code;
}

// ---- Rows to runs -------------------------------------------------------------------------------------------

static int by_compute(const void *a, const void *b) {
  const Record *p = *(Record *const *)a, *q = *(Record *const *)b;
  double x = p->tokens * p->flops_per_token.exact, y = q->tokens * q->flops_per_token.exact;
  return x < y ? -1 : x > y ? 1 : (p > q) - (p < q);
}

// Without a column that says so, runs belong together whose compute is the same within 3 %, if their sizes are enough
// for a parabola.
static int budgets_find(Records *rs, Err *e) {
  Record **order = mem_new(sizeof *order * (size_t)rs->n, "imported runs", e);
  if (!order) return e->code;
  for (int i = 0; i < rs->n; i++) order[i] = &rs->r[i];
  qsort(order, (size_t)rs->n, sizeof *order, by_compute);
  for (int i = 0, j; i < rs->n; i = j) {
    double first = order[i]->tokens * order[i]->flops_per_token.exact, logc = 0;
    int sizes = 0;
    for (j = i; j < rs->n; j++) {
      double C = order[j]->tokens * order[j]->flops_per_token.exact;
      if (C > 1.03 * first) break;
      logc += log(C / first);
      bool seen = false;
      for (int k = i; k < j && !seen; k++) seen = order[k]->params.total == order[j]->params.total;
      sizes += !seen;
    }
    for (int k = i; k < j && sizes >= MIN_SIZES; k++) order[k]->cfg.budget = first * exp(logc / (j - i));
  }
  free(order);
  return OK;
}

static void record_fill(Record *r, const Row *row) {
  double N = row->v[COL_N], D = row->v[COL_D], C = isnan(row->v[COL_C]) ? row->v[COL_BUDGET] : row->v[COL_C];
  if (isnan(C)) C = 6 * N * D;
  if (isnan(D)) D = C / (6 * N);
  if (isnan(N)) N = C / (6 * D);
  double each = C / D;
  *r = (Record){.status = "finished",
                .params = {.total = N, .nonemb = N},
                .tokens = D,
                .val_loss = row->v[COL_LOSS],
                .flops_per_token = {each, each, each, each},
                .epochs = NAN,
                .val_loss_se = NAN,
                .train_loss = NAN,
                .val_floor = NAN,
                .floor_nats = NAN,
                .seconds = NAN};
  snprintf(r->id, sizeof r->id, "row%d", row->line);
  if (!isnan(row->v[COL_BUDGET])) r->cfg.budget = row->v[COL_BUDGET];
}

// The rows of a run, in the order of the file, are its curve, and its last row is the run. before[i]: the row of the
// same run before row i, or -1.
static int runs_make(Records *rs, Curves *cs, const Rows *rows, const char *file, Err *e) {
  int *before = mem_new(sizeof(int) * 2 * (size_t)rows->n, "imported runs", e), *last = before + rows->n;
  *rs = (Records){.r = mem_new(sizeof(Record) * (size_t)rows->n, "imported runs", e)};
  *cs = (Curves){.c = mem_new(sizeof(Curve) * (size_t)rows->n, "imported curves", e)};
  if (!before || !rs->r || !cs->c) goto done;
  for (int i = 0; i < rows->n; i++) {
    before[i] = -1, last[i] = 1;
    for (int j = i - 1; j >= 0 && before[i] < 0 && *rows->r[i].run; j--)
      if (!strcmp(rows->r[j].run, rows->r[i].run)) before[i] = j, last[j] = 0;
  }
  for (int i = 0; i < rows->n; i++) {
    if (!last[i]) continue;
    record_fill(&rs->r[rs->n], &rows->r[i]);
    Curve *c = &cs->c[rs->n++];
    cs->n = rs->n;
    int n = 0;
    for (int j = i; j >= 0; j = before[j]) n++;
    if (n < 2) continue;
    if (!(c->tokens = mem_new(sizeof(double) * 2 * (size_t)n, "imported curve", e))) goto done;
    c->n = n, c->loss = c->tokens + n;
    for (int j = i, k = n - 1; j >= 0; j = before[j], k--) {
      Record at;
      record_fill(&at, &rows->r[j]);
      c->tokens[k] = at.tokens, c->loss[k] = at.val_loss;
      if (k + 1 < n && !(c->tokens[k] < c->tokens[k + 1])) {
        fail(e, E_RECORD, "%s:%d: run %s: tokens must ascend along a curve", file, rows->r[j].line, rows->r[j].run);
        goto done;
      }
    }
  }
  bool given = false;
  for (int i = 0; i < rs->n; i++) given = given || rs->r[i].cfg.budget > 0;
  if (!given) budgets_find(rs, e);
done:
  free(before);
  if (!e->code) return OK;
  records_free(rs);
  curves_free(cs);
  return e->code;
}

int import_read(const char *file, Records *rs, Curves *cs, Err *e) {
  char *text;
  size_t len;
  Rows rows = {0};
  *rs = (Records){0}, *cs = (Curves){0}, *e = (Err){0};
  if (file_read(file, &text, &len, e)) return e->code;
  if (strlen(text) != len) {
    free(text);
    return fail(e, E_RECORD, "%s: not a text file (it holds a NUL byte)", file);
  }
  char *s = text + (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0);  // a byte order mark, as spreadsheets write
  char first = s[strspn(s, " \t\r\n")];
  if (first == '[' || first == '{' ? json_read(&rows, s, file, e) : csv_read(&rows, s, file, e)) goto done;
  runs_make(rs, cs, &rows, file, e);
done:
  free(rows.r);
  free(text);
  return e->code;
}
