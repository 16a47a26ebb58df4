// config.c: options. In: INI text and key=value assignments. Out: a Config whose every field lies in its range.
// Invariant: the table below is the only list of options: parsing, ranges, --set, --help, the dump and the identity
// of a run all walk it, so an option added there is an option everywhere.
#include "config.h"
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIELD(f) offsetof(Config, f), sizeof((Config *)0)->f
#define BIG 1e18

const Option config_options[] = {
  // section, key, type, field, default, lowest, highest, choices, help
  {"study", "study", OPT_STR, FIELD(study), "study", 0, 0, NULL, "name of the study, shown in its report"},
  {"study", "budgets", OPT_LIST, FIELD(budgets), "1e10, 4e10, 1.6e11", 1e6, BIG, NULL,
   "training FLOPs of each IsoFLOP curve, ascending"},
  {"study", "tokens_per_param", OPT_LIST, FIELD(tokens_per_param), "4, 160", 1e-3, 1e6, NULL,
   "lowest and highest D/N of a budget's cells: a pair, or a pair for each budget"},
  {"study", "params_range", OPT_LIST, FIELD(params_range), "", 1, 1e12, NULL,
   "lowest and highest N instead of tokens_per_param: a pair, or a pair for each budget"},
  {"study", "sizes_per_budget", OPT_INT, FIELD(sizes_per_budget), "9", 1, 64, NULL, "sizes of each IsoFLOP curve"},
  {"study", "seeds", OPT_LIST, FIELD(seeds), "1", 1, 100, NULL, "runs of each cell: a number, or one for each budget"},
  {"study", "kind", OPT_STR, FIELD(kind), "isoflop", 0, 0, "isoflop horizons verdict",
   "isoflop: sizes at each budget; horizons: several at each size; verdict: the best size against one 4x larger"},
  {"study", "horizons", OPT_INT, FIELD(horizons), "4", 1, 16, NULL, "horizons of a size, log-even over tokens_per_param"},
  {"study", "recentre", OPT_INT, FIELD(recentre), "0", 0, MAX_BUDGETS, NULL,
   "budgets of a group; later groups are centred on the law through earlier ones; 0: none are"},
  {"study", "span", OPT_NUM, FIELD(span), "4", 1, 100, NULL, "sizes of a centred budget: within this factor of its centre"},
  {"study", "shapes", OPT_STR, FIELD(shapes), "none", 0, 0, NULL, "shapes instead of the family's: 32x2x2, 48x3x4"},
  {"study", "vary", OPT_STR, FIELD(vary), "none", 0, 0, NULL, "at each cell, one at a time: KEY VALUE VALUE | KEY VALUE"},
  {"study", "from", OPT_STR, FIELD(from), "isoflop horizons", 0, 0, NULL, "parts whose fits make a verdict's forecast"},
  {"study", "from_flops", OPT_NUM, FIELD(from_flops), "0", 0, BIG, NULL, "laws (and a verdict's forecast) leave out runs of less compute"},

  {"model", "d_model", OPT_INT, FIELD(d_model), "32", 2, 8192, NULL, "width C of the residual stream"},
  {"model", "n_layers", OPT_INT, FIELD(n_layers), "2", 1, 256, NULL, "blocks"},
  {"model", "n_heads", OPT_INT, FIELD(n_heads), "2", 1, 256, NULL, "attention heads; divides d_model to an even width"},
  {"model", "seq_len", OPT_INT, FIELD(seq_len), "128", 2, 4096, NULL, "tokens of context T"},
  {"model", "tied", OPT_BOOL, FIELD(tied), "false", 0, 0, NULL, "one matrix for the embedding and the output head"},
  {"model", "qk_norm", OPT_BOOL, FIELD(qk_norm), "true", 0, 0, NULL, "normalise queries and keys (the paper: false)"},
  {"model", "rope_base", OPT_NUM, FIELD(rope_base), "100", 2, 1e9, NULL, "base of the rotary positions' wavelengths"},

  {"train", "corpus", OPT_STR, FIELD(corpus), "synthetic", 0, 0, NULL,
   "synthetic, english, code, or a path to .txt, .gz, .tok or a folder"},
  {"train", "budget", OPT_NUM, FIELD(budget), "1e11", 0, BIG, NULL, "training FLOPs; sets tokens when tokens is 0"},
  {"train", "tokens", OPT_NUM, FIELD(tokens), "0", 0, 1e15, NULL, "training tokens D, the horizon; 0: from the budget"},
  {"train", "batch_tokens", OPT_INT, FIELD(batch_tokens), "0", 0, 1 << 24, NULL,
   "tokens a step, a multiple of seq_len; 0: rule"},
  {"train", "lr", OPT_NUM, FIELD(lr), "0", 0, 10, NULL, "peak learning rate; 0: rule"},
  {"train", "lr_final", OPT_NUM, FIELD(lr_final), "0.1", 0, 1, NULL, "learning rate at the cosine's end, of the peak"},
  {"train", "cosine_cycle", OPT_NUM, FIELD(cosine_cycle), "1", 1, 100, NULL, "length of the cosine, in horizons"},
  {"train", "warmup", OPT_NUM, FIELD(warmup), "0.15", 0, 0.9, NULL, "linear warm-up, of the horizon"},
  {"train", "beta1", OPT_NUM, FIELD(beta1), "0.9", 0, 0.9999, NULL, "decay of Adam's first moment"},
  {"train", "beta2", OPT_NUM, FIELD(beta2), "0", 0, 0.99999, NULL, "decay of Adam's second moment; 0: rule"},
  {"train", "eps", OPT_NUM, FIELD(eps), "1e-8", 1e-15, 1, NULL, "Adam's epsilon"},
  {"train", "weight_decay", OPT_NUM, FIELD(weight_decay), "0.02", 0, 10, NULL, "decay of matrices, times the rate"},
  {"train", "clip", OPT_NUM, FIELD(clip), "1", 0, 1e9, NULL, "largest global norm of the gradient; 0: none"},
  {"train", "optimizer", OPT_STR, FIELD(optimizer), "adamw", 0, 0, "adamw adam", "adam: decay as an L2 penalty"},
  {"train", "init_scale", OPT_NUM, FIELD(init_scale), "1", 0.001, 1000, NULL, "factor on the standard initialisation"},
  {"train", "emb_std", OPT_NUM, FIELD(emb_std), "0.5", 1e-6, 1000, NULL, "standard deviation of the initial embedding"},
  {"train", "precision", OPT_STR, FIELD(precision), "fp32", 0, 0, "fp32 bf16", "arithmetic of the matrix products"},
  {"train", "seed", OPT_INT, FIELD(seed), "1", 0, 1 << 30, NULL, "of the initial weights and of the order of the data"},

  {"recipe", "lr_at", OPT_NUM, FIELD(lr_at), "0.0095", 1e-6, 10, NULL,
   "rule: peak rate at 41,000 parameters and 25 tokens a parameter"},
  {"recipe", "lr_exponent", OPT_NUM, FIELD(lr_exponent), "-0.27", -2, 2, NULL, "rule: power of N in the peak rate"},
  {"recipe", "lr_horizon", OPT_NUM, FIELD(lr_horizon), "0", -2, 2, NULL, "rule: power of D/N in the peak rate"},
  {"recipe", "lr_max", OPT_NUM, FIELD(lr_max), "0.012", 1e-6, 10, NULL, "rule: highest peak rate"},
  {"recipe", "batch_at", OPT_NUM, FIELD(batch_at), "128", 1, 1e7, NULL, "rule: tokens a step at 1e11 FLOPs"},
  {"recipe", "batch_exponent", OPT_NUM, FIELD(batch_exponent), "0.5", 0, 2, NULL, "rule: power of the FLOPs in them"},
  {"recipe", "beta2_small", OPT_NUM, FIELD(beta2_small), "0.99", 1e-6, 0.99999, NULL, "rule: beta2 of small batches"},
  {"recipe", "beta2_large", OPT_NUM, FIELD(beta2_large), "0.95", 1e-6, 0.99999, NULL, "rule: beta2 of large ones"},
  {"recipe", "beta2_switch", OPT_NUM, FIELD(beta2_switch), "4096", 1, 1e9, NULL, "rule: tokens a step from which on"},
  {"recipe", "lr_scale", OPT_NUM, FIELD(lr_scale), "1", 1e-3, 1e3, NULL, "factor on the rule's peak learning rate"},
  {"recipe", "batch_scale", OPT_NUM, FIELD(batch_scale), "1", 1e-3, 1e3, NULL, "factor on the rule's batch"},
  {"recipe", "cosine_tokens", OPT_NUM, FIELD(cosine_tokens), "0", 0, 1e15, NULL,
   "length of the cosine in tokens, whatever the horizon (never shorter); 0: by cosine_cycle"},
  {"recipe", "warmup_tokens", OPT_NUM, FIELD(warmup_tokens), "0", 0, 1e15, NULL,
   "length of the warm-up in tokens, at most half the horizon; 0: by warmup"},

  {"eval", "eval_tokens", OPT_NUM, FIELD(eval_tokens), "262144", 1, 1e12, NULL, "held-out tokens of the final loss"},
  {"eval", "eval_points", OPT_INT, FIELD(eval_points), "5", 0, 10000, NULL, "held-out losses along the curve"},

  {"machine", "threads", OPT_INT, FIELD(threads), "1", 0, 1024, NULL, "threads of one run; 0: one a core"},
  {"machine", "checkpoint_seconds", OPT_NUM, FIELD(checkpoint_seconds), "60", 0, 1e6, NULL,
   "s between two checkpoints; more where saving takes over 1 % of the time, at most 60 or this; 0: every step"},
  {"machine", "heartbeat", OPT_NUM, FIELD(heartbeat), "5", 0.05, 3600, NULL,
   "time between two signs of life of a worker, s; after 6 missed ones its cell is another's"},
  {NULL, NULL, OPT_INT, 0, 0, NULL, 0, 0, NULL, NULL},
};

