#!/bin/sh
# The kernels of 64-bit ARM, cross-built and run under emulation, without OpenBLAS and cmocka. TAP of three programs.
# Needs gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user. Usage: tests/neon.sh BUILD_DIR
set -eu
out=$1/neon
mkdir -p "$out"
for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
  command -v $tool >/dev/null && continue
  echo "$0: $tool is missing: apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user" >&2; exit 1
done
for t in checkkern test_vec test_softmax; do
  aarch64-linux-gnu-gcc -std=gnu11 -O2 -Wall -Wextra -Werror -fopenmp -D_GNU_SOURCE -Itests/neon -Ikernels -Isrc \
    tests/$t.c tests/bench_vec.c kernels/dispatch.c kernels/gemm.c kernels/gemm_*.c kernels/vec_*.c src/util.c -lm -o "$out/$t"
done
export QEMU_LD_PREFIX=/usr/aarch64-linux-gnu  # where the cross packages keep their libraries
qemu-aarch64 "$out/checkkern" neon
qemu-aarch64 "$out/test_vec"
qemu-aarch64 "$out/test_softmax"
