// record.c: runs as files. In: a Record. Out: run.ini, and the same Record back from it, bit for bit; runs.csv for
// all.
// Invariant: a run.ini that reads without error is exactly what some record_write wrote: a checksum ends it. Tables
// that span runs are derived from these files and can be rebuilt at any time.
#include "record.h"
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

// ---- The fields behind the config, as one table -----------------------------------------------------

typedef enum { TEXT, NUMBER, COUNT } FieldType;
typedef struct Field { const char *section, *key; FieldType type; size_t offset, size; } Field;

#define FIELD(section, key, type, f) {section, key, type, offsetof(Record, f), sizeof((Record *)0)->f}
static const Field fields[] = {
  FIELD("provenance", "run_id", TEXT, id),
  FIELD("provenance", "version", TEXT, version),
  FIELD("provenance", "commit", TEXT, commit),
  FIELD("provenance", "compiler", TEXT, compiler),
  FIELD("provenance", "libc", TEXT, libc),
  FIELD("provenance", "cpu", TEXT, cpu),
  FIELD("provenance", "kernels", TEXT, kernels),
  FIELD("provenance", "run_threads", COUNT, threads),
  FIELD("provenance", "corpus_name", TEXT, corpus_name),
  FIELD("provenance", "corpus_hash", TEXT, corpus_hash),
  FIELD("provenance", "config_hash", TEXT, config_hash),
  FIELD("provenance", "floor_nats", NUMBER, floor_nats),
  FIELD("result", "status", TEXT, status),
  FIELD("result", "reason", TEXT, reason),
  FIELD("result", "params_total", NUMBER, params.total),
  FIELD("result", "params_nonemb", NUMBER, params.nonemb),
  FIELD("result", "params_embed", NUMBER, params.embed),
  FIELD("result", "params_head", NUMBER, params.head),
  FIELD("result", "params_attn", NUMBER, params.attn),
  FIELD("result", "params_ffn", NUMBER, params.ffn),
  FIELD("result", "params_norm", NUMBER, params.norm),
  FIELD("result", "flops_per_token_exact", NUMBER, flops_per_token.exact),
  FIELD("result", "flops_per_token_nohead", NUMBER, flops_per_token.nohead),
  FIELD("result", "flops_per_token_6n", NUMBER, flops_per_token.sixn),
  FIELD("result", "flops_per_token_6n_nonemb", NUMBER, flops_per_token.sixn_nonemb),
  FIELD("result", "tokens_trained", NUMBER, tokens),
  FIELD("result", "steps", COUNT, steps),
  FIELD("result", "epochs", NUMBER, epochs),
  FIELD("result", "val_loss", NUMBER, val_loss),
  FIELD("result", "val_loss_se", NUMBER, val_loss_se),
  FIELD("result", "val_floor", NUMBER, val_floor),
  FIELD("result", "train_loss", NUMBER, train_loss),
  FIELD("result", "seconds", NUMBER, seconds),
};
enum { N_FIELDS = sizeof fields / sizeof *fields };

// ---- Writing ----------------------------------------------------------------------------------------

// A value must stay on its line, and a semicolon after a space would begin a comment.
static void print_text(FILE *f, const char *s) {
  for (; *s; s++) fputc((unsigned char)*s < ' ' ? ' ' : *s == ';' ? ',' : *s, f);
}

static void print_record(FILE *f, const Record *r) {
  config_dump(&r->cfg, "model train eval", f);
  const char *section = "";
  for (const Field *d = fields; d < fields + N_FIELDS; d++) {
    if (strcmp(section, d->section)) fprintf(f, "\n[%s]\n", d->section);
    section = d->section;
    const void *p = (const char *)r + d->offset;
    char number[32];
    fprintf(f, "%s = ", d->key);
    if (d->type == TEXT) print_text(f, p);
    else if (d->type == COUNT) fprintf(f, "%d", *(const int *)p);
    else config_print_number(number, sizeof number, *(const double *)p), fputs(number, f);
    fputc('\n', f);
  }
}

#define CHECK_FORMAT "check = %08lx\n"

