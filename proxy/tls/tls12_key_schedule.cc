#include "proxy/tls/tls12_key_schedule.h"

#include <openssl/crypto.h>

#include <algorithm>

#include "cache/base/check.h"

namespace sallyport {

namespace {

using Bytes = std::span<const std::uint8_t>;

bool prf(const KdfHash& hash, Bytes secret, std::string_view label, std::span<const Bytes> seed,
         std::span<std::uint8_t> out) {
  std::array<Bytes, 3> pieces = {Bytes(reinterpret_cast<const std::uint8_t*>(label.data()), label.size())};
  CHECK(seed.size() < pieces.size());
  std::copy(seed.begin(), seed.end(), pieces.begin() + 1);
  return expand_seed(hash, secret, std::span(pieces).first(seed.size() + 1), out);
}

}  // namespace

Tls12MasterSecret::~Tls12MasterSecret() {
  OPENSSL_cleanse(data(), size());
}

bool derive_master(const KdfHash& hash, Bytes premaster, Bytes session_hash, Tls12MasterSecret& master) {
  return prf(hash, premaster, "extended master secret", {{session_hash}}, master);
}

bool derive_record_keys(const Tls12Agreement& agreement, std::size_t key_bytes, RecordKey& client, RecordKey& server) {
  CHECK(key_bytes <= client.key.size());
  // Section 6.3: client's and server's key, client's and server's salt; an AEAD has no MAC keys.
  struct Block : std::array<std::uint8_t, 2 * (32 + RecordKey::kSaltBytes)> {
    ~Block() { OPENSSL_cleanse(data(), size()); }
  } block;
  const std::array<Bytes, 2> randoms = {agreement.server_random, agreement.client_random};
  const std::size_t length = 2 * (key_bytes + RecordKey::kSaltBytes);
  if (!prf(*agreement.hash, agreement.master, "key expansion", randoms, std::span(block).first(length))) return false;
  const std::uint8_t* at = block.data();
  for (RecordKey* key : {&client, &server}) {
    key->version = TlsVersion::V12;
    key->key_bytes = key_bytes;
    key->sequence = 0;
    std::copy_n(at, key_bytes, key->key.begin());
    at += key_bytes;
  }
  for (RecordKey* key : {&client, &server}) {
    key->iv = {};
    std::copy_n(at, RecordKey::kSaltBytes, key->iv.begin());
    at += RecordKey::kSaltBytes;
  }
  return true;
}

bool derive_verify_data(const Tls12Agreement& agreement, std::string_view label, Bytes transcript_hash,
                        VerifyData& data) {
  return prf(*agreement.hash, agreement.master, label, {{transcript_hash}}, data);
}

}  // namespace sallyport
