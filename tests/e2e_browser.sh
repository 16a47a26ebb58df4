#!/bin/sh
# e2e_browser.sh: the report of a small study of every part, opened in headless Chromium and clicked through. Speaks TAP.
# KEEP=DIR keeps the study, its screenshots and its PDF there.
. "$(dirname "$0")/lib.sh"
chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
  echo "ok 1 - # SKIP no chromium"; echo 1..1; exit 0; }
dir=${KEEP:-$T}
mkdir -p "$dir"

cat >"$dir/study-file.ini" <<'END'
[study]
study = small
budgets = 9e9
seeds = 2
[model]
seq_len = 32
[eval]
eval_tokens = 8192
eval_points = 1
[part isoflop]
budgets = 3e9, 9e9
tokens_per_param = 0.3, 300
sizes_per_budget = 6
seeds = 1
[part horizons]
kind = horizons
params_range = 4000, 12000
tokens_per_param = 5, 80
sizes_per_budget = 3
seeds = 1
[part cosine]
shapes = 8x2x2
vary = cosine_cycle 1 2
[part adam]
shapes = 8x2x2
weight_decay = 0.1
vary = optimizer adamw adam | weight_decay 0
[part neighbours]
shapes = 8x2x2
vary = lr_scale 0.6 1 1.6 | batch_scale 2
[part heads]
shapes = 16x2x2, 16x2x4
[part kaplan-rate]
budgets = 3e9, 9e9
tokens_per_param = 0.3, 300
sizes_per_budget = 5
seeds = 1
lr = 0.003
[part bf16]
shapes = 8x2x2, 16x2x2
seeds = 1
vary = precision fp32 bf16
END
"$ISOFLOP" sweep --config "$dir/study-file.ini" --out "$dir/study" >"$dir/log" 2>&1 &&
  "$ISOFLOP" report --selftest 5 "$dir/study" >>"$dir/log" 2>&1 || { tail -5 "$dir/log"; echo "not ok 1 - a small study"; exit 1; }

missing=$(grep -o 'href="[^"#]*"' "$dir/study/report.html" | sed 's/href="//;s/"//' | sort -u |
  while read -r f; do [ -s "$dir/study/$f" ] || echo "$f"; done)
[ -z "$missing" ] && echo "ok - every file that the report links to is there" || echo "not ok - the report links to: $missing"
perl tests/browser.pl "$chromium" "$(realpath "$dir/study/report.html")" "$(realpath "$dir")"
[ $? -eq 0 ] && [ -z "$missing" ]