// ---- Text to value, value to text -----------------------------------------------------------------

// Is `word` one of the words of a list like "adamw adam"?
static bool has_word(const char *words, const char *word) {
  size_t n = strlen(word);
  for (const char *p = words; (p = strstr(p, word)); p += n)
    if ((p == words || p[-1] == ' ') && (!p[n] || p[n] == ' ')) return true;
  return false;
}

static bool in_range(const Option *o, double v) { return v >= o->lo && v <= o->hi; }

static int set_list(const Option *o, NumList *list, const char *value, const char *where, Err *e) {
  const char *s = value;
  NumList l = {0};
  while (*s) {
    if (l.n == 2 * MAX_BUDGETS) return fail(e, E_CONFIG, "%s: %s holds at most %d numbers", where, o->key, l.n);
    if (!number_scan(&s, &l.v[l.n]) || (*s && *s != ',' && !strchr("+-.0123456789", *s)))
      return fail(e, E_CONFIG, "%s: %s = %.80s: expected numbers with commas between them", where, o->key, value);
    if (!in_range(o, l.v[l.n]))
      return fail(e, E_CONFIG, "%s: %s: %g is out of range, expected %g to %g", where, o->key, l.v[l.n], o->lo, o->hi);
    l.n++;
    if (*s == ',') s++;
  }
  *list = l;
  return OK;
}

