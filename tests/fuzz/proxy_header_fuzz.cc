// Any bytes before TLS: a PROXY header is judged the same however it is cut, is never longer than we hold, and what is
// written of any words is read again to the same addresses.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "proxy/proxy_protocol/proxy_header.h"
#include "proxy/proxy_protocol/proxy_writer.h"
#include "proxy/session/first_bytes.h"

using namespace sallyport;
using State = ProxyHeaderProgress::State;

namespace {

void require(bool holds) {
  if (!holds) __builtin_trap();
}

InetAddress address(std::span<const std::uint8_t>& data) {
  InetAddress out;
  if (data.size() < 19) return out;
  out.version = data[0] % 3 == 0 ? 4 : data[0] % 3 == 1 ? 6 : 0;
  for (std::size_t i = 0; i < (out.version == 4 ? 4U : out.version == 6 ? 16U : 0U); ++i) out.ip[i] = data[1 + i];
  if (out.known()) out.port = static_cast<std::uint16_t>(data[17] << 8 | data[18]);
  data = data.subspan(19);
  return out;
}

std::string_view text(std::span<const std::uint8_t>& data) {
  if (data.empty()) return {};
  const std::size_t n = std::min<std::size_t>(data[0] * 2U, data.size() - 1);
  const std::string_view out(reinterpret_cast<const char*>(data.data()) + 1, n);
  data = data.subspan(1 + n);
  return out;
}

void parse(std::span<const std::uint8_t> all) {
  const ProxyHeaderProgress whole = parse_proxy_header(all);
  require((whole.state == State::Refused) == !whole.what.empty());
  if (whole.state == State::Complete) {
    require(whole.header_bytes <= all.size() && whole.header_bytes <= kProxyHeaderTaken);
    require(whole.proxied.client.version == whole.proxied.destination.version);
    const ProxyHeaderProgress alone = parse_proxy_header(all.first(whole.header_bytes));
    require(alone.state == State::Complete && alone.proxied.client == whole.proxied.client);
    for (std::size_t n = 0; n < whole.header_bytes; ++n) {
      require(parse_proxy_header(all.first(n)).state == State::NeedMore);
    }
  }
  const ProxyHeaderProgress half = parse_proxy_header(all.first(all.size() / 2));
  require(half.state != State::Refused || whole.state == State::Refused);
  require(half.state != State::Complete || whole.state == State::Complete);
  const FirstBytes first = look_at_first_bytes(all);
  require(!first.undecided || all.size() < 32);
}

void write(std::span<const std::uint8_t> data) {
  ProxyWords words;
  words.client = address(data);
  words.destination = address(data);
  words.tls_version = text(data);
  words.cipher = text(data);
  words.common_name = text(data);
  words.proven = !data.empty() && data[0] % 2 == 0;
  words.shown = !data.empty() && data[0] % 4 == 0;
  if (!data.empty() && data[0] % 8 == 0) words.certificate = data;
  const std::size_t length = proxy_header_bytes(words);
  require(length <= kProxyHeaderMost || !words.certificate.empty());
  if (length == 0 || length > kProxyHeaderTaken) return;
  std::vector<std::uint8_t> header(length);
  require(write_proxy_header(words, header) == length);
  const ProxyHeaderProgress read = parse_proxy_header(header);
  require(read.state == State::Complete && read.header_bytes == length);
  const bool known = unmapped(words.client).known() && unmapped(words.destination).known();
  require(read.proxied.client.known() == known);
  if (known) {
    require(unmapped(read.proxied.client) == unmapped(words.client));
    require(unmapped(read.proxied.destination) == unmapped(words.destination));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  parse({data, size});
  write({data, size});
  return 0;
}
