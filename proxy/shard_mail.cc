// What other threads tell a shard: changes to put in force, questions, and the end.
#include "proxy/shard.h"

namespace sallyport {

void Shard::on_event(const IoResult&) {
  for (const Mail& mail : mailbox_.take()) read_mail(mail);
  ring_->read_event(mailbox_.event_fd(), event_count_, event_);
}

void Shard::read_mail(const Mail& mail) {
  std::uint64_t amount = 0;
  switch (mail.kind) {
    case Mail::Kind::PutInForce: carry_out(*mail.notice); break;
    case Mail::Kind::CountDevice: amount = index_.count_of_device(mail.id); break;
    case Mail::Kind::CountCa: amount = index_.count_below(mail.id); break;
    case Mail::Kind::Drain: drain(mail.limit_ms); break;
    case Mail::Kind::Stop:
      drain(0);
      shut_down_all(true);
      break;
  }
  // Last: the sender goes on, and what the mail pointed to may be gone.
  if (mail.reply != nullptr) mail.reply->answer(amount);
}

void Shard::carry_out(const Notice& notice) {
  if (notice.cas != nullptr) cas_ = notice.cas;
  for (const Cut& cut : notice.cuts) {
    const auto hit = cut.scope == Cut::Scope::Device ? index_.of_device(cut.id) : index_.owned_by(cut.id);
    for (Session* session : hit) {
      if (session->settings().config->cut_sessions) session->cut(cut.why);
    }
  }
  // A send that this turn prepared before the cut must not follow our answer: it goes now, or is cancelled.
  if (!notice.cuts.empty()) ring_->submit();
}

void Shard::drain(std::uint64_t limit_ms) {
  if (!draining_) {
    draining_ = true;
    stop_accepting();
    shut_down_all(false);
  }
  timers_.start(drain_limit_, limit_ms);
}

void Shard::on_drain_limit() {
  shut_down_all(true);
}

// Those that have not reached a broker are refused when the drain begins; the others when it ends.
void Shard::shut_down_all(bool also_served) {
  for (Session& session : slab_) {
    const bool served = session.state() == Session::State::Forwarding || session.state() == Session::State::Connecting;
    if (!served || also_served) session.shut_down();
  }
}

}  // namespace sallyport
