// Any bytes as the beginning of a connection: the glances at a ClientHello stay inside them.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "proxy/client_hello.h"

namespace {

using Bytes = std::span<const std::uint8_t>;

// Reads every byte, so that the sanitizers see what is pointed at.
void within(Bytes part, Bytes whole) {
  if (part.empty()) return;
  if (part.data() < whole.data() || part.data() + part.size() > whole.data() + whole.size()) __builtin_trap();
  std::uint8_t sum = 0;
  for (const std::uint8_t byte : part) sum = static_cast<std::uint8_t>(sum + byte);
  if (sum == 0 && whole.size() == SIZE_MAX) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes whole(data, size);
  const auto key = sallyport::offered_ticket_key(whole);
  if (!key.empty() && key.size() != 16) __builtin_trap();
  within(key, whole);
  constexpr std::size_t kRecordHeader = 5;
  if (size < kRecordHeader) return 0;
  const auto hello = sallyport::plain_hello(whole.subspan(kRecordHeader));
  if (!hello) return 0;
  if (hello->share.size() != (hello->group == sallyport::Group::X25519 ? 32u : 65u) || hello->session_id.size() > 32 ||
      hello->signature_schemes.empty())
    __builtin_trap();
  within(hello->share, whole);
  within(hello->session_id, whole);
  within(hello->signature_schemes, whole);
  if (hello->server_name)
    within({reinterpret_cast<const std::uint8_t*>(hello->server_name->data()), hello->server_name->size()}, whole);
  return 0;
}
