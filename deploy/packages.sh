# The packages of Debian 12 and 13 Sallyport is built, run and tested with. Sourced by demo.sh, tests/run.sh and
# bench/compare.sh, so that a machine on which nothing was installed by hand gets everything from here.

BUILD_PACKAGES="build-essential cmake ninja-build pkg-config git ca-certificates liburing-dev libssl-dev
  librocksdb-dev prometheus-cpp-dev libcli11-dev libtomlplusplus-dev nlohmann-json3-dev libspdlog-dev libfmt-dev
  libboost-dev libmimalloc-dev libipsec-mb-dev libsodium-dev libgmp-dev libpq-dev"
# The console is built by Node.js 18 or newer and npm. NodeSource's package of it has npm inside, and cannot stand beside
# Debian's npm: where both commands are, none is asked for.
CONSOLE_PACKAGES=""
command -v node >/dev/null && command -v npm >/dev/null || CONSOLE_PACKAGES="nodejs npm"
DEVELOP_PACKAGES="libbenchmark-dev libgtest-dev libgmock-dev"  # tests and benchmarks: SALLYPORT_TESTS, SALLYPORT_BENCH
DEMO_PACKAGES="mosquitto mosquitto-clients openssl curl"
DEMO_NODES_PACKAGES="postgresql"
BENCH_PACKAGES="haproxy nginx-light libnginx-mod-stream hitch mosquitto openssl python3"
TEST_PACKAGES="clang lld libclang-rt-dev llvm clang-format ccache procps iproute2
  python3 python3-pytest python3-cryptography python3-paho-mqtt python3-yaml python3-jsonschema systemd libpaho-mqtt-dev
  nodejs chromium node-mqtt gnutls-bin libnss3-tools libfaketime libnss-wrapper haproxy nginx-light libnginx-mod-stream
  prometheus
  golang-go golang-golang-x-crypto-dev golang-golang-x-sys-dev valgrind libgnutls28-dev libwolfssl-dev libmbedtls-dev
  zsh fish
  postgresql spin"
EVIDENCE_PACKAGES="graphviz"  # tests/state_machines/learn.py --accept draws with it
CLIENT_PACKAGES="default-jdk-headless debootstrap debian-archive-keyring"  # tests/clients.sh

# install_packages NAME...: asks apt only for what is missing, so that a second run needs no network.
install_packages() {
  local missing=()
  local name
  for name in "$@"; do
    dpkg-query -W -f='${db:Status-Abbrev}' "$name" 2>/dev/null | grep -q '^ii' || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  local as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  echo "installing ${#missing[@]} Debian packages: ${missing[*]}"
  "${as_root[@]}" apt-get update -qq &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      -o Dpkg::Use-Pty=0 "${missing[@]}" >/dev/null
}
