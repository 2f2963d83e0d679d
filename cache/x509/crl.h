// A certificate revocation list (RFC 5280, section 5), taken apart once: who issued it, when, and which
// serials it names. DER or PEM. Pure. What a list may not be is refused here: indirect, partial by reason,
// a delta, or with critical extensions nobody here understands (RFC 5280, section 5.2).
#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cache/base/result.h"
#include "cache/x509/certificate.h"

namespace sallyport {

struct CrlEntry {
  std::string serial;  // as Certificate::serial()
  bool hold = false;   // certificateHold: not final
};

class Crl {
 public:
  static constexpr std::size_t kLargest = std::size_t{64} << 20;

  static constexpr std::size_t kMostInAFile = 1000;
  static constexpr std::size_t kLongestScope = 256;

  // DER of one list, or PEM of one or several: all of them, or a refusal.
  static Answer<std::vector<Crl>> parse_all(std::string_view bytes, std::int64_t now);
  static Answer<Crl> parse(std::string_view bytes, std::int64_t now);  // of one alone
  Crl(Crl&&) noexcept;
  Crl& operator=(Crl&&) noexcept;
  ~Crl();

  const std::string& issuer_name() const { return issuer_name_; }  // as names are compared: canonical_name.h
  const std::string& number() const { return number_; }            // magnitude of the cRLNumber; empty: none
  std::int64_t this_update() const { return this_update_; }        // Unix seconds, UTC
  std::int64_t next_update() const { return next_update_; }        // 0: it says none
  // Which of its issuer's certificates it is about, where not all (RFC 5280, section 5.2.5): the bytes of its issuing
  // distribution point. A number is one of an issuer and a scope (section 5.2.3). Empty: all of them.
  const std::string& scope() const { return scope_; }
  // The same for a person, at most kLongestScope bytes: "http://ca.example/7.crl", "devices only", …
  const std::string& scope_text() const { return scope_text_; }
  const std::vector<CrlEntry>& entries() const { return entries_; }
  bool signed_by(EVP_PKEY* key) const;
  // Older than a list with this number and date: by number where both have one, else by date.
  bool older_than(const std::string& number, std::int64_t this_update) const;

 private:
  Crl();
  struct Signed;
  static Answer<Crl> from_der(std::string_view der, std::int64_t now);
  std::unique_ptr<Signed> signed_;
  void read_scope();
  std::string issuer_name_, number_, scope_, scope_text_;
  std::int64_t this_update_ = 0, next_update_ = 0;
  std::vector<CrlEntry> entries_;
};

}  // namespace sallyport
