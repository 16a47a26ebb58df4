// study.c: see study.h. In: INI files and assignments. Out: the parts of a study, and the same back from DIR/study.ini.
// Invariant: what study_save wrote, study_read reads to the same bytes of every option outside [machine].
#include "study.h"
#include "corpus.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char SECTIONS[] = "study model train recipe eval";
static const char PART[] = "part ";

int study_part(const Study *s, const char *name) {
  for (int i = 0; i < s->n; i++)
    if (!strcmp(s->part[i].name, name)) return i;
  return -1;
}

void study_single(Study *s, const Config *cfg, uint64_t corpus_hash, double corpus_tokens) {
  memset(s, 0, sizeof *s);
  s->base = *cfg;
  s->n = 1;
  s->part[0] = (Part){"isoflop", *cfg, corpus_hash, corpus_tokens, {-1, -1}};
}

// ---- Reading ----------------------------------------------------------------------------------------

// A file is walked twice: first for what all parts share, then for the parts, which begin as copies of it.
typedef struct Loading {
  Study *s;
  bool parts, recorded;  // the second walk; DIR/study.ini, which holds corpus hashes
  uint64_t seen[MAX_PARTS + 1];
} Loading;

static int part_begin(Study *s, const char *name, const char *where, Err *e) {
  const int at = study_part(s, name);
  if (at >= 0) return at;
  for (const char *c = name; *c; c++)
    if (!isalnum((unsigned char)*c) && *c != '-')
      return fail(e, E_CONFIG, "%s: part '%.60s': expected letters, digits and -", where, name), -1;
  if (!*name || strlen(name) >= sizeof s->part->name || s->n == MAX_PARTS)
    return fail(e, E_CONFIG, "%s: part '%.60s': expected a name of 1 to %zu letters, and at most %d parts", where, name,
                sizeof s->part->name - 1, MAX_PARTS), -1;
  Part *p = &s->part[s->n];
  *p = (Part){.cfg = s->base, .pair = {-1, -1}};
  snprintf(p->name, sizeof p->name, "%s", name);
  return s->n++;
}

static int corpus_key(Study *s, const char *key, const char *value, const char *where, Err *e) {
  const int at = study_part(s, key);
  unsigned long long hash;
  if (at < 0 || sscanf(value, "%16llx %lf", &hash, &s->part[at].corpus_tokens) != 2)
    return fail(e, E_CONFIG, "%s: %.60s: expected a part's corpus hash and length", where, key);
  s->part[at].corpus_hash = hash;
  return OK;
}

static int load_key(void *user, const char *section, const char *key, const char *value, const char *where, Err *e) {
  Loading *l = user;
  const bool in_part = !strncmp(section, PART, strlen(PART));
  if (!strcmp(section, "corpora") && l->recorded) return l->parts ? corpus_key(l->s, key, value, where, e) : OK;
  if (in_part != l->parts) return OK;
  int at = MAX_PARTS;
  Config *c = &l->s->base;
  if (in_part) {
    at = part_begin(l->s, section + strlen(PART), where, e);
    if (at < 0) return e->code;
    c = &l->s->part[at].cfg;
  }
  return config_set_once(c, in_part ? NULL : section, key, value, &l->seen[at], where, e);
}

static int walk(Loading *l, const char *path, Err *e) {
  char *text;
  size_t len;
  if (file_read(path, &text, &len, e)) return e->code;
  memset(l->seen, 0, sizeof l->seen);
  if (strlen(text) != len) fail(e, E_CONFIG, "%s: not a text file (it holds a NUL byte)", path);
  else ini_each(text, path, E_CONFIG, load_key, l, e);
  free(text);
  return e->code;
}

// "NAME:key=value" sets an option of one part; false for an assignment to what all share.
static bool names_part(const char *set) {
  const size_t colon = strcspn(set, ":=");
  return set[colon] == ':';
}

static int set_in_part(Study *s, const char *set, Err *e) {
  char name[64];
  snprintf(name, sizeof name, "%.*s", (int)strcspn(set, ":"), set);
  const int at = study_part(s, name);
  if (at < 0) return fail(e, E_CONFIG, "--set %.80s: the study has no part '%.60s'", set, name);
  return config_set(&s->part[at].cfg, set + strcspn(set, ":") + 1, "--set", e);
}

// Workers take cells of all parts, so what tells them how to work is one for all.
static int machine_check(const Study *s, const Part *p, Err *e) {
  char all[1024], own[1024];
  for (const Option *o = config_options; o->key; o++) {
    if (strcmp(o->section, "machine")) continue;
    config_print_value(&s->base, o, all, sizeof all);
    config_print_value(&p->cfg, o, own, sizeof own);
    if (strcmp(all, own))
      return fail(e, E_CONFIG, "part %s: %s = %.80s: an option of [machine] is one for all parts", p->name, o->key, own);
  }
  return OK;
}

