#!/bin/sh
# Our matrix products beside those of the libraries that are installed (Debian: libblis-openmp-dev libdnnl-dev libxsmm-dev):
# `isoflop bench gemm` with one rung more for each, all in one process, in alternation, checked alike.
# In: a built tree (B=build). Out: what `isoflop bench gemm` prints; with --csv then `scripts/bench-gemm-ratio.sh FILE`.
#   scripts/bench-gemm-peers.sh                                              the default products, within 50 s
#   scripts/bench-gemm-peers.sh --full --csv --threads 1 --kernels avx512,openblas,blis,onednn,libxsmm >peers.csv
set -eu
B=${B:-build} CC=${CC:-gcc}
lib=/usr/lib/$(uname -m)-linux-gnu
flags= libs=
if [ -e "$lib/blis-openmp/libblis.so" ]; then flags="$flags -DBLIS" libs="$libs -L$lib/blis-openmp -Wl,-rpath,$lib/blis-openmp -lblis"; fi
if [ -e "$lib/libdnnl.so" ]; then flags="$flags -DDNNL" libs="$libs -ldnnl"; fi
if [ -e "$lib/libxsmm.a" ] || [ -e "$lib/libxsmm.so" ] || [ -e /usr/lib/libxsmm.a ]; then flags="$flags -DXSMM" libs="$libs -lxsmm -ldl"; fi
[ -n "$flags" ] || { echo "bench-gemm-peers: none of BLIS, oneDNN, libxsmm is here: apt-get install libblis-openmp-dev libdnnl-dev libxsmm-dev" >&2; exit 1; }
[ -e "$B/src/main.o" ] || { echo "bench-gemm-peers: $B is not built: make B=$B" >&2; exit 1; }
ours=$(make -s --no-print-directory B="$B" --eval 'print-libs:;@echo $(LDLIBS)' print-libs)
# OpenBLAS, among ours, first: BLIS has functions of the same names.
$CC -std=gnu11 -O2 -fopenmp -D_GNU_SOURCE -Ikernels -Isrc $flags scripts/bench-gemm-peers.c \
  $(ls "$B"/src/*.o | grep -v '/main\.o$') "$B"/kernels/*.o $ours $libs \
  -o "$B/bench-gemm-peers"
# BLIS 0.9 takes some new CPUs for generic ones; 0 is its name for AVX-512 (skx).
if [ -z "${BLIS_ARCH_TYPE:-}" ] && grep -qw avx512f /proc/cpuinfo; then export BLIS_ARCH_TYPE=0; fi
[ "${KERNELS:-}" != avx2 ] || export BLIS_ARCH_TYPE=6 DNNL_MAX_CPU_ISA=AVX2 LIBXSMM_TARGET=hsw
exec "$B/bench-gemm-peers" bench gemm "$@"
