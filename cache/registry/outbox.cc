#include "cache/registry/outbox.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "cache/registry/registry_records.h"

namespace sallyport::outbox {

namespace {

constexpr std::size_t kMostParts = 64;

std::string joined(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& part : parts) {
    for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(part.size() >> shift & 0xFF);
    out += part;
  }
  return out;
}

std::optional<std::vector<std::string>> split(std::string_view bytes) {
  std::vector<std::string> parts;
  while (!bytes.empty()) {
    if (bytes.size() < 4 || parts.size() == kMostParts) return std::nullopt;
    std::size_t size = 0;
    for (int i = 3; i >= 0; --i) size = size << 8 | static_cast<unsigned char>(bytes[static_cast<std::size_t>(i)]);
    bytes.remove_prefix(4);
    if (bytes.size() < size) return std::nullopt;
    parts.emplace_back(bytes.substr(0, size));
    bytes.remove_prefix(size);
  }
  return parts;
}

std::string text_of(const Digest& id) {
  return {id.begin(), id.end()};
}

std::optional<Certificate> certificate_of(const std::string& der) {
  auto parsed = Certificate::from_der(Bytes(reinterpret_cast<const std::uint8_t*>(der.data()), der.size()));
  return parsed ? std::optional(std::move(*parsed)) : std::nullopt;
}

}  // namespace

std::string key(std::string_view prefix, const Digest& id) {
  return std::string(prefix) + text_of(id);
}

std::optional<Digest> id_of(std::string_view prefix, std::string_view key) {
  Digest id{};
  if (key.size() != prefix.size() + id.size()) return std::nullopt;
  std::copy(key.begin() + static_cast<std::ptrdiff_t>(prefix.size()), key.end(), id.begin());
  return id;
}

// The chain is a ChainRow; the dates of the path are looked at anew when it is written.
std::string encode(const Registration& registration) {
  ChainRow chain;
  chain.cas = registration.path.cas;
  for (const Certificate& each : registration.path.intermediates) chain.intermediates.push_back(each.der());
  return joined({std::string(1, registration.pending ? '\1' : '\0'), std::string(1, static_cast<char>(registration.by)),
                 registration.leaf_der, records::encode(chain)});
}

std::optional<Registration> decode_registration(std::string_view bytes) {
  const auto parts = split(bytes);
  ChainRow chain;
  if (!parts || parts->size() != 4 || (*parts)[0].size() != 1 || (*parts)[1].size() != 1 ||
      !records::decode((*parts)[3], chain) || chain.cas.empty()) {
    return std::nullopt;
  }
  auto leaf = certificate_of((*parts)[2]);
  if (!leaf) return std::nullopt;
  Registration made;
  made.leaf_der = (*parts)[2];
  made.identity = make_identity(*leaf);
  made.identity.ca_id = chain.cas.front();
  made.pending = (*parts)[0].front() != '\0';
  made.by =
      (*parts)[1].front() == static_cast<char>(RegisteredBy::Operator) ? RegisteredBy::Operator : RegisteredBy::Auto;
  made.path.cas = chain.cas;
  for (const std::string& der : chain.intermediates) {
    auto between = certificate_of(der);
    if (!between) return std::nullopt;
    made.path.intermediates.push_back(std::move(*between));
  }
  return made;
}

std::string encode(const LocalRestriction& restriction) {
  std::vector<std::string> parts = {std::string(1, restriction.ca ? '\1' : '\0'),
                                    std::string(1, static_cast<char>(restriction.status)), restriction.by.who,
                                    restriction.by.from};
  if (restriction.lost) {
    parts.push_back(records::encode(restriction.lost->device));
    parts.push_back(records::encode(restriction.lost->text));
    parts.push_back(records::encode(restriction.lost->chain));
  }
  return joined(parts);
}

std::optional<LocalRestriction> decode_restriction(std::string_view bytes) {
  const auto parts = split(bytes);
  if (!parts || (parts->size() != 4 && parts->size() != 7) || (*parts)[0].size() != 1 || (*parts)[1].size() != 1) {
    return std::nullopt;
  }
  LocalRestriction made{(*parts)[0].front() != '\0',
                        static_cast<std::uint8_t>((*parts)[1].front()),
                        {(*parts)[2], (*parts)[3]},
                        std::nullopt};
  if (parts->size() == 7) {
    LocalRestriction::Rows rows;
    if (!records::decode((*parts)[4], rows.device) || !records::decode((*parts)[5], rows.text) ||
        !records::decode((*parts)[6], rows.chain) || rows.chain.cas.empty()) {
      return std::nullopt;
    }
    made.lost = std::move(rows);
  }
  return made;
}

std::string encode(const WaitingLine& line) {
  return joined({line.by.who, line.by.from, line.action, line.target, line.after});
}

std::optional<WaitingLine> decode_line(std::string_view bytes) {
  const auto parts = split(bytes);
  if (!parts || parts->size() != 5) return std::nullopt;
  return WaitingLine{{(*parts)[0], (*parts)[1]}, (*parts)[2], (*parts)[3], (*parts)[4]};
}

}  // namespace sallyport::outbox
