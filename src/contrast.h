// contrast.h: runs of a part that differ in one thing: grouped by budget and size, ordered by what was varied, with the
// mean of each level and the noise between seeds.
#ifndef ISOFLOP_CONTRAST_H
#define ISOFLOP_CONTRAST_H
#include "fit.h"

typedef double LevelOf(const Record *r);  // NaN: the run takes no part
typedef struct Item {
  const Record *r;
  const Curve *c;
  double level;
  int group;
} Item;
typedef struct Contrast {
  int n, groups;
  Item *item;      // finished runs, by group, level, seed
  double seed_sd;  // pooled over levels with two seeds or more; NaN without
} Contrast;
// Runs of one budget whose N differ by no more than the factor `near` are a group. E_MEMORY.
int contrast_make(Contrast *k, const PartFit *p, LevelOf *level, double near, Err *e);
void contrast_free(Contrast *k);

enum { MAX_LEVELS_SHOWN = 24 };
typedef struct Level {
  double level, mean, se;  // se of the mean by the pooled noise; NaN where that is unknown
  int first, n;            // its items
} Level;
// The levels of a group, ascending; returns how many.
int contrast_levels(const Contrast *k, int group, Level out[MAX_LEVELS_SHOWN]);
// The mean of level i less that of level `base`, and its standard error: where both have the same seeds, from the pairs
// (pooled over the group's levels: seeds share their data and much of their luck), else from the noise between seeds.
double contrast_difference(const Contrast *k, const Level *l, int n, int i, int base, double sd, double *se);
const Record *contrast_first(const Contrast *k, int group);  // of a group's runs; NULL: it has none

// The mean over a level's runs of the smoothed training loss at the share u of their horizon; NaN without curves.
double level_curve_at(const Contrast *k, const Level *l, double u);
#endif
