// bench_profile.c: where a training step's time goes. In: a config. Out: a row an operation, on stdout.
//
// The kernels are reached through one table (kernels.h). Here that table is copied and each entry replaced by one that
// looks at the clock, counts FLOPs and bytes, and calls the original; model.c and layers.c know nothing of it. A
// product is named by its shape: see product_slot(). One thread only, since the clock's slots are not shared. What the
// clock itself costs is measured and taken off; what no entry covers (copies, lookups, loops) is the rest of a step
// measured without clocks.
#include "bench.h"
#include "bench_gemm.h"
#include "model.h"
#include "shape.h"
#include <omp.h>
#include <stdlib.h>
#include <string.h>

typedef enum {
  LINEAR_FORWARD,
  LINEAR_DX,
  LINEAR_DW,
  LOGITS,
  ATTENTION_FORWARD,
  ATTENTION_BACKWARD,
  RMSNORM,
  RMSNORM_BACK,
  ROPE,
  GELU,
  SOFTMAX,
  SOFTMAX_AGAIN,
  SOFTMAX_BACK,
  XENT,
  ADD,
  MUL,
  DOTS,
  PACK,
  CLIP_NORM,
  ADAMW,
  N_SLOTS
} SlotId;
enum { MAX_STEPS = 400 };
// Sums over one step; ms: of each step, so that their median stands and a disturbed step does not count.
typedef struct Slot {
  double seconds, flops, bytes, ms[MAX_STEPS];
  long calls;
} Slot;
static Slot slots[N_SLOTS];
static const struct {
  const char *name, *what;
} NAMES[N_SLOTS] = {
    {"linear_forward", "y = x w: qkv, proj, fc, out"},
    {"linear_dx", "dx = dy tr(w)"},
    {"linear_dw", "dw += tr(x) dy, head included"},
    {"logits", "x head, and back to dx"},
    {"attention_gemm", "q tr(k), p v"},
    {"attention_gemm_back", "dp, dq, dk, dv; long sequences: s"},
    {"rmsnorm", ""},
    {"rmsnorm_back", ""},
    {"rope", ""},
    {"gelu", "and its derivative"},
    {"softmax", ""},
    {"softmax_again", "backward"},
    {"softmax_back", ""},
    {"xent", "softmax and cross-entropy of the logits"},
    {"add", ""},
    {"mul", ""},
    {"dots", "rows of attention by their gradients"},
    {"pack", "transposed weights, keys, values; bf16: rounded"},
    {"clip_norm", "sum of squares of the gradients"},
    {"adamw", ""},
};

static Kernels timed;                       // the table with a clock in every entry
static const Kernels *plain;                // and without
static bool backward;                       // since the last cross-entropy
static int T, C;                            // sequence, model width
static const float *logits_lo, *logits_hi;  // where the logits lie: the cross-entropy has told
static const float *grads_lo, *grads_hi;    // and the gradients

static void note(SlotId id, double start, double flops, double bytes) {
  Slot *s = &slots[id];
  s->seconds += now_seconds() - start;
  s->flops += flops;
  s->bytes += bytes;
  s->calls++;
}
#define TIMED(id, flops, bytes, call)                                                                                  \
  do {                                                                                                                 \
    const double start = now_seconds();                                                                                \
    call;                                                                                                              \
    note(id, start, flops, bytes);                                                                                     \
  } while (0)

static bool in_logits(const float *p) { return p >= logits_lo && p < logits_hi; }

// A linear layer's rows are those of whole sequences.
static SlotId product_slot(Mat c, Mat a) {
  const bool tall = a.rows % T == 0 && a.cs == 1;
  if (c.p >= grads_lo && c.p < grads_hi) return LINEAR_DW;
  if (in_logits(c.p) || in_logits(a.p)) return LOGITS;
  if (tall && a.cols % C == 0 && c.cols % C == 0) return backward ? LINEAR_DX : LINEAR_FORWARD;
  return backward ? ATTENTION_BACKWARD : ATTENTION_FORWARD;
}

