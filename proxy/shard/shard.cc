#include "proxy/shard/shard.h"

#include <arpa/inet.h>
#include <openssl/x509.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>

#include "cache/base/check.h"
#include "cache/x509/issuer_line.h"
#include "cache/x509/plain_leaf.h"
#include "proxy/io/epoll.h"
#include "proxy/io/ring.h"
#include "proxy/shard/handshake_rank.h"
#include "proxy/shard/socket_options.h"

namespace sallyport {

namespace {

std::uint64_t steady_us() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

constexpr std::uint64_t kLongestWaitMs = 128;        // eight ticks are looked through for the next timer
constexpr std::uint64_t kEstablishedUs = 1'000'000;  // from accept on: whose CONNECT is long past
constexpr std::uint64_t kAloneUs = 100'000;          // without a byte of those who are established
constexpr std::uint64_t kAccountUs = 2'000'000;      // over which the busy ratio is taken

}  // namespace

std::string peer_text(const sockaddr_storage& peer) {
  char text[INET6_ADDRSTRLEN] = "";
  if (peer.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(peer);
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return std::string(text) + ":" + std::to_string(ntohs(v4.sin_port));
  }
  if (peer.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(peer);
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    return "[" + std::string(text) + "]:" + std::to_string(ntohs(v6.sin6_port));
  }
  return "unknown";
}

Shard::Shard(ShardParts parts, std::vector<int> listening, Logger& log)
    : parts_(parts),
      log_(log),
      cas_(parts.registrar->ca_set()),
      timers_(steady_us() / 1000),
      brokers_(*parts.upstreams),
      replies_(parts.cpus > 1),
      scratch_(std::make_unique_for_overwrite<std::uint8_t[]>(kScratchBytes)),
      refusal_log_(parts.config->listeners.size()) {
  counters_.listeners = std::vector<ListenerCounters>(parts.config->listeners.size());
  for (std::size_t i = 0; i < listening.size(); ++i) {
    Listening& entry = listening_.emplace_back();
    const ListenerConfig& config = *(*parts.listeners)[i].config;
    entry.shard = this;
    entry.number = i;
    entry.socket = Socket(listening[i]);
    entry.settings = (*parts.listeners)[i];
    entry.admits.cas = config.cas;
    for (Accepting& accepting : entry.accepting) {
      accepting.listening = &entry;
      accepting.accepted.arm<&Accepting::on_accepted>(accepting);
    }
  }
  event_.arm<&Shard::on_event>(*this);
  accept_again_.arm<&Shard::on_accept_again>(*this);
  drain_limit_.arm<&Shard::on_drain_limit>(*this);
  drain_pace_.arm<&Shard::pace_drain>(*this);
  farewell_timer_.arm<&Shard::pace_farewells>(*this);
  left_out_timer_.arm<&Shard::say_left_out>(*this);
  cuts_per_second_ = parts.config->cuts_per_second;
}

Shard::~Shard() {
  join();
  for (Listening& listening : listening_) {
    if (listening.socket.valid()) ::close(listening.socket.handle());
  }
}

Answer<void> Shard::start() {
  std::promise<Answer<void>> ready;
  auto answer = ready.get_future();
  // The ring belongs to the thread that makes it (IORING_SETUP_SINGLE_ISSUER).
  thread_ = std::thread([this, ready = std::move(ready)]() mutable { run(std::move(ready)); });
  return answer.get();
}

Answer<void> Shard::can_have_rings(const Capacity& capacity, unsigned shards) {
  std::vector<std::unique_ptr<Ring>> rings;
  while (rings.size() < shards) {
    auto ring = Ring::create(capacity.direct_per_shard);
    if (!ring) return ring.error();
    rings.push_back(std::move(*ring));
  }
  return {};
}

Answer<std::unique_ptr<ShardIo>> Shard::make_io() {
  if (parts_.config->io != IoEngine::Epoll) {
    auto ring = Ring::create(parts_.capacity.direct_per_shard);
    if (ring) return std::unique_ptr<ShardIo>(std::move(*ring));
    if (parts_.config->io == IoEngine::IoUring) return ring.error();
    if (!parts_.said_without_ring->exchange(true)) {
      log_.warn("io-epoll",
                {{"why", ring.error().what}, {"means", "epoll in its place: more CPU, and fewer connections at once"}});
    }
  }
  auto epoll = Epoll::create();
  return epoll ? Answer<std::unique_ptr<ShardIo>>(std::move(*epoll)) : epoll.error();
}

void Shard::join() {
  if (thread_.joinable()) thread_.join();
}

std::uint64_t Shard::now_us() {
  return steady_us();
}
std::int64_t Shard::unix_now() {
  return std::time(nullptr);
}

void Shard::run(std::promise<Answer<void>> ready) {
  auto made = make_io();
  if (!made) {
    mailbox_.close();
    ready.set_value(made.error());
    finished_ = true;
    return;
  }
  io_ = std::move(*made);
  ::prctl(PR_SET_NAME, ("shard-" + std::to_string(parts_.number)).c_str());
  ::prctl(PR_SET_TIMERSLACK, 1UL);  // its waits of some microseconds would be 50 longer: timerslack in prctl(2)
  connections_max_ = io_->has_direct() ? parts_.capacity.connections_max : parts_.capacity.plain_max;
  timers_.advance(now_us() / 1000);
  io_->read_event(mailbox_.event_fd(), event_count_, event_);
  for (Listening& listening : listening_) start_accepting(listening);
  for (std::size_t i = 0; parts_.first && i < brokers_.count(); ++i) probes_.set(i, &brokers_.list(i));
  ready.set_value({});
  while (!stopping_ || sessions_.get() > 0) turn();
  for (const Mail& mail : mailbox_.close()) read_mail(mail);
  say_left_out();
  io_.reset();  // with it everything still in flight ends
  for (Listening& listening : listening_) {
    if (listening.socket.valid()) ::close(listening.socket.handle());
    listening.socket = Socket();
  }
  finished_ = true;
}

void Shard::turn() {
  turn_began_us_ = now_us();
  wait(!handshake_queue_.empty());
  // Who is established does not wait for a signature: what there is for them is on its way first, and where the broker
  // answers at once, so is the answer.
  flush_all();
  if (handshake_queue_.empty()) {
    replies_.nothing_due();
  } else if (!replies_.puts_off(now_us())) {
    io_->submit();
    one_handshake_step();
    replies_.distracted();
  }
  timers_.advance(now_us() / 1000);
  flush_all();
  recycle();
  pace_accepting();
  account_turn();
  if (draining_ && sessions_.get() == 0 && !accepts()) stopping_ = true;
}

void Shard::wait(bool handshake_due) {
  using std::chrono::microseconds, std::chrono::milliseconds;
  replies_.look(turn_began_us_);
  const std::uint64_t reply_us = replies_.patience_us(turn_began_us_);
  if (!handshake_due || nobody_speaks()) rest_.not_needed(turn_began_us_);
  if (!handshake_due) {
    const microseconds awake(replies_.awake_us(reply_us));
    io_->turn(milliseconds(timers_.patience(turn_began_us_ / 1000, kLongestWaitMs)), awake);
    return replies_.waited(static_cast<std::uint64_t>(std::min(awake, io_->waited()).count()));
  }
  if (replies_.putting_off()) return io_->turn(microseconds(reply_us));
  if (rest_.due(turn_began_us_)) io_->rest(microseconds(RestWatch::kForUs));
  io_->turn(microseconds(0));
}

// One step a turn: a signature costs as much as a hundred messages, and those waiting did not ask for it. While there
// are messages the steps are small ones, too.
void Shard::one_handshake_step() {
  while (!handshake_queue_.empty()) {
    Session& session = handshake_queue_.pop();
    session.in_handshake_queue = false;
    if (session.state() != Session::State::Handshaking) continue;
    session.handshake_step(nobody_speaks() ? TlsEngine::Pace::All : TlsEngine::Pace::OneRecord);
    if (session.state() != Session::State::Handshaking) leave_handshaking(session);
    return;
  }
}

void Shard::flush_all() {
  const std::uint64_t now = to_flush_.empty() ? 0 : now_us();
  for (std::size_t i = 0; i < to_flush_.size(); ++i) {
    Session& session = *to_flush_[i];
    session.in_flush_list = false;
    if (is_established(session)) {
      if (session.has_for_client()) replies_.answered(now);
      if (session.has_for_broker()) replies_.asked(now);
    }
    session.flush();
  }
  to_flush_.clear();
}

void Shard::recycle() {
  for (Session* session : graveyard_) {
    const std::size_t listener = session->settings().listener;
    count_closed(*session);
    forget_config(session->settings().config);
    const bool address_counted = session->address_counts();
    const sockaddr_storage peer = session->peer();
    session->recycle();
    session->invariants();
    counters_.listeners[listener].sessions_open.sub();
    sessions_.sub();
    parts_.connections->fetch_sub(1, std::memory_order_relaxed);
    (*parts_.by_listener)[listener].fetch_sub(1, std::memory_order_relaxed);
    if (address_counted) (*parts_.address_limits)[listener].leave(peer);
    free_.push_back(session);
  }
  graveyard_.clear();
}

void Shard::account_turn() {
  const std::uint64_t now = now_us();
  const std::uint64_t all = now - turn_began_us_;
  const auto waited = static_cast<std::uint64_t>(io_->waited().count());
  const std::uint64_t busy = all > waited ? all - waited : 0;
  counters_.total_us.add(all);
  counters_.busy_us.add(busy);
  account_busy_us_ += busy;
  if (account_at_us_ == 0) account_at_us_ = now;
  if (now - account_at_us_ < kAccountUs) return;
  busy_permille_.set(account_busy_us_ * 1000 / (now - account_at_us_));
  account_at_us_ = now;
  account_busy_us_ = 0;
}

Verdict Shard::decide(std::size_t listener, const PeerChain& peer) {
  Verdict verdict = parts_.gate->decide(peer, *cas_, listening_[listener].admits, std::time(nullptr));
  if (!verdict.admitted() && verdict.identity) {
    refused_ = verdict.identity->fingerprint;
    refused_issuer_ =
        peer.plain != nullptr ? issuer_line(peer.plain->der) : short_line(X509_get_issuer_name(peer.leaf));
  }
  return verdict;
}

Verdict Shard::resume(std::size_t listener, const Identity& identity, std::uint64_t chain_id, std::uint32_t epoch) {
  return parts_.gate->resume(identity, chain_id, epoch, *cas_, listening_[listener].admits, std::time(nullptr));
}

Reason Shard::recheck(const Verdict& verdict, std::int64_t now) {
  return parts_.gate->recheck(verdict, *cas_, now);
}

bool Shard::offer(const Verdict& verdict) {
  return parts_.registrar->offer({verdict.leaf_der, *verdict.identity, *verdict.path, verdict.pending});
}

void Shard::seen(const Verdict& verdict) {
  parts_.registrar->seen(verdict.identity->fingerprint);
}

void Shard::wants_handshake(Session& session) {
  if (session.in_handshake_queue) return;
  session.in_handshake_queue = true;
  handshake_queue_.push(session, rank_of(session));
}

// Only where the order matters: opening a ticket costs some microseconds, but nothing costs less.
HandshakeQueue::Rank Shard::rank_of(Session& session) {
  if (session.handshake_underway()) return HandshakeQueue::Rank::Underway;
  if (!handshake_queue_.is_long()) return HandshakeQueue::Rank::Fresh;
  return rank_of_hello(session.unread_handshake(), *session.settings().tls, session, unix_now());
}

bool Shard::is_established(const Session& session) const {
  return session.state() == Session::State::Forwarding && turn_began_us_ - session.began_us() > kEstablishedUs;
}

bool Shard::nobody_speaks() const {
  return turn_began_us_ - established_spoke_us_ > kAloneUs;
}

void Shard::wants_flush(Session& session) {
  if (is_established(session)) established_spoke_us_ = turn_began_us_;
  if (session.in_flush_list) return;
  session.in_flush_list = true;
  to_flush_.push_back(&session);
}

void Shard::gone(Session& session) {
  graveyard_.push_back(&session);
}

}  // namespace sallyport
