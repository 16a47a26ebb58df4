// study.h: a study file: what to run, in parts that share one folder.
//
// [study], [model], [train], [recipe], [eval] and [machine] hold for all parts. A section [part NAME] begins a part: a
// copy of what is shared, in which any option may be set again (one at least: a section without a key is none). A file
// without parts has one, named "isoflop".
#ifndef ISOFLOP_STUDY_H
#define ISOFLOP_STUDY_H
#include "config.h"

enum { MAX_PARTS = 32 };
typedef struct Part {
  char name[32];
  Config cfg;
  uint64_t corpus_hash;
  double corpus_tokens;  // of its training part
  int pair[2];           // of a verdict: the recommended size and the one 4x larger, by index in the family; -1: not known
} Part;

typedef struct Study {
  Config base;
  int n;
  Part part[MAX_PARTS];
} Study;

// Defaults, then the files' shared sections in their order, then the assignments "key=value" (or "NAME:key=value" for
// the part NAME), then the files' parts. Every part is checked. E_CONFIG, or E_IO for an unreadable file.
int study_load(Study *s, int n_files, const char *const *files, int n_sets, const char *const *sets, Err *e);
// Opens the corpus of every part once, for its hash and its length. E_CORPUS.
int study_corpora(Study *s, Err *e);
// A study of one part from a resolved config: for tests and for commands that make their own.
void study_single(Study *s, const Config *cfg, uint64_t corpus_hash, double corpus_tokens);
// The part of this name, -1 where there is none.
int study_part(const Study *s, const char *name);

// DIR/study.ini: all of it but [machine], which may change from one start to the next, and every part's corpus hash.
int study_save(const char *dir, const Study *s, Err *e);
// The study that DIR/study.ini holds, corpora as they were then: enough to plan without opening any. E_RECORD.
int study_read(const char *dir, Study *s, Err *e);
// Is DIR/study.ini this study on these corpora? E_RECORD, naming the first difference.
int study_compare(const char *dir, const Study *s, Err *e);
#endif
