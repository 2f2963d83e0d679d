// A revocation list put in force, part by part, so that a deactivation never waits for the whole of a long one. A part
// that was written stays: importing the list again completes it. Made for one import on the thread of whoever asked;
// take() and finish() run on the registrar's. Included by the registrar's sources alone.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <vector>

#include "cache/registry/registrar_impl.h"
#include "cache/x509/crl.h"

namespace sallyport {

class CrlImport {
 public:
  // `under`: the registered CA whose key signed it, and others of its name under whose keys it counts, too. All outlive
  // the import.
  CrlImport(Registrar::Impl& registrar, const Crl& crl, std::vector<Digest> under, const Actor& by);

  std::size_t entries() const { return crl_.entries().size(); }
  // Entries [from, to): their serials are revoked, or held; in force also where the disk refuses them, which finish()
  // answers: the parts behind must be in force, too.
  Answer<void> take(std::size_t from, std::size_t to);
  // Behind the last part. The list may also name CAs that its issuer signed: registered ones become inactive, and
  // chains through a revoked certificate that clients sent end here. Its number is remembered.
  Answer<void> finish();

  // Of which last list it is the next.
  static CrlKey key_of(const Crl& crl, const Digest& issuing_key);

  const CrlOutcome& outcome() const { return outcome_; }

 private:
  // A part on its way to one commit.
  struct Part {
    RegistryStore::Batch batch;
    std::uint64_t chain = 0;  // of serials that nobody has shown
    Digest issuing_key{};
    std::vector<Registrar::Impl::Accepted> changed, unseen;
  };
  // What the registry had of a serial.
  struct Found {
    bool stored = false;   // it has a row
    bool changes = false;  // and the list changes it
  };

  Answer<void> take_under(const Digest& ca, const CaSet& cas, std::size_t from, std::size_t to);
  void look_elsewhere(const CaSet& cas, std::size_t from, std::size_t to);
  void name_elsewhere(const CaSet& cas);
  std::string also_under() const;                 // for the audit log
  std::set<Digest> keys(const CaSet& cas) const;  // under which it is taken
  bool in_force(const IssuerSerial& name, const Digest& issuing_key) const;
  Answer<Found> change_registered(Part& part, const CrlEntry& entry, const IssuerSerial& name);
  void add_unseen(Part& part, const CrlEntry& entry, const IssuerSerial& name);
  Answer<void> take_entry(Part& part, const CrlEntry& entry);
  Answer<void> write(Part& part);
  Answer<void> deactivate_cas(const CaSet& cas, const Digest& issuing_key);

  Registrar::Impl& registrar_;
  const Crl& crl_;
  const std::vector<Digest> under_;
  const Actor& by_;
  std::map<Digest, std::uint64_t> elsewhere_;  // devices with numbers that it names, by issuing key
  CrlOutcome outcome_;
  std::optional<Refusal> why_not_durable_;  // all of the list is in force all the same
};

}  // namespace sallyport
