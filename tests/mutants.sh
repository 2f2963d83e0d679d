#!/usr/bin/env bash
# Do the tests bite? Applies one-line sabotages, one at a time, to a scratch copy of the tree, builds, and
# runs the test that is named to notice. A sabotage that survives is a missing test.
#
#   tests/mutants.sh [NAME...]     all of them, or those named
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
scratch=${MUTANTS_DIR:-$(mktemp -d /tmp/sallyport-mutants.XXXXXX)}
mkdir -p "$scratch/tree"
cd "$top" || exit 1
# Only what differs, and dated now: the last run's objects are newer than the sources here, and one of a sabotage.
git ls-files -z -co --exclude-standard | while IFS= read -r -d '' file; do
  cmp -s "$file" "$scratch/tree/$file" || cp --parents --preserve=mode "$file" "$scratch/tree/" 2>/dev/null
done
cd "$scratch/tree" || exit 1
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
cmake -S . -B ../build -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O1 -DSALLYPORT_WERROR=OFF "${launcher[@]}" >/dev/null || exit 1
wanted=" $* "
killed=0
survived=0

# mutant NAME FILE TEST FILTER FROM TO: FROM must stand in FILE; its first occurrence becomes TO.
mutant() {
  local name=$1 file=$2 test=$3 filter=$4 from=$5 to=$6
  [ "$wanted" = "  " ] || [[ "$wanted" == *" $name "* ]] || return 0
  cp -p "$file" ../kept
  if ! FROM=$from TO=$to /usr/bin/python3 - "$file" <<'PY'
import os, sys
path = sys.argv[1]
text = open(path).read()
if os.environ["FROM"] not in text:
    sys.exit(1)
open(path, "w").write(text.replace(os.environ["FROM"], os.environ["TO"], 1))
PY
  then
    printf '%-34s %-22s NOT APPLIED: the line it sabotages is gone\n' "$name" "$test"
    survived=$((survived + 1))
    return
  fi
  local verdict
  if ! cmake --build ../build --target "$test" >../build.log 2>&1; then
    verdict="DOES NOT BUILD: see $scratch/build.log"
    survived=$((survived + 1))
  elif SALLYPORT_SIM_RUNS=${SALLYPORT_SIM_RUNS:-150} timeout 120 "$(find ../build/tests -type f -name "$test")" --gtest_filter="$filter" >../test.log 2>&1; then
    verdict="SURVIVED"
    survived=$((survived + 1))
  else
    verdict="killed by $(grep -m1 -oE '^\[  FAILED  \] [A-Za-z0-9_./]+' ../test.log | cut -c14- || true)"
    [ "$verdict" = "killed by " ] && verdict="killed by $(grep -oE '^\[ RUN      \] .*' ../test.log | tail -n 1 | cut -c14-), which ended the process"
    killed=$((killed + 1))
  fi
  printf '%-34s %-22s %s\n' "$name" "$test" "$verdict"
  cp -p ../kept "$file"
  touch "$file"
}

mutant no-proof-of-the-key proxy/tls/tls13_handshake.cc tls13_handshake_test '*' \
  'expects_ = Expects::CertificateVerify;' 'expects_ = Expects::Finished;'
mutant any-proof-is-good proxy/tls/own_handshake.cc tls13_handshake_test '*' \
  'case Proof::Bad: break;' 'case Proof::Bad: return Step::WantInput;'
mutant a-proof-may-be-the-servers proxy/tls/handshake_crypto.cc tls13_handshake_test '*' \
  'Signed(kClientContext, hash)' 'Signed(kServerContext, hash)'
mutant a-scheme-fits-any-curve proxy/tls/handshake_crypto.cc tls13_handshake_test '*' \
  '(version == TlsVersion::V12 || &each == found) && ' ''
mutant any-finished-is-good proxy/tls/tls13_handshake.cc tls13_handshake_test '*' \
  'CRYPTO_memcmp(body.data(), mac.data(), mac.size()) != 0' 'false'
mutant who-is-refused-goes-on proxy/tls/own_handshake.cc tls13_handshake_test '*' \
  'if (!verdict_->admitted()) {' 'if (false) {'
mutant nobody-decides proxy/tls/own_handshake.cc tls_engine_test '*' \
  'if (verifier_ == nullptr) return fail' 'if (verifier_ == nullptr) return client_key_ = std::move(parsed->key), Step::WantInput; if (false) return fail'
mutant no-certificate-will-do proxy/tls/tls13_handshake.cc tls13_handshake_test '*' \
  'const Step step = judge(' 'if (sent->ders.empty()) return expects_ = Expects::Finished, Step::WantInput; const Step step = judge('
mutant plain-reading-registers cache/standing/device_gate.cc plain_leaf_test '*' \
  '!says_the_same(*leaf, *peer.plain)' 'false'
mutant any-key-may-be-proven cache/standing/device_gate.cc plain_leaf_test '*' \
  'return same_key && ' 'return '
mutant plain-names-are-anyones cache/standing/device_gate.cc plain_leaf_test '*' \
  ' && make_identity(leaf) == plain.identity' ''
mutant rubbish-behind-a-stranger cache/standing/device_gate.cc plain_leaf_test '*' \
  'if (!certificate) return false;' ''
mutant plain-leaves-of-any-version cache/x509/plain_leaf.cc plain_leaf_test '*' \
  'version.size() != kVersion3.size() || !begins_with(version, kVersion3)' 'false'
mutant plain-leaves-have-tails cache/x509/plain_leaf.cc plain_leaf_test '*' \
  'if (!outer.whole() || !certificate.whole()) return std::nullopt;' ''
mutant names-twice cache/x509/plain_leaf.cc plain_leaf_test '*' \
  'if (seen) return false;' ''
mutant lengths-in-any-form cache/x509/der_reader.h plain_leaf_test '*' \
  '&& rest_[2] >= 0x80 ? 3 : 0' '? 3 : 0'
mutant keys-change-in-a-record proxy/tls/own_handshake.cc tls13_handshake_test '*' \
  'step == Step::Done && held.size() != message.size()' 'false'
mutant alerts-are-plain-for-ever proxy/tls/tls13_handshake.cc tls13_handshake_test '*' \
  'type == ContentType::Alert && !encrypted_ && ' 'type == ContentType::Alert && '
mutant messages-of-any-length proxy/tls/own_handshake.cc tls13_handshake_test '*' \
  'length > kMostMessage' 'false'
