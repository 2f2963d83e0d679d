# shellcheck shell=bash
# demo.sh --nodes N, sourced behind its PKI: N Sallyports that share one registry in a PostgreSQL of the demo's own. A
# device registers at the first, connects at the second as a known one, and is revoked at the last, while it is connected.
: "${nodes:?}" "${work:?}" "${sallyport:?}"

say "One PostgreSQL, with a registry in it"
pg_bin=$(find /usr/lib/postgresql -name initdb 2>/dev/null | sort -V | tail -n 1 | xargs -r dirname)
[ -n "$pg_bin" ] || die "PostgreSQL is not installed"
pg=$(mktemp -d "${TMPDIR:-/tmp}/sallyport-demo-pg.XXXXXX")
folders+=("$pg")
pg_port=$(free_port)
as_user=()
if [ "$(id -u)" -eq 0 ]; then  # it refuses root
  chown postgres "$pg"
  as_user=(setpriv --reuid postgres --regid postgres --clear-groups)
fi
(cd "$pg" && ${as_user[@]+"${as_user[@]}"} "$pg_bin/initdb" -D "$pg/data" -U postgres -A trust --no-sync -E UTF8 >/dev/null) ||
  die "initdb failed"
(cd "$pg" && exec ${as_user[@]+"${as_user[@]}"} "$pg_bin/postgres" -D "$pg/data" -p "$pg_port" -c listen_addresses=127.0.0.1 \
  -c unix_socket_directories= >"$work/postgres.log" 2>&1) &
pids+=($!)
until_true 20 "$pg_bin/pg_isready" -q -h 127.0.0.1 -p "$pg_port" || die "PostgreSQL does not answer: $(tail -n 3 postgres.log)"
url="postgresql://postgres@127.0.0.1:$pg_port/postgres"
"$sallyport" registry init --shared "$url" | sed 's/^/  /'

say "$nodes Sallyports that share it"
broker_port=$(free_port)
printf 'listener %s 127.0.0.1\nallow_anonymous true\npersistence false\n' "$broker_port" >mosquitto.conf
[ "$(id -u)" -ne 0 ] || echo 'user root' >>mosquitto.conf
"$(command -v mosquitto || echo /usr/sbin/mosquitto)" -c mosquitto.conf >mosquitto.log 2>&1 &
pids+=($!)
node_port=()
for ((i = 0; i < nodes; ++i)); do
  mkdir "edge-$i"
  metrics_port=$(free_port)
  cat >"edge-$i/sallyport.toml" <<TOML
state_dir = "$work/edge-$i/state"

[[listener]]
name     = "mqtts"
address  = "127.0.0.1:0"
upstream = "broker"
certificates = [ { chain = "$work/ecc/server_chain.crt", key = "$work/ecc/server_pkcs8.key" } ]

[[upstream]]
name    = "broker"
servers = ["127.0.0.1:$broker_port"]

[registry]
shared = "$url"
node   = "edge-$i"

[admin]
socket = "$work/edge-$i/admin.sock"

[metrics]
address = "127.0.0.1:$metrics_port"
TOML
  "$sallyport" serve --config "edge-$i/sallyport.toml" >"edge-$i/log" 2>&1 &
  pids+=($!)
  until_true 20 curl -fs "http://127.0.0.1:$metrics_port/readyz" || die "edge-$i did not become ready: $(tail -n 3 "edge-$i/log")"
done
on() { local at=$1; shift; SALLYPORT_SOCKET=$work/edge-$at/admin.sock "$sallyport" "$@"; }
for ((i = 0; i < nodes; ++i)); do
  node_port+=("$(on "$i" listener list | sed -n 's/^mqtts .*127.0.0.1:\([0-9]*\) .*/\1/p')")
done
until_true 10 sh -c "[ \$(SALLYPORT_SOCKET=$work/edge-0/admin.sock '$sallyport' node list -o json | grep -c '\"name\"') -eq $nodes ]" || die "a node is not listed"
on 0 node list | sed 's/^/  /'

say "A CA registered at the first, a device that registers itself there"
code=$(on 0 ca code)
make_verification ecc "$code" >>openssl.log 2>&1 || die "the verification certificate could not be made"
on 0 ca register ecc/CA.crt ecc/verificationCert.crt >ca.id
at() {  # at NODE PROGRAM ARGS...: as the device
  local port=${node_port[$1]} program=$2; shift 2
  "$program" -h localhost -p "$port" --cafile ecc/CA.crt --cert ecc/client_chain.crt --key ecc/client_pkcs8.key "$@"
}
at 0 mosquitto_pub -q 1 -i demo -t hello -m "hello from the first" || die "the device could not publish at the first"
last=$((nodes - 1))
for ((i = 1; i < nodes; ++i)); do
  until_true 10 sh -c "[ \$(SALLYPORT_SOCKET=$work/edge-$i/admin.sock '$sallyport' device list -q | wc -l) -eq 1 ]" || die "edge-$i does not know it"
done
device=$(on "$last" device list -q)
tell "every node knows it: ${device:0:16}…"

say "It connects at the second, and is revoked at the last"
at 1 mosquitto_sub -i demo -t hello -W 30 >sub.out 2>&1 &
session=$!
until_true 10 sh -c "[ \$(SALLYPORT_SOCKET=$work/edge-1/admin.sock '$sallyport' session list -q | wc -l) -eq 1 ]" || die "it is not connected at the second"
on "$last" device revoke "$device" --yes --wait 5s 2>&1 | sed 's/^/  /'
until_true 10 sh -c "[ \$(SALLYPORT_SOCKET=$work/edge-1/admin.sock '$sallyport' session list -q | wc -l) -eq 0 ]" || die "its session lives on"
kill "$session" 2>/dev/null || true  # it has been trying to come back
wait "$session" 2>/dev/null || true
tell "its session at edge-1 was cut"
for ((i = 0; i < nodes; ++i)); do
  if at "$i" mosquitto_pub -i demo -t hello -m "let me in" >refused.out 2>&1; then die "a revoked device got in at edge-$i"; fi
done
tell "no node lets it in"

if [ "$keep" = yes ]; then
  say "Left running. Try:"
  tell "export SALLYPORT_SOCKET=$work/edge-0/admin.sock"
  tell "$sallyport node list"
  tell "$sallyport registry status --shared $url"
  tell "mosquitto_pub -h localhost -p ${node_port[0]} --cafile $work/ecc/CA.crt --cert $work/ecc/client_chain.crt --key $work/ecc/client_pkcs8.key -t hello -m hi    # revoked: refused"
  tell "to end it: kill ${pids[*]}; rm -rf $work ${folders[*]}"
else
  say "All of it worked; everything is cleaned up."
fi