int record_write(const char *path, const Record *r, Err *e) {
  *e = (Err){0};
  char *text;
  size_t len = 0;
  FILE *f = text_open(&text, &len, e);
  if (f) print_record(f, r);
  if (!f || text_close(f, e)) {
    free(text);
    return fail(e, E_MEMORY, "%s: no memory for a record", path);
  }
  OutFile o;
  if (out_open(&o, path, e) == OK) {
    fwrite(text, 1, len, o.f);
    fprintf(o.f, CHECK_FORMAT, crc32(0, (const unsigned char *)text, (uInt)len));
    out_commit(&o, e);
  }
  free(text);
  return e->code;
}

// ---- Reading ----------------------------------------------------------------------------------------

typedef struct Reading { Record *r; uint64_t seen; } Reading;

static int read_field(Reading *in, const Field *d, const char *value, const char *where, Err *e) {
  void *p = (char *)in->r + d->offset;
  char *end;
  errno = 0;
  if (d->type == TEXT) {
    if (strlen(value) >= d->size) return fail(e, E_RECORD, "%s: %s is too long", where, d->key);
    strcpy(p, value);
  } else if (d->type == COUNT) {
    long v = strtol(value, &end, 10);
    if (end == value || *end || v < 0 || v > INT_MAX)
      return fail(e, E_RECORD, "%s: %s = %.80s: expected a count", where, d->key, value);
    *(int *)p = (int)v;
  } else {
    *(double *)p = strtod(value, &end);
    if (end == value || *end) return fail(e, E_RECORD, "%s: %s = %.80s: expected a number", where, d->key, value);
  }
  in->seen |= 1ull << (d - fields);
  return OK;
}

static int read_key(void *user, const char *section, const char *key, const char *value, const char *where, Err *e) {
  Reading *in = user;
  if (!strcmp(section, "model") || !strcmp(section, "train") || !strcmp(section, "eval")) {
    if (config_set_key(&in->r->cfg, section, key, value, where, e)) e->code = E_RECORD;
    return e->code;
  }
  for (const Field *d = fields; d < fields + N_FIELDS; d++)
    if (!strcmp(d->key, key) && !strcmp(d->section, section)) return read_field(in, d, value, where, e);
  if (!strcmp(key, "check")) return OK;
  return fail(e, E_RECORD, "%s: [%.60s] %.60s is not part of a record", where, section, key);
}

int record_read(const char *path, Record *r, Err *e) {
  static_assert(N_FIELDS <= 64, "Reading.seen has a bit for each field");
  *e = (Err){0};
  *r = (Record){0};
  config_defaults(&r->cfg);
  char *text;
  size_t len;
  if (file_read(path, &text, &len, e)) return e->code;

  char check[32];
  const size_t tail = (size_t)snprintf(check, sizeof check, CHECK_FORMAT, 0ul);
  if (len > tail) snprintf(check, sizeof check, CHECK_FORMAT, crc32(0, (unsigned char *)text, (uInt)(len - tail)));
  Reading in = {r, 0};
  if (len <= tail || memcmp(text + len - tail, check, tail) != 0)
    fail(e, E_RECORD, "%s: damaged record: it does not end with the checksum of its content", path);
  else if (ini_each(text, path, E_RECORD, read_key, &in, e) == OK) {
    for (int i = 0; i < N_FIELDS && e->code == OK; i++)
      if (!(in.seen >> i & 1)) fail(e, E_RECORD, "%s: damaged record: no %s", path, fields[i].key);
    if (e->code == OK && strcmp(r->status, "finished") && strcmp(r->status, "diverged") && strcmp(r->status, "failed"))
      fail(e, E_RECORD, "%s: status = %s: expected finished, diverged or failed", path, r->status);
  }
  free(text);
  return e->code;
}

// ---- A study's records --------------------------------------------------------------------------------

static int by_cell(const void *pa, const void *pb) {
  const Record *a = pa, *b = pb;
  if (a->cfg.budget != b->cfg.budget) return a->cfg.budget < b->cfg.budget ? -1 : 1;
  if (a->params.total != b->params.total) return a->params.total < b->params.total ? -1 : 1;
  if (a->cfg.seed != b->cfg.seed) return a->cfg.seed < b->cfg.seed ? -1 : 1;
  return strcmp(a->id, b->id);
}

