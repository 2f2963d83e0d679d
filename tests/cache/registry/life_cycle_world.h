// A registrar and an operator, who does to its CAs and devices what the life cycle allows; and lists that revoke.
#pragma once

#include <openssl/x509v3.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/cache/registry/registrar_world.h"

namespace sallyport::test {

class LifeCycle : public RegistrarTest {
 protected:
  void SetUp() override { open(); }
  void restart() {
    close();
    open();
  }
  void crash() {
    env_.crashed = true;
    close();
    env_.crashed = false;
    open();
  }

  Identity509 on_line(const std::string& cn, const Identity509& ca) {
    Identity509 device = make_device(cn, ca);
    EXPECT_TRUE(connects(device.certificate));
    EXPECT_TRUE(eventually([&] { return registered(device.certificate) && in_cache(device.certificate); }));
    return device;
  }
  Reason refused(const Certificate& leaf) { return ask(leaf).reason; }
  // What a resumed session of a device would be told now, by a ticket of now or of an earlier epoch.
  Reason resumed(const Certificate& leaf, std::uint64_t chain = 0) { return resumed(leaf, chain, cache_->epoch()); }
  Reason resumed(const Certificate& leaf, std::uint64_t chain, std::uint32_t epoch, const Admits& admits = {}) {
    return gate_->resume(make_identity(leaf), chain, epoch, *registrar_->ca_set(), admits, std::time(nullptr)).reason;
  }
  Answer<DeviceRecord> set(const Certificate& leaf, DeviceStatus status) {
    return registrar_->set_device_status(leaf.fingerprint(), status, by_);
  }
  std::vector<std::string> audit() {
    std::vector<std::string> lines;
    const auto records = registrar_->audit(0, INT64_MAX, 1000);
    EXPECT_TRUE(records);
    for (const AuditRecord& each : *records) {
      lines.push_back(each.by.who + " " + each.action + " " + each.target.substr(0, 8) + " " + each.before + " > " +
                      each.after);
    }
    return lines;
  }

  std::size_t lines_of(const std::string& action) {
    const std::vector<std::string> lines = audit();
    return static_cast<std::size_t>(std::count_if(lines.begin(), lines.end(), [&](const std::string& line) {
      return line.find(" " + action + " ") != std::string::npos;
    }));
  }
  // On disk, whatever is in force.
  DeviceStatus stored(const Certificate& leaf) const {
    const auto row = store_->device(leaf.fingerprint());
    EXPECT_TRUE(row && *row);
    return row && *row ? (*row)->status : DeviceStatus::Pending;
  }