// Strings go to INI files and CSV tables: what these cannot hold on one line is refused here.
static int set_string(const Option *o, char *field, const char *value, const char *where, Err *e) {
  size_t n = strlen(value);
  if (n >= o->size) return fail(e, E_CONFIG, "%s: %s is longer than %zu characters", where, o->key, o->size - 1);
  if (n == 0) return fail(e, E_CONFIG, "%s: %s is empty", where, o->key);
  for (size_t i = 0; i < n; i++)
    if (iscntrl((unsigned char)value[i]) || strchr(";\"", value[i]))
      return fail(e, E_CONFIG, "%s: %s holds a control character, a semicolon or a quote", where, o->key);
  if (isspace((unsigned char)value[0]) || isspace((unsigned char)value[n - 1]))
    return fail(e, E_CONFIG, "%s: %s begins or ends with a space", where, o->key);
  if (o->choices && (strchr(value, ' ') || !has_word(o->choices, value)))
    return fail(e, E_CONFIG, "%s: %s = %.80s: expected one of: %s", where, o->key, value, o->choices);
  memset(field, 0, o->size);  // no remains of a longer value: configs can be compared as bytes
  memcpy(field, value, n);
  return OK;
}

static int set_value(Config *c, const Option *o, const char *value, const char *where, Err *e) {
  void *field = (char *)c + o->offset;
  if (o->type == OPT_STR) return set_string(o, field, value, where, e);
  if (o->type == OPT_LIST) return set_list(o, field, value, where, e);
  if (o->type == OPT_BOOL) {
    bool yes = !strcmp(value, "true") || !strcmp(value, "yes") || !strcmp(value, "1");
    bool no = !strcmp(value, "false") || !strcmp(value, "no") || !strcmp(value, "0");
    if (!yes && !no) return fail(e, E_CONFIG, "%s: %s = %.80s: expected true or false", where, o->key, value);
    *(bool *)field = yes;
    return OK;
  }
  const char *s = value;
  double v;
  if (!number_scan(&s, &v) || *s)
    return fail(e, E_CONFIG, "%s: %s = %.80s: expected a number", where, o->key, value);
  if (!in_range(o, v))
    return fail(e, E_CONFIG, "%s: %s = %.80s is out of range, expected %g to %g", where, o->key, value, o->lo, o->hi);
  if (o->type == OPT_INT && v != floor(v))
    return fail(e, E_CONFIG, "%s: %s = %.80s: expected a whole number", where, o->key, value);
  if (o->type == OPT_INT) *(int *)field = (int)v;
  else *(double *)field = v;
  return OK;
}

