// What other threads tell a shard: changes to put in force, questions, and the end.
#include <algorithm>
#include <ctime>

#include "cache/standing/path_builder.h"
#include "proxy/shard/shard.h"
#include "proxy/shard/socket_options.h"

namespace sallyport {

void Shard::on_event(const IoResult&) {
  for (const Mail& mail : mailbox_.take()) read_mail(mail);
  io_->read_event(mailbox_.event_fd(), event_count_, event_);
}

void Shard::read_mail(const Mail& mail) {
  const std::uint64_t amount = std::visit([this](const auto& what) { return answer(what); }, mail.what);
  // Last: the sender goes on, and what the mail pointed to may be gone.
  if (mail.reply != nullptr) mail.reply->answer(amount);
}

std::uint64_t Shard::answer(const PutInForce& mail) {
  carry_out(*mail.notice);
  return 0;
}

std::uint64_t Shard::answer(const SetListener& mail) {
  set_listener(*mail.settings);
  return 0;
}

std::uint64_t Shard::answer(const SetTargets& mail) {
  brokers_.set(mail.upstream, mail.list);
  if (parts_.first) probes_.set(mail.upstream, mail.list);
  return 0;
}

std::uint64_t Shard::answer(const FindConfigs& mail) {
  const std::lock_guard lock(mail.found->mutex);
  for (const auto& [config, sessions] : configs_) mail.found->configs.insert(config);
  return 0;
}

std::uint64_t Shard::answer(const SetCutPace& mail) {
  cuts_per_second_ = mail.per_second;
  return 0;
}

std::uint64_t Shard::answer(const ClockSet&) {
  for (Session& session : slab_) {
    if (session.is_live()) session.look_again();
  }
  io_->submit();
  return 0;
}

std::uint64_t Shard::answer(const ListRejections& mail) {
  *mail.rejections = rejections_.all(mail.most);
  return 0;
}

std::uint64_t Shard::answer(const Drain& mail) {
  drain(mail.limit_ms);
  return 0;
}

std::uint64_t Shard::answer(const Stop&) {
  drain(0);
  shut_down_all();
  return 0;
}

void Shard::carry_out(const Notice& notice) {
  if (notice.cas != nullptr) cas_ = notice.cas;
  const std::uint64_t batch = ++cut_batches_begun_;
  std::uint64_t open = 0;
  for (const Cut& cut : notice.cuts) {
    const auto hit = cut.scope == Cut::Scope::Device ? index_.of_device(cut.id) : index_.owned_by(cut.id);
    for (Session* session : hit) {
      if (!cuts_sessions(session->settings().listener) || session->verdict() == nullptr) continue;
      const Reason why = cut.look_again ? recheck(*session->verdict(), session->own_now()) : cut.why;
      if (why == Reason::None) continue;
      session->cut_batch = batch;
      session->cut(why);
      ++open;
    }
  }
  if (open > 0) cut_batches_[batch] = {notice.durable_at, open};
  // A send that this turn prepared before the cut must not follow our answer: it goes now, or is cancelled.
  if (!notice.cuts.empty()) io_->submit();
}

namespace {

// What a broker is told of a device: servers that a reload names with it must get nothing of those before.
bool tells_the_same(const SessionSettings& a, const SessionSettings& b) {
  const UpstreamConfig& x = *a.upstream;
  const UpstreamConfig& y = *b.upstream;
  return a.config->client_id.text() == b.config->client_id.text() && x.username.text() == y.username.text() &&
         x.client_id.text() == y.client_id.text() && x.user_properties == y.user_properties &&
         x.proxy_protocol == y.proxy_protocol && x.proxy_protocol_certificate == y.proxy_protocol_certificate;
}

}  // namespace

// From here on new handshakes use these; those under way end with what they began with. Cut are the sessions that could
// not begin now: without a certificate where certificates are asked for, or below none of the CAs that are admitted
// now, whatever cut_sessions says, which is about a device's standing. One under way whose certificate was judged is
// one.
void Shard::set_listener(const SessionSettings& settings) {
  Listening& listening = listening_[settings.listener];
  const bool turns_mutual = listening.settings.auth == AuthMode::OneWay && settings.auth == AuthMode::Mutual;
  const bool other_cas = listening.admits.cas != settings.config->cas;
  for (Session& session : slab_) {
    if (!session.is_live() || session.settings().listener != settings.listener) continue;
    if (!tells_the_same(session.settings(), settings)) session.start_over();
  }
  listening.settings = settings;
  listening.admits.cas = settings.config->cas;
  if (listening.socket.valid()) watch_peers(listening.socket.handle(), *settings.config);
  if (!turns_mutual && !other_cas) return;
  for (Session& session : slab_) {
    if (!session.is_live() || session.settings().listener != settings.listener) continue;
    const bool shows_none = session.settings().auth == AuthMode::OneWay && settings.auth == AuthMode::Mutual;
    if (shows_none) {
      session.cut(Reason::NoCertificate);
    } else if (!is_admitted(listening.admits, session.verdict())) {
      session.cut(Reason::CaUnknown);
    }
  }
  io_->submit();
}

// As a new handshake is asked.
bool Shard::is_admitted(const Admits& admits, const Verdict* verdict) const {
  if (verdict == nullptr || verdict->chain_cas.empty()) return true;  // not judged, or refused
  const auto owner = cas_->find(verdict->chain_cas.front());
  return owner && PathBuilder::admitted(*cas_, admits, *owner, std::time(nullptr));
}

std::uint64_t Shard::answer(const CutSession& mail) {
  for (Session& session : slab_) {
    if (session.id != mail.id || !session.is_live()) continue;
    session.cut_by_operator();
    io_->submit();
    return 1;
  }
  return 0;
}

// Only who came before the newcomer, and is not the same device on the same way.
std::uint64_t Shard::answer(const CutClones& mail) {
  std::uint64_t cut = 0;
  for (Session* session : index_.of_device(mail.device)) {
    const DeviceUse& use = session->use();
    const bool older = use.order != 0 && use.order < mail.use.order && !use.same(mail.use);
    if (session->settings().listener != mail.listener || !older) continue;
    session->cut(Reason::Clone);
    ++cut;
  }
  if (cut > 0) io_->submit();
  return cut;
}

// Closing is paced: a CA of a million devices must not come back as a million handshakes at once.
void Shard::wants_farewell(Session& session) {
  farewells_.emplace_back(&session, session.id);
  pace_farewells();
}

void Shard::pace_farewells() {
  const std::uint64_t now = now_us();
  const auto pace = static_cast<double>(cuts_per_second_);
  const double most = std::max(1.0, pace / 10);  // a handful is closed at once
  farewell_allowance_ += static_cast<double>(now - allowance_at_us_) * 1e-6 * pace;
  farewell_allowance_ = std::min(farewell_allowance_, most);
  allowance_at_us_ = now;
  while (!farewells_.empty() && farewell_allowance_ >= 1) {
    const auto [session, id] = farewells_.front();
    farewells_.pop_front();
    // It may have ended by itself meanwhile, and the slab's place may be another's.
    if (session->id != id || session->state() != Session::State::Halted) continue;
    farewell_allowance_ -= 1;
    session->farewell();
  }
  closing_.set(farewells_.size());
  if (!farewells_.empty() && !farewell_timer_.running())
    timers_.start(farewell_timer_, now_us() / 1000, TimerWheel::kTickMs);
}

// The last one of a notice to be closed says how long the whole cut took.
void Shard::count_closed(Session& session) {
  const auto batch = cut_batches_.find(std::exchange(session.cut_batch, 0));
  if (batch == cut_batches_.end() || --batch->second.open > 0) return;
  const auto took = std::chrono::steady_clock::now() - batch->second.durable_at;
  counters_.cut.record(static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(took).count()));
  cut_batches_.erase(batch);
}

