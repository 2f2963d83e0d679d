#!/usr/bin/env bash
# In a Debian 13 where arm64 is a second architecture (tests/elsewhere.sh makes it): cross-builds the binary and the
# tests for arm64, and runs the unit and simulation tests under qemu. Exits non-zero when one fails.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=deploy/packages.sh
. deploy/packages.sh

# Of the packages a build needs, those with libraries are arm64's, but for those that are of no architecture;
# libipsec-mb is Intel's.
packages=(crossbuild-essential-arm64 qemu-user-static cmake ninja-build pkg-config git ccache procps openssl)
for name in $BUILD_PACKAGES $DEVELOP_PACKAGES; do
  case "$name" in
    lib*ipsec-mb*) ;;
    lib* | prometheus-* | nlohmann-*)
      if apt-cache show "$name:arm64" 2>/dev/null | grep -q '^Architecture: arm64'; then name=$name:arm64; fi
      packages+=("$name")
      ;;
  esac
done
install_packages "${packages[@]}" || { echo "arm64: packages could not be installed" >&2; exit 1; }

log=build/arm64.log
mkdir -p build
cmake --preset arm64 -DCMAKE_CXX_COMPILER_LAUNCHER=ccache >"$log" 2>&1 &&
  cmake --build --preset arm64 -j "$(nproc)" --target sallyport unit_tests simulation_tests >>"$log" 2>&1 || {
  grep -nE 'error|FAILED' "$log" | head -40
  tail -n 20 "$log"
  echo "arm64: the build failed; all of it is in $log"
  exit 1
}
aarch64-linux-gnu-readelf -h build/arm64/sallyport | grep -q 'Machine: *AArch64' || { echo "arm64: what was built is not for arm64"; exit 1; }
echo "arm64: binary and tests compile without a warning"
qemu-aarch64-static build/arm64/sallyport version || exit 1

# What the kernel has and qemu-user has not: each of these makes a ring of its own.
ring='/Ring$|DataPlaneTest\.'
echo "left out under qemu, which has no io_uring:"
ctest --test-dir build/arm64 -N -L 'unit|simulation' -R "$ring" | sed -n 's/^ *Test *#[0-9]*: /  /p'
# Emulated, a processor is some fifteen times slower: as many runs of the simulation as the sanitizers get.
SALLYPORT_SIM_RUNS=${SALLYPORT_SIM_RUNS:-60} ctest --test-dir build/arm64 --output-on-failure --no-tests=error -L 'unit|simulation' -E "$ring" -j "$(nproc)" \
  --timeout 1500 | grep -vE '^ *(Start|Test +#| *[0-9]+/[0-9]+ Test .* Passed)'
exit "${PIPESTATUS[0]}"
