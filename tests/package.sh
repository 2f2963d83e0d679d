#!/usr/bin/env bash
# The Debian package, for this machine's Debian: made from build/release, looked at by lintian where it is installed, then
# installed, upgraded with a session live, removed and purged in a chroot of its own. What needs a booted systemd is not
# here: deploy/systemd/README.md.
#
#   tests/package.sh [--dir DIR]    where the bare chroot is kept; default /var/tmp/sallyport-package
#
# Needs root, a built build/release, and apt's mirror. It ends all that it starts, however it ends.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
dir=/var/tmp/sallyport-package
case "${1:-}" in
  "") ;;
  --dir) dir=${2:?--dir needs a folder} ;;
  *) sed -n '6s/^# *//p' "$0" >&2; exit 2 ;;
esac
[ "$(id -u)" -eq 0 ] || { echo "package: making a chroot needs root" >&2; exit 1; }
if [ -z "${SALLYPORT_PACKAGE_INSIDE:-}" ]; then
  export SALLYPORT_PACKAGE_INSIDE=yes
  exec setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child "$top/tests/package.sh" --dir "$dir"
fi

fail() { echo "package: $*" >&2; [ ! -f "${log:-}" ] || tail -n 20 "$log" >&2; exit 1; }
say() { printf '== %s (%d s)\n' "$*" "$SECONDS"; }
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
bare=$dir/$codename
work=$(mktemp -d /var/tmp/sallyport-package.XXXXXX)
cleared() {
  cd /
  umount -R -l "$work/root/proc" "$work/root/dev" "$work/root/run" 2>/dev/null
  rm -rf --one-file-system "$work"
}
trap cleared EXIT
root=$work/root
log=$work/log

say "the package"
cmake --build "$top/build/release" --target sallyport admin_docs sallyport_made sallyport_packed >"$log" 2>&1 || fail "build/release could not be built"
(cd "$top/build/release" && cpack -B "$work/packages") >"$log" 2>&1 || fail "cpack"
first=$(echo "$work"/packages/sallyport_*.deb)
[ -f "$first" ] || fail "cpack made no package"
echo "$(basename "$first"): $(stat -c %s "$first") bytes"
if command -v lintian >/dev/null; then
  found=$(lintian --allow-root "$first" 2>/dev/null || true)
  [ -z "$found" ] || fail "lintian: $found"
  echo "lintian says nothing"
else
  echo "lintian is not installed: not asked"
fi
# The next version: the same, with a higher number.
dpkg-deb -R "$first" "$work/next"
sed -i 's/^Version: .*/&+next/' "$work/next/DEBIAN/control"
dpkg-deb -b "$work/next" "$work/packages/next.deb" >/dev/null

say "a bare $codename"
mirror() {
  apt-get indextargets 'Created-By: Packages' 'Origin: Debian' "Label: $1" --format '$(REPO_URI)' 2>/dev/null | sed -n '1s,/*$,,p'
}
archive=$(mirror Debian)
[ -n "$archive" ] || fail "apt has no Debian mirror here"
if [ ! -d "$bare" ]; then
  mkdir -p "$dir/archives"
  eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
  export http_proxy=${http_proxy:-}
  rm -rf --one-file-system "$bare.making"
  debootstrap --variant=minbase --include=ca-certificates --cache-dir="$dir/archives" "$codename" "$bare.making" "$archive" >"$log" 2>&1 || fail "debootstrap"
  mv "$bare.making" "$bare"
fi
cp -a --reflink=auto "$bare" "$root"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
apt-config dump | grep -iE '^(Acquire::(https?|ftp)::[^ ]*|Acquire::(Check-Valid-Until|Retries)[^ ]*) ' >"$root/etc/apt/apt.conf.d/90package" || true
echo "deb $archive $codename main" >"$root/etc/apt/sources.list"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" && chmod +x "$root/usr/sbin/policy-rc.d"
mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && mount -t tmpfs tmpfs "$root/run"
there=(chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive)
inside() { "${there[@]}" "$@"; }
apt() { inside apt-get -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "$@" >"$log" 2>&1; }
# As the unit does it: this user, this capability alone, and the folder for the socket.
service=("${there[@]}" setpriv --reuid sallyport --regid sallyport --clear-groups --inh-caps=-all,+net_bind_service
  --ambient-caps=-all,+net_bind_service --bounding-set=-all,+net_bind_service --no-new-privs)
as_service() { "${service[@]}" "$@"; }
mode() { inside stat -c '%a %U:%G' "$1"; }
is() { [ "$1" = "$2" ] || fail "$3: $1, and should be $2"; }

say "installed"
inside apt-get update -qq >"$log" 2>&1 || fail "apt-get update"
cp "$first" "$work/packages/next.deb" "$root/"
apt install "/$(basename "$first")" || fail "apt-get install"
said=$(inside dpkg --verify sallyport) || true
is "$said" "" "dpkg --verify"
inside getent passwd sallyport | grep -q ':/var/lib/sallyport:/usr/sbin/nologin$' || fail "there is no user sallyport"
is "$(mode /var/lib/sallyport)" "700 sallyport:sallyport" /var/lib/sallyport
is "$(mode /etc/sallyport)" "750 root:sallyport" /etc/sallyport
is "$(mode /etc/sallyport/sallyport.toml)" "640 root:sallyport" sallyport.toml
inside sh -c '[ -e /etc/systemd/system/multi-user.target.wants/sallyport.service ]' || fail "the service is not enabled"
inside install -d -o sallyport -g sallyport -m 0750 /run/sallyport

