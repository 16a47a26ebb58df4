#!/bin/sh
# Workers that share a folder: claims, takeovers, clocks that disagree, owners that oversleep. Whatever happens, a row a
# cell, the same bytes. Speaks TAP. Environment: ISOFLOP (default build/isoflop).
. "$(dirname "$0")/lib.sh"
sweep() { "$ISOFLOP" sweep "$@"; }
study() { "$ISOFLOP" plan $1 --out "$2" >/dev/null 2>&1; }  # the folder of a study, nothing run yet
sweep $SMALL --out "$T/ref" --workers 1 >/dev/null 2>&1
ok "the reference" [ $? -eq 0 ]
cells=$(ls "$T/ref/runs" | wc -l)
sweep $SLOW --out "$T/slow" --workers 1 >/dev/null 2>&1
ok "the reference of slow cells" [ $? -eq 0 ]

# ---- Any number of workers, however started
for workers in 2 3 4 5 6 7 8; do
  sweep $SMALL --out "$T/w$workers" --workers $workers >"$T/log" 2>&1
  ok "$workers workers: exit code 0, $cells lines" [ "$? $(lines "$T/log")" = "0 $cells" ]
  ok "$workers workers: the same results" same_results "$T/ref" "$T/w$workers"
  ok "$workers workers: the same models" same_models "$T/ref" "$T/w$workers"
  ok "$workers workers: nothing else is left" only_results "$T/w$workers"
done

study "$SMALL" "$T/loop"
for i in 1 2 3; do "$ISOFLOP" worker --dir "$T/loop" >"$T/log$i" 2>&1 & done; wait
ok "three workers without a sweep: a run each cell" [ "$(lines "$T"/log[123])" -eq $cells ]
ok "three workers without a sweep: the same results" same_results "$T/ref" "$T/loop"
"$ISOFLOP" worker --dir "$T/loop" >"$T/log" 2>&1
ok "a worker with nothing to do: exit code 0 and silence" [ "$? $(wc -c <"$T/log")" = "0 0" ]

# ---- Two sweeps in one folder
sweep $SMALL --out "$T/two" --workers 2 >"$T/log1" 2>&1 & one=$!
sweep $SMALL --out "$T/two" --workers 2 >"$T/log2" 2>&1 & two=$!
wait $one; code=$?; wait $two
ok "two sweeps that begin at once: both end with 0" [ "$code $?" = "0 0" ]
ok "two sweeps that begin at once: no cell is run twice" [ "$(lines "$T/log1" "$T/log2")" -eq $cells ]
ok "two sweeps that begin at once: the same results" same_results "$T/ref" "$T/two"
ok "two sweeps that begin at once: the same models" same_models "$T/ref" "$T/two"
sweep $SMALL --out "$T/mix" >"$T/log1" 2>&1 & one=$!
sweep $SLOW --out "$T/mix" >"$T/log2" 2>&1 & two=$!
wait $one; code1=$?; wait $two; code2=$?
ok "two studies that want one folder at once: one is refused" [ "$((code1 + code2))" -eq 5 ]
ok "two studies that want one folder at once: it says so" \
  grep -q '^isoflop: .*belongs to another study' "$T/log1" "$T/log2"

# ---- A worker that is killed
study "$SLOW" "$T/killed"
"$ISOFLOP" worker --dir "$T/killed" --set checkpoint_seconds=0 >"$T/log1" 2>&1 & pid=$!
ok "a worker has saved a checkpoint" within 60 exists "$T/killed/runs/*/*/checkpoint.bin"
kill -9 $pid; wait $pid 2>/dev/null
ok "killed, it leaves a claim" exists "$T/killed/runs/*/claim.1"
"$ISOFLOP" worker --dir "$T/killed" >"$T/log2" 2>&1
ok "its cell is taken over at once: exit code 0" [ $? -eq 0 ]
ok "its cell is taken over: the same results" same_results "$T/slow" "$T/killed"
ok "its cell is taken over: the same models" same_models "$T/slow" "$T/killed"
ok "its cell is taken over: nothing else is left" only_results "$T/killed"

