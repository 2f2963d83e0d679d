#!/usr/bin/env bash
# Devices of other TLS libraries against the release build, with those that start too slowly for the test command: Go's
# and Java's beside OpenSSL 3.0, GnuTLS, NSS, wolfSSL, mbedTLS and Node; and OpenSSL 3.5, out of a Debian 13 chroot.
#
#   tests/clients.sh [--without-trixie] [-k EXPRESSION...]
#
# Needs root for the chroot: the one of tests/elsewhere.sh is used where it is (SALLYPORT_TRIXIE says where else), or it
# is made. What follows goes to pytest.
set -uo pipefail
cd "$(dirname "$0")/.."
trixie=yes
[ "${1:-}" = --without-trixie ] && { trixie=no; shift; }
# shellcheck source=deploy/packages.sh
. deploy/packages.sh
# shellcheck disable=SC2086
install_packages $TEST_PACKAGES $CLIENT_PACKAGES || { echo "clients: packages could not be installed" >&2; exit 1; }
export SALLYPORT_BIN=${SALLYPORT_BIN:-$PWD/build/release/sallyport} SALLYPORT_CLIENTS=all
[ -x "$SALLYPORT_BIN" ] || { echo "clients: there is no $SALLYPORT_BIN: build the release preset first" >&2; exit 1; }
if [ "$trixie" = yes ]; then
  export SALLYPORT_TRIXIE=${SALLYPORT_TRIXIE:-/var/tmp/sallyport-elsewhere/trixie}
  if [ ! -x "$SALLYPORT_TRIXIE/usr/bin/python3" ]; then
    tests/elsewhere.sh --dir "$(dirname "$SALLYPORT_TRIXIE")" trixie shell bash -c 'apt-get install -y -qq python3 >/dev/null' ||
      { echo "clients: the Debian 13 chroot could not be made" >&2; exit 1; }
  fi
  chroot "$SALLYPORT_TRIXIE" /usr/bin/python3 -c 'import ssl; print("clients: the chroot has", ssl.OPENSSL_VERSION)' || exit 1
else
  echo "clients: OpenSSL 3.5 is left out"
fi
cd tests/e2e && exec /usr/bin/python3 -B -m pytest -q -p no:cacheprovider tls/test_real_clients.py tls/test_tls_stacks.py "$@"
