// Any bytes as the beginning of a connection: the glances at a ClientHello stay inside them.
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
#include <string_view>

#include "proxy/tls/client_hello.h"
#include "proxy/tls/client_rules.h"
#include "proxy/tls/tls12_client_hello.h"

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

void within(const std::optional<std::string_view>& name, Bytes whole) {
  if (name) within({reinterpret_cast<const std::uint8_t*>(name->data()), name->size()}, whole);
}

void check(const sallyport::PlainHello& hello, Bytes whole) {
  const std::size_t share = hello.group == sallyport::Group::X25519 ? 32
                            : hello.group == sallyport::Group::P256 ? 65
                                                                    : 1184 + 32;
  if (hello.share.size() != share || hello.session_id.size() > 32 || hello.signature_schemes.empty()) __builtin_trap();
  within(hello.share, whole);
  within(hello.session_id, whole);
  within(hello.signature_schemes, whole);
  within(hello.server_name, whole);
}
void check(const sallyport::PlainHello12& hello, Bytes whole) {
  if ((hello.group == sallyport::Group::P256 && !hello.p256) || (!hello.ecdsa && !hello.rsa) ||
      hello.signature_schemes.empty() || hello.signature_schemes.size() % 2 != 0)
    __builtin_trap();
  within(hello.signature_schemes, whole);
  within(hello.server_name, whole);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes whole(data, size);
  const sallyport::TicketOffer offer = sallyport::offered_ticket(whole);
  within(offer.first.ticket, whole);
  within(offer.first.binder, whole);
  within(offer.message, whole);
  if (offer.first.binders_at > offer.message.size()) __builtin_trap();
  constexpr std::size_t kRecordHeader = 5;
  if (size < kRecordHeader) return 0;
  const auto hello13 = sallyport::plain_hello(whole.subspan(kRecordHeader), true);
  const auto hello12 = sallyport::plain_hello12(whole.subspan(kRecordHeader));
  if (hello13 && hello12) __builtin_trap();  // it is of one version
  // What is ours breaks no rule that OpenSSL's clients are held to.
  if ((hello13 || hello12) && sallyport::rule_broken_by_hello(whole.subspan(kRecordHeader))) __builtin_trap();
  (void)sallyport::rule_broken_by_key_exchange(whole);
  (void)sallyport::rule_broken_by_certificate(whole);
  if (hello13) check(*hello13, whole);
  if (hello12) check(*hello12, whole);
  return 0;
}