int config_print_number(char *text, size_t size, double v) {
  if (isnan(v)) return snprintf(text, size, "nan");
  int n = 0;
  for (int digits = 15; digits <= 17; digits++) {
    n = snprintf(text, size, "%.*g", digits, v);
    if (strtod(text, NULL) == v) break;
  }
  return n;
}

void config_print_value(const Config *c, const Option *o, char *text, size_t size) {
  const void *field = (const char *)c + o->offset;
  assert(size >= o->size && size >= 1024);
  *text = 0;
  switch (o->type) {
    case OPT_STR: snprintf(text, size, "%s", (const char *)field); break;
    case OPT_BOOL: snprintf(text, size, "%s", *(const bool *)field ? "true" : "false"); break;
    case OPT_INT: snprintf(text, size, "%d", *(const int *)field); break;
    case OPT_NUM: config_print_number(text, size, *(const double *)field); break;
    case OPT_LIST: {
      const NumList *l = field;
      size_t at = 0;
      for (int i = 0; i < l->n; i++) {
        if (i) at += (size_t)snprintf(text + at, size - at, ", ");
        at += (size_t)config_print_number(text + at, size - at, l->v[i]);
      }
    }
  }
}

// ---- Keys -----------------------------------------------------------------------------------------

// Levenshtein distance, one row at a time; keys are short.
static int edit_distance(const char *a, const char *b) {
  enum { MAX = 64 };
  int row[MAX + 1], nb = (int)strnlen(b, MAX);
  for (int j = 0; j <= nb; j++) row[j] = j;
  for (int i = 1; a[i - 1] && i <= MAX; i++) {
    int diagonal = row[0];
    row[0] = i;
    for (int j = 1; j <= nb; j++) {
      int replace = diagonal + (tolower((unsigned char)a[i - 1]) != b[j - 1]);
      int other = 1 + (row[j] < row[j - 1] ? row[j] : row[j - 1]);
      diagonal = row[j];
      row[j] = replace < other ? replace : other;
    }
  }
  return row[nb];
}

static const Option *find_option(const char *key) {
  for (const Option *o = config_options; o->key; o++)
    if (!strcmp(o->key, key)) return o;
  return NULL;
}

bool config_is_of_run(const char *key) {
  const Option *o = find_option(key);
  return o && has_word("model train recipe eval", o->section) && strcmp(key, "corpus");
}

int config_set_key(Config *c, const char *section, const char *key, const char *value, const char *where, Err *e) {
  const Option *o = find_option(key);
  if (!o) {
    const Option *near = config_options;
    for (const Option *p = config_options; p->key; p++)
      if (edit_distance(key, p->key) < edit_distance(key, near->key)) near = p;
    return fail(e, E_CONFIG, "%s: unknown key '%.60s'; the nearest known one is '%s'", where, key, near->key);
  }
  if (section && strcmp(section, o->section))
    return fail(e, E_CONFIG, "%s: %s belongs in section [%s], not in [%.60s]", where, key, o->section, section);
  return set_value(c, o, value, where, e);
}

int config_set(Config *c, const char *assignment, const char *where, Err *e) {
  const char *eq = strchr(assignment, '=');
  char key[64];
  if (!eq || eq == assignment || eq - assignment >= (ptrdiff_t)sizeof key)
    return fail(e, E_CONFIG, "%s: '%.80s': expected key=value", where, assignment);
  snprintf(key, sizeof key, "%.*s", (int)(eq - assignment), assignment);
  return config_set_key(c, NULL, key, eq + 1, where, e);
}

void config_defaults(Config *c) {
  memset(c, 0, sizeof *c);
  for (const Option *o = config_options; o->key; o++) {
    Err e = {0};
    int code = set_value(c, o, o->deflt, "default", &e);
    assert(code == OK);
  }
}

