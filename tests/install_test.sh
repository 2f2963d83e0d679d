#!/usr/bin/env bash
# install_test.sh BUILD_FOLDER: `cmake --install` into a folder that is removed again. What is installed runs, is
# stripped and small, and names the file with its debug information as gdb asks for it.
set -euo pipefail
most_bytes=$((12 * 1024 * 1024))
destination=$(mktemp -d)
trap 'rm -rf "$destination"' EXIT
fail() { echo "install: $*" >&2; exit 1; }

DESTDIR=$destination cmake --install "$1" --prefix /usr >"$destination/log" 2>&1 || { cat "$destination/log" >&2; exit 1; }
binary=$destination/usr/bin/sallyport
debug=$destination/usr/bin/.debug/sallyport.debug

[ "$("$binary" version)" = "$("$1/sallyport" version)" ] || fail "the installed binary says another version than the built one"
sections() { readelf -SW "$1" 2>/dev/null | grep -oE '[[:space:]]\.[a-z_.]+' | tr -d ' \t'; }
sections "$binary" | grep -qE '^\.(debug_|symtab)' && fail "the binary is not stripped"
sections "$debug" | grep -qx '.debug_info' || fail "$debug has no debug information"
sections "$1/sallyport" | grep -qx '.debug_info' || fail "installing has taken the debug information off the built binary"
bytes=$(stat -c %s "$binary")
[ "$bytes" -le "$most_bytes" ] || fail "the binary has $bytes bytes, more than $most_bytes"

# gdb looks for that name in .debug/ beside the binary, and believes it by its checksum.
/usr/bin/python3 - "$binary" "$debug" <<'PY' || fail "the binary does not name $debug"
import os, re, subprocess, sys, tempfile, zlib
binary, debug = sys.argv[1:]
with tempfile.NamedTemporaryFile() as link:
    subprocess.run(["objcopy", "-O", "binary", "--set-section-flags", ".gnu_debuglink=alloc", "--only-section=.gnu_debuglink",
                    binary, link.name], check=True)
    section = open(link.name, "rb").read()
name, checksum = section.split(b"\0", 1)[0].decode(), int.from_bytes(section[-4:], "little")
sys.exit(0 if name == os.path.basename(debug) and checksum == zlib.crc32(open(debug, "rb").read()) else 1)
PY
build_id() { readelf -n "$1" 2>/dev/null | sed -n 's/.*Build ID: //p'; }
[ -n "$(build_id "$binary")" ] && [ "$(build_id "$binary")" = "$(build_id "$debug")" ] || fail "binary and debug file are of two builds"
echo "install: $bytes bytes of binary, $(stat -c %s "$debug") of debug information"
