#!/bin/sh
# run_fuzz.sh BINARY CORPUS [OPTION]: fuzzes for a few seconds on a copy of the corpus, so that finds do not land
# in the source tree. FUZZ_SECONDS makes it longer.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$2" "$work/corpus"
cd "$work"
"$1" -max_total_time="${FUZZ_SECONDS:-5}" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 ${3:-} corpus