// ---- INI ------------------------------------------------------------------------------------------

enum { MAX_LINE = 4096 };

typedef struct Ini {
  const char *next, *name;
  int line, code;
  IniEach *each;
  void *user;
  Err *e;
} Ini;

// inih's fgets. It asks for one line before each call of its handler, so counting here numbers the handler's line.
static char *next_line(char *buf, int size, void *user) {
  Ini *in = user;
  if (!*in->next || in->e->code) return NULL;
  in->line++;
  size_t n = strcspn(in->next, "\n");
  if (n + 3 > (size_t)size) {
    fail(in->e, in->code, "%s:%d: line longer than %d characters", in->name, in->line, size - 3);
    return NULL;
  }
  memcpy(buf, in->next, n);
  buf[n] = 0;
  in->next += n + (in->next[n] == '\n');
  return buf;
}

static int on_key(void *user, const char *section, const char *key, const char *value) {
  Ini *in = user;
  char where[600];
  snprintf(where, sizeof where, "%.500s:%d", in->name, in->line);
  return in->each(in->user, section, key, value, where, in->e) == OK;
}

int ini_each(const char *text, const char *name, int code, IniEach *each, void *user, Err *e) {
  *e = (Err){0};
  Ini in = {text, name, 0, code, each, user, e};
  ini_max_line = MAX_LINE;
  ini_allow_multiline = false;
  ini_stop_on_first_error = true;
  int line = ini_parse_stream(next_line, &in, on_key, &in);
  if (line == -2 && !e->code) fail(e, E_MEMORY, "%s: no memory to read it", name);
  if (line && !e->code) fail(e, code, "%s:%d: expected [section], key = value or ; comment", name, line);
  return e->code;
}

typedef struct Loading { Config *c; uint64_t seen; } Loading;

int config_set_once(Config *c, const char *section, const char *key, const char *value, uint64_t *seen,
                    const char *where, Err *e) {
  bool known = !section;
  for (const Option *o = config_options; o->key; o++) known |= section && !strcmp(o->section, section);
  if (!known)
    return fail(e, E_CONFIG, "%s: unknown section [%.60s]; expected study, model, train, recipe, eval or machine", where,
                section);
  if (config_set_key(c, section, key, value, where, e)) return e->code;
  uint64_t bit = 1ull << (find_option(key) - config_options);
  if (*seen & bit) return fail(e, E_CONFIG, "%s: %s is set twice", where, key);
  *seen |= bit;
  return OK;
}

static int load_key(void *user, const char *section, const char *key, const char *value, const char *where, Err *e) {
  Loading *l = user;
  if (!strcmp(section, "provenance") || !strcmp(section, "result")) return OK;
  return config_set_once(l->c, section, key, value, &l->seen, where, e);
}

int config_parse(Config *c, const char *text, const char *name, Err *e) {
  static_assert(sizeof config_options / sizeof *config_options <= 65, "Loading.seen has a bit for each option");
  Config copy = *c;
  Loading l = {&copy, 0};
  if (ini_each(text, name, E_CONFIG, load_key, &l, e)) return e->code;
  *c = copy;
  return OK;
}

int config_load(Config *c, const char *path, Err *e) {
  char *text;
  size_t len;
  if (file_read(path, &text, &len, e)) return e->code;
  int code = strlen(text) == len ? config_parse(c, text, path, e)
                                 : fail(e, E_CONFIG, "%s: not a text file (it holds a NUL byte)", path);
  free(text);
  return code;
}

void config_dump(const Config *c, const char *sections, FILE *f) {
  const char *section = "";
  for (const Option *o = config_options; o->key; o++) {
    if (sections && !has_word(sections, o->section)) continue;
    if (strcmp(section, o->section)) fprintf(f, "%s[%s]\n", *section ? "\n" : "", o->section);
    section = o->section;
    char value[1024];
    config_print_value(c, o, value, sizeof value);
    fprintf(f, "%s = %s\n", o->key, value);
  }
}

// ---- What single ranges cannot tell -----------------------------------------------------------------

static bool whole(const NumList *l) {
  for (int i = 0; i < l->n; i++)
    if (l->v[i] != floor(l->v[i])) return false;
  return true;
}

