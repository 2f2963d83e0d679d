#!/usr/bin/env bash
# What the fuzz targets of TLS reach of proxy/tls, line by line, with nothing but their corpora: no fuzzing. Builds them
# with clang's coverage in build/coverage, apart from the other builds.
#
#   tests/fuzz/coverage.sh [--uncovered] [TARGET...]      default: the targets of TLS
#
# --uncovered: also prints the lines that no input reaches. A soak's corpora count where they are there (SALLYPORT_SOAK,
# build/soak).
set -uo pipefail
cd "$(dirname "$0")/../.."
uncovered=no
[ "${1:-}" = --uncovered ] && { uncovered=yes; shift; }
[ $# -gt 0 ] || set -- outcome handshake records ticket client_hello
soaked=${SALLYPORT_SOAK:-$PWD/build/soak}
profdata=$(command -v llvm-profdata || command -v llvm-profdata-14) && cov=$(command -v llvm-cov || command -v llvm-cov-14) ||
  { echo "coverage: llvm is not installed" >&2; exit 1; }
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
build=$PWD/build/coverage
targets=("${@/%/_fuzz}")
# No sanitizer, and so no fuzzer: a small main() runs each file of the corpus once.
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_COMPILER=clang++ "${launcher[@]}" \
  -DCMAKE_CXX_FLAGS_DEBUG="-O1 -g1 -fprofile-instr-generate -fcoverage-mapping" -DSALLYPORT_FUZZ_COVERAGE=ON \
  -DSALLYPORT_BENCH=OFF >"$build.log" 2>&1 && cmake --build "$build" --target "${targets[@]}" >>"$build.log" 2>&1 ||
  { tail -n 20 "$build.log" >&2; exit 1; }

objects=() profiles=()
for target in "$@"; do
  inputs=(tests/fuzz/corpus/"$target"/*)
  [ ! -d "$soaked/$target/corpus" ] || inputs+=("$soaked/$target/corpus"/*)
  LLVM_PROFILE_FILE=$build/$target.profraw "$build/tests/fuzz/${target}_fuzz" "${inputs[@]}" >/dev/null 2>"$build/$target.log" ||
    { echo "coverage: $target failed; see $build/$target.log" >&2; exit 1; }
  echo "coverage: $target: ${#inputs[@]} inputs"
  profiles+=("$build/$target.profraw")
  objects+=(-object "$build/tests/fuzz/${target}_fuzz")
done
"$profdata" merge -sparse "${profiles[@]}" -o "$build/all.profdata" || exit 1
# The client's end of TLS to brokers, and what is done at the start, is no part of what these fuzz. A header that was
# compiled under two names (ccache) counts as it was reached most.
others='/(tls_broker|broker_sessions|tls_files|server_key|tls_self_test)[.]'
"$cov" report "${objects[@]:1}" -instr-profile="$build/all.profdata" 2>/dev/null | awk -v others="$others" '
  $1 !~ /proxy\/tls\// || $1 ~ others { next }
  { name = $1; sub(/.*proxy\/tls\//, "", name) }
  !(name in all) || $8 - $9 > hit[name] { all[name] = $8; hit[name] = $8 - $9 }
  END {
    for (name in all) {
      printf "%-30s %5d of %5d lines %5.1f %%\n", name, hit[name], all[name], 100 * hit[name] / all[name] | "sort"
      lines += all[name]; reached += hit[name]
    }
    close("sort")
    printf "coverage: %d of %d lines of proxy/tls, %.1f %%\n", reached, lines, 100 * reached / lines
  }'
[ "$uncovered" = no ] || "$cov" show "${objects[@]:1}" -instr-profile="$build/all.profdata" -show-line-counts 2>/dev/null |
  awk -v others="$others" '/^[^ ].*:$/ { wanted = $0 ~ /proxy\/tls\// && $0 !~ others; if (wanted) print; next } wanted && /^ +[0-9]+\| +0\|/'
