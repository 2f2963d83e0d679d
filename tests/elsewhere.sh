#!/usr/bin/env bash
# The tests on another platform than this machine's. A chroot is made with debootstrap from the Debian mirror that
# apt uses here, and kept for the next time. The tree as it stands, uncommitted changes included, is copied into it.
#
#   tests/elsewhere.sh trixie [ARGS...]        Debian 13: tests/run.sh ARGS... in it
#   tests/elsewhere.sh trixie demo [ARGS...]   deploy/demo.sh ARGS... in it
#   tests/elsewhere.sh arm64                   cross-built for arm64; unit and simulation tests under qemu
#   tests/elsewhere.sh trixie|arm64 shell [COMMAND...]   a shell in it, or a command, at the copy of the tree
#
#   --dir DIR      before the platform: where chroots are kept, one folder each; default /var/tmp/sallyport-elsewhere
#   --minutes N    before the platform: the run is ended after so long and has failed; default 180
#
# Needs root. What it mounts is in a mount namespace of its own, and what it runs is in a process namespace of its own:
# both end with the script, however it ends.
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)

die() { printf 'elsewhere: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '5,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }
say() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

dir=/var/tmp/sallyport-elsewhere
minutes=180
while [ $# -gt 0 ]; do
  case "$1" in
    --dir) dir=${2:-}; shift 2 || usage ;;
    --minutes) minutes=${2:-}; shift 2 || usage ;;
    trixie | arm64) break ;;
    *) usage ;;
  esac
