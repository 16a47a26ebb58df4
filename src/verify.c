// verify.c: see verify.h. In: a study folder. Out: what in it is damaged; whether a run gives the same bytes again.
// Invariant: reads, and writes only into a temporary folder of its own (and, where the synthetic corpus or a text's token
// file is wanted and not there, makes it). What each file is checked against:
//   study.ini, forecasts       their parsers, every key there and in range
//   token files                length and checksum of both parts, and the content hash that study.ini and records name
//   run.ini                    the checksum that ends it; its folder's name, its id from its own configuration
//   model.bin                  its header's checksum, its run, its shape
//   curve.tsv                  the points in model.bin, which give its every byte
//   runs.csv                   the records, which give its every byte
// A checkpoint of a run that is going on is left to whoever goes on from it (checkpoint_read sees every damage and takes
// the generation before). What `isoflop fit` and `report` draw from these is not checked: they can be made again.
#include "verify.h"
#include "corpus.h"
#include "plan.h"
#include "train.h"
#include "verdict.h"
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Check {
  const char *dir;
  FILE *out;
  int files, damaged, runs, failed, unfinished;
} Check;

static void damaged(Check *c, const char *path, const char *why) {
  const size_t n = strlen(path);  // most messages begin with the path already
  c->damaged++;
  if (!strncmp(why, path, n)) fprintf(c->out, "damaged: %s\n", why);
  else fprintf(c->out, "damaged: %s: %s\n", path, why);
}

// Counts a file and whether it was good; true when it was.
static bool checked(Check *c, const char *path, int code, const Err *e) {
  c->files++;
  if (code) damaged(c, path, e->msg);
  return code == OK;
}

// Whether a file holds exactly these bytes; where not, since which one.
static int same_bytes(const char *path, const char *want, size_t n, Err *e) {
  char *data;
  size_t len, i = 0;
  if (file_read(path, &data, &len, e)) return e->code;
  while (i < len && i < n && data[i] == want[i]) i++;
  if (i < n || i < len) fail(e, E_RECORD, "%s: differs from byte %zu on (%zu bytes, expected %zu)", path, i, len, n);
  free(data);
  return e->code;
}

// ---- A folder of a run ---------------------------------------------------------------------------------

static int record_check(const char *path, const char *name, Record *r, Err *e) {
  char id[17], config[17];
  unsigned long long hash;
  if (record_read(path, r, e)) return e->code;
  config_run_id(&r->cfg, 0, config);
  if (strcmp(r->id, name)) return fail(e, E_RECORD, "%s: the record of run %s, expected that of %s", path, r->id, name);
  if (strcmp(config, r->config_hash))
    return fail(e, E_RECORD, "%s: its configuration hashes to %s, expected %s (made by a version with other options?)",
                path, config, r->config_hash);
  if (sscanf(r->corpus_hash, "%16llx", &hash) != 1) return fail(e, E_RECORD, "%s: no corpus hash", path);
  config_run_id(&r->cfg, hash, id);
  return strcmp(id, r->id) ? fail(e, E_RECORD, "%s: its configuration and corpus give the id %s", path, id) : OK;
}

// model.bin, and curve.tsv by what is in it.
static void model_check(Check *c, const char *dir, const Record *r) {
  Model m;
  Err e = {0};
  Progress p = {0};
  Config cfg = r->cfg;
  char path[1100], *curve = NULL;
  size_t len = 0;
  cfg.threads = 1;
  snprintf(path, sizeof path, "%s/model.bin", dir);
  if (model_new(&m, &cfg, false, &e)) {
    checked(c, path, e.code, &e);
    return;
  }
  checkpoint_read(dir, "model.bin", r->id, &m, false, &p, &e);
  if (!e.code && !strcmp(r->status, "finished")) {
    if (p.step != r->steps || !p.n_points || p.points[p.n_points - 1].val_loss != r->val_loss)
      fail(&e, E_RECORD, "%s: not the model that the record tells of: another step or another held-out loss", path);
  }
  const bool good = checked(c, path, e.code, &e);
  snprintf(path, sizeof path, "%s/curve.tsv", dir);
  FILE *f = good ? text_open(&curve, &len, &e) : NULL;
  if (f) {
    train_curve(&cfg, &p, f);
    if (!text_close(f, &e)) same_bytes(path, curve, len, &e);
  }
  if (good) checked(c, path, e.code, &e);
  free(curve);
  free(p.points);
  model_free(&m);
}

