#!/bin/sh
# Runs every test program and script of the tree; each speaks TAP (testanything.org). Shows failures, counts, and ends with
# "N passed, N failed". Usage: tests/run.sh BUILD_DIR [NAME ...]   (names: test_util, checkkern, e2e_smoke.sh, ...)
set -u
build=${1:-build}
[ $# -eq 0 ] || shift
case $build in /*) ;; *) build=$PWD/$build ;; esac
export CMOCKA_MESSAGE_OUTPUT=TAP ISOFLOP=$build/isoflop
passed=0 failed=0
log=$(mktemp) && trap 'rm -f "$log"' EXIT
[ $# -gt 0 ] || set -- $(ls "$build"/tests/ | grep -v '\.') $(ls tests | grep '^e2e_.*\.sh$')
for t in "$@"; do
  case $t in *.sh) cmd="sh tests/$t" ;; *) cmd="$build/tests/$t" ;; esac
  start=$(date +%s)
  $cmd >"$log" 2>&1; code=$?
  p=$(grep -c '^ok' "$log"); f=$(grep -c '^not ok' "$log")
  # A program that dies, or that says nothing at all, is a failure of its own.
  if [ $f -eq 0 ] && { [ $code -ne 0 ] || [ "$p" -eq 0 ]; }; then f=1; fi
  if [ "$f" -gt 0 ]; then echo "--- $t (exit $code)"; cat "$log"; fi
  echo "$t: $p ok, $f not ok, $(($(date +%s) - start)) s"
  passed=$((passed + p)) failed=$((failed + f))
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
