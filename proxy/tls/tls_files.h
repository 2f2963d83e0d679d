// A server certificate as it lies in files: chain and key, read and checked before anything is served
// with them. A refusal names the file and what to do. Private keys are in memory once (server_key.h).
#pragma once

#include <string>
#include <vector>

#include "cache/crypto/openssl_ptr.h"
#include "cache/x509/certificate.h"
#include "proxy/config/config.h"
#include "proxy/tls/server_key.h"

namespace sallyport {

struct ServerCertificate {
  std::vector<Certificate> chain;  // leaf first
  ServerKey key;
  std::vector<std::string> names;  // DNS names of the leaf, or its CN where it has none

  const Certificate& leaf() const { return chain.front(); }
};

// The DNS names of a server's certificate; its CN where it has none.
std::vector<std::string> server_names(const Certificate& leaf);

// Order, key match and key strength. Dates are no reason to serve nobody: many a device has no clock, and a server's
// may be wrong. Who serves one that is out of date warns (see date_flaw()).
Answer<ServerCertificate> load_server_certificate(const CertificateFiles& files);
Answer<std::vector<ServerCertificate>> load_server_certificates(const std::vector<CertificateFiles>& files);
// The same of texts that came another way; `chain_from` and `key_from` are what a refusal calls them. The
// caller wipes `key_pem`.
Answer<ServerCertificate> parse_server_certificate(std::string_view chain_pem, std::string_view key_pem,
                                                   const std::string& chain_from, const std::string& key_from);

// PEM, not encrypted. A refusal names the file.
Answer<KeyPtr> load_private_key(const std::string& path);

// Why it is no server's, as clients judge that look (RFC 5280, section 4.2.1.12): empty where it is one.
std::string_view purpose_flaw(const Certificate& leaf);

// Why a client that looks at dates refuses it at `now`, in Unix seconds: "has expired" or "is not valid yet"; empty:
// it does not.
std::string_view date_flaw(const Certificate& leaf, std::int64_t now);
// What a listener that has all of these presents at `now`: one that is out of date is left out where those in date have
// its names, and comes behind them otherwise. Never empty unless `all` is.
std::vector<ServerCertificate> presented_of(const std::vector<ServerCertificate>& all, std::int64_t now);

}  // namespace sallyport
