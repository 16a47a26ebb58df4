// paper.c: see paper.h. In: the papers. Out: their numbers, unrounded where the source has more digits than the print.
// References: Hoffmann et al. 2022 (arXiv 2203.15556), tables 1 to 3, A2, A4, A9 and figure 3; Kaplan et al. 2020
// (arXiv 2001.08361), table 6; Besiroglu et al. 2024 (arXiv 2404.10102) for the unrounded surface.
#include "paper.h"
#include <math.h>
#include <string.h>

const PaperLaw paper_laws[] = {
    {"1", "1 envelope", {.50, .488, .502}, {.50, .501, .512}},
    {"2", "2 IsoFLOP", {.49, .462, .534}, {.51, .483, .529}},
    {"3", "3 surface", {.46, .454, .455}, {.54, .542, .543}},
    {"", "Kaplan et al. 2020", {.73, NAN, NAN}, {.27, NAN, NAN}},
    {0},
};

const PaperLaw *paper_law(const char *approach) {
  for (const PaperLaw *l = paper_laws; l->name; l++)
    if (!strcmp(l->approach, approach)) return l;
  return NULL;
}

const PaperCorpus paper_corpora[] = {{"C4", .50, .50}, {"GitHub", .53, .47}, {0}};

const PaperOptimum paper_table3[] = {
    {400e6, 1.92e19, 8.0e9},    {1e9, 1.21e20, 20.2e9},
    {10e9, 1.23e22, 205.1e9},   {67e9, 5.76e23, 1.5e12},
    {175e9, 3.85e24, 3.7e12},   {280e9, 9.90e24, 5.9e12},
    {520e9, 3.43e25, 11.0e12},  {1e12, 1.27e26, 21.2e12},
    {10e12, 1.30e28, 216.2e12}, {0, 0, 0},
};

// exp of .5267228, 6.0073404 and 6.0179186.
const Surface paper_surface = {1.6933736809989528, 406.4010175194737, 410.7228269450398, .33917084, .2849083};

const double paper_budgets[PAPER_BUDGETS] = {6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21};

const PaperModel paper_models[] = {
    {"GPT-3", 175e9, 300e9},       {"Gopher", 280e9, 300e9},     {"Jurassic-1", 178e9, 300e9},
    {"MT-NLG 530B", 530e9, 270e9}, {"Chinchilla", 70e9, 1.4e12}, {0},
};

double kaplan_size(double C) {
  const double petaflop_day = 8.64e19;
  return 1.3e9 * pow(C / petaflop_day, .73);
}

const PaperShape paper_shapes[] = {
    {"73M", 640, 10, 10, 1.03},
    {"305M", 1024, 20, 16, 1.10},
    {"552M", 1280, 24, 10, 1.08},
    {"1.1B", 1792, 26, 14, 1.04},
    {"1.6B", 2048, 28, 16, 1.03},
    {"6.8B", 3584, 40, 28, .99},
    {0},
};

enum { PAPER_VOCAB = 32000, PAPER_TOKENS = 2048 };

// The count that gives the printed digits: an embedding of V d; a layer has queries, keys, values, output and the
// projection of relative positions (5 d^2), and a feed-forward of 2 d f.
double paper_shape_params(const PaperShape *s) {
  const double d = s->d_model;
  return PAPER_VOCAB * d + s->n_layers * (5 * d * d + 2 * d * 4 * d);
}

double paper_shape_ratio(const PaperShape *s) {
  const Config c = {.d_model = s->d_model, .n_layers = s->n_layers, .n_heads = s->n_heads, .seq_len = PAPER_TOKENS};
  const double softmax = 3. * s->n_layers * 3 * s->n_heads * PAPER_TOKENS;  // 3 h S S a sequence, times 3 for training
  return (shape_flops(&c).nohead + softmax) / (6 * paper_shape_params(s));
}
