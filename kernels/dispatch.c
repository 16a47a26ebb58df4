// dispatch.c: one table of kernels per instruction set, and the choice of one at start-up.
//
// In: a name, or the environment variable KERNELS, or nothing (the best this CPU runs). Out: `kern`.
// Invariant: after kernels_init() no entry that a caller may use is NULL: a table's missing entries come from the
// nearest table below it that this CPU supports.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ukr.h"
#if __has_include("vec.h")
#include "vec.h"
#else
#define VEC_TABLE(isa)
#endif

static int always(void) { return 1; }
static const Kernels kernels_scalar = {
  .name = "scalar", .supported = always, .mr = 4, .nr = 8, .gemm_ukr = gemm_ukr_4x8_scalar,
  .fma_burst = fma_burst_scalar, VEC_TABLE(scalar)};

#ifdef __x86_64__
static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static int has_avx512(void) {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}
static const Kernels kernels_avx2 = {
  .name = "avx2", .supported = has_avx2, .mr = 6, .nr = 16, .gemm_ukr = gemm_ukr_6x16_avx2,
  .fma_burst = fma_burst_avx2, VEC_TABLE(avx2)};
static const Kernels kernels_avx512 = {
  .name = "avx512", .supported = has_avx512, .mr = 14, .nr = 32, .gemm_ukr = gemm_ukr_14x32_avx512,
  .fma_burst = fma_burst_avx512, VEC_TABLE(avx512)};
#endif

// mr and nr only steer how gemm_team() shares the work.
static const Kernels kernels_openblas = {
  .name = "openblas", .supported = always, .mr = 16, .nr = 32, .gemm = gemm_openblas};

const Kernels *const kernels_all[] = {
  &kernels_scalar,
#ifdef __x86_64__
  &kernels_avx2,
  &kernels_avx512,
#endif
  &kernels_openblas,
  NULL,
};

static Kernels chosen;  // a copy of the chosen table with its gaps filled
const Kernels *kern = &kernels_scalar;

// The members from `rmsnorm` on are function pointers and nothing else, so gaps can be filled slot by slot.
static void fill_gaps(Kernels *k, const Kernels *from) {
  typedef void (*Slot)(void);
  const size_t first = offsetof(Kernels, rmsnorm);
  for (size_t at = first; at + sizeof(Slot) <= sizeof(Kernels); at += sizeof(Slot))
    if (!*(Slot *)((char *)k + at)) memcpy((char *)k + at, (const char *)from + at, sizeof(Slot));
}

int kernels_init(const char *force) {
  if (!force || !*force) force = getenv("KERNELS");
  int found = -1;
  for (int i = 0; kernels_all[i]; i++) {
    if (!kernels_all[i]->supported()) continue;
    if (force && *force ? !strcmp(force, kernels_all[i]->name) : kernels_all[i] != &kernels_openblas) found = i;
  }
  if (found < 0) return -1;
  chosen = *kernels_all[found];
  for (int i = found - 1; i >= 0; i--) {
    if (!kernels_all[i]->supported()) continue;
    fill_gaps(&chosen, kernels_all[i]);
    if (!chosen.fma_burst) chosen.fma_burst = kernels_all[i]->fma_burst;
  }
  kern = &chosen;
  return 0;
}

const char *kernels_describe(const Kernels *k) {
  static char text[64];
  if (k->gemm == gemm_openblas) snprintf(text, sizeof text, "%s (%s, 1 thread a call)", k->name, gemm_openblas_core());
  else snprintf(text, sizeof text, "%s (%dx%d)", k->name, k->mr, k->nr);
  return text;
}
