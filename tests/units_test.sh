#!/usr/bin/env bash
# units_test.sh BUILD_FOLDER: what the installed systemd files say, as systemd itself reads them, without a booted one:
# `systemd-analyze verify` and `security`, and systemd-sysusers and systemd-tmpfiles on a folder.
set -euo pipefail
most=20  # of `systemd-analyze security`, in tenths: 2.0
command -v systemd-analyze >/dev/null || { echo "units: systemd is not installed: nothing was looked at"; exit 77; }
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
fail() { echo "units: $*" >&2; exit 1; }

DESTDIR=$root cmake --install "$1" --prefix /usr --component service >"$root/log" 2>&1 || { cat "$root/log" >&2; exit 1; }
installed=$root/usr/lib/systemd/system/sallyport.service
unit=$root/sallyport.service  # with a program that is there
sed "s,/usr/bin/sallyport,$(realpath "$1")/sallyport," "$installed" >"$unit"

said=$(systemd-analyze verify --man=no "$unit" 2>&1) || fail "systemd-analyze verify: $said"
[ -z "$said" ] || fail "systemd-analyze verify: $said"
version=$(systemctl --version | sed -nE '1s/systemd ([0-9]+).*/\1/p')
if [ "$version" -ge 253 ]; then
  grep -qx 'Type=notify-reload' "$installed" || fail "systemd $version knows notify-reload, the unit has it not"
else
  grep -qx 'Type=notify' "$installed" && grep -q '^ExecReload=' "$installed" || fail "systemd $version needs Type=notify and ExecReload"
fi
said=$(systemd-analyze security --offline=true --threshold=$most "$unit" 2>&1) ||
  fail "systemd-analyze security is above $most tenths: $(grep ✗ <<<"$said")"
exposure=$(grep -oE 'Overall exposure level.*: [0-9.]+' <<<"$said" | grep -oE '[0-9.]+$')

if [ "$(id -u)" -eq 0 ]; then
  mkdir -p "$root/etc/sallyport"
  echo >"$root/etc/sallyport/sallyport.toml"
  systemd-sysusers --root="$root" sallyport.conf || fail "systemd-sysusers"
  grep -q '^sallyport:' "$root/etc/passwd" || fail "there is no user sallyport"
  systemd-tmpfiles --root="$root" --create sallyport.conf || fail "systemd-tmpfiles"
  mode() { stat -c '%a %u:%g' "$root/$1"; }
  ids() { awk -F: -v which="$1" '$1 == "sallyport" { print which == "u" ? $3 : $4 }' "$root/etc/passwd"; }
  [ "$(mode var/lib/sallyport)" = "700 $(ids u):$(ids g)" ] || fail "/var/lib/sallyport is $(mode var/lib/sallyport)"
  [ "$(mode etc/sallyport)" = "750 0:$(ids g)" ] || fail "/etc/sallyport is $(mode etc/sallyport)"
  [ "$(mode etc/sallyport/sallyport.toml)" = "640 0:$(ids g)" ] || fail "the configuration is $(mode etc/sallyport/sallyport.toml)"
fi
echo "units: systemd $version accepts them; exposure $exposure of at most 2.0"
