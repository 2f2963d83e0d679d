// What the registry in PostgreSQL, or this node's own store, has under a key: each reader takes it or refuses it, and
// what was taken is written as it is read.
#include <cstdlib>
#include <string>
#include <string_view>

#include "cache/registry/outbox.h"
#include "cache/registry/registry_records.h"

namespace {

using namespace sallyport;

template <class Row>
void row(std::string_view bytes) {
  Row read{};
  if (!records::decode(bytes, read)) return;
  const std::string written = records::encode(read);
  Row again{};
  if (!records::decode(written, again) || records::encode(again) != written) std::abort();
}

template <class Waiting>
void waiting(std::string_view bytes, std::optional<Waiting> (*decode)(std::string_view)) {
  const auto read = decode(bytes);
  if (!read) return;
  const std::string written = outbox::encode(*read);
  const auto again = decode(written);
  if (!again || outbox::encode(*again) != written) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 11) {
    case 0: row<DeviceRow>(bytes); break;
    case 1: row<DeviceText>(bytes); break;
    case 2: row<CaRow>(bytes); break;
    case 3: row<ChainRow>(bytes); break;
    case 4: row<CodeRow>(bytes); break;
    case 5: row<ServerCertRow>(bytes); break;
    case 6: row<OverrideRow>(bytes); break;
    case 7: row<CrlRow>(bytes); break;
    case 8: row<AuditRecord>(bytes); break;
    case 9: waiting<Registration>(bytes, &outbox::decode_registration); break;
    default: waiting<LocalRestriction>(bytes, &outbox::decode_restriction); break;
  }
  return 0;
}
