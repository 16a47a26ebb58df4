#!/bin/sh
# Bad input: one clear line on stderr, the documented exit code, nothing lost. Speaks TAP. Environment: ISOFLOP.
. "$(dirname "$0")/lib.sh"
sweep() { "$ISOFLOP" sweep --config configs/smoke.ini --set budgets=3e8,6e8 --set tokens_per_param=0.1,10 \
  --set sizes_per_budget=2 --set eval_tokens=4096 "$@"; }

# ---- Command line
refused "unknown command" 2 "unknown command 'swep'" "$ISOFLOP" swep
refused "unknown option" 2 "unknown option --wrokers" "$ISOFLOP" sweep --wrokers 2
refused "option without its value" 2 "needs a value" "$ISOFLOP" plan --config
refused "no output folder" 2 "out DIR is missing" "$ISOFLOP" sweep --config configs/smoke.ini
refused "bytes that are no number" 2 "'many' is no number" "$ISOFLOP" sample --run "$T/x" --bytes many
refused "unknown option of train" 2 "unknown option --ouy" "$ISOFLOP" train --ouy "$T/x"
refused "workers that are no number" 2 "workers: expected a number" sweep --out "$T/x" --workers many
refused "workers beyond an int" 2 "workers: expected a number from 1 to" sweep --out "$T/x" --workers 4294967297
refused "unknown option of bench" 2 "unknown option --foo" "$ISOFLOP" bench --foo
refused "unexpected argument" 2 "unexpected argument 'smoke'" "$ISOFLOP" plan smoke

refused "standard output on a full disk" 6 "standard output: cannot write: No space left" \
  sh -c '"$0" help options >/dev/full' "$ISOFLOP"

# ---- Configuration
refused "no such study file" 6 "no-such.ini: cannot read" "$ISOFLOP" plan --config "$T/no-such.ini"
refused "a folder as a study file" 6 "not a regular file" "$ISOFLOP" plan --config "$T"
printf '[study]\nbugdets = 1e9\n' >"$T/key.ini"
refused "unknown key in a file: line and nearest key" 3 "key.ini:2: unknown key 'bugdets'; .*'budgets'" "$ISOFLOP" plan --config "$T/key.ini"
printf '[study]\nbudgets = 1e9\0\n' >"$T/nul.ini"
refused "a binary study file" 3 "nul.ini: not a text file" "$ISOFLOP" plan --config "$T/nul.ini"
refused "unknown key on the command line" 3 "set: unknown key 'dmodel'.*'d_model'" sweep --out "$T/x" --set dmodel=32
refused "value out of range" 3 "lr = 11 is out of range, expected 0 to 10" sweep --out "$T/x" --set lr=11
refused "value of the wrong kind" 3 "lr = fast: expected a number" sweep --out "$T/x" --set lr=fast
refused "impossible shape" 3 "d_model = 33 is not divisible by n_heads = 2" "$ISOFLOP" train --out "$T/x" --set d_model=33
refused "odd head width" 3 "even width" "$ISOFLOP" train --out "$T/x" --set d_model=30 --set n_heads=2
refused "budget too small for the warm-up" 3 "at least 20 are needed" "$ISOFLOP" train --out "$T/x" --set budget=1e6
refused "budget too small for a study's sizes" 3 "budget 1e\+06, d_model" sweep --out "$T/x" --set budgets=1e6 --set tokens_per_param=0.001,10
TINY="--set seq_len=16 --set batch_tokens=64 --set eval_tokens=2000 --set budgets=1e9"
ONE="$TINY --set d_model=8 --set n_heads=2"
refused "a rule's rate out of range" 3 "lr = 12 is out of range, expected 0 to 10" \
  "$ISOFLOP" sweep --out "$T/x" $TINY --set shapes=8x2x2 --set lr_scale=1000
