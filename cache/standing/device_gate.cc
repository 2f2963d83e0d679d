#include "cache/standing/device_gate.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>

#include "cache/crypto/openssl_ptr.h"
#include "cache/standing/ca_set.h"
#include "cache/standing/chains.h"
#include "cache/standing/path_builder.h"
#include "cache/standing/path_validation.h"
#include "cache/x509/plain_leaf.h"

namespace sallyport {

namespace {

void say(Trace* trace, int number, std::string_view what, std::string_view found) {
  if (trace != nullptr) trace->step(number, what, found);
}

// What `explain` prints; made only where somebody asked.
std::string date(std::int64_t at) {
  const std::time_t when = at;
  std::tm parts{};
  char text[32];
  if (::gmtime_r(&when, &parts) == nullptr) return std::to_string(at);
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

std::string dates(const Certificate& certificate) {
  return date(certificate.not_before()) + " to " + date(certificate.not_after());
}
std::string dates(const Identity& device) {
  return date(device.not_before) + " to " + date(device.not_after);
}

// The registered CAs upwards, nearest first.
std::string path_text(const CaSet& cas, std::size_t owner, std::int64_t now) {
  std::string text;
  for (const Digest& id : cas.path_ids(owner, now)) {
    const CaEntry& ca = cas.entry(*cas.find(id));
    text += (text.empty() ? "CA " : " <- CA ") + to_hex(id).substr(0, 12) + " (" + ca.certificate.cn() + ", " +
            std::string(to_string(ca.status)) + ", " + dates(ca.certificate) + ")";
  }
  return text;
}

void say_looked_up(Trace* trace, const Identity& device, const std::optional<SlotState>& slot) {
  if (trace == nullptr) return;
  const auto* serial = reinterpret_cast<const std::uint8_t*>(device.serial.data());
  trace->step(2,
              "serial " + serial_hex({serial, device.serial.size()}) + " of its issuer, fingerprint " +
                  to_hex(device.fingerprint),
              slot ? "a registered device, " + std::string(to_string(static_cast<DeviceStatus>(slot->status)))
                   : "not registered");
}

std::string path_text(const CaSet& cas, const std::vector<Certificate>& intermediates, std::size_t owner,
                      std::int64_t now) {
  std::string text;
  for (const Certificate& each : intermediates)
    text += "sent " + short_line(X509_get_subject_name(each.x509())) + " (" + dates(each) + ") <- ";
  return text + path_text(cas, owner, now);
}

// OpenSSL's one error for a leaf that is no TLS client's says nothing of the extension that makes it none.
constexpr std::string_view kMayNotSign =
    "its key usage allows neither digitalSignature nor keyAgreement: a TLS client signs with its key";
bool may_not_sign(const Certificate& leaf) {
  X509* x509 = leaf.x509();
  // X509_get_extension_flags(3): without the extension every use is allowed.
  return (X509_get_extension_flags(x509) & EXFLAG_KUSAGE) != 0 &&
         (X509_get_key_usage(x509) & (KU_DIGITAL_SIGNATURE | KU_KEY_AGREEMENT)) == 0;
}

// Steps 4 and 5: each path that was found, and what stands against it; the last one is taken. Then, or without any,
// why none is.
void say_search(Trace* trace, const Certificate& leaf, const PathSearch& search, std::string_view why, const CaSet& cas,
                std::int64_t now) {
  if (trace == nullptr) return;
  constexpr std::string_view kPath = "a path to a registered CA, from the leaf upwards";
  bool said = search.reason == Reason::None;
  for (const PathSearch::Tried& tried : search.tried) {
    trace->step(4, kPath, path_text(cas, tried.intermediates, tried.owner, now));
    const bool revoked = tried.flaw.reason != Reason::None && tried.flaw.error == X509_V_OK;
    trace->step(5, "RFC 5280 path validation at " + date(now) + "; its dates, " + dates(leaf),
                revoked ? "an intermediate that the client sent is revoked"
                : tried.flaw.reason == Reason::BadPurpose && may_not_sign(leaf) ? kMayNotSign
                                                                                : words_of({tried.flaw.error}));
    said = said || tried.flaw.reason == search.reason;
  }
  if (said) return;
  std::string found(to_string(search.reason));
  if (!why.empty()) found += ": " + std::string(why);
  if (search.owner) found += ": " + path_text(cas, *search.owner, now);
  trace->step(4, kPath, found);
}

// `why`: static storage, in the words of `explain`.
Verdict refuse(Verdict verdict, Reason reason, std::string_view why = {}, int detail = 0) {
  verdict.reason = reason;
  verdict.detail = detail;
  verdict.why = why;
  return verdict;
}

constexpr std::string_view kIsDevice = "a device's certificate";
constexpr std::string_view kIsNone = "no: of a CA, of this server, or a verification certificate";

constexpr std::string_view kNoProof =
    "TLS has no signature with a key of this kind: use EC P-256, P-384 or P-521, Ed25519, or RSA";
constexpr std::string_view kTooMuch = "TLS takes at most 16 KiB of certificates from a client";

// The body of the Certificate message, in TLS 1.2 (RFC 5246, section 7.4.2), which is the shorter one.
std::size_t message_bytes(const PeerChain& peer, std::size_t leaf_bytes) {
  std::size_t bytes = 3 + 3 + leaf_bytes;
  const auto* stack = reinterpret_cast<const STACK_OF(X509)*>(peer.sent);
  for (int i = 0; i < (stack == nullptr ? 0 : sk_X509_num(stack)); ++i) {
    X509* x509 = sk_X509_value(stack, i);
    if (x509 == peer.leaf) continue;
    bytes += 3 + static_cast<std::size_t>(std::max(0, i2d_X509(x509, nullptr)));
  }
  return bytes;  // `behind` came in a message, and has passed
}

// The client's certificates beside the leaf. False: more than the gate looks at, or none.
bool collect_sent(const PeerChain& peer, const Certificate& leaf, std::vector<Certificate>& sent) {
  // What cannot be read is no path material; without it the path is found or it is not.
  const auto keep = [&](Answer<Certificate> certificate) {
    if (certificate && certificate->fingerprint() != leaf.fingerprint()) sent.push_back(std::move(*certificate));
  };
  const auto* stack = reinterpret_cast<const STACK_OF(X509)*>(peer.sent);
  const int count = stack == nullptr ? 0 : sk_X509_num(stack);
  for (int i = 0; i < count; ++i) {
    X509* x509 = sk_X509_value(stack, i);
    if (x509 == peer.leaf) continue;
    if (sent.size() == PathBuilder::kMostSent) return false;
    keep(Certificate::from_x509(x509));
  }
  for (const Bytes der : peer.behind) {
    if (sent.size() == PathBuilder::kMostSent) return false;
    auto certificate = Certificate::from_der_lightly(der);
    if (!certificate) return false;
    keep(std::move(certificate));
  }
  return true;
}

PathFound path_of(const PathSearch& search, const CaSet& cas, std::int64_t now) {
  PathFound path;
  path.cas = cas.path_ids(*search.owner, now);
  path.intermediates = search.intermediates;
  const Window window = cas.window(*search.owner, now).value_or(Window{});
  path.not_before = window.not_before;
  path.not_after = window.not_after;
  for (const Certificate& certificate : path.intermediates) {
    path.not_before = std::max(path.not_before, certificate.not_before());
    path.not_after = std::min(path.not_after, certificate.not_after());
  }
  return path;
}

// What will be registered, and whose key has to be proven, is what OpenSSL reads.
bool says_the_same(const Certificate& leaf, const PlainLeaf& plain) {
  const ASN1_BIT_STRING* key = X509_get0_pubkey_bitstr(leaf.x509());
  const bool same_key = leaf.key_type() == KeyType::EcP256 && key != nullptr &&
                        std::equal(plain.point.begin(), plain.point.end(), key->data, key->data + key->length);
  return same_key && make_identity(leaf) == plain.identity;
}

bool is_a_device(const Certificate& leaf, const Identity& identity, const CaSet& cas) {
  const bool says_ca = (X509_get_extension_flags(leaf.x509()) & EXFLAG_CA) != 0;
  const bool is_code = std::any_of(identity.cns.begin(), identity.cns.end(),
                                   [&](const std::string& cn) { return cas.is_issued_code(cn); });
  return !says_ca && !is_code && !cas.is_ca_key(leaf.spki_hash()) && !cas.is_server_key(leaf.spki_hash());
}

}  // namespace

Reason DeviceGate::serial_reason(const Verdict& verdict, const Digest& issuing_key) const {
  const StatusCache::Visitor visitor(visited_);
  return serial_standing(cache_, chains_, verdict.key, verdict.identity->serial, issuing_key);
}

Reason serial_standing(const StatusCache& cache, const ChainTable& chains, const DeviceKey& key,
                       std::string_view serial, const Digest& issuing_key) {
  Reason reason = Reason::None;
  const auto look_at = [&](const DeviceKey& slot, SlotState state) {
    if (slot.same_fingerprint(key)) return;
    const ChainRecord* chain = chains.record(state.chain);
    // Two CAs may share a name: only the same issuing key makes it the same serial number.
    if (chain != nullptr && chain->issuing_key != issuing_key) return;
    const auto status = static_cast<DeviceStatus>(state.status);
    if (status == DeviceStatus::Revoked) {
      reason = Reason::DeviceRevoked;
      return;
    }
    if (reason == Reason::DeviceRevoked || chains.forgotten(state.chain)) return;
    // A serial on hold whose certificate nobody has shown, or a serial that other bytes hold.
    reason = chain != nullptr && chain->crl ? reason_of(status) : Reason::SerialConflict;
  };
  cache.each_of_name(key.name, look_at);
  cache.each_of_name(cache.key(nameless_serial(issuing_key, serial), {}).name, look_at);
  return reason;
}

std::optional<SlotState> registered_slot(const StatusCache& cache, const ChainTable& chains, const DeviceKey& key) {
  auto slot = cache.find(key);
  const bool revoked = slot && slot->status == static_cast<std::uint8_t>(DeviceStatus::Revoked);
  if (slot && !revoked && chains.forgotten(slot->chain)) slot.reset();
  return slot;
}

bool serial_listed(const StatusCache& cache, const ChainTable& chains, const IssuerSerial& name,
                   std::string_view serial, const Digest& issuing_key) {
  // No fingerprint has this key, so every slot of the name counts.
  const DeviceKey nobody{cache.key(name, Digest{}).name, 0, 0};
  const Reason standing = serial_standing(cache, chains, nobody, serial, issuing_key);
  return standing == Reason::DeviceRevoked || standing == Reason::DeviceInactive;
}

std::optional<SlotState> DeviceGate::slot_of(const DeviceKey& key) const {
  const StatusCache::Visitor visitor(visited_);
  return registered_slot(cache_, chains_, key);
}

bool DeviceGate::listed(const IssuerSerial& name, std::string_view serial, const Digest& issuing_key) const {
  const StatusCache::Visitor visitor(visited_);
  return serial_listed(cache_, chains_, name, serial, issuing_key);
}

bool DeviceGate::intermediate_revoked(const std::vector<Certificate>& intermediates, const Digest& owner_spki) const {
  for (std::size_t i = 0; i < intermediates.size(); ++i) {
    const Certificate& at = intermediates[i];
    const Digest& issuer = i + 1 < intermediates.size() ? intermediates[i + 1].spki_hash() : owner_spki;
    if (listed(issuer_serial(at.issuer_name(), at.serial()), at.serial(), issuer)) return true;
  }
  return false;
}

// What the reason of a search does not say by itself.
std::string_view DeviceGate::why(const Certificate& leaf, const PathSearch& search, const CaSet& cas,
                                 std::int64_t now) const {
  if (search.reason == Reason::BadPurpose && may_not_sign(leaf)) return kMayNotSign;
  if (search.error != X509_V_OK) return words_of({search.error});
  if (!search.owner) return {};
  if (search.reason == Reason::CaUnknown) return kNotInCas;
  if (search.reason != Reason::CaInactive) return {};
  const bool sent = std::any_of(search.tried.begin(), search.tried.end(), [](const PathSearch::Tried& each) {
    return each.flaw.reason == Reason::CaInactive && each.flaw.error == X509_V_OK;
  });
  if (sent) return kCaRevoked;
  for (const Digest& id : cas.path_ids(*search.owner, now)) {
    const CaEntry& ca = cas.entry(*cas.find(id));
    const std::vector<std::size_t>* issuers = cas.groups_of(ca.certificate.issuer_name());
    if (ca.status == CaStatus::Active || issuers == nullptr) continue;
    const IssuerSerial name = issuer_serial(ca.certificate.issuer_name(), ca.certificate.serial());
    const bool revoked = std::any_of(issuers->begin(), issuers->end(), [&](std::size_t group) {
      return listed(name, ca.certificate.serial(), cas.group(group).spki_hash);
    });
    if (revoked) return kCaRevoked;
  }
  return {};
}

// What may stand against a path from a registered CA down to the leaf; the search goes back and looks for another.
class DeviceGate::Judge final : public PathJudge {
 public:
  Judge(const DeviceGate& gate, std::int64_t now) : gate_(gate), now_(now) {}
  PathFlaw judge(const Certificate& leaf, const std::vector<Certificate>& intermediates,
                 const Certificate& anchor) const override {
    const Validation validation = validate(leaf, intermediates, anchor, now_);
    if (validation.error != X509_V_OK) return {reason_of(validation), validation.error};
    if (gate_.intermediate_revoked(intermediates, anchor.spki_hash())) return {Reason::CaInactive, X509_V_OK};
    return {};
  }