int records_load(const char *dir, Records *out, Err *e) {
  *e = (Err){0};
  *out = (Records){0};
  char path[1024];
  snprintf(path, sizeof path, "%.900s/runs", dir);
  DIR *d = opendir(path);
  if (!d)
    return fail(e, errno == ENOMEM ? E_MEMORY : E_RECORD, "%s: not a study folder: %s: %s", dir, path, strerror(errno));
  int code = OK;
  struct dirent *entry = NULL;
  while (code == OK && (errno = 0, entry = readdir(d))) {
    if (entry->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%.700s/runs/%.255s/run.ini", dir, entry->d_name);
    if (!file_exists(path)) continue;
    if ((out->n & (out->n - 1)) == 0) {  // full at every power of two
      Record *grown = realloc(out->r, (size_t)(out->n ? 2 * out->n : 1) * sizeof *grown);
      if (!grown) {
        code = fail(e, E_MEMORY, "%s: no memory for its records", dir);
        break;
      }
      out->r = grown;
    }
    Err bad;
    if (record_read(path, &out->r[out->n], &bad) == OK) out->n++;
    else if (bad.code == E_MEMORY) *e = bad, code = bad.code;  // says nothing of the record
    else if (out->n_bad++ == 0) snprintf(out->first_bad, sizeof out->first_bad, "%s", bad.msg);
  }
  if (code == OK && errno) code = fail(e, E_IO, "%s/runs: cannot read all of it: %s", dir, strerror(errno));
  closedir(d);
  if (code) records_free(out);
  else if (out->n) qsort(out->r, (size_t)out->n, sizeof *out->r, by_cell);
  return code;
}

void records_free(Records *rs) {
  free(rs->r);
  *rs = (Records){0};
}

static void csv_text(FILE *f, const char *s) {
  bool quote = strpbrk(s, ",\"\n") != NULL;
  if (quote) fputc('"', f);
  for (; *s; s++) {
    if (*s == '"') fputc('"', f);
    fputc(*s, f);
  }
  if (quote) fputc('"', f);
}

int records_write_csv(const char *dir, const Records *rs, Err *e) {
  *e = (Err){0};
  char path[1024];
  snprintf(path, sizeof path, "%.900s/runs.csv", dir);
  OutFile o;
  if (out_open(&o, path, e)) return e->code;
  fputs("run_id,status,corpus,budget,d_model,n_layers,n_heads,params_total,params_nonemb,tokens,steps,batch_tokens,lr,"
        "flops_exact,flops_6nd,epochs,val_loss,val_loss_se,train_loss,seconds,"
        "seed,seq_len,params_embed,params_head,params_attn,params_ffn,params_norm,flops_nohead,flops_6nd_nonemb,"
        "floor_nats,val_floor,reason\n", o.f);
  for (int i = 0; i < rs->n; i++) {
    const Record *r = &rs->r[i];
    const Config *c = &r->cfg;
    const Params *p = &r->params;
    const Flops *fl = &r->flops_per_token;
    const double D = r->tokens;
    const double columns[] = {  // from budget on
      c->budget, c->d_model, c->n_layers, c->n_heads, p->total, p->nonemb, D, r->steps, c->batch_tokens, c->lr,
      D * fl->exact, D * fl->sixn, r->epochs, r->val_loss, r->val_loss_se, r->train_loss, r->seconds,
      c->seed, c->seq_len, p->embed, p->head, p->attn, p->ffn, p->norm, D * fl->nohead, D * fl->sixn_nonemb,
      r->floor_nats, r->val_floor,
    };
    fprintf(o.f, "%s,%s,", r->id, r->status);
    csv_text(o.f, r->corpus_name);
    for (size_t k = 0; k < sizeof columns / sizeof *columns; k++) {
      char number[32];
      config_print_number(number, sizeof number, columns[k]);
      fprintf(o.f, ",%s", number);
    }
    fputc(',', o.f);
    csv_text(o.f, r->reason);
    fputc('\n', o.f);
  }
  return out_commit(&o, e);
}
