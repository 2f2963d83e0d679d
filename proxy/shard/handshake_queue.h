// Whose handshake takes its next step. In order of arrival while few wait; in a storm those go first who cost least
// or have cost most already: a device with one of our tickets, then who is in its second flight, whose signatures
// are paid for. Who comes with neither still gets every fourth step. Used by its shard's thread alone.
#pragma once

#include <array>
#include <cstdint>
#include <deque>

namespace sallyport {

class Session;

class HandshakeQueue {
 public:
  enum class Rank : std::uint8_t { Ticket, Underway, Fresh };
  // Up to here the order of arrival is fair and short enough.
  static constexpr std::size_t kShort = 8;

  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }
  bool is_long() const { return size_ >= kShort; }
  // A session is in it at most once: its own mark says so.
  void push(Session& session, Rank rank);
  // Not when empty.
  Session& pop();

 private:
  static constexpr std::uint64_t kPatienceSteps = 4;
  struct Waiting {
    Session* session;
    std::uint64_t arrived;
  };
  std::array<std::deque<Waiting>, 3> ranks_;
  std::size_t size_ = 0;
  std::uint64_t arrivals_ = 0, steps_ = 0;
};

}  // namespace sallyport
