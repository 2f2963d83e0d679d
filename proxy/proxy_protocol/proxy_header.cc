#include "proxy/proxy_protocol/proxy_header.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "proxy/proxy_protocol/proxy_wire.h"

namespace sallyport {

namespace {

using Bytes = std::span<const std::uint8_t>;
using State = ProxyHeaderProgress::State;

constexpr std::string_view kLineStart = "PROXY ";

ProxyHeaderProgress refused(std::string_view what) {
  return {.state = State::Refused, .header_bytes = 0, .proxied = {}, .what = what};
}
ProxyHeaderProgress complete(std::size_t bytes, const ProxiedConnection& proxied) {
  return {.state = State::Complete, .header_bytes = bytes, .proxied = proxied, .what = {}};
}

bool starts_alike(Bytes bytes, Bytes whole) {
  return std::equal(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(std::min(bytes.size(), whole.size())),
                    bytes.begin());
}

// What stands before the next space, or all of it; shortens `line` by it.
std::string_view next_word(std::string_view& line) {
  const std::string_view word = line.substr(0, line.find(' '));
  line.remove_prefix(std::min(line.size(), word.size() + 1));
  return word;
}

bool read_port(std::string_view word, std::uint16_t& port) {
  const bool plain = !word.empty() && word.size() <= 5 && (word.size() == 1 || word.front() != '0');
  const auto [end, failure] = std::from_chars(word.data(), word.data() + word.size(), port);
  return plain && failure == std::errc() && end == word.data() + word.size();
}

// inet_pton(3) takes one form of an IPv4 address, and no zone of an IPv6 one.
bool read_address(std::string_view word, std::uint8_t version, InetAddress& into) {
  char text[INET6_ADDRSTRLEN] = "";
  if (word.empty() || word.size() >= sizeof text || word.find('\0') != std::string_view::npos) return false;
  std::memcpy(text, word.data(), word.size());
  into.version = version;
  return ::inet_pton(version == 4 ? AF_INET : AF_INET6, text, into.ip.data()) == 1;
}

// Section 2.1.
ProxyHeaderProgress parse_line(Bytes bytes) {
  const std::string_view all(reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), kProxyLineMost));
  const std::size_t end = all.find("\r\n");
  if (end == std::string_view::npos) {
    return all.size() == kProxyLineMost ? refused("a PROXY line without an end") : ProxyHeaderProgress{};
  }
  std::string_view line = all.substr(kLineStart.size(), end - kLineStart.size());
  const std::string_view family = next_word(line);
  if (family == "UNKNOWN") return complete(end + 2, {});  // whatever stands behind it
  const std::uint8_t version = family == "TCP4" ? 4 : family == "TCP6" ? 6 : 0;
  if (version == 0) return refused("a PROXY line of neither TCP4, TCP6 nor UNKNOWN");
  const std::size_t spaces = static_cast<std::size_t>(std::count(line.begin(), line.end(), ' '));
  ProxiedConnection proxied;
  const bool addresses = spaces == 3 && read_address(next_word(line), version, proxied.client) &&
                         read_address(next_word(line), version, proxied.destination);
  if (!addresses || !read_port(next_word(line), proxied.client.port) || !read_port(line, proxied.destination.port)) {
    return refused("a PROXY line whose addresses cannot be read");
  }
  return complete(end + 2, proxied);
}

// Section 2.2.7: each has a type, a length and as many bytes, and they end where the header does. A checksum must hold.
std::string_view check_fields(Bytes header, std::size_t from) {
  for (std::size_t at = from; at < header.size();) {
    if (header.size() - at < kProxyTlvHead) return "a PROXY header whose fields do not fit";
    const std::size_t length = std::size_t{header[at + 1]} << 8 | header[at + 2];
    if (header.size() - at - kProxyTlvHead < length) return "a PROXY header whose fields do not fit";
    const std::size_t value = at + kProxyTlvHead;
    if (header[at] == kProxyTlvCrc32c && (length != 4 || proxy_crc32c(header, value) != read_be32(header, value))) {
      return "a PROXY header whose checksum does not hold";
    }
    at = value + length;
  }
  return {};
}

InetAddress read_binary(Bytes address, Bytes port, std::uint8_t version) {
  InetAddress out;
  std::copy(address.begin(), address.end(), out.ip.begin());
  out.port = static_cast<std::uint16_t>(port[0] << 8 | port[1]);
  out.version = version;
  return out;
}

// Section 2.2.
ProxyHeaderProgress parse_binary(Bytes bytes) {
  if (bytes.size() > 12 && bytes[12] >> 4 != 2) return refused("a PROXY header of an unknown version");
  if (bytes.size() > 12 && (bytes[12] & 0x0F) > 1) return refused("a PROXY header with an unknown command");
  if (bytes.size() < kProxyHead) return {};
  const std::size_t length = kProxyHead + (std::size_t{bytes[14]} << 8 | bytes[15]);
  if (length > kProxyHeaderTaken) return refused("a PROXY header of more than 4 KiB");
  if (bytes.size() < length) return {};
  const Bytes header = bytes.first(length);
  const bool local = (header[12] & 0x0F) == 0;
  const std::uint8_t family = header[13];
  if (local || family == kProxyUnspecified || family == kProxyUnixStream) return complete(length, {});
  if (family != kProxyTcp4 && family != kProxyTcp6) return refused("a PROXY header of something else than TCP");
  const std::uint8_t version = family == kProxyTcp4 ? 4 : 6;
  const std::size_t address = version == 4 ? 4 : 16;
  const std::size_t fields = kProxyHead + 2 * address + 4;
  if (length < fields) return refused("a PROXY header without its addresses");
  if (const std::string_view wrong = check_fields(header, fields); !wrong.empty()) return refused(wrong);
  const Bytes ports = header.subspan(kProxyHead + 2 * address, 4);
  return complete(length, {read_binary(header.subspan(kProxyHead, address), ports.first(2), version),
                           read_binary(header.subspan(kProxyHead + address, address), ports.last(2), version)});
}

}  // namespace

Begins begins_proxy_header(Bytes bytes) {
  const Bytes line(reinterpret_cast<const std::uint8_t*>(kLineStart.data()), kLineStart.size());
  for (const Bytes start : {line, Bytes(kProxySignature)}) {
    if (starts_alike(bytes, start)) return bytes.size() >= start.size() ? Begins::Yes : Begins::Perhaps;
  }
  return Begins::No;
}

ProxyHeaderProgress parse_proxy_header(Bytes bytes) {
  switch (begins_proxy_header(bytes)) {
    case Begins::No: return refused("no PROXY header from a peer that proxy_protocol_from names");
    case Begins::Perhaps: return {};
    case Begins::Yes: break;
  }
  return bytes[0] == kProxySignature[0] ? parse_binary(bytes) : parse_line(bytes);
}

}  // namespace sallyport
