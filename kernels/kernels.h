// kernels.h: the hot core's public face. Knows matrices and rows of floats, nothing of models.
//
// Everything here is single-threaded unless its name says `team`, never allocates, and is
// deterministic: an output element is one fixed sequence of roundings, whatever the tiling, the
// caller's split of the work, or the number of threads.
//
// One table of function pointers per instruction set; dispatch.c picks one at start-up.
#ifndef ISOFLOP_KERNELS_H
#define ISOFLOP_KERNELS_H
#include <stddef.h>
#include <stdint.h>

// ---- Matrices -----------------------------------------------------------------------------------

// A view of floats: element (i, j) is p[i*rs + j*cs]. Owns nothing. A view made by gemm_pack() has
// cs == 0 and may only be the right operand of a gemm.
typedef struct Mat {
  float *p;
  int rows, cols;
  ptrdiff_t rs, cs;
} Mat;

static inline Mat mat(float *p, int rows, int cols) { return (Mat){p, rows, cols, cols, 1}; }
static inline Mat mat_ld(float *p, int rows, int cols, ptrdiff_t ld) { return (Mat){p, rows, cols, ld, 1}; }
static inline Mat tr(Mat a) { return (Mat){a.p, a.cols, a.rows, a.cs, a.rs}; }
static inline Mat mat_rows(Mat a, int i0, int n) { return (Mat){a.p + i0 * a.rs, n, a.cols, a.rs, a.cs}; }
static inline Mat mat_cols(Mat a, int j0, int n) { return (Mat){a.p + j0 * a.cs, a.rows, n, a.rs, a.cs}; }

// C = A B, or C += A B when `accumulate`. Shapes (m,n) (m,k) (k,n); C's rows must be contiguous (cs == 1)
// and C must not overlap A or B. With accumulate == 0, C is never read.
// Every C(i,j) is ONE serial chain of fused multiply-adds over k = 0, 1, 2, ..., started from 0 or
// from C(i,j). So a gemm over any sub-block of C, or over k in consecutive pieces with accumulate = 1,
// gives the same bits as the whole (except on the OpenBLAS backend, which promises nothing). The scalar table on a CPU
// without such an instruction rounds the product, too.
void gemm(Mat c, Mat a, Mat b, int accumulate);

// The same, called by every thread of an OpenMP parallel region: each does its share of C's blocks.
// No barrier at the end.
void gemm_team(Mat c, Mat a, Mat b, int accumulate);

// Lays out a (k,n) operand, given by any strides, as zero-padded column panels that the micro-kernel
// streams. Worth it for an operand used by several gemms, or whose strides are bad (tr(w)).
// `dst` holds gemm_pack_floats(k, n) floats, 64-byte aligned. Returns the view to pass as B, which may be cut to its first
// columns and to nothing else.
size_t gemm_pack_floats(int k, int n);
Mat gemm_pack(float *dst, Mat b);

// bf16: C, in floats, = or += A B with both operands rounded to bf16 (to nearest, ties to even; denormals to 0) on
// their way into thread-local scratch; of an operand's two strides, one must be 1. Every C(i,j) is ONE serial chain
// over pairs of k, of fused multiply-adds that flush denormals, within a pair the odd element first: what the
// instruction vdpbf16ps does, and other CPUs emulate bit for bit; or, with AMX, over blocks of 32 k
// (gemm_avx512amx.c). So sub-blocks of C, and consecutive pieces of k that begin at multiples of 2 bf16_step, give the
// same bits as the whole.
void gemm_bf16(Mat c, Mat a, Mat b, int accumulate);
void gemm_bf16_team(Mat c, Mat a, Mat b, int accumulate);  // B not packed
// gemm_pack for gemm_bf16: the returned view may only be its right operand, cut to its first rows or columns if at all.
// `dst` holds gemm_pack_bf16_floats(k, n) floats, 64-byte aligned.
size_t gemm_pack_bf16_floats(int k, int n);
Mat gemm_pack_bf16(float *dst, Mat b);

// ---- Rows ---------------------------------------------------------------------------------------

// Coefficients of one AdamW step (Loshchilov & Hutter 2019, Algorithm 2), bias corrections folded in.
//   g' = g * grad_scale;  m = b1 m + (1-b1) g';  v = b2 v + (1-b2) g'^2
//   p -= lr * ( (m * m_corr) / (sqrt(v * v_corr) + eps) + decay * p )
// With l2 != 0 (plain Adam) g' also gets + l2 * p and `decay` is 0.
typedef struct AdamCoef {
  float lr, b1, b2, eps, decay, l2, grad_scale, m_corr, v_corr;
} AdamCoef;

