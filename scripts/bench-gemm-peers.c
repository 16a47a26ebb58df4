// bench-gemm-peers.c: `isoflop bench gemm` with other libraries as further rungs, in the same alternation and under the
// same checks. Built and run by bench-gemm-peers.sh with those of -DBLIS -DDNNL -DXSMM that are installed; nothing else
// of the project needs them. In and out: as `isoflop bench gemm`.
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"
#include "bench_gemm.h"

#ifdef BLIS
#include <blis.h>
static void gemm_blis(Mat c, Mat a, Mat b, int accumulate) {
  float one = 1, beta = accumulate ? 1 : 0;
  bli_thread_set_num_threads(omp_get_max_threads());
  bli_sgemm(BLIS_NO_TRANSPOSE, BLIS_NO_TRANSPOSE, c.rows, c.cols, a.cols, &one, a.p, a.rs, a.cs, b.p, b.rs, b.cs, &beta,
            c.p, c.rs, c.cs);
}
#endif

#ifdef DNNL
#include <oneapi/dnnl/dnnl.h>
static dnnl_memory_desc_t dnnl_view(Mat x) {
  dnnl_memory_desc_t d;
  dnnl_memory_desc_init_by_strides(&d, 2, (dnnl_dims_t){x.rows, x.cols}, dnnl_f32, (dnnl_dims_t){x.rs, x.cs});
  return d;
}
// The matmul primitive on our layouts, made once for a product; it lives until operands or threads change.
static void gemm_dnnl(Mat c, Mat a, Mat b, int accumulate) {
  static struct {
    Mat c, a, b;
    int accumulate, threads;
  } of;
  static dnnl_engine_t engine;
  static dnnl_stream_t stream;
  static dnnl_primitive_t matmul;
  static dnnl_memory_t mc, ma, mb;
  const int threads = omp_get_max_threads();
  if (!engine) {
    dnnl_engine_create(&engine, dnnl_cpu, 0);
    dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);
  }
  if (memcmp(&of.c, &c, sizeof c) || memcmp(&of.a, &a, sizeof a) || memcmp(&of.b, &b, sizeof b) ||
      of.accumulate != accumulate || of.threads != threads) {
    if (matmul) {
      dnnl_primitive_destroy(matmul);
      dnnl_memory_destroy(mc), dnnl_memory_destroy(ma), dnnl_memory_destroy(mb);
    }
    const dnnl_memory_desc_t dc = dnnl_view(c), da = dnnl_view(a), db = dnnl_view(b);
    dnnl_matmul_desc_t desc;
    dnnl_primitive_attr_t attr;
    dnnl_primitive_desc_t pd;
    dnnl_matmul_desc_init(&desc, &da, &db, NULL, &dc);
    dnnl_primitive_attr_create(&attr);
    if (accumulate) {
      dnnl_post_ops_t post;
      dnnl_post_ops_create(&post);
      dnnl_post_ops_append_sum(post, 1);
      dnnl_primitive_attr_set_post_ops(attr, post);
      dnnl_post_ops_destroy(post);
    }
    dnnl_primitive_desc_create(&pd, &desc, attr, engine, NULL);
    dnnl_primitive_create(&matmul, pd);
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
    dnnl_memory_create(&mc, &dc, engine, c.p);
    dnnl_memory_create(&ma, &da, engine, a.p);
    dnnl_memory_create(&mb, &db, engine, b.p);
    of.c = c, of.a = a, of.b = b, of.accumulate = accumulate, of.threads = threads;
  }
  const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, ma}, {DNNL_ARG_WEIGHTS, mb}, {DNNL_ARG_DST, mc}};
  dnnl_primitive_execute(matmul, stream, 3, args);
  dnnl_stream_wait(stream);
}
#endif

