#include "cache/shared/copy_reader.h"

namespace sallyport {

namespace {

constexpr std::string_view kSignature("PGCOPY\n\377\r\n\0", 11);
constexpr std::size_t kHeader = 19;  // signature, flags, length of an extension
constexpr std::uint32_t kNull = 0xFFFFFFFF;
constexpr std::uint16_t kTrailer = 0xFFFF;

std::uint32_t number(std::string_view bytes) {
  std::uint32_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

}  // namespace

bool CopyReader::feed(std::string_view piece, const std::function<bool(const Row&)>& take) {
  if (state_ == State::Broken || (state_ == State::End && !piece.empty())) return broken();
  held_.erase(0, from_);
  from_ = 0;
  held_ += piece;
  if (state_ == State::Header && held_.size() >= kHeader && !read_header()) return broken();
  while (state_ == State::Rows) {
    const auto read = read_row(take);
    if (!read) break;
    if (!*read) return broken();
  }
  if (state_ == State::End && from_ != held_.size()) return broken();
  return true;
}

// Flags say of object ids, which no supported version sends, and of what a reader must know; an extension may be
// passed over, and nobody sends one.
bool CopyReader::read_header() {
  const std::string_view header(held_);
  if (header.substr(0, kSignature.size()) != kSignature || number(header.substr(11, 4)) != 0 ||
      number(header.substr(15, 4)) != 0) {
    return false;
  }
  from_ = kHeader;
  state_ = State::Rows;
  return true;
}

std::optional<bool> CopyReader::read_row(const std::function<bool(const Row&)>& take) {
  std::string_view left = std::string_view(held_).substr(from_);
  const auto next = [&](std::size_t size) {
    const std::string_view part = left.substr(0, size);
    left.remove_prefix(size);
    return part;
  };
  if (left.size() < 2) return std::nullopt;
  const auto columns = static_cast<std::uint16_t>(number(next(2)));
  if (columns == kTrailer) {
    from_ = held_.size() - left.size();
    state_ = State::End;
    return true;
  }
  if (columns != columns_) return false;
  Row row;
  for (std::size_t i = 0; i < columns_; ++i) {
    if (left.size() < 4) return std::nullopt;
    const std::uint32_t length = number(next(4));
    if (length == kNull) {
      row.emplace_back();
      continue;
    }
    if (length > kMostBytes) return false;
    if (left.size() < length) return std::nullopt;
    row.emplace_back(next(length));
  }
  from_ = held_.size() - left.size();
  return take(row);
}

}  // namespace sallyport
