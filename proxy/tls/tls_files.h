// A server certificate as it lies in files: chain and key, read and checked before anything is served
// with them. A refusal names the file and what to do. The key stays in this object and in OpenSSL.
#pragma once

#include <string>
#include <vector>

#include "cache/crypto/openssl_ptr.h"
#include "cache/x509/certificate.h"
#include "proxy/config/config.h"

namespace sallyport {

struct ServerCertificate {
  std::vector<Certificate> chain;  // leaf first
  KeyPtr key;
  std::vector<std::string> names;  // DNS names of the leaf, or its CN where it has none
};

// The DNS names of a server's certificate; its CN where it has none.
std::vector<std::string> server_names(const Certificate& leaf);

// Order, key match, dates and key strength. `now` in Unix seconds.
Answer<ServerCertificate> load_server_certificate(const CertificateFiles& files, std::int64_t now);
Answer<std::vector<ServerCertificate>> load_server_certificates(const std::vector<CertificateFiles>& files,
                                                                std::int64_t now);
// The same of texts that came another way; `chain_from` and `key_from` are what a refusal calls them. The
// caller wipes `key_pem`.
Answer<ServerCertificate> parse_server_certificate(std::string_view chain_pem, std::string_view key_pem,
                                                   const std::string& chain_from, const std::string& key_from,
                                                   std::int64_t now);

}  // namespace sallyport
