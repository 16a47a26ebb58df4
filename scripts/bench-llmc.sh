#!/bin/bash
# Ours beside llm.c's train_gpt2.c (github.com/karpathy/llm.c), a training step in alternation. In: the path of a checkout of it,
# shapes d,layers,heads,seq,batch (default: those of docs/performance.md). Its step has no clipping and learned positions, and is
# compiled by gcc with its own Makefile's flags. Out: CSV. Environment: ISOFLOP THREADS REPETITIONS SECONDS_A_SIDE.
# Usage: scripts/bench-llmc.sh CHECKOUT [SHAPE ...]
set -eu
[ -f "${1:-}/train_gpt2.c" ] || { echo "usage: scripts/bench-llmc.sh CHECKOUT [d,layers,heads,seq,batch ...]" >&2; exit 2; }
checkout=$1; shift
ISOFLOP=${ISOFLOP:-build/isoflop} THREADS=${THREADS:-1} REPETITIONS=${REPETITIONS:-9} SECONDS_A_SIDE=${SECONDS_A_SIDE:-0.3}
[ $# -gt 0 ] || set -- 32,2,2,256,8 64,3,2,256,8 96,4,3,256,8 128,4,4,256,8 192,5,6,256,8 256,6,8,256,8
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
gcc -Ofast -Wno-unused-result -Wno-ignored-pragmas -Wno-unknown-attributes -march=native -fopenmp -DOMP -w \
  -I"$checkout" scripts/bench-llmc.c -o "$tmp/llmc" -lm -lgomp
median() { sort -g | awk '{v[NR] = $1} END {printf "%.4f,%.4f,%.4f", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2, v[1], v[NR]}'; }
echo d_model,n_layers,n_heads,seq,batch_seqs,threads,ours_ms,ours_min,ours_max,llmc_ms,llmc_min,llmc_max,ratio
for shape in "$@"; do
  IFS=, read -r d l h t b <<<"$shape"
  : >"$tmp/ours"; : >"$tmp/theirs"
  for _ in $(seq "$REPETITIONS"); do
    "$ISOFLOP" bench step --csv --threads "$THREADS" --seconds "$SECONDS_A_SIDE" --set d_model="$d" --set n_layers="$l" \
      --set n_heads="$h" --set seq_len="$t" --set batch_tokens=$((t * b)) | tail -1 | cut -d, -f9 >>"$tmp/ours"
    OMP_NUM_THREADS=$THREADS "$tmp/llmc" "$d" "$l" "$h" "$t" "$b" "$SECONDS_A_SIDE" | tail -1 >>"$tmp/theirs"
  done
  ours=$(median <"$tmp/ours") theirs=$(median <"$tmp/theirs")
  echo "$shape,$THREADS,$ours,$theirs,$(awk -v a="${theirs%%,*}" -v b="${ours%%,*}" 'BEGIN {printf "%.2f", a / b}')"
done
