#!/usr/bin/env bash
# Fuzzes for long, niced, one target after the other or at a time as many as there are processors, on copies of the
# committed corpora; keeps what it found, and says what each covered. Needs the asan build.
#
#   tests/fuzz/soak.sh HOURS [TARGET...]     so long for each; default: the targets of TLS
#   tests/fuzz/soak.sh --merge TARGET...     what a soak found and covers more goes into the committed corpus, minimized
#
# SALLYPORT_SOAK: where copies, logs and crashes are kept; default build/soak.
set -uo pipefail
cd "$(dirname "$0")/../.."
tls="outcome handshake records ticket client_hello"
usage() { sed -n '5,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -gt 0 ] || usage
work=${SALLYPORT_SOAK:-$PWD/build/soak}
binary() { echo "$PWD/build/asan/tests/fuzz/${1}_fuzz"; }

if [ "$1" = --merge ]; then
  shift
  [ $# -gt 0 ] || usage
  for target in "$@"; do
    corpus=tests/fuzz/corpus/$target before=$(ls "tests/fuzz/corpus/$target" | wc -l)
    "$(binary "$target")" -merge=1 "$corpus" "$work/$target/corpus" >"$work/$target/merge.log" 2>&1 || { tail -n 5 "$work/$target/merge.log"; exit 1; }
    echo "soak: $target: $before files, now $(ls "$corpus" | wc -l)"
  done
  exit 0
fi

[[ "$1" =~ ^[0-9]*\.?[0-9]+$ ]] || usage
seconds=$(awk -v hours="$1" 'BEGIN { print int(hours * 3600) }')
shift
[ $# -gt 0 ] || { read -ra names <<<"$tls"; set -- "${names[@]}"; }
for target in "$@"; do
  [ -x "$(binary "$target")" ] || { echo "soak: there is no $(binary "$target"): cmake --build --preset asan --target ${target}_fuzz" >&2; exit 1; }
done

soak() {
  local target=$1 home=$work/$1 status
  mkdir -p "$home/corpus" "$home/crashes"
  touch "$home/began"  # what an earlier soak found is not counted again
  cp -n "tests/fuzz/corpus/$target"/* "$home/corpus/" 2>/dev/null
  # In processes of its own, so that it goes on behind what it finds.
  nice -n 10 "$(binary "$target")" -fork=1 -ignore_crashes=1 -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=25 \
    -artifact_prefix="$home/crashes/" "$home/corpus" >"$home/log" 2>&1
  status=$?
  local last crashes
  last=$(grep -oE '^#[0-9]+: cov: [0-9]+' "$home/log" | tail -n 1)
  crashes=$(find "$home/crashes" -type f -newer "$home/began" | wc -l)
  echo "soak: $target: $seconds s: $(sed -E 's/^#([0-9]+): cov: ([0-9]+)/\1 inputs, \2 edges/' <<<"$last"), $(ls "$home/corpus" | wc -l) files in the corpus, $crashes finds"
  [ "$status" -eq 0 ] && [ "$crashes" -eq 0 ]
}
export -f soak binary
export work seconds
printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} bash -c 'soak "$@"' bash {}
status=$?
[ "$status" -eq 0 ] || echo "soak: something was found; see $work/*/log and crashes/"
exit "$status"
