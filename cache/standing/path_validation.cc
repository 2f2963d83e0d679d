#include "cache/standing/path_validation.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "cache/crypto/openssl_ptr.h"
#include "cache/standing/path_builder.h"

namespace sallyport {

namespace {

constexpr int kSecurityLevel = 2;  // SSL_CTX_set_security_level(3): 112 bits

using StorePtr = std::unique_ptr<X509_STORE, OpensslFree<&X509_STORE_free>>;

// The path as it was found, leaf first, and what it is looked at for.
struct Checked {
  std::vector<const Certificate*> path;
  std::int64_t now = 0;
  bool another_path = false;  // OpenSSL has put another one together
};

// In place of X509_check_issued(3), by which OpenSSL puts a path together: that one refuses an issuer whose serial
// number or key id is not the one in the authority key id, and a CA renewed with its key has another serial. The path
// builder has matched the names and checked the signatures of this very path, so each certificate's issuer is the next
// one.
int is_next_in_path(X509_STORE_CTX* context, X509* subject, X509* issuer) {
  const auto* checked = static_cast<const Checked*>(X509_STORE_CTX_get_app_data(context));
  if (checked == nullptr) return 0;
  for (std::size_t i = 0; i + 1 < checked->path.size(); ++i) {
    if (checked->path[i]->x509() == subject && checked->path[i + 1]->x509() == issuer) return 1;
  }
  return 0;
}

// It holds no certificate, and nothing but is_next_in_path(): who uses it reads it only.
X509_STORE* following_the_path() {
  static const StorePtr store = [] {
    StorePtr made(X509_STORE_new());
    if (made) X509_STORE_set_check_issued(made.get(), &is_next_in_path);
    return made;
  }();
  return store.get();
}

// In place of X509_verify_cert()'s last step: the path builder has just checked each signature of this very path, and
// checking them again would cost as much as all the rest. The dates are what else that step looks at
// (internal_verify() in OpenSSL's crypto/x509/x509_vfy.c).
int dates_only(X509_STORE_CTX* context) {
  const STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(context);
  auto& checked = *static_cast<Checked*>(X509_STORE_CTX_get_app_data(context));
  const auto length = static_cast<std::size_t>(std::max(0, sk_X509_num(chain)));
  checked.another_path = length != checked.path.size();
  for (std::size_t i = 0; i < length && !checked.another_path; ++i) {
    checked.another_path = sk_X509_value(chain, static_cast<int>(i)) != checked.path[i]->x509();
  }
  if (checked.another_path) return 0;
  for (std::size_t depth = length; depth-- > 0;) {
    // X509_cmp_time(3): a time that is now counts as past.
    int error = X509_V_OK;
    if (checked.path[depth]->not_before() > checked.now) error = X509_V_ERR_CERT_NOT_YET_VALID;
    if (checked.path[depth]->not_after() <= checked.now) error = X509_V_ERR_CERT_HAS_EXPIRED;
    if (error == X509_V_OK) continue;
    X509_STORE_CTX_set_error_depth(context, static_cast<int>(depth));
    X509_STORE_CTX_set_error(context, error);
    return 0;
  }
  return 1;
}

// With `checked` exactly that path, whose signatures are not checked again. Without it whatever OpenSSL makes of the
// same certificates, by itself.
Validation validate(const Certificate& leaf, const std::vector<Certificate>& intermediates, const Certificate& anchor,
                    std::int64_t now, Checked* checked) {
  const StoreContextPtr context(X509_STORE_CTX_new());
  const X509StackPtr untrusted(sk_X509_new_null());
  const X509StackPtr trusted(sk_X509_new_null());
  X509_STORE* store = checked == nullptr ? nullptr : following_the_path();
  if (!context || !untrusted || !trusted || (checked != nullptr && store == nullptr)) return {X509_V_ERR_OUT_OF_MEM, 0};
  for (const Certificate& certificate : intermediates) sk_X509_push(untrusted.get(), certificate.x509());
  sk_X509_push(trusted.get(), anchor.x509());
  if (X509_STORE_CTX_init(context.get(), store, leaf.x509(), untrusted.get()) != 1) return {X509_V_ERR_UNSPECIFIED, 0};
  X509_STORE_CTX_set0_trusted_stack(context.get(), trusted.get());
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(context.get());
  // A registered intermediate is an anchor by itself. Not X509_STRICT: step 5 in README.md.
  X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
  X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_CLIENT);
  X509_VERIFY_PARAM_set_auth_level(param, kSecurityLevel);
  X509_VERIFY_PARAM_set_depth(param, static_cast<int>(PathBuilder::kMostSent) + 1);
  X509_VERIFY_PARAM_set_time(param, now);
  if (checked != nullptr) {
    X509_STORE_CTX_set_app_data(context.get(), checked);
    X509_STORE_CTX_set_verify(context.get(), &dates_only);
  }
  const int outcome = X509_verify_cert(context.get());
  Validation result{X509_STORE_CTX_get_error(context.get()), X509_STORE_CTX_get_error_depth(context.get())};
  if (outcome == 1) {
    result.error = X509_V_OK;
  } else if (result.error == X509_V_OK) {
    result.error = X509_V_ERR_UNSPECIFIED;  // fail closed: an outcome without a reason is none
  }
  ERR_clear_error();
  return result;
}

}  // namespace

Validation validate(const Certificate& leaf, const std::vector<Certificate>& intermediates, const Certificate& anchor,
                    std::int64_t now) {
  Checked checked{.now = now};
  checked.path.push_back(&leaf);
  for (const Certificate& certificate : intermediates) checked.path.push_back(&certificate);
  checked.path.push_back(&anchor);
  const Validation result = validate(leaf, intermediates, anchor, now, &checked);
  return checked.another_path ? validate(leaf, intermediates, anchor, now, nullptr) : result;
}

Reason reason_of(const Validation& validation) {
  switch (validation.error) {
    case X509_V_OK: return Reason::None;
    case X509_V_ERR_CERT_HAS_EXPIRED: return Reason::Expired;
    case X509_V_ERR_CERT_NOT_YET_VALID: return Reason::NotYetValid;
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE: return Reason::BadSignature;
    case X509_V_ERR_INVALID_PURPOSE: return validation.depth == 0 ? Reason::BadPurpose : Reason::BadChain;
    default: return Reason::BadChain;
  }
}

std::string_view words_of(const Validation& validation) {
  return X509_verify_cert_error_string(validation.error);
}

}  // namespace sallyport