static int load(Study *s, bool recorded, int n_files, const char *const *files, int n_sets, const char *const *sets,
                Err *e) {
  memset(s, 0, sizeof *s);
  *e = (Err){0};
  Loading l = {.s = s, .recorded = recorded};
  config_defaults(&s->base);
  for (int i = 0; i < n_files; i++)
    if (walk(&l, files[i], e)) return e->code;
  for (int i = 0; i < n_sets; i++)
    if (!names_part(sets[i]) && config_set(&s->base, sets[i], "--set", e)) return e->code;
  l.parts = true;
  for (int i = 0; i < n_files; i++)
    if (walk(&l, files[i], e)) return e->code;
  if (!s->n && part_begin(s, "isoflop", "study", e) < 0) return e->code;
  for (int i = 0; i < n_sets; i++)
    if (names_part(sets[i]) && set_in_part(s, sets[i], e)) return e->code;
  for (int i = 0; i < s->n; i++) {
    Err why;
    if (machine_check(s, &s->part[i], e)) return e->code;
    if (config_check(&s->part[i].cfg, &why) == OK) continue;
    return s->n == 1 ? (*e = why, e->code) : fail(e, why.code, "part %s: %.400s", s->part[i].name, why.msg);
  }
  return OK;
}

int study_load(Study *s, int n_files, const char *const *files, int n_sets, const char *const *sets, Err *e) {
  return load(s, false, n_files, files, n_sets, sets, e);
}

int study_corpora(Study *s, Err *e) {
  for (int i = 0; i < s->n; i++) {
    Part *p = &s->part[i];
    const Part *same = NULL;
    for (int j = 0; j < i && !same; j++)
      if (!strcmp(s->part[j].cfg.corpus, p->cfg.corpus)) same = &s->part[j];
    if (same) {
      p->corpus_hash = same->corpus_hash, p->corpus_tokens = same->corpus_tokens;
      continue;
    }
    char path[1024];
    Corpus c;
    if (corpus_resolve(p->cfg.corpus, path, sizeof path, e) || corpus_open(&c, path, e)) return e->code;
    p->corpus_hash = c.hash, p->corpus_tokens = (double)c.n_train;
    corpus_close(&c);
  }
  return OK;
}

// ---- The study of a folder ----------------------------------------------------------------------------

static void study_dump(const Study *s, FILE *f) {
  config_dump(&s->base, SECTIONS, f);
  for (int i = 0; i < s->n; i++) {
    fprintf(f, "\n[part %s]\n", s->part[i].name);
    for (const Option *o = config_options; o->key; o++) {
      char shared[1024], own[1024];
      if (!strstr(SECTIONS, o->section)) continue;
      config_print_value(&s->base, o, shared, sizeof shared);
      config_print_value(&s->part[i].cfg, o, own, sizeof own);
      // The kind always: a section without a key does not begin a part.
      if (strcmp(shared, own) || !strcmp(o->key, "kind")) fprintf(f, "%s = %s\n", o->key, own);
    }
  }
  fputs("\n[corpora]\n", f);  // content hash and training tokens of each part's
  for (int i = 0; i < s->n; i++)
    fprintf(f, "%s = %016llx %.0f\n", s->part[i].name, (unsigned long long)s->part[i].corpus_hash,
            s->part[i].corpus_tokens);
}

int study_save(const char *dir, const Study *s, Err *e) {
  char path[1024];
  OutFile o;
  snprintf(path, sizeof path, "%.900s/study.ini", dir);
  if (out_open(&o, path, e)) return e->code;
  study_dump(s, o.f);
  return out_commit(&o, e);
}

int study_read(const char *dir, Study *s, Err *e) {
  char path[1024];
  const char *files[] = {path};
  snprintf(path, sizeof path, "%.900s/study.ini", dir);
  if (load(s, true, 1, files, 0, NULL, e)) return e->code == E_MEMORY ? e->code : (e->code = E_RECORD);
  for (int i = 0; i < s->n; i++)
    if (!s->part[i].corpus_tokens) return fail(e, E_RECORD, "%s: part %s has no corpus", path, s->part[i].name);
  return OK;
}

static int foreign(const char *dir, Err *e, const char *what, const char *there, const char *here) {
  return fail(e, E_RECORD, "%s/study.ini: this folder belongs to another study: %s is %.60s there and %.60s here; use "
              "another --out", dir, what, there, here);
}

int study_compare(const char *dir, const Study *s, Err *e) {
  Study old;
  if (study_read(dir, &old, e)) return e->code;
  for (int i = 0; i < s->n || i < old.n; i++) {
    const Part *p = &s->part[i], *q = &old.part[i];
    if (i >= s->n || i >= old.n || strcmp(p->name, q->name))
      return foreign(dir, e, "a part", i < old.n ? q->name : "missing", i < s->n ? p->name : "missing");
    for (const Option *o = config_options; o->key; o++) {
      char there[1024], here[1024], what[128];
      if (!strstr(SECTIONS, o->section)) continue;
      config_print_value(&q->cfg, o, there, sizeof there);
      config_print_value(&p->cfg, o, here, sizeof here);
      snprintf(what, sizeof what, s->n > 1 ? "%s of part %s" : "%s", o->key, p->name);
      if (strcmp(there, here)) return foreign(dir, e, what, there, here);
    }
    if (p->corpus_hash != q->corpus_hash || p->corpus_tokens != q->corpus_tokens)
      return fail(e, E_RECORD, "%s/study.ini: this folder belongs to another study: the corpus %.60s has changed; use "
                  "another --out", dir, p->cfg.corpus);
  }
  return OK;
}
