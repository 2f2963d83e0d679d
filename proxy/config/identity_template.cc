#include "proxy/config/identity_template.h"

#include <algorithm>

#include "cache/base/text.h"

namespace sallyport {

namespace {

enum class Flaw : std::uint8_t { None, Absent, Several, Empty, TooLong, NotUtf8, Control, Wildcard, Slash };
constexpr std::array<std::string_view, 9> kFlaws = {
    "",
    " is not in the certificate",
    " is there several times",
    " is empty",
    " is longer than 256 bytes",
    " is not UTF-8",
    " holds a control character",
    " holds '+' or '#'",
    " holds '/'",
};

// "{san_dns} is there several times": every pair, in static storage, for an Error carries no text of its own.
struct Words {
  std::array<char, 48> text{};
  std::size_t length = 0;
  constexpr void add(std::string_view more) {
    for (const char c : more) text[length++] = c;
  }
};
using AllWords = std::array<std::array<Words, kFlaws.size()>, IdentityTemplate::kFields.size()>;
constexpr AllWords all_words() {
  AllWords all{};
  for (std::size_t field = 0; field < all.size(); ++field) {
    for (std::size_t flaw = 0; flaw < kFlaws.size(); ++flaw) {
      all[field][flaw].add("{");
      all[field][flaw].add(IdentityTemplate::kFields[field]);
      all[field][flaw].add("}");
      all[field][flaw].add(kFlaws[flaw]);
    }
  }
  return all;
}
constexpr AllWords kWords = all_words();

Error bad_identity(IdentityTemplate::Field field, Flaw flaw) {
  const Words& words = kWords[static_cast<std::size_t>(field)][static_cast<std::size_t>(flaw)];
  return {Origin::Client, Reason::BadIdentity, 0, {words.text.data(), words.length}};
}

// C0, DEL, or C1 as UTF-8 has it.
bool is_control(std::string_view character) {
  const auto lead = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return lead < 0x20 || lead == 0x7F;
  return lead == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
}

Flaw flaw_in(std::string_view value, bool slash_allowed) {
  if (value.empty()) return Flaw::Empty;
  if (value.size() > IdentityTemplate::kLongestValue) return Flaw::TooLong;
  for (std::string_view rest = value; !rest.empty();) {
    const std::size_t length = utf8_sequence(rest);
    if (length == 0) return Flaw::NotUtf8;
    if (is_control(rest.substr(0, length))) return Flaw::Control;
    if (rest[0] == '+' || rest[0] == '#') return Flaw::Wildcard;
    if (rest[0] == '/' && !slash_allowed) return Flaw::Slash;
    rest.remove_prefix(length);
  }
  return Flaw::None;
}

Refusal invalid(std::string what) {
  return {Refusal::Kind::Invalid, std::move(what)};
}

std::string known_fields() {
  std::string all;
  for (const std::string_view name : IdentityTemplate::kFields) {
    all += all.empty() ? "{" : " {";
    all += name;
    all += '}';
  }
  return all;
}

}  // namespace

Answer<IdentityTemplate> IdentityTemplate::parse(std::string_view text) {
  IdentityTemplate made;
  made.text_ = text;
  if (text.size() > kLongestText) return invalid("a template has 256 bytes at most");
  bool any_field = false;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t brace = rest.find_first_of("{}");
    if (const std::string_view plain = rest.substr(0, brace); !plain.empty()) {
      const Flaw flaw = flaw_in(plain, true);
      if (flaw != Flaw::None) return invalid("its text" + std::string(kFlaws[static_cast<std::size_t>(flaw)]));
      made.pieces_.push_back({std::string(plain), std::nullopt});
    }
    if (brace == std::string_view::npos) break;
    rest.remove_prefix(brace);
    const std::size_t end = rest.find_first_of("{}", 1);
    if (rest[0] == '}') return invalid("a '}' without its '{'");
    if (end == std::string_view::npos || rest[end] == '{') return invalid("a '{' without its '}'");
    const std::string_view name = rest.substr(1, end - 1);
    const auto found = std::find(kFields.begin(), kFields.end(), name);
    if (found == kFields.end()) {
      return invalid("there is no field {" + escaped(name) + "}; there are " + known_fields());
    }
    made.pieces_.push_back({{}, static_cast<Field>(found - kFields.begin())});
    any_field = true;
    rest.remove_prefix(end + 1);
  }
  if (!text.empty() && !any_field) {
    return invalid("it names no field, so every device would get the same: write \"{cn}\" for the CN");
  }
  return made;
}

bool IdentityTemplate::uses(Field field) const {
  return std::any_of(pieces_.begin(), pieces_.end(), [&](const Piece& piece) { return piece.field == field; });
}

Result<std::string> IdentityTemplate::value_of(Field field, const Identity& identity, std::string_view client_id) {
  std::string value;
  const auto the_only = [&](const std::vector<std::string>& all) {
    if (all.size() != 1) return all.empty() ? Flaw::Absent : Flaw::Several;
    value = all.front();
    return Flaw::None;
  };
  Flaw flaw = Flaw::None;
  switch (field) {
    case Field::Cn: flaw = the_only(identity.cns); break;
    case Field::SanDns: flaw = the_only(identity.san_dns); break;
    case Field::SanUri: flaw = the_only(identity.san_uri); break;
    case Field::Serial: {
      const auto* bytes = reinterpret_cast<const std::uint8_t*>(identity.serial.data());
      value = serial_hex({bytes, identity.serial.size()});
      break;
    }
    case Field::Fingerprint: value = to_hex(identity.fingerprint); break;
    case Field::CaCn: value = identity.ca_cn; break;
    case Field::CaId: value = to_hex(identity.ca_id); break;
    case Field::ClientId: value = client_id; break;
  }
  if (flaw == Flaw::None) flaw = flaw_in(value, field == Field::SanUri);
  if (flaw != Flaw::None) return bad_identity(field, flaw);
  return value;
}

Result<std::string> IdentityTemplate::value(const Identity& identity, std::string_view client_id) const {
  std::string all;
  for (const Piece& piece : pieces_) {
    if (!piece.field) {
      all += piece.text;
      continue;
    }
    auto value = value_of(*piece.field, identity, client_id);
    if (!value) return value.error();
    all += *value;
  }
  return all;
}

}  // namespace sallyport