static void run_check(Check *c, const char *name) {
  Err e = {0};
  Record r;
  char dir[1024], path[1100];
  struct stat st;
  snprintf(dir, sizeof dir, "%.700s/runs/%.255s", c->dir, name);
  snprintf(path, sizeof path, "%s/run.ini", dir);
  if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode)) return;
  if (!file_exists(path)) {
    c->unfinished++;
    return;
  }
  if (!checked(c, path, record_check(path, name, &r, &e), &e)) return;
  c->runs++;
  if (!strcmp(r.status, "failed")) c->failed++;
  else model_check(c, dir, &r);
}

// ---- A study -------------------------------------------------------------------------------------------

static void corpora_check(Check *c, const Study *s) {
  for (int i = 0; i < s->n; i++) {
    Err e = {0};
    Corpus corpus;
    char path[1024];
    bool before = false;
    for (int j = 0; j < i && !before; j++) before = !strcmp(s->part[j].cfg.corpus, s->part[i].cfg.corpus);
    if (before) continue;
    if (corpus_resolve(s->part[i].cfg.corpus, path, sizeof path, &e)) {
      fprintf(c->out, "not checked: corpus %s: %s\n", s->part[i].cfg.corpus, e.msg);
      continue;
    }
    if (corpus_open(&corpus, path, &e) == OK) {
      if (corpus.hash != s->part[i].corpus_hash)
        fail(&e, E_CORPUS, "%s: its content has changed since the study was made", path);
      corpus_close(&corpus);
    }
    checked(c, path, e.code, &e);
  }
}

// A temporary folder, and away with it and all that is in it.
static int temp_make(char path[1024], Err *e) {
  const char *base = getenv("TMPDIR");
  snprintf(path, 1024, "%.900s/isoflop.XXXXXX", base && *base ? base : "/tmp");
  return mkdtemp(path) ? OK : fail(e, E_IO, "%s: cannot make this folder: %s", path, strerror(errno));
}

static void temp_remove(const char *path) {
  DIR *d = opendir(path);
  for (struct dirent *entry; d && (entry = readdir(d));) unlinkat(dirfd(d), entry->d_name, 0);
  if (d) closedir(d);
  rmdir(path);
}

static int table_check(Check *c, Err *e) {
  char path[1024], temp[1024], again[1100], *want;
  size_t len;
  Records rs;
  Err why = {0};
  snprintf(path, sizeof path, "%.900s/runs.csv", c->dir);
  if (!file_exists(path)) return OK;
  if (temp_make(temp, e)) return e->code;
  snprintf(again, sizeof again, "%s/runs.csv", temp);
  if (records_load(c->dir, &rs, e) == OK && records_write_csv(temp, &rs, e) == OK &&
      file_read(again, &want, &len, e) == OK) {
    if (same_bytes(path, want, len, &why))
      fail(&why, E_RECORD, "%s: not the table that the records give: damaged, or older than the last of them", path);
    checked(c, path, why.code, &why);
    free(want);
  }
  records_free(&rs);
  temp_remove(temp);
  return e->code;
}