static int check_pairs(const NumList *l, const char *key, int budgets, Err *e) {
  if (l->n != 2 && l->n != 2 * budgets)
    return fail(e, E_CONFIG, "%s holds %d numbers: expected 2, or 2 for each of the %d budgets", key, l->n, budgets);
  for (int i = 0; i < l->n; i += 2)
    if (l->v[i] > l->v[i + 1])
      return fail(e, E_CONFIG, "%s: %g to %g: expected the lower bound first", key, l->v[i], l->v[i + 1]);
  return OK;
}

int config_check(const Config *c, Err *e) {
  for (const Option *o = config_options; o->key; o++) {  // by whatever a value came
    const void *field = (const char *)c + o->offset;
    if (o->type != OPT_INT && o->type != OPT_NUM) continue;
    const double v = o->type == OPT_INT ? *(const int *)field : *(const double *)field;
    if (!in_range(o, v))
      return fail(e, E_CONFIG, "%s = %.10g is out of range, expected %.10g to %.10g", o->key, v, o->lo, o->hi);
  }
  if (c->d_model % c->n_heads)
    return fail(e, E_CONFIG, "d_model = %d is not divisible by n_heads = %d", c->d_model, c->n_heads);
  if (c->d_model / c->n_heads % 2)
    return fail(e, E_CONFIG, "d_model = %d, n_heads = %d: a head is %d wide, expected an even width (rotary positions)",
                c->d_model, c->n_heads, c->d_model / c->n_heads);
  if (c->seq_len % 2 && strcmp(c->precision, "bf16") == 0)
    return fail(e, E_CONFIG, "seq_len = %d: expected an even number with precision = bf16 (its products go by pairs)",
                c->seq_len);
  if (c->batch_tokens % c->seq_len)
    return fail(e, E_CONFIG, "batch_tokens = %d is not a multiple of seq_len = %d", c->batch_tokens, c->seq_len);
  if (c->tokens == 0 && c->budget == 0) return fail(e, E_CONFIG, "budget and tokens are both 0: expected one of them");
  if (c->tokens != floor(c->tokens)) return fail(e, E_CONFIG, "tokens = %g: expected a whole number", c->tokens);
  if (c->tokens > 0 && c->tokens < c->batch_tokens)
    return fail(e, E_CONFIG, "tokens = %.0f is less than one step of batch_tokens = %d", c->tokens, c->batch_tokens);

  if (c->budgets.n < 1 || c->budgets.n > MAX_BUDGETS)
    return fail(e, E_CONFIG, "budgets holds %d numbers: expected 1 to %d", c->budgets.n, MAX_BUDGETS);
  for (int i = 1; i < c->budgets.n; i++)
    if (c->budgets.v[i] <= c->budgets.v[i - 1])
      return fail(e, E_CONFIG, "budgets: %g after %g: expected ascending numbers", c->budgets.v[i],
                  c->budgets.v[i - 1]);
  if (c->params_range.n ? check_pairs(&c->params_range, "params_range", c->budgets.n, e)
                        : check_pairs(&c->tokens_per_param, "tokens_per_param", c->budgets.n, e))
    return e->code;
  if ((c->seeds.n != 1 && c->seeds.n != c->budgets.n) || !whole(&c->seeds))
    return fail(e, E_CONFIG, "seeds: expected one whole number, or one for each of the %d budgets", c->budgets.n);
  return OK;
}

// ---- Identity and help --------------------------------------------------------------------------------

void config_run_id(const Config *c, uint64_t corpus_hash, char id[17]) {
  uint64_t h = corpus_hash;
  for (const Option *o = config_options; o->key; o++) {
    if (!has_word("model train eval", o->section) || !strcmp(o->key, "corpus")) continue;
    char value[1024];
    config_print_value(c, o, value, sizeof value);
    h = hash_bytes(h, o->key, strlen(o->key) + 1);
    h = hash_bytes(h, value, strlen(value) + 1);
  }
  snprintf(id, 17, "%016llx", (unsigned long long)h);
}

void config_help(FILE *f) {
  const char *section = "";
  for (const Option *o = config_options; o->key; o++) {
    if (strcmp(section, o->section)) fprintf(f, "\n[%s]\n", o->section);
    section = o->section;
    char range[80] = "text";
    if (o->type == OPT_BOOL) snprintf(range, sizeof range, "true or false");
    else if (o->choices) snprintf(range, sizeof range, "%s", o->choices);
    else if (o->type != OPT_STR) snprintf(range, sizeof range, "%g to %g", o->lo, o->hi);
    fprintf(f, "  %-19s %s\n  %-19s %s; default %s\n", o->key, o->help, "", range, *o->deflt ? o->deflt : "none");
  }
}
