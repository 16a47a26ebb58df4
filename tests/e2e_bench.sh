#!/bin/sh
# `isoflop bench`: columns, arithmetic, refusals. Speaks TAP. No figure of speed is judged. Environment: ISOFLOP.
. "$(dirname "$0")/lib.sh"
shape="--set d_model=16 --set n_layers=2 --set n_heads=2 --set seq_len=32 --set batch_tokens=96 --set threads=1"

# ---- gemm
"$ISOFLOP" bench gemm --csv --seconds 0.05 --threads 1 >"$T/gemm.csv" 2>"$T/err"
ok "gemm: the heading" sh -c 'head -1 "$1" | grep -qx kernel,op,m,n,k,threads,gflops,gflops_min,gflops_max,pct_peak,max_err' - "$T/gemm.csv"
ok "gemm: every rung of this machine has a row for the first product" sh -c '
  for k in scalar_naive scalar_interchange scalar_blocked scalar_packed scalar openblas; do grep -q "^$k,square,64,64,64,1," "$1" || { echo no $k; exit 1; }; done' - "$T/gemm.csv"
ok "gemm: minimum <= median <= maximum, errors below (k + 4) eps (bf16: 2^-7 more)" awk -F, '
  NR > 1 && !($8 > 0 && $8 <= $7 && $7 <= $9 && $11 >= 0 && $11 <= ($5 + 4) * 1.2e-7 + (/bf16|amx/ ? 0.008 : 0)) {print; bad = 1} END {exit bad || NR < 7}' "$T/gemm.csv"
ok "gemm: what was left out is said" grep -q "products left out" "$T/err"
fits() {  # fits ARGUMENT OF env: whatever OpenBLAS is pinned to, or takes a CPU for that it does not know
  env "$1" "$ISOFLOP" bench gemm --csv --seconds 0.01 --kernels openblas 2>&1 | grep '^# openblas (' >"$T/core"
  cat "$T/core"; [ -s "$T/core" ] && ! grep -q Prescott "$T/core"
}
if grep -qw avx2 /proc/cpuinfo; then
  ok "gemm: OpenBLAS has kernels that fit the CPU" fits -uOPENBLAS_CORETYPE
  ok "gemm: where it is pinned to older ones, too" fits OPENBLAS_CORETYPE=Prescott
else
  skip "gemm: OpenBLAS has kernels that fit the CPU" "no AVX2"
fi
ok "gemm: files for the picture" sh -c '"$1" bench gemm --seconds 0.01 --kernels openblas --out "$2" >/dev/null 2>&1 && grep -q "^openblas,square" "$2/gemm.csv" && grep -q "^bandwidth = [0-9]" "$2/machine.gp"' - "$ISOFLOP" "$T/o"

# ---- step: a token costs 3 (2 (24 C C + 4 T C) + 2 C V) = 73,728 FLOPs with C = 16, T = 32, V = 256
"$ISOFLOP" bench step --csv --seconds 0.02 $shape >"$T/step.csv" 2>"$T/err"
ok "arguments survive the start without OpenBLAS' variables" eval '! OPENBLAS_L2_SIZE=1 "$ISOFLOP" bench step --seconds 0.01 \
  $(for i in $(seq 33); do echo --set seed=$i; done) >/dev/null 2>"$T/log" && grep -q "more than 32 --set" "$T/log"'
ok "step: the heading" sh -c 'head -1 "$1" | grep -qx d_model,n_layers,n_heads,seq,batch_seqs,threads,precision,kernels,ms_median,ms_min,tokens_per_s,gflops_exact,pct_peak,rss_mb' - "$T/step.csv"
ok "step: the shape asked for, and FLOPs by its definition" awk -F, '
  NR == 2 {good = /^16,2,2,32,3,1,fp32,/ && $10 <= $9 && ($11 * $9 / 1e3 / 96 - 1) ^ 2 < 1e-4 && ($12 * 1e9 / $11 / 73728 - 1) ^ 2 < 1e-3 && $14 > 1}
  END {exit !good || NR != 2}' "$T/step.csv"

# ---- profile: products are told apart by shape; what each should add up to: forward and dx 2 layers x 24 C C a token, dw and the head's.
# C = 64: the feed-forward is as wide as the vocabulary.
"$ISOFLOP" bench step --profile --csv --seconds 0.05 $shape --set d_model=64 --set n_heads=4 >"$T/profile.csv" 2>"$T/err"
ok "profile: FLOPs of the linear layers and the head, by operation" awk -F, '
  {work[$8] = $12 * $10 * 1e6}  # GFLOP/s x ms
  function near(a, b) {return (a / b - 1) ^ 2 < 1e-2}
  END {t = 96; layers = 2 * 24 * 64 * 64 * t; head = 2 * 64 * 256 * t
    exit !(near(work["linear_forward"], layers) && near(work["linear_dx"], layers) && near(work["linear_dw"], layers + head) &&
           near(work["logits"], 2 * head))}' "$T/profile.csv"
ok "profile: operations and the rest add up to the step" awk -F, '
  NR > 1 && $8 != "step" {sum += $11} END {exit (sum - 100) ^ 2 > 1}' "$T/profile.csv"

# ---- The table of docs/gemm.md: a product that two runs had is compared within the first.
head=kernel,op,m,n,k,threads,gflops,gflops_min,gflops_max,pct_peak,max_err
printf '%s\n' $head avx512,forward,128,64,16,1,90,90,90,45,0 onednn,forward,128,64,16,1,100,100,100,50,0 >"$T/first.csv"
printf '%s\n' $head avx512,forward,128,64,16,1,80,80,80,40,0 onednn,forward,128,64,16,1,160,160,160,80,0 >"$T/second.csv"
paired() { "$(dirname "$0")"/../scripts/bench-gemm-table.sh "$@" | grep -qF '| 1 | 16 | forward | 45 | 50 | 0.90 [0.90, 0.90] | 1 of 1 | onednn |'; }
ok "table of products: pairs are of one run" paired "$T/first.csv" "$T/second.csv"

# ---- Refusals
refused "no bench named" 2 "gemm or step" "$ISOFLOP" bench
refused "unknown bench" 2 "unknown bench 'speed'" "$ISOFLOP" bench speed
refused "threads that are no number" 2 "threads two" "$ISOFLOP" bench gemm --threads two
refused "kernels that are not here" 2 "kernels mkl" "$ISOFLOP" bench gemm --kernels mkl
refused "an impossible shape" 3 "d_model = 33" "$ISOFLOP" bench step --set d_model=33
refused "an unknown key" 3 "unknown key 'dmodel'" "$ISOFLOP" bench step --set dmodel=32
echo "1..$n"