# ---- Claims of another machine, by clocks that are five minutes off. Their owners have died.
ghost() {  # ghost RUN MTIME: as if a machine that we know nothing of had claimed it
  mkdir -p "$1/ghost-1-00000000" && ln "$T/slow/study.ini" "$1/ghost-1-00000000/checkpoint.bin"
  echo 'beat 0.1 machine elsewhere pid 1 start 1' >"$1/ghost-1-00000000/claim"
  ln "$1/ghost-1-00000000/claim" "$1/claim.1"
  touch -d "$2" "$1/claim.1"
}
study "$SMALL" "$T/skew"
i=0
for run in $(ls "$T/ref/runs"); do
  i=$((i + 1))
  case $((i % 3)) in 0) ghost "$T/skew/runs/$run" now ;; 1) ghost "$T/skew/runs/$run" '5 minutes ago' ;;
    2) ghost "$T/skew/runs/$run" '+5 minutes' ;; esac
done
for i in 1 2; do "$ISOFLOP" worker --dir "$T/skew" >"$T/log$i" 2>&1 & done; wait
ok "claims of the dead, 5 minutes off: each cell is run once" [ "$(lines "$T/log1" "$T/log2")" -eq $cells ]
ok "claims of the dead, 5 minutes off: the same results" same_results "$T/ref" "$T/skew"
ok "claims of the dead, 5 minutes off: nothing else is left" only_results "$T/skew"

# Live owners whose mtimes jump about by minutes, and that are not of this machine as far as the others can tell.
study "$SLOW" "$T/jump"
for i in 1 2; do "$ISOFLOP" worker --dir "$T/jump" >"$T/log$i" 2>&1 & eval pid$i=$!; done
while kill -0 $pid1 || kill -0 $pid2; do
  for claim in "$T"/jump/runs/*/*/claim; do
    touch -c -d '5 minutes ago' "$claim"; sleep 0.05; touch -c -d '+5 minutes' "$claim"; sleep 0.05
  done
done 2>/dev/null
wait
ok "claims of the living, jumping by 10 minutes: each cell is run once" [ "$(lines "$T/log1" "$T/log2")" -eq 4 ]
ok "claims of the living, jumping by 10 minutes: the same results" same_results "$T/slow" "$T/jump"

# ---- An owner that oversleeps
study "$SLOW" "$T/sleep"
"$ISOFLOP" worker --dir "$T/sleep" --set checkpoint_seconds=0 --set heartbeat=0.1 >"$T/log1" 2>&1 & pid=$!
within 60 exists "$T/sleep/runs/*/*/checkpoint.bin"
run=$(children $pid)
kill -STOP $pid $run
before=$(lines "$T/log1")
"$ISOFLOP" worker --dir "$T/sleep" >"$T/log2" 2>&1
ok "an owner that sleeps: another runs what is left" [ "$? $(lines "$T/log2")" = "0 $((4 - before))" ]
kill -CONT $run $pid; wait $pid
ok "awake, it finds its claim lost and its run done: exit code 0, nothing of its own" \
  [ "$? $(lines "$T/log1")" = "0 $before" ]
ok "an owner that sleeps: the same results" same_results "$T/slow" "$T/sleep"
ok "an owner that sleeps: the same models" same_models "$T/slow" "$T/sleep"
ok "an owner that sleeps: nothing else is left" only_results "$T/sleep"

