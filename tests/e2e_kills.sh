#!/bin/sh
# Training killed by SIGKILL at random moments, and started again each time: the model and the curve are those of a run that
# nobody touched, whatever the threads. Speaks TAP. Environment: ISOFLOP; KILLS (default 50; `make test-random-kills`:
# 1000); SEED of the moments.
. "$(dirname "$0")/lib.sh"
KILLS=${KILLS:-50} SEED=${SEED:-1}
cd "$T" && "$ISOFLOP" corpus synth small.tok 200000 40000 >/dev/null || exit 1
RUN="train --set corpus=small.tok --set d_model=32 --set n_layers=2 --set seq_len=32 --set batch_tokens=256
  --set tokens=128000 --set eval_tokens=2048 --set checkpoint_seconds=0"
"$ISOFLOP" $RUN --out ref >log 2>&1 || { cat log; exit 1; }
# Moments between 0 and a third of the time that the whole run takes here: a few kills a run.
seconds=$(value seconds ref/run.ini)
kills=0 runs=0 started=0
: >why
while [ $kills -lt "$KILLS" ] && [ ! -s why ]; do
  started=$((started + 1))
  moment=$(awk -v s=$SEED -v i=$started -v d="$seconds" 'BEGIN { srand(s * 100003 + i); rand(); print 0.01 + rand() * (0.02 + d / 3) }')
  "$ISOFLOP" $RUN --out w --set threads=$((started % 5 ? 1 : 2)) >log 2>&1 & pid=$!
  sleep "$moment"; kill -KILL $pid 2>/dev/null
  wait $pid 2>/dev/null  # until it is gone: what it left behind is swept away only then
  code=$?
  if [ $code -eq 137 ]; then
    kills=$((kills + 1))
  elif [ $code -eq 0 ]; then
    runs=$((runs + 1))
    { cmp ref/model.bin w/model.bin; cmp ref/curve.tsv w/curve.tsv; find w -name 'checkpoint*' -o -name '*.tmp'; } >>why 2>&1
    rm -r w
  else
    { echo "start $started: exit code $code"; cat log; } >>why
  fi
  grep -E 'damaged|starting again' log >>why
done
[ ! -d w ] || "$ISOFLOP" $RUN --out w >log 2>&1 && [ -d w ] && { runs=$((runs + 1)); cmp ref/model.bin w/model.bin >>why 2>&1; }
result "$kills SIGKILLs of $runs runs, seed $SEED: every model and curve byte-identical"
echo "1..$n"
