// The client's end of TlsRecords, of TLS 1.3 and of TLS 1.2: it holds the same two secrets or keys, seals anything
// behind any header, right or wrong, follows each KeyUpdate, and opens what the server sends. For tests and the fuzz
// target; no socket, no OpenSSL.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "cache/base/check.h"
#include "cache/crypto/hkdf.h"
#include "proxy/tls/record_cipher.h"
#include "proxy/tls/tls_records.h"

namespace sallyport::test {

using Bytes = std::vector<std::uint8_t>;

// RFC 8446, appendix B.1 and B.3.
inline constexpr std::uint8_t kChangeCipherSpec = 20, kAlert = 21, kHandshake = 22, kApplicationData = 23;
inline constexpr std::uint8_t kKeyUpdateMessage = 24;

inline Bytes key_update_message(std::uint8_t request) {
  return {kKeyUpdateMessage, 0, 0, 1, request};
}

// One direction's secret and the key derived from it: RFC 8446, sections 7.2 and 7.3.
class TrafficKey {
 public:
  TrafficKey(std::size_t key_bytes, std::span<const std::uint8_t> secret) : secret_(secret.begin(), secret.end()) {
    key_.key_bytes = key_bytes;
    derive();
  }
  void next_generation() {
    Bytes next(secret_.size());
    CHECK(expand_label(secret_, "traffic upd", next));
    secret_ = next;
    derive();
  }
  RecordKey& key() { return key_; }

 private:
  void derive() {
    const std::span<std::uint8_t> key(key_.key.data(), key_.key_bytes);
    CHECK(expand_label(secret_, "key", key) && expand_label(secret_, "iv", key_.iv));
    key_.sequence = 0;
  }
  Bytes secret_;
  RecordKey key_;
};

// What a record has in it, without the padding.
struct InnerRecord {
  std::uint8_t type = 0;
  Bytes content;
  bool operator==(const InnerRecord&) const = default;
};

// The first three bytes of a record.
struct Outer {
  std::uint8_t type = kApplicationData;
  std::array<std::uint8_t, 2> version = {3, 3};
};
inline std::array<std::uint8_t, RecordCipher::kHeaderBytes> header_of(Outer outer, std::size_t length) {
  return {outer.type, outer.version[0], outer.version[1], static_cast<std::uint8_t>(length >> 8),
          static_cast<std::uint8_t>(length)};
}

class RecordPeer {
 public:
  RecordPeer(std::size_t key_bytes, std::span<const std::uint8_t> client_secret,
             std::span<const std::uint8_t> server_secret, std::uint64_t records_of_server = 0)
      : client_(key_bytes, client_secret), server_(key_bytes, server_secret) {
    server_.key().sequence = records_of_server;
  }

  // Both sides' secrets, as a handshake leaves them.
  static void share(std::span<const std::uint8_t> client_secret, std::span<const std::uint8_t> server_secret,
                    TrafficSecrets& secrets) {
    std::copy(client_secret.begin(), client_secret.end(), secrets.client.begin());
    std::copy(server_secret.begin(), server_secret.end(), secrets.server.begin());
    secrets.client_bytes = client_secret.size();
    secrets.server_bytes = server_secret.size();
  }

  // A record of `inner`: content, type and padding, of one byte at least.
  Bytes seal_inner(std::span<const std::uint8_t> inner, Outer outer) {
    const std::size_t length = inner.size() + RecordCipher::kTagBytes;
    const auto header = header_of(outer, length);
    Bytes record(header.size() + length);
    std::copy(header.begin(), header.end(), record.begin());
    RecordCipher cipher(client_.key());
    cipher.seal(header, inner.first(inner.size() - 1), inner.back(), record.data() + header.size());
    return record;
  }
  Bytes seal_inner(std::span<const std::uint8_t> inner) { return seal_inner(inner, Outer{}); }
  Bytes seal(std::uint8_t type, std::span<const std::uint8_t> content, std::size_t padding, Outer outer) {
    Bytes inner(content.begin(), content.end());
    inner.push_back(type);
    inner.resize(inner.size() + padding);
    return seal_inner(inner, outer);
  }
  Bytes seal(std::uint8_t type, std::span<const std::uint8_t> content, std::size_t padding = 0) {
    return seal(type, content, padding, Outer{});
  }
  // The record of a KeyUpdate; what follows is sealed with the next key.
  Bytes key_update(std::uint8_t request) {
    Bytes record = seal(kHandshake, key_update_message(request));
    rekey_client();
    return record;
  }
  void rekey_client() { client_.next_generation(); }

