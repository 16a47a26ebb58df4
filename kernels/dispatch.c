// dispatch.c: one table of kernels per instruction set, and the choice of one at start-up.
//
// In: a name, or the environment variable KERNELS, or nothing (the best this CPU runs). Out: `kern`.
// Invariant: after kernels_init() no entry that a caller may use is NULL: a table's missing entries come from the
// nearest table below it that this CPU supports.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __x86_64__
#include <sys/syscall.h>
#endif
#include "ukr.h"
#include "vec.h"

#if __has_include(<cblas.h>)  // the one library here; the tests of another architecture are built without it
#define HAVE_OPENBLAS 1
#endif

enum { LARGE_CACHE = 2 << 20 };  // of the second level: a Xeon's; Zen 3 has 512 KiB
static int always(void) { return 1; }
#define BF16_TILE .bf16_mr = 14, .bf16_step = 1
static const Kernels kernels_scalar = {
  .name = "scalar", .supported = always, .mr = 4, .nr = 8, .gemm_ukr = gemm_ukr_4x8_scalar,
  .fma_burst = fma_burst_scalar, .pack_t = pack_t_scalar, BF16_TILE, .bf16_ukr = bf16_ukr_scalar,
  .bf16_along = bf16_along_scalar, .bf16_across = bf16_across_scalar, VEC_TABLE(scalar)};

#ifdef __x86_64__
enum { TAIL = 4 };  // of AVX2's tiles everywhere (without it .99x), of AVX-512's on Zen 4
static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static int has_avx512(void) {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}
static int has_avx512bf16(void) { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }
// Tiles exist for a process that has asked for them (Linux 5.16).
static int has_avx512amx(void) {
  enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
  return has_avx512bf16() && __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16") &&
         syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}
static const Kernels kernels_avx2 = {
  .name = "avx2", .supported = has_avx2, .mr = 6, .nr = 16, .mr3 = 4, .tail = TAIL, .gemm_ukr = gemm_ukr_6x16_avx2,
  .fma_burst = fma_burst_avx2, .pack_t = pack_t_avx2, BF16_TILE, .bf16_as_floats = 1, VEC_TABLE(avx2)};
static const Kernels kernels_avx512 = {
  .name = "avx512", .supported = has_avx512, .mr = 14, .nr = 32, .mr3 = 9, .mr4 = 6, .gemm_ukr = gemm_ukr_14x32_avx512,
  .fma_burst = fma_burst_avx512, .pack_t = pack_t_avx512, VEC_TABLE(avx512)};
// What AVX512-BF16 adds to it; not a table of its own, since for floats it would be the same one.
static const Kernels extra_avx512bf16 = {
  BF16_TILE, .bf16_ukr = bf16_ukr_avx512bf16, .bf16_along = bf16_along_avx512bf16,
  .bf16_across = bf16_across_avx512bf16};
// For floats the same again; a table of its own, because in bf16 it adds in another order.
static const Kernels kernels_avx512amx = {
  .name = "avx512amx", .supported = has_avx512amx, .mr = 14, .nr = 32, .mr3 = 9, .mr4 = 6,
  .gemm_ukr = gemm_ukr_14x32_avx512, .bf16_mr = 32, .bf16_step = 16, .bf16_ukr = bf16_ukr_avx512amx};
#elif defined __aarch64__
VEC_DECLARE(neon);
static const Kernels kernels_neon = {
  .name = "neon", .supported = always, .mr = 6, .nr = 16, .gemm_ukr = gemm_ukr_6x16_neon,
  .fma_burst = fma_burst_neon, VEC_TABLE(neon)};
#endif

#if HAVE_OPENBLAS
// mr and nr only steer how gemm_team() shares the work.
static const Kernels kernels_openblas = {
  .name = "openblas", .supported = always, .mr = 16, .nr = 32, .gemm = gemm_openblas};
#endif

