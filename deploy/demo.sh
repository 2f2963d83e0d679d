#!/usr/bin/env bash
# The main job, shown on this machine: a real device over mutual TLS, through Sallyport, to a real
# Mosquitto. Installs, builds, makes a PKI with the commands of the managed clouds' certificate guides,
# runs, narrates, cleans up. `--keep` leaves it running and says how to play with it. `--nodes 3`: three Sallyports that
# share one registry in PostgreSQL (demo_nodes.sh). `--program FILE` shows a Sallyport that is there, and installs and
# builds nothing.
set -euo pipefail
from=$PWD
cd "$(dirname "$0")/.."
top=$PWD
keep=no
nodes=1
sallyport=
while [ $# -gt 0 ]; do
  case "$1" in
    --keep) keep=yes; shift ;;
    --nodes) nodes=${2:-}; shift $(($# > 1 ? 2 : 1)) ;;
    --program)
      sallyport=$(cd "$from" && realpath -eq -- "${2:-}") || { echo "demo: --program names no file" >&2; exit 2; }
      [[ -f "$sallyport" && "$("$sallyport" --version 2>/dev/null)" == "sallyport "* ]] || { echo "demo: $sallyport is no Sallyport" >&2; exit 2; }
      shift 2 ;;
    *) nodes=; break ;;
  esac
done
[[ "$nodes" =~ ^[1-9]$ ]] || { echo "usage: deploy/demo.sh [--keep] [--nodes 1..9] [--program FILE]" >&2; exit 2; }

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
tell() { printf '  %s\n' "$*"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }

