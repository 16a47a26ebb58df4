#!/bin/sh
# Sweeps of which a process is killed by SIGKILL at random moments (the sweep, a worker, a training process, by turns),
# and which are started again each time: tables, models, curves and figures are those of a sweep that nobody touched.
# Speaks TAP. Environment: ISOFLOP; KILLS and the least number of SWEEPS (default 6 and 1; `make test-sweep-kills`: 200
# and 20); SEED of the moments.
. "$(dirname "$0")/lib.sh"
KILLS=${KILLS:-6} SWEEPS=${SWEEPS:-1} SEED=${SEED:-1}
SWEEP="sweep --config configs/smoke.ini --set budgets=1e9,2e9,4e9 --set params_range=5000,30000 --set sizes_per_budget=5
  --set checkpoint_seconds=0 --set eval_tokens=4096 --workers 3"
random() { awk -v s=$SEED -v i="$1" -v m="$2" 'BEGIN { srand(s * 100003 + i); rand(); printf "%.3f", rand() * m }'; }
began=$(date +%s%N)
"$ISOFLOP" $SWEEP --out "$T/ref" >"$T/log" 2>&1 || { cat "$T/log"; exit 1; }
longest=$(awk -v a=$began -v b=$(date +%s%N) 'BEGIN { print (b - a) / 4e9 }')
"$ISOFLOP" report --selftest 3 "$T/ref" >/dev/null 2>&1

: >"$T/why"
kills=0 sweeps=0
while { [ $kills -lt "$KILLS" ] || [ $sweeps -lt "$SWEEPS" ]; } && [ ! -s "$T/why" ]; do
  sweeps=$((sweeps + 1)) ended=
  while [ -z "$ended" ]; do
    "$ISOFLOP" $SWEEP --out "$T/w" >"$T/log" 2>"$T/err" & pid=$!
    # At most this sweep's share.
    while [ $kills -lt "$KILLS" ] && [ $((kills * SWEEPS)) -lt $((KILLS * sweeps)) ] &&
      sleep "$(random $kills "$longest")" && kill -0 $pid; do
      workers=$(children $pid)
      case $((kills % 3)) in
        0) victim=$(for worker in $workers; do children $worker; done | head -1) ;;
        1) victim=$(echo $workers | cut -d' ' -f1) ;;
        2) victim=$pid ;;
      esac
      [ -n "$victim" ] && kill -9 $victim && kills=$((kills + 1))
      [ "$victim" != $pid ] || break
    done
    wait $pid; code=$?
    case $code in
      0) ended=1 ;;
      8 | 75 | 137) ;;  # a run that was killed failed; no worker is left; the sweep itself
      *) { echo "after $kills kills: exit code $code"; cat "$T/err"; } >>"$T/why"; ended=1 ;;
    esac
  done
  "$ISOFLOP" report --selftest 3 "$T/w" >/dev/null 2>&1
  results "$T/ref" >"$T/a"; results "$T/w" >"$T/b"
  { diff "$T/a" "$T/b"
    sed -i /CreationDate/d "$T"/*/figures/*.pdf  # when it was made
    diff -rq "$T/ref/figures" "$T/w/figures"
    for run in $(ls "$T/ref/runs"); do
      for file in model.bin curve.tsv; do cmp "$T/ref/runs/$run/$file" "$T/w/runs/$run/$file"; done
    done
    find "$T/w" -name 'checkpoint*' -o -name 'claim*' -o -name '*.tmp'; } >>"$T/why" 2>&1
  rm -r "$T/w"
done 2>/dev/null
result "$kills SIGKILLs over $sweeps sweeps, seed $SEED: tables, models, curves and figures byte-identical"
echo "1..$n"