int verify_study(const char *dir, FILE *out, Err *e) {
  *e = (Err){0};
  Check c = {.dir = dir, .out = out};
  char path[1024];
  Err why = {0};
  Study *s = mem_new(sizeof *s, "study", e);
  if (!s) return e->code;
  snprintf(path, sizeof path, "%.900s/runs", dir);
  DIR *d = opendir(path);
  if (!d) {
    free(s);
    return fail(e, E_RECORD, "%s: not a study folder: %s: %s", dir, path, strerror(errno));
  }
  snprintf(path, sizeof path, "%.900s/study.ini", dir);
  if (checked(&c, path, study_read(dir, s, &why), &why)) {
    corpora_check(&c, s);
    for (int i = 0; i < s->n; i++) {
      Forecast f;
      snprintf(path, sizeof path, "%.900s/forecast-%s.ini", dir, s->part[i].name);
      if (file_exists(path)) checked(&c, path, forecast_read(dir, s->part[i].name, &f, &why), &why);
    }
  }
  for (struct dirent *entry; (entry = readdir(d));)
    if (entry->d_name[0] != '.') run_check(&c, entry->d_name);
  closedir(d);
  free(s);
  if (table_check(&c, e)) return e->code;
  fprintf(out, "%s: %d files checked, %d damaged; %d runs with a record, %d of them failed, %d without\n", dir, c.files,
          c.damaged, c.runs, c.failed, c.unfinished);
  return c.damaged ? fail(e, E_RECORD, "%s: %d files are damaged", dir, c.damaged) : OK;
}

// ---- One run again -------------------------------------------------------------------------------------

static bool same_file(const char *name, const char *dir, const char *again, FILE *out) {
  char path[1200], other[1200], *want;
  size_t len;
  Err e = {0};
  snprintf(path, sizeof path, "%.1100s/%s", dir, name);
  snprintf(other, sizeof other, "%.1100s/%s", again, name);
  if (file_read(other, &want, &len, &e) == OK) {
    same_bytes(path, want, len, &e);
    free(want);
  }
  if (e.code) fprintf(out, "%s\n", e.msg);
  else fprintf(out, "%s: the same %zu bytes\n", name, len);
  return e.code == OK;
}

// What was computed, without who did and how long it took.
static int record_plain(const char *path, Record r, Err *e) {
  *r.version = *r.commit = *r.compiler = *r.libc = *r.cpu = *r.kernels = *r.corpus_name = 0;
  r.threads = 0;
  r.seconds = 0;
  snprintf(r.cfg.corpus, sizeof r.cfg.corpus, "%s", r.corpus_hash);  // by content, not by name
  return record_write(path, &r, e);
}

static bool same_record(const Record *r, const char *temp, FILE *out, Err *e) {
  Record again;
  char path[1100], a[1100], b[1100], *want;
  size_t len;
  Err why = {0};
  snprintf(path, sizeof path, "%s/run.ini", temp);
  snprintf(a, sizeof a, "%s/a.ini", temp);
  snprintf(b, sizeof b, "%s/b.ini", temp);
  if (record_read(path, &again, e) || record_plain(a, *r, e) || record_plain(b, again, e) ||
      file_read(a, &want, &len, e))
    return false;
  const bool same = same_bytes(b, want, len, &why) == OK;
  free(want);
  if (same) fprintf(out, "run.ini: the same, but for provenance and seconds\n");
  else
    fprintf(out, "run.ini: differs: held-out loss %.17g there, %.17g here; status %s there, %s here\n", r->val_loss,
            again.val_loss, r->status, again.status);
  const struct { const char *what, *there, *here; } who[] = {
    {"commit", r->commit, again.commit}, {"kernels", r->kernels, again.kernels}, {"compiler", r->compiler, again.compiler},
    {"C library", r->libc, again.libc}, {"processor", r->cpu, again.cpu},
  };
  for (size_t i = 0; i < sizeof who / sizeof *who; i++)
    if (strcmp(who[i].there, who[i].here))
      fprintf(out, "  %s: %s there, %s here\n", who[i].what, who[i].there, who[i].here);
  return same;
}

