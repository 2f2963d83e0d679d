#!/usr/bin/env bash
# The rules of the house that grep can check (CONTRIBUTING.md): each finding is printed, one
# is enough to fail. Run from the top of the tree.
set -u
shopt -s lastpipe  # what `rule` counts at the end of a pipe is counted here
findings=0
finding() { echo "house rule: $1"; findings=$((findings + 1)); }

# rule MESSAGE: every line on standard input is a finding.
rule() {
  while IFS= read -r line; do finding "$1: $line"; done
}
sources() { git ls-files -co --exclude-standard "$@" | grep -E '\.(h|cc)$'; }
in_files() { xargs -r grep -nE "$1"; }  # in_files REGEX: searches the files named on standard input

# Floors and rooms, from the lowest up: what a file may include besides its own room. A row names only rows above it,
# so no arrow between folders runs upwards, and none in a circle.
rooms='
cache/base
cache/crypto      cache/base
cache/x509        cache/base cache/crypto
cache/standing    cache/base cache/crypto cache/x509
cache/shared      cache/base
cache/registry    cache/base cache/crypto cache/x509 cache/standing cache/shared
proxy/io          cache/base
proxy/mqtt        cache/base
proxy/proxy_protocol cache/base
proxy/config      cache/base cache/x509
proxy/tls         cache/base cache/crypto cache/x509 cache/standing proxy/io proxy/config
proxy/session     cache/base cache/x509 proxy/io proxy/mqtt proxy/proxy_protocol proxy/config proxy/tls
proxy/upstream    cache/base cache/crypto proxy/io proxy/mqtt proxy/config proxy/tls proxy/session
proxy/shard       cache/base cache/crypto cache/x509 cache/standing cache/registry proxy/io proxy/mqtt proxy/proxy_protocol proxy/config proxy/tls proxy/session proxy/upstream
proxy             cache/base cache/standing cache/registry proxy/config proxy/tls proxy/session proxy/upstream proxy/shard
admin/http        cache/base cache/crypto proxy/config proxy/tls
admin/operations  cache/base cache/crypto cache/x509 cache/standing cache/shared cache/registry proxy/config proxy/tls proxy admin/http
admin/console_server cache/base cache/registry admin/http admin/operations
admin/api         cache/base cache/crypto cache/standing cache/registry proxy admin/http admin/operations
admin/cli         cache/base cache/x509 cache/shared cache/registry proxy/io proxy/config admin/operations
admin/docs        cache/base cache/registry proxy/config proxy admin/operations admin/api admin/cli
admin             cache/crypto cache/standing cache/registry proxy/config proxy/tls proxy admin/http admin/operations admin/console_server admin/api admin/cli
'
declare -A may_include=()
while read -r room targets; do
  [ -n "$room" ] || continue
  for target in $targets; do
    [ -n "${may_include[$target]+there}" ] || finding "the table of rooms lets $room/ include $target/, which does not stand below it"
  done
  may_include[$room]=" $room $targets "
