#!/bin/sh
# Installs what building, testing and drawing need, where it is missing: Debian 12 or newer, Ubuntu 22.04 or newer.
# In: nothing. Out: one line on what was done. When everything is there it neither needs root nor touches the network.
# Exit 1 with one line when it cannot: not a Debian, no root, no network.
set -u
say() { echo "deps.sh: $*" >&2; }

# Compiler and tools; the libraries the Makefile links (OpenBLAS in its OpenMP flavour, inih, jansson, liblbfgs, zlib);
# cmocka for the tests; gnuplot for the figures; perl for the corpora.
packages="gcc libc6-dev make git ca-certificates perl
          libopenblas-openmp-dev libinih-dev libjansson-dev liblbfgs-dev zlib1g-dev libcmocka-dev gnuplot-nox"

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  say "this system has no apt: install the equivalents of:" $packages
  exit 1
fi
missing=
for p in $packages; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)
  # Another flavour of gnuplot draws as well.
  [ "$p" = gnuplot-nox ] && command -v gnuplot >/dev/null && status=installed
  [ "$status" = installed ] || missing="$missing $p"
done
if [ -z "$missing" ]; then
  say "everything is installed"
  exit 0
fi
root=
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { say "needs root or sudo to install:$missing"; exit 1; }
  root=sudo
fi
say "installing:$missing"
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
# The package lists may be absent (a fresh image) or old (versions gone from the mirror): fetch them first.
$root apt-get -qq update >/dev/null 2>&1
if ! $root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $missing >"$log" 2>&1; then
  say "apt could not install:$missing: $(grep -m 1 '^E:' "$log" || echo 'no reason given'); is the network there?"
  exit 1
fi
say "done"
