// The protocol between a node and the registry in PostgreSQL, over one connection. Writers come one after the other: a
// turn takes an advisory lock for its transaction, hands over what others wrote since, and ends with one commit under
// the next revision. So whoever changes something has checked it against all that was ever committed, and revisions
// rise in the order of commits, without gaps. Used by one thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cache/base/result.h"
#include "cache/shared/pg_connection.h"
#include "cache/shared/shared_entry.h"

namespace sallyport {

struct SharedNode {
  std::string name;
  std::uint64_t revision = 0;       // in force there
  std::int64_t seen_ms_ago = 0;     // by PostgreSQL's clock alone: the machines' own may disagree
  std::int64_t applied_ms_ago = 0;  // since it had everything in force that there was
  std::string version;
};

// A question of one node to another, and what it says.
struct SharedAsk {
  std::uint64_t id = 0;
  std::string text;
};

struct SharedNodes {
  std::uint64_t revision = 0;  // the registry's
  std::vector<SharedNode> nodes;
};

class SharedSession {
 public:
  // The schemas this program can work with: from the oldest, of nodes that are not upgraded yet, to kSchema; and a
  // later one that still admits it.
  static constexpr int kOldestSchema = 1, kSchema = 2;
  static constexpr std::size_t kBatch = 4096;  // entries of devices in one go
  // A node that was not heard of for so long is listed no more, and nobody waits for it.
  static constexpr std::chrono::hours kNodeForgotten{24};

  // Connects, and refuses what is no registry, or one of a schema that this program does not know.
  // `at`: at that server alone, within `limit`.
  static Answer<std::unique_ptr<SharedSession>> open(const std::string& url, const std::string& node,
                                                     std::chrono::milliseconds limit = PgConnection::kConnect,
                                                     const PgPlace& at = {});

  // A turn begins: from here until commit() or give_up() nobody else writes. At most kBatch entries of devices: where
  // there are more, more() has the next ones.
  Answer<SharedNews> begin(const SharedPosition& from);
  Answer<SharedNews> more(const SharedPosition& from);
  // Ends the turn: durable over there on return, as far as PostgreSQL is configured to be. A refusal means that it did
  // not happen, or, where the connection broke, that nobody knows: then in_doubt().
  Answer<SharedPosition> commit(const SharedPosition& from, std::uint64_t revision,
                                std::span<const SharedEntry> entries);
  // Entries of the commit that ends the turn, which are too many to come with it. Nobody sees them before.
  Answer<void> put(std::uint64_t revision, std::span<const SharedEntry> entries);
  // The commit that ends the turn is more than a node can take in as one piece: whoever follows takes a snapshot.
  Answer<void> hand_out_by_snapshot(std::uint64_t revision);
  void give_up();
  bool in_doubt() const { return in_doubt_; }

  // Where the registry is.
  Answer<SharedPosition> position();
  // Without a turn.
  Answer<SharedNews> news(const SharedPosition& from);
  // All that is not deleted, in the order of family and key; with it the position that it is of.
  // `wanted`: asked now and then while nothing comes; false gives it up.
  Answer<SharedPosition> snapshot(const std::function<bool(SharedEntry&&)>& take,
                                  const std::function<bool()>& wanted = {});
  // `count` ids of chains that were never given out before; the first one.
  Answer<std::uint64_t> reserve_chains(std::uint64_t count);
  // This node lives, and has everything in force up to `revision`. False: another process uses its name.
  Answer<bool> heartbeat(std::uint64_t revision, const std::string& instance, const std::string& version);
  // Under which name it does so from now on, and is asked. With kBeside behind it and something of its own it is listed
  // beside the process that uses its name.
  void call_itself(std::string node) { node_ = std::move(node); }
  static constexpr char kBeside = '#';  // in no name that an operator may choose
  // The process that used this name, and is silent, is listed beside it from now on: it may be cut off, and what is in
  // force everywhere is not in force there.
  Answer<void> step_aside(const std::string& instance);
  Answer<void> leave(const std::string& node, const std::string& instance);  // it is called so no more
  Answer<SharedNodes> nodes();
  // False: it is there no more or never was, or it was heard of a moment ago.
  Answer<bool> forget_node(const std::string& name);
  // Questions to other nodes: put there, looked for by whom they are to, answered, taken down. Of a moment: what is
  // older than kAskLives is nobody's any more. Nothing before schema 2.
  static constexpr std::size_t kMostAnswer = 1 << 20, kMostAsk = 16 << 10, kAsksAtOnce = 4;
  static constexpr std::chrono::seconds kAskLives{10};
  bool asks() const { return schema_ >= 2; }
  Answer<std::uint64_t> ask(const std::string& node, const std::string& request);
  Answer<std::vector<SharedAsk>> asked_of_me();  // kAsksAtOnce at most
  Answer<void> answer(std::uint64_t ask, const std::string& reply);
  Answer<std::vector<SharedAsk>> answers(std::span<const std::uint64_t> asks);
  Answer<void> end_asks(std::span<const std::uint64_t> asks);  // and those that everybody has left
  // Deletes older than `keep` are forgotten; whoever has not seen them takes a snapshot. Some of them, so that writers
  // wait for a moment at most; false: there are more.
  Answer<bool> forget_deletes(std::chrono::seconds keep);
  // Lines of the audit log before `at_us`. Nodes cut their own; here nobody else would. Some of them, as above.
  Answer<bool> forget_audit(std::int64_t at_us);
  Answer<void> listen();
  // Whether nobody holds the lock of writers at this moment.
  Answer<bool> may_write();
  // What the role needs and may not do, as "insert node, update commit"; empty: nothing.
  Answer<std::string> rights_lacking();
  // No commit waits for a standby: a failover may lose what was acknowledged.
  Answer<bool> has_synchronous_standby();

  PgConnection& connection() { return *connection_; }
  bool broken() const { return connection_->broken(); }

 private:
  SharedSession(std::unique_ptr<PgConnection> connection, std::string node)
      : connection_(std::move(connection)), node_(std::move(node)) {}
  Answer<SharedNews> read_news(const std::vector<PgRows>& rows, std::size_t head, const SharedPosition& from);
  std::string who_holds_writers_up();  // words to go on with; empty: nobody

  std::unique_ptr<PgConnection> connection_;
  std::string node_;
  bool in_doubt_ = false;
  std::int64_t schema_ = kOldestSchema;  // as of the last look
};

}  // namespace sallyport
