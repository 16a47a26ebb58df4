#!/bin/sh
# The disk and the memory fail, and a SIGKILL comes before and after it, at every k-th demand, in train, resume, sweep, fit and report (tests/fault_inject.c). After
# each: the documented exit code, one line on stderr that names the file, nothing leaked, every finished file as it was; and
# the same command again, without the fault, ends with the same bytes as if nothing had been. Speaks TAP. Environment:
# ISOFLOP; STEP: each STEP-th k (1: all, `make test-disk test-memory`); ONLY: some of
# disk, kill and memory.
. "$(dirname "$0")/lib.sh"
STEP=${STEP:-13} ONLY=${ONLY:-disk kill memory}
SHIM=$(dirname "$ISOFLOP")/fault_inject.so
SCRIPT=$PWD/tests/e2e_faults.sh
# faulty KIND:K COMMAND...: with the fault injected; what failed is in $T/log
faulty() {
  rm -f "$T/log" "$T/log.count"
  fault=$1; shift
  FAULT=$fault FAULT_LOG=$T/log LD_PRELOAD=$SHIM "$@"
}
faulty none:0 "$ISOFLOP" --version >/dev/null 2>&1 && [ -s "$T/log" ] ||
  { skip "faults" "no $SHIM here, or it cannot be preloaded"; echo "1..$n"; exit 0; }

cd "$T"
unset OMP_NUM_THREADS
"$ISOFLOP" corpus synth small.tok 200000 40000 >/dev/null || exit 1
RUN="--set corpus=small.tok --set d_model=8 --set n_layers=1 --set n_heads=1 --set seq_len=16 --set batch_tokens=64 --set tokens=1536
  --set eval_tokens=1024 --set checkpoint_seconds=0"
STUDY="--set corpus=small.tok --set seq_len=16 --set batch_tokens=64 --set eval_tokens=1024 --set eval_points=2
  --set tokens_per_param=0.1,300"
train() { "$ISOFLOP" train $RUN --out w; }

# ---- Each command: how its folder w begins, what runs, what must come out
cmd_train="train $RUN --out w" ref_train=one
cmd_resume="$cmd_train" ref_resume=one
cmd_sweep="sweep $STUDY --set budgets=1.5e8 --set sizes_per_budget=3 --workers 1 --out w" ref_sweep=few
cmd_fit="fit --selftest 3 w" ref_fit=study
cmd_report="report --selftest 3 w" ref_report=study
begin_train() { :; }
begin_resume() { cp -rLp begun w; }
begin_sweep() { :; }
begin_fit() { cp -rLp study w; }
begin_report() { cp -rLp study w; }

# Copies keep their times: the report tells the wall time from them.
# What may differ between two runs of the same: seconds, the checksum over them; the processor's name, if it could not be read;
# the moment in a PDF.
plain() { case $1 in */run.ini) grep -vE '^(seconds|check|run_threads|cpu) ' "$1" ;; */runs.csv) results "${1%/*}" ;;
  *.pdf) grep -av CreationDate "$1" ;; *) cat "$1" ;; esac; }
