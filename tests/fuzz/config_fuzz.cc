// Any bytes as a configuration: parsed or refused with positions, never a crash.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "proxy/config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const sallyport::ConfigReport report = sallyport::parse_config(text, "fuzz.toml");
  for (const auto& problem : report.problems) {
    if (to_string(problem, "fuzz.toml").empty()) __builtin_trap();
  }
  return 0;
}