void Shard::drain(std::uint64_t limit_ms) {
  if (!draining_) {
    draining_ = true;
    stop_accepting();
    probes_.stop();
    for (const bool served : {true, false}) {
      for (Session& session : slab_) {
        if (session.is_live() && (session.state() == Session::State::Forwarding) == served) {
          leaving_.emplace_back(&session, session.id);
        }
      }
    }
  }
  drain_began_us_ = now_us();
  drain_limit_us_ = limit_ms * 1000;
  leaving_.erase(leaving_.begin(), leaving_.begin() + static_cast<std::ptrdiff_t>(left_));
  left_ = 0;
  timers_.start(drain_limit_, now_us() / 1000, limit_ms);
  pace_drain();
}

// An even pace: whoever comes back in its turn finds others who have room. Those without a broker come last, for they
// may be in the middle of a handshake, and it costs them a failed attempt.
void Shard::pace_drain() {
  const std::uint64_t passed = std::min(now_us() - drain_began_us_, drain_limit_us_);
  const std::size_t due = drain_limit_us_ == 0 ? leaving_.size()
                                               : static_cast<std::size_t>(static_cast<double>(leaving_.size()) *
                                                                          static_cast<double>(passed) /
                                                                          static_cast<double>(drain_limit_us_));
  for (; left_ < due; ++left_) {
    const auto [session, id] = leaving_[left_];
    if (session->id == id) session->leave();  // else it has left, and the slab's place is another's
  }
  if (left_ < leaving_.size()) timers_.start(drain_pace_, now_us() / 1000, TimerWheel::kTickMs);
}

void Shard::on_drain_limit() {
  shut_down_all();
}

void Shard::shut_down_all() {
  drain_over_ = true;
  for (Session& session : slab_) session.shut_down();
}

}  // namespace sallyport
