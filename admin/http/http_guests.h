// Who has a place on the HTTP server, and who gives his up when all are taken. A stranger must not keep an operator
// away, whatever he does: neither by silence, nor by a body that comes byte by byte, nor by an answer that he does not
// read. On the server's own thread. Knows nothing of sockets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>

namespace sallyport::http_detail {

// A connection: it can be ended from outside.
class Guest {
 public:
  enum class Stage : std::uint8_t {
    Waiting,   // for a request, or for its end
    Served,    // its body comes, or its answer leaves
    Worked,    // a worker has it, or will
    Streamed,  // its answer has no end; those are bounded elsewhere
  };
  virtual ~Guest() = default;
  virtual void give_up() = 0;

  bool local = false;  // on the admin socket: nobody there is a stranger
  bool known = false;  // its last request showed a valid token, or sign-in
  std::string holder;  // whose place it is: that token's name, or else the address
  Stage stage = Stage::Waiting;
};

class Guests {
 public:
  using Place = std::list<Guest*>::iterator;

  Place enter(Guest& guest) { return all_.insert(all_.end(), &guest); }
  void leave(Place place) { all_.erase(place); }
  // It waits for another request: it is the newest again.
  void renew(Place place) { all_.splice(all_.end(), all_, place); }

  // Who gives up his place of `places`, or null: nobody can. One of whoever has more than a quarter, so that neither
  // one address nor one token has them all; else a stranger; else anybody. Of those the one whose request, or silence,
  // began first: whoever has just come has the time to say who he is.
  Guest* who_leaves(std::size_t places) const {
    std::unordered_map<std::string_view, std::size_t> held;
    for (const Guest* each : all_) ++held[each->holder];
    Guest* chosen = nullptr;
    int best = 3;
    for (Guest* each : all_) {
      if (!may_go(*each)) continue;
      const int rank = !each->local && held[each->holder] > places / 4 ? 0 : each->known || each->local ? 2 : 1;
      if (rank >= best) continue;
      chosen = each;
      best = rank;
      if (rank == 0) break;
    }
    return chosen;
  }

 private:
  static bool may_go(const Guest& guest) {
    switch (guest.stage) {
      case Guest::Stage::Waiting: return true;
      case Guest::Stage::Served: return !guest.local;
      case Guest::Stage::Worked: return !guest.local && !guest.known;
      case Guest::Stage::Streamed: return false;
    }
    return false;
  }

  std::list<Guest*> all_;  // the one that has waited for longest first
};

}  // namespace sallyport::http_detail
