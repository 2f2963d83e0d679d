#!/usr/bin/env bash
# Faults of the real thing that need root: a disk that hangs (a loop mount under fsfreeze). Not part of tests/run.sh.
#
#   tests/faults.sh [PYTEST-ARGS...]     with build/release/sallyport, or SALLYPORT_BIN
set -euo pipefail
cd "$(dirname "$0")/e2e"
[ "$(id -u)" -eq 0 ] || { echo "faults: mounting and freezing a file system needs root: run it with sudo" >&2; exit 1; }
export SALLYPORT_BIN=${SALLYPORT_BIN:-$(cd ../.. && pwd)/build/release/sallyport}
exec /usr/bin/python3 -B -m pytest -q -s -p no:cacheprovider as_root/*.py "$@"
