#include "proxy/shard/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

namespace sallyport {

std::string session_id(std::uint64_t id) {
  std::string digits(16, '0');
  for (std::size_t i = 16; i-- > 0; id >>= 4) digits[i] = "0123456789abcdef"[id & 15];
  return digits;
}

Mailbox::Mailbox() : event_fd_(::eventfd(0, EFD_CLOEXEC)) {}
Mailbox::~Mailbox() {
  ::close(event_fd_);
}

bool Mailbox::post(const Mail& mail) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    if (mail.reply != nullptr) mail.reply->expect();
    mails_.push_back(mail);
  }
  const std::uint64_t one = 1;
  // An eventfd's counter only refuses at 2^64 - 1.
  [[maybe_unused]] const ssize_t written = ::write(event_fd_, &one, sizeof one);
  return true;
}

std::vector<Mail> Mailbox::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(mails_, {});
}

std::vector<Mail> Mailbox::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  return std::exchange(mails_, {});
}

}  // namespace sallyport
