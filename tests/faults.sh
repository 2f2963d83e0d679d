#!/usr/bin/env bash
# Faults of the real thing, each with what Sallyport said: a disk that hangs (a loop mount under fsfreeze) and one that is
# full, also PostgreSQL's; a network that is cut (a namespace); a byte of the registry's log flipped and its files lost, a
# kill in the middle, and a clock that is set (faketime). What is in as_root needs root and is not part of tests/run.sh;
# the others are.
#
#   tests/faults.sh [PYTEST-ARGS...]     with build/release/sallyport, or SALLYPORT_BIN
set -euo pipefail
cd "$(dirname "$0")/e2e"
[ "$(id -u)" -eq 0 ] || { echo "faults: mounting and freezing a file system needs root: run it with sudo" >&2; exit 1; }
export SALLYPORT_BIN=${SALLYPORT_BIN:-$(cd ../.. && pwd)/build/release/sallyport}
exec /usr/bin/python3 -B -m pytest -v -s -p no:cacheprovider as_root/*.py operators/test_lost_log.py operators/test_crash.py \
  operators/test_clock.py "$@"
