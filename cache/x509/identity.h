// What a certificate says of its device. Made once at admission and carried by the session, the device
// record and the ticket; nothing else reads names out of certificates on the data path.
#pragma once

#include <openssl/types.h>

#include <cstddef>
#include <string>
#include <vector>

#include "cache/x509/certificate.h"
#include "cache/x509/issuer_serial.h"

struct stack_st_GENERAL_NAME;

namespace sallyport {

struct Identity {
  static constexpr std::size_t kNamesKept = 16;  // of each kind; a template needs exactly one, so more say no more

  Digest fingerprint{};          // the device's id
  std::string serial;            // as Certificate::serial()
  IssuerSerial issuer_serial{};  // of issuer name and serial: the key of the status cache
  std::string key_type;          // "RSA-2048", …
  // UTF-8 as found, unchecked: all of them, for a template needs exactly one. Of each kept_of() (cache/base/text.h): a
  // stranger's certificate has names of 15 KB, and what was cut stays too long for a template.
  std::vector<std::string> cns;
  std::vector<std::string> san_dns;
  std::vector<std::string> san_uri;
  std::string subject;  // one escaped line, shortened(): only shown
  Digest ca_id{};       // the nearest registered ancestor
  std::string ca_cn;
  std::int64_t not_before = 0;  // the leaf's
  std::int64_t not_after = 0;

  bool operator==(const Identity&) const = default;
};

// A common name that cannot be read as UTF-8 is there, and empty: no template takes it, nor another one in its place.
Identity make_identity(const Certificate& leaf);
void add_common_names(const X509_NAME* subject, Identity& identity);
void add_alternative_names(const stack_st_GENERAL_NAME* names, Identity& identity);

}  // namespace sallyport
