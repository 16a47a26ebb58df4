#!/bin/sh
# One study, run in every way there is: by 1 to 8 workers, by any number of threads, cell by cell in a shuffled order,
# killed and resumed, by workers without a sweep, on a Slurm cluster. Prints a hash of each (table without seconds,
# models, curves); all are the same. Speaks TAP. Environment: ISOFLOP; FULL=1 (`make test-determinism`): the study of
# tests/slurm.sh, all ways, Slurm among them; else a smaller study and some of the ways.
. "$(dirname "$0")/lib.sh"
FULL=${FULL:-}
if [ "$FULL" ]; then
  SETS="budgets=1e10,3e10 params_range=9000,30000 sizes_per_budget=6 checkpoint_seconds=0.2"
  workers="2 3 4 5 6 7 8" threads="unset 1 2 3 4 8" kills="1 2 3 4 5"
else
  SETS="budgets=6e8,2e9 params_range=5000,30000 sizes_per_budget=3 checkpoint_seconds=0"
  workers="3 8" threads="unset 2 3" kills=1
fi
STUDY="--config configs/smoke.ini $(for set in $SETS; do echo "--set $set"; done)"
bytes() { results "$1" && cat "$1"/runs/*/model.bin "$1"/runs/*/curve.tsv; }
hash_of() { bytes "$1" | sha256sum | cut -c1-32; }
same() {  # same NAME HASH
  n=$((n + 1))
  if [ "$2" = "$hash" ]; then echo "ok $n - $2 $1"; else echo "not ok $n - $2 $1: expected $hash"; fi
}
sweep() { "$ISOFLOP" sweep $STUDY --out "$@" >/dev/null 2>&1; }

sweep "$T/one" --workers 1 || { echo "not ok 1 - the reference: exit code $?"; exit 1; }
hash=$(hash_of "$T/one")
same "1 worker" "$hash"
for w in $workers; do
  sweep "$T/w" --workers $w
  same "$w workers" "$(hash_of "$T/w")"; rm -r "$T/w"
done
for t in $threads; do
  ([ $t = unset ] && unset OMP_NUM_THREADS || export OMP_NUM_THREADS=$t; sweep "$T/w" --workers 1 --set threads=0)
  same "OMP_NUM_THREADS=$t" "$(hash_of "$T/w")"; rm -r "$T/w"
done
"$ISOFLOP" plan $STUDY --out "$T/w" >/dev/null 2>&1
for run in $(ls "$T/one/runs" | shuf); do
  "$ISOFLOP" train --config "$T/one/runs/$run/run.ini" --out "$T/w/runs/$run" >/dev/null 2>&1
done
sweep "$T/w"
same "cell by cell, shuffled" "$(hash_of "$T/w")"; rm -r "$T/w"
for i in $kills; do
  "$ISOFLOP" sweep $STUDY --out "$T/w" --workers 2 >/dev/null 2>&1 & pid=$!
  while ! ls "$T"/w/runs/*/*/checkpoint.bin >/dev/null 2>&1 && kill -0 $pid 2>/dev/null; do sleep 0.02; done
  kill -9 $pid; wait $pid
done 2>/dev/null
sweep "$T/w" --workers 2
same "killed $i times, resumed" "$(hash_of "$T/w")"; rm -r "$T/w"
"$ISOFLOP" plan $STUDY --out "$T/w" >/dev/null 2>&1
for i in 1 2 3; do "$ISOFLOP" worker --dir "$T/w" >/dev/null 2>&1 & done; wait
same "3 workers without a sweep" "$(hash_of "$T/w")"
if [ "$FULL" ]; then
  SETS="$SETS" bash tests/slurm.sh "$(dirname "$ISOFLOP")" >"$T/slurm"
  grep -v '^1\.\.' "$T/slurm" | sed 's/^/# /'
  same "a Slurm array, one task requeued, one killed" "$(sed -n 's/^# hash \(.*\) Slurm$/\1/p' "$T/slurm")"
fi
echo "1..$n"