mutant several-tickets-are-one proxy/tls/client_hello.cc client_hello_test '*' \
  'identities.whole() && binders.whole()' 'true'
mutant a-ticket-needs-no-modes proxy/tls/client_hello.cc client_hello_test '*' \
  'if ((seen & std::uint64_t{1} << kPskKeyExchangeModes) == 0) return std::nullopt;' ''
mutant extensions-come-twice proxy/tls/client_hello.cc client_hello_test '*' \
  '(seen & bit) != 0 || ' ''
mutant tickets-for-everyone proxy/tls/tls13_handshake.cc tls13_handshake_test '*' \
  'return takes_tickets_ && ' 'return '
mutant a-torn-hello-is-lost proxy/tls/tls_engine.cc tls13_handshake_test '*' \
  'if (torn_.empty()) input_ = {record.data(), record.size() + input_.size()};' ''
mutant our-ticket-needs-no-lifetime proxy/tls/tls_resumption.cc tls13_handshake_test '*Ticket*' \
  'if (lifetime <= 0) return {};' ''
mutant records-forget-the-tickets proxy/tls/tls_engine.cc tls_takeover_test '*' \
  '*written);' '0);'
mutant a-ticket-forgets-the-fragment-length proxy/tls/tls_resumption.cc tls_takeover_test '*' \
  'TLS1_3_VERSION && whole_records ?' 'TLS1_3_VERSION ?'
mutant any-tag-is-good proxy/tls/record_cipher.cc tls_records_test '*' \
  'kTagBytes) == 0;' 'kTagBytes) <= 255;'
mutant one-nonce-for-all proxy/tls/record_cipher.cc tls_records_test '*' \
  '  ++key_.sequence;' ''
mutant padding-is-data proxy/tls/record_layer.cc tls_records_test '*' \
  'while (left > 0 && into[left - 1] == 0) --left;' ''
mutant key-updates-go-unanswered proxy/tls/tls_records.cc tls_records_test '*' \
  'answer_due_ = answer_due_ || asked == 1;' ''
mutant keys-are-never-renewed proxy/tls/tls_records.cc tls_records_test '*' \
  'writing_.sequence >= kRecordsOfOneKey' 'false'
mutant plain-records-after-the-handshake proxy/tls/record_layer.cc tls_records_test '*' \
  'if (!is_sealed_type(cipher.version(), header[0])) {' 'if (false) {'
mutant v12-binds-no-sequence proxy/tls/record_cipher.cc tls12_records_test '*' \
  'bound[i] = static_cast<std::uint8_t>(sequence >> (56 - 8 * i));' 'bound[i] = 0;'
mutant v12-any-tag-is-good proxy/tls/record_cipher.cc tls12_records_test '*' \
  'return decrypt(nonce, bound, sealed.subspan(kExplicitBytes), out);' 'return decrypt(nonce, bound, sealed.subspan(kExplicitBytes), out) || true;'
mutant v12-one-nonce-for-all proxy/tls/record_cipher.cc tls12_records_test '*' \
  'const Nonce nonce = next_nonce();' 'next_nonce(); const Nonce nonce = key_.iv;'
mutant v12-nonces-from-zero proxy/tls/tls_engine.cc tls_takeover_test '*' \
  'RAND_bytes(server.iv.data() + RecordKey::kSaltBytes, RecordCipher::kExplicitBytes) != 1' 'false'
mutant v12-sequences-from-zero proxy/tls/tls_engine.cc tls_takeover_test '*' \
  'server.sequence = 1;' ''
mutant v12-a-finished-is-one-record proxy/tls/tls_engine.cc tls_takeover_test '*' \
  'client.sequence = sealed_by_client;' 'client.sequence = 1;'
mutant v12-any-version proxy/tls/record_layer.cc tls12_records_test '*' \
  'if (input[1] != 3 || input[2] != 3)' 'if (false)'
mutant v12-ciphers-change proxy/tls/record_layer.cc tls12_records_test '*' \
  'static_cast<std::uint8_t>(ContentType::Alert);' 'static_cast<std::uint8_t>(ContentType::ChangeCipherSpec);'
mutant v12-warnings-have-no-end proxy/tls/tls_records.cc tls12_records_test '*' \
  'if (description == SSL_AD_NO_RENEGOTIATION) return' 'if (description != SSL_AD_NO_RENEGOTIATION) return Step::Done; else return'
mutant v12-hellos-have-no-end proxy/tls/tls_records.cc tls12_records_test '*' \
  ' || ++warnings_ >= kWarningsInARow' ''
mutant v12-hellos-go-unanswered proxy/tls/tls_records.cc tls_takeover_test '*' \
  'if (!write_closed_) send_alert(SSL3_AL_WARNING, SSL_AD_NO_RENEGOTIATION, output);' ''
mutant v12-hellos-may-be-torn proxy/tls/tls_records.cc tls12_records_test '*' \
  'if (!whole || content[0]' 'if (content.empty() || content[0]'
mutant v12-keys-are-renewed proxy/tls/tls_records.cc tls12_records_test '*' \
  '(version() == TlsVersion::V13 && writing_' '(writing_'
mutant a-step-takes-all proxy/tls/tls_engine.cc tls_engine_test '*' \
  'pace == Pace::OneRecord && ' 'false && '
mutant what-is-held-back-has-ended proxy/tls/tls_engine.cc tls_engine_test '*' \
  'input_ended_ = ended && held_back.empty();' 'input_ended_ = ended;'
mutant what-is-held-back-is-left proxy/session/session.cc simulation_test '*' \
  'if (unread > 0) return host_->wants_handshake(*this);' ''
mutant what-is-sent-needs-no-signature cache/standing/path_builder.cc device_gate_test '*' \
  '!from.signed_by(X509_get0_pubkey(candidate.x509()))' 'false'
mutant anchors-need-no-signature cache/standing/path_builder.cc device_gate_test '*' \
  '!from.signed_by(cas_.group(group).key)' 'false'
mutant paths-have-no-dates cache/standing/device_gate.cc device_gate_test '*' \
  'if (error == X509_V_OK) continue;' 'continue;'
mutant kdf-forgets-the-context cache/crypto/hkdf.cc light_parsing_test '*' \
  '  put(context);' ''
mutant kdf-takes-any-length cache/crypto/hkdf.cc light_parsing_test '*' \
  'out.size() > hash.size || ' ''
