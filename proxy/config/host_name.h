// A host as TLS knows it: in the ClientHello (RFC 6066, section 3) and in a certificate's subjectAltName (RFC 9525).
// Pure.
#pragma once

#include <string_view>

namespace sallyport {

// An IPv4 or IPv6 address, without brackets.
bool is_ip_address(std::string_view host);
// A DNS name in ASCII: labels of letters, digits, '-' and '_', at most 63 characters each and 253 together; a dot at
// its end may stand. No pattern, no address.
bool is_dns_name(std::string_view host);
// As it stands in a certificate: without the dot at its end.
std::string_view without_root_dot(std::string_view host);

}  // namespace sallyport
