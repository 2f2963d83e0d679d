#include "tests/simulation/fake_io.h"

#include <algorithm>
#include <cerrno>

namespace sallyport::test {

void FakeIo::submit(Completion& completion, Operation operation) {
  if (completion.submitted()) broke("a completion was submitted twice");
  const auto wire = wires_.find(operation.socket.handle());
  if (wire == wires_.end() || !wire->second.open) broke("an operation on a socket that is not open");
  for (const auto& [other, pending] : operations_) {
    if (pending.kind == operation.kind && pending.socket.handle() == operation.socket.handle()) {
      broke("two operations of one kind on a socket");
    }
  }
  completion.submit();
  operations_.emplace(&completion, std::move(operation));
}

void FakeIo::recv(Socket socket, Reading reading, Completion& completion) {
  submit(completion, {Kind::Recv, socket, reading, {}, {}});
}

void FakeIo::send(Socket socket, std::span<const std::uint8_t> bytes, Behind behind, Completion& completion) {
  if (bytes.empty()) broke("a send of nothing");
  submit(completion, {Kind::Send, socket, Reading::Once, bytes,
                      std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), behind});
}

void FakeIo::connect(Socket socket, const sockaddr*, socklen_t, Completion& completion) {
  submit(completion, {Kind::Connect, socket, Reading::Once, {}, {}});
}

void FakeIo::cancel(Completion& completion) {
  if (!completion.submitted() || completion.cancelled()) return;
  completion.mark_cancelled();
  operations_.at(&completion).cancelled = true;
}

Socket FakeIo::open(int) {
  const Socket socket(next_++);
  wires_[socket.handle()].open = true;
  return socket;
}

void FakeIo::end_sending(Socket socket) {
  wires_[socket.handle()].fin = true;
}

void FakeIo::close(Socket socket) {
  Wire& wire = wires_[socket.handle()];
  if (!wire.open) broke("a socket closed twice");
  for (const auto& [completion, operation] : operations_) {
    if (operation.socket.handle() == socket.handle()) broke("a socket closed under an operation");
  }
  wire.open = false;
  if (!wire.incoming.empty()) reset(wire);
}

void FakeIo::abort(Socket socket) {
  close(socket);
  reset(wires_[socket.handle()]);
}

void FakeIo::reset(Wire& wire) {
  wire.aborted = true;
  wire.outgoing.clear();
}

void FakeIo::peer_writes(Socket socket, const std::string& bytes) {
  Wire& wire = wires_[socket.handle()];
  if (wire.peer_reset || bytes.empty()) return;
  if (!wire.open) return reset(wire);
  wire.incoming += bytes;
}

// Linux keeps what came before the reset, others do not.
void FakeIo::peer_resets(Socket socket) {
  Wire& wire = wires_[socket.handle()];
  if (!wire.peer_reset && chance(0.5)) wire.incoming.clear();
  wire.peer_reset = true;
}

std::string FakeIo::peer_reads(Socket socket, std::size_t most) {
  std::string& queue = wires_[socket.handle()].outgoing;
  std::string bytes = queue.substr(0, most);
  queue.erase(0, bytes.size());
  return bytes;
}

int FakeIo::open_sockets() const {
  return static_cast<int>(
      std::count_if(wires_.begin(), wires_.end(), [](const auto& wire) { return wire.second.open; }));
}

std::size_t FakeIo::sending_bytes(Socket socket) const {
  for (const auto& [completion, operation] : operations_) {
    if (operation.kind == Kind::Send && operation.socket.handle() == socket.handle()) return operation.copy.size();
  }
  return 0;
}

// The kernel keeps the last bytes back for the FIN: where none follows at once, they are late.
void FakeIo::hold_to_promises() {
  for (auto& [handle, wire] : wires_) {
    if (!wire.end_promised) continue;
    wire.end_promised = false;
    if (wire.open && !wire.fin && sending_bytes(Socket(handle)) == 0) broke("no end came behind the last bytes");
  }
}