if [ -z "$sallyport" ]; then
  # shellcheck source=deploy/packages.sh
  . deploy/packages.sh
  # shellcheck disable=SC2086
  install_packages $BUILD_PACKAGES $CONSOLE_PACKAGES $DEMO_PACKAGES $([ "$nodes" -gt 1 ] && echo "$DEMO_NODES_PACKAGES") || die "the packages could not be installed; see above"

  say "Building Sallyport (release)"
  # Without tests and benchmarks, which need more packages; a tree that was set up for them stays so.
  only=(-DSALLYPORT_TESTS=OFF -DSALLYPORT_BENCH=OFF)
  if grep -qs '^SALLYPORT_TESTS:BOOL=ON' build/release/CMakeCache.txt; then only=(); fi
  cmake --preset release "${only[@]}" >/dev/null
  cmake --build --preset release --target sallyport | tail -n 1
  sallyport=$PWD/build/release/sallyport
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/sallyport-demo.XXXXXX")
pids=()
folders=()
# shellcheck disable=SC2317  # called by the trap
clean_up() {
  local status=$?
  [ "$status" -ne 0 ] && [ -f "$work/sallyport.log" ] && { echo "--- sallyport's last lines:" >&2; tail -n 15 "$work/sallyport.log" >&2; }
  if [ "$status" -eq 0 ] && [ "$keep" = yes ]; then return; fi
  # The last one first: PostgreSQL waits for those who are connected to it.
  for ((at = ${#pids[@]} - 1; at >= 0; --at)); do kill "${pids[at]}" 2>/dev/null && wait "${pids[at]}" 2>/dev/null; done
  rm -rf "$work" ${folders[@]+"${folders[@]}"}
}
trap clean_up EXIT
cd "$work"

until_true() {  # until_true SECONDS COMMAND...: polls; false when the time is up
  local ends=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$ends" ] || return 1
    sleep 0.1
  done
}
free_port() { /usr/bin/perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen=>1,LocalAddr=>"127.0.0.1")->sockport'; }

say "A PKI, by the commands of the certificate guides"
ssl_config=$(openssl version -d | cut -d'"' -f2)/openssl.cnf
subject() { echo "/C=CN/ST=ZJ/L=HZ/O=ALI/OU=MQTT/CN=$1"; }
cat > client.crt.cfg <<'CFG'
authorityKeyIdentifier=keyid,issuer
basicConstraints=CA:FALSE
keyUsage = digitalSignature, nonRepudiation, keyEncipherment, dataEncipherment, keyCertSign
CFG
cat > server.crt.cfg <<'CFG'
authorityKeyIdentifier=keyid,issuer
basicConstraints=CA:FALSE
keyUsage = digitalSignature, nonRepudiation, keyEncipherment, dataEncipherment, keyCertSign
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = @alt_names

[alt_names]
DNS.1=*.mqtt.example.com
DNS.2=localhost
CFG
csr_config() {  # csr_config CN: the guides' [req] file
  printf '[req]\ndefault_bits = 2048\nprompt = no\ndefault_md = sha256\ndistinguished_name = dn\n[dn]\nC=CN\nST=ZJ\nL=HZ\nO=ALI\nOU=MQTT\nemailAddress=xxx@xxx\nCN=%s\n' "$1"
}
make_ca() {  # make_ca rsa|ecc
  mkdir -p "$1"
  if [ "$1" = rsa ]; then
    openssl genrsa -out rsa/CA.key 2048
    openssl req -new -key rsa/CA.key -out rsa/CA.csr -subj "$(subject 'Demo RSA CA')"
    openssl x509 -req -extfile "$ssl_config" -extensions v3_ca -in rsa/CA.csr -out rsa/CA.crt -signkey rsa/CA.key -CAcreateserial -days 3650
  else
    openssl ecparam -genkey -name prime256v1 -out ecc/CA.key
    openssl req -new -x509 -days 3650 -config "$ssl_config" -extensions v3_ca -key ecc/CA.key -out ecc/CA.crt -subj "$(subject 'Demo ECC CA')"
  fi
}
make_leaf() {  # make_leaf rsa|ecc server|client CN
  csr_config "$3" > "$1/$2.csr.cfg"
  if [ "$1" = rsa ]; then
    openssl req -new -sha256 -nodes -out "rsa/$2.csr" -newkey rsa:2048 -keyout "rsa/$2.key" -config <(cat "rsa/$2.csr.cfg")
  else
    openssl ecparam -out "ecc/$2.key" -name prime256v1 -genkey
    openssl req -new -sha256 -nodes -out "ecc/$2.csr" -key "ecc/$2.key" -config <(cat "ecc/$2.csr.cfg")
  fi
  openssl x509 -req -in "$1/$2.csr" -CA "$1/CA.crt" -CAkey "$1/CA.key" -CAcreateserial -out "$1/$2.crt" -days 500 -sha256 -extfile "$2.crt.cfg"
  openssl pkcs8 -topk8 -nocrypt -in "$1/$2.key" -out "$1/$2_pkcs8.key"
  touch "$1/$2_chain.crt"
  cat "$1/$2.crt" >> "$1/$2_chain.crt"
  cat "$1/CA.crt" >> "$1/$2_chain.crt"
}
make_verification() {  # make_verification rsa|ecc CODE
  if [ "$1" = rsa ]; then
    openssl genrsa -out rsa/verificationCert.key 2048
  else
    openssl ecparam -out ecc/verificationCert.key -name prime256v1 -genkey
  fi
  openssl req -new -key "$1/verificationCert.key" -out "$1/verificationCert.csr" -subj "/CN=$2"
  openssl x509 -req -in "$1/verificationCert.csr" -CA "$1/CA.crt" -CAkey "$1/CA.key" -CAcreateserial -out "$1/verificationCert.crt" -days 300 -sha512
}
{
  for kind in rsa ecc; do
    make_ca $kind
    make_leaf $kind server localhost
    make_leaf $kind client "client-$kind"
  done
} >openssl.log 2>&1 || { cat openssl.log >&2; die "an openssl command failed"; }
tell "two CAs (RSA-2048 and P-256), each with a server certificate, a PKCS#8 key and a device"

if [ "$nodes" -gt 1 ]; then
  # shellcheck source=deploy/demo_nodes.sh
  . "$top/deploy/demo_nodes.sh"
  exit 0
fi

say "A broker that knows nothing of TLS, and Sallyport in front of it"
broker_port=$(free_port)
metrics_port=$(free_port)
printf 'listener %s 127.0.0.1\nallow_anonymous true\npersistence false\nacl_file %s/acl\n' "$broker_port" "$work" > mosquitto.conf
# Each user its own topics. The user name is the certificate's: Sallyport writes it.
echo 'pattern readwrite devices/%u/#' > acl
chmod 700 "$work" && chmod 600 acl
[ "$(id -u)" -ne 0 ] || echo 'user root' >> mosquitto.conf
"$(command -v mosquitto || echo /usr/sbin/mosquitto)" -c mosquitto.conf >mosquitto.log 2>&1 &
pids+=($!)
cat > sallyport.toml <<TOML
state_dir = "$work/state"

[[listener]]
name     = "mqtts-ecc"
address  = "127.0.0.1:0"
upstream = "broker"
certificates = [ { chain = "$work/ecc/server_chain.crt", key = "$work/ecc/server_pkcs8.key" } ]

[[listener]]
name     = "mqtts-rsa"
address  = "127.0.0.1:0"
upstream = "broker"
certificates = [ { chain = "$work/rsa/server_chain.crt", key = "$work/rsa/server_pkcs8.key" } ]

[[upstream]]
name     = "broker"
servers  = ["127.0.0.1:$broker_port"]
username = "{cn}"

[admin]
socket = "$work/admin.sock"

[metrics]
address = "127.0.0.1:$metrics_port"
TOML
"$sallyport" check --config sallyport.toml | sed 's/^/  /'
"$sallyport" serve --config sallyport.toml >sallyport.log 2>&1 &
pids+=($!)
export SALLYPORT_SOCKET=$work/admin.sock
until_true 20 curl -fs "http://127.0.0.1:$metrics_port/readyz" || die "sallyport did not become ready"
port_of() { "$sallyport" listener list | sed -n "s/^mqtts-$1 .*127.0.0.1:\([0-9]*\) .*/\1/p"; }
declare -A port=([ecc]=$(port_of ecc) [rsa]=$(port_of rsa))
[ -n "${port[ecc]}" ] && [ -n "${port[rsa]}" ] || die "sallyport does not say where it listens"
tell "devices connect over mutual TLS: 127.0.0.1:${port[ecc]} (ECC) and 127.0.0.1:${port[rsa]} (RSA)"
tell "Mosquitto hears plain MQTT on 127.0.0.1:$broker_port"

say "Registering both CAs, with proof that we hold their keys"
for kind in rsa ecc; do
  code=$("$sallyport" ca code)
  make_verification $kind "$code" >>openssl.log 2>&1 || die "the verification certificate could not be made"
  id=$("$sallyport" ca register "$kind/CA.crt" "$kind/verificationCert.crt")
  tell "$kind CA ${id:0:16}… signed our one-time code, so it is in"
done

client() {  # client rsa|ecc PROGRAM ARGS...
  local kind=$1 program=$2; shift 2
  "$program" -h localhost -p "${port[$kind]}" --cafile "$kind/CA.crt" --cert "$kind/client_chain.crt" --key "$kind/client_pkcs8.key" "$@"
}
say "Two devices nobody has told us about"
for kind in rsa ecc; do
  client $kind mosquitto_sub -t "devices/client-$kind/hello" -C 1 -W 20 >"$kind.out" 2>"$kind.err" &
  subscriber=$!
  # The subscriber may not be there yet for the first messages: publish until it has heard one.
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    client $kind mosquitto_pub -q 1 -t "devices/client-$kind/hello" -m "hello from the $kind device" || die "the $kind device could not publish"
    until_true 1 test -s "$kind.out" && break
  done
  wait $subscriber || die "the $kind device heard nothing: $(cat "$kind.err")"
  grep -q "hello from the $kind device" "$kind.out" || die "the wrong message came out"
  tell "mosquitto_sub got: $(head -n 1 "$kind.out")"
done

say "They registered themselves on their first valid connection"
until_true 5 sh -c "[ \$('$sallyport' device list -o json | grep -c '\"id\"') -eq 2 ]" || die "there should be two devices"
"$sallyport" device list | cut -c1-100 | sed 's/^/  /'

say "Each has its own topics, by its certificate alone"
tell "the RSA device says it is client-ecc, and asks for every device's messages"
client rsa mosquitto_sub -i client-ecc -u client-ecc -P guessed -t 'devices/#' -F '%t %p' -C 1 -W 20 >liar.out 2>liar.err &
liar=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
  client ecc mosquitto_pub -q 1 -t devices/client-ecc/secret -m "for client-ecc alone" || die "the ecc device could not publish"
  client rsa mosquitto_pub -q 1 -t devices/client-rsa/own -m "for client-rsa" || die "the rsa device could not publish"
  until_true 1 test -s liar.out && break
done
wait $liar || die "the rsa device heard nothing: $(cat liar.err)"
grep -qx "devices/client-rsa/own for client-rsa" liar.out || die "it heard what is not its own: $(cat liar.out)"
tell "all it hears is its own: $(cat liar.out)"

say "One is lost, so its standing ends now"
device=$("$sallyport" device list --cn client-ecc -o json | sed -n 's/.*"id": "\([0-9a-f]*\)".*/\1/p')
tell "sallyport device deactivate ${device:0:16}…"
"$sallyport" device deactivate "$device" --yes >/dev/null
if client ecc mosquitto_pub -t devices/client-ecc/hello -m "let me in" >refused.out 2>&1; then die "a deactivated device got in"; fi
tell "its next connection: $(tail -n 1 refused.out)"
client rsa mosquitto_pub -q 1 -t devices/client-rsa/hello -m "still here" || die "the other device should not notice"
tell "the other device publishes as before"
curl -fs "http://127.0.0.1:$metrics_port/metrics" | grep '^sallyport_rejections_total{listener="mqtts-ecc",reason="device_inactive"' > metric.out || die "no metric counted it"
grep -qv ' 0$' metric.out || die "the refusal was not counted"
tell "$(cat metric.out)"
tell "$(grep -m1 'device_inactive' sallyport.log | cut -c1-150)"

if [ "$keep" = yes ]; then
  say "Left running. Try:"
  tell "export SALLYPORT_SOCKET=$SALLYPORT_SOCKET"
  tell "$sallyport status"
  tell "$sallyport device activate $device"
  tell "mosquitto_pub -h localhost -p ${port[ecc]} --cafile $work/ecc/CA.crt --cert $work/ecc/client_chain.crt --key $work/ecc/client_pkcs8.key -t devices/client-ecc/hello -m hi"
  tell "curl http://127.0.0.1:$metrics_port/metrics"
  tell "tail -f $work/sallyport.log"
  tell "to end it: kill ${pids[*]}; rm -rf $work"
else
  kill "${pids[1]}" && wait "${pids[1]}" || die "sallyport did not stop cleanly"
  say "All of it worked. Sallyport drained and stopped; everything is cleaned up."
fi