# same DIR REF [whole]: the finished files in DIR are those of REF; with `whole` all of them are there.
same() {
  [ $# -eq 2 ] && derived=figures || derived=none  # gnuplot writes its files in place: after a fault they may be anything
  # Claims and the folders that belong to them are nobody's results (src/claim.c).
  (cd "$1" && find . -type f ! -name '*.tmp' ! -name 'checkpoint.bin*' ! -name cell.ini ! -path "./$derived/*" ! -name 'claim*' ! -path './runs/*/*/*' \
    ! -path './runs/.*' ! -path './.*/*') | sort >names
  [ $# -eq 2 ] || (cd "$2" && find . -type f) | sort | diff names - || return 1
  while read -r f; do
    plain "$1/$f" >p 2>/dev/null; plain "$2/$f" >q 2>/dev/null
    cmp -s p q || { grep -qs '^status = failed' "$1/$f" || [ "${f##*/}" = runs.csv ] && [ $# -eq 2 ] || { echo "$1/$f differs"; return 1; }; }
  done <names
}

"$ISOFLOP" $cmd_train >/dev/null 2>&1 && mv w one || exit 1
"$ISOFLOP" $cmd_sweep >/dev/null 2>&1 && mv w few || exit 1
# A run killed with two generations behind it, right before a third pushes the first out.
for k in $(seq 120 160); do
  rm -rf w; faulty kill:$k "$ISOFLOP" $cmd_train >/dev/null 2>&1
  grep -q 'rename .*checkpoint.bin$' log && [ -e w/checkpoint.bin.old ] && break
done
mv w begun
: >why; [ -e begun/checkpoint.bin ] && [ -e begun/checkpoint.bin.old ] || echo "no two generations" >why
result "a killed run leaves two generations"
"$ISOFLOP" sweep $STUDY --set budgets=1.5e8,3e8,6e8 --set sizes_per_budget=${SIZES:-3} --workers 1 --out study >/dev/null 2>&1 || exit 1
"$ISOFLOP" $(echo $cmd_report | sed 's/w$/study/') >/dev/null 2>&1 || exit 1

# campaign NAME KIND STEP CODES: each STEP-th k of one command
campaign() {
  name=$1 kind=$2 step=$3 codes=$4 tried=0 failed=0 k=1
  eval "cmd=\$cmd_$name ref=\$ref_$name"
  : >why
  while :; do
    rm -rf w; begin_$name
    faulty $kind:$k "$ISOFLOP" $cmd >out 2>err; code=$?
    if ! grep -q "^$kind " log; then  # past the end, or a write of one byte cannot be short
      [ "$(awk '$3 == "operations," { n = $2 } END { print n + 0 }' log)" -ge $k ] && [ $kind = short ] || break
      k=$((k + step)); continue
    fi
    hit=$(grep -m 1 "^$kind " log) tried=$((tried + 1))
    case " $codes " in *" $code "*) ;; *) echo "$hit: exit code $code"; cat err ;; esac >>why
    if [ $code -eq 137 ]; then failed=$((failed + 1))
    elif [ $code -ne 0 ]; then
      failed=$((failed + 1))
      [ "$(grep -c '^isoflop: ' err)" -eq 1 ] || { echo "$hit: expected one line:"; cat err; } >>why
      case $kind in
        once | ever | stack) grep -qiE '^isoflop: .*memory' err || { echo "$hit: no word of memory:"; cat err; } ;;
        full) grep -qE '^isoflop: .*: (No space left on device|disk full)|gnuplot' err || { echo "$hit: no word of it:"; cat err; } ;;
        *) file=$(basename "${hit##* }" | sed -E 's/\.[^.]+\.[0-9]+\.tmp$//')
          grep -qF "$file" err || { echo "$hit: $file is not named:"; cat err; } ;;
      esac >>why
    fi
    if grep '^isoflop: .* left$' log | grep -qv ' 0 left$'; then echo "$hit: $(grep ' left$' log | head -1)" >>why; fi
    same w $ref >diff 2>&1 || { [ ! -d w ] || { echo "$hit: a finished file is damaged:"; cat diff; }; } >>why
    [ $name != resume ] || [ -e w/run.ini ] || [ -e w/checkpoint.bin ] || [ -e w/checkpoint.bin.old ] || echo "$hit: no checkpoint" >>why
    [ -d w ] || begin_$name
    "$ISOFLOP" $cmd >out 2>err || { echo "$hit: the same again without it: exit code $?"; cat err; } >>why
    ! grep -E 'damaged|starting again' err >>why
    same w $ref whole >diff 2>&1 || { echo "$hit: the same again without it:"; cat diff; } >>why
    [ -z "$(find w -name '*.tmp')" ] || { echo "$hit: left behind:"; find w -name '*.tmp'; } >>why
    k=$((k + step))
  done
  [ $tried -gt 0 ] || [ $STEP -gt 1 ] || echo "nothing failed" >>why
  result "$name, $kind: $tried faults, $failed of them ended the command"
}