  // Takes the first record off `bytes`, with the next key if it is a KeyUpdate. Nothing where it is not a whole record
  // of the server's, sealed with its current key and sequence number, or where its plaintext is too long.
  std::optional<InnerRecord> open(std::span<const std::uint8_t>& bytes) {
    if (TlsRecords::missing(TlsVersion::V13, bytes) > 0) return std::nullopt;
    const RecordCipher::Header header = bytes.first<RecordCipher::kHeaderBytes>();
    const std::size_t length = std::size_t{header[3]} << 8 | header[4];
    const bool of_tls = header[0] == kApplicationData && header[1] == 3 && header[2] == 3;
    if (!of_tls || length <= RecordCipher::kTagBytes || bytes.size() < header.size() + length) return std::nullopt;
    Bytes inner(length - RecordCipher::kTagBytes);
    RecordCipher cipher(server_.key());
    if (!cipher.open(header, bytes.subspan(header.size(), length), inner.data())) return std::nullopt;
    if (inner.size() > kMostInner) return std::nullopt;
    bytes = bytes.subspan(header.size() + length);
    while (!inner.empty() && inner.back() == 0) inner.pop_back();
    if (inner.empty()) return std::nullopt;
    InnerRecord record{inner.back(), {inner.begin(), inner.end() - 1}};
    if (record.type == kHandshake && !record.content.empty() && record.content[0] == kKeyUpdateMessage) {
      server_.next_generation();
    }
    return record;
  }

 private:
  static constexpr std::size_t kMostInner = 16 * 1024 + 1;  // RFC 8446, section 5.4
  TrafficKey client_, server_;
};

// The same of TLS 1.2, where the type is in the header, and no key follows the first.
class RecordPeer12 {
 public:
  static constexpr std::uint64_t kBehindFinished = 1;  // where a handshake leaves both sequences

  explicit RecordPeer12(std::size_t key_bytes, std::uint64_t records_of_client = kBehindFinished,
                        std::uint64_t records_of_server = kBehindFinished) {
    set(client_, key_bytes, 1, records_of_client);
    set(server_, key_bytes, 2, records_of_server);
  }
  // Both sides' keys, as a handshake leaves them.
  void share(RecordKey& client, RecordKey& server) const {
    set(client, client_.key_bytes, 1, client_.sequence);
    set(server, server_.key_bytes, 2, server_.sequence);
  }
  // The client's next record has this explicit nonce, and each behind it another.
  void choose_nonce(std::uint64_t explicit_part) {
    for (std::size_t i = 0; i < RecordCipher::kExplicitBytes; ++i) {
      client_.iv[RecordKey::kSaltBytes + i] =
          static_cast<std::uint8_t>((explicit_part ^ client_.sequence) >> (56 - 8 * i));
    }
  }

  // A record whose tag was made for `type` and whose header says `outer`.
  Bytes seal(std::uint8_t type, std::span<const std::uint8_t> content, Outer outer) {
    const std::size_t length = content.size() + RecordCipher::kOverhead12;
    const auto header = header_of(outer, length);
    Bytes record(header.size() + length);
    std::uint8_t* const sealed = std::copy(header.begin(), header.end(), record.data());
    RecordCipher cipher(client_);
    cipher.seal12(type, content, sealed);
    return record;
  }
  Bytes seal(std::uint8_t type, std::span<const std::uint8_t> content) { return seal(type, content, {type, {3, 3}}); }

  // Takes the first record off `bytes`. Nothing where it is not a whole record of the server's, sealed with its key and
  // its sequence number, or where its plaintext is too long.
  std::optional<InnerRecord> open(std::span<const std::uint8_t>& bytes) {
    if (TlsRecords::missing(TlsVersion::V12, bytes) > 0) return std::nullopt;
    const std::size_t length = std::size_t{bytes[3]} << 8 | bytes[4];
    const std::size_t whole = RecordCipher::kHeaderBytes + length;
    const bool of_tls = bytes[0] >= kAlert && bytes[0] <= kApplicationData && bytes[1] == 3 && bytes[2] == 3;
    if (!of_tls || length < RecordCipher::kOverhead12 || bytes.size() < whole) return std::nullopt;
    InnerRecord record{bytes[0], Bytes(length - RecordCipher::kOverhead12)};
    RecordCipher cipher(server_);
    const std::span<const std::uint8_t> sealed = bytes.subspan(RecordCipher::kHeaderBytes, length);
    if (!cipher.open12(record.type, sealed, record.content.data())) return std::nullopt;
    if (record.content.size() > kMostContent) return std::nullopt;
    bytes = bytes.subspan(whole);
    return record;
  }

 private:
  static constexpr std::size_t kMostContent = 16 * 1024;  // RFC 5246, section 6.2.1
  static void set(RecordKey& key, std::size_t key_bytes, std::uint8_t of, std::uint64_t sequence) {
    key.version = TlsVersion::V12;
    key.key_bytes = key_bytes;
    key.key.fill(of);
    key.iv.fill(static_cast<std::uint8_t>(of + 100));
    key.sequence = sequence;
  }
  RecordKey client_, server_;
};

}  // namespace sallyport::test