static void timed_product(void (*product)(Mat, Mat, Mat, int), Mat c, Mat a, Mat b, int accumulate) {
  const double flops = 2.0 * c.rows * c.cols * a.cols;
  kern = plain;  // it runs with the original table, and what it calls is its own time
  TIMED(product_slot(c, a), flops, 0, product(c, a, b, accumulate));
  kern = &timed;
}
static void timed_gemm(Mat c, Mat a, Mat b, int accumulate) { timed_product(gemm, c, a, b, accumulate); }
static void timed_gemm_bf16(Mat c, Mat a, Mat b, int accumulate) { timed_product(gemm_bf16, c, a, b, accumulate); }
static void timed_rmsnorm(float *y, ptrdiff_t ldy, float *rstd, const float *x, ptrdiff_t ldx, const float *gain,
                          int rows, int groups, int n, float eps) {
  backward = false;
  TIMED(RMSNORM, 0, 8.0 * rows * groups * n, plain->rmsnorm(y, ldy, rstd, x, ldx, gain, rows, groups, n, eps));
}
static void timed_rmsnorm_back(float *dx, float *dgain, const float *dy, ptrdiff_t ld, const float *x, ptrdiff_t ldx,
                               const float *rstd, const float *gain, int rows, int groups, int n, const float *base) {
  TIMED(RMSNORM_BACK, 0, (base ? 16.0 : 12.0) * rows * groups * n,
        plain->rmsnorm_back(dx, dgain, dy, ld, x, ldx, rstd, gain, rows, groups, n, base));
}
static void timed_rope(float *x, ptrdiff_t ld, const float *cosine, const float *sine, int rows, int n, float sign) {
  TIMED(ROPE, 0, 16.0 * rows * n, plain->rope(x, ld, cosine, sine, rows, n, sign));
}
static void timed_gelu(float *y, float *dydx, const float *x, size_t n) {
  TIMED(GELU, 0, (dydx ? 12.0 : 8.0) * (double)n, plain->gelu(y, dydx, x, n));
}
static double causal(int rows, int n) { return rows * (n + (rows - 1) / 2.0); }  // a block's scores that count
static void timed_softmax(float *s, ptrdiff_t ld, int rows, int n, float scale, float *stats) {
  TIMED(SOFTMAX, 0, 8 * causal(rows, n), plain->softmax(s, ld, rows, n, scale, stats));
}
static void timed_softmax_again(float *s, ptrdiff_t ld, int rows, int n, float scale, const float *stats) {
  TIMED(SOFTMAX_AGAIN, 0, 8 * causal(rows, n), plain->softmax_again(s, ld, rows, n, scale, stats));
}
static void timed_softmax_back(float *ds, const float *p, ptrdiff_t ld, int rows, int n, const float *delta,
                               ptrdiff_t ld_delta, float scale) {
  TIMED(SOFTMAX_BACK, 0, 12 * causal(rows, n), plain->softmax_back(ds, p, ld, rows, n, delta, ld_delta, scale));
}
static double timed_xent(float *logits, ptrdiff_t ld, const uint8_t *targets, int rows, int n, float dscale) {
  double loss;
  const float *const end = logits + (rows - 1) * ld + n;
  if (!logits_lo || logits < logits_lo) logits_lo = logits;
  if (!logits_hi || end > logits_hi) logits_hi = end;
  TIMED(XENT, 0, (dscale != 0 ? 8.0 : 4.0) * rows * n, loss = plain->xent(logits, ld, targets, rows, n, dscale));
  backward = dscale != 0;
  return loss;
}
static void timed_add(float *y, const float *x, size_t n) { TIMED(ADD, 0, 12.0 * (double)n, plain->add(y, x, n)); }
static void timed_mul(float *y, const float *x, size_t n) { TIMED(MUL, 0, 12.0 * (double)n, plain->mul(y, x, n)); }
static void timed_dots(float *sums, const float *x, const float *y, ptrdiff_t ld, int rows, int groups, int n) {
  TIMED(DOTS, 0, 8.0 * rows * groups * n, plain->dots(sums, x, y, ld, rows, groups, n));
}
static void timed_pack_t(Word *dst, int nr, const Word *src, ptrdiff_t ld, int k, int n) {
  TIMED(PACK, 0, 8.0 * k * n, plain->pack_t(dst, nr, src, ld, k, n));
}
static void timed_bf16_along(Word *dst, const float *x, int n) {
  TIMED(PACK, 0, 6.0 * n, plain->bf16_along(dst, x, n));
}
static void timed_bf16_across(Word *dst, ptrdiff_t ld_dst, const float *x, ptrdiff_t ld, int k, int n) {
  TIMED(PACK, 0, 6.0 * k * n, plain->bf16_across(dst, ld_dst, x, ld, k, n));
}
static void timed_bf16_round(float *y, ptrdiff_t ldy, const float *x, ptrdiff_t ldx, int rows, int n, int swap) {
  TIMED(PACK, 0, 8.0 * rows * n, plain->bf16_round(y, ldy, x, ldx, rows, n, swap));
}
static double timed_sumsq(const float *x, size_t n) {
  double sum;
  TIMED(CLIP_NORM, 0, 4.0 * (double)n, sum = plain->sumsq(x, n));
  return sum;
}
static void timed_adamw(float *p, const float *g, float *m, float *v, size_t n, const AdamCoef *c) {
  TIMED(ADAMW, 0, 28.0 * (double)n, plain->adamw(p, g, m, v, n, c));
}

