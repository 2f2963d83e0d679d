// BoringSSL's test runner (BoGo) drives this: a TlsEngine as a server over one TCP connection to the runner
// (ssl/test/PORTING.md). Exit 0: the exchange went as it should; 1: TLS failed, and stderr says how; 89: the runner
// asks for what this server does not have; 90: the program itself is broken, which fails a test whatever it expects.
//
// SALLYPORT_BOGO_ENGINE=openssl: as tls_engine = "openssl". SALLYPORT_BOGO_LOG: a line for each connection goes there,
// of the test's name, who made the handshake, whose the records are, whether it resumed, and how it ended.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "cache/crypto/light_parsing.h"
#include "cache/crypto/openssl_alone.h"
#include "cache/x509/plain_leaf.h"
#include "proxy/tls/ticket_keys.h"
#include "proxy/tls/tls_context.h"
#include "proxy/tls/tls_engine.h"
#include "proxy/tls/tls_files.h"
#include "tests/bogo/shim_flags.h"

// -resumption-delay puts the clock forward. All of the program asks this one.
static std::int64_t clock_ahead = 0;
extern "C" __attribute__((visibility("default"))) time_t time(time_t* into) noexcept {
  timespec at{};
  syscall(SYS_clock_gettime, CLOCK_REALTIME, &at);
  const time_t now = at.tv_sec + clock_ahead;
  if (into != nullptr) *into = now;
  return now;
}

namespace sallyport::bogo {
namespace {

using Bytes = std::span<const std::uint8_t>;
constexpr int kMustFail = 90;

class AnyDevice final : public Verifier {
 public:
  explicit AnyDevice(const Flags& flags) : flags_(flags) {}
  Verdict verify(const PeerChain& peer) override {
    Verdict verdict;
    if (flags_.verify_fail) verdict.reason = Reason::NotRegistered;
    auto leaf = peer.leaf != nullptr ? Certificate::from_x509(peer.leaf) : Answer<Certificate>(Refusal{});
    verdict.identity = peer.plain != nullptr ? peer.plain->identity : leaf ? make_identity(*leaf) : Identity{};
    verdict.identity->not_after = std::time(nullptr) + 365 * 24 * 3600L;
    verdict.known = true;
    verdict.chain_id = 7;
    return verdict;
  }
  Verdict resume(const Identity& identity, std::uint64_t chain_id, std::uint32_t epoch) override {
    Verdict verdict;
    if (flags_.verify_fail && flags_.reverify_on_resume) verdict.reason = Reason::NotRegistered;
    verdict.identity = identity;
    verdict.known = true;
    verdict.chain_id = chain_id;
    verdict.epoch = epoch;
    return verdict;
  }

 private:
  const Flags& flags_;
};

class Connection {
 public:
  Connection(const TlsContext& context, Verifier* verifier, const Flags& flags)
      : flags_(flags), engine_(context, verifier, output_) {}
  // What the runner still sends is read, or a reset might take from it what it has not read yet.
  ~Connection() {
    log();
    if (fd_ < 0) return;
    ::shutdown(fd_, SHUT_WR);
    char rest[4096];
    while (::read(fd_, rest, sizeof rest) > 0) {
    }
    ::close(fd_);
  }

  // The runner listens on [::1] where there is one. An old one has no -ipv6, and takes no id.
  bool connect() {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_addr = in6addr_loopback;
    v6.sin6_port = htons(static_cast<std::uint16_t>(flags_.port));
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    v4.sin_port = htons(static_cast<std::uint16_t>(flags_.port));
    const bool either = !flags_.shim_id;
    const bool connected = ((either || flags_.ipv6) && connect_to(v6)) || ((either || !flags_.ipv6) && connect_to(v4));
    if (!connected || !flags_.shim_id) return connected;
    std::uint8_t id[8];
    for (int i = 0; i < 8; ++i) id[i] = static_cast<std::uint8_t>(*flags_.shim_id >> (8 * i));
    return ::write(fd_, id, sizeof id) == sizeof id;
  }

