# lib.sh: what the end-to-end tests share; each begins with `. "$(dirname "$0")/lib.sh"`, in the tree's own folder. In:
# the program as ISOFLOP in the environment (default build/isoflop). Out: $T, a folder that is gone when the script has
# ended; TAP on stdout, $n tests so far. What a test must not touch: $n, $name, $left, $T/why.
set -u
export ISOFLOP=${ISOFLOP:-$PWD/build/isoflop} ISOFLOP_DATA=${ISOFLOP_DATA:-$PWD/data}
export OMP_WAIT_POLICY=passive  # threads that spin starve each other on a busy machine
[ -w /dev/shm ] && T=$(mktemp -d -p /dev/shm) || T=$(mktemp -d)  # where a save costs little, lest checkpoints be few
trap 'rm -rf "$T"' EXIT

# ---- Tests
n=0
result() {  # result NAME: passes if $T/why is empty, which else says what is wrong
  n=$((n + 1))
  if [ -s "$T/why" ]; then echo "not ok $n - $1"; sed 's/^/# /' "$T/why" | head -40; else echo "ok $n - $1"; fi
}
ok() {  # ok NAME COMMAND...: passes if the command does
  n=$((n + 1)); name=$1; shift
  if "$@" >"$T/why" 2>&1; then echo "ok $n - $name"
  else echo "not ok $n - $name"; cat "$T/why" "$T/err" 2>/dev/null | sed 's/^/# /'; fi
}
refused() {  # refused NAME EXIT_CODE PATTERN COMMAND...: that exit code, and one line on stderr that matches
  name=$1; want=$2; pattern=$3; shift 3
  "$@" >"$T/out" 2>"$T/err" </dev/null; got=$?
  if [ $got -eq "$want" ] && [ "$(wc -l <"$T/err")" -eq 1 ] && grep -qE "^isoflop: .*$pattern" "$T/err"; then : >"$T/why"
  else { echo "exit code $got, expected $want; stderr, expected /$pattern/:"; cat "$T/err"; } >"$T/why"; fi
  result "$name"
}
skip() { n=$((n + 1)); echo "ok $n - $1 # SKIP $2"; }  # skip NAME WHY
code() { want=$1; shift; "$@"; [ $? -eq $want ]; }     # code N COMMAND...: passes if it ends with N
within() {  # within SECONDS COMMAND...: waits until the command passes
  left=$(($1 * 20)); shift
  while ! "$@" >/dev/null 2>&1; do left=$((left - 1)); [ $left -gt 0 ] || return 1; sleep 0.05; done
}
exists() { ls $1; }  # a pattern

# ---- Studies: a dozen cells, all under a second; four that last long enough to be interrupted, and save all the time
SMALL="--config configs/smoke.ini --set budgets=3e8,6e8,1.2e9 --set tokens_per_param=0.1,10 --set sizes_per_budget=4
  --set eval_tokens=4096"
SLOW="--config configs/smoke.ini --set budgets=2e9,2e10 --set params_range=14000,21000 --set sizes_per_budget=2
  --set checkpoint_seconds=0"

# ---- What a study's folder holds
value() { sed -n "s/^$1 = //p" "$2"; }  # value KEY FILE
column() { awk -F, -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) c = i; next } { print $c }' "$2"; }
results() { cut -d, -f 1-19,21- "$1/runs.csv"; }  # all but seconds
same_results() { results "$1" >"$T/.a" && results "$2" >"$T/.b" && [ -s "$T/.a" ] && diff "$T/.a" "$T/.b"; }
same_models() (  # and curves
  [ "$(ls "$1/runs" | wc -l)" -gt 0 ] || return 1
  for run in $(ls "$1/runs"); do
    for file in model.bin curve.tsv; do cmp "$1/runs/$run/$file" "$2/runs/$run/$file" || return 1; done
  done
)
only_results() { ! find "$1" -type f | grep -vE '/(model.bin|curve.tsv|run.ini|runs.csv|study.ini)$'; }

# ---- Processes
children() {
  awk -v parent="$1" '/^Pid:/ { pid = $2 } /^PPid:/ && $2 == parent { print pid }' /proc/[0-9]*/status 2>/dev/null
}
lines() { cat "$@" | grep -cE '^(\[[0-9/]*\] )?[0-9a-f]{16}  C '; }  # runs that were told of in these logs
