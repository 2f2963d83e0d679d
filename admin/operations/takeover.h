// A new version takes the listening sockets of the one that runs over, and no connection is refused meanwhile: closing
// one of several SO_REUSEPORT sockets resets what waits in its queue, so they change hands instead. Over a unix socket
// beside the admin socket, mode 0600, for the same user alone:
//
//   the new one                     the one that runs (it goes on accepting until the last step)
//   connects, "take over"    ──>    "sockets N FOLDER", its state_dir as the kernel knows it: it must be the same
//                                   or "no WHY": it serves on
//   "go"                     ──>    closes its API and its registry; sends each socket with its listener; "all"
//   opens the registry, warms up, listens
//   "serving"                ──>    stops accepting, and drains
//   "end"                    ──>    ends at once: a change of the new one cuts somebody, who may be here
//   (end of file)            <──    has ended
//
// Used by serve() on the main thread; Predecessor::end() also by the registrar's.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cache/base/log.h"
#include "cache/base/result.h"
#include "proxy/data_plane.h"

namespace sallyport {

// Where it is asked for; empty: the path would be too long for a unix socket (unix(7)), and nothing can be taken over.
std::string takeover_path(const std::string& admin_socket);

// The side of the one that runs.
class TakeoverOffer {
 public:
  TakeoverOffer() = default;
  ~TakeoverOffer();
  TakeoverOffer(const TakeoverOffer&) = delete;
  TakeoverOffer& operator=(const TakeoverOffer&) = delete;

  Answer<void> listen(const std::string& path);
  int asked() const { return listening_; }  // has something to read when somebody connects
  // True: a new one of the same user has said "go" and waits for the sockets. Blocks for a moment at most. `why_not`:
  // why nothing may be handed over now, which it is told; empty: it may.
  bool accepted(std::size_t sockets, const std::string& state_dir, const std::function<std::string()>& why_not,
                Logger& log);
  // Refused where the new one does not take them within 5 s.
  Answer<void> hand_over(const std::vector<ListeningSocket>& sockets);
  int successor() const { return successor_; }
  pid_t successor_pid() const { return successor_pid_; }
  // What it has said since: nothing yet, or it has ended.
  enum class Said : std::uint8_t { Nothing, Serving, End, Gone };
  Said said();
  void close();  // nobody is accepted any more, and the path is free

 private:
  std::string path_;
  int listening_ = -1;
  int successor_ = -1;
  pid_t successor_pid_ = 0;
};

// The side of the new one.
class Predecessor final : public CutsElsewhere {
 public:
  // Where nobody answers there is nothing to take over: no sockets.
  static Answer<std::unique_ptr<Predecessor>> ask(const std::string& path, unsigned shards,
                                                  const std::string& state_dir);
  ~Predecessor() override;

  std::vector<ListeningSocket> take() { return std::exchange(sockets_, {}); }
  void say_serving();
  void end_sessions() override;  // returns when none is left there

 private:
  Answer<void> receive(unsigned shards, const std::string& state_dir);

  std::mutex mutex_;
  int socket_ = -1;
  std::vector<ListeningSocket> sockets_;
};

}  // namespace sallyport
