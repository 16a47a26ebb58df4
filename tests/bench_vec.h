// bench_vec.h: see bench_vec.c.
#ifndef ISOFLOP_BENCH_VEC_H
#define ISOFLOP_BENCH_VEC_H
#include "kernels.h"

void bench_vec(const Kernels *t);
#endif
