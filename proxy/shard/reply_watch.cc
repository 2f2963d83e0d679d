#include "proxy/shard/reply_watch.h"

#include <algorithm>

namespace sallyport {

void ReplyWatch::asked(std::uint64_t now_us) {
  const std::uint64_t since = now_us - asked_at_us_;
  if (pending_ && !distracted_ && since > kPromptUs) missed();
  rare_ = since >= kRarelyUs;
  pending_ = true;
  distracted_ = false;
  asked_at_us_ = now_us;
}

void ReplyWatch::answered(std::uint64_t now_us) {
  if (!pending_) return;
  pending_ = false;
  if (distracted_) return;
  if (now_us - asked_at_us_ <= kPromptUs) {
    score_ = std::min(score_ + 1, kSure);
  } else {
    missed();
  }
}

void ReplyWatch::look(std::uint64_t now_us) {
  const std::uint64_t gained = (now_us - allowed_at_us_) / kShare;
  allowance_us_ = std::min(allowance_us_ + gained, kMostAllowanceUs);
  allowed_at_us_ += gained * kShare;  // the rest counts the next time: turns are short
  if (!worth_waiting() || now_us - asked_at_us_ < kMostUs) return;
  pending_ = false;
  missed();
}

std::uint64_t ReplyWatch::patience_us(std::uint64_t now_us) const {
  if (!worth_waiting()) return 0;
  // From the question on; and what is put off waits no longer for the questions after it.
  const std::uint64_t since = now_us - (putting_off() ? std::min(put_off_at_us_, asked_at_us_) : asked_at_us_);
  return since < kMostUs ? kMostUs - since : 0;
}

void ReplyWatch::waited(std::uint64_t us) {
  allowance_us_ -= std::min(allowance_us_, us);
}

bool ReplyWatch::puts_off(std::uint64_t now_us) {
  look(now_us);
  if (patience_us(now_us) > 0) {
    if (!putting_off()) put_off_at_us_ = now_us;
    return true;
  }
  if (putting_off()) waited(now_us - put_off_at_us_);
  put_off_at_us_ = 0;
  return false;
}

void ReplyWatch::missed() {
  score_ = std::max(score_ - kMiss, 0);
}

}  // namespace sallyport