refused "a cosine out of range" 3 "cosine_cycle = .* is out of range" \
  "$ISOFLOP" train --out "$T/x" $ONE --set tokens=6400 --set cosine_tokens=1e9
refused "a second seed out of range" 3 "seed = 1073741825 is out of range" \
  "$ISOFLOP" sweep --out "$T/x" $TINY --set shapes=8x2x2 --set seed=1073741824 --set seeds=2
refused "more steps than can be counted" 3 "3e.09 steps of 64, at most 1e.09" \
  "$ISOFLOP" train --out "$T/x" $ONE --set tokens=192000000000
for shapes in 8x2 8x2x2x "8x2x2 16x2x2" "8x2x2, foo" 8x2x2,; do
  refused "shapes = $shapes" 3 "shapes = $shapes: expected 32x2x2" "$ISOFLOP" plan $TINY --set "shapes=$shapes"
done
refused "a shape without heads" 3 "n_heads = 0 is out of range" "$ISOFLOP" plan $TINY --set shapes=8x2x0
refused "a shape below zero" 3 "d_model = -32 is out of range" "$ISOFLOP" plan $TINY --set shapes=-32x2x2
for vary in lr "|" "lr .1 |" "| lr .1"; do
  refused "vary = $vary" 3 "vary = .*: expected KEY VALUE VALUE" "$ISOFLOP" plan $TINY --set shapes=8x2x2 --set "vary=$vary"
done
refused "vary what a part has one of" 3 "vary: corpus is one for a whole part" \
  "$ISOFLOP" plan $TINY --set shapes=8x2x2 --set "vary=corpus a b"
refused "a range without sizes" 3 "no member of the family" sweep --out "$T/x" --set params_range=1,2
ok "nothing was made by any of these" [ ! -e "$T/x" ]

# ---- Corpus
refused "missing corpus" 4 "no-such.txt" sweep --out "$T/x" --set corpus="$T/no-such.txt"
: >"$T/empty.txt"
refused "empty corpus" 4 "empty" sweep --out "$T/x" --set corpus="$T/empty.txt"
head -c 200000 /dev/zero >"$T/binary.txt"
refused "binary corpus" 4 "binary.txt" sweep --out "$T/x" --set corpus="$T/binary.txt"
echo "too short to learn anything from" >"$T/short.txt"
refused "too short corpus" 4 "short" sweep --out "$T/x" --set corpus="$T/short.txt"
if [ "$(id -u)" -ne 0 ]; then
  cp configs/smoke.ini "$T/locked.txt"; chmod 000 "$T/locked.txt"
  refused "unreadable corpus" 4 "locked.txt" sweep --out "$T/x" --set corpus="$T/locked.txt"
else
  refused "unreadable corpus" 4 "/proc/self/mem" sweep --out "$T/x" --set corpus=/proc/self/mem
fi
ok "nothing was made by any of these" [ ! -e "$T/x" ]

