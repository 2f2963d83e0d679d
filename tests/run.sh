#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test: the release build with unit, simulation, house-rule and
# end-to-end tests, then clang's build with ASan and UBSan, its tests and fuzzers, then ThreadSanitizer. Exits non-zero
# when one fails. At the end it says where the time went.
#
#   tests/run.sh            everything: at most 40 minutes on two idle cores
#   tests/run.sh --quick    the release build and its tests alone: at most 10
set -uo pipefail
cd "$(dirname "$0")/.."
quick=no
case "${1:-}" in
  "") ;;
  --quick) quick=yes ;;
  *) echo "usage: tests/run.sh [--quick]" >&2; exit 2 ;;
esac
# shellcheck source=deploy/packages.sh
. deploy/packages.sh
# shellcheck disable=SC2086
install_packages $BUILD_PACKAGES $DEVELOP_PACKAGES $DEMO_PACKAGES $TEST_PACKAGES || { echo "tests: packages could not be installed" >&2; exit 1; }

jobs=$(nproc)
began=$SECONDS
passed=0
failed=0
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
if [ "$quick" = yes ]; then export SALLYPORT_SIM_RUNS=${SALLYPORT_SIM_RUNS:-300}; fi

times=()
step_began=$SECONDS
step=
end_step() { [ -z "$step" ] || times+=("$(printf '%6d s  %s' $((SECONDS - step_began)) "$step")"); step=; }
say() {
  end_step
  step=$* step_began=$SECONDS
  printf '\n== %s (%d s)\n' "$*" $((SECONDS - began))
}

build() {  # build PRESET TARGET...
  local preset=$1; shift
  local log=build/$preset.log
  mkdir -p build
  if cmake --preset "$preset" "${launcher[@]}" >"$log" 2>&1 && cmake --build --preset "$preset" -j "$jobs" --target "$@" >>"$log" 2>&1; then
    return 0
  fi
  grep -nE 'error|FAILED' "$log" | head -40
  tail -n 20 "$log"
  echo "tests: the $preset build failed; all of it is in $log"
  failed=$((failed + 1))
  return 1
}

run() {  # run PRESET CTEST-ARGS...
  local preset=$1; shift
  local out=build/$preset.ctest
  ctest --test-dir "build/$preset" --output-on-failure --no-tests=error "$@" 2>&1 | tee "$out" |
    grep -vE '^ *(Start|Test +#| *[0-9]+/[0-9]+ Test .* Passed)' | sed '/^$/d'
  local status=${PIPESTATUS[0]}
  local of
  of=$(sed -n 's/.*tests passed, \([0-9]*\) tests\? failed out of \([0-9]*\)/\1 \2/p' "$out" | tail -n 1)
  [ -n "$of" ] || of="1 1"
  failed=$((failed + ${of% *}))
  passed=$((passed + ${of#* } - ${of% *}))
  [ "$status" -eq 0 ] || [ "${of% *}" -gt 0 ] || failed=$((failed + 1))
}

say "release: build"
build release all && {
  say "release: unit, simulation, house rules"
  run release -LE e2e -j "$jobs"
  say "release: end to end"
  run release -L e2e -j "$jobs"
}
if [ "$quick" = no ]; then
  say "clang, with AddressSanitizer and UndefinedBehaviorSanitizer: build"
  build asan all && {
    passed=$((passed + 1))
    echo "clang compiles everything without a warning"
    say "AddressSanitizer and UndefinedBehaviorSanitizer: unit, simulation"
    SALLYPORT_SIM_RUNS=${SALLYPORT_SIM_RUNS:-60} run asan -L 'unit|simulation' -j "$jobs"
    say "fuzzing"
    run asan -L fuzz -j "$jobs"
  }
  say "ThreadSanitizer: build"
  build tsan thread_tests && {
    say "ThreadSanitizer: tests with threads"
    TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp" run tsan -L threads -j "$jobs"
  }
fi
end_step

printf '\n== done (%d s)\n' $((SECONDS - began))
printf '%s\n' "${times[@]}"
echo "tests: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
