#include "proxy/proxy_protocol/proxy_writer.h"

#include <algorithm>

#include "cache/base/check.h"

namespace sallyport {

namespace {

using Bytes = std::span<const std::uint8_t>;

Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// Of which family both addresses can be written; 0: of none.
std::uint8_t version_of(const ProxyWords& words) {
  const std::uint8_t client = unmapped(words.client).version, destination = unmapped(words.destination).version;
  if (client == 0 || destination == 0) return 0;
  return client == 4 && destination == 4 ? 4 : 6;
}

std::size_t field_bytes(std::size_t value) {
  return value == 0 ? 0 : kProxyTlvHead + value;
}

// Of the field about TLS: flags, result of the verification, and its own fields.
std::size_t ssl_bytes(const ProxyWords& words) {
  return 5 + field_bytes(words.tls_version.size()) + field_bytes(words.common_name.size()) +
         field_bytes(words.cipher.size()) + field_bytes(words.certificate.size());
}

class Out {
 public:
  explicit Out(std::span<std::uint8_t> into) : into_(into) {}
  void byte(std::uint8_t value) { into_[at_++] = value; }
  void two(std::size_t value) {
    byte(static_cast<std::uint8_t>(value >> 8));
    byte(static_cast<std::uint8_t>(value));
  }
  void all(Bytes bytes) {
    std::copy(bytes.begin(), bytes.end(), into_.begin() + static_cast<std::ptrdiff_t>(at_));
    at_ += bytes.size();
  }
  void field(std::uint8_t type, Bytes value) {
    if (value.empty()) return;
    byte(type);
    two(value.size());
    all(value);
  }
  std::size_t written() const { return at_; }

 private:
  std::span<std::uint8_t> into_;
  std::size_t at_ = 0;
};

}  // namespace

std::size_t proxy_header_bytes(const ProxyWords& words) {
  const std::uint8_t version = version_of(words);
  const std::size_t addresses = version == 4 ? 12 : version == 6 ? 36 : 0;
  const std::size_t all = kProxyHead + addresses + kProxyTlvHead + ssl_bytes(words);
  const std::size_t most = words.certificate.empty() ? kProxyHeaderMost : kProxyHead + 0xFFFF;
  return all <= most ? all : 0;
}

std::size_t write_proxy_header(const ProxyWords& words, std::span<std::uint8_t> into) {
  const std::size_t length = proxy_header_bytes(words);
  CHECK(length > 0 && into.size() >= length);
  const std::uint8_t version = version_of(words);
  Out out(into);
  out.all(kProxySignature);
  out.byte(kProxyCommand);
  out.byte(version == 4 ? kProxyTcp4 : version == 6 ? kProxyTcp6 : kProxyUnspecified);
  out.two(length - kProxyHead);
  if (version != 0) {
    const InetAddress client = version == 4 ? unmapped(words.client) : mapped(words.client);
    const InetAddress destination = version == 4 ? unmapped(words.destination) : mapped(words.destination);
    out.all(client.bytes());
    out.all(destination.bytes());
    out.two(client.port);
    out.two(destination.port);
  }
  // Section 2.2.6: the verification's result is zero where a certificate was presented and good, and only there.
  out.byte(kProxyTlvSsl);
  out.two(ssl_bytes(words));
  out.byte(static_cast<std::uint8_t>(kProxyClientSsl | (words.proven ? kProxyClientCertSess : 0) |
                                     (words.proven && words.shown ? kProxyClientCertConn : 0)));
  out.two(0);
  out.two(words.proven ? 0 : 1);
  out.field(kProxySslVersion, bytes_of(words.tls_version));
  out.field(kProxySslCn, bytes_of(words.common_name));
  out.field(kProxySslCipher, bytes_of(words.cipher));
  out.field(kProxySslClientCert, words.certificate);
  CHECK(out.written() == length);
  return length;
}

}  // namespace sallyport
