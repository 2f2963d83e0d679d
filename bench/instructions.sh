#!/usr/bin/env bash
# How many instructions does the server's side of a handshake take? Counted by callgrind, so the same on a busy machine
# as on a quiet one. Valgrind knows no SHA extensions and no AVX-512: what hashes and copies is dearer there than it is.
#
#   bench/instructions.sh [BUILD_FOLDER]      a Markdown table; two minutes
set -euo pipefail
cd "$(dirname "$0")/.."
program=${1:-build/release}/bench/engine_handshake
[ -x "$program" ] || { echo "instructions: $program is not built: cmake --preset release && cmake --build --preset release" >&2; exit 1; }
command -v valgrind >/dev/null || { echo "instructions: valgrind is not installed (apt-get install valgrind)" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Of so many handshakes of one kind, what is done once included.
count() {
  SALLYPORT_BENCH_ITERATIONS=$2 valgrind --tool=callgrind --callgrind-out-file="$folder/out" \
    --toggle-collect='sallyport::TlsEngine::handshake(*' "$program" --benchmark_filter="^$1/" 2>&1 |
    sed -n 's/.*Collected : //p'
}

echo "| handshake | instructions |"
echo "|---|---:|"
"$program" --benchmark_list_tests | cut -d / -f 1,2 | while read -r kind; do
  printf "| %s | %d |\n" "$kind" $((($(count "$kind" 30) - $(count "$kind" 10)) / 20))
done
