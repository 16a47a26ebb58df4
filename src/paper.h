// paper.h: the numbers that Hoffmann et al. 2022 and Kaplan et al. 2020 published, as data, to stand beside ours.
#ifndef ISOFLOP_PAPER_H
#define ISOFLOP_PAPER_H
#include "fit.h"

// Table 2: exponents of N_opt ~ C^a and D_opt ~ C^b with the 10th and 90th percentile. `approach` as in fits.csv; the
// last row is Kaplan's and has none, nor percentiles (NaN). Ends with name == NULL.
typedef struct PaperLaw {
  const char *approach, *name;
  Interval a, b;
} PaperLaw;
extern const PaperLaw paper_laws[];
const PaperLaw *paper_law(const char *approach);  // NULL: the paper has no such row

// Table A2: Approach 2 on other text, four budgets each. Ends with name == NULL.
typedef struct PaperCorpus {
  const char *name;
  double a, b;
} PaperCorpus;
extern const PaperCorpus paper_corpora[];

// Table 3: the compute and the tokens for which a size is optimal, by Approach 1. Ends with N == 0.
typedef struct PaperOptimum {
  double N, C, D;
} PaperOptimum;
extern const PaperOptimum paper_table3[];

// The surface of Approach 3, from log A, log B, log E, alpha and beta as in the paper's source: the printed digits
// (1.69, 406.4, 410.7, .34, .28) move the optimal tokens per parameter by tens of percent.
extern const Surface paper_surface;

// The nine budgets of Fig 3, FLOPs.
enum { PAPER_BUDGETS = 9 };
extern const double paper_budgets[PAPER_BUDGETS];

// Figure 1's published models: size and tokens. Ends with name == NULL.
typedef struct PaperModel {
  const char *name;
  double N, D;
} PaperModel;
extern const PaperModel paper_models[];

// N_opt by Kaplan et al. 2020 (their table 6; parameters without embeddings).
double kaplan_size(double C);

// Table A4: six shapes (width, layers, heads) with key width d/h, feed-forward 4 d, 2,048 tokens, a vocabulary of
// 32,000, and the printed ratio of exact FLOPs to 6ND. Ends with name == NULL.
typedef struct PaperShape {
  const char *name;
  int d_model, n_layers, n_heads;
  double printed;
} PaperShape;
extern const PaperShape paper_shapes[];
double paper_shape_params(const PaperShape *s);
// By shape.c's counter and the softmax of Appendix F.
double paper_shape_ratio(const PaperShape *s);
#endif
