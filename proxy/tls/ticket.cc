#include "proxy/tls/ticket.h"

#include <cstring>

#include "cache/base/text.h"

namespace sallyport {

namespace {

constexpr char kFormat = 2;
constexpr std::size_t kSubjectKept = 200;  // the log's: a ticket stays small

void put_number(std::string& out, std::uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8) out += static_cast<char>(value >> shift & 0xFF);
}
void put_text(std::string& out, std::string_view text) {
  out += static_cast<char>(text.size() & 0xFF);
  out += static_cast<char>(text.size() >> 8 & 0xFF);
  out += text;
}
void put_texts(std::string& out, const std::vector<std::string>& texts) {
  out += static_cast<char>(texts.size());
  for (const std::string& text : texts) put_text(out, text);
}

// Reads past the end are remembered, not made.
class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}
  std::string_view take(std::size_t n) {
    if (!good_ || in_.size() < n) return good_ = false, std::string_view();
    const std::string_view taken = in_.substr(0, n);
    in_.remove_prefix(n);
    return taken;
  }
  std::uint64_t number() {
    std::uint64_t value = 0;
    const std::string_view bytes = take(8);
    for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
    return value;
  }
  std::string text() {
    const std::string_view size = take(2);
    if (size.size() != 2) return {};
    return std::string(
        take(static_cast<unsigned char>(size[0]) | std::size_t{static_cast<unsigned char>(size[1])} << 8));
  }
  std::vector<std::string> texts() {
    const std::string_view count = take(1);
    std::vector<std::string> all;
    for (unsigned n = count.empty() ? 0 : static_cast<unsigned char>(count[0]); n > 0 && good_; --n)
      all.push_back(text());
    return all;
  }
  template <class Array>
  void array(Array& into) {
    const std::string_view bytes = take(into.size());
    if (!bytes.empty()) std::memcpy(into.data(), bytes.data(), bytes.size());
  }
  bool whole() const { return good_ && in_.empty(); }

 private:
  std::string_view in_;
  bool good_ = true;
};

std::string_view view(const auto& array) {
  return {reinterpret_cast<const char*>(array.data()), array.size()};
}

}  // namespace

std::string encode_ticket(const Ticket& ticket) {
  std::string out(1, kFormat);
  out += ticket.mutual ? '\1' : '\0';
  put_text(out, ticket.listener);
  put_text(out, ticket.server_name);
  put_number(out, static_cast<std::uint64_t>(ticket.authenticated_at));
  put_number(out, ticket.epoch);
  put_number(out, ticket.chain_id);
  if (ticket.mutual) {
    if (!ticket.identity) return {};
    const Identity& identity = *ticket.identity;
    out += view(identity.fingerprint);
    out += view(identity.issuer_serial);
    put_number(out, static_cast<std::uint64_t>(identity.not_before));
    put_number(out, static_cast<std::uint64_t>(identity.not_after));
    put_text(out, identity.serial);
    put_text(out, identity.key_type);
    put_text(out, shortened(identity.subject, kSubjectKept));
    put_texts(out, identity.cns);
    put_texts(out, identity.san_dns);
    put_texts(out, identity.san_uri);
  }
  return out.size() > kTicketLimit ? std::string() : out;
}

std::optional<Ticket> decode_ticket(std::string_view bytes) {
  Reader in(bytes);
  const std::string_view head = in.take(2);
  if (head.size() != 2 || head[0] != kFormat || (head[1] != 0 && head[1] != 1)) return std::nullopt;
  Ticket ticket;
  ticket.mutual = head[1] == 1;
  ticket.listener = in.text();
  ticket.server_name = in.text();
  ticket.authenticated_at = static_cast<std::int64_t>(in.number());
  const std::uint64_t epoch = in.number();
  if (epoch > UINT32_MAX) return std::nullopt;
  ticket.epoch = static_cast<std::uint32_t>(epoch);
  ticket.chain_id = in.number();
  if (ticket.mutual) {
    Identity& identity = ticket.identity.emplace();
    in.array(identity.fingerprint);
    in.array(identity.issuer_serial);
    identity.not_before = static_cast<std::int64_t>(in.number());
    identity.not_after = static_cast<std::int64_t>(in.number());
    identity.serial = in.text();
    identity.key_type = in.text();
    identity.subject = in.text();
    identity.cns = in.texts();
    identity.san_dns = in.texts();
    identity.san_uri = in.texts();
  }
  if (!in.whole()) return std::nullopt;
  return ticket;
}

}  // namespace sallyport
