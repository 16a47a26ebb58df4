// config.h: every option of a run and of a study, in one table that drives the INI files, --set, ranges, --help and
// the dump.
#ifndef ISOFLOP_CONFIG_H
#define ISOFLOP_CONFIG_H
#include "util.h"

enum { MAX_BUDGETS = 16 };
typedef struct NumList { int n; double v[2 * MAX_BUDGETS]; } NumList;  // room for a range per budget

// 0 in a field marked "rule" means: by recipe.c's rule in the model's size (resolved by recipe_resolve).
typedef struct Config {
  // [study]: which cells; not part of a run
  char study[64];
  NumList budgets;            // exact FLOPs of training, ascending
  NumList tokens_per_param;   // lowest and highest D/N of a budget's cells: one pair for all, or one for each budget
  NumList params_range;       // the same as lowest and highest N; when given, it takes the place of tokens_per_param
  int sizes_per_budget;
  NumList seeds;              // seeds per budget: one number for all or one for each
  char kind[16];              // isoflop, horizons, verdict
  int horizons;               // of each size, log-even over tokens_per_param (kind = horizons)
  int recentre;               // budgets of a group: each group but the first is centred on the law through those before
  double span;                // a centred budget's sizes lie within this factor of the centre
  char shapes[256], vary[256];  // shapes instead of the family's; options to vary at each cell; "none"
  char from[128];             // the parts whose fits make a verdict's forecast
  double from_flops;          // and the least compute of their runs; of other kinds: of the runs behind the laws
  // [model]
  int d_model, n_layers, n_heads, seq_len;
  bool tied, qk_norm;
  double rope_base;
  // [train]
  char corpus[512];           // synthetic, english, code or a path
  double budget;              // exact FLOPs; sets tokens when tokens is 0; recorded
  double tokens;              // the horizon D
  int batch_tokens;           // rule; a multiple of seq_len
  double lr;                  // rule; peak
  double lr_final;            // fraction of the peak at the end of the cosine
  double cosine_cycle;        // length of the cosine in horizons (1 = matched)
  double warmup;              // fraction of the horizon
  double beta1, beta2, eps;   // beta2: rule
  double weight_decay, clip;
  char optimizer[16];         // adamw, adam
  double init_scale, emb_std;
  char precision[16];         // fp32, bf16
  int seed;
  // [recipe]: the rule that fills what is marked so; what it gave is part of a run's identity, the rule itself is not
  double lr_at, lr_exponent, lr_horizon, lr_max;
  double batch_at, batch_exponent;
  double beta2_small, beta2_large, beta2_switch;
  // and how a part departs from it
  double lr_scale, batch_scale;          // factors on the rule
  double cosine_tokens, warmup_tokens;   // lengths that do not follow the horizon; 0: they do
  // [eval]
  double eval_tokens;         // final held-out loss: this many tokens of the held-out part, always the same ones
  int eval_points;            // held-out losses along the curve
  // [machine]: never changes a result
  int threads;
  double checkpoint_seconds;
  double heartbeat;           // s between two signs of life of a worker; after CLAIM_MISSED (claim.h) its cell is free
} Config;

typedef enum { OPT_INT, OPT_NUM, OPT_BOOL, OPT_STR, OPT_LIST } OptType;
typedef struct Option {
  const char *section, *key;
  OptType type;
  size_t offset, size;        // in Config; size of a string field
  const char *deflt;          // as text
  double lo, hi;              // inclusive range of numbers and of list items
  const char *choices;        // "adamw adam": allowed strings, or NULL
  const char *help;           // one line, with the unit
} Option;
extern const Option config_options[];  // ends with key == NULL

void config_defaults(Config *c);
// "key=value" (from --set); `where` begins the message. An unknown key names the nearest known one. E_CONFIG.
int config_set(Config *c, const char *assignment, const char *where, Err *e);
// Reads an INI file over *c. Wrong section, key, value or range, a key set twice: file:line in the message. E_CONFIG,
// or E_IO if unreadable. The sections [provenance] and [result] are skipped, so that a record can be run again.
int config_load(Config *c, const char *path, Err *e);
// The same from memory; `name` stands for the file in messages.
int config_parse(Config *c, const char *text, const char *name, Err *e);
// The option [section] key to the value of this text; section NULL: any. `where` begins the message. E_CONFIG.
int config_set_key(Config *c, const char *section, const char *key, const char *value, const char *where, Err *e);
// Does the run itself, and so its id, follow this option? Not those of [study] and [machine], nor the corpus' name.
bool config_is_of_run(const char *key);
// The same, once for each key: *seen remembers, a bit an option, and a second time is E_CONFIG. NULL: no section is wrong.
int config_set_once(Config *c, const char *section, const char *key, const char *value, uint64_t *seen,
                    const char *where, Err *e);
// The value of an option as text, at full precision, as config_dump writes it.
void config_print_value(const Config *c, const Option *o, char *text, size_t size);
// A number as the shortest text that reads back as the same bits; "nan" for NaN. Returns the length.
int config_print_number(char *text, size_t size, double v);

// Walks an INI text: calls `each` for every key = value with where = "name:line", stops at the first error. An error of
// syntax gets the exit code `code`.
typedef int IniEach(void *user, const char *section, const char *key, const char *value, const char *where, Err *e);
int ini_each(const char *text, const char *name, int code, IniEach *each, void *user, Err *e);
// Writes every option of the given sections ("model train eval"), or all when NULL, as INI, numbers at full precision.
void config_dump(const Config *c, const char *sections, FILE *f);
// Checks what single ranges cannot: d_model % n_heads, even head width, batch a multiple of seq_len, ... E_CONFIG.
int config_check(const Config *c, Err *e);
// Identity of a run: hash of [model], [train], [eval] as resolved, with the corpus by its content and not by its name.
// Hex, 16 digits + NUL.
void config_run_id(const Config *c, uint64_t corpus_hash, char id[17]);
void config_help(FILE *f);  // every option with range, default and help, for --help
#endif
