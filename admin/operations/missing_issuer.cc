#include "admin/operations/missing_issuer.h"

#include <openssl/err.h>
#include <openssl/x509.h>

#include <algorithm>

#include "cache/base/text.h"

namespace sallyport {

namespace {

constexpr std::size_t kShownDigits = 12;

bool signed_by(const Certificate& below, const Certificate& above) {
  if (below.issuer_name() != above.subject_name()) return false;
  EVP_PKEY* const key = X509_get0_pubkey(above.x509());
  const bool good = key != nullptr && X509_verify(below.x509(), key) == 1;
  ERR_clear_error();
  return good;
}

std::string shown(const Certificate& ca) {
  return to_hex(ca.fingerprint()).substr(0, kShownDigits) + "…";
}

std::string nearest(const Certificate& last, const std::vector<CaRecord>& cas) {
  const auto of = [&](auto fits) {
    return std::find_if(cas.begin(), cas.end(), [&](const CaRecord& ca) { return fits(ca.certificate); });
  };
  if (const auto same = of([&](const Certificate& ca) { return ca.subject_name() == last.issuer_name(); });
      same != cas.end()) {
    return "; a registered CA of the same name has another key (" + shown(same->certificate) + ")";
  }
  const std::string& key_id = last.authority_key_id();
  if (const auto same = of([&](const Certificate& ca) { return !key_id.empty() && ca.subject_key_id() == key_id; });
      same != cas.end()) {
    return "; a registered CA with that key has another name: " + shortened(same->certificate.subject()) + " (" +
           shown(same->certificate) + ")";
  }
  if (cas.empty()) return "; no CA is registered";
  if (cas.size() == 1) return "; the one registered CA has another name";
  return "; none of the " + std::to_string(cas.size()) + " registered CAs has that name";
}

// Registered or sent: a certificate that `below` says it was signed by, both by name and by key id. Nothing where it
// gives no key id: a CA that was made anew under its old name is then as likely.
const Certificate* claimed_issuer(const Certificate& below, const std::vector<Certificate>& chain,
                                  const std::vector<CaRecord>& cas) {
  const auto claimed = [&](const Certificate& above) {
    return !below.authority_key_id().empty() && above.subject_key_id() == below.authority_key_id() &&
           above.subject_name() == below.issuer_name() && above.fingerprint() != below.fingerprint();
  };
  for (const CaRecord& ca : cas) {
    if (claimed(ca.certificate)) return &ca.certificate;
  }
  const auto sent = std::find_if(chain.begin(), chain.end(), claimed);
  return sent == chain.end() ? nullptr : &*sent;
}

}  // namespace

MissingIssuer missing_issuer(const std::vector<Certificate>& chain, const std::vector<CaRecord>& cas) {
  if (chain.empty()) return {};
  std::vector<bool> used(chain.size());
  std::size_t last = 0;
  for (bool climbs = true; climbs;) {
    climbs = false;
    used[last] = true;
    const bool registered = std::any_of(cas.begin(), cas.end(), [&](const CaRecord& ca) {
      return ca.certificate.fingerprint() == chain[last].fingerprint() || signed_by(chain[last], ca.certificate);
    });
    if (registered) return {};
    for (std::size_t i = 0; i < chain.size() && !climbs; ++i) {
      if (used[i] || !signed_by(chain[last], chain[i])) continue;
      last = i;
      climbs = true;
    }
  }
  const Certificate& top = chain[last];
  if (const Certificate* above = claimed_issuer(top, chain, cas)) {
    return {"its issuer is known, " + shortened(above->subject()) + " (" + shown(*above) +
                "), by its name and its key id, and its signature does not fit: " + shortened(top.subject()) +
                " was changed, or forged",
            true};
  }
  if (signed_by(top, top)) {
    return {"the chain ends with " + shortened(top.subject()) + ", which signed itself and is not registered" +
            nearest(top, cas)};
  }
  return {"issuer " + shortened(one_line(X509_get_issuer_name(top.x509()))) + " is neither registered nor sent" +
          nearest(top, cas)};
}

}  // namespace sallyport