// Any 32 bits: a float, or two bf16 of consecutive k, the even one in the low half.
typedef uint32_t __attribute__((may_alias)) Word;
enum {
  MAX_NR = 32,   // width of the widest panels of B, to a multiple of which packed columns are rounded up
  BF16_NR = 32,  // of a bf16 micro-kernel's, which divides it
};

// Tiles of a product, each C[m x n] = or += A[m x k] B[k x n], `strips` strips of `across` tiles. A by any strides, rows
// of B at ldb and of C at ldc floats; the next strip's A lies a_strip on, the next tile's B b_across, C goes on.
// `b_right`: the columns of B from nr on, where n > nr, lie so far from the first.
// `tail`: steps of k at its end that leave room for stores, where those are scarce (kernels_init() knows the CPU's).
// `a_ahead`: floats of the next strip's A, from row to row, for a narrow tile (n <= nr/2) to fetch every four steps of k.
// `next`: rows, at ld_next, that are wanted soon after, for a tile to fetch as many as it has room for; or NULL, and
// then ld_next is 0.
typedef struct Tile {
  int m, n, k, across, strips, tail, accumulate;
  const float *a, *b, *next;
  float *c;
  ptrdiff_t a_rs, a_cs, ldb, ldc, ld_next, a_strip, b_across, b_right, a_ahead;
} Tile;

