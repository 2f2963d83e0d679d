// PostgreSQL's binary COPY format (its manual, "COPY", "Binary Format"), taken apart as it comes in, in pieces of any
// size. What the other side sends is bounded: a field that is longer than kMostBytes ends it. No thread, no socket.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport {

class CopyReader {
 public:
  static constexpr std::size_t kMostBytes = 16 << 20;  // of a field: no row of the registry comes near
  using Row = std::vector<std::optional<std::string_view>>;

  explicit CopyReader(std::size_t columns) : columns_(columns) {}
  // Calls `take` for each row that is complete by now. False: it is not this format, or `take` returned false.
  bool feed(std::string_view piece, const std::function<bool(const Row&)>& take);
  bool finished() const { return state_ == State::End; }  // the trailer has come

 private:
  enum class State : std::uint8_t { Header, Rows, End, Broken };
  bool broken() {
    state_ = State::Broken;
    return false;
  }
  bool read_header();
  // None: the row is not whole yet.
  std::optional<bool> read_row(const std::function<bool(const Row&)>& take);

  const std::size_t columns_;
  State state_ = State::Header;
  std::string held_;      // what is not taken apart yet
  std::size_t from_ = 0;  // of it
};

}  // namespace sallyport
