#!/bin/bash
# Before and after: the training step of two commits or more, alternated step by step in one process (bench-commits.c),
# which shows a change of 1 % where programs that are run in turn show 5 %. In: commits (`.`: the work tree's tracked
# files), then, after --, shapes d,layers,heads,seq,batch. Out: CSV; a ratio above 1: faster than the first.
# Environment: SECONDS_A_SHAPE THREADS KERNELS.
# Usage: scripts/bench-commits.sh COMMIT COMMIT ... [-- SHAPE ...]
set -eu
cd "$(dirname "$0")/.."
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
libs=$(make -s --no-print-directory --eval 'print-libs:;@echo $(LDLIBS)' print-libs)
libraries=() header=shape,threads,pairs,ms
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  commit=$1
  [ "$commit" != . ] || commit=$(git stash create)
  git rev-parse -q --verify "${commit:-HEAD}^{tree}" >/dev/null || { echo "bench-commits: $1 is no commit" >&2; exit 2; }
  tree=$tmp/${#libraries[@]}
  mkdir "$tree" && git archive "${commit:-HEAD}" | tar -x -C "$tree"
  make -s -j"$(nproc)" -C "$tree" OPT="-O3 -fPIC" >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; exit 1; }
  gcc -shared -fopenmp -Wl,-Bsymbolic $(find "$tree"/build/kernels "$tree"/build/src -name '*.o' ! -name main.o) $libs -o "$tree.so"
  [ ${#libraries[@]} -eq 0 ] || header=$header,ms_$1,ratio_$1,low,high
  libraries+=("$tree.so"); shift
done
[ ${#libraries[@]} -ge 2 ] || { echo "usage: scripts/bench-commits.sh COMMIT COMMIT ... [-- d,layers,heads,seq,batch ...]" >&2; exit 2; }
[ $# -gt 1 ] && shift || set -- 16,1,2,128,1 32,2,2,128,1 64,3,2,128,1 96,4,3,128,1 32,2,2,256,2 64,3,2,256,2 96,4,3,256,2 128,4,4,256,2 256,2,8,256,2
gcc -O2 -Wall -Wextra scripts/bench-commits.c -o "$tmp/bench" -ldl -lm
echo "$header"
"$tmp/bench" "${libraries[@]}" -- "${SECONDS_A_SHAPE:-10}" "${THREADS:-1}" "$@"