const Kernels *const kernels_all[] = {
  &kernels_scalar,
#ifdef __x86_64__
  &kernels_avx2,
  &kernels_avx512,
  &kernels_avx512amx,
#elif defined __aarch64__
  &kernels_neon,
#endif
#if HAVE_OPENBLAS
  &kernels_openblas,
#endif
  NULL,
};

static Kernels chosen;  // a copy of the chosen table with its gaps filled
const Kernels *kern = &kernels_scalar;

// The members from `fma_burst` on are function pointers and nothing else, so gaps can be filled slot by slot.
static void fill_gaps(Kernels *k, const Kernels *from) {
  typedef void (*Slot)(void);
  const size_t first = offsetof(Kernels, fma_burst);
  if (!k->bf16_mr && (from->bf16_ukr || k->gemm_ukr))  // floats only where there is a micro-kernel for them
    k->bf16_mr = from->bf16_mr, k->bf16_step = from->bf16_step, k->bf16_as_floats = from->bf16_as_floats;
  for (size_t at = first; at + sizeof(Slot) <= sizeof(Kernels); at += sizeof(Slot))
    if (!*(Slot *)((char *)k + at)) memcpy((char *)k + at, (const char *)from + at, sizeof(Slot));
}

int kernels_init(const char *force) {
  if (!force || !*force) force = getenv("KERNELS");
  int found = -1;
  for (int i = 0; kernels_all[i]; i++) {
    if (!kernels_all[i]->supported()) continue;
    if (force && *force ? !strcmp(force, kernels_all[i]->name) : !kernels_all[i]->gemm) found = i;
  }
  if (found < 0) return -1;
  chosen = *kernels_all[found];
  chosen.large_caches = sysconf(_SC_LEVEL2_CACHE_SIZE) >= LARGE_CACHE;
  for (int i = found; i >= 0; i--) {
    if (!kernels_all[i]->supported()) continue;
#ifdef __x86_64__
    if (kernels_all[i] == &kernels_avx512 && has_avx512bf16()) fill_gaps(&chosen, &extra_avx512bf16);
#endif
    fill_gaps(&chosen, kernels_all[i]);
  }
#ifdef __x86_64__
  // Zen 4 finds room for one store of 512 bits in seven multiply-adds, and stops for a burst; others keep a tile's stores
  // for the time of the next tile's multiply-adds.
  if (__builtin_cpu_is("amd")) chosen.tail = TAIL;
  // Of vdpbf16ps Intel's start one every other cycle, in the time of four multiply-adds, AMD's as many as of those.
  if (__builtin_cpu_is("intel") && chosen.bf16_ukr == bf16_ukr_avx512bf16 && chosen.gemm_ukr) chosen.bf16_as_floats = 1;
#endif
  kern = &chosen;
  return 0;
}

#if HAVE_OPENBLAS
// The OpenBLAS kernels for what this CPU has, by its names for them; NULL: its own choice.
static const char *openblas_fitting(void) {
#ifdef __x86_64__
  if (has_avx512()) return has_avx512bf16() ? "Cooperlake" : "SkylakeX";
  if (has_avx2()) return "Haswell";
#endif
  return NULL;
}

const char *kernels_openblas_pin(void) {
  const char *table = getenv("KERNELS"), *pinned = getenv("OPENBLAS_CORETYPE"), *fitting = openblas_fitting();
  if (table && !strcmp(table, "avx2")) return "Haswell";
  const int unknown = pinned ? fitting && !strcmp(pinned, fitting) : !strcmp(gemm_openblas_core(), "Prescott");
  return unknown ? fitting : NULL;
}
#else
const char *kernels_openblas_pin(void) { return NULL; }
#endif

const char *kernels_describe(const Kernels *k) {
  static char text[64];
#if HAVE_OPENBLAS
  if (k->gemm) {
    snprintf(text, sizeof text, "%s (%s, 1 thread a call)", k->name, gemm_openblas_core());
    return text;
  }
#endif
  snprintf(text, sizeof text, "%s (%dx%d)", k->name, k->mr, k->nr);
  return text;
}
