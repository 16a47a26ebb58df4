#!/bin/sh
# The sweep, end to end: the same bytes however it is run and whatever interrupts it; what is done is never done again.
# Speaks TAP. Environment: ISOFLOP (default build/isoflop). Takes a few seconds.
. "$(dirname "$0")/lib.sh"
small() { "$ISOFLOP" sweep $SMALL "$@"; }
SLOW="sweep $SLOW --workers 2"
# What train processes write into: the folders of claims.
saved() { exists "$1/runs/*/*/checkpoint.bin"; }

# ---- Same bytes for any number of workers and threads
small --out "$T/one" --workers 1 >"$T/log" 2>&1
ok "a sweep ends with exit code 0" [ $? -eq 0 ]
cells=$(column run_id "$T/one/runs.csv" | wc -l)
ok "at least 9 cells" [ "$cells" -ge 9 ]
ok "all are finished" [ "$(column status "$T/one/runs.csv" | sort -u)" = finished ]
ok "a whole line a run where there is no terminal" [ "$(grep -c "^\[[0-9]*/$cells\] .* loss " "$T/log")" -eq "$cells" ]
ok "the first columns are the agreed ones" grep -q '^run_id,status,corpus,budget,d_model,n_layers,n_heads,params_total,params_nonemb,tokens,steps,batch_tokens,lr,flops_exact,flops_6nd,epochs,val_loss,val_loss_se,train_loss,seconds,' "$T/one/runs.csv"
ok "exact FLOPs lie within 1 % of the budget" awk -F, 'NR > 1 && ($14 / $4 > 1.01 || $14 / $4 < 0.99) { exit 1 }' "$T/one/runs.csv"
OMP_NUM_THREADS=3 small --out "$T/two" --workers 2 >/dev/null 2>&1
ok "2 workers: the same results" same_results "$T/one" "$T/two"
ok "2 workers: the same models" same_models "$T/one" "$T/two"
id=$(ls "$T/one/runs" | head -1)
for key in version commit compiler libc cpu kernels run_threads corpus_name corpus_hash config_hash precision; do
  ok "a record names its $key" grep -q "^$key = ." "$T/one/runs/$id/run.ini"
done
ok "a record's commit is the program's" grep -qxF "commit = $("$ISOFLOP" --version | sed -n 's/^commit //p')" "$T/one/runs/$id/run.ini"
for threads in 2 3; do
  "$ISOFLOP" train --config "$T/one/runs/$id/run.ini" --out "$T/t$threads" --set threads=$threads >/dev/null 2>&1
  ok "a cell trained by $threads threads: the same model" cmp "$T/t$threads/model.bin" "$T/one/runs/$id/model.bin"
done

sampled() { "$ISOFLOP" sample --run "$T/t2" --bytes 40 --temperature "$1"; }
ok "a sample at no temperature is the likeliest text" [ "$(sampled 0)" = "$(sampled 0.001)" ]
ok "and another at a high one" [ "$(sampled 0)" != "$(sampled 20)" ]
"$ISOFLOP" sample --run "$T/t2" --prompt ab --bytes 3 >"$T/ab"; "$ISOFLOP" sample --run "$T/t2" --prompt "" --bytes 1 >"$T/none"
ok "it begins with its prompt" [ "$(head -c 2 "$T/ab")" = ab ]
ok "so many bytes follow, after an empty one too, which is a line's end, and a line's end" [ "$(cat "$T/ab" "$T/none" | wc -c)" -eq 9 ]

# ---- Several study files: the later one wins, and what it leaves alone stays
printf '[recipe]\nlr_at = 0.003\nlr_max = 0.004\n' >"$T/recipe.ini"
printf '[recipe]\nlr_max = 0.002\n' >"$T/over.ini"
rates() { "$ISOFLOP" plan --config configs/smoke.ini "$@" | awk 'length($1) == 16 { print $15 }' | sort -u; }
ok "the plan takes the rate of a second file" [ "$(rates --config "$T/recipe.ini" | tail -1)" = 0.0040 ]
ok "the last file wins" [ "$(rates --config "$T/recipe.ini" --config "$T/over.ini" | tail -1)" = 0.0020 ]
"$ISOFLOP" train --config configs/smoke.ini --config "$T/recipe.ini" --out "$T/files" --set budget=3e8 >/dev/null 2>&1
ok "train takes several files, too" grep -q '^lr = 0.002995' "$T/files/run.ini"
small --out "$T/one" --config "$T/recipe.ini" >"$T/log" 2>&1
ok "another rule is another study" grep -q 'belongs to another study: lr_at' "$T/log"

# ---- What is done is not done again
ls -li --time-style=full-iso "$T"/one/runs/*/* >"$T/before"
cp "$T/one/runs.csv" "$T/csv"
small --out "$T/one" >"$T/log" 2>&1
ok "a finished sweep again: exit code 0" [ $? -eq 0 ]
ls -li --time-style=full-iso "$T"/one/runs/*/* >"$T/after"
ok "a finished sweep again: no file of a run is touched" cmp "$T/before" "$T/after"
ok "a finished sweep again: runs.csv is the same to the byte" cmp "$T/csv" "$T/one/runs.csv"
echo damage >>"$T/one/runs/$id/run.ini"
small --out "$T/one" >"$T/log" 2>&1
ok "a damaged record: that run alone is run again" [ "$(grep -c '^\[' "$T/log")" -eq 1 ]
ok "a damaged record: the same results" same_results "$T/one" "$T/two"

