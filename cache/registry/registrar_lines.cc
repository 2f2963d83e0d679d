// Lines of the audit log about what an operator has done at this node alone: a session cut, a server drained, a backup
// made. It has happened, whatever the registry says, so the line is owed: to the disk, and where a registry is shared
// and out of reach to the outbox, which writes it later. On the registrar's thread.
#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>
#include <vector>

#include "cache/base/feed.h"
#include "cache/registry/registrar_impl.h"

namespace sallyport {

namespace {

constexpr std::size_t kMostLines = 10'000, kLinesAtOnce = 500;

std::string line_key(std::int64_t at_us, std::uint64_t number) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%016llx-%016llx", static_cast<unsigned long long>(at_us),
                static_cast<unsigned long long>(number));
  return std::string(outbox::kLines) + text.data();
}

Refusal no_line(const std::string& what, const std::string& why) {
  return {Refusal::Kind::Unavailable, "done, but its line in the audit log is " + what + ": " + why};
}

}  // namespace

Answer<void> Registrar::Impl::record(const WaitingLine& line) {
  RegistryStore::Batch batch;
  if (!follower_) {
    ledger_.audit(line.by, line.action, line.target, "", line.after);
    const auto written = ledger_.commit_restriction(batch);
    return written ? written : no_line("NOT durable yet", written.error().what);
  }
  in_a_hurry_ = true;
  const auto turn = snapshot_ ? Answer<void>(away()) : begin_turn();
  in_a_hurry_ = false;
  if (turn) {
    ledger_.audit(line.by, line.action, line.target, "", line.after);
    const auto written = ledger_.commit_restriction(batch);
    end_turn();
    if (written) return {};
  }
  if (lines_aside_ >= kMostLines) {
    return no_line("NOT kept", "the shared registry takes none, and " + std::to_string(lines_aside_) + " wait here");
  }
  const auto now = std::chrono::system_clock::now();
  const auto now_us = std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count();
  WaitingLine later = line;
  later.by.from += " (" + utc_ms(now) + ", written later)";
  RegistryStore::Batch aside;
  store_.put_outbox(aside, line_key(now_us, ++lines_made_), outbox::encode(later));
  ++lines_aside_;
  const auto kept = ledger_.keep_here(aside);
  return kept ? kept : no_line("NOT durable yet", kept.error().what);
}

Answer<void> Registrar::Impl::read_lines() {
  return store_.each_outbox(outbox::kLines, [&](std::string_view, std::string_view) {
    ++lines_aside_;
    return true;
  });
}

void Registrar::Impl::settle_lines() {
  if (lines_aside_ == 0 || snapshot_ || !begin_turn()) return;
  std::vector<WaitingLine> lines;
  std::vector<std::string> keys;
  auto done = store_.each_outbox(outbox::kLines, [&](std::string_view key, std::string_view value) {
    if (lines_written_.count(std::string(key)) != 0) return true;
    auto line = outbox::decode_line(value);
    if (!line) log_.error("audit-lines", {{"what", "one that waited cannot be read"}});
    if (line) lines.push_back(std::move(*line));
    keys.emplace_back(key);
    return keys.size() < kLinesAtOnce;
  });
  if (done && !lines.empty()) {
    RegistryStore::Batch batch;
    for (const WaitingLine& line : lines) ledger_.audit(line.by, line.action, line.target, "", line.after);
    done = ledger_.commit_restriction(batch);
  }
  end_turn();
  if (!done) {
    if (!std::exchange(lines_said_, true)) {
      log_.warn("audit-lines", {{"what", "lines of the audit log wait on this node"}, {"lines", lines_aside_}});
    }
    return;
  }
  lines_said_ = false;
  lines_written_.insert(keys.begin(), keys.end());
  // Ended here, or in doubt above, they are written twice, which is better than never.
  RegistryStore::Batch out;
  for (const std::string& key : lines_written_) store_.remove_outbox(out, key);
  if (!ledger_.commit_here(out)) return;
  lines_aside_ -= std::min(lines_written_.size(), lines_aside_);
  lines_written_.clear();
}

}  // namespace sallyport
