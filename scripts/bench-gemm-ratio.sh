#!/bin/sh
# Ours against the best of the peers, from the CSV of bench-gemm-peers.sh or `isoflop bench gemm`.
# In: the CSV; OURS=avx512 (or another rung). Out: by threads and width d (the least dimension), over forward, dx and dw: geometric
# means in % of the peak for each kernel, of ours over the best peer of each product, the least ratio; then every product
# where a peer is ahead. Usage: scripts/bench-gemm-ratio.sh peers.csv
set -eu
awk -F, -v ours="${OURS:-avx512}" '
  NR == 1 || $1 ~ /^scalar/ || ($1 ~ /^avx/ && $1 != ours) {next}
  {
    key = $2 "," $3 "," $4 "," $5 "," $6
    if (!(key in seen)) {seen[key] = ++n; name[n] = key; op[n] = $2; threads[n] = $6; d[n] = $3 < $4 ? $3 : $4; if ($5 < d[n]) d[n] = $5}
    i = seen[key]
    if (!($1 in known)) {known[$1] = ++kernels; kernel[kernels] = $1}
    pct[i, $1] = $10; rate[i, $1] = $7
    if ($1 == ours) best[i] = 0  # it comes first: of a product that is there twice, as d x 256 at d = 64, the last counts
    if ($1 != ours && $7 > best[i]) {best[i] = $7; who[i] = $1}
  }
  END {
    for (i = 1; i <= n; i++) {
      if (!rate[i, ours] || !best[i]) continue
      linear = op[i] == "forward" || op[i] == "dx" || op[i] == "dw"
      g = sprintf("%3d %-10s", threads[i], linear ? sprintf("d = %d", d[i]) : op[i])
      if (!(g in count)) {group[++groups] = g; least[g] = 1e9}
      count[g]++
      ratio = rate[i, ours] / best[i]
      logs[g] += log(ratio)
      if (ratio < least[g]) {least[g] = ratio; at[g] = name[i]}
      for (k = 1; k <= kernels; k++) if (pct[i, kernel[k]] > 0) {mean[g, k] += log(pct[i, kernel[k]]); have[g, k]++}
      if (ratio < 1) behind[++behinds] = sprintf("%-32s %8.1f  %-9s %8.1f  %.3f", name[i], rate[i, ours], who[i], best[i], ratio)
    }
    printf "thr products  "
    for (k = 1; k <= kernels; k++) printf " %9s", kernel[k]
    print "   ours/best   least  at op,m,n,k,threads"
    for (j = 1; j <= groups; j++) {
      g = group[j]
      printf "%s", g
      for (k = 1; k <= kernels; k++) if (have[g, k] == count[g]) printf " %8.0f%%", exp(mean[g, k] / count[g]); else printf " %9s", "-"
      printf "  %9.2fx %6.2fx  %s\n", exp(logs[g] / count[g]), least[g], at[g]
    }
    print behinds + 0 " of " n " products where a peer is ahead" (behinds ? " (op,m,n,k,threads; GFLOP/s):" : "")
    for (j = 1; j <= behinds; j++) print "  " behind[j]
  }' "$@"