#ifdef XSMM
#include <libxsmm.h>
// libxsmm generates kernels for one small size each and leaves the loops to its caller: blocks of 64 x 64 x up to 256
// here. It is column-major: it computes tr(C) = tr(B) tr(A). A transposed B it cannot read; such a B is copied once a
// product, outside the clock, like a packed weight.
enum { XM = 64, XN = 64, XK = 256 };
static int least(int a, int b) { return a < b ? a : b; }

static Mat plain_copy(Mat b) {
  static Mat of;
  static float *copy;
  if (memcmp(&of, &b, sizeof b)) {
    free(copy);
    copy = aligned_alloc(64, ((size_t)b.rows * b.cols * sizeof *copy + 63) / 64 * 64);
    of = b;
    for (int i = 0; i < b.rows; i++)
      for (int j = 0; j < b.cols; j++) copy[(size_t)i * b.cols + j] = b.p[i * b.rs + j * b.cs];
  }
  return mat(copy, b.rows, b.cols);
}

static void gemm_xsmm(Mat c, Mat a, Mat b, int accumulate) {
  const int k_all = a.cols, a_t = a.cs != 1, lda = (int)(a_t ? a.cs : a.rs), ldc = (int)c.rs;
  if (b.cs != 1) b = plain_copy(b);
  const int ldb = (int)b.rs, m_blocks = (c.rows + XM - 1) / XM, n_blocks = (c.cols + XN - 1) / XN;
#pragma omp parallel for collapse(2) schedule(static) if (omp_get_max_threads() > 1)
  for (int mb = 0; mb < m_blocks; mb++)
    for (int nb = 0; nb < n_blocks; nb++)
      for (int k0 = 0; k0 < k_all; k0 += XK) {
        const int i0 = mb * XM, j0 = nb * XN, m = least(XM, c.rows - i0), n = least(XN, c.cols - j0),
                  k = least(XK, k_all - k0);
        const int flags = a_t ? LIBXSMM_GEMM_FLAG_TRANS_B : LIBXSMM_GEMM_FLAG_NONE, prefetch = LIBXSMM_PREFETCH_NONE;
        const float alpha = 1, beta = accumulate || k0 > 0 ? 1 : 0;
        const libxsmm_smmfunction f = libxsmm_smmdispatch(n, m, k, &ldb, &lda, &ldc, &alpha, &beta, &flags, &prefetch);
        if (!f) abort();  // no kernel of this size on this CPU
        f(b.p + k0 * b.rs + j0, a.p + i0 * a.rs + k0 * a.cs, c.p + i0 * c.rs + j0);
      }
}
#endif

// Puts a peer on the ladder; `core` is what it takes this CPU for.
static void peer(const char *name, void (*run)(Mat c, Mat a, Mat b, int accumulate), const char *version,
                 const char *core) {
  static char about[GEMM_MAX_PEERS][64];
  static int n;
  snprintf(about[n], sizeof about[n], "%s, %s", version, core);
  bench_gemm_peers[n] = (GemmRung){name, NULL, run, true, INFINITY, false, about[n]};
  n++;
}

int main(int argc, char **argv) {
#ifdef BLIS
  bli_init();
  peer("blis", gemm_blis, bli_info_get_version_str(), bli_arch_string(bli_arch_query_id()));
#endif
#ifdef DNNL
  const dnnl_version_t *v = dnnl_version();
  const dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
  char version[32];
  snprintf(version, sizeof version, "%d.%d.%d", v->major, v->minor, v->patch);
  peer("onednn", gemm_dnnl, version,
       isa == dnnl_cpu_isa_avx512_core_bf16 ? "avx512_core_bf16" : isa == dnnl_cpu_isa_avx2 ? "avx2" : "another isa");
#endif
#ifdef XSMM
  libxsmm_init();
  peer("libxsmm", gemm_xsmm, LIBXSMM_VERSION, libxsmm_get_target_arch());
#endif
  return kernels_init(NULL) || argc < 2 ? E_USAGE : bench_main(argc - 1, argv + 1);
}