# ---- A crashed run is a record and does not stop the others
rm -r "$T/one/runs/$id" && mkdir -p "$T/one/runs/$id/curve.tsv/in-the-way"
id2=$(ls "$T/one/runs" | tail -1) && rm -r "$T/one/runs/$id2"
small --out "$T/one" --workers 1 >"$T/log" 2>"$T/err"
ok "a run that fails: exit code 8" [ $? -eq 8 ]
ok "a run that fails: one line on stderr, with its reason" grep -q "^isoflop: 1 of $cells runs failed; the first: exit code 6: .*curve.tsv" "$T/err"
ok "a run that fails: a record" grep -q '^status = failed' "$T/one/runs/$id/run.ini"
ok "a run that fails: the others finish" [ "$(column status "$T/one/runs.csv" | grep -c finished)" -eq $((cells - 1)) ]
rm -r "$T/one/runs/$id/curve.tsv"
small --out "$T/one" >"$T/log" 2>&1
ok "what failed is tried again" [ $? -eq 0 ]
ok "and gives the same results" same_results "$T/one" "$T/two"

# ---- Interruptions
"$ISOFLOP" $SLOW --out "$T/ref" >"$T/log" 2>&1
ok "the reference of the interrupted sweeps" [ $? -eq 0 ]

# Killed, a sweep tells its workers, and they their runs, to save themselves.
"$ISOFLOP" $SLOW --out "$T/kill" >/dev/null 2>&1 & pid=$!
ok "a checkpoint appears" within 60 saved "$T/kill"
kill -9 $pid; wait $pid 2>/dev/null
"$ISOFLOP" $SLOW --out "$T/kill" >"$T/log" 2>&1
ok "after SIGKILL, started again at once: exit code 0" [ $? -eq 0 ]
ok "after SIGKILL: the same results" same_results "$T/ref" "$T/kill"
ok "after SIGKILL: the same models" same_models "$T/ref" "$T/kill"
ok "after SIGKILL: nothing but results is left" only_results "$T/kill"

for signal in INT:130 TERM:143; do
  dir=$T/${signal%:*}
  # A shell starts background commands with SIGINT ignored; env puts that right.
  env --default-signal=INT "$ISOFLOP" $SLOW --set checkpoint_seconds=1000 --out "$dir" >"$T/log" 2>"$T/err" & pid=$!
  within 60 exists "$dir/runs/*/*/cell.ini"
  trains() { kill -USR1 $pid; grep -qE '^  worker .* loss [0-9]' "$T/err"; }  # as the sweep tells when asked
  within 60 trains
  kill -${signal%:*} $pid; wait $pid
  ok "SIG${signal%:*}: exit code ${signal#*:}" [ $? -eq ${signal#*:} ]
  ok "SIG${signal%:*}: one line says how to go on" grep -qx 'isoflop: stopped with . of 4 runs done; the same command goes on from there' "$T/err"
  ok "SIG${signal%:*}: the runs have saved a checkpoint" saved "$dir"
  "$ISOFLOP" $SLOW --out "$dir" >"$T/log" 2>&1
  ok "SIG${signal%:*}: goes on, the same results" same_results "$T/ref" "$dir"
done

"$ISOFLOP" $SLOW --out "$T/oom" >"$T/log" 2>"$T/err" & pid=$!
within 60 saved "$T/oom"
trains() { for worker in $(children $pid); do children $worker; done | head -1 | tee "$T/run" | grep -q .; }
within 20 trains  # between two runs there is none for a moment
kill -9 "$(cat "$T/run")"
wait $pid
ok "a run killed from outside: exit code 8" [ $? -eq 8 ]
ok "a run killed from outside: its record says by what" grep -q '^reason = signal 9 (Killed)' "$T"/oom/runs/*/run.ini
"$ISOFLOP" $SLOW --out "$T/oom" >"$T/log" 2>&1
ok "and goes on from its checkpoint, the same results" same_results "$T/ref" "$T/oom"

# ---- On a terminal
if script -qec true /dev/null >/dev/null 2>&1; then
  script -qec "$ISOFLOP $(echo $SLOW) --out $T/tty" "$T/typescript" >/dev/null 2>&1
  ok "a live line with progress, speed, time left and losses" sh -c "tr '\r' '\n' <'$T/typescript' | grep -qE '^ *[0-9.]+ %  ./4 runs  [0-9.]+ GFLOP/s  .* left  .*[0-9]x2 +[0-9]+% [0-9.]+'"
  ok "the same results" same_results "$T/ref" "$T/tty"
  told() { tr '\r' '\n' <"$1" | sed 's/\x1b\[K//' | grep '^\[./4\] '; }
  told "$T/typescript" >"$T/told"
  ok "a line a run, of 80 columns at most" sh -c '[ $(wc -l <"$1") -eq 4 ] && ! grep -qE ".{81}" "$1"' - "$T/told"
  ok "it has the shape and the loss" [ "$(grep -cE '[0-9]x2  .*  loss [0-9.]+' "$T/told")" -eq 4 ]
  rm -r "$(ls -d "$T"/tty/runs/* | head -1)"
  script -qec "stty cols 200; $ISOFLOP $(echo $SLOW) --out $T/tty" "$T/typescript" >/dev/null 2>&1
  told "$T/typescript" >"$T/told"
  ok "on a wide terminal all of it" \
    grep -qE '^.{6}[0-9a-f]{16}  C .*  N [0-9]+  D [0-9]+  loss .* \+- .*  train .*  .* left' "$T/told"
else
  skip "a live line" "no script(1), or no terminal for it"
fi
echo "1..$n"
