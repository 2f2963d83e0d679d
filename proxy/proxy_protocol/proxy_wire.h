// What a PROXY header of version 2 looks like on the wire, for its reader and its writer. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sallyport {

// Section 2.2 of the specification.
inline constexpr std::array<std::uint8_t, 12> kProxySignature = {0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D,
                                                                 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A};
inline constexpr std::size_t kProxyHead = 16;  // signature, version and command, family and protocol, length
inline constexpr std::uint8_t kProxyLocalCommand = 0x20, kProxyCommand = 0x21;
inline constexpr std::uint8_t kProxyUnspecified = 0x00, kProxyTcp4 = 0x11, kProxyTcp6 = 0x21, kProxyUnixStream = 0x31;

// Section 2.2.7.
inline constexpr std::size_t kProxyTlvHead = 3;
inline constexpr std::uint8_t kProxyTlvCrc32c = 0x03, kProxyTlvSsl = 0x20;
inline constexpr std::uint8_t kProxySslVersion = 0x21, kProxySslCn = 0x22, kProxySslCipher = 0x23,
                              kProxySslClientCert = 0x28;
inline constexpr std::uint8_t kProxyClientSsl = 0x01, kProxyClientCertConn = 0x02, kProxyClientCertSess = 0x04;

constexpr std::uint32_t read_be32(std::span<const std::uint8_t> bytes, std::size_t at) {
  return std::uint32_t{bytes[at]} << 24 | std::uint32_t{bytes[at + 1]} << 16 | std::uint32_t{bytes[at + 2]} << 8 |
         bytes[at + 3];
}

// CRC-32C of the header with the four bytes of the checksum itself, at `own`, as zeros. Bit by bit: a header is short,
// and there is one a connection at most.
constexpr std::uint32_t proxy_crc32c(std::span<const std::uint8_t> header, std::size_t own) {
  std::uint32_t sum = 0xFFFFFFFF;
  for (std::size_t i = 0; i < header.size(); ++i) {
    sum ^= i >= own && i < own + 4 ? 0U : header[i];
    for (int bit = 0; bit < 8; ++bit) sum = sum >> 1 ^ ((sum & 1) != 0 ? 0x82F63B78U : 0U);
  }
  return ~sum;
}

}  // namespace sallyport
