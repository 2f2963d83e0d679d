// A template such as "{cn}" or "fleet/{ca_id}/{serial}": compiled when the configuration is read, evaluated at a
// CONNECT with what the device's certificate says. What a value may be is a rule of the value, wherever it is put:
// brokers take user names and client ids into topics and access rules. Plain data; evaluated on the shards' threads.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/result.h"
#include "cache/x509/identity.h"

namespace sallyport {

class IdentityTemplate {
 public:
  enum class Field : std::uint8_t { Cn, Serial, Fingerprint, CaCn, CaId, SanDns, SanUri, ClientId };
  static constexpr std::array<std::string_view, 8> kFields = {"cn",    "serial",  "fingerprint", "ca_cn",
                                                              "ca_id", "san_dns", "san_uri",     "client_id"};
  // Of the text: 64 fields at most, so that what comes out has 16 KiB at most.
  static constexpr std::size_t kLongestText = 256;
  static constexpr std::size_t kLongestValue = 256;  // of a field, in bytes

  // The empty text is no template. What is wrong is returned as a clause.
  static Answer<IdentityTemplate> parse(std::string_view text);

  bool empty() const { return pieces_.empty(); }
  const std::string& text() const { return text_; }
  bool uses(Field field) const;
  // Whether devices of two CAs cannot come out the same.
  bool tells_cas_apart() const { return uses(Field::CaId) || uses(Field::Fingerprint); }

  // bad_identity with static words where a field has not exactly one value, or one that is not safe.
  Result<std::string> value(const Identity& identity, std::string_view client_id) const;
  // Of a single field.
  static Result<std::string> value_of(Field field, const Identity& identity, std::string_view client_id);

 private:
  struct Piece {
    std::string text;  // where `field` is none
    std::optional<Field> field;
  };
  std::string text_;
  std::vector<Piece> pieces_;
};

}  // namespace sallyport
