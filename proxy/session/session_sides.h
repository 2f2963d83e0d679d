// The two sides of a session, each a value: a new session begins with new ones, and giving one back assigns both
// anew, so that nothing of the last connection stays. The completions of the kernel's operations are the session's own,
// for they outlive what they were asked for. Used by the session alone.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "proxy/io/byte_buffer.h"
#include "proxy/io/io.h"
#include "proxy/session/session_host.h"

namespace sallyport {

// Whether what a side sends comes as a stream: it is then read in large pieces, shot by shot; in the largest where
// the other side takes them as they come, so that little is held for one that does not.
class StreamWatch {
 public:
  // After each receive. True: it has just become one, and what is in flight should end.
  bool note(const IoResult& result);
  // After each send of what it sent: whether the other side's socket had room for all of it.
  void taken(bool all);
  Reading reading(bool stalled) const;

 private:
  static constexpr std::uint8_t kTrusted = 16;

  bool large_ = false;
  std::uint8_t all_taken_ = 0;  // times in a row, at most kTrusted
  std::uint8_t streak_ = 0;     // of receives that speak for a change
};

// What both sides have.
struct SessionSide {
  Socket socket;
  ByteBuffer to_send;
  ByteBuffer sending;  // lent to the kernel
  StreamWatch stream;
  bool paused = false;    // back-pressure: it is not read
  bool stalled = false;   // it was paused once: from then on it is read shot by shot
  bool fin_sent = false;  // it was told that nothing more comes
  bool abort = false;     // its connection ends with a reset
};

enum class ClientEnd : std::uint8_t {
  NotYet,
  Orderly,    // with a close_notify
  Truncated,  // without one
  Failed,     // with what TLS does not allow
};

// How far the end of the client's connection has come: its last words are sent, what still comes in is swallowed, the
// socket is closed.
enum class Farewell : std::uint8_t { NotYet, Flush, Drain, Close };

struct ClientSide : SessionSide {     // to_send: ciphertext, the engine's output
  ByteBuffer received;                // ciphertext not yet decrypted
  ByteBuffer plain;                   // from the broker, while a send is in flight: encrypted when it can be sent
  ClientEnd end = ClientEnd::NotYet;  // whether, and how, the engine's input is over
  bool fin = false;                   // the client's TCP end, by a FIN or a failure
  int error = 0;                      // … and which: errno
  std::uint64_t left_us = 0;          // closed() while no broker had answered yet: since when
  bool ended_first = false;           // of two orderly ends the client's came first
  bool handshake_underway = false;    // a step of it was taken
  bool torn = false;                  // what it was sent stops in the middle of something
  Farewell farewell = Farewell::NotYet;
  std::size_t drained_bytes = 0;

  bool closed() const { return end != ClientEnd::NotYet; }  // nothing more comes out of the engine
};

struct BrokerSide : SessionSide {  // to_send: plaintext; before the broker is reached it holds the CONNECT
  BrokerRoute route;
  bool chosen = false;          // the route is held
  unsigned attempt = 0;         // of the choice of a server
  unsigned source_attempt = 0;  // of the choice of a source address
  bool waits = false;           // for a server in slow start
  int short_of = 0;             // errno: what this machine lacked on the way to a server
  std::uint64_t connect_began_us = 0;
  bool answered = false;           // the CONNECT; tcp: it is connected
  bool ended = false;              // nothing more comes from it
  std::unique_ptr<BrokerTls> tls;  // null: plain. With it `sending` is ciphertext
  // While its answer to the CONNECT is awaited.
  ByteBuffer held;       // what it took: the next server gets the same
  ByteBuffer answer;     // what it said, while that is too little to tell
  bool leaving = false;  // it failed: once nothing of it is in flight, the next one is asked
  bool again = false;    // … or the same once more
  // Servers that took the CONNECT and did not answer it. What comes of it with the others says whose fault it was.
  std::vector<BrokerRoute> blamed;
};

}  // namespace sallyport