typedef struct Kernels {
  const char *name;        // "avx512": printed in every log and record, accepted by KERNELS=
  int (*supported)(void);  // does this CPU run it?

  // GEMM micro-kernel. m <= mr and n <= nr; or, for a narrow C, m <= 2 mr and n <= nr/2; or, unless mr3 is 0, for n ==
  // 3/2 nr, m from (mr3+1)/2 to mr3 and a stride of A that is 1; or, unless mr4 is 0, for n == 2 nr, m from (mr4+1)/2
  // to mr4 and a_cs == 1. Returns how many of the rows of `next` a tile has fetched.
  // tail: what its tiles get as theirs; large_caches: are this CPU's (gemm.c)?
  // bf16_as_floats: in bf16 it multiplies rounded floats, and bf16_ukr, if it has one, is not used (gemm_bf16.c).
  int mr, nr, mr3, mr4, tail, large_caches, bf16_mr, bf16_step, bf16_as_floats;
  int (*gemm_ukr)(const Tile *t);
  // Replace the whole driver (OpenBLAS; the clock of a profile); NULL = gemm.c, gemm_bf16.c.
  void (*gemm)(Mat c, Mat a, Mat b, int accumulate);
  void (*gemm_bf16)(Mat c, Mat a, Mat b, int accumulate);
  double (*fma_burst)(int rounds);  // independent multiply-adds in registers; returns the FLOPs done: timed, the peak
  // A transposed operand into a panel: dst[kk*nr + j] = src[j*ld + kk], kk < k, j < n; 0 for n <= j < nr. nr >= n >= 1,
  // a multiple of 16 (of the table's own nr where that is smaller).
  void (*pack_t)(Word *dst, int nr, const Word *src, ptrdiff_t ld, int k, int n);
  // bf16: the micro-kernel. Tiles as above, of words (k counts pairs), m <= bf16_mr, n <= BF16_NR, B a panel of
  // [pairs][BF16_NR]; one tile, and nothing next. Where it takes bf16_step > 1 pairs at a time, a_cs is 1, A's rows end
  // in zeros up to a multiple of them, and rows of A past the m-th are read, up to a multiple of bf16_step.
  void (*bf16_ukr)(const Tile *t);
  void (*bf16_along)(Word *dst, const float *x, int n);  // pairs (x[0], x[1]), (x[2], x[3]), ...; a 0 after an odd n
  // Row p of dst, at ld_dst: pairs (x[2p*ld + j], x[(2p+1)*ld + j]), j < n; a 0 after an odd k.
  void (*bf16_across)(Word *dst, ptrdiff_t ld_dst, const float *x, ptrdiff_t ld, int k, int n);

  // RMSNorm (Zhang & Sennrich 2019) of `rows` rows, each of `groups` independent groups of n floats:
  //   r = 1/sqrt(mean(x^2) + eps),  y = x * r * gain.   x, y: rows at ldx, ldy; gain [groups*n]; rstd [rows*groups].
  // y may be x. Layer norm: groups = 1. Query/key norm: groups = heads.
  void (*rmsnorm)(float *y, ptrdiff_t ldy, float *rstd, const float *x, ptrdiff_t ldx, const float *gain, int rows,
                  int groups, int n, float eps);
  // Its backward, from the stored x and rstd, with xh = x * rstd:
  //   dgain += sum over rows of dy * xh;  dx = rstd * (dy*gain - xh * mean(dy*gain*xh)) + base
  // dx, dy and base, which NULL makes 0: rows at ld. dx may be dy or base. Rows are visited in order, so dgain is one
  // serial chain.
  void (*rmsnorm_back)(float *dx, float *dgain, const float *dy, ptrdiff_t ld, const float *x, ptrdiff_t ldx,
                       const float *rstd, const float *gain, int rows, int groups, int n, const float *base);

  // Rotary positions (Su et al. 2021) on adjacent pairs, in place, `rows` rows of n floats at ld:
  //   (x0, x1) -> (x0 c - x1 s, x1 c + x0 s).  cosine, sine: [rows][n], both entries of a pair alike.
  // sign = +1 rotates, -1 rotates back (the transpose: its backward).
  void (*rope)(float *x, ptrdiff_t ld, const float *cosine, const float *sine, int rows, int n, float sign);

  // GELU, tanh form (Hendrycks & Gimpel 2016, eq. 2), as x * sigmoid(2u), u = sqrt(2/pi)(x + .044715 x^3).
  // Writes y and the derivative dy/dx (so that the backward is one multiplication). dydx may be NULL. y or dydx may be
  // x.
  void (*gelu)(float *y, float *dydx, const float *x, size_t n);

  // Causal softmax of `rows` rows of scores at ld, in place: row r has n + r scores s, which become softmax(scale*s),
  // then rows - 1 - r masked ones, which become 0. stats [rows][2]: the maximum of scale*s, 1/sum(exp(scale*s - max)).
  void (*softmax)(float *s, ptrdiff_t ld, int rows, int n, float scale, float *stats);
  // The same probabilities and zeros again from the stored stats, bit for bit.
  void (*softmax_again)(float *s, ptrdiff_t ld, int rows, int n, float scale, const float *stats);
  // Softmax backward on rows of the same form: ds = p * (ds - delta) * scale, in place on ds, 0 or -0 where p is 0, so
  // where masked; row r's delta = sum(p * dp) is delta[r * ld_delta].
  void (*softmax_back)(float *ds, const float *p, ptrdiff_t ld, int rows, int n, const float *delta, ptrdiff_t ld_delta,
                       float scale);

  // Cross-entropy of `rows` rows of n logits at ld against their targets, in nats, summed in order. When dscale != 0 a
  // row becomes dscale * (softmax - onehot(target)); otherwise it is left as scratch.
  double (*xent)(float *logits, ptrdiff_t ld, const uint8_t *targets, int rows, int n, float dscale);

  // `rows` rows of n floats rounded to bf16 (to nearest, ties to even; denormals to 0), still floats. swap: the two of
  // each pair (x[0], x[1]), (x[2], x[3]), ... change places; before the last one of an odd n comes a 0.
  void (*bf16_round)(float *y, ptrdiff_t ldy, const float *x, ptrdiff_t ldx, int rows, int n, int swap);

  // Of `rows` rows at ld, each of `groups` groups of n floats: sum x y of each group, into sums [rows*groups].
  void (*dots)(float *sums, const float *x, const float *y, ptrdiff_t ld, int rows, int groups, int n);
  // `rows` rows of n floats, from ldx to ldy. Rows of y may overlap: a later one wins.
  void (*copy)(float *y, ptrdiff_t ldy, const float *x, ptrdiff_t ldx, int rows, int n);
  void (*add)(float *y, const float *x, size_t n);                                     // y += x
  void (*mul)(float *y, const float *x, size_t n);                                     // y *= x
  double (*sumsq)(const float *x, size_t n);                                           // sum x^2, NaN and Inf propagate
  void (*adamw)(float *p, const float *g, float *m, float *v, size_t n, const AdamCoef *c);
} Kernels;

// The chosen table. Set by kernels_init(); read-only afterwards.
extern const Kernels *kern;

// Chooses a table: `force` (a name; NULL or "" = the environment variable KERNELS, else the best this CPU
// supports). Returns 0, or -1 if the name is unknown or this CPU cannot run it (then kern is unchanged).
int kernels_init(const char *force);
// All tables compiled in, NULL-terminated, slowest first; `openblas` last (never chosen by default).
extern const Kernels *const kernels_all[];
// "avx512 (14x32)", and for OpenBLAS its core name and thread count. Static storage.
const char *kernels_describe(const Kernels *k);
// What the variable OPENBLAS_CORETYPE has to be for OpenBLAS to be a peer; NULL: unset. OpenBLAS chooses by the CPU's
// number and takes one newer than itself for the oldest, "Prescott", a fifth as fast. With KERNELS=avx2: Haswell's.
const char *kernels_openblas_pin(void);

// The truth: C = A B + (accumulate ? C : 0) in double, rounded once; bound(i,j) = (|A||B|)(i,j) + |C| for error checks.
void gemm_ref(Mat c, double *bound, Mat a, Mat b, int accumulate);
#endif