// What a pair of clock readings adds to the time between them.
static double clock_cost(void) {
  enum { READINGS = 2000 };
  double sum = 0, least = 1;
  for (int k = 0; k < 20; k++, sum = 0) {
    for (int i = 0; i < READINGS; i++) {
      const double start = now_seconds();
      sum += now_seconds() - start;
    }
    if (sum / READINGS < least) least = sum / READINGS;
  }
  return least;
}

static void row_print(bool csv, const Config *c, const char *name, const char *what, double calls, double ms,
                      double total, double bound, double rate, const char *unit) {
  const int B = c->batch_tokens / c->seq_len;
  if (csv)
    printf("%d,%d,%d,%d,%d,%s,%s,%s,%.0f,%.5f,%.2f,%.2f,%s,%.5f,%.3f\n", c->d_model, c->n_layers, c->n_heads,
           c->seq_len, B, c->precision, kern->name, name, calls, ms, 100 * ms / total, rate, unit, bound,
           bound > 0 ? ms / bound : 0);
  else {
    printf("  %-24s %9.0f %10.3f %6.1f%%", name, calls, ms, 100 * ms / total);
    if (bound > 0)
      printf(" %9.1f %-8s %10.3f %6.2fx  %s\n", rate, unit, bound, ms / bound, what);
    else
      printf(" %9s %-8s %10s %7s  %s\n", "", "", "", "", what);
  }
}

static double step_ms(Model *m, const uint8_t *tokens, int B) {
  const double start = now_seconds();
  model_step(m, tokens, B);
  optim_step(m, 1, 1e-4);
  return (now_seconds() - start) * 1e3;
}

