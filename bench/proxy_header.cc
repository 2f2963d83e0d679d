// What does the PROXY header cost a session: written before its CONNECT, and read where a balancer sends one?
//
// Expected, from the pieces: the writer copies about 120 bytes in a dozen pieces, below 50 ns, and the buffer that
// holds header and CONNECT is allocated and the CONNECT copied into it, another 50 ns. The reader of version 2 looks at
// each field's length, 20 ns; a checksum is taken bit by bit, 8 steps a byte: 1 us for 140 bytes. A line of version 1
// goes through inet_pton twice: 200 ns. The limit that was set is 3 us; a handshake costs 400.
#include "proxy/proxy_protocol/proxy_header.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bench/scale.h"
#include "proxy/io/byte_buffer.h"
#include "proxy/proxy_protocol/proxy_writer.h"

namespace sallyport::bench {
namespace {

using namespace std::string_literals;

ProxyWords words() {
  ProxyWords out;
  out.client.version = out.destination.version = 4;
  out.client.ip = {192, 0, 2, 1};
  out.destination.ip = {198, 51, 100, 2};
  out.tls_version = "TLSv1.3";
  out.cipher = "TLS_AES_128_GCM_SHA256";
  out.proven = out.shown = true;
  out.common_name = "meter-00004711";
  return out;
}

// As a session does it: into a buffer of its own, with the CONNECT behind it.
void write_before_connect(benchmark::State& state) {
  const ProxyWords said = words();
  ByteBuffer connect;
  connect.append(std::vector<std::uint8_t>(60, 1));
  for (auto _ : state) {
    ByteBuffer both;
    const std::size_t length = proxy_header_bytes(said);
    write_proxy_header(said, both.prepare(length + connect.size()));
    both.commit(length);
    both.append(connect.bytes());
    benchmark::DoNotOptimize(both.data());
  }
  state.SetLabel(std::to_string(proxy_header_bytes(said)) + " bytes");
}
BENCHMARK(write_before_connect);

void read(benchmark::State& state, const std::string& bytes) {
  const std::span<const std::uint8_t> all(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  for (auto _ : state) {
    auto view = all;
    benchmark::DoNotOptimize(view);
    if (parse_proxy_header(view).state != ProxyHeaderProgress::State::Complete) {
      state.SkipWithError("not read");
      break;
    }
  }
  state.SetLabel(std::to_string(bytes.size()) + " bytes");
}

std::string written() {
  std::string out(proxy_header_bytes(words()), '\0');
  write_proxy_header(words(), {reinterpret_cast<std::uint8_t*>(out.data()), out.size()});
  return out;
}
std::string checked() {
  std::string out = written();
  const std::size_t value = out.size() + 3;
  out += "\3\0\4\0\0\0\0"s;
  const std::size_t length = out.size() - kProxyHead;
  out[14] = static_cast<char>(length >> 8);
  out[15] = static_cast<char>(length);
  const std::uint32_t sum = proxy_crc32c({reinterpret_cast<const std::uint8_t*>(out.data()), out.size()}, value);
  for (std::size_t i = 0; i < 4; ++i) out[value + i] = static_cast<char>(sum >> (24 - 8 * i));
  return out;
}
BENCHMARK_CAPTURE(read, v1, "PROXY TCP4 192.0.2.1 198.51.100.2 12345 8883\r\n"s);
BENCHMARK_CAPTURE(read, v2, written());
BENCHMARK_CAPTURE(read, v2_with_checksum, checked());

}  // namespace
}  // namespace sallyport::bench

BENCHMARK_MAIN();
