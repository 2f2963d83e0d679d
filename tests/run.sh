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
install_packages $BUILD_PACKAGES $CONSOLE_PACKAGES $DEVELOP_PACKAGES $DEMO_PACKAGES $TEST_PACKAGES || { echo "tests: packages could not be installed" >&2; exit 1; }

jobs=$(nproc)
tests=$((2 * jobs))  # at a time: half of what a test takes is waiting, for a disk, a timer, a peer; end to end, more
began=$SECONDS
passed=0
failed=0
skipped=0
launcher=()
# Where nothing is cached yet it costs little, so: what was included is taken from the compiler, and no file is preprocessed twice.
export CCACHE_DEPEND=1
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

# counted LOG: how many tests passed and failed in a run of ctest. One entry of ctest is a whole program of GoogleTest or
# a file of pytest: what they counted, they say. One that says nothing, because it crashed or never ends, has failed once.
counted() {
  awk '
    /^[0-9]+\/[0-9]+ Testing: / { good = bad = 0 }
    /^\[  PASSED  \] [0-9]+ test/ { good += $4 }
    /^\[  FAILED  \] [0-9]+ test/ { bad += $4 }
    /^([0-9]+ (passed|failed|skipped|error|errors|warning|warnings),? )+in [0-9.]+s/ {
      for (i = 1; i < NF; i++) { if ($(i + 1) ~ /^passed/) good += $i; if ($(i + 1) ~ /^(failed|error)/) bad += $i }
    }
    /^Test Passed\./ { passed += good ? good : 1 }
    /^Test Failed\./ { passed += good; failed += bad ? bad : 1 }
    END { print passed + 0, failed + 0 }' "$1"
}

run() {  # run PRESET CTEST-ARGS...
  local preset=$1; shift
  local log=build/$preset/Testing/Temporary/LastTest.log
  rm -f "$log"
  ctest --test-dir "build/$preset" --output-on-failure --no-tests=error "$@" 2>&1 | tee "build/$preset.ctest" |
    grep -vE '^ *(Start|Test +#| *[0-9]+/[0-9]+ Test .* Passed)' | sed '/^$/d'
  local status=${PIPESTATUS[0]} of="0 1"
  [ ! -f "$log" ] || of=$(counted "$log")
  passed=$((passed + ${of% *}))
  failed=$((failed + ${of#* }))
  [ "$status" -eq 0 ] || [ "${of#* }" -gt 0 ] || failed=$((failed + 1))
  skipped=$((skipped + $(grep -c '\*\*\*Skipped' "build/$preset.ctest")))
}

say "release: build"
build release all && {
  say "release: unit, simulation, house rules"
  run release -LE e2e -j "$tests"
  say "release: end to end"
  if [ "$quick" = yes ]; then
    run release -L e2e -LE browser -j $((3 * jobs))
  else
    run release -L e2e -j $((3 * jobs))
    say "release: end to end, by epoll"
    SALLYPORT_TEST_IO=epoll run release -L e2e -LE once -j $((3 * jobs))
  fi
}
if [ "$quick" = no ]; then
  say "clang, with AddressSanitizer and UndefinedBehaviorSanitizer: build"
  build asan all && {
    passed=$((passed + 1))
    echo "clang compiles all but the benchmarks without a warning"
    say "AddressSanitizer and UndefinedBehaviorSanitizer: unit, simulation"
    SALLYPORT_SIM_RUNS=${SALLYPORT_SIM_RUNS:-60} run asan -L 'unit|simulation' -j "$tests"
    say "fuzzing"
    run asan -L fuzz -j "$jobs"
  }
  say "ThreadSanitizer: build"
  build tsan thread_tests && {
    say "ThreadSanitizer: tests with threads"
    TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp" run tsan -L threads -j "$tests"
  }
fi
end_step

printf '\n== done (%d s)\n' $((SECONDS - began))
printf '%s\n' "${times[@]}"
[ "$skipped" -eq 0 ] || echo "tests: $skipped SKIPPED, for what this machine lacks: each says above what"
echo "tests: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