int bench_profile(const Config *cfg, double seconds, bool csv, bool first, Err *e) {
  T = cfg->seq_len, C = cfg->d_model;
  logits_lo = logits_hi = NULL;
  Model m;
  if (model_new(&m, cfg, true, e)) return e->code;
  const int B = cfg->batch_tokens / T;
  const bool bf16 = strcmp(cfg->precision, "bf16") == 0;
  const size_t arrays = m.n_params * sizeof(float);
  uint8_t *tokens = mem_new((size_t)B * (T + 1), "bench", e);
  if (!tokens) {
    model_free(&m);
    return e->code;
  }
  grads_lo = m.grads, grads_hi = m.grads + m.n_params;
  for (int i = 0; i < B * (T + 1); i++) tokens[i] = (uint8_t)rng_u64(1, (uint64_t)i);

  plain = kern;
  timed = *kern;
  timed.gemm = timed_gemm, timed.gemm_bf16 = timed_gemm_bf16;
  timed.rmsnorm = timed_rmsnorm, timed.rmsnorm_back = timed_rmsnorm_back, timed.rope = timed_rope,
  timed.gelu = timed_gelu;
  timed.softmax = timed_softmax, timed.softmax_again = timed_softmax_again, timed.softmax_back = timed_softmax_back;
  timed.xent = timed_xent, timed.add = timed_add, timed.mul = timed_mul, timed.dots = timed_dots;
  timed.bf16_along = timed_bf16_along, timed.bf16_across = timed_bf16_across, timed.bf16_round = timed_bf16_round;
  timed.pack_t = timed_pack_t, timed.sumsq = timed_sumsq, timed.adamw = timed_adamw;
  static double whole[MAX_STEPS], peaks[MAX_STEPS];  // of the steps without clocks, in alternation with those with
  int steps = -1;                                    // the first one warms up
  for (const double began = now_seconds(); steps < 3 || (now_seconds() - began < seconds && steps < MAX_STEPS);
       steps++) {
    const int at = steps < 0 ? 0 : steps;
    peaks[at] = bf16 && !kern->bf16_as_floats ? bench_peak_bf16() : bench_peak(1);
    kern = plain;
    whole[at] = step_ms(&m, tokens, B);
    for (int i = 0; i < N_SLOTS; i++) slots[i].seconds = slots[i].flops = slots[i].bytes = 0, slots[i].calls = 0;
    kern = &timed;
    step_ms(&m, tokens, B);
    for (int i = 0; i < N_SLOTS; i++) slots[i].ms[at] = slots[i].seconds * 1e3;
  }
  kern = plain;
  const double step = bench_median(whole, steps), peak = bench_median(peaks, steps);
  free(tokens);
  model_free(&m);

  // Rows of activations pass through the caches, parameters and their moments through what holds all four arrays.
  const double near = bench_bandwidth(64 << 10), far = bench_bandwidth(2 * arrays), clock = clock_cost();
  if (csv && first)
    printf("d_model,n_layers,n_heads,seq,batch_seqs,precision,kernels,op,calls,ms,share_pct,rate,unit,bound_ms,times_"
           "bound\n");
  if (!csv)
    printf(
        "%sd_model %d, %d layers, %d heads, %d sequences of %d tokens, %s, %s, 1 thread: %.3f ms a step\n"
        "  bounds: %.1f GFLOP/s, %.0f GB/s for rows of activations, %.1f GB/s for %.1f MB of parameters and moments\n"
        "  %-24s %9s %10s %7s %9s %8s %10s %7s\n",
        first ? "" : "\n", cfg->d_model, cfg->n_layers, cfg->n_heads, B, T, cfg->precision, kern->name, step, peak,
        near, far, 4e-6 * (double)arrays, "operation", "calls", "ms", "share", "rate", "", "bound ms", "times");
  double covered = 0, bounds = 0;
  for (int i = 0; i < N_SLOTS; i++) {
    Slot *s = &slots[i];
    if (!s->calls) continue;
    const bool flops = s->flops > 0;
    const double ms = bench_median(s->ms, steps) - (double)s->calls * clock * 1e3, work = flops ? s->flops : s->bytes;
    const double bound = work / (flops ? peak : i >= CLIP_NORM ? far : near) * 1e-6;
    row_print(csv, cfg, NAMES[i].name, NAMES[i].what, (double)s->calls, ms, step, bound, work / ms * 1e-6,
              flops ? "GFLOP/s" : "GB/s");
    covered += ms;
    bounds += bound;
  }
  row_print(csv, cfg, "rest", "copies, lookups, loops", 1, step - covered, step, 0, 0, "");
  row_print(csv, cfg, "step", "", 1, step, step, bounds, shape_flops(cfg).exact * cfg->batch_tokens / step * 1e-6,
            "GFLOP/s");
  return OK;
}
