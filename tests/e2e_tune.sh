#!/bin/sh
# Tuning, end to end on models of a second: a rule that is far off is moved the right way, what comes out is a study file,
# and nothing depends on workers or on how often it was started. Speaks TAP. Environment: ISOFLOP. Takes some seconds.
. "$(dirname "$0")/lib.sh"
cat >"$T/tune.ini" <<'INI'
[study]
study = tune
budgets = 1e9, 4e9
tokens_per_param = 2, 40
sizes_per_budget = 1
seeds = 2, 1
vary = lr_scale 1 .5 2 4 | batch_scale 2 | warmup .3
[model]
seq_len = 32
[recipe]
lr_at = 0.001
lr_exponent = 0
[eval]
eval_tokens = 16384
INI
tune() { "$ISOFLOP" tune --config "$T/tune.ini" "$@"; }

tune --out "$T/one" --workers 2 >"$T/log" 2>&1
ok "a tuning ends with exit code 0" [ $? -eq 0 ]
ok "a rate of a tenth of the best is raised" awk -v lr="$(value lr_at "$T/one/recipe.ini")" 'BEGIN { exit !(lr > .0015) }'
ok "and the new rule is better as a whole" grep -qE 'as a whole the loss is 0\.[0-9]+ nats lower' "$T/log"
ok "runs of the new rule are kept beside" [ "$(ls "$T/one/check/runs" | wc -l)" -eq 3 ]
ok "a row for each run" [ "$(wc -l <"$T/one/tune.csv")" -eq $(($(ls "$T/one/runs" | wc -l) + 1)) ]
ok "a figure" grep -q '</svg>' "$T/one/figures/tune.svg"
ok "only the recipe, and a warm-up that moved" [ "$(grep '^\[' "$T/one/recipe.ini" | grep -vc '^\[recipe\]$\|^\[train\]$')" -eq 0 ]
"$ISOFLOP" plan --config configs/smoke.ini --config "$T/one/recipe.ini" >"$T/plan" 2>&1
ok "the plan takes it" [ $? -eq 0 ]
ls -l --time-style=full-iso "$T"/one/runs/*/* "$T"/one/check/runs/*/* >"$T/before"
cp "$T/one/recipe.ini" "$T/recipe.ini"
tune --out "$T/one" --workers 1 >"$T/log" 2>&1
ls -l --time-style=full-iso "$T"/one/runs/*/* "$T"/one/check/runs/*/* >"$T/after"
ok "again: nothing is trained" cmp "$T/before" "$T/after"
ok "again: the same rule to the byte" cmp "$T/recipe.ini" "$T/one/recipe.ini"
tune --out "$T/two" --workers 1 >/dev/null 2>&1
ok "one worker: the same rule to the byte" cmp "$T/one/recipe.ini" "$T/two/recipe.ini"
ok "one worker: the same table" cmp "$T/one/tune.csv" "$T/two/tune.csv"
tune --out "$T/three" --set vary='weight_decay 0' >"$T/log" 2>&1
ok "what it has no rule for is refused before anything is trained" grep -q 'in more than rate, batch' "$T/log"
ok "and leaves no runs" [ ! -e "$T/three" ]
echo "1..$n"