done <<<"$rooms"
for file in $(sources cache proxy admin); do
  room=${file%/*}
  [ -n "${may_include[$room]+there}" ] || { finding "$file stands in no room of the table"; continue; }
  for target in $(sed -nE 's/^#include "([^"]+)\/[^"/]+".*/\1/p' "$file" | sort -u); do
    [[ "${may_include[$room]}" == *" $target "* ]] || finding "$file includes $target/, which $room/ may not"
  done
done

# Some standard library includes <algorithm> by chance, and the next one does not (Debian 13's).
uses='std::(all_of|any_of|clamp|copy|copy_n|count|count_if|equal|fill|find|find_if|generate|lower_bound|max|max_element|min|min_element|mismatch|none_of|remove|remove_if|reverse|search|set_difference|shuffle|sort|transform|unique|upper_bound)\('
for file in $(sources cache proxy admin bench tests | xargs -r grep -lE "$uses"); do
  grep -qsF '#include <algorithm>' "$file" "${file%.cc}.h" || finding "$file uses an algorithm and does not include <algorithm>"
done

# Each room says what it is; the first page is for strangers; a clone is complete.
for room in cache proxy admin bench deploy tests "${!may_include[@]}"; do
  [ -f "$room/README.md" ] || { finding "$room/ has no README.md"; continue; }
  lines=$(wc -l <"$room/README.md")
  [ "$lines" -le 120 ] || finding "$room/README.md has $lines lines: two pages at most"
done
lines=$(wc -l <README.md)
[ "$lines" -le 150 ] || finding "README.md has $lines lines: at most 150"
# shellcheck disable=SC2016
git ls-files -co --exclude-standard | grep -v '^tests/house_rules.sh$' | xargs grep -nE '\.\./shared|\b(DESIGN|CONTRACT|STYLE)\.md|/work/' 2>/dev/null |
  rule "a place that a clone does not have"
# Links of the pages lead somewhere.
for page in $(git ls-files -co --exclude-standard '*.md'); do
  for link in $(grep -oE '\]\([^)#: ]+\)' "$page" | sed 's/^](//; s/)$//'); do
    [ -e "$(dirname "$page")/$link" ] || finding "$page links to $link, which is not there"
  done
done

# Each library has its room.
sources cache proxy admin | grep -v '^proxy/io/ring' | in_files '#include <liburing' | rule "liburing outside proxy/io/ring*"
sources cache proxy admin | grep -v '^proxy/tls/record_cipher_ipsec_mb\.cc' | in_files '#include <intel-ipsec-mb' | rule "libipsec-mb outside record_cipher_ipsec_mb.cc"
sources cache proxy admin | grep -v '^cache/crypto/light_x25519\.cc' | in_files '#include <(sodium|gmp)' | rule "libsodium or GMP outside light_x25519.cc"
sources cache proxy admin | grep -v '^proxy/tls/tls_' | in_files '\bSSL_[a-zA-Z]+\(' | rule "TLS calls outside proxy/tls/tls_*"
sources cache proxy admin | grep -v '^cache/registry/registry_store' | in_files '#include <rocksdb/' | rule "RocksDB outside the store"
sources cache proxy admin | grep -v '^cache/shared/libpq\.h' | in_files '#include <libpq' | rule "libpq outside cache/shared/libpq.h"
sources cache proxy admin | grep -v '^proxy/config/' | in_files '#include <toml' | rule "toml++ outside the configuration"
sources cache proxy admin | grep -vE '^admin/(http/http_(server\.cc|connection\.h)|cli/http_client\.cc)' | in_files '#include <boost/' | rule "Boost outside the HTTP files"
sources cache proxy admin | grep -vE '^admin/cli/command_line(_[a-z]+)?\.cc' | in_files '#include <CLI/' | rule "CLI11 outside command_line*.cc"
sources cache proxy admin | grep -v '^cache/base/log\.cc' | in_files '#include <spdlog' | rule "spdlog outside the log"

# The data path: nothing allocated by hand, nothing shared by counting, nothing hidden behind a function object.
sources proxy | in_files '(^|[^_[:alnum:]"/])(new [A-Z(]|delete [a-z])' | grep -vE '//.*\b(new|delete)\b' |
  grep -v 'unique_ptr<[A-Za-z]*>(new\|(new \|made(new ' | rule "new or delete on the data path"
sources proxy | in_files 'std::(function|make_shared)' | rule "std::function or make_shared on the data path"
sources proxy | in_files 'shared_ptr' | grep -v 'shared_ptr<const CaSet>' | rule "shared_ptr on the data path (but the CA set)"
sources proxy | grep -vE '^proxy/config/' | in_files '\b(try|catch|throw)\b *[({"]' | rule "exceptions on the data path"

# What both compilers accept, and what a reader can take in.
sources cache proxy admin | in_files '#include <(format|source_location|expected)>' | rule "a header g++ 12 and clang 14 do not share"
sources cache proxy admin tests | in_files '\b(TODO|FIXME|XXX|HACK)\b' | rule "an unfinished thought"
sources cache proxy admin tests | in_files '^using namespace std;' | rule "using namespace std"
for file in $(sources cache proxy admin bench); do
  lines=$(wc -l <"$file")
  [ "$lines" -le 500 ] || finding "$file has $lines lines: look for the second idea inside"
done
for file in $(git ls-files -co --exclude-standard cache proxy admin | grep -E '\.h$'); do
  read -r first <"$file"
  [[ "$first" == "// "* ]] || finding "$file does not begin with what it is"
  grep -q '^#pragma once' "$file" || finding "$file lacks #pragma once"
done
# To the linker they are one type, and one's destructor may end the other.
sources cache proxy admin | grep '\.h$' | xargs grep -hoE '^(struct|class|enum class) [A-Za-z0-9_]+( final)?( :| \{)' |
  sed -E 's/^(struct|enum class|class) ([A-Za-z0-9_]+).*/\2/' | sort | uniq -d | rule "two headers define a type of this name"
git ls-files -co --exclude-standard cache proxy admin | grep -E '(util|common|helper|manager|misc)[^/]*\.(h|cc)$' | rule "a name that says nothing"

# A sabotage that no longer applies shows nothing.
tests/mutants.sh --check | rule "a mutant that cannot be applied"

# Nothing logs what must stay secret.
sources cache proxy admin | in_files '(info|warn|error|debug|write)\(.*(key_pem|private_key|password|token|payload)' | rule "a secret in a log line"

# An event is one word, so that a line can be taken apart at its spaces.
sources cache proxy admin | in_files 'log_?\.(info|warn|error|debug)\("[^"]* [^"]*"' | rule "an event of several words"

# Formatting, as clang-format 14 has it: later versions break some of the same lines elsewhere.
formatter=$(command -v clang-format-14 || command -v clang-format)
formatter_version=$("${formatter:-false}" --version 2>/dev/null | sed -nE 's/.*version ([0-9]+)\..*/\1/p')
if [ "$formatter_version" = 14 ]; then
  sources cache proxy admin bench tests | xargs -r -n 16 -P "$(nproc)" "$formatter" --dry-run 2>&1 |
    sed -nE 's/^([^:]+):[0-9]+:[0-9]+: warning: .*-Wclang-format-violations.*/\1/p' | sort -u |
    rule "not formatted, clang-format -i mends it"
elif [ -n "$formatter_version" ]; then
  echo "house rules: formatting is not checked: the tree is formatted by clang-format 14, and here is $formatter_version"
else
  finding "clang-format is not installed"
fi

[ "$findings" -eq 0 ] && echo "house rules: all kept"
[ "$findings" -eq 0 ]
