#!/usr/bin/env bash
# Do the tests bite? Applies one-line sabotages, one at a time, to a scratch copy of the tree, builds, and
# runs the test that is named to notice. A sabotage that survives is a missing test.
#
#   tests/mutants.sh [NAME...]     all of them, or those named
#   tests/mutants.sh --check       only whether each can still be applied; builds nothing
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
list=$top/tests/mutants.list
if [ "${1:-}" = --check ]; then
  cd "$top" || exit 1
  gone=0
  mutant() {
    [[ -f $2 && "$(<"$2")" == *"$5"* ]] || { echo "$1: $2 has no such line: $5"; gone=$((gone + 1)); }
  }
  # shellcheck source=tests/mutants.list
  . "$list"
  [ "$gone" -eq 0 ]
  exit
fi
scratch=${MUTANTS_DIR:-$(mktemp -d /tmp/sallyport-mutants.XXXXXX)}
mkdir -p "$scratch/tree"
cd "$top" || exit 1
# Only what differs, and dated now: the last run's objects are newer than the sources here, and one of a sabotage.
git ls-files -z -co --exclude-standard | while IFS= read -r -d '' file; do
  cmp -s "$file" "$scratch/tree/$file" || cp --parents --preserve=mode "$file" "$scratch/tree/" 2>/dev/null
done
cd "$scratch/tree" || exit 1
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
cmake -S . -B ../build -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O1 -DSALLYPORT_WERROR=OFF -DSALLYPORT_CONSOLE=OFF -DSALLYPORT_UNITY=OFF "${launcher[@]}" >/dev/null || exit 1
wanted=" $* "
killed=0
survived=0

mutant() {
  local name=$1 file=$2 test=$3 filter=$4 from=$5 to=$6
  [ "$wanted" = "  " ] || [[ "$wanted" == *" $name "* ]] || return 0
  cp -p "$file" ../kept
  if ! FROM=$from TO=$to /usr/bin/python3 - "$file" <<'PY'
import os, sys
path = sys.argv[1]
text = open(path).read()
if os.environ["FROM"] not in text:
    sys.exit(1)
open(path, "w").write(text.replace(os.environ["FROM"], os.environ["TO"], 1))
PY
  then
    printf '%-34s %-22s NOT APPLIED: the line it sabotages is gone\n' "$name" "$test"
    survived=$((survived + 1))
    return
  fi
  local verdict
  if ! cmake --build ../build --target "$test" >../build.log 2>&1; then
    verdict="DOES NOT BUILD: see $scratch/build.log"
    survived=$((survived + 1))
  elif SALLYPORT_SIM_RUNS=${SALLYPORT_SIM_RUNS:-150} timeout 120 "$(find ../build/tests -type f -name "$test")" --gtest_filter="$filter" >../test.log 2>&1; then
    verdict="SURVIVED"
    survived=$((survived + 1))
  else
    verdict="killed by $(grep -m1 -oE '^\[  FAILED  \] [A-Za-z0-9_./]+' ../test.log | cut -c14- || true)"
    [ "$verdict" = "killed by " ] && verdict="killed by $(grep -oE '^\[ RUN      \] .*' ../test.log | tail -n 1 | cut -c14-), which ended the process"
    killed=$((killed + 1))
  fi
  printf '%-34s %-22s %s\n' "$name" "$test" "$verdict"
  cp -p ../kept "$file"
  touch "$file"
}

# shellcheck source=tests/mutants.list
. "$list"

echo "mutants: $killed killed, $survived survived"
[ -n "${MUTANTS_DIR:-}" ] || rm -rf "$scratch"
[ "$survived" -eq 0 ]
