// The PROXY header of version 2 that a broker gets before a session's first byte: whose connection it is, and which
// certificate it proved to have. Its form suits the strictest reader we know, Mosquitto 2.1 (README.md). Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "proxy/proxy_protocol/inet_address.h"
#include "proxy/proxy_protocol/proxy_wire.h"

namespace sallyport {

// What a broker is told. The texts and the certificate are borrowed.
struct ProxyWords {
  InetAddress client, destination;
  std::string_view tls_version;               // "TLSv1.3"
  std::string_view cipher;                    // as OpenSSL names it
  bool proven = false;                        // it has proven that it holds the key of a certificate in good standing
  bool shown = false;                         // … over this connection, and not by a ticket
  std::string_view common_name;               // of that certificate
  std::span<const std::uint8_t> certificate;  // the same in DER; empty: it is not passed on
};

// Mosquitto 2.1 refuses more. A header without the certificate never has.
inline constexpr std::size_t kProxyHeaderMost = 500;

// What write_proxy_header() writes; 0 where it cannot be said in a header: without a certificate it would have more
// than kProxyHeaderMost bytes, with one more than 64 KiB.
std::size_t proxy_header_bytes(const ProxyWords& words);
// `into` has room for proxy_header_bytes(). Returns what it wrote.
std::size_t write_proxy_header(const ProxyWords& words, std::span<std::uint8_t> into);

// Who asks the broker something on its own: from 127.0.0.1 to the same, without a port.
inline constexpr std::array<std::uint8_t, kProxyHead + 12> kProxyOwnHeader = {
    0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A, kProxyCommand, kProxyTcp4, 0, 12,
    127,  0,    0,    1,    127,  0,    0,    1,    0,    0,    0,    0};
// Who connects only to see whether the broker is there: it speaks for nobody.
inline constexpr std::array<std::uint8_t, kProxyHead> kProxyLocalHeader = {
    0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A, kProxyLocalCommand, kProxyUnspecified,
    0,    0};

}  // namespace sallyport