say "the configuration as it comes"
as_service sallyport check >"$log" 2>&1 || fail "check"
grep -q "no \[\[listener\]\]" "$log" || fail "check says nothing of the missing listener"
start=$(sed -n 's/^ExecStart=//p' "$root/usr/lib/systemd/system/sallyport.service")
is "$start" "/usr/bin/sallyport serve --config /etc/sallyport/sallyport.toml" ExecStart
run() {
  # shellcheck disable=SC2086  # words
  "${service[@]}" $start >"$work/served" 2>&1 &
  served=$!
  for _ in $(seq 300); do
    ! grep -q ' ready ' "$work/served" || return 0
    kill -0 $served 2>/dev/null || break
    sleep 0.1
  done
  log=$work/served fail "serve does not start"
}
stop() { kill "$1"; local status=0; wait "$1" || status=$?; is "$status" 0 "serve's end"; }
run
as_service sallyport status >"$log" 2>&1 || fail "status"
is "$(mode /run/sallyport/admin.sock)" "660 sallyport:sallyport" admin.sock
stop $served

say "a session, through an upgrade"
mkdir -p "$root/srv/tls"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
  -keyout "$root/srv/tls/key" -out "$root/srv/tls/chain" 2>/dev/null
inside chown -R sallyport /srv/tls
cat >>"$root/etc/sallyport/sallyport.toml" <<'TOML'
[[listener]]
name = "low"
address = "127.0.0.1:787"
auth = "one-way"
protocol = "tcp"
upstream = "echo"
certificates = [ { chain = "/srv/tls/chain", key = "/srv/tls/key" } ]
[[upstream]]
name = "echo"
servers = ["127.0.0.1:17871"]
TOML
cat >"$work/echo.py" <<'PY'
import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            while data := self.request.recv(4096):
                self.request.sendall(data)
        except ConnectionResetError:
            pass  # whom the drain cuts
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("127.0.0.1", 17871), Echo).serve_forever()
PY
# A line on standard input is said to a session, and its echo printed.
cat >"$work/session.py" <<'PY'
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
with context.wrap_socket(socket.create_connection(("127.0.0.1", 787), 30), server_hostname="localhost") as session:
    session.settimeout(30)
    for line in sys.stdin:
        session.sendall(line.encode())
        print(session.recv(4096).decode(), end="", flush=True)
PY
/usr/bin/python3 "$work/echo.py" &
as_service sallyport check >"$log" 2>&1 || fail "check, with a listener"
run
coproc session { /usr/bin/python3 "$work/session.py" "$root/srv/tls/chain" 2>&1; }
talk() { echo "$1" >&"${session[1]}"; read -r -t 60 answer <&"${session[0]}"; is "$answer" "$1" "what the session gets"; }
talk before
apt install /next.deb || fail "the upgrade"
inside dpkg-query -W -f '${Version}\n' sallyport | grep -q '+next$' || fail "the version is the old one"
inside grep -q '17871' /etc/sallyport/sallyport.toml || fail "the operator's configuration is gone"
talk after
kill -0 $served || fail "the process has ended"
grep -q '^sallyport:' "$log" && fail "no systemd runs, and postinst speaks of it"

say "the new version takes over"
kill -USR2 $served
for _ in $(seq 300); do
  [ "$(grep -c ' ready ' "$work/served")" -lt 2 ] || break
  sleep 0.1
done
log=$work/served
[ "$(grep -c ' ready ' "$work/served")" -ge 2 ] || fail "no successor serves"
new=$(sed -nE 's/.* successor pid=([0-9]+) .*/\1/p' "$work/served")
is "$(echo anew | timeout 30 /usr/bin/python3 "$work/session.py" "$root/srv/tls/chain")" anew "a new session"
status=0; wait $served || status=$?
is "$status" 0 "the old process's end"
kill "$new"
for _ in $(seq 600); do kill -0 "$new" 2>/dev/null || break; sleep 0.1; done
log=$work/log

say "removed, and purged"
apt remove sallyport || fail "apt-get remove"
inside sh -c '[ ! -e /usr/bin/sallyport ] && [ -e /var/lib/sallyport/CURRENT -o -n "$(ls /var/lib/sallyport)" ] && [ -e /etc/sallyport/sallyport.toml ]' ||
  fail "a removal takes the program, and neither registry nor configuration"
apt purge sallyport || fail "apt-get purge"
inside sh -c '[ ! -e /var/lib/sallyport ] && [ ! -e /etc/sallyport ]' || fail "a purge leaves something"
is "$(inside sh -c 'find / -xdev -name "*sallyport*" -not -path "/proc/*" -not -path "/srv/*" -not -name "*.deb"')" "" "left after the purge"
echo "package: installed, upgraded, removed and purged in $SECONDS s"