bool FakeIo::turn() {
  hold_to_promises();
  std::vector<Completion*> order;
  for (const auto& [completion, operation] : operations_) order.push_back(completion);
  std::sort(order.begin(), order.end());  // addresses differ between runs; the shuffle must not
  std::sort(order.begin(), order.end(), [this](Completion* a, Completion* b) {
    const Operation &x = operations_.at(a), &y = operations_.at(b);
    return std::pair(x.socket.handle(), x.kind) < std::pair(y.socket.handle(), y.kind);
  });
  std::shuffle(order.begin(), order.end(), random_);
  bool any = false;
  for (Completion* completion : order) {
    if (operations_.count(completion) == 0) continue;  // ended by another's callback
    if (chance(faults.late)) {
      ++faults_made;
      continue;
    }
    any = run(*completion) || any;
  }
  return any;
}

void FakeIo::finish(Completion& completion, int value) {
  operations_.erase(&completion);
  IoResult result;
  result.value = value;
  completion.complete(result);
}

bool FakeIo::run(Completion& completion) {
  Operation& operation = operations_.at(&completion);
  if (operation.cancelled && !chance(faults.beats_cancel)) {
    ++faults_made;
    return finish(completion, -ECANCELED), true;
  }
  switch (operation.kind) {
    case Kind::Recv: return run_recv(completion, operation);
    case Kind::Send: return run_send(completion, operation);
    case Kind::Connect: break;
  }
  if (hold_connects) return false;
  if (refuse_connects > 0) {
    --refuse_connects;
    ++faults_made;
    return finish(completion, -refuse_with), true;
  }
  return finish(completion, 0), true;
}

bool FakeIo::run_recv(Completion& completion, Operation& operation) {
  Wire& wire = wires_[operation.socket.handle()];
  if (wire.incoming.empty()) {
    if (wire.peer_reset) return finish(completion, -ECONNRESET), true;
    if (!wire.peer_fin) return false;
    return finish(completion, 0), true;
  }
  if (chance(faults.no_buffers)) {
    ++faults_made;
    return finish(completion, -ENOBUFS), true;
  }
  // A multishot receive may give several results in one turn, the last of them without `more`.
  const bool multishot = operation.reading == Reading::Multishot;
  const std::size_t room = operation.reading == Reading::Whole   ? 128 * 1024
                           : operation.reading == Reading::Large ? 32 * 1024
                                                                 : 2048;
  for (std::size_t results = multishot ? up_to(8) : 1; results > 0 && !wire.incoming.empty(); --results) {
    // Now and then all there is, as the kernel gives it, so that streams are found to be some.
    const std::size_t most = std::min(wire.incoming.size(), room);
    const std::string bytes = wire.incoming.substr(0, chance(0.3) ? most : up_to(most));
    wire.incoming.erase(0, bytes.size());
    wire.received += bytes.size();
    most_read = std::max(most_read, bytes.size());
    IoResult result;
    result.value = static_cast<int>(bytes.size());
    result.data = {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
    result.filled = bytes.size() == room;
    result.more = multishot && !chance(0.05);
    const bool more = result.more;
    if (!more) operations_.erase(&completion);
    completion.complete(result);
    if (!more) return true;
  }
  return true;
}

bool FakeIo::run_send(Completion& completion, Operation& operation) {
  Wire& wire = wires_[operation.socket.handle()];
  const std::string now(reinterpret_cast<const char*>(operation.bytes.data()), operation.bytes.size());
  if (now != operation.copy) broke("a lent buffer changed while it was being sent");
  if (wire.peer_reset) return finish(completion, -EPIPE), true;
  if (wire.peer_closed) {  // it goes out, and a reset comes back
    wire.peer_reset = true;
    return finish(completion, static_cast<int>(operation.copy.size())), true;
  }
  if (wire.outgoing.size() >= faults.window) return false;  // the peer does not read
  std::size_t n = std::min(operation.copy.size(), faults.window - wire.outgoing.size());
  if (n > 1 && chance(faults.short_sends)) {
    n = up_to(n);
    ++faults_made;
  }
  wire.outgoing += operation.copy.substr(0, n);
  wire.end_promised = operation.behind == Behind::TheEnd && n == operation.copy.size();
  return finish(completion, static_cast<int>(n)), true;
}

}  // namespace sallyport::test
