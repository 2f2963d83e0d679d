#!/usr/bin/env bash
# Sallyport beside HAProxy, nginx, hitch and Mosquitto, under the same load on this machine: installs them, builds,
# measures, writes build/compare/RESULTS.md; with --record bench/RESULTS.md. --quick takes 6 minutes after the build, the full run up to 45. --help says more.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=deploy/packages.sh
. deploy/packages.sh

# Help needs no packages.
case " $* " in *" -h "* | *" --help "*) PYTHONPATH=bench exec python3 -B -m comparison --help ;; esac

die() { printf 'compare: %s\n' "$*" >&2; exit 1; }

# The peers are started by compare.py alone: a service that a package would start is neither started nor enabled.
policy=/usr/sbin/policy-rc.d
made_policy=no
clean_up() { if [ "$made_policy" = yes ]; then rm -f "$policy"; fi; }
trap clean_up EXIT
missing=()
for service in haproxy nginx hitch mosquitto; do
  command -v "$service" >/dev/null || [ -x "/usr/sbin/$service" ] || missing+=("$service")
done
if [ ${#missing[@]} -gt 0 ] && [ "$(id -u)" -eq 0 ] && [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  made_policy=yes
fi
# shellcheck disable=SC2086
install_packages $BUILD_PACKAGES $DEVELOP_PACKAGES $BENCH_PACKAGES || die "the packages could not be installed; see above"
if [ ${#missing[@]} -gt 0 ] && [ -d /run/systemd/system ]; then
  as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  for service in "${missing[@]}"; do
    "${as_root[@]}" systemctl disable --now --quiet "$service" || die "the service $service could not be stopped"
  done
fi
clean_up
made_policy=no

echo "building sallyport and load (release)"
mkdir -p build
{ cmake --preset release && cmake --build --preset release --target sallyport load registry_fill; } >build/compare.log 2>&1 || {
  tail -n 20 build/compare.log >&2
  die "the build failed; all of it is in build/compare.log"
}
PYTHONPATH=bench exec python3 -B -m comparison "$@"
