#!/bin/sh
# A sweep under fire: many small cells, 8 workers without a sweep over them, a tenth of the cells made to fail, 3
# workers killed, the times of claims set 5 minutes back and forth all the while. No row is missing or double; what
# failed is tried again by workers that start later; in the end the bytes are those of a quiet sweep. A finished sweep,
# run again, trains nothing; how long that takes is told. Speaks TAP. Environment: ISOFLOP; SEEDS: 16 cells each (default 2; `make test-fire`: 25, 400 cells).
. "$(dirname "$0")/lib.sh"
SEEDS=${SEEDS:-2}
STUDY="--config configs/smoke.ini --set budgets=1.5e8,2e8,3e8,4e8 --set params_range=2000,30000 --set sizes_per_budget=4
  --set seeds=$SEEDS --set eval_tokens=2048 --set eval_points=1"
cells=$((16 * SEEDS)) tenth=$((16 * SEEDS / 10))
"$ISOFLOP" sweep $STUDY --out "$T/quiet" >/dev/null 2>&1
ok "a quiet sweep of $cells cells" [ "$(ls "$T/quiet/runs" | wc -l)" -eq $cells ]
"$ISOFLOP" plan $STUDY --out "$T/fire" >/dev/null 2>&1

# A folder where the curve must go: no run can be published there.
for run in $(ls "$T/quiet/runs" | awk 'NR % 10 == 5'); do mkdir -p "$T/fire/runs/$run/curve.tsv/in-the-way"; done
failing=$(ls "$T/fire/runs" | wc -l)
workers=
for i in 1 2 3 4 5 6 7 8; do "$ISOFLOP" worker --dir "$T/fire" >"$T/log$i" 2>&1 & workers="$workers $!"; done
(while :; do
  for claim in "$T"/fire/runs/*/*/claim; do
    touch -c -d '5 minutes ago' "$claim"; sleep 0.02; touch -c -d '+5 minutes' "$claim"
  done
  sleep 0.02
done) 2>/dev/null & skew=$!
finished() { [ "$(ls "$T"/fire/runs/*/run.ini 2>/dev/null | wc -l)" -ge $1 ]; }
for i in 1 2 3; do  # a worker less at each fifth of the way
  while ! finished $((cells * i / 5)); do sleep 0.05; done
  kill -9 $(echo $workers | cut -d' ' -f$i)
done
wait $workers 2>/dev/null
kill $skew
ok "at least $tenth cells were made to fail, and did" \
  [ "$(column status "$T/fire/runs.csv" | grep -c failed)" -eq $failing ]
column run_id "$T/fire/runs.csv" | sort >"$T/ids"
ok "$cells rows, none missing or double" [ "$(wc -l <"$T/ids") $(sort -u "$T/ids" | wc -l)" = "$cells $cells" ]
ok "no cell was run twice by those that lived, beyond the 3 that were taken over" \
  [ "$(lines "$T"/log?)" -le $((cells + 3)) ]
rmdir "$T"/fire/runs/*/curve.tsv/in-the-way "$T"/fire/runs/*/curve.tsv 2>/dev/null  # those that are folders
for i in 1 2 3; do "$ISOFLOP" worker --dir "$T/fire" >"$T/log$i" 2>&1 & done; wait
ok "workers that start later run what failed, and nothing else" [ "$(lines "$T"/log[123])" -eq $failing ]
ok "the results of the quiet sweep" same_results "$T/quiet" "$T/fire"
ok "the models of the quiet sweep" same_models "$T/quiet" "$T/fire"
"$ISOFLOP" worker --dir "$T/fire" >"$T/log" 2>&1
ok "a worker once more: nothing is trained" [ "$? $(wc -c <"$T/log")" = "0 0" ]
began=$(date +%s%N)
"$ISOFLOP" sweep $STUDY --out "$T/fire" >"$T/log" 2>&1
ok "the sweep once more: nothing is trained" [ "$? $(grep -c '^\[' "$T/log")" = "0 0" ]
echo "# which took $((($(date +%s%N) - began) / 1000000)) ms"
ok "nothing is damaged" "$ISOFLOP" verify "$T/fire"
echo "1..$n"