  bool exchange(bool is_resume) {
    if (!shake(is_resume) || !say_first()) return false;
    if (!flags_.shim_shuts_down && !flags_.write_different_record_sizes) {
      const Step end = echo();
      if (end == Step::Failed) return false;
      if (!flags_.check_close_notify) return true;
      if (end != Step::Closed) return say("no close_notify came");
      engine_.close();
      return flush();
    }
    if (!flags_.check_close_notify) return true;
    engine_.close();
    if (!flush()) return false;
    const Step end = await_close();
    return end == Step::Closed || (end != Step::Failed && say("no close_notify came"));
  }

 private:
  template <class Address>
  bool connect_to(const Address& to) {
    if (fd_ >= 0) ::close(fd_);
    const auto* address = reinterpret_cast<const sockaddr*>(&to);
    fd_ = ::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int one = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return ::connect(fd_, address, sizeof to) == 0;
  }

  bool say(const std::string& what) {
    if (ended_ == "done") ended_ = what;
    std::fprintf(stderr, "%s\n", what.c_str());
    return false;
  }
  bool failed(const char* where) {
    flush();
    return say(std::string(where) + ": " + std::string(engine_.error().what));
  }
  void log() {
    const char* path = std::getenv("SALLYPORT_BOGO_LOG");
    if (path == nullptr) return;
    const auto name = [](TlsMaker maker) { return kTlsMakerNames[static_cast<std::size_t>(maker)]; };
    std::string line = flags_.test + '\t';
    line += name(engine_.handshake_maker());
    line += '\t';
    line += established_ ? name(engine_.records_maker()) : "-";
    line += engine_.resumed() ? "\tresumed\t" : "\tfull\t";
    line += ended_ + '\n';
    // One write, at the end: several shims at a time have it open.
    const int file = ::open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0 || ::write(file, line.data(), line.size()) != static_cast<ssize_t>(line.size())) ::_exit(kMustFail);
    ::close(file);
  }

  bool flush(std::size_t most = SIZE_MAX) {
    if (held_) return true;
    while (!output_.empty() && most > 0) {
      const ssize_t n = ::send(fd_, output_.data(), std::min(output_.size(), most), MSG_NOSIGNAL);
      if (n <= 0) return say("the socket takes no more");
      output_.consume(static_cast<std::size_t>(n));
      most -= static_cast<std::size_t>(n);
    }
    return true;
  }
  bool write(Bytes plain) {
    if (engine_.write(plain) != Step::Done) return failed("write");
    return flush();
  }
  // Lends what is left and more of it; where no more came, the engine is told.
  void more() {
    pending_.erase(pending_.begin(), pending_.end() - static_cast<std::ptrdiff_t>(engine_.unread()));
    if (arrived_.empty()) {
      std::uint8_t buffer[16384];
      const ssize_t n = ::read(fd_, buffer, sizeof buffer);
      if (n > 0) arrived_.insert(arrived_.end(), buffer, buffer + n);
    }
    const std::size_t take = flags_.async ? std::min<std::size_t>(1, arrived_.size()) : arrived_.size();
    pending_.insert(pending_.end(), arrived_.begin(), arrived_.begin() + static_cast<std::ptrdiff_t>(take));
    arrived_.erase(arrived_.begin(), arrived_.begin() + static_cast<std::ptrdiff_t>(take));
    engine_.lend(pending_);
    if (take == 0) engine_.end_of_input();
  }

  bool shake(bool is_resume) {
    Step step;
    while ((step = engine_.handshake()) == Step::WantInput) {
      if (!flush()) return false;
      more();
    }
    if (step == Step::Failed) return failed("handshake");
    if (!flush()) return false;
    if (step != Step::Done) return say(step == Step::Closed ? "handshake: close_notify" : "handshake: end of input");
    established_ = true;
    if (flags_.twice && engine_.handshake() != Step::Done) return say("the second handshake() is not Done");
    if (flags_.expect_version != 0 && flags_.expect_version != 771 + engine_.version_index()) {
      return say("another version");
    }
    if (engine_.resumed() != (is_resume && !flags_.expect_session_miss)) {
      return say(engine_.resumed() ? "resumed, but should not have" : "not resumed, but should have");
    }
    if (flags_.mutual && !(engine_.verdict() && engine_.verdict()->admitted())) {
      return say("established without a verdict");
    }
    return true;
  }

