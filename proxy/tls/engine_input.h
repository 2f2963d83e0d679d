// What a TlsEngine reads: the ciphertext that was lent to it last, and before that the beginning of a handshake's
// record, kept from earlier loans because the record was not whole. Our handshakes take whole records; OpenSSL takes
// bytes, those that were kept first. Pure; used by its engine alone.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "proxy/io/byte_buffer.h"
#include "proxy/tls/record_cipher.h"
#include "proxy/tls/record_layer.h"

namespace sallyport {

class EngineInput {
 public:
  // For the calls that follow, until the next lend().
  void lend(std::span<const std::uint8_t> ciphertext) {
    lent_ = ciphertext;
    held_back_ = 0;
  }
  void end() { ended_ = true; }  // after what is lent there is nothing more

  // What is lent and not read. The reader takes from its front.
  std::span<const std::uint8_t>& lent() { return lent_; }
  std::span<const std::uint8_t> lent() const { return lent_; }
  // Nothing comes after what is lent; not so while something is held back.
  bool ended() const { return ended_ && held_back_ == 0; }

  // Leaves the first record of what is lent: what comes behind it is as if it had not arrived, until release().
  void hold_back_all_but_one_record();
  void release();

  // The next record, whole, off the front; empty where it is not whole yet, and then what is there of it is kept.
  // `record_bytes` says of the bytes of a record's beginning how many it has at least. Good until the next call.
  template <typename RecordBytes>
  std::span<const std::uint8_t> next_record(const RecordBytes& record_bytes);
  void done_with_record() { torn_.release(); }
  // The record that next_record() gave last, as if it had never been taken.
  void put_back(std::span<const std::uint8_t> record) {
    if (torn_.empty()) lent_ = {record.data(), record.size() + lent_.size()};
  }

  // Copies what there is, up to the size of `into`; 0: nothing is there.
  std::size_t read(std::span<std::uint8_t> into);
  bool empty() const { return torn_.empty() && lent_.empty(); }

 private:
  ByteBuffer torn_;  // the beginning of a record
  std::span<const std::uint8_t> lent_;
  std::size_t held_back_ = 0;  // bytes behind lent_
  bool ended_ = false;
};

template <typename RecordBytes>
std::span<const std::uint8_t> EngineInput::next_record(const RecordBytes& record_bytes) {
  if (torn_.empty()) {
    const std::size_t bytes = record_bytes(lent_);
    if (lent_.size() >= bytes) {
      const auto record = lent_.first(bytes);
      lent_ = lent_.subspan(bytes);
      return record;
    }
  }
  // Its header first, which says how long it is.
  while (!lent_.empty()) {
    const std::size_t bytes = record_bytes(torn_.bytes());
    if (torn_.size() == bytes) break;
    const std::size_t n = std::min(lent_.size(), bytes - torn_.size());
    torn_.append(lent_.first(n));
    lent_ = lent_.subspan(n);
  }
  const bool whole = torn_.size() == record_bytes(torn_.bytes());
  return whole ? torn_.bytes() : std::span<const std::uint8_t>();
}

}  // namespace sallyport
