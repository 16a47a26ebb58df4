#!/bin/sh
# The measurements of docs/performance.md but for its sweeps, on a machine that does nothing else. In: a built tree (B=build), the
# packages python3-torch libblis-openmp-dev libdnnl-dev libxsmm-dev, for llmc a checkout of llm.c as LLMC. Out: OUT
# (out/bench)/*.csv and the texts beside them. A stage whose file is there is not run again. Usage: scripts/bench-all.sh
# [STAGE ...]   (ladder step profile torch1 peers1 torch2 peers2 by default, about 45 minutes; also bf16 llmc avx2)
set -eu
B=${B:-build} OUT=${OUT:-out/bench}
export B
mkdir -p "$OUT"
best=avx2
if grep -qw avx512f /proc/cpuinfo; then best=avx512; fi
peers=$best,openblas,blis,onednn,libxsmm
if grep -qw avx512_bf16 /proc/cpuinfo; then peers=$peers,avx512bf16; fi
if grep -qw amx_bf16 /proc/cpuinfo; then peers=$peers,avx512amx; fi
run() {  # run FILE COMMAND...: stdout to FILE, stderr beside it; whole or not at all
  file=$OUT/$1; shift
  if [ -e "$file" ]; then echo "$file: there already"; return; fi
  echo "$(date +%T) $file: $*"
  "$@" >"$file.part" 2>"$file.log" || { cat "$file.log" >&2; exit 1; }
  mv "$file.part" "$file"
}
stage() {
  case $1 in
    ladder) run gemm.txt "$B/isoflop" bench gemm --out "$OUT"; gnuplot -e "dir='$OUT'" scripts/bench-gemm-plot.gp ;;
    step) run step.csv "$B/isoflop" bench step --full --csv ;;
    profile) run profile.txt "$B/isoflop" bench step --profile --full ;;
    torch1) run torch-1.csv scripts/bench-torch.py --isoflop "$B/isoflop" --csv ;;
    torch2) run torch-2.csv scripts/bench-torch.py --isoflop "$B/isoflop" --csv --threads 2 ;;
    bf16) run torch-bf16.csv scripts/bench-torch.py --isoflop "$B/isoflop" --csv --precision bf16 ;;
    llmc) run llmc.csv env ISOFLOP="$B/isoflop" scripts/bench-llmc.sh "${LLMC:?the folder of a checkout of llm.c}" ;;
    peers1) run peers-1.csv scripts/bench-gemm-peers.sh --full --csv --threads 1 --kernels $peers ;;
    peers2) run peers-2.csv scripts/bench-gemm-peers.sh --full --csv --threads 2 --kernels $peers ;;
    avx2) run peers-avx2.csv env KERNELS=avx2 scripts/bench-gemm-peers.sh --full --csv --threads 1 \
      --kernels avx2,openblas,blis,onednn,libxsmm ;;
    *) echo "bench-all: unknown stage $1: ladder step profile torch1 torch2 bf16 llmc peers1 peers2 avx2" >&2; exit 2 ;;
  esac
}
[ $# -gt 0 ] || set -- ladder step profile torch1 peers1 torch2 peers2
for s in "$@"; do stage "$s"; done
for t in 1 2 avx2; do
  case $t in avx2) OURS=avx2 ;; *) OURS=$best ;; esac
  export OURS
  [ ! -e "$OUT/peers-$t.csv" ] || scripts/bench-gemm-ratio.sh "$OUT/peers-$t.csv" >"$OUT/peers-$t.txt"
done
