#!/bin/sh
# verify names what is damaged; rerun says whether a run gives the same bytes; runs that diverge are results that no fit
# uses. Speaks TAP. Environment: ISOFLOP (default build/isoflop).
. "$(dirname "$0")/lib.sh"
export TMPDIR=$T

cat >"$T/study.ini" <<'END'
[study]
budgets = 3e8, 6e8, 1.2e9
tokens_per_param = 0.1, 10
sizes_per_budget = 4
[model]
seq_len = 32
[eval]
eval_tokens = 4096
[part isoflop]
study = smoke
[part horizons]
budgets = 6e8
sizes_per_budget = 2
lr = 10
clip = 0
END
"$ISOFLOP" sweep --config "$T/study.ini" --out "$T/s" --workers 2 >"$T/log" 2>&1
ok "a study in which two runs diverge: the sweep goes on, exit code 0" [ $? -eq 0 ]
ok "they are counted" grep -q ': 12 of 14 runs finished, 2 diverged, 0 failed' "$T/log"
ok "their records say when and how" [ "$(cat "$T"/s/runs/*/run.ini | grep -cE '^reason = step [0-9]+: (held-out loss|loss) ')" -eq 2 ]
"$ISOFLOP" fit --selftest 0 "$T/s" >"$T/log" 2>&1
ok "the fit leaves both out and says why" [ "$(grep -cE '^ *excluded [0-9a-f]{16}: diverged: step [0-9]+: ' "$T/log")" -eq 2 ]
# Decay times rate is 100: parameters that grow a hundredfold each step.
"$ISOFLOP" train --out "$T/nan" --set lr=10 --set weight_decay=10 --set warmup=0 --set seq_len=32 --set eval_points=0 \
  --set tokens=81920 >/dev/null 2>&1
ok "a gradient that is no number ends the run at its step" grep -qE '^reason = step [0-9]+: loss .*, gradient norm -?(nan|inf)$' "$T/nan/run.ini"

# ---- verify
ok "a whole study: exit code 0" code 0 "$ISOFLOP" verify "$T/s"
ok "nothing is named" [ "$("$ISOFLOP" verify "$T/s" | grep -c '^damaged')" -eq 0 ]
run=$(grep -l '^status = finished' "$T"/s/runs/*/run.ini | head -1); run=$(basename "$(dirname "$run")")
flip() {  # flip FILE OFFSET: turns over the lowest bit of a byte
  byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
  printf "\\$(printf %o $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
for file in runs/$run/run.ini runs/$run/model.bin runs/$run/curve.tsv runs.csv; do
  cp "$T/s/$file" "$T/keep"
  size=$(wc -c <"$T/keep") seen=0
  for k in 0 1 2 3 4 5 6 7 8 9; do
    flip "$T/s/$file" $((k * (size - 1) / 9))
    "$ISOFLOP" verify "$T/s" >"$T/log" 2>/dev/null
    [ $? -eq 5 ] && grep -q "^damaged: $T/s/$file: " "$T/log" && seen=$((seen + 1))
    cp "$T/keep" "$T/s/$file"
  done
  ok "a bit of ${file##*/} turned over at 10 places: exit code 5, and it is named" [ $seen -eq 10 ]
  truncate -s -1 "$T/s/$file"
  ok "${file##*/} cut short: exit code 5" code 5 "$ISOFLOP" verify "$T/s"
  cp "$T/keep" "$T/s/$file"
done
mv "$T/s/runs/$run/model.bin" "$T/keep"
ok "a model that is missing: exit code 5" code 5 "$ISOFLOP" verify "$T/s"
other=$(grep -l '^status = finished' "$T"/s/runs/*/run.ini | tail -1); other=$(dirname "$other")
cp "$other/model.bin" "$T/s/runs/$run/model.bin"
ok "the model of another run: exit code 5" code 5 "$ISOFLOP" verify "$T/s"
mv "$T/keep" "$T/s/runs/$run/model.bin"
cp "$T/s/study.ini" "$T/keep"; echo '[study' >>"$T/s/study.ini"
ok "a study file that cannot be read: exit code 5" code 5 "$ISOFLOP" verify "$T/s"
mv "$T/keep" "$T/s/study.ini"
ok "all mended: exit code 0" code 0 "$ISOFLOP" verify "$T/s"
ok "no study folder: exit code 5" code 5 "$ISOFLOP" verify "$T/nowhere"
ok "no folder given: exit code 2" code 2 "$ISOFLOP" verify

# ---- rerun
for threads in 1 3; do
  "$ISOFLOP" rerun "$T/s" $run --threads $threads >"$T/log" 2>/dev/null
  ok "a run again on $threads threads: exit code 0" [ $? -eq 0 ]
  ok "it names three files that are the same" [ "$(grep -cE '^(model.bin|curve.tsv|run.ini): the same' "$T/log")" -eq 3 ]
done
wild=$(grep -l '^status = diverged' "$T"/s/runs/*/run.ini | head -1); wild=$(basename "$(dirname "$wild")")
ok "a run that diverged diverges again: exit code 0" code 0 "$ISOFLOP" rerun "$T/s" $wild
echo >>"$T/s/runs/$run/curve.tsv"
"$ISOFLOP" rerun "$T/s" $run >"$T/log" 2>"$T/err"
ok "a run whose curve is another: exit code 9" [ $? -eq 9 ]
ok "it says which file and where" grep -q 'curve.tsv: differs from byte' "$T/log"
ok "no such run: exit code 5" code 5 "$ISOFLOP" rerun "$T/s" 0123456789abcdef
ok "nothing is left in the temporary folder" [ -z "$(ls -d "$T"/isoflop.* 2>/dev/null)" ]
ok "the study is as it was, but for what was broken" [ "$("$ISOFLOP" verify "$T/s" 2>/dev/null | grep -c '^damaged')" -eq 1 ]
echo "1..$n"
