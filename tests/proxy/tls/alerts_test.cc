// Every alert that a client can bring about, one row each: what it does, which alert it is told, and where the RFC says
// so. The rows run over both engines: this file is linked into one program with our own handshakes and records, and
// into another where everything is OpenSSL's (unknown_openssl.cc). Where OpenSSL does otherwise and nothing of its API
// lets us mend that, the row says what it does and why that is let be; client_rules.h has what is mended.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <string>

#include "cache/crypto/openssl_insides.h"
#include "tests/proxy/tls/alerts_fixture.h"

namespace sallyport::test {
namespace {

// Why OpenSSL's own way is let be.
constexpr const char* kNoSuchAlert =
    "OpenSSL ignores it; the verify callback ends the handshake, and cannot choose this alert";
constexpr const char* kUnseen =
    "no callback says where a message ends inside a padded record, and what comes between is dropped and changes "
    "nothing";
// Of the RFCs.
constexpr const char* kNothingInside =
    "Implementations MUST NOT send Handshake and Alert records that have a zero-length TLSInnerPlaintext.content; if "
    "such a message is received, the receiving implementation MUST terminate the connection with an "
    "\"unexpected_message\" alert.";
constexpr const char* kRecordBoundary =
    "Implementations MUST verify that all messages immediately preceding a key change align with a record boundary; if "
    "not, then they MUST terminate the connection with an \"unexpected_message\" alert.";
constexpr const char* kUnparsed =
    "Peers which receive a message which cannot be parsed according to the syntax ... MUST terminate the connection "
    "with a \"decode_error\" alert.";
constexpr const char* kOtherChange =
    "An implementation which receives any other change_cipher_spec value ... MUST abort the handshake with an "
    "\"unexpected_message\" alert.";
constexpr const char* kUnexpectedType =
    "If a TLS implementation receives an unexpected record type, it MUST terminate the connection with an "
    "\"unexpected_message\" alert.";
constexpr const char* kUnexpectedOrder =
    "A peer which receives a handshake message in an unexpected order MUST abort the handshake with an "
    "\"unexpected_message\" alert.";
constexpr const char* kOverflow =
    "An endpoint that receives a record that exceeds this length MUST terminate the connection with a "
    "\"record_overflow\" alert.";
constexpr const char* kUnasked =
    "Upon receiving such an extension, an endpoint MUST abort the handshake with an \"unsupported_extension\" alert.";
constexpr const char* kNothingBetween =
    "if a handshake message is split over two or more records, there MUST NOT be any other records between them.";
constexpr const char* kBadMac =
    "If the decryption fails, the receiver MUST terminate the connection with a \"bad_record_mac\" alert.";
constexpr const char* kUncompressedPoint =
    "the contents are the serialized value of the following struct: UncompressedPointRepresentation";
constexpr const char* kOneOfAType =
    "There MUST NOT be more than one extension of the same type in a given extension block.";
constexpr const char* kIllegal = "the server MUST abort the handshake with an \"illegal_parameter\" alert.";
constexpr const char* kOneAlert = "a record with an Alert type MUST contain exactly one message";

TEST_P(Alerts, AreThoseOfTheRfc) {
  const Row& row = GetParam();
  const bool own = openssl_insides_hold();
  SCOPED_TRACE(std::string(row.where) + ": " + row.quote);
  Client client;
  ASSERT_NO_FATAL_FAILURE(client.come_to(row.when));
  const Bytes said = row.says(client);
  const bool open = row.when == When::Open13 || row.when == When::Open12;
  const Step step = open ? client.read(said) : client.give(said);
  const bool newer = OPENSSL_VERSION_NUMBER >= 0x30500000L;
  const bool openssls = !own && row.openssl && !(row.openssl->until35 && newer);
  const int expected = openssls ? row.openssl->alert : newer && row.since35 ? *row.since35 : row.alert;
  if (expected == kGoesOn) {
    EXPECT_EQ(step, Step::WantInput) << client.engine->error().what;
    return;
  }
  EXPECT_EQ(step, Step::Failed);
  EXPECT_EQ(client.engine->error().reason,
            expected == SSL_AD_CERTIFICATE_REQUIRED || std::string(row.name).starts_with("NoCertificate")
                ? Reason::NoCertificate
                : Reason::TlsError);
  EXPECT_FALSE(client.engine->error().what.empty());
  EXPECT_EQ(client.alert(row.when), expected) << client.engine->error().what;
  const Bytes more = plain_record(kHandshake, {1, 0, 0, 0});
  EXPECT_NE(open ? client.read(more) : client.give(more), Step::Done);
  EXPECT_TRUE(open || !client.engine->established());
}

const Row kHello13[] = {
    {"ExtensionTwice", When::Hello13, hello13_with([](Hello& h) { h.add(13, *h.find(13)); }), SSL_AD_ILLEGAL_PARAMETER,
     "RFC 8446, 4.2", kOneOfAType},
    {"UnknownExtensionTwice", When::Hello13, hello13_with([](Hello& h) { h.add(63, {1}), h.add(63, {}); }),
     SSL_AD_ILLEGAL_PARAMETER, "RFC 8446, 4.2", kOneOfAType},
    {"HighExtensionTwice", When::Hello13,
     hello13_with([](Hello& h) { h.add(0x3A3A, {1}), h.add(0xFE0D, {}), h.add(0x3A3A, {}); }), SSL_AD_ILLEGAL_PARAMETER,
     "RFC 8446, 4.2", kOneOfAType},
    {"HighExtensionTwiceAmongMany", When::Hello13, hello13_with([](Hello& h) {
       for (std::size_t i = 0; i < 300; ++i) h.add(1000 + i, {});
       h.add(1000, {});
     }),
     SSL_AD_ILLEGAL_PARAMETER, "RFC 8446, 4.2", kOneOfAType},
    {"CompressedShare", When::Hello13, hello13_with([](Hello& h) { *h.find(51) = point_share(23, 33, 2); }),
     SSL_AD_ILLEGAL_PARAMETER, "RFC 8446, 4.2.8.2", kUncompressedPoint},
    {"HybridShare", When::Hello13, hello13_with([](Hello& h) { *h.find(51) = point_share(23, 65, 6); }),
     SSL_AD_ILLEGAL_PARAMETER, "RFC 8446, 4.2.8.2", kUncompressedPoint},
    {"ShareOffTheCurve", When::Hello13, hello13_with([](Hello& h) { *h.find(51) = point_share(23, 65, 4); }),
     SSL_AD_ILLEGAL_PARAMETER, "RFC 8446, 4.2.8.2",
     "Peers MUST validate each other's public value Q by ensuring that the point is a valid point on the elliptic "
     "curve."},
    {"ShareOfSmallOrder", When::Hello13, hello13_with([](Hello& h) {
       *h.find(51) = vector_of(join({number(29, 2), vector_of(Bytes(32), 2)}), 2);
     }),
     SSL_AD_ILLEGAL_PARAMETER, "RFC 8446, 7.4.2",
     "implementations MUST check whether the computed Diffie-Hellman shared secret is the all-zero value and abort if "
     "so"},
    {"Compression", When::Hello13, hello13_with([](Hello& h) {
       h.compressions = {1, 0};
     }),
     SSL_AD_ILLEGAL_PARAMETER, "RFC 8446, 4.1.2", kIllegal},
    {"NoNullCompression", When::Hello13, hello13_with([](Hello& h) { h.compressions = {1}; }), SSL_AD_ILLEGAL_PARAMETER,
     "RFC 8446, 4.1.2", kIllegal},
    {"NoSignatureAlgorithms", When::Hello13, hello13_with([](Hello& h) { h.remove(13); }), SSL_AD_MISSING_EXTENSION,
     "RFC 8446, 9.2",
     "Servers receiving a ClientHello which does not conform to these requirements MUST abort the handshake with a "
     "\"missing_extension\" alert."},
    {"NoGroups", When::Hello13, hello13_with([](Hello& h) { h.remove(10); }), SSL_AD_MISSING_EXTENSION, "RFC 8446, 9.2",
     "If containing a \"key_share\" extension, it MUST also contain a \"supported_groups\" extension and vice versa."},
    {"NoShares", When::Hello13, hello13_with([](Hello& h) { h.remove(51); }), SSL_AD_MISSING_EXTENSION, "RFC 8446, 9.2",
     "If containing a \"supported_groups\" extension, it MUST also contain a \"key_share\" extension, and vice versa."},
    {"NothingBehindTheTicket", When::Hello13, hello13_with([](Hello& h) {
       h.add(45, vector_of({1}, 1));
       h.add(41,
             join({vector_of(join({vector_of({1, 2, 3}, 2), Bytes(4)}), 2), vector_of(vector_of(Bytes(32), 1), 2)}));
       h.add(99, {});
     }),
     SSL_AD_ILLEGAL_PARAMETER, "RFC 8446, 4.2.11",
     "Servers MUST check that it is the last extension and otherwise fail the handshake with an \"illegal_parameter\" "
     "alert."},
    {"TicketWithoutItsModes", When::Hello13, hello13_with([](Hello& h) {
       h.add(41,
             join({vector_of(join({vector_of({1, 2, 3}, 2), Bytes(4)}), 2), vector_of(vector_of(Bytes(32), 1), 2)}));
     }),
     SSL_AD_MISSING_EXTENSION, "RFC 8446, 4.2.9",
     "If clients offer \"pre_shared_key\" without a \"psk_key_exchange_modes\" extension, servers MUST abort the "
     "handshake."},
    {"TornExtension", When::Hello13, hello13_with([](Hello& h) {
       *h.find(10) = {0, 9, 0};
     }),
     SSL_AD_DECODE_ERROR, "RFC 8446, 6", kUnparsed},
    {"BytesBehind", When::Hello13, hello13_with([](Hello& h) { h.behind = {0}; }), SSL_AD_DECODE_ERROR, "RFC 8446, 6",
     kUnparsed},
    {"LongSessionId", When::Hello13, hello13_with([](Hello& h) { h.session_id = Bytes(33); }), SSL_AD_DECODE_ERROR,
     "RFC 8446, 6",
     "... or contain an out-of-range length MUST terminate the connection with a \"decode_error\" alert."},
    {"NoCommonSuite", When::Hello13, hello13_with([](Hello& h) { h.suites = numbers_of({0x1304}); }),
     SSL_AD_HANDSHAKE_FAILURE, "RFC 8446, 4.1.1",
     "the server MUST abort the handshake with either a \"handshake_failure\" or \"insufficient_security\" fatal "
     "alert"},
    {"OldVersion", When::Hello13, hello13_with([](Hello& h) { *h.find(43) = vector_of(numbers_of({0x0302}), 1); }),
     SSL_AD_PROTOCOL_VERSION, "RFC 8446, 4.2.1 and 6.2",
     "protocol_version: The protocol version the peer has attempted to negotiate is recognized but not supported."},
    {"AlertFirst", When::Hello13, plain(kAlert, {}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5.1", kOneAlert},
    {"DataFirst", When::Hello13, plain(kApplicationData, {1, 2, 3}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5",
     "it MUST terminate the connection with an \"unexpected_message\" alert."},
    {"CertificateFirst", When::Hello13, plain(kHandshake, {11, 0, 0, 0}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 4",
     kUnexpectedOrder},
    {"ChangeCipherSpecFirst", When::Hello13, plain(kChangeCipherSpec, {1}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5",
     "If an implementation detects a change_cipher_spec record received before the first ClientHello message ..., it "
     "MUST be treated as an unexpected record type"},
    {"ChangeCipherSpecInTheHello", When::Hello13,
     [](Client& client) {
       const Bytes hello = client.hello13().message();
       return join({plain_record(kHandshake, Bytes(hello.begin(), hello.begin() + 50)),
                    plain_record(kChangeCipherSpec, {1}),
                    plain_record(kHandshake, Bytes(hello.begin() + 50, hello.end()))});
     },
     SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5.1", kNothingBetween},
};

const Row kFlight13[] = {
    {"NoCertificate", When::Greeted13, [](Client& c) { return c.peer13.seal(kHandshake, c.peer13.certificate({})); },
     SSL_AD_CERTIFICATE_REQUIRED, "RFC 8446, 4.4.2.4",
     "the server MAY at its discretion either continue the handshake without client authentication or abort the "
     "handshake with a \"certificate_required\" alert."},
    {"CertificateContext", When::Greeted13, certified13({9}, {}), SSL_AD_ILLEGAL_PARAMETER, "RFC 8446, 4.4.2",
     "certificate_request_context: ... the value of certificate_request_context in that message [CertificateRequest].",
     OpensslDoes{SSL_AD_DECODE_ERROR, kOpensslsOwn}},
    {"CertificateExtensionUnasked", When::Greeted13, certified13({}, {0, 5, 0, 0}), SSL_AD_UNSUPPORTED_EXTENSION,
     "RFC 8446, 4.2", kUnasked},
    {"CertificateExtensionUnknown", When::Greeted13, certified13({}, {0x3A, 0x3A, 0, 0}), SSL_AD_UNSUPPORTED_EXTENSION,
     "RFC 8446, 4.2", kUnasked, OpensslDoes{SSL_AD_CERTIFICATE_UNKNOWN, kNoSuchAlert}},
    {"CertificateExtensionOfAnother", When::Greeted13, certified13({}, {0, 43, 0, 2, 3, 4}), SSL_AD_ILLEGAL_PARAMETER,
     "RFC 8446, 4.2",
     "If an implementation receives an extension which it recognizes and which is not specified for the message in "
     "which it appears, it MUST abort the handshake with an \"illegal_parameter\" alert."},
    {"CertificateExtensionTorn", When::Greeted13, certified13({}, {0, 5, 0, 9}), SSL_AD_DECODE_ERROR, "RFC 8446, 6",
     kUnparsed},
    {"CertificateTorn", When::Greeted13,
     [](Client& c) {
       Bytes der = c.der();
       der.pop_back();
       return c.peer13.seal(kHandshake, c.peer13.certificate({der}));
     },
     SSL_AD_BAD_CERTIFICATE, "RFC 8446, 6.2", "bad_certificate: A certificate was corrupt",
     OpensslDoes{SSL_AD_DECODE_ERROR, kOpensslsOwn}},
    {"CertificateEmpty", When::Greeted13,
     [](Client& c) { return c.peer13.seal(kHandshake, certificate13({}, {}, {})); }, SSL_AD_DECODE_ERROR,
     "RFC 8446, 6 and 4.4.2", "opaque cert_data<1..2^24-1>: ... contain an out-of-range length"},
    {"UnknownKey", When::Greeted13,
     [](Client& c) { return c.peer13.seal(kHandshake, c.peer13.certificate({of_unknown_key(c.der())})); },
     SSL_AD_UNSUPPORTED_CERTIFICATE, "RFC 8446, 6.2",
     "unsupported_certificate: A certificate was of an unsupported type."},
    {"FinishedAlone", When::Greeted13, [](Client& c) { return c.peer13.seal(kHandshake, c.peer13.finished()); },
     SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 4", kUnexpectedOrder},
    {"KeyUpdateTooSoon", When::Greeted13, sealed13(kHandshake, key_update_message(0)), SSL_AD_UNEXPECTED_MESSAGE,
     "RFC 8446, 4.6.3",
     "Implementations that receive a KeyUpdate message prior to receiving a Finished message MUST terminate the "
     "connection with an \"unexpected_message\" alert."},
    {"ProofOfAWrongScheme", When::Certified13,
     [](Client& c) {
       return c.peer13.seal(kHandshake, c.peer13.certificate_verify(c.device.key.get(), 0x0503, "SHA384"));
     },
     SSL_AD_ILLEGAL_PARAMETER, "RFC 8446, 4.4.3 and 6.2",
     "illegal_parameter: A field in the handshake was incorrect or inconsistent with other fields."},
    {"ProofOfAnother", When::Certified13,
     [](Client& c) {
       const KeyPtr thief = make_key(Kind::P256);
       return c.peer13.seal(kHandshake, c.peer13.certificate_verify(thief.get(), 0x0403, "SHA256"));
     },
     SSL_AD_DECRYPT_ERROR, "RFC 8446, 4.4.3",
     "If the verification fails, the receiver MUST terminate the handshake with a \"decrypt_error\" alert."},
    {"ProofTorn", When::Certified13, sealed13(kHandshake, {15, 0, 0, 3, 4, 3, 0}), SSL_AD_DECODE_ERROR, "RFC 8446, 6",
     "Peers which receive a message which cannot be parsed ... MUST terminate the connection with a \"decode_error\" "
     "alert."},
    {"FinishedOfAnother", When::Proven13, sealed13(kHandshake, message_of(20, Bytes(32))), SSL_AD_DECRYPT_ERROR,
     "RFC 8446, 4.4.4",
     "Recipients of Finished messages MUST verify that the contents are correct and if incorrect MUST terminate the "
     "connection with a \"decrypt_error\" alert."},
    {"FinishedOfAnotherLength", When::Proven13, sealed13(kHandshake, message_of(20, Bytes(31))), SSL_AD_DECODE_ERROR,
     "RFC 8446, 6.2", "decode_error: ... the length of the message was incorrect."},
    {"MoreBehindTheFinished", When::Proven13,
     [](Client& c) {
       return c.peer13.seal(kHandshake, join({c.peer13.finished(), {0}}));
     },
     SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5.1", kRecordBoundary},
    {"EmptyHandshakeRecord", When::Greeted13, sealed13(kHandshake, {}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5.4",
     kNothingInside},
    {"EmptyAlert", When::Greeted13, sealed13(kAlert, {}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5.4", kNothingInside},
    {"HalfAnAlert", When::Greeted13, sealed13(kAlert, {1}), SSL_AD_DECODE_ERROR, "RFC 8446, 5.1 and 6", kOneAlert,
     OpensslDoes{SSL_AD_UNEXPECTED_MESSAGE, kOpensslsOwn}},
    {"TwoAlerts", When::Greeted13, sealed13(kAlert, {1, 90, 1, 90}), SSL_AD_DECODE_ERROR, "RFC 8446, 5.1 and 6",
     kOneAlert, OpensslDoes{SSL_AD_UNEXPECTED_MESSAGE, kOpensslsOwn}},
    {"EmptyPlainAlert", When::Greeted13, plain(kAlert, {}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5.1", kOneAlert},
    {"HalfAPlainAlert", When::Greeted13, plain(kAlert, {2}), SSL_AD_DECODE_ERROR, "RFC 8446, 5.1 and 6", kOneAlert,
     OpensslDoes{SSL_AD_UNEXPECTED_MESSAGE, kOpensslsOwn}},
    {"TwoPlainAlerts", When::Greeted13, plain(kAlert, {1, 90, 1, 90}), SSL_AD_DECODE_ERROR, "RFC 8446, 5.1 and 6",
     kOneAlert, OpensslDoes{SSL_AD_UNEXPECTED_MESSAGE, kOpensslsOwn}},
    {"DataTooSoon", When::Greeted13, sealed13(kApplicationData, {1}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 2 and 5",
     "Application Data MUST NOT be sent prior to sending the Finished message"},
    {"PlainHandshake", When::Greeted13, plain(kHandshake, {11, 0, 0, 0}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5",
     kUnexpectedType},
    {"AnAlertInAMessage", When::Greeted13,
     [](Client& c) {
       return join({c.peer13.seal(kHandshake, {11, 0}), c.peer13.seal(kAlert, {1, 90})});
     },
     SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5.1", kNothingBetween, OpensslDoes{kGoesOn, kUnseen}},
    {"DataInAMessage", When::Greeted13,
     [](Client& c) {
       return join({c.peer13.seal(kHandshake, {11, 0}), c.peer13.seal(kApplicationData, {1})});
     },
     SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5.1", kNothingBetween},
    {"ChangeCipherSpecInAMessage", When::Greeted13,
     [](Client& c) {
       return join({c.peer13.seal(kHandshake, {11, 0}), plain_record(kChangeCipherSpec, {1})});
     },
     SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5.1", kNothingBetween, OpensslDoes{kGoesOn, kUnseen}},
    {"ChangeCipherSpecOfAnotherByte", When::Greeted13, plain(kChangeCipherSpec, {2}), SSL_AD_UNEXPECTED_MESSAGE,
     "RFC 8446, 5", kOtherChange, OpensslDoes{SSL_AD_ILLEGAL_PARAMETER, kOpensslsOwn, true}},
    {"ChangeCipherSpecOfTwoBytes", When::Greeted13, plain(kChangeCipherSpec, {1, 1}), SSL_AD_UNEXPECTED_MESSAGE,
     "RFC 8446, 5", kOtherChange, OpensslDoes{SSL_AD_ILLEGAL_PARAMETER, kOpensslsOwn, true}},
    {"ChangeCipherSpecEmpty", When::Greeted13, plain(kChangeCipherSpec, {}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5",
     kOtherChange, OpensslDoes{SSL_AD_ILLEGAL_PARAMETER, kOpensslsOwn, true}},
    {"ChangeCipherSpecSealed", When::Greeted13, sealed13(kChangeCipherSpec, {1}), SSL_AD_UNEXPECTED_MESSAGE,
     "RFC 8446, 5",
     "... or which receives a protected change_cipher_spec record MUST abort the handshake with an "
     "\"unexpected_message\" alert."},
    {"UnknownInnerType", When::Greeted13, sealed13(99, {1}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5", kUnexpectedType},
    {"NoInnerType", When::Greeted13, sealed13(0, {}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5.4",
     "If a receiving implementation does not find a non-zero octet in the cleartext, it MUST terminate the connection "
     "with an \"unexpected_message\" alert."},
    {"FlippedBit", When::Greeted13,
     [](Client& c) {
       Bytes record = c.peer13.seal(kHandshake, {11});
       record.back() ^= 1;
       return record;
     },
     SSL_AD_BAD_RECORD_MAC, "RFC 8446, 5.2", kBadMac},
    {"TooLongARecord", When::Greeted13,
     [](Client&) {
       return join({{23, 3, 3, 0x41, 1}, Bytes(0x4101)});
     },
     SSL_AD_RECORD_OVERFLOW, "RFC 8446, 5.2", kOverflow},
    {"TooMuchPlaintext", When::Greeted13, sealed13(kHandshake, Bytes(16 * 1024 + 1)), SSL_AD_RECORD_OVERFLOW,
     "RFC 8446, 5.1", kOverflow},
};

const Row kRecords13[] = {
    {"EmptyAlert", When::Open13, opened13(kAlert, {}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5.4", kNothingInside},
    {"HalfAnAlert", When::Open13, opened13(kAlert, {2}), SSL_AD_DECODE_ERROR, "RFC 8446, 5.1 and 6", kOneAlert,
     OpensslDoes{SSL_AD_UNEXPECTED_MESSAGE, kOpensslsOwn}},
    {"TwoAlerts", When::Open13, opened13(kAlert, {1, 0, 1, 0}), SSL_AD_DECODE_ERROR, "RFC 8446, 5.1 and 6", kOneAlert,
     OpensslDoes{SSL_AD_UNEXPECTED_MESSAGE, kOpensslsOwn}},
    {"EmptyHandshakeRecord", When::Open13, opened13(kHandshake, {}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5.4",
     kNothingInside},
    {"EmptyKeyUpdate", When::Open13, opened13(kHandshake, {24, 0, 0, 0}), SSL_AD_DECODE_ERROR, "RFC 8446, 6",
     "Peers which receive a message which cannot be parsed according to the syntax (e.g., have a length extending "
     "beyond the message boundary or contain an out-of-range length) MUST terminate the connection with a "
     "\"decode_error\" alert."},
    {"LongKeyUpdate", When::Open13, opened13(kHandshake, {24, 0, 0, 2, 0, 0}), SSL_AD_DECODE_ERROR, "RFC 8446, 6",
     kUnparsed, OpensslDoes{SSL_AD_ILLEGAL_PARAMETER, kOpensslsOwn}},
    {"KeyUpdateOfAnotherValue", When::Open13, opened13(kHandshake, key_update_message(2)), SSL_AD_ILLEGAL_PARAMETER,
     "RFC 8446, 4.6.3",
     "If an implementation receives any other value, it MUST terminate the connection with an \"illegal_parameter\" "
     "alert."},
    {"MoreBehindAKeyUpdate", When::Open13, opened13(kHandshake, join({key_update_message(0), key_update_message(0)})),
     SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5.1", kRecordBoundary},
    {"ClientHelloAgain", When::Open13, [](Client& c) { return c.peer13.seal_any(kHandshake, c.hello13().message()); },
     SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 4.1.2",
     "If a server has negotiated TLS 1.3 and receives a ClientHello at any other time, it MUST terminate the "
     "connection with an \"unexpected_message\" alert."},
    {"FinishedAgain", When::Open13, opened13(kHandshake, message_of(20, Bytes(32))), SSL_AD_UNEXPECTED_MESSAGE,
     "RFC 8446, 4", kUnexpectedOrder},
    {"DataInAMessage", When::Open13,
     [](Client& c) {
       return join({c.peer13.seal_any(kHandshake, {24, 0}), c.peer13.seal_any(kApplicationData, {1})});
     },
     SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5.1", kNothingBetween},
    {"AnAlertInAMessage", When::Open13,
     [](Client& c) {
       return join({c.peer13.seal_any(kHandshake, {24, 0}), c.peer13.seal_any(kAlert, {1, 90})});
     },
     SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5.1", kNothingBetween},
    {"ChangeCipherSpec", When::Open13, plain(kChangeCipherSpec, {1}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5",
     "... or after the peer's Finished message, it MUST be treated as an unexpected record type"},
    {"ChangeCipherSpecSealed", When::Open13, opened13(kChangeCipherSpec, {1}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5",
     "... or which receives a protected change_cipher_spec record MUST abort the handshake with an "
     "\"unexpected_message\" alert."},
    {"PlainAlert", When::Open13, plain(kAlert, {2, 40}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 8446, 5", kUnexpectedType},
    {"FlippedBit", When::Open13,
     [](Client& c) {
       Bytes record = c.peer13.seal_any(kApplicationData, {1});
       record.back() ^= 1;
       return record;
     },
     SSL_AD_BAD_RECORD_MAC, "RFC 8446, 5.2", kBadMac},
    {"TooMuchPlaintext", When::Open13, opened13(kApplicationData, Bytes(16 * 1024 + 1)), SSL_AD_RECORD_OVERFLOW,
     "RFC 8446, 5.4", "record_overflow"},
};

INSTANTIATE_TEST_SUITE_P(Hello13, Alerts, testing::ValuesIn(kHello13), name_of_row);
INSTANTIATE_TEST_SUITE_P(Flight13, Alerts, testing::ValuesIn(kFlight13), name_of_row);
INSTANTIATE_TEST_SUITE_P(Records13, Alerts, testing::ValuesIn(kRecords13), name_of_row);

}  // namespace
}  // namespace sallyport::test