mutant every-key-is-one-key cache/crypto/light_ec_decoder.cc light_parsing_test '*' \
  'if (functions().set_params(key, params) == 1) return key;' 'return key;'
mutant any-curve-is-p256 cache/crypto/light_ec_decoder.cc light_parsing_test '*' \
  'std::equal(kP256.begin(), kP256.end(), der.begin()) &&' ''
mutant one-curve-alone cache/crypto/light_ec_decoder.cc light_parsing_test '*' \
  'functions().decode(context, again, selection, take, argument, passphrase, passphrase_argument)' '1'
mutant commands-gather-too cache/registry/registrar_impl.h registrar_test '*Gather*' \
  '        hurry();' ''
mutant nothing-gathers cache/registry/registrar.cc registrar_test '*Gather*' \
  'std::chrono::steady_clock::now() < gather_until_' 'false'
mutant prf-stands-still cache/crypto/hkdf.cc light_parsing_test 'Prf*' \
  'if (!out.empty() && !hmac(hash, secret, text[0], a)) return false;' ''
mutant a-long-key-is-cut cache/crypto/hkdf.cc light_parsing_test '*LongerThanABlock' \
  '    of_key.add(key);' '    of_key.add(key.first(Hash::kBlockBytes));'
mutant a-long-key-is-hashed-when-twice-a-block cache/crypto/hkdf.cc tls_engine_test '*EveryGroup*' \
  'if (key.size() > Hash::kBlockBytes) {' 'if (key.size() > 2 * Hash::kBlockBytes) {'
mutant skip-the-cas-status cache/standing/ca_set.cc device_gate_test '*' \
  'if (ca.status != CaStatus::Active) return Reason::CaInactive;' ''
mutant skip-the-serial-check cache/standing/device_gate.cc device_gate_test '*' \
  'if (serial != Reason::None) return refuse(std::move(verdict), serial);' ''
mutant serial-per-name-only cache/standing/device_gate.cc device_gate_test '*' \
  'if (chain != nullptr && chain->issuer_spki != issuing_key) return;' ''
mutant accept-expired-chains cache/standing/device_gate.cc device_gate_test '*' \
  'if (error == X509_V_OK) continue;' 'continue;'
mutant skip-the-purpose cache/standing/device_gate.cc device_gate_test '*' \
  'X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_CLIENT);' ''
mutant anything-is-a-device cache/standing/device_gate.cc device_gate_test '*' \
  'return !says_ca &&' 'return true || !says_ca &&'