# ---- Folders
sweep --out "$T/a" >/dev/null 2>&1
ok "a small study" [ $? -eq 0 ]
find "$T/a" -type f -exec cksum {} + | sort >"$T/before"
refused "the folder of another study" 5 "belongs to another study: budgets is 300000000, 600000000 there" sweep --out "$T/a" --set budgets=4e8
refused "the folder of another corpus" 5 "belongs to another study: seq_len is 32 there and 16 here" sweep --out "$T/a" --set seq_len=16
find "$T/a" -type f -exec cksum {} + | sort >"$T/after"
ok "nothing in it was changed" cmp "$T/before" "$T/after"
cat src/*.c >"$T/text.txt"
sweep --out "$T/text" --set corpus="$T/text.txt" >/dev/null 2>&1
ok "a study of a text" "$ISOFLOP" verify "$T/text"
echo "one line more" >>"$T/text.txt"
refused "its sweep when the text was edited" 5 "the corpus .*text.txt has changed" sweep --out "$T/text" --set corpus="$T/text.txt"
refused "a worker then" 5 "the corpus .*text.txt has changed" "$ISOFLOP" worker --dir "$T/text"
refused "a rerun then" 4 "changed since the run" "$ISOFLOP" rerun "$T/text" "$(ls "$T/text/runs" | head -1)"
"$ISOFLOP" verify "$T/text" >"$T/log" 2>&1
ok "verify then: exit code 5" [ $? -eq 5 ]
ok "which names the corpus" grep -q "changed since the study was made" "$T/log"
refused "a worker's option of the wrong kind" 3 "threads = abc: expected a number" "$ISOFLOP" worker --dir "$T/a" --set threads=abc
: >"$T/file"
refused "an output folder without a name" 6 "a folder without a name" sweep --out ""
refused "an output folder that is a file" 6 "a file has that name" sweep --out "$T/file"
refused "an output folder that cannot be made" 6 "cannot make this folder" sweep --out /proc/no/such
refused "fit of a folder that is no study" 5 "not a study folder|no study" "$ISOFLOP" fit "$T/x"

# ---- One run: its folder goes on with it, and takes no other
"$ISOFLOP" corpus synth "$T/small.tok" 300000 40000 >/dev/null; "$ISOFLOP" corpus synth "$T/bare.tok" 300000 0 >/dev/null
RUN="$ONE --set corpus=$T/small.tok --set tokens=256000"
"$ISOFLOP" train $RUN --out "$T/whole" >/dev/null 2>&1
"$ISOFLOP" train $RUN --set checkpoint_seconds=0 --out "$T/run" >/dev/null 2>"$T/log" &
within 20 exists "$T/run/checkpoint.bin"; kill -INT $!; wait $!
ok "a run that is stopped" [ $? -eq 130 ]
"$ISOFLOP" train $RUN --set tokens=1e8 --set checkpoint_seconds=0.01 --out "$T/clock" >/dev/null 2>&1 & pid=$!
ok "a checkpoint comes by the clock" within 20 exists "$T/clock/checkpoint.bin"
kill -9 $pid; wait $pid 2>/dev/null
find "$T/run" -type f -exec cksum {} + | sort >"$T/before"
"$ISOFLOP" train $RUN --set seed=2 --out "$T/run" >/dev/null 2>"$T/log"
ok "another run in its folder: exit code 5" [ $? -eq 5 ]
ok "which says whose it is" grep -q "^isoflop: .*/checkpoint.bin: belongs to run" "$T/log"
KERNELS=scalar "$ISOFLOP" train $RUN --out "$T/run" >/dev/null 2>"$T/log"
ok "the same run with other kernels: exit code 5" [ $? -eq 5 ]
ok "which says so" grep -q "^isoflop: .*/checkpoint.bin: written with other kernels than scalar (KERNELS chooses): give --out" "$T/log"
find "$T/run" -type f -exec cksum {} + | sort >"$T/after"
ok "and changes nothing there" cmp "$T/before" "$T/after"
ok "without options it goes on" "$ISOFLOP" train --out "$T/run"
ok "to the bytes of one that was never stopped" cmp "$T/run/model.bin" "$T/whole/model.bin"
find "$T/run" -type f -exec cksum {} + | sort >"$T/before"
ok "a finished run again: nothing to do" "$ISOFLOP" train $RUN --out "$T/run"
refused "another run in the folder of a finished one" 5 "holds run [0-9a-f]*, not [0-9a-f]*: give --out" \
  "$ISOFLOP" train $RUN --set tokens=512000 --out "$T/run"
find "$T/run" -type f -exec cksum {} + | sort >"$T/after"
ok "neither changes it" cmp "$T/before" "$T/after"
refused "evaluation where nothing is held out" 4 "held-out part shorter than one window" \
  "$ISOFLOP" eval --run "$T/run" --set corpus="$T/bare.tok"
ok "fewer tokens than a window: one window, as in training" "$ISOFLOP" eval --run "$T/run" --set eval_tokens=3