done
platform=${1:-}
[ -n "$platform" ] && [[ "$minutes" =~ ^[1-9][0-9]*$ ]] && [[ "$dir" = /* ]] || usage
shift
what=tests
case "${1:-}" in
  demo | shell) what=$1; shift ;;
esac
[ "$platform" = trixie ] || [ "$what" != demo ] || usage
case "$dir/" in "$top"/*) die "$dir is inside the tree: choose another folder with --dir" ;; esac
[ "$(id -u)" -eq 0 ] || die "making a chroot needs root: run it with sudo"

root=$dir/$platform
log=$dir/$platform.log
mkdir -p "$dir" || die "$dir cannot be made"
exec 8>"$dir/$platform.lock"
flock -n 8 || die "another run uses $root: wait for it, or choose another folder with --dir"

# shellcheck source=deploy/packages.sh
. "$top/deploy/packages.sh"

# mirror LABEL: the address apt uses here for the archive of that label. It is apt itself that reads its configuration,
# so that either form of its sources will do.
mirror() {
  apt-get indextargets 'Created-By: Packages' 'Origin: Debian' "Label: $1" --format '$(REPO_URI)' 2>/dev/null |
    sed -n '1s,/*$,,p'
}

# How apt gets there, proxy and all.
apt_network() {
  apt-config dump | grep -iE '^(Acquire::(https?|ftp)::[^ ]*|Acquire::(Check-Valid-Until|Retries|ForceIPv[46])[^ ]*) '
}

# contained UNSHARE-ARGS...: in a mount namespace of its own, and killed when this script dies, even by SIGKILL.
contained() { setpriv --pdeathsig KILL unshare --mount --propagation private "$@"; }

# inside COMMAND...: runs it in the chroot, at the copy of the tree where there is one.
inside() {
  local name passed=()
  for name in $(compgen -e | grep -iE '^(SALLYPORT_|FUZZ_|CCACHE_|TERM$|(https?|ftp|no)_proxy$)'); do
    passed+=("$name=${!name}")
  done
  # shellcheck disable=SC2016  # expanded by the inner shell
  contained --pid --fork --kill-child timeout --foreground -k 10 "${minutes}m" bash -c '
    root=$1; shift
    mount --bind "$root" "$root" && mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && mount --rbind /sys "$root/sys" &&
      mount -t tmpfs -o mode=1777 tmpfs "$root/tmp" || exit 1
    chroot "$root" "$@"
    exit $?' bash "$root" \
    /usr/bin/env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    DEBIAN_FRONTEND=noninteractive "${passed[@]}" \
    /bin/bash -c 'cd /src/sallyport 2>/dev/null || cd /; "$@"; exit $?' bash "$@"
}

# Made beside its place and moved there whole: what is in its place is complete.
make_root() {
  local archive=$1 making=$root.making
  say "making $root"
  install_packages debootstrap debian-archive-keyring || die "debootstrap could not be installed; see above"
  rm -rf --one-file-system "$making" "$root"
  mkdir -p "$dir/archives"
  local http_proxy=${http_proxy:-}
  eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
  [ -z "$http_proxy" ] || export http_proxy
  contained --pid --fork --kill-child --mount-proc timeout --foreground -k 10 60m debootstrap --variant=minbase \
    --include=ca-certificates,git --cache-dir="$dir/archives" \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg trixie "$making" "$archive" >"$log" 2>&1 || {
    tail -n 15 "$log" >&2
    die "debootstrap could not make Debian 13 from $archive; all it said is in $log"
  }
  mv "$making" "$root"
}

# Names, mirrors and certificates as this machine has them, each time: they may be others by now.
settle_root() {
  local archive=$1 security
  security=$(mirror Debian-Security)
  echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/elsewhere"  # it can be made again
  cp -L /etc/resolv.conf "$root/etc/resolv.conf"
  apt_network >"$root/etc/apt/apt.conf.d/90elsewhere"
  cp -r /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/" 2>/dev/null
  {
    echo "deb $archive trixie main"
    echo "deb $archive trixie-updates main"
    [ -z "$security" ] || echo "deb $security trixie-security main"
  } >"$root/etc/apt/sources.list"
  [ "$platform" != arm64 ] || inside dpkg --add-architecture arm64
  inside update-ca-certificates >"$log" 2>&1
  inside bash -c 'apt-get update -qq && apt-get dist-upgrade -y -qq -o Dpkg::Use-Pty=0' >>"$log" 2>&1 || {
    tail -n 15 "$log" >&2
    die "the packages of $root could not be brought up to date; all that apt said is in $log"
  }
}

# The files of this tree, in a repository that is at the same commit and keeps its build/. Only what differs is copied,
# and dated now: what was built there last is newer than the sources here.
copy_tree() {
  local tree=$root/src/sallyport file
  mkdir -p "$tree"
  { git -C "$tree" init -q && git -C "$tree" fetch -q "$top" HEAD && git -C "$tree" reset -q FETCH_HEAD; } ||
    die "the tree could not be copied to $tree"
  git -C "$top" ls-files -co --exclude-standard -z | while IFS= read -r -d '' file; do
    [ -e "$top/$file" ] || continue
    cmp -s "$top/$file" "$tree/$file" || (cd "$top" && cp --parents --preserve=mode "$file" "$tree/")
  done
  git -C "$tree" ls-files -co --exclude-standard -z | while IFS= read -r -d '' file; do
    [ -e "$top/$file" ] || rm -f "${tree:?}/$file"
  done
}

# One function, read whole before it begins: the script may be edited while it runs.
main() {
  local archive status
  archive=$(mirror Debian)
  [ -n "$archive" ] || die "apt has no Debian mirror here: its sources need a line for Debian's archive (run apt-get update first)"
  [ -d "$root" ] || make_root "$archive"
  settle_root "$archive"
  copy_tree

  say "$platform: $what"
  case "$platform-$what" in
    trixie-tests) inside ./tests/run.sh "$@" ;;
    trixie-demo) inside ./deploy/demo.sh "$@" ;;
    arm64-tests) inside ./tests/arm64.sh "$@" ;;
    *-shell) [ $# -gt 0 ] || set -- bash; inside "$@" ;;
  esac
  status=$?
  [ "$status" -ne 124 ] || echo "elsewhere: ended after $minutes minutes" >&2
  [ "$what" != shell ] || exit "$status"
  if [ "$status" -eq 0 ]; then
    echo "elsewhere: $platform $what passed in $SECONDS s"
  else
    echo "elsewhere: $platform $what FAILED after $SECONDS s (exit status $status)"
  fi
  return "$status"
}
main "$@"; exit $?