  bool say_first() {
    if (flags_.write_different_record_sizes) {
      // PORTING.md
      static constexpr std::size_t kSizes[] = {0, 1, 255, 256, 257, 16383, 16384, 16385, 32767, 32768, 32769};
      const std::vector<std::uint8_t> buffer(32769, 0x42);
      for (const std::size_t n : kSizes) {
        if (!write(Bytes(buffer).first(n))) return false;
      }
      return true;
    }
    const Bytes first(reinterpret_cast<const std::uint8_t*>(flags_.initial_write.data()), flags_.initial_write.size());
    if (flags_.unfinished_write) {  // all but its first byte waits until something was read
      if (engine_.write(first) != Step::Done) return failed("write");
      if (!flush(1)) return false;
      held_ = true;
    } else if (flags_.shim_writes_first) {
      for (int i = 0; i < flags_.repeat_initial_write; ++i) {
        if (!write(first)) return false;
      }
    }
    return true;
  }

  // Never WantInput.
  Step read(std::vector<std::uint8_t>& into) {
    for (;;) {
      into.resize(std::max<std::size_t>(TlsRecords::kMostOpened, engine_.unread()));
      std::size_t n = 0;
      const Step step = engine_.read(into, n);
      if (step != Step::WantInput) held_ = false;
      if (step == Step::Done) into.resize(n);
      if (step == Step::Failed) failed("read");
      if (step == Step::Done || step == Step::Failed) return step;
      if (!flush()) return Step::Failed;
      if (step != Step::WantInput) return step;
      more();
    }
  }
  Step echo() {
    std::vector<std::uint8_t> plain;
    for (;;) {
      const Step step = read(plain);
      if (step != Step::Done) return step;
      for (std::uint8_t& each : plain) each ^= 0xff;
      if (!write(plain)) return Step::Failed;
    }
  }
  Step await_close() {
    std::vector<std::uint8_t> plain;
    Step step;
    while ((step = read(plain)) == Step::Done) {
    }
    return step;
  }

  const Flags& flags_;
  int fd_ = -1;
  ByteBuffer output_;
  std::vector<std::uint8_t> pending_, arrived_;
  TlsEngine engine_;
  bool held_ = false;  // nothing is sent
  bool established_ = false;
  std::string ended_ = "done";
};

bool run(const Flags& flags, TicketKeys& keys, bool is_resume) {
  clock_ahead += flags.resumption_delay;
  ListenerConfig config;
  config.name = "bogo";
  config.auth = flags.mutual ? AuthMode::Mutual : AuthMode::OneWay;
  config.tls_min = flags.min_version >= 772 ? TlsMin::V13 : TlsMin::V12;
  if (openssl_alone()) config.tls_engine = TlsMadeBy::Openssl;
  config.certificates = {flags.certificate};
  const auto context = TlsContext::create(config, flags.tickets ? &keys : nullptr);
  if (!context) not_here("certificate: " + context.error().what);
  AnyDevice verifier(flags);
  Connection connection(**context, flags.mutual ? &verifier : nullptr, flags);
  if (connection.connect()) return connection.exchange(is_resume);
  std::fprintf(stderr, "cannot connect to the runner\n");
  ::_exit(kMustFail);
}

int run_all(int argc, char** argv) {
  if (std::any_of(argv, argv + argc, [](const char* each) { return !std::strcmp(each, "-is-handshaker-supported"); })) {
    std::puts("No");
    return 0;
  }
  const AllFlags flags = read_flags(argc, argv);
  if (!flags.initial.server) not_here("a client");
  const char* engine = std::getenv("SALLYPORT_BOGO_ENGINE");
  keep_to_openssl(engine != nullptr && std::strcmp(engine, "openssl") == 0);
  light_parsing_context();  // the first to use OpenSSL, as in `serve`
  TicketKeys keys(std::time(nullptr));
  for (int i = 0; i <= flags.initial.resume_count; ++i) {
    if (!run(i > 0 ? flags.resumed : flags.initial, keys, i > 0)) return 1;
  }
  return 0;
}

}  // namespace
}  // namespace sallyport::bogo

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  // Where the runner expects a failure, a crash would be one.
  for (const int broken : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) {
    const auto before = signal(broken, [](int) { ::_exit(sallyport::bogo::kMustFail); });
    if (before != SIG_DFL) signal(broken, before);  // a sanitizer's, which says more
  }
  const int code = sallyport::bogo::run_all(argc, argv);
  std::fprintf(stderr, "--- DONE ---\n");
  return code;
}
