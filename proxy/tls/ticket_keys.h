// The keys that TLS tickets are sealed with: shared by all shards, a new one every hour, each good for a day,
// in memory alone. One thread rotates; any thread reads, without locks: a slot is written only long after its
// last reader could have wanted it, and a reader that meets a half-written one takes it for none.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <span>

namespace sallyport {

// Every copy is wiped at its end.
struct TicketKey {
  std::array<std::uint8_t, 16> name{};
  std::array<std::uint8_t, 32> cipher{};  // AES-256-CBC
  std::array<std::uint8_t, 32> mac{};     // HMAC-SHA-256
  std::int64_t made_at = 0;               // Unix seconds

  ~TicketKey();
};

class TicketKeys {
 public:
  static constexpr std::int64_t kRotation = 3600;
  static constexpr std::int64_t kLife = 24 * 3600;

  explicit TicketKeys(std::int64_t now);
  ~TicketKeys();  // wipes them
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  // Makes a new key where the newest is an hour old. The one thread.
  void rotate(std::int64_t now);

  // Any thread. Nothing where even the newest is too old: then no ticket is issued.
  std::optional<TicketKey> newest(std::int64_t now) const;
  std::optional<TicketKey> find(std::span<const std::uint8_t> name, std::int64_t now) const;

 private:
  static constexpr std::size_t kSlots = 32;  // more than a day of hours
  static constexpr std::size_t kWords = 11;  // name, cipher, mac, made_at
  struct Slot {
    std::atomic<std::uint64_t> version{0};  // odd: being written; 0: never
    std::array<std::atomic<std::uint64_t>, kWords> words{};
  };
  std::optional<TicketKey> read(std::size_t slot) const;
  void write(std::size_t slot, std::int64_t now);

  std::array<Slot, kSlots> slots_;
  std::atomic<std::size_t> newest_{0};
};

}  // namespace sallyport
