#include "proxy/tls/tls12_messages.h"

#include "proxy/tls/wire_reader.h"

namespace sallyport {

namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::uint64_t kTls12 = 0x0303;
constexpr std::uint8_t kNamedCurve = 3;                // RFC 8422, section 5.4
constexpr std::uint8_t kRsaSign = 1, kEcdsaSign = 64;  // ClientCertificateType; the latter for EdDSA, too

void extension(MessageWriter& message, Extension type, Bytes content) {
  message.number(type, 2);
  message.vector(content, 2);
}

}  // namespace

Message server_hello12(std::span<const std::uint8_t, 32> random, std::uint16_t suite, const Answered& answered) {
  static constexpr std::array<std::uint8_t, 1> kNoRenegotiationYet = {0};  // RFC 5746, section 3.6
  static constexpr std::array<std::uint8_t, 2> kUncompressed = {1, 0};
  MessageWriter message(HandshakeType::ServerHello);
  message.number(kTls12, 2);
  message.put(random);
  message.vector({}, 1);  // session_id
  message.number(suite, 2);
  message.number(0, 1);  // no compression
  message.open(2);
  extension(message, kRenegotiationInfo, kNoRenegotiationYet);
  if (answered.server_name) extension(message, kServerName, {});
  if (answered.point_formats) extension(message, kPointFormats, kUncompressed);
  if (answered.ticket) extension(message, kSessionTicket, {});
  extension(message, kExtendedMasterSecret, {});
  message.close();
  return message.done();
}

Message certificate12(std::span<const std::vector<std::uint8_t>> chain) {
  MessageWriter message(HandshakeType::Certificate);
  message.open(3);
  for (const std::vector<std::uint8_t>& der : chain) message.vector(der, 3);
  message.close();
  return message.done();
}

std::vector<std::uint8_t> key_exchange_params(Group group, Bytes share) {
  const auto code = static_cast<std::uint16_t>(group);
  std::vector<std::uint8_t> params = {kNamedCurve, static_cast<std::uint8_t>(code >> 8),
                                      static_cast<std::uint8_t>(code), static_cast<std::uint8_t>(share.size())};
  params.insert(params.end(), share.begin(), share.end());
  return params;
}

Message server_key_exchange(Bytes params, std::uint16_t scheme, Bytes signature) {
  MessageWriter message(HandshakeType::ServerKeyExchange);
  message.put(params);
  message.number(scheme, 2);
  message.vector(signature, 2);
  return message.done();
}

Message certificate_request12(std::span<const std::uint16_t> schemes) {
  static constexpr std::array<std::uint8_t, 2> kTypes = {kRsaSign, kEcdsaSign};
  MessageWriter message(HandshakeType::CertificateRequest);
  message.vector(kTypes, 1);
  message.open(2);
  for (const std::uint16_t scheme : schemes) message.number(scheme, 2);
  message.close();
  message.vector({}, 2);  // certificate_authorities
  return message.done();
}

Message server_hello_done() {
  return MessageWriter(HandshakeType::ServerHelloDone).done();
}

Message finished12(Bytes verify_data) {
  MessageWriter message(HandshakeType::Finished);
  message.put(verify_data);
  return message.done();
}

Message new_session_ticket12(std::uint32_t lifetime, Bytes ticket) {
  MessageWriter message(HandshakeType::NewSessionTicket);
  message.number(lifetime, 4);
  message.vector(ticket, 2);
  return message.done();
}

std::optional<std::vector<Bytes>> read_certificates12(Bytes body) {
  WireReader fields(body);
  WireReader list(fields.vector(3));
  if (!fields.whole()) return std::nullopt;
  std::vector<Bytes> ders;
  while (!list.empty()) {
    const Bytes der = list.vector(3);
    if (list.missing() || der.empty()) return std::nullopt;
    ders.push_back(der);
  }
  return ders;
}

std::optional<Bytes> read_key_exchange(Bytes body) {
  WireReader fields(body);
  const Bytes share = fields.vector(1);
  if (!fields.whole() || share.empty()) return std::nullopt;
  return share;
}

}  // namespace sallyport
