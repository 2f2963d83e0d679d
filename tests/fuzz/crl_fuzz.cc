// Any bytes as a CRL: parsed or refused, never more than that.
#include <cstdint>
#include <string_view>

#include "cache/x509/crl.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto crl = sallyport::Crl::parse({reinterpret_cast<const char*>(data), size}, 1'800'000'000);
  if (!crl) return 0;
  for (const sallyport::CrlEntry& entry : crl->entries()) {
    if (entry.serial.empty() || entry.serial.size() > 128) __builtin_trap();
  }
  if (crl->older_than(crl->number(), crl->this_update())) __builtin_trap();
  return 0;
}