case $ONLY in *disk*)
  if unshare -rm mount -t tmpfs none "$T/one" 2>/dev/null; then
    ONLY=tmpfs unshare -rm sh "$SCRIPT" >tmpfs
    sed -E '1d; $d; s/^((not )?ok) [0-9]+ -/\1 -/' tmpfs
    [ "$(grep -c 'full disk of 2 MB' tmpfs)" -eq 5 ] || echo "not ok - a full disk of 2 MB: it did not come to its end"
  else
    skip "a full disk of 2 MB" "no user name spaces here"
  fi
  for kind in enospc eio full short; do
    step=$STEP; [ $kind != short ] || step=$(((STEP + 3) / 4))
    campaign train $kind $step "0 6"
    campaign resume $kind $step "0 6"
    campaign fit $kind $step "0 6"
    campaign sweep $kind $((step * 2 - 1)) "0 6 8"
    campaign report $kind $((step * 2 - 1)) "0 6"
  done ;;
esac
# A real disk of 2 MB in a name space of its own, full but for some bytes; then with room again.
case $ONLY in *tmpfs*)
  mkdir disk
  for name in train resume fit report sweep; do
    : >why; ended=0
    eval "cmd=\$cmd_$name ref=../\$ref_$name"
    for room in 0 4096 20000 60000 150000; do
      cd "$T" && mount -t tmpfs -o size=2m none disk && cd disk && ln -s ../small.tok ../begun ../study . || exit 1
      begin_$name
      rm -f w/*.tmp  # what the next run sweeps away would make room
      cat /dev/zero >fill 2>/dev/null; truncate -s -$room fill
      "$ISOFLOP" $cmd >../out 2>../err; code=$?
      case $code in
        0) ;;
        6 | 8) ended=$((ended + 1))
          [ "$(grep -c '^isoflop: ' ../err)" -eq 1 ] && grep -qE '^isoflop: .*(No space left|disk full|gnuplot)' ../err ||
            { echo "$room bytes free: expected a line:"; cat ../err; } ;;
        *) echo "$room bytes free: exit code $code"; cat ../err ;;
      esac >>../why
      [ $name != resume ] || [ -e w/run.ini ] || [ -e w/checkpoint.bin ] || [ -e w/checkpoint.bin.old ] ||
        echo "$room bytes free: no checkpoint" >>../why
      rm fill
      [ -d w ] || begin_$name
      "$ISOFLOP" $cmd >../out 2>../err || { echo "$room bytes free, then more: exit code $?"; cat ../err; } >>../why
      ! grep -E 'damaged|starting again' ../err >>../why
      same w $ref whole >../diff 2>&1 || { echo "$room bytes free, then more:"; cat ../diff; } >>../why
      cd "$T" && umount disk
    done
    [ $ended -gt 0 ] || echo "the disk was never full" >why
    result "$name on a full disk of 2 MB, 5 times: $ended ended by it, and all the same bytes with room again"
  done
  echo "1..$n"
  exit ;;
esac

case $ONLY in *kill*)
  for kind in kill killed; do
    campaign train $kind $STEP 137
    campaign resume $kind $STEP 137
    campaign fit $kind $STEP 137
    campaign report $kind $((STEP * 4 - 3)) 137
  done ;;
esac
case $ONLY in *memory*)
  for kind in once ever; do
    campaign train $kind $STEP "0 7"
    campaign resume $kind $STEP "0 7"
    campaign sweep $kind $((STEP * 2 - 1)) "0 7 8"
  done
  campaign fit stack 1 "0 7"  # few and quick
  campaign report stack $(((STEP + 3) / 4)) "0 7" ;;
esac
echo "1..$n"
