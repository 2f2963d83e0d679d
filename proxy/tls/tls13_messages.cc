#include "proxy/tls/tls13_messages.h"

#include <openssl/rand.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "proxy/tls/wire_reader.h"

namespace sallyport {

namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::uint64_t kLegacyVersion = 0x0303, kTls13 = 0x0304, kAes128GcmSha256 = 0x1301;

}  // namespace

Message server_hello(Bytes session_id, Group group, Bytes share, bool resumes) {
  std::array<std::uint8_t, 32> random;
  if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1) return {};
  MessageWriter message(HandshakeType::ServerHello);
  message.number(kLegacyVersion, 2);
  message.put(random);
  message.vector(session_id, 1);
  message.number(kAes128GcmSha256, 2);
  message.number(0, 1);  // no compression
  message.open(2);
  message.number(kSupportedVersions, 2);
  message.open(2);
  message.number(kTls13, 2);
  message.close();
  message.number(kKeyShare, 2);
  message.open(2);
  message.number(static_cast<std::uint64_t>(group), 2);
  message.vector(share, 2);
  message.close();
  if (resumes) {
    message.number(kPreSharedKey, 2);
    message.open(2);
    message.number(0, 2);  // selected_identity
    message.close();
  }
  message.close();
  return message.done();
}

Message encrypted_extensions(bool named) {
  MessageWriter message(HandshakeType::EncryptedExtensions);
  message.open(2);
  if (named) {
    message.number(kServerName, 2);
    message.number(0, 2);
  }
  message.close();
  return message.done();
}

Message certificate_request(std::span<const std::uint16_t> schemes) {
  MessageWriter message(HandshakeType::CertificateRequest);
  message.number(0, 1);  // certificate_request_context
  message.open(2);
  message.number(kSignatureAlgorithms, 2);
  message.open(2);
  message.open(2);
  for (const std::uint16_t scheme : schemes) message.number(scheme, 2);
  message.close();
  message.close();
  message.close();
  return message.done();
}

Message certificate(std::span<const std::vector<std::uint8_t>> chain) {
  MessageWriter message(HandshakeType::Certificate);
  message.number(0, 1);  // certificate_request_context
  message.open(3);
  for (const std::vector<std::uint8_t>& der : chain) {
    message.vector(der, 3);
    message.number(0, 2);  // extensions
  }
  message.close();
  return message.done();
}

Message certificate_verify(std::uint16_t scheme, Bytes signature) {
  MessageWriter message(HandshakeType::CertificateVerify);
  message.number(scheme, 2);
  message.vector(signature, 2);
  return message.done();
}

Message finished(Bytes mac) {
  MessageWriter message(HandshakeType::Finished);
  message.put(mac);
  return message.done();
}

Message new_session_ticket(std::uint32_t lifetime, std::uint32_t age_add, Bytes nonce, Bytes ticket) {
  MessageWriter message(HandshakeType::NewSessionTicket);
  message.number(lifetime, 4);
  message.number(age_add, 4);
  message.vector(nonce, 1);
  message.vector(ticket, 2);
  message.number(0, 2);  // extensions
  return message.done();
}

namespace {

// Section 4.2: one that is known, and that no Certificate has, is illegal; any other answers a question that we never
// ask.
TlsFailure extension_fault(std::size_t type) {
  static constexpr std::size_t kOfOtherMessages[] = {
      kServerName, kMaxFragmentLength, kSupportedGroups, kSignatureAlgorithms, kPreSharedKey,
      kEarlyData,  kSupportedVersions, kCookie,          kPskKeyExchangeModes, kSignatureAlgorithmsCert,
      kKeyShare};
  const bool of_another =
      std::find(std::begin(kOfOtherMessages), std::end(kOfOtherMessages), type) != std::end(kOfOtherMessages);
  if (of_another) return {SSL_R_BAD_EXTENSION, SSL_AD_ILLEGAL_PARAMETER};
  return {SSL_R_UNSOLICITED_EXTENSION, SSL_AD_UNSUPPORTED_EXTENSION};
}

// The first fault of an entry's extensions; nothing where they are malformed.
std::optional<TlsFailure> extensions_fault(Bytes content) {
  TlsFailure first;
  for (WireReader extensions(content); !extensions.empty();) {
    const std::size_t type = extensions.number(2);
    extensions.vector(2);
    if (extensions.missing()) return std::nullopt;
    if (first.reason == 0) first = extension_fault(type);
  }
  return first;
}

}  // namespace

std::optional<ClientCertificates> read_certificates(Bytes body) {
  WireReader fields(body);
  const Bytes context = fields.vector(1);
  WireReader list(fields.vector(3));
  if (!fields.whole()) return std::nullopt;
  ClientCertificates read;
  // Section 4.4.2: it is the CertificateRequest's, and ours is empty.
  if (!context.empty()) read.fault = {SSL_R_INVALID_CONTEXT, SSL_AD_ILLEGAL_PARAMETER};
  while (!list.empty()) {
    const Bytes der = list.vector(3);
    const auto fault = extensions_fault(list.vector(2));
    if (list.missing() || der.empty() || !fault) return std::nullopt;
    read.ders.push_back(der);
    if (read.fault.reason == 0) read.fault = *fault;
  }
  return read;
}

}  // namespace sallyport
