#!/usr/bin/env bash
# The evidence that SECURITY.md names, all of it: what is too long for the test command as well. Ends with a line for each
# part, and with the date; a part that was left out says so. Needs root for OpenSSL 3.5's chroot.
#
#   tests/evidence.sh [--soak HOURS] [--without-trixie] [PART...]
#
# PARTS, in this order: bogo sanitized-bogo constant-time state-machines alerts epoll million clients fuzz coverage. --soak: for how long
# each fuzz target of TLS runs; default 0.5. What each said is in build/evidence.
set -uo pipefail
cd "$(dirname "$0")/.."
hours=0.5
clients=()
while [ $# -gt 0 ]; do
  case "$1" in
    --soak) hours=${2:-}; shift 2 || exit 2 ;;
    --without-trixie) clients=(--without-trixie); shift ;;
    -*) sed -n '5,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    *) break ;;
  esac
done
all="bogo sanitized-bogo constant-time state-machines alerts epoll million clients fuzz coverage"
wanted=" ${*:-$all} "
for part in $wanted; do
  [[ " $all " == *" $part "* ]] || { echo "evidence: there is no part $part" >&2; exit 2; }
done
# shellcheck source=deploy/packages.sh
. deploy/packages.sh
# shellcheck disable=SC2086
install_packages $BUILD_PACKAGES $CONSOLE_PACKAGES $DEVELOP_PACKAGES $DEMO_PACKAGES $TEST_PACKAGES $EVIDENCE_PACKAGES || exit 1

jobs=$(nproc)
logs=$PWD/build/evidence
mkdir -p "$logs"
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
lines=()
bad=0

build() {  # build PRESET TARGET...
  local preset=$1; shift
  cmake --preset "$preset" "${launcher[@]}" >"$logs/build-$preset.log" 2>&1 &&
    cmake --build --preset "$preset" -j "$jobs" --target "$@" >>"$logs/build-$preset.log" 2>&1 ||
    { echo "evidence: the $preset build failed: $logs/build-$preset.log" >&2; exit 1; }
}
# part NAME PATTERN COMMAND...: what it says is kept; the lines that match the pattern are its summary.
part() {
  local name=$1 pattern=$2 status began=$SECONDS said
  shift 2
  if [[ "$wanted" != *" $name "* ]]; then
    lines+=("$(printf '%-16s left out' "$name")")
    return
  fi
  printf '== %s\n' "$name"
  "$@" >"$logs/$name.log" 2>&1
  status=$?
  said=$(grep -E "$pattern" "$logs/$name.log")
  printf '%s\n' "$said"
  case $status in
    0) status=ok ;;
    77) status=SKIPPED bad=$((bad + 1)) ;;
    *) status="FAILED ($status): $logs/$name.log" bad=$((bad + 1)) ;;
  esac
  lines+=("$(printf '%-16s %s, %d s' "$name" "$status" $((SECONDS - began)))")
  while IFS= read -r line; do [ -z "$line" ] || lines+=("$(printf '%-16s   %s' '' "$line")"); done <<<"$said"
}
alerts() {
  local program
  for program in alerts_test unknown_openssl_test openssl_alone_test tls_takeover_test tls12_handshake_test tls13_handshake_test \
    tls13_resumption_test tls_records_test; do
    "build/release/tests/proxy/$program" --gtest_brief=1 || return 1
  done
}

build release all
[[ "$wanted" != *" sanitized-bogo "* ]] || build asan bogo_shim
[[ "$wanted" != *" fuzz "* ]] || build asan outcome_fuzz handshake_fuzz records_fuzz ticket_fuzz client_hello_fuzz

part bogo '^bogo |passed in' tests/bogo/run_bogo.py build/release/tests/bogo/bogo_shim build/release/bogo
part sanitized-bogo '^bogo |passed in' tests/bogo/run_bogo.py build/asan/tests/bogo/bogo_shim build/asan/bogo --listed
part constant-time 'tests ran|PASSED|FAILED' build/release/tests/constant_time/constant_time_test
part state-machines '^state machines|passed in' tests/state_machines/learn.py build/release/tests/state_machines/state_machine_oracle --deep
part alerts 'PASSED|FAILED' alerts
part epoll 'tests passed|Failed' env SALLYPORT_TEST_IO=epoll ctest --test-dir build/release -L e2e -j $((3 * jobs)) --output-on-failure
part million 'ms|^million:' env SALLYPORT_BIN="$PWD/build/release/sallyport" python3 tests/console/million.py build/release/bench/registry_scale
part clients 'passed|failed|chroot|left out' tests/clients.sh "${clients[@]}"
part fuzz '^soak:' tests/fuzz/soak.sh "$hours"
part coverage '^coverage: [0-9]' tests/fuzz/coverage.sh

printf '\n== evidence of %s, commit %s%s, %s, %s\n' "$(date -u +%Y-%m-%d)" "$(git rev-parse --short HEAD)" \
  "$(git diff --quiet HEAD || echo ' with changes')" "$(openssl version | cut -d' ' -f1,2)" "$(uname -m)"
printf '%s\n' "${lines[@]}"
[ "$bad" -eq 0 ] || echo "evidence: $bad parts failed or were skipped"
[ "$bad" -eq 0 ]
