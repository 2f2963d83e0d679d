#!/usr/bin/env bash
# build_runner.sh FOLDER: BoringSSL's test runner, out of Debian's source package and with Debian's Go, in FOLDER/runner;
# and certificates for its keys in FOLDER/resources. What is there already stays. Nothing of the runner is patched:
# aes_first.go is a file of ours beside its own.
#
# The runner is Debian 12's on each Debian, so that everywhere the same tests run. Exit status 77: apt has no such source.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
package=android-platform-external-boringssl
version='13.0.0+r24-2'
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$folder"
stamp="$version $(sha256sum "$here/aes_first.go" "$here/build_runner.sh" | sha256sum)"
exec 9>lock
flock 9
[ "$(cat stamp 2>/dev/null)" = "$stamp" ] && exit 0
rm -rf stamp runner resources source
die() { echo "bogo: $*" >&2; exit 1; }

# Where apt gets Debian from here, in lists of our own: its configuration has no line for sources as a rule.
mirror=$(apt-get indextargets 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' --format '$(REPO_URI)' 2>/dev/null | sed -n '1s,/*$,,p')
[ -n "$mirror" ] || die "apt has no Debian mirror here: its sources need a line for Debian's archive (run apt-get update first)"
mkdir -p apt/lists/partial apt/archives/partial
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main" >apt/sources.list
of_ours() {
  apt-get -qq -o Dir::Etc::sourcelist="$folder/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::State::lists="$folder/apt/lists" -o Dir::Cache="$folder/apt" -o APT::Sandbox::User="$(id -un)" "$@"
}
if [ ! -e "${package}_${version%-*}.orig.tar.xz" ]; then
  of_ours update || die "$mirror gives no list of bookworm's sources"
  of_ours source --download-only "$package=$version" || {
    echo "bogo: SKIPPED: $mirror has no source package $package $version"
    exit 77
  }
  rm -rf apt
fi

mkdir -p source gopath/src/boringssl.googlesource.com
tar -xf "${package}_${version%-*}.orig.tar.xz" -C source --strip-components=1 --wildcards '*/src/ssl/test/runner' '*/src/util' \
  '*/src/crypto'
cp "$here/aes_first.go" source/src/ssl/test/runner/
ln -sfn "$folder/source/src" gopath/src/boringssl.googlesource.com/boringssl
(cd gopath/src/boringssl.googlesource.com/boringssl/ssl/test/runner &&
  GO111MODULE=off GOFLAGS='' GOTOOLCHAIN=local GOCACHE="$folder/gocache" GOPATH="$folder/gopath:/usr/share/gocode" CGO_ENABLED=0 \
    go test -vet=off -c -o "$folder/runner") || die "the runner could not be built"

# Those that come with it have expired, or name no host.
mkdir resources
cp source/src/ssl/test/runner/*_key.pem source/src/ssl/test/runner/key.pem resources/
cd resources
self_signed() {  # self_signed KEY CERTIFICATE NAME
  openssl req -x509 -new -key "$1" -subj "/CN=$3" -addext "subjectAltName=DNS:$3" -days 3650 -out "$2" 2>/dev/null
}
for key in *key.pem; do
  case $key in
    channel_id_key.pem | rsa_chain_key.pem) ;;
    *) self_signed "$key" "${key%key.pem}cert.pem" test ;;
  esac
done
# A leaf and an intermediate, whose issuer is not sent.
issued() {  # issued KEY NAME ISSUER CERTIFICATE EXTENSIONS
  openssl req -new -key "$1" -subj "/CN=$2" 2>/dev/null |
    openssl x509 -req -CA "$3.pem" -CAkey "$3.key" -CAcreateserial -days 3650 -extfile <(echo "$5") -out "$4" 2>/dev/null
}
for ca in root intermediate; do openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out $ca.key; done
self_signed root.key root.pem Root
issued intermediate.key Intermediate root intermediate.pem basicConstraints=critical,CA:TRUE
issued rsa_chain_key.pem test intermediate leaf.pem subjectAltName=DNS:test
cat leaf.pem intermediate.pem >rsa_chain_cert.pem
rm -f root.* intermediate.* leaf.pem
cd ..
rm -rf source gopath gocache
echo "$stamp" >stamp
