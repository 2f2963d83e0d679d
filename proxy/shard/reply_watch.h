// Whether a shard has a moment for the broker's answer to what it has just passed on, before it takes a handshake's
// next step or goes to sleep. An answer that comes at once saves the sleep and the waking, and it does not have to wait
// for a signature. What happens teaches it whether answers do: a broker that says nothing, or is far away, costs no
// time. Times are the steady clock's, in microseconds. Used by its shard's thread alone.
#pragma once

#include <cstdint>

namespace sallyport {

class ReplyWatch {
 public:
  // The longest wait; and what counts as at once, where nobody waited and being woken is part of it.
  static constexpr std::uint64_t kMostUs = 80, kPromptUs = 120;
  // And the longest time awake: whose answer has not come by then may be waiting for this very processor.
  static constexpr std::uint64_t kAwakeUs = 60;
  // So many prompt answers more than others, and it is waited for them; what one that was not prompt takes back.
  static constexpr int kTrusted = 8, kSure = 16, kMiss = 4;
  // Of all time, one part in so many is spent waiting at most, and so much of it at once.
  static constexpr std::uint64_t kShare = 8, kMostAllowanceUs = 2000;
  // Where those who ask do so more often, being awake for an answer costs more than it saves.
  static constexpr std::uint64_t kRarelyUs = 200;

  // `beside`: what answers has a processor to run on while the shard stays awake.
  explicit ReplyWatch(bool beside) : beside_(beside) {}

  // Bytes of a session that has been there for a while go to its broker.
  void asked(std::uint64_t now_us);
  // Such bytes go to a client.
  void answered(std::uint64_t now_us);
  // The shard did something else for a while: how long the answer takes says nothing.
  void distracted() { distracted_ = true; }

  // Before each decision: grants what time has earned, and notices an answer that was waited for in vain.
  void look(std::uint64_t now_us);
  // How much longer to wait for an answer; 0: not at all. Where something is put off, as long as that may be.
  std::uint64_t patience_us(std::uint64_t now_us) const;
  // How much of that patience is to be spent awake, where there is nothing else to do; and what was.
  std::uint64_t awake_us(std::uint64_t patience_us) const {
    constexpr std::uint64_t kAsleepUs = kMostUs - kAwakeUs;
    return beside_ && rare_ && patience_us > kAsleepUs ? patience_us - kAsleepUs : 0;
  }
  void waited(std::uint64_t us);
  // Whether something else, which is due, is put off for an answer: never for longer than kMostUs, however many more
  // are asked for meanwhile. All of that time is counted as spent. Looks first.
  bool puts_off(std::uint64_t now_us);
  bool putting_off() const { return put_off_at_us_ != 0; }
  void nothing_due() { put_off_at_us_ = 0; }

 private:
  // There is a question, its answer is likely to come at once, and there is time to spend on it.
  bool worth_waiting() const { return pending_ && score_ >= kTrusted && allowance_us_ >= kMostUs; }
  void missed();

  const bool beside_;
  bool pending_ = false;     // asked and not answered
  bool distracted_ = false;  // since then
  bool rare_ = false;        // the last question came a while after the one before it
  std::uint64_t asked_at_us_ = 0;
  std::uint64_t put_off_at_us_ = 0;  // since when something is; 0: nothing is
  std::uint64_t allowance_us_ = 0, allowed_at_us_ = 0;
  int score_ = 0;
};

}  // namespace sallyport