  struct Entry {
    const Certificate* certificate = nullptr;
    int reason = -1;
    long serial = 0;  // where there is no certificate
  };
  struct CrlOptions {
    long number = 1;
    std::int64_t age = 0;
    bool delta = false, indirect = false, unknown_critical = false, pem = false;
    std::string scope;  // the URI of its distribution point
    bool users = false, cas = false, broken_scope = false;
    std::int64_t valid = 3600;  // seconds from now to the next one
  };
  std::string crl(const Identity509& ca, const std::vector<Entry>& entries) { return crl(ca, entries, CrlOptions{}); }
  std::string crl(const Identity509& ca, const std::vector<Entry>& entries, const CrlOptions& options) {
    std::unique_ptr<X509_CRL, OpensslFree<&X509_CRL_free>> made(X509_CRL_new());
    X509_CRL_set_version(made.get(), X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(made.get(), X509_get_subject_name(ca.certificate.x509()));
    ASN1_TIME* when = ASN1_TIME_set(nullptr, std::time(nullptr) - options.age);
    X509_CRL_set1_lastUpdate(made.get(), when);
    ASN1_TIME_set(when, std::time(nullptr) + options.valid);
    X509_CRL_set1_nextUpdate(made.get(), when);
    ASN1_TIME_set(when, std::time(nullptr) - options.age);
    for (const Entry& entry : entries) {
      X509_REVOKED* revoked = X509_REVOKED_new();
      ASN1_INTEGER* serial = ASN1_INTEGER_new();
      ASN1_INTEGER_set(serial, entry.serial);
      X509_REVOKED_set_serialNumber(
          revoked, entry.certificate != nullptr ? X509_get_serialNumber(entry.certificate->x509()) : serial);
      ASN1_INTEGER_free(serial);
      X509_REVOKED_set_revocationDate(revoked, when);
      if (entry.reason >= 0) {
        ASN1_ENUMERATED* reason = ASN1_ENUMERATED_new();
        ASN1_ENUMERATED_set(reason, entry.reason);
        X509_REVOKED_add1_ext_i2d(revoked, NID_crl_reason, reason, 0, 0);
        ASN1_ENUMERATED_free(reason);
      }
      X509_CRL_add0_revoked(made.get(), revoked);
    }
    ASN1_TIME_free(when);
    ASN1_INTEGER* number = ASN1_INTEGER_new();
    ASN1_INTEGER_set(number, options.number);
    X509_CRL_add1_ext_i2d(made.get(), NID_crl_number, number, 0, 0);
    if (options.delta) X509_CRL_add1_ext_i2d(made.get(), NID_delta_crl, number, 1, 0);
    ASN1_INTEGER_free(number);
    if (options.broken_scope) {
      ASN1_OCTET_STRING* nothing = ASN1_OCTET_STRING_new();
      ASN1_OCTET_STRING_set(nothing, reinterpret_cast<const unsigned char*>("\5\0"), 2);
      X509_EXTENSION* extension = X509_EXTENSION_create_by_NID(nullptr, NID_issuing_distribution_point, 1, nothing);
      X509_CRL_add_ext(made.get(), extension, -1);
      X509_EXTENSION_free(extension);
      ASN1_OCTET_STRING_free(nothing);
    }
    if (options.indirect || options.users || options.cas || !options.scope.empty()) {
      ISSUING_DIST_POINT* point = ISSUING_DIST_POINT_new();
      if (options.indirect) point->indirectCRL = 0xFF;
      if (options.users) point->onlyuser = 0xFF;
      if (options.cas) point->onlyCA = 0xFF;
      if (!options.scope.empty()) {
        GENERAL_NAME* name = GENERAL_NAME_new();
        ASN1_IA5STRING* uri = ASN1_IA5STRING_new();
        ASN1_STRING_set(uri, options.scope.data(), static_cast<int>(options.scope.size()));
        GENERAL_NAME_set0_value(name, GEN_URI, uri);
        point->distpoint = DIST_POINT_NAME_new();
        point->distpoint->type = 0;  // its full name
        point->distpoint->name.fullname = GENERAL_NAMES_new();
        sk_GENERAL_NAME_push(point->distpoint->name.fullname, name);
      }
      X509_CRL_add1_ext_i2d(made.get(), NID_issuing_distribution_point, point, 1, 0);
      ISSUING_DIST_POINT_free(point);
    }
    if (options.unknown_critical) {
      ASN1_OCTET_STRING* nothing = ASN1_OCTET_STRING_new();
      ASN1_OBJECT* what = OBJ_txt2obj("1.3.6.1.4.1.99999.1", 1);
      X509_EXTENSION* extension = X509_EXTENSION_create_by_OBJ(nullptr, what, 1, nothing);
      X509_CRL_add_ext(made.get(), extension, -1);
      X509_EXTENSION_free(extension);
      ASN1_OBJECT_free(what);
      ASN1_OCTET_STRING_free(nothing);
    }
    X509_CRL_sort(made.get());
    X509_CRL_sign(made.get(), ca.key.get(), EVP_sha256());
    unsigned char* der = nullptr;
    const int length = i2d_X509_CRL(made.get(), &der);
    std::string bytes(reinterpret_cast<char*>(der), static_cast<std::size_t>(length));
    OPENSSL_free(der);
    return bytes;
  }
  Answer<CrlOutcome> import(const std::string& bytes) {
    const auto parsed = Crl::parse(bytes, std::time(nullptr));
    if (!parsed) return parsed.error();
    return registrar_->import_crl(*parsed, by_);
  }
  Answer<std::vector<Registered>> pre_register(const std::vector<Certificate>& leaves,
                                               const std::vector<Certificate>& sent = {}) {
    std::vector<Registration> all;
    for (const Certificate& leaf : leaves) {
      const X509StackPtr stack(sk_X509_new_null());
      for (const Certificate& each : sent) sk_X509_push(stack.get(), each.x509());
      Admits admits;
      admits.by_operator = true;
      const Verdict verdict =
          gate_->decide({leaf.x509(), stack.get()}, *registrar_->ca_set(), admits, std::time(nullptr));
      EXPECT_TRUE(verdict.admitted()) << to_string(verdict.reason);
      if (verdict.path) all.push_back({verdict.leaf_der, *verdict.identity, *verdict.path, false});
    }
    return registrar_->register_devices(std::move(all), by_);
  }

  const Actor by_{"alice", "test"};
};

}  // namespace sallyport::test