# ---- A study that has nothing to fit, and tables that were changed
sweep --out "$T/wild" --set lr=10 --set clip=1e9 --set qk_norm=false --set budgets=3e9 --set sizes_per_budget=3 >"$T/log" 2>&1
ok "every run diverged: the sweep is over" [ $? -eq 0 ]
ok "of 3 runs all" grep -q "0 of 3 runs finished, 3 diverged" "$T/log"
ok "its page tells of it" "$ISOFLOP" report "$T/wild"
ok "under the runs left out" grep -q "diverged: step" "$T/wild/report.html"
refused "a peak beyond belief" 2 "peak: expected GFLOP/s, .001 to 1e6" "$ISOFLOP" report --peak inf "$T/a"
cp -r "$T/a" "$T/judged"
{ echo part,run_id,verdict,params,tokens,loss,forecast,p10,p90,flops_per_token_forward; for k in 1 2; do
  printf 'verdict,<b>,pass,1e5,1e6,2,2,1,3,1e5\n'; done; } >"$T/judged/verdict.csv"
refused "mark-up in verdict.csv" 5 "verdict.csv: line 2: run_id is '<b>': expected a short word" "$ISOFLOP" report "$T/judged"
sed -i "s/<b>/$(printf %1500s | tr ' ' x)/" "$T/judged/verdict.csv"
refused "a word without end there" 5 "verdict.csv: line 2: run_id is 'xxxx.*': expected" "$ISOFLOP" report "$T/judged"

# ---- Full disk: a file system of 1 MB, mounted in a name space of its own so that nothing outside sees it.
mkdir "$T/disk"
if unshare -rm mount -t tmpfs none "$T/disk" 2>/dev/null; then
  export T
  cat >"$T/full.sh" <<'END'
mount -t tmpfs -o size=1m none "$T/disk" && cp -r "$T/a" "$T/disk/a" || exit 99
rm -r "$T/disk/a/runs/$(ls "$T/disk/a/runs" | head -1)"
find "$T/disk/a" -name run.ini -exec cksum {} + | sort >"$T/before"
cat /dev/zero >"$T/disk/fill" 2>/dev/null
run() { "$ISOFLOP" sweep --config configs/smoke.ini --set budgets=3e8,6e8 --set tokens_per_param=0.1,10 --set sizes_per_budget=2 \
  --set eval_tokens=4096 --out "$T/disk/a"; }
run >"$T/out" 2>"$T/err"; echo $? >"$T/code"
find "$T/disk/a" -name run.ini -exec cksum {} + | sort >"$T/after"
rm "$T/disk/fill"
run >"$T/out2" 2>&1; echo $? >"$T/code2"
mkdir "$T/full" && cp "$T/disk/a/runs.csv" "$T/full"
END
  unshare -rm sh "$T/full.sh"
  ok "full disk: exit code 6" [ "$(cat "$T/code")" -eq 6 ]
  ok "full disk: one line says so" sh -c "[ \$(wc -l <'$T/err') -eq 1 ] && grep -q '^isoflop: .*No space left on device' '$T/err'"
  ok "full disk: no record is lost" cmp "$T/before" "$T/after"
  ok "with room again it goes on" [ "$(cat "$T/code2")" -eq 0 ]
  ok "and the results are those of a disk with room" same_results "$T/full" "$T/a"
else
  skip "full disk" "no user name spaces here"
fi

# ---- Damage
printf 'isoflop\n broken' >"$T/broken.tok"
refused "damaged token file" 4 "broken.tok" sweep --out "$T/x" --set corpus="$T/broken.tok"
id=$(ls "$T/a/runs" | head -1)
sed -i 's/^d_model = .*/d_model = 999/' "$T/a/runs/$id/run.ini"
refused "damaged record" 5 "run.ini: damaged record" "$ISOFLOP" eval --run "$T/a/runs/$id"
echo "1..$n"
