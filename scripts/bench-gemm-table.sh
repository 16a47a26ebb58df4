#!/bin/sh
# The Markdown table of docs/gemm.md, from the CSVs of bench-gemm-peers.sh. For each width d and operation, over all its layers
# and token counts: ours and the best peer in % of the peak (geometric means), the ratio of ours to the best peer of each
# product (geometric mean, least and greatest), and how many products are behind. A product that several CSVs have counts
# once, in the first: what is compared was measured in alternation.
# In: CSVs; OURS=avx512 (or another rung). Usage: scripts/bench-gemm-table.sh peers-*.csv
set -eu
awk -F, -v ours="${OURS:-avx512}" '
  $1 == "kernel" || $1 ~ /^scalar/ || ($1 ~ /^avx/ && $1 != ours) {next}
  {
    key = $2 "," $3 "," $4 "," $5 "," $6
    if (!(key in seen)) {seen[key] = ++n; op[n] = $2; w = $3 < $4 ? $3 : $4; d[n] = w < $5 ? w : $5; threads[n] = $6; file[n] = FILENAME}
    i = seen[key]
    if (file[i] != FILENAME) next
    if ($1 == ours) {rate[i] = $7; pct[i] = $10; best[i] = 0}  # ours comes first: of a product that is there twice the last
    else if ($7 > best[i]) {best[i] = $7; best_pct[i] = $10; who[i] = $1}
  }
  END {
    print "| threads | d | product | ours, % of peak | best peer, % | ours / best peer [min, max] | behind | who is best |"
    print "|---|---|---|---|---|---|---|---|"
    for (i = 1; i <= n; i++) {
      if (!rate[i] || !best[i] || op[i] == "dx_pack") continue
      linear = op[i] == "forward" || op[i] == "dx" || op[i] == "dw"
      g = threads[i] " | " (linear ? d[i] : "") " | " op[i]
      if (!(g in count)) {group[++groups] = g; least[g] = 1e9}
      count[g]++
      ratio = rate[i] / best[i]
      a[g] += log(pct[i]); b[g] += log(best_pct[i]); r[g] += log(ratio)
      if (ratio < least[g]) least[g] = ratio
      if (ratio > most[g]) most[g] = ratio
      if (ratio < 1) behind[g]++
      wins[g, who[i]]++
      peers[who[i]] = 1
    }
    for (j = 1; j <= groups; j++) {
      g = group[j]; top = ""
      for (p in peers) if (wins[g, p] > (top == "" ? 0 : wins[g, top])) top = p
      printf "| %s | %.0f | %.0f | %.2f [%.2f, %.2f] | %d of %d | %s |\n", g, exp(a[g] / count[g]), exp(b[g] / count[g]),
        exp(r[g] / count[g]), least[g], most[g], behind[g], count[g], top
    }
  }' "$@" | { read -r a; read -r b; echo "$a"; echo "$b"; sort -t'|' -k2,2n -k3,3n -k4,4; }