mutant skip-the-devices-own-status cache/standing/device_gate.cc device_gate_test '*' \
  'own != Reason::None) {
      say(trace, 3, "its own status", to_string(own));' 'false) {
      say(trace, 3, "its own status", to_string(own));'
mutant no-bound-on-client-certificates cache/standing/device_gate.cc device_gate_test '*' \
  'if (sent.size() == PathBuilder::kMostSent) return false;' ''
mutant costly-keys-are-path-material cache/standing/path_builder.cc device_gate_test '*' \
  'if (!cheap_to_check_with(candidate)) {' 'if (false) {'
mutant any-kind-of-key-is-sent cache/standing/path_builder.cc device_gate_test '*' \
  'sent.key_type() != KeyType::Other && ' ''
mutant any-rsa-key-is-sent cache/standing/path_builder.cc device_gate_test '*' \
  ' && sent.rsa_at_most(PathBuilder::kMostSentRsaBits)' ''
mutant sent-keys-as-long-as-a-leafs cache/standing/path_builder.h device_gate_test '*' \
  'kMostSentRsaBits = 4096' 'kMostSentRsaBits = kLargestRsaBits'
mutant sent-keys-are-checked-at-will cache/standing/path_builder.cc device_gate_test '*' \
  ' || ++sent_checks_ > kMostSentChecks' ''
mutant a-leafs-key-may-cost cache/standing/device_gate.cc device_gate_test '*' \
  'if (!leaf.rsa_at_most(kLargestRsaBits)) {' 'if (false) {'
mutant any-modulus-will-do cache/x509/certificate.cc device_gate_test '*' \
  'EVP_PKEY_get_bits(key) <= bits && ' ''
mutant any-exponent-will-do cache/x509/certificate.cc device_gate_test '*' \
  ' && BN_num_bits(exponent.get()) <= kExponentBits' ''
mutant one-more-bit-of-exponent cache/x509/certificate.cc device_gate_test '*' \
  'kExponentBits = 32' 'kExponentBits = 33'
mutant pss-keys-may-cost cache/x509/certificate.cc device_gate_test '*' \
  ' && kind != EVP_PKEY_RSA_PSS' ''
mutant a-cas-key-may-cost cache/x509/ca_rules.cc registrar_test '*StrongKeys*' \
  'if (!ca.rsa_at_most(kLargestRsaBits)) {' 'if (false) {'
mutant cross-signed-copy-goes-round cache/standing/path_builder.cc device_gate_test '*' \
  'if (decided) return false;' ''
mutant match-cas-by-name-only cache/standing/path_builder.cc device_gate_test '*' \
  'if (!from.signed_by(cas_.group(group).key)) {' 'if (false) {'
mutant listener-admits-every-ca cache/standing/path_builder.cc device_gate_test '*' \
  'if (admits.cas.empty()) return true;' 'return true;'
mutant known-device-skips-its-ca cache/standing/device_gate.cc device_gate_test '*' \
  'if (!chains_.alive(slot.chain, now)) return false;' ''
mutant publish-before-the-sync cache/registry/registrar.cc registrar_test '*Disk*:*Crash*' \
  'if (const auto written = commit(batch, true); !written) {' 'publish(accepted); if (const auto written = commit(batch, true); !written) {'
mutant freed-under-a-visitor cache/standing/status_cache.cc status_cache_test '*Visitor*' \
  'if (visitors_.fetch_add(0, std::memory_order_acq_rel) != 0) return;' ''
mutant sent-ca-passes-its-status cache/standing/ca_set.cc life_cycle_test '*RegisteredLater*' \
  'if (groups_[group].spki_hash == spki_hash) return choose(group, now).reason;' ''
mutant no-look-through-a-sent-ca cache/registry/registrar_changes.cc life_cycle_test '*RegisteredLater*' \
  'if (record->standing_between(*after, now) != Reason::None) owners.insert(record->cas.front());' ''
mutant commit-without-sync cache/registry/registrar.cc registrar_test '*Crash*:*Durable*' \
  'if (const auto written = commit(batch, true); !written) {' 'if (const auto written = commit(batch, false); !written) {'
mutant race-loser-is-not-cut cache/registry/registrar.cc registrar_test '*Loser*' \
  'notice.cuts.push_back({Cut::Scope::Device, waiting_[i].identity.fingerprint, refused});' ''
mutant no-serial-check-at-commit cache/registry/registrar.cc registrar_test '*Loser*' \
  'if (const Reason taken = serial_taken(key, issuing_key, accepted); taken != Reason::None) return taken;' ''
mutant no-second-look-at-commit cache/registry/registrar.cc registrar_test '*WhatChanged*' \
  'if (const Reason standing = cas->standing_of(owner, now); standing != Reason::None) return standing;' ''
mutant answer-without-in-force cache/registry/registrar_devices.cc registrar_test '*Durable*' \
  '  sink_.put_in_force(notice);
  reclaim();' '  reclaim();'
mutant cut-only-the-ca-itself cache/registry/registrar_changes.cc registrar_test '*ACaTakes*' \
  'if (before->standing_through_key(id, now) == Reason::None && why != Reason::None) {' 'if (why != Reason::None && before->entries().size() == 1) {'
mutant a-code-works-twice cache/registry/registrar_changes.cc registrar_test '*Proof*' \
  'if (code->used)' 'if (false)'
mutant codes-never-expire cache/registry/registrar_changes.cc registrar_test '*Proof*' \
  'if (now > code->expires_at)' 'if (false)'
mutant no-proof-of-possession cache/x509/ca_rules.cc registrar_test '*Proof*' \
  'if (!verification.signed_by(' 'if (false && !verification.signed_by('
mutant deactivation-needs-the-disk cache/registry/registrar_devices.cc registrar_test '*FullDisk*' \
  'if (!written && status == DeviceStatus::Active) return written.error();' 'if (!written) return written.error();'
mutant trust-resets-the-status cache/registry/registrar_changes.cc registrar_test '*Trust*' \
  'if (cas_.count(certificate.fingerprint()) != 0) continue;' ''
mutant drop-the-session-index proxy/session/session.cc data_plane_test '*Deactivating*' \
  'host_->index().add(entry_);' ''
mutant no-second-look-at-connect proxy/session/session.cc simulation_test '*' \
  'const Reason reason = host_->recheck(*decided);' 'const Reason reason = Reason::None;'
mutant serve-pending-devices proxy/session/session.cc simulation_test '*' \
  'if (decided->pending) {' 'if (false) {'
mutant forget-deferred-registrations proxy/session/session.cc simulation_test '*FullQueue*' \
  'start_timer(register_timer_, kRegisterAgainMs);' ''
mutant ignore-a-short-send proxy/session/session_flow.cc simulation_test '*' \
  'to_broker_sending_.consume(static_cast<std::size_t>(result.value));' 'to_broker_sending_.release();'
mutant keep-the-sign-of-x cache/crypto/light_x25519.cc light_x25519_test 'X25519.*' \
  'edwards.back() &= 0x7f;' ''
mutant one-key-for-all cache/crypto/light_x25519.cc light_x25519_test 'X25519.*' \
  'if (RAND_priv_bytes(private_key.data(), static_cast<int>(private_key.size())) != 1) return nullptr;' \
  'private_key.fill(7);'
mutant keys-that-are-not-clamped cache/crypto/light_x25519.cc light_x25519_test 'X25519.*' \
  'private_key.front() &= 0xf8;' ''
mutant a-template-with-a-key cache/crypto/light_x25519.cc light_x25519_test 'X25519.*' \
  '(asked.selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0' 'false'
mutant large-before-it-is-taken proxy/session/session_flow.cc simulation_test 'Session.AStream*' \
  'all ? static' 'true ? static'
mutant a-sent-piece-keeps-its-memory proxy/io/byte_buffer.h proxy_parts_test 'ByteBuffer.*' \
  'size() <= capacity_ / 2' 'false'
mutant forget-back-pressure-up proxy/session/session_flow.cc simulation_test '*' \
  'to_broker_held() >= kHighWater' 'false'
mutant forget-back-pressure-down proxy/session/session_flow.cc simulation_test '*' \
  'to_client_held() >= kHighWater &&' 'false &&'
mutant truncation-is-orderly proxy/session/session_flow.cc simulation_test '*' \
  'if (client_truncated_) {' 'if (false) {'
mutant send-after-the-cut proxy/session/session_end.cc simulation_test '*' \
  'for (Completion* completion : {&broker_connect_, &broker_recv_, &broker_send_}) io.cancel(*completion);' \
  'flush_broker(); for (Completion* completion : {&broker_connect_, &broker_recv_}) io.cancel(*completion);'
mutant recycle-under-the-caller proxy/session/session_end.cc simulation_test '*' \
  'host_->gone(*this);' 'host_->gone(*this); recycle();'
mutant answer-before-every-shard proxy/shard/mailbox.h data_plane_test '*Deactivat*' \
  'return missing_ == 0; }' 'return true; }'
mutant drain-goes-on-accepting proxy/shard/shard_mail.cc data_plane_test '*ADrain*' \
  'stop_accepting();' ''
mutant silent-peers-without-bound proxy/shard/shard_admission.cc data_plane_test '*Silent*' \
  '  session->evict();' ''
mutant a-wrong-alert proxy/tls/tls_callbacks.cc tls_engine_test '*Alert*' \
  'case Reason::DeviceRevoked: return X509_V_ERR_CERT_REVOKED;' ''
mutant verify-fails-open proxy/tls/tls_callbacks.cc tls_engine_test '*' \
  'X509_STORE_CTX_set_error(store_context, X509_V_ERR_EXCLUDED_VIOLATION);
    return 0;' 'return 1;'
mutant unexpected-eof-is-a-close proxy/tls/tls_engine.cc tls_engine_test '*CloseNotify*' \
  'if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) return Step::Truncated;' \
  'if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) return Step::Closed;'
mutant an-endless-connect proxy/mqtt/mqtt_connect.cc mqtt_connect_test '*' \
  'if (packet > max_bytes)' 'if (false)'
mutant timers-run-early proxy/io/timer_wheel.cc proxy_parts_test '*TimerWheel*' \
  '(now_ms + after_ms + kTickMs - 1) / kTickMs' '(now_ms + after_ms) / kTickMs'
mutant timers-count-from-the-last-turn proxy/io/timer_wheel.cc proxy_parts_test '*TimerWheel*' \
  '(now_ms + after_ms' '(tick_ * kTickMs + after_ms'
mutant timers-for-a-tick-that-is-over proxy/io/timer_wheel.cc proxy_parts_test '*TimerWheel*' \
  'tick_ + 1);' 'std::uint64_t{0});'
mutant a-wildcard-for-every-label proxy/tls/server_name.cc proxy_parts_test '*ServerNames*' \
  'const std::size_t dot = key.find('"'.'"');' 'const std::size_t dot = key.rfind('"'.'"', key.rfind('"'.'"') - 1);'

# Our TLS 1.2 handshake; what it shares with TLS 1.3's is above.
mutant v12-any-proof-is-good proxy/tls/tls12_handshake.cc tls12_handshake_test '*' \
  'check(check_messages(client_key_, proof->scheme, signed_.bytes(), proof->signature))' 'check(Proof::Good)'
mutant v12-a-key-of-any-curve proxy/tls/handshake_crypto.cc tls12_handshake_test '*' \
  'group == std::string_view(each.group)' 'true'
mutant v12-any-finished-is-good proxy/tls/tls12_handshake.cc tls12_handshake_test '*' \
  'CRYPTO_memcmp(body.data(), due.data(), due.size()) != 0' 'false'
mutant v12-no-certificate-will-do proxy/tls/tls12_handshake.cc tls12_handshake_test '*' \
  'const Step step = judge(' 'if (ders->empty()) return expects_ = Expects::ClientKeyExchange, Step::WantInput; const Step step = judge('
mutant a-certificate-may-be-left-out proxy/tls/tls12_handshake.cc tls12_handshake_test '*' \
  'expects_ == Expects::ClientKeyExchange &&' 'expects_ <= Expects::ClientKeyExchange &&'
mutant a-key-exchange-may-be-left-out proxy/tls/tls12_handshake.cc tls12_handshake_test '*' \
  'expects_ == Expects::CertificateVerify &&' '(expects_ == Expects::ClientKeyExchange || expects_ == Expects::CertificateVerify) &&'
mutant keys-change-at-any-time proxy/tls/tls12_handshake.cc tls12_handshake_test '*' \
  'expects_ != Expects::ChangeCipherSpec || ' ''
mutant keys-change-in-a-message proxy/tls/tls12_handshake.cc tls12_handshake_test '*' \
  'expects_ != Expects::ChangeCipherSpec || in_message()' 'expects_ != Expects::ChangeCipherSpec'
mutant a-close-is-not-the-end proxy/tls/own_handshake.cc tls12_handshake_test '*' \
  'closed_ ? Step::Closed : read_record(record)' 'read_record(record)'
mutant a-share-of-small-order proxy/tls/tls12_handshake.cc tls12_handshake_test '*' \
  '!derive_shared(group_, exchange_key_, *share, premaster)' '(derive_shared(group_, exchange_key_, *share, premaster), false)'
mutant a-share-in-any-form proxy/tls/handshake_crypto.cc tls12_handshake_test '*' \
  'share.front() == kUncompressed' 'true'
mutant no-word-of-a-downgrade proxy/tls/tls12_handshake.cc tls12_handshake_test '*' \
  '"DOWNGRD\1"' '"DOWNGRD\0"'
mutant v12-where-it-is-off proxy/tls/tls12_handshake.cc tls12_handshake_test '*' \
  'if (!server_.tls12) return false;' ''
mutant a-ticket-without-its-owner proxy/tls/tls12_handshake.cc tls12_handshake_test '*' \
  'ticketed{server_.mutual, ' 'ticketed{false, '
mutant warnings-without-bound proxy/tls/own_handshake.cc tls12_handshake_test '*' \
  '++nothings_ > kMostNothings' 'false'
mutant a-curve-that-nobody-offered proxy/tls/handshake_server.cc tls12_handshake_test '*' \
  'found->signer.scheme() != kEcdsaP256Sha256 || hello.p256 ? &*found : nullptr' '&*found'
mutant any-master-secret proxy/tls/tls12_client_hello.cc tls12_client_hello_test '*' \
  'std::uint64_t{1} << kExtendedMasterSecret;' '0;'
mutant renegotiation-as-it-comes proxy/tls/tls12_client_hello.cc tls12_client_hello_test '*' \
  ' || !secure)' ')'
mutant a-fallback-is-a-hello proxy/tls/tls12_client_hello.cc tls12_client_hello_test '*' \
  '!is_in(kFallback, suites)' 'true'
mutant tls13-is-talked-down proxy/tls/tls12_client_hello.cc tls12_client_hello_test '*' \
  '    case kSupportedVersions:
' ''

# The life cycle: what is deleted, revoked, listed and resumed.
mutant forget-tombstones-on-cascade cache/standing/device_gate.cc life_cycle_test '*' \
  'const bool revoked = slot && slot->status == static_cast<std::uint8_t>(DeviceStatus::Revoked);' 'const bool revoked = false;'
mutant deleted-cas-devices-live-on cache/registry/registrar_changes.cc life_cycle_test '*' \
  'for (const std::uint64_t chain : forgotten) chains_.forget(chain);' ''
mutant forgotten-only-in-memory cache/registry/registrar_changes.cc life_cycle_test '*' \
  'forgotten.forgotten = true;' ''
mutant a-refused-deletion-is-half-done cache/registry/registrar_changes.cc life_cycle_test '*Trace*' \
  'for (auto& [chain, row] : chain_rows_) row.forgotten = false;' ''
mutant the-purge-takes-new-devices-too cache/registry/registrar_devices.cc life_cycle_test '*' \
  '} else if (gone(id, **row)) {' '} else if (true) {'
mutant the-purge-takes-who-is-revoked cache/registry/registrar_reads.cc life_cycle_test '*FullDisk*' \
  'status_now(cache_.key(row.name, id), row) != DeviceStatus::Revoked;' 'row.status != DeviceStatus::Revoked;'
mutant a-tombstone-is-left-unwritten cache/registry/registrar_devices.cc life_cycle_test '*FullDisk*' \
  'tombstone.status = DeviceStatus::Revoked;' ''
mutant a-purge-ends-with-the-process cache/registry/registrar_warm.cc life_cycle_test '*Purge*' \
  'purges_.push_back({ca, ""});' ''
mutant the-last-part-is-not-read cache/registry/warm_devices.cc warm_devices_test '*CountedOnce*' \
  'part < kParts; part' 'part + 1 < kParts; part'
mutant a-damaged-device-is-passed-over cache/registry/warm_devices.cc warm_devices_test '*Refusal*' \
  'if (!refusal_) refusal_ = read.error();' ''
mutant ids-that-begin-alike-make-room cache/registry/warm_devices.cc warm_devices_test '*BeginAlike*' \
  'std::min(kParts * cache_.size(), std::size_t{store_.device_rows()})' 'kParts * cache_.size()'
mutant the-forgotten-are-warmed cache/registry/warm_devices.cc warm_devices_test '*Forgotten*' \
  '&& (!revoked || now_ > row.not_after)) return false;' '&& now_ > row.not_after) return false;'
mutant revoked-serials-count-as-held cache/registry/warm_devices.cc warm_devices_test '*OnHold*' \
  'if (!revoked && row.registered_by == RegisteredBy::Crl) {' 'if (row.registered_by == RegisteredBy::Crl) {'
mutant said-again-and-not-written cache/registry/registrar_changes.cc life_cycle_test '*FullDisk*' \
  ' && cas_not_durable_.count(id) == 0) return ca(id);' ') return ca(id);'
mutant written-and-written-again cache/registry/registrar_changes.cc life_cycle_test '*FullDisk*' \
  'cas_not_durable_.erase(id);
  return ca(id);' 'return ca(id);'
mutant a-crl-skips-what-is-not-durable cache/registry/registrar_devices.cc life_cycle_test '*FullDisk*' \
  ' && cas_not_durable_.count(certificate.fingerprint()) == 0;' ';'
mutant a-trusted-ca-may-go cache/registry/registrar_changes.cc life_cycle_test '*Trusted*' \
  'if (trusted_.count(id) != 0) {' 'if (false) {'
mutant delete-without-cascade cache/registry/registrar_changes.cc life_cycle_test '*' \
  'if (!cascade && (was.status == CaStatus::Active || devices.active > 0)) {' 'if (!cascade && was.status == CaStatus::Active) {'
mutant revoked-is-not-final cache/registry/registrar_devices.cc life_cycle_test '*' \
  'if (now_status == DeviceStatus::Revoked && status != DeviceStatus::Revoked) {' 'if (false) {'
mutant the-disks-status-is-in-force cache/registry/registrar_devices.cc life_cycle_test '*FullDisk*' \
  'return slot ? static_cast<DeviceStatus>(slot->status) : row.status;' 'return row.status;'
mutant a-hold-takes-a-revocation-back cache/registry/registrar_devices.cc life_cycle_test '*FullDisk*' \
  'now_status == DeviceStatus::Revoked ? now_status : wanted;' 'wanted;'
mutant a-repetition-counts-again cache/registry/registrar_devices.cc life_cycle_test '*FullDisk*' \
  'if (before && before->status == static_cast<std::uint8_t>(row.status)) return;' ''
mutant forget-a-revoked-device cache/registry/registrar_devices.cc life_cycle_test '*' \
  'if (was->status == DeviceStatus::Revoked && unix_now() <= row.not_after) {' 'if (false) {'
mutant deleted-devices-stay-in-memory cache/registry/registrar_devices.cc life_cycle_test '*' \
  'cache_.remove(cache_.key(row.name, id));' ''
mutant a-deletion-cuts-nobody cache/registry/registrar_devices.cc life_cycle_test '*' \
  '{{Cut::Scope::Device, id, Reason::NotRegistered}}' '{}'
mutant skip-the-audit-line cache/registry/registrar.cc life_cycle_test '*' \
  'store_.put_audit(batch, line);' ''
mutant audit-what-did-not-happen cache/registry/registrar.cc life_cycle_test '*Audit*' \
  'audits_.clear();' ''
mutant a-crl-of-anybody cache/registry/registrar_devices.cc life_cycle_test '*Crl*' \
  'if (crl.signed_by(cas->group(group).key)) signer' 'signer'
mutant an-old-crl-again cache/registry/registrar_devices.cc life_cycle_test '*Crl*' \
  'if (last->has_value() && crl.older_than(' 'if (false && crl.older_than('
mutant the-older-of-two-crls cache/registry/registrar_devices.cc life_cycle_test '*Crl*' \
  'if (!older) store_' 'store_'
mutant in-memory-is-known-enough cache/registry/registrar_devices.cc life_cycle_test '*FullDisk*' \
  'if (!stored) {' 'if (false) {'
mutant a-hold-takes-an-unseen-one-back cache/registry/registrar_devices.cc life_cycle_test '*FullDisk*' \
  'if (status_now(key, row) == DeviceStatus::Revoked) row.status' 'if (false) row.status'
mutant a-delta-is-a-crl cache/x509/crl.cc life_cycle_test '*Crl*' \
  'if (X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0) {' 'if (false) {'
mutant a-hold-is-final cache/x509/crl.cc life_cycle_test '*Hold*' \
  'entry.hold = ' 'entry.hold = false && '
mutant unseen-serials-are-forgotten cache/registry/registrar_devices.cc life_cycle_test '*' \
  'revoke_unseen(entry, name, chain, batch, unseen);' ''
mutant a-tombstone-takes-anothers-place cache/registry/registrar_devices.cc life_cycle_test '*TwoCas*' \
  'const std::string key(issuing_key.begin(), issuing_key.end());' 'const std::string key;'
mutant revoked-intermediates-carry-on cache/standing/device_gate.cc life_cycle_test '*Intermediate*' \
  'if (intermediate_revoked(search.intermediates, owner.certificate.spki_hash())) {' 'if (false) {'
mutant a-chain-survives-its-intermediate cache/registry/registrar_changes.cc life_cycle_test '*Intermediate*' \
  'if (record->crl || revoked) window.reset();' ''
mutant a-renewed-ca-strands-its-fleet cache/registry/registrar_changes.cc life_cycle_test '*Renewed*' \
  'const Reason why = after->standing_through_key(id, now);' 'const Reason why = after->standing_of(id, now);'
mutant pre-registration-asks-the-ca cache/registry/registrar.cc life_cycle_test '*PreRegistered*' \
  'const bool by_itself = registration.by == RegisteredBy::Auto;' 'const bool by_itself = true;'
mutant resume-whatever-the-status cache/standing/device_gate.cc life_cycle_test '*Resum*' \
  'own != Reason::None) {
    return refuse(std::move(verdict), own);' 'false) {
    return refuse(std::move(verdict), own);'
mutant resume-after-the-end cache/standing/device_gate.cc life_cycle_test '*Resum*' \
  'if (now > identity.not_after) return refuse(std::move(verdict), Reason::Expired);' ''
mutant resume-through-a-dead-ca cache/standing/device_gate.cc life_cycle_test '*Resum*' \
  'if (!known_and_alive(verdict, *slot, cas, admits, now)) return refuse' 'if (!known_and_alive(verdict, *slot, cas, admits, now) && false) return refuse'
mutant honour-a-ticket-without-standing proxy/tls/tls_engine.cc tls_engine_test '*Resuming*' \
  'by_ticket_ = verdict_->admitted();' 'by_ticket_ = true;'
mutant any-binder-is-good proxy/tls/tls_engine.cc tls13_resumption_test '*' \
  '!Tls13Handshake::binder_holds(*hello.ticket, message, secret)' 'false'
mutant a-binder-is-of-the-ticket-alone proxy/tls/tls13_handshake.cc tls13_resumption_test '*' \
  'bound.add(message.first(offered.binders_at));' 'bound.add(offered.ticket);'
mutant a-binder-is-half-looked-at proxy/tls/tls13_handshake.cc tls13_resumption_test '*' \
  'CRYPTO_memcmp(offered.binder.data(), mac.data(), mac.size()) == 0' 'CRYPTO_memcmp(offered.binder.data(), mac.data(), 16) == 0'
mutant a-resumed-one-need-not-finish proxy/tls/tls_engine.cc tls13_resumption_test '*' \
  'if (by_ticket_) verdict_.reset();
  return step;' 'return step;'
mutant our-handshake-is-never-resumed proxy/tls/tls_engine.cc tls13_resumption_test '*' \
  'resumed_ = ours_->resumes();' ''
mutant a-ticket-needs-no-seal proxy/tls/tls_session_ticket.cc tls13_resumption_test '*' \
  'CRYPTO_memcmp(mac.data(), ticket.last(kMacBytes).data(), kMacBytes) != 0' 'false'
mutant a-ticket-never-ages proxy/tls/tls_resumption.cc tls13_resumption_test '*' \
  '|| age > SSL_SESSION_get_timeout(session.get())' '|| age < 0'
mutant a-resumption-shows-the-certificate proxy/tls/tls13_handshake.cc tls13_resumption_test '*' \
  'resumes_ ? nullptr : server_.choose(hello);' 'server_.choose(hello);'
mutant a-ticket-of-any-listener proxy/tls/tls_resumption.cc tls_engine_test '*Resuming*' \
  'if (ticket && ticket->listener != listener_) ticket.reset();' ''
mutant a-ticket-without-a-key-exchange proxy/tls/client_hello.cc tls13_resumption_test '*' \
  'if (!hello.takes_tickets) hello.ticket.reset();' ''
mutant a-ticket-may-come-first proxy/tls/client_hello.cc client_hello_test '*' \
  '(seen & bit) != 0 || hello.ticket ||' '(seen & bit) != 0 ||'
mutant a-resumption-without-a-verdict proxy/tls/tls_engine.cc tls_engine_test '*Resuming*' \
  'if (resumed_ != by_ticket_) verdict_.reset();' 'verdict_.reset();'
mutant the-certificate-in-the-ticket proxy/tls/tls_resumption.cc tls_engine_test '*Resuming*' \
  '!= kPeer) out.insert' '!= 0) out.insert'
mutant tickets-outlive-the-certificate proxy/tls/tls_resumption.cc tls_engine_test '*Resuming*' \
  'std::min(kLongest, ticket.identity->not_after - now);' 'kLongest;'
mutant ticket-keys-for-ever proxy/tls/ticket_keys.cc tls_engine_test '*TicketKeys*' \
  'if (now - key->made_at >= kLife) return std::nullopt;' ''
mutant tickets-where-they-are-off proxy/tls/tls_context.cc tls_engine_test '*NothingIsEver*' \
  '  forbid_resumption(context);' ''
mutant keep-a-session-on-expiry proxy/session/session_cut.cc simulation_test 'Session.*' \
  'if (reason != Reason::None && host_->cuts_sessions(settings_.listener)) return cut(reason);' ''
mutant disconnect-inside-a-packet proxy/session/session_cut.cc simulation_test 'Session.*' \
  'mqtt_version_ == MqttVersion::V5 && framing_.at_boundary()) {' 'mqtt_version_ == MqttVersion::V5) {'
mutant no-farewell-packet proxy/session/session_cut.cc simulation_test 'Session.*' \
  'encrypt({packet, write_disconnect(' 'if (false) encrypt({packet, write_disconnect('
mutant a-halted-session-goes-on-talking proxy/session/session_cut.cc simulation_test 'Session.*' \
  'const std::size_t n = framing_.rest_of_packet(from_broker);' 'const std::size_t n = from_broker.size();'
mutant close-all-at-once proxy/shard/shard_mail.cc data_plane_test '*Paced*' \
  'farewell_allowance_ >= 1) {' 'true) {'
mutant mutual-keeps-the-nameless proxy/shard/shard_mail.cc data_plane_test '*Mutual*' \
  'if (!turns_mutual) return;' 'return;'
mutant rejections-without-bound proxy/shard/rejections.cc data_plane_test '*Refusals*' \
  'if (shelf.kept.size() == kMost) {' 'if (false) {'
mutant let-a-viewer-write admin/api/admin_api.cc api_test '*' \
  'if (match.route->role == Role::Operator && !caller->operates) {' 'if (false) {'
mutant any-token-opens admin/operations/access.cc api_test '*' \
  'CRYPTO_memcmp(row.hash.data(), hash.data(), hash.size()) == 0' 'true'
mutant tokens-never-end admin/operations/access.cc api_test '*' \
  'if (same && (row.expires_at == 0 || now < row.expires_at)) {' 'if (same) {'
mutant a-private-key-is-a-certificate admin/operations/import.cc api_test '*Import*' \
  'poisoned = true;' ''
mutant a-backup-goes-anywhere admin/api/api_server.cc api_test '*Backup*' \
  'if (!call.caller.local) {' 'if (false) {'
mutant a-damaged-backup-is-as-good admin/operations/backup.cc api_test '*Backup*' \
  'if (!bytes || *hash != text_in(file, "sha256"))' 'if (!bytes)'
mutant a-sealed-key-under-any-name cache/registry/sealed.cc sealed_test '*' \
  'EVP_DecryptUpdate(cipher.get(), nullptr, &n, bytes(name), static_cast<int>(name.size())) == 1 &&' ''
mutant forget-the-record-size proxy/tls/tls_session_swap.cc tls_engine_test '*RecordSize*' \
  '|| SSL_SESSION_get_max_fragment_length(session) != TLSEXT_max_fragment_length_DISABLED' ''
mutant a-ticket-that-nobody-offered proxy/tls/client_hello.cc tls_engine_test '*ClientHello*' \
  'if (identity.size() >= kKeyName) return identity.first(kKeyName);' ''
mutant no-limit-of-connections proxy/shard/address_limits.cc admission_test '*' \
  'if (connections_max != 0 && entry.connections >= connections_max) return Answer::TooMany;' ''
mutant a-rate-without-end proxy/shard/address_limits.cc admission_test '*' \
  'if (spent_until > now_us + kSecondUs) return Answer::TooFast;' ''
mutant every-ipv6-address-is-another proxy/shard/address_limits.cc admission_test '*' \
  'std::memcpy(address.data(), &v6.sin6_addr, 8);' 'std::memcpy(address.data(), &v6.sin6_addr.s6_addr[8], 8);'
mutant addresses-are-kept-for-ever proxy/shard/address_limits.cc admission_test '*' \
  'if (stripe.entries.size() >= stripe.sweep_at) sweep(stripe, now_us);' ''
mutant tickets-wait-like-others proxy/shard/handshake_queue.cc admission_test '*' \
  'if (!is_long() || steps_ % kPatienceSteps == 0)' 'if (true)'
mutant the-fresh-starve proxy/shard/handshake_queue.cc admission_test '*' \
  'if (!is_long() || steps_ % kPatienceSteps == 0)' 'if (!is_long())'
mutant wait-for-every-broker proxy/shard/reply_watch.cc reply_watch_test '*' 'score_ < kTrusted || ' ''
mutant never-unlearn proxy/shard/reply_watch.cc reply_watch_test '*' 'score_ - kMiss' 'score_'
mutant wait-without-a-bound proxy/shard/reply_watch.cc reply_watch_test '*' ' || allowance_us_ < kMostUs' ''
mutant short-turns-earn-nothing proxy/shard/reply_watch.cc reply_watch_test '*' '+= gained * kShare' '= now_us'
mutant answers-without-bound proxy/session/session_flow.cc simulation_test 'Asking*' \
  'to_client_.size() > kMostAnswers' 'false'
mutant declined-again-and-again proxy/tls/tls_records.cc simulation_test 'Asking*' \
  '!write_closed_ && output.empty()) send_alert' '!write_closed_) send_alert'
mutant a-devices-first-page-only proxy/shard/shard_sessions.cc data_plane_test '*Pages*' \
  'const auto its_own = index_.of_device(*query.device);' 'if (query.from > 0) return; const auto its_own = index_.of_device(*query.device);'
mutant unproven-is-listed proxy/shard/shard_sessions.cc data_plane_test '*Proven*' \
  'session.state() == Session::State::Handshaking ? nullptr : ' ''
mutant the-disk-may-fill-up cache/registry/registry_store.cc registrar_test '*RefusesBefore*' \
  '|| bytes >= kRoom) return {};' '|| bytes > 0) return {};'
mutant awake-to-the-last proxy/shard/reply_watch.h reply_watch_test '*' 'kMostUs - kAwakeUs;' '0;'
mutant awake-with-one-processor proxy/shard/reply_watch.h reply_watch_test '*' 'beside_ && rare_ && ' 'rare_ && '
mutant learn-from-a-busy-shard proxy/shard/reply_watch.cc reply_watch_test '*' 'if (distracted_) return;' ''
mutant put-off-for-ever proxy/shard/reply_watch.cc reply_watch_test '*' 'putting_off() ? std::min(put_off_at_us_, asked_at_us_) : ' ''
mutant putting-off-is-free proxy/shard/reply_watch.cc reply_watch_test '*' 'if (putting_off()) waited(now_us - put_off_at_us_);' ''
mutant a-broker-on-this-host-is-paced proxy/shard/shard.cc data_plane_test '*NothingPaces*' \
  'if (is_loopback(*route.address)) {' 'if (false) {'
mutant any-mapped-address-is-loopback proxy/shard/broker.cc proxy_parts_test '*Loopback*' \
  '&ip) && ip.s6_addr[12] == IN_LOOPBACKNET)' '&ip))'
mutant no-p521-device-by-openssl proxy/tls/tls_context.cc tls_engine_test '*GoodStanding*' ':P-521"' '"'
mutant no-rest proxy/shard/shard.cc data_plane_test '*Rests*' 'rest_.due(turn_began_us_)' 'false'
mutant a-rest-for-nothing proxy/io/ring.cc ring_test '*Rest*' 'std::this_thread::sleep_for(time);' ''
mutant a-rest-counts-for-ever proxy/io/ring.cc ring_test '*Rest*' 'rested_ = std::chrono::microseconds(0);' ''
mutant always-asleep proxy/io/ring.cc ring_test '*' 'if (awake.count() > 0) stay_awake(begun + awake);' ''
mutant awake-and-blind proxy/io/ring.cc ring_test '*' '(flags.load(std::memory_order_relaxed) & IORING_SQ_TASKRUN) != 0 || ' ''
mutant sleep-through-a-timer proxy/io/timer_wheel.cc proxy_parts_test '*' \
  'if (head.next_ != &head) return at > now_ms ? at - now_ms : 0;' ''
mutant a-known-device-by-its-leaf-alone cache/standing/device_gate.cc device_gate_test '*' \
  'if (!chains_.alive(slot.chain, now)) return false;' ''
mutant seen-is-for-ever cache/standing/device_gate.cc device_gate_test '*' \
  'slot.seen_day == unix_day(now)' 'true'

echo "mutants: $killed killed, $survived survived"
[ -n "${MUTANTS_DIR:-}" ] || rm -rf "$scratch"
[ "$survived" -eq 0 ]
