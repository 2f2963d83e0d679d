#include "proxy/tls/tls13_messages.h"

#include <openssl/rand.h>

#include <array>

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

std::optional<ClientCertificates> read_certificates(Bytes body) {
  WireReader fields(body);
  const Bytes context = fields.vector(1);
  WireReader list(fields.vector(3));
  if (!fields.whole() || !context.empty()) return std::nullopt;
  ClientCertificates read;
  while (!list.empty()) {
    const Bytes der = list.vector(3);
    const Bytes extensions = list.vector(2);
    if (list.missing() || der.empty()) return std::nullopt;
    read.ders.push_back(der);
    read.with_extensions = read.with_extensions || !extensions.empty();
  }
  return read;
}

}  // namespace sallyport
