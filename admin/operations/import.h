// Registering devices before they come: one with its intermediates, or a PEM bundle of any length as a stream.
// Each certificate is verified by the gate exactly as a connection would be; signatures are checked on worker
// threads, commits are the registrar's. What fails is reported with its line and reason, the rest is kept.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "admin/http/http_server.h"
#include "cache/registry/registrar.h"
#include "cache/standing/device_gate.h"

namespace sallyport {

// Verifies one device for registration. A reason: why a connection would refuse it.
struct Examined {
  Verdict verdict;
  std::optional<Registration> registration;  // where it was admitted
};
Examined examine_device(const DeviceGate& gate, const CaSet& cas, const Certificate& leaf,
                        const std::vector<Certificate>& intermediates, std::int64_t now);

// What stands against it: the reason, and more where there are words for it.
std::string in_words(const Verdict& refused);

struct ImportFailure {
  std::uint64_t line = 0;  // of its -----BEGIN, from 1
  std::string reason;      // of the closed list, or "unreadable"
  std::string detail;      // subject and what is wrong
};

// How far the imports are that run now.
struct ImportProgress {
  std::atomic<std::uint64_t> running{0}, read{0}, registered{0}, failed{0};
};

class Importer final : public BodySink {
 public:
  static constexpr std::size_t kFailuresKept = 10'000;
  static constexpr std::uint64_t kMostAtOnce = 2;

  // `still`: whether who asked may go on. Any thread; asked with each piece and before each batch, since a stream may
  // be kept open for hours after its token was revoked.
  Importer(Registrar& registrar, const DeviceGate& gate, ImportProgress& progress, Actor by, unsigned workers,
           std::function<bool()> still);
  ~Importer() override;  // what was taken is finished

  bool take(std::string_view piece) override;
  HttpResponse finish(bool whole) override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sallyport
