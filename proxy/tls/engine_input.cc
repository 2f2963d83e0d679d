#include "proxy/tls/engine_input.h"

#include <algorithm>
#include <cstring>

namespace sallyport {

void EngineInput::hold_back_all_but_one_record() {
  if (lent_.size() <= RecordCipher::kHeaderBytes) return;
  const std::size_t record = std::min(RecordCipher::kHeaderBytes + record_length(lent_), lent_.size());
  held_back_ = lent_.size() - record;
  lent_ = lent_.first(record);
}

void EngineInput::release() {
  lent_ = {lent_.data(), lent_.size() + held_back_};
  held_back_ = 0;
}

std::size_t EngineInput::read(std::span<std::uint8_t> into) {
  const std::span<const std::uint8_t> from = torn_.empty() ? lent_ : torn_.bytes();
  const std::size_t n = std::min(from.size(), into.size());
  if (n == 0) return 0;
  std::memcpy(into.data(), from.data(), n);
  if (torn_.empty()) {
    lent_ = lent_.subspan(n);
  } else {
    torn_.consume(n);
  }
  return n;
}

}  // namespace sallyport
