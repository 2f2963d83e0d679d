#!/usr/bin/env bash
# Checks the model of the shared registry's protocol in every state that can be reached, and that it would notice each
# rule that is left out. Needs spin and a C compiler; works in a temporary folder.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# check NAME FLAG...: 0 where spin finds no error.
check() {
  local name=$1
  shift
  spin "$@" -a "$here/shared_registry.pml" >spin.log
  cc -O2 -w -DSAFETY -DCOLLAPSE -o pan pan.c
  ./pan -m1000000 >pan.log
  echo "$name: $(sed -nE 's/^ *([0-9.e+]+) states, stored.*/\1 states/p' pan.log), $(grep -oE 'errors: [0-9]+' pan.log)"
  grep -q 'errors: 0' pan.log && ! grep -qE 'max search depth too small|out of memory' pan.log
}

check "the protocol" || { cat pan.log; exit 1; }
for broken in BROKEN_TURN BROKEN_STAMP BROKEN_LOCAL BROKEN_KEEP; do
  if check "$broken" "-D$broken"; then
    echo "$broken is not noticed"
    exit 1
  fi
done
echo "model: all kept"