int verify_rerun(const char *dir, const char *id, int threads, FILE *out, Err *e) {
  Record r;
  Corpus corpus;
  char run[1024], path[1100], temp[1024], hash[17];
  *e = (Err){0};
  snprintf(run, sizeof run, "%.700s/runs/%.255s", dir, id);
  snprintf(path, sizeof path, "%s/run.ini", run);
  if (record_check(path, id, &r, e)) return e->code = e->code == E_IO ? E_RECORD : e->code;
  if (!strcmp(r.status, "failed")) return fail(e, E_RECORD, "%s: it failed: %s", path, r.reason);
  if (corpus_resolve(r.cfg.corpus, path, sizeof path, e) || corpus_open(&corpus, path, e)) return e->code;
  snprintf(hash, sizeof hash, "%016llx", (unsigned long long)corpus.hash);
  if (strcmp(hash, r.corpus_hash)) fail(e, E_CORPUS, "%s: its content has changed since the run", path);
  if (!e->code && temp_make(temp, e) == OK) {
    r.cfg.threads = threads;
    fprintf(out, "%s: %d steps, %.1f s the first time\n", id, r.steps, r.seconds);
    fflush(out);
    if (train_run(&r.cfg, &corpus, temp, PROGRESS_LINES, -1, e) == OK) {
      bool same = same_file("model.bin", run, temp, out);
      same &= same_file("curve.tsv", run, temp, out);
      same &= same_record(&r, temp, out, e);
      if (!same && !e->code) fail(e, E_DIFFERS, "%s: the run gave other bytes this time", id);
    } else if (e->code > 128) fail(e, e->code, "%s: stopped; the same command begins again", id);
    temp_remove(temp);
  }
  corpus_close(&corpus);
  return e->code;
}

// ---- The commands --------------------------------------------------------------------------------------

static const char VERIFY_HELP[] =
    "Examples:\n"
    "  isoflop verify out/study\n"
    "\n"
    "Usage: isoflop verify DIR\n"
    "Checks a study's records, models, curves, runs.csv and token files by their checksums, its study file and forecasts by\n"
    "reading them; names what is damaged and ends with exit code 5 if anything is.\n"
    "What is damaged is made again by `isoflop sweep` (runs: remove the folder), `fit` and `report`.\n";

static const char RERUN_HELP[] =
    "Examples:\n"
    "  isoflop rerun out/study 3aeb1d74a5e791ce\n"
    "  isoflop rerun out/study 3aeb1d74a5e791ce --threads 4     # the bytes do not depend on it\n"
    "\n"
    "Usage: isoflop rerun DIR RUN_ID [--threads N]\n"
    "Trains one run of a study again, in a temporary folder ($TMPDIR), and compares model.bin, curve.tsv and the record (but\n"
    "for provenance and seconds). Exit code 0: the same bytes; 9: others. Another kernel table gives others: a record\n"
    "names its own, KERNELS=... forces it.\n";

int verify_main(int argc, char **argv) {
  Err e = {0};
  if (argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) return fputs(VERIFY_HELP, stdout), OK;
  if (argc != 2 || argv[1][0] == '-') return finish(fail(&e, E_USAGE, "verify: expected a study's folder: see --help"), &e);
  return finish(verify_study(argv[1], stdout, &e), &e);
}

int rerun_main(int argc, char **argv) {
  Err e = {0};
  double threads = 1;
  if (argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) return fputs(RERUN_HELP, stdout), OK;
  const bool good = argc == 3 || (argc == 5 && !strcmp(argv[3], "--threads") && number_parse(argv[4], true, 0, 1024, &threads));
  if (!good || argv[1][0] == '-')
    return finish(fail(&e, E_USAGE, "rerun: expected DIR RUN_ID [--threads N]: see --help"), &e);
  return finish(verify_rerun(argv[1], argv[2], (int)threads, stdout, &e), &e);
}