# ---- A run that is stopped from outside, and one that was published by half
study "$SLOW" "$T/half"
"$ISOFLOP" worker --dir "$T/half" --set checkpoint_seconds=0 >"$T/log1" 2>&1 & pid=$!
within 60 exists "$T/half/runs/*/*/checkpoint.bin"
stop_run() { kill -TERM $(children $pid); }
within 5 stop_run; wait $pid
ok "a run stopped from outside: exit code 75" [ $? -eq 75 ]
"$ISOFLOP" worker --dir "$T/half" >"$T/log1" 2>&1
ok "and goes on: the same results" same_results "$T/slow" "$T/half"
run=$(ls "$T/half/runs" | head -1)
mkdir "$T/half/runs/$run/ghost-2-00000000"
cp "$T/half/runs/$run/run.ini" "$T/record"
mv "$T/half/runs/$run/run.ini" "$T/half/runs/$run/curve.tsv" "$T/half/runs/$run/ghost-2-00000000"
"$ISOFLOP" worker --dir "$T/half" >"$T/log1" 2>&1
ok "published by half: the rest follows" same_models "$T/slow" "$T/half"
ok "published by half: nothing is trained again" cmp "$T/half/runs/$run/run.ini" "$T/record"

# ---- Signals
study "$SLOW" "$T/signal"
"$ISOFLOP" worker --dir "$T/signal" >"$T/log" 2>&1 & pid=$!
within 60 exists "$T/signal/runs/*/*/cell.ini"; sleep 0.3
kill -USR1 $pid
ok "SIGUSR1: a worker says how far it is" \
  within 5 grep -qE '^worker .*: [0-9a-f]{16}, [0-9]+x2, step .* 0 of 4 cells done' "$T/log"
kill -TERM $pid; wait $pid
ok "SIGTERM: exit code 143" [ $? -eq 143 ]
ok "SIGTERM: the claim is given up, the checkpoint kept" [ -z "$(ls "$T"/signal/runs/*/claim.* 2>/dev/null)" ]
"$ISOFLOP" sweep $SLOW --out "$T/signal" --workers 2 >"$T/log" 2>"$T/err" & pid=$!
within 60 grep -q 'runs to go on' "$T/log"
kill -USR1 $pid
ok "SIGUSR1: a sweep says how far it is" within 5 grep -qE '^sweep .*: [0-9] of 4 runs done' "$T/err"
ok "SIGUSR1: and its workers" within 5 grep -qE '^  worker [0-9]+: ' "$T/err"
kill -TERM $pid; kill -TERM $pid; wait $pid
ok "a second SIGTERM: exit code 143" [ $? -eq 143 ]
sweep $SLOW --out "$T/signal" >"$T/log" 2>&1
ok "after all that: the same results" same_results "$T/slow" "$T/signal"

# ---- What is in the way of one cell is in the way of no other: a file, a claim that nobody can read
study "$SMALL" "$T/way"
first=$(ls "$T/ref/runs" | head -1) last=$(ls "$T/ref/runs" | tail -1)
: >"$T/way/runs/$first"
mkdir "$T/way/runs/$last" && ln -s claim.1 "$T/way/runs/$last/claim.1"
sweep $SMALL --out "$T/way" --set heartbeat=0.1 --workers 2 >"$T/log" 2>"$T/err"
ok "a file where a cell's folder must go: exit code 6" [ $? -eq 6 ]
ok "a file where a cell's folder must go: one line names it" [ "$(grep -c "^isoflop: .*$first" "$T/err")" = 1 ]
ok "a file where a cell's folder must go, a claim that nobody can read: every other cell is run" \
  [ "$(lines "$T/log") $(ls "$T"/way/runs/*/run.ini | wc -l)" = "$((cells - 1)) $((cells - 1))" ]
rm "$T/way/runs/$first"
sweep $SMALL --out "$T/way" >/dev/null 2>&1
ok "with the file gone: the same results" same_results "$T/ref" "$T/way"

# ---- One folder that cannot be read hides no other
mkdir -p "$T/ref/runs/broken/run.ini" "$T/ref/runs/0000000000000000"
echo nonsense >"$T/ref/runs/0000000000000000/run.ini"
cp "$T/ref/runs.csv" "$T/csv"
sweep $SMALL --out "$T/ref" >"$T/log" 2>&1
ok "damaged records: the sweep ends with 0" [ $? -eq 0 ]
ok "damaged records: they are counted and one is named" grep -q '^2 damaged records left out: ' "$T/log"
ok "damaged records: every other row is there" cmp "$T/csv" "$T/ref/runs.csv"
echo "1..$n"
