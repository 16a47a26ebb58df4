#!/bin/sh
# Makes data/NAME.tok and data/NAME.manifest.tsv from the packages listed in scripts/packages-NAME.tsv.
# Usage: scripts/corpus.sh english|code       Run from the project's folder, after `make`.
#
# Needs no root and installs nothing: apt-get downloads into private folders under data/, dpkg-deb -x unpacks there, and
# what was unpacked is removed again. The packages themselves stay in data/packages/, so that a second run needs no
# network. A package that cannot be had, or has another version than the table's, is a warning: mirrors move on. Too
# little text in the end is an error (exit 4). ISOFLOP: the program; ISOFLOP_DATA: the data folder.
set -u
export LC_ALL=C
name=${1:-}
here=$(dirname "$0")
table=$here/packages-$name.tsv
if [ -z "$name" ] || [ ! -f "$table" ]; then
  echo "usage: scripts/corpus.sh NAME, where scripts/packages-NAME.tsv exists: english, code" >&2
  exit 2
fi
isoflop=${ISOFLOP:-build/isoflop}
data=${ISOFLOP_DATA:-data}
least=30000000

warn() { echo "corpus.sh: warning: $*" >&2; }
die() { code=$1; shift; echo "corpus.sh: $*" >&2; exit "$code"; }

[ -x "$isoflop" ] || die 2 "$isoflop: not there; run make first"
for tool in apt-get dpkg-deb perl gzip sha256sum; do
  command -v $tool >/dev/null || die 2 "$tool is needed (this step wants Debian or Ubuntu)"
done
mkdir -p "$data/packages" || exit 6
data=$(cd "$data" && pwd)
packages=$data/packages
work=$(mktemp -d "$data/$name.XXXXXX") || exit 6
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# apt with the user's own sources and proxies but with its lists and cache in our folders. The lists are fetched at most
# once a run. update's exit code says nothing: one unreachable extra source, or a hook that wants root, must not stop
# us.
apt() {
  apt-get -qq -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o Debug::NoLocking=1 \
    -o APT::Sandbox::User=root -o Acquire::Languages=none -o APT::Install-Recommends=0 "$@" 2>>"$work/log"
}
apt_lists() {
  [ -d "$work/lists" ] && return
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
  apt update >>"$work/log"
}

# fetch PACKAGE VERSION SHA256: sets $file, or to nothing. First what is there already, then the table's version,
# then any.
fetch() {
  new=$work/new
  rm -rf "$new"; mkdir -p "$new"
  file=
  for f in "$packages"/*; do
    [ -f "$f" ] && [ "$(basename "$f")" = "$3.deb" ] && file=$f && return
  done
  apt_lists
  (cd "$new" && { apt download "$1=$2" || apt download "$1"; }) >>"$work/log"
  for f in "$new"/*; do [ -f "$f" ] && file=$f; done
  [ -n "$file" ] || return
  sha=$(sha256sum "$file" | cut -d' ' -f1)
  [ "$sha" = "$3" ] || warn "$1: not the file that the table names (version $2); going on with $(basename "$file")"
  mv "$file" "$packages/$sha.deb" && file=$packages/$sha.deb
}

manifest=$work/manifest
printf 'package\tversion\tsha256\tlicence\tbytes\n' >"$manifest"
tab=$(printf '\t')
grep -v '^#' "$table" >"$work/table"
while IFS=$tab read -r package version sha recipe licence; do
  fetch "$package" "$version" "$sha"
  if [ -z "$file" ]; then warn "$package: cannot be had here; left out"; continue; fi
  dir=$package
  mkdir -p "$work/unpacked" "$work/text/$dir"
  dpkg-deb -x "$file" "$work/unpacked" 2>>"$work/log" || { warn "$package: cannot be unpacked"; continue; }
  perl "$here/corpus-clean.pl" "$recipe" "$work/unpacked" "$work/text/$dir" </dev/null || warn "$package: the $recipe recipe failed"
  rm -rf "$work/unpacked"
  bytes=$(find "$work/text/$dir" -type f -exec cat {} + | wc -c)
  [ "$bytes" -gt 0 ] || warn "$package: no text found in it"
  version=$(dpkg-deb -f "$file" Version)
  printf '%s\t%s\t%s\t%s\t%s\n' "$package" "$version" "$(basename "$file" .deb)" "$licence" "$bytes" >>"$manifest"
  echo "$package $version: $bytes bytes of text"
done <"$work/table"

total=$(awk -F'\t' 'NR > 1 { s += $5 } END { printf "%d", s }' "$manifest")
if [ "$total" -lt $least ]; then
  tail -5 "$work/log" >&2
  die 4 "$name: $total bytes of text, expected $least or more: is there a network, and does apt-get update work?"
fi
"$isoflop" corpus build "$work/text" "$name" "$data/$name.tok" | tee "$work/built"
hash=$(awk '$1 == "hash" { print $2 }' "$work/built")
[ -n "$hash" ] || die 4 "$name: the token file was not made"
printf '%s.tok\t-\t%s\t-\t%s\n' "$name" "$hash" "$(wc -c <"$data/$name.tok")" >>"$manifest"
mv "$manifest" "$data/$name.manifest.tsv"
