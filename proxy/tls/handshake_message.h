// Handshake messages of either version, in TLS's presentation language: RFC 8446, section 4 and appendix B.3, and
// RFC 5246, section 7.4. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "cache/base/check.h"
#include "proxy/tls/wire_reader.h"

namespace sallyport {

enum class HandshakeType : std::uint8_t {
  ServerHello = 2,
  NewSessionTicket = 4,
  EncryptedExtensions = 8,
  Certificate = 11,
  ServerKeyExchange = 12,
  CertificateRequest = 13,
  ServerHelloDone = 14,
  CertificateVerify = 15,
  ClientKeyExchange = 16,
  Finished = 20,
};
inline constexpr std::size_t kMessageHeaderBytes = 4;

// https://www.iana.org/assignments/tls-extensiontype-values
enum Extension : std::size_t {
  kServerName = 0,
  kMaxFragmentLength = 1,
  kSupportedGroups = 10,
  kPointFormats = 11,
  kSignatureAlgorithms = 13,
  kExtendedMasterSecret = 23,
  kSessionTicket = 35,
  kPreSharedKey = 41,
  kEarlyData = 42,
  kSupportedVersions = 43,
  kCookie = 44,
  kPskKeyExchangeModes = 45,
  kSignatureAlgorithmsCert = 50,
  kKeyShare = 51,
  kRenegotiationInfo = 0xFF01,
};

using Message = std::vector<std::uint8_t>;  // one message, its header included

// Writes one message; a vector's length is put in front when it is closed.
class MessageWriter {
 public:
  explicit MessageWriter(HandshakeType type) {
    number(static_cast<std::uint64_t>(type), 1);
    open(3);
  }
  void number(std::uint64_t value, std::size_t bytes) {
    while (bytes-- > 0) message_.push_back(static_cast<std::uint8_t>(value >> (8 * bytes)));
  }
  void put(std::span<const std::uint8_t> bytes) { message_.insert(message_.end(), bytes.begin(), bytes.end()); }
  void vector(std::span<const std::uint8_t> bytes, std::size_t length_bytes) {
    number(bytes.size(), length_bytes);
    put(bytes);
  }
  void open(std::size_t length_bytes) {
    CHECK(depth_ < opened_.size());
    number(0, length_bytes);
    opened_[depth_++] = {message_.size(), length_bytes};
  }
  void close() {
    const auto [begin, length_bytes] = opened_[--depth_];
    const std::size_t length = message_.size() - begin;
    CHECK(length < std::size_t{1} << (8 * length_bytes));
    for (std::size_t i = 0; i < length_bytes; ++i) {
      message_[begin - 1 - i] = static_cast<std::uint8_t>(length >> (8 * i));
    }
  }
  Message done() {
    close();
    CHECK(depth_ == 0);
    return std::move(message_);
  }

 private:
  struct Opened {
    std::size_t begin = 0, length_bytes = 0;
  };
  Message message_;
  std::array<Opened, 4> opened_;
  std::size_t depth_ = 0;
};

struct CertificateProof {
  std::uint16_t scheme = 0;
  std::span<const std::uint8_t> signature;
};
// Of a CertificateVerify's body: RFC 8446, section 4.4.3; RFC 5246, section 7.4.8. Nothing where it is none.
inline std::optional<CertificateProof> read_certificate_verify(std::span<const std::uint8_t> body) {
  WireReader fields(body);
  CertificateProof read;
  read.scheme = static_cast<std::uint16_t>(fields.number(2));
  read.signature = fields.vector(2);
  if (!fields.whole()) return std::nullopt;
  return read;
}

}  // namespace sallyport
