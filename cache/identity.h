// What a certificate says of its device. Made once at admission and carried by the session, the device
// record and (later) the ticket; nothing else reads names out of certificates on the data path.
#pragma once

#include <string>
#include <vector>

#include "cache/certificate.h"

namespace sallyport {

struct Identity {
  Digest fingerprint{};          // the device's id
  std::string serial;            // as Certificate::serial()
  std::vector<std::string> cns;  // UTF-8 as found, unchecked: all of them, for a template needs exactly one
  std::vector<std::string> san_dns;
  std::vector<std::string> san_uri;
  std::string subject;  // one escaped line
  Digest ca_id{};       // the nearest registered ancestor
  std::string ca_cn;
  std::int64_t not_before = 0;  // the leaf's
  std::int64_t not_after = 0;
};

}  // namespace sallyport