 private:
  const DeviceGate& gate_;
  const std::int64_t now_;
};

bool DeviceGate::known_and_alive(Verdict& verdict, const SlotState& slot, const CaSet& cas, const Admits& admits,
                                 std::int64_t now) const {
  if (!chains_.alive(slot.chain, now)) return false;
  const ChainRecord* chain = chains_.record(slot.chain);
  const auto owner = chain == nullptr || chain->cas.empty() ? std::nullopt : cas.find(chain->cas.front());
  if (!owner || cas.standing(*owner, now) != Reason::None) return false;
  if (chain->standing_between(cas, now) != Reason::None) return false;
  if (!PathBuilder::admitted(cas, admits, *owner, now)) return false;
  verdict.known = true;
  verdict.seen_today = slot.seen_on(unix_day(now));
  verdict.chain_id = slot.chain;
  verdict.chain_cas = cas.path_ids(*owner, now);
  const Certificate& ca = cas.entry(*owner).certificate;
  verdict.identity->ca_id = ca.fingerprint();
  verdict.identity->ca_cn = ca.cn();
  const Window window = cas.window(*owner, now).value_or(Window{});
  verdict.good_until = std::min({verdict.identity->not_after, window.not_after, chain->intermediate_dates.not_after});
  return true;
}

Verdict DeviceGate::resume(const Identity& identity, std::uint64_t chain_id, std::uint32_t epoch, const CaSet& cas,
                           const Admits& admits, std::int64_t now) const {
  Verdict verdict;
  verdict.epoch = cache_.epoch();
  verdict.identity.emplace(identity);
  verdict.key = cache_.key(identity.issuer_serial, identity.fingerprint);
  verdict.reason = standing_since(verdict, chain_id, epoch, cas, admits, now);
  return verdict;
}

Reason DeviceGate::standing_since(Verdict& verdict, std::uint64_t chain_id, std::uint32_t epoch, const CaSet& cas,
                                  const Admits& admits, std::int64_t now) const {
  if (now > verdict.identity->not_after) return Reason::Expired;
  if (now < verdict.identity->not_before) return Reason::NotYetValid;
  const auto slot = slot_of(verdict.key);
  if (!slot) return Reason::NotRegistered;
  if (const Reason own = reason_of(static_cast<DeviceStatus>(slot->status)); own != Reason::None) return own;
  // Lost since, whatever it is now.
  if (slot->epoch > epoch || epoch >= StatusCache::kLastEpoch) return Reason::DeviceInactive;
  // Of another node, which knows of losses that this one has not heard of yet.
  if (epoch > cache_.epoch()) return Reason::DeviceInactive;
  if (chain_id != 0 && slot->chain != chain_id) return Reason::BadChain;
  if (!known_and_alive(verdict, *slot, cas, admits, now)) return Reason::CaInactive;
  // The epoch behind alive(): whoever sees a chain that is alive again sees the epoch in which it was not.
  return chains_.epoch(slot->chain) > epoch ? Reason::CaInactive : Reason::None;
}

Verdict DeviceGate::decide(const PeerChain& peer, const CaSet& cas, const Admits& admits, std::int64_t now,
                           Trace* trace) const {
  Verdict verdict;
  if (peer.leaf == nullptr && peer.plain == nullptr) return refuse(std::move(verdict), Reason::NoCertificate);
  // What is read plainly is enough for a known device, and for nobody else: that these bytes are a certificate, and
  // what it says, OpenSSL said when they were registered.
  if (peer.plain != nullptr) {
    verdict.identity = peer.plain->identity;  // its key is on P-256
  } else if (auto leaf = Certificate::brief(peer.leaf); leaf) {
    verdict.identity = make_identity(*leaf);
    // In a handshake TLS refuses these by itself, the one before and the other behind this decision.
    if (message_bytes(peer, leaf->der().size()) > kMostCertificateBytes) {
      say(trace, 1, "the client's certificates", kTooMuch);
      return refuse(std::move(verdict), Reason::TlsError, kTooMuch);
    }
    if (!leaf->provable_in_tls()) {
      say(trace, 1, "the certificate's key", kNoProof);
      return refuse(std::move(verdict), Reason::BadChain, kNoProof);
    }
  } else {
    say(trace, 2, "the certificate", leaf.error().what);
    return refuse(std::move(verdict), Reason::BadChain, "the certificate cannot be read");
  }
  const Identity& device = *verdict.identity;
  verdict.key = cache_.key(device.issuer_serial, device.fingerprint);
  verdict.epoch = cache_.epoch();  // before anything is looked up: a loss from now on is of a later one
  const auto slot = slot_of(verdict.key);
  say_looked_up(trace, device, slot);
  if (slot) {
    if (const Reason own = reason_of(static_cast<DeviceStatus>(slot->status)); own != Reason::None) {
      say(trace, 3, "its own status", to_string(own));
      return refuse(std::move(verdict), own);
    }
    if (now >= device.not_before && now <= device.not_after && known_and_alive(verdict, *slot, cas, admits, now)) {
      if (trace != nullptr) {
        trace->step(3, "its chain " + std::to_string(slot->chain) + " and its dates, " + dates(device),
                    "alive: " + path_text(cas, *cas.find(verdict.chain_cas.front()), now) +
                        "; admitted without verifying again");
      }
      return verdict;
    }
    if (trace != nullptr) {
      trace->step(3, "its chain " + std::to_string(slot->chain) + " and its dates, " + dates(device),
                  "not alive, out of date, or not admitted on this listener: looking for another path");
    }
  }
  const auto leaf =
      peer.plain == nullptr ? Certificate::from_x509(peer.leaf) : Certificate::from_der_lightly(peer.plain->der);
  if (!leaf || (peer.plain != nullptr && !says_the_same(*leaf, *peer.plain))) {
    say(trace, 4, "the certificate", "cannot be read");
    return refuse(std::move(verdict), Reason::BadChain, "the certificate cannot be read");
  }
  return decide_path(*leaf, peer, cas, admits, now, slot.has_value(), std::move(verdict), trace);
}

Verdict DeviceGate::decide_path(const Certificate& leaf, const PeerChain& peer, const CaSet& cas, const Admits& admits,
                                std::int64_t now, bool registered, Verdict verdict, Trace* trace) const {
  std::vector<Certificate> sent;
  if (!collect_sent(peer, leaf, sent)) {
    constexpr std::string_view kMany = "more than 8 certificates beside the device's, or one that cannot be read";
    say(trace, 4, "the client's certificates", kMany);
    return refuse(std::move(verdict), Reason::BadChain, kMany);
  }
  if (!leaf.rsa_at_most(kLargestRsaBits)) {  // whoever is registered proves that key in each handshake
    constexpr std::string_view kSlow = "an RSA key too slow to check signatures with";
    say(trace, 4, "the certificate", kSlow);
    return refuse(std::move(verdict), Reason::BadChain, kSlow);
  }
  const Judge judge(*this, now);
  const PathSearch search = PathBuilder(cas, admits, judge, std::move(sent), now).find(leaf);
  const std::string_view why_not = why(leaf, search, cas, now);
  say_search(trace, leaf, search, why_not, cas, now);
  if (!search.tried.empty() && search.owner) {
    const Certificate& ca = cas.entry(*search.owner).certificate;
    verdict.identity->ca_id = ca.fingerprint();
    verdict.identity->ca_cn = ca.cn();
  }
  // A CA's own certificate: that is what is wrong with it, whatever it may be used for.
  if (search.reason == Reason::BadPurpose && leaf.is_ca()) {
    say(trace, 7, kIsDevice, kIsNone);
    return refuse(std::move(verdict), Reason::NotADevice);
  }
  if (search.reason != Reason::None) {
    return refuse(std::move(verdict), search.reason, why_not, search.error);
  }
  const CaEntry& owner = cas.entry(*search.owner);
  const Reason serial = serial_reason(verdict, issuing_key_of(search.intermediates, owner.certificate.spki_hash()));
  say(trace, 6, "its serial number", serial == Reason::None ? "not taken" : to_string(serial));
  if (serial != Reason::None) return refuse(std::move(verdict), serial);
  const bool device = is_a_device(leaf, *verdict.identity, cas);
  say(trace, 7, kIsDevice, device ? "yes" : kIsNone);
  if (!device) return refuse(std::move(verdict), Reason::NotADevice);
  const bool full = owner.full && owner.full->load(std::memory_order_relaxed);
  if (!registered && (!owner.auto_register || full) && !admits.by_operator) {
    say(trace, 8, "automatic registration",
        owner.auto_register ? "this CA has registry.max_devices_per_ca devices" : "off for this CA");
    return refuse(std::move(verdict), Reason::NotRegistered);
  }
  verdict.pending = !registered && owner.approve && !admits.by_operator;
  verdict.known = false;
  verdict.path = std::make_shared<const PathFound>(path_of(search, cas, now));
  verdict.fresh = !registered;
  verdict.leaf_der = leaf.der();
  verdict.chain_cas = verdict.path->cas;
  verdict.good_until = std::min(leaf.not_after(), verdict.path->not_after);
  say(trace, 8, "admission", verdict.pending ? "waits for approval" : registered ? "moved to this path" : "registers");
  return verdict;
}

}  // namespace sallyport
