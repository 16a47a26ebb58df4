// report.h: the sections of the page. Each leaves itself out where the study has nothing for it.
#ifndef ISOFLOP_REPORT_H
#define ISOFLOP_REPORT_H
#include "paper.h"
#include "plot.h"

// A section of the page: writes its HTML, and its tables and figures into the study's folder `dir`. Nothing where the
// study has no data for it. Returns e->code.
typedef int Section(FILE *f, const StudyFit *s, const char *dir, Err *e);

// report_tables.c: Table 2; every convention; the self-test; Approaches 2 and 3 with figure and table.
Section put_exponents, put_conventions, put_selftest, put_approach2, put_approach3;
// report_figures.c: Figs 2, 3 and 4
Section put_curves, put_isoflop, put_surface_figure;
// report_frontier.c: Fig 1, Tables 3 and A3, Fig A5
Section put_prediction, put_optima, put_curvature;
// report_corpora.c: Table A2 (parts code, synthetic), the ladder (parts kaplan-*)
Section put_corpora, put_ladder;
// report_training.c: Fig A1 (part cosine), Fig A7 (part adam)
Section put_cosine, put_optimizer;
// report_choices.c: parts neighbours, depth and heads, bf16
Section put_neighbours, put_invariance, put_precision;
// report_shapes.c: Tables A9 and A4
Section put_shapes;
// report_verdict.c
Section put_verdict;
// report_runs.c
Section put_excluded, put_runs, put_provenance;

// report_style.c
void put_head(FILE *f);
void put_tail(FILE *f);

// report_runs.c
typedef const char *(*GetText)(const Record *);
void put_distinct(FILE *f, const Records *rs, GetText get);  // each distinct text, in order of first appearance
const char *get_corpus(const Record *r);
#endif
