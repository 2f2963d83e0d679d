// A registry that is served from, copies of it as a killed process leaves them, and what a restore makes of those.
#pragma once

#include <openssl/x509v3.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "admin/operations/restore.h"
#include "cache/registry/restore.h"
#include "tests/admin/api_world.h"

namespace sallyport::test {

namespace fs = std::filesystem;

class RestoreTest : public ApiTest {
 protected:
  static Answer<RestoreReport> restore(const std::string& copy, const std::string& state, bool keep = true,
                                       bool agreed = false, bool accepts = false, bool accept_loss = false) {
    RestoreOptions options;
    options.keep_revocations = keep;
    options.accept_loss = accept_loss;
    options.by = {"alice", "test"};
    return restore_backup(
        copy, state, options, [=](const RestoreReport&) { return agreed; },
        [=](const RestoreReport&) { return accepts; });
  }
  Digest on_line(const Identity509& device) {
    const X509StackPtr none(sk_X509_new_null());
    const Verdict verdict =
        gate_.decide({device.certificate.x509(), none.get()}, *registrar_->ca_set(), {}, std::time(nullptr));
    EXPECT_TRUE(verdict.admitted());
    EXPECT_TRUE(registrar_->register_devices({{verdict.leaf_der, *verdict.identity, *verdict.path, false}}));
    return device.certificate.fingerprint();
  }
  bool registered(const Identity509& ca, std::optional<bool> by_itself = {}, bool approve = false) {
    const auto code = registrar_->issue_code(600);
    if (!code) return false;
    Leaf leaf;
    leaf.cn = code->code;
    leaf.version1 = true;  // as the guides' commands make it
    return static_cast<bool>(
        registrar_->register_ca({ca.certificate, make(leaf, &ca).certificate, by_itself, approve}));
  }
  // A list of `ca_` that has this certificate on hold.
  Answer<CrlOutcome> put_on_hold(const Certificate& held) {
    const std::unique_ptr<X509_CRL, OpensslFree<&X509_CRL_free>> made(X509_CRL_new());
    X509_CRL_set_version(made.get(), X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(made.get(), X509_get_subject_name(ca_.certificate.x509()));
    ASN1_TIME* when = ASN1_TIME_set(nullptr, std::time(nullptr));
    X509_CRL_set1_lastUpdate(made.get(), when);
    X509_REVOKED* entry = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(held.x509()));
    X509_REVOKED_set_revocationDate(entry, when);
    ASN1_ENUMERATED* reason = ASN1_ENUMERATED_new();
    ASN1_ENUMERATED_set(reason, CRL_REASON_CERTIFICATE_HOLD);
    X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, reason, 0, 0);
    ASN1_ENUMERATED_free(reason);
    X509_CRL_add0_revoked(made.get(), entry);
    X509_CRL_set1_nextUpdate(made.get(), ASN1_TIME_set(when, std::time(nullptr) + 3600));
    ASN1_TIME_free(when);
    ASN1_INTEGER* number = ASN1_INTEGER_new();
    ASN1_INTEGER_set(number, 1);
    X509_CRL_add1_ext_i2d(made.get(), NID_crl_number, number, 0, 0);
    ASN1_INTEGER_free(number);
    X509_CRL_sign(made.get(), ca_.key.get(), EVP_sha256());
    unsigned char* der = nullptr;
    const int length = i2d_X509_CRL(made.get(), &der);
    const auto list = Crl::parse({reinterpret_cast<char*>(der), static_cast<std::size_t>(length)}, std::time(nullptr));
    OPENSSL_free(der);
    if (!list) return list.error();
    return registrar_->import_crl(*list);
  }
  // A copy of the present registry, as a killed process leaves it.
  std::string killed() {
    const std::string state = dir_.path() + "/killed";
    fs::copy(dir_.path() + "/state", state, fs::copy_options::recursive);
    fs::remove(state + "/registry/LOCK");
    return state;
  }
  static DeviceStatus status_in(const RegistryStore& store, const Digest& id) {
    const auto row = store.device(id);
    EXPECT_TRUE(row && *row);
    return row && *row ? (*row)->status : DeviceStatus::Pending;
  }
  static CaStatus ca_in(const RegistryStore& store, const Identity509& ca) {
    std::optional<CaStatus> status;
    EXPECT_TRUE(store.each_ca([&](const Digest& id, const CaRow& row) {
      if (id == ca.certificate.fingerprint()) status = row.status;
      return true;
    }));
    EXPECT_TRUE(status);
    return status.value_or(CaStatus::Active);
  }
  static std::vector<std::string> tokens_in(const RegistryStore& store) {
    std::vector<std::string> names;
    EXPECT_TRUE(store.each_token([&](std::string_view name, const TokenRow&) {
      names.emplace_back(name);
      return true;
    }));
    return names;
  }
};

}  // namespace sallyport::test
