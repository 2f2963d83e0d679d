// The rows of TLS 1.2; alerts_test.cc runs them.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "tests/proxy/tls/alerts_fixture.h"

namespace sallyport::test {
namespace {

// Why OpenSSL's own way is let be.
constexpr const char* kUnnamed = "the RFC names no alert for it";
// Of the RFCs.
constexpr const char* kNoEmptyFragments =
    "Implementations MUST NOT send zero-length fragments of Handshake, Alert, or ChangeCipherSpec content types.";
constexpr const char* kUnexpectedType12 =
    "If a TLS implementation receives an unexpected record type, it MUST send an unexpected_message alert.";
constexpr const char* kOneOfAType12 = "There MUST NOT be more than one extension of the same type.";
constexpr const char* kInappropriate = "unexpected_message: An inappropriate message was received.";
constexpr const char* kWrongLength = "decode_error: ... the length of the message was incorrect.";
constexpr const char* kIllegalPoint = "abort the handshake ... with an illegal_parameter alert";
constexpr const char* kSingleByte = "The message consists of a single byte of value 1.";
constexpr const char* kTwoLevels = "enum { warning(1), fatal(2), (255) } AlertLevel;";

const Row kHello12[] = {
    {"ExtensionTwice", When::Hello12, hello12_with([](Hello& h) { h.add(13, *h.find(13)); }), SSL_AD_ILLEGAL_PARAMETER,
     "RFC 5246, 7.4.1.4", kOneOfAType12},
    {"HighExtensionTwice", When::Hello12, hello12_with([](Hello& h) { h.add(0x3A3A, {1}), h.add(0x3A3A, {}); }),
     SSL_AD_ILLEGAL_PARAMETER, "RFC 5246, 7.4.1.4", kOneOfAType12},
    {"CompressedPointsAlone", When::Hello12, hello12_with([](Hello& h) {
       h.add(11, vector_of({1, 2}, 1));
     }),
     SSL_AD_ILLEGAL_PARAMETER, "RFC 8422, 5.1.2",
     "If the client sends this extension and the extension does not contain the uncompressed point format ... then the "
     "server MUST abort the handshake and return an illegal_parameter alert."},
    {"NoPointFormat", When::Hello12, hello12_with([](Hello& h) { h.add(11, vector_of({}, 1)); }), SSL_AD_DECODE_ERROR,
     "RFC 5246, 7.2.2",
     "decode_error: A message could not be decoded because some field was out of the specified range"},
    {"NoNullCompression", When::Hello12, hello12_with([](Hello& h) { h.compressions = {1}; }), SSL_AD_DECODE_ERROR,
     "RFC 5246, 7.4.1.2", "This vector MUST contain, and all implementations MUST support, CompressionMethod.null.",
     std::nullopt, SSL_AD_ILLEGAL_PARAMETER},
    {"NoCommonSuite", When::Hello12, hello12_with([](Hello& h) {
       h.suites = numbers_of({0xC009, 0x00FF});
     }),
     SSL_AD_HANDSHAKE_FAILURE, "RFC 5246, 7.4.1.3",
     "If no such match is found, the server will return a handshake failure alert."},
    {"Fallback", When::Hello12, hello12_with([](Hello& h) {
       h.suites = numbers_of({0xC02B, 0x00FF, 0x5600});
     }),
     SSL_AD_INAPPROPRIATE_FALLBACK, "RFC 7507, 3", "the server MUST respond with a fatal inappropriate_fallback alert"},
    {"RenegotiationAtOnce", When::Hello12, hello12_with([](Hello& h) {
       h.add(0xFF01, {1, 9});
     }),
     SSL_AD_HANDSHAKE_FAILURE, "RFC 5746, 3.6", "if it is not [empty], the server MUST abort the handshake"},
    {"OldVersion", When::Hello12, hello12_with([](Hello& h) { h.version = 0x0302; }), SSL_AD_PROTOCOL_VERSION,
     "RFC 5246, E.1",
     "If server supports (or is willing to use) only versions greater than client_version, it MUST send a "
     "\"protocol_version\" alert message and close the connection."},
};

const Row kFlight12[] = {
    {"NoCertificate", When::Greeted12, [](Client& c) { return c.say(When::Greeted12, c.peer12.certificate({})); },
     SSL_AD_HANDSHAKE_FAILURE, "RFC 5246, 7.4.6", "respond with a fatal handshake_failure alert."},
    {"CertificateTorn", When::Greeted12,
     [](Client& c) {
       Bytes der = c.der();
       der.pop_back();
       return c.say(When::Greeted12, c.peer12.certificate({der}));
     },
     SSL_AD_BAD_CERTIFICATE, "RFC 5246, 7.2.2", "bad_certificate: A certificate was corrupt",
     OpensslDoes{SSL_AD_DECODE_ERROR, kOpensslsOwn}},
    {"UnknownKey", When::Greeted12,
     [](Client& c) { return c.say(When::Greeted12, c.peer12.certificate({of_unknown_key(c.der())})); },
     SSL_AD_UNSUPPORTED_CERTIFICATE, "RFC 5246, 7.2.2",
     "unsupported_certificate: A certificate was of an unsupported type."},
    {"CertificateListTorn", When::Greeted12, plain(kHandshake, {11, 0, 0, 3, 0, 0, 9}), SSL_AD_DECODE_ERROR,
     "RFC 5246, 7.2.2",
     "decode_error: A message could not be decoded because some field was out of the specified range or the length of "
     "the message was incorrect."},
    {"KeyExchangeFirst", When::Greeted12, [](Client& c) { return c.say(When::Greeted12, c.peer12.key_exchange()); },
     SSL_AD_UNEXPECTED_MESSAGE, "RFC 5246, 7.3",
     "Sending handshake messages in an unexpected order results in a fatal error."},
    {"EmptyPoint", When::Certified12, plain(kHandshake, {16, 0, 0, 1, 0}), SSL_AD_DECODE_ERROR, "RFC 8422, 5.4",
     "opaque point <1..2^8-1>"},
    {"SmallOrderPoint", When::Certified12, plain(kHandshake, message_of(16, vector_of(Bytes(32), 1))),
     SSL_AD_ILLEGAL_PARAMETER, "RFC 8422, 5.11", kIllegalPoint},
    {"PointOfAnotherLength", When::Certified12, plain(kHandshake, message_of(16, vector_of(Bytes(31, 9), 1))),
     SSL_AD_ILLEGAL_PARAMETER, "RFC 8422, 5.11", kIllegalPoint},
    {"ProofOfAWrongScheme", When::Exchanged12,
     [](Client& c) {
       return c.say(When::Exchanged12, c.peer12.certificate_verify(c.device.key.get(), 0x0804, "SHA256"));
     },
     SSL_AD_ILLEGAL_PARAMETER, "RFC 5246, 7.2.2",
     "illegal_parameter: A field in the handshake was out of range or inconsistent with other fields."},
    {"ProofOfAnother", When::Exchanged12,
     [](Client& c) {
       const KeyPtr thief = make_key(Kind::P256);
       return c.say(When::Exchanged12, c.peer12.certificate_verify(thief.get(), 0x0403, "SHA256"));
     },
     SSL_AD_DECRYPT_ERROR, "RFC 5246, 7.2.2",
     "decrypt_error: A handshake cryptographic operation failed, including being unable to correctly verify a "
     "signature"},
    {"ChangeCipherSpecTooSoon", When::Exchanged12, plain(kChangeCipherSpec, {1}), SSL_AD_UNEXPECTED_MESSAGE,
     "RFC 5246, 7.1 and 7.2.2", kInappropriate},
    {"ChangeCipherSpecInAMessage", When::Exchanged12,
     [](Client&) {
       return join({plain_record(kHandshake, {15, 0}), plain_record(kChangeCipherSpec, {1})});
     },
     SSL_AD_UNEXPECTED_MESSAGE, "RFC 5246, 7.1 and 7.2.2", kInappropriate},
    {"ChangeCipherSpecOfAnotherByte", When::Proven12, plain(kChangeCipherSpec, {2}), SSL_AD_ILLEGAL_PARAMETER,
     "RFC 5246, 7.1 and 7.2.2", kSingleByte, OpensslDoes{SSL_AD_UNEXPECTED_MESSAGE, kUnnamed}},
    {"ChangeCipherSpecOfTwoBytes", When::Proven12, plain(kChangeCipherSpec, {1, 1}), SSL_AD_ILLEGAL_PARAMETER,
     "RFC 5246, 7.1 and 7.2.2", kSingleByte, OpensslDoes{SSL_AD_UNEXPECTED_MESSAGE, kUnnamed}},
    {"FinishedWithoutAChange", When::Proven12, [](Client& c) { return c.say(When::Proven12, c.peer12.finished()); },
     SSL_AD_UNEXPECTED_MESSAGE, "RFC 5246, 7.4.9",
     "It is a fatal error if a Finished message is not preceded by a ChangeCipherSpec message"},
    {"FinishedOfAnother", When::Changed12, sealed12(kHandshake, message_of(20, Bytes(12))), SSL_AD_DECRYPT_ERROR,
     "RFC 5246, 7.2.2", "decrypt_error: ... unable to ... validate a Finished message."},
    {"FinishedOfAnotherLength", When::Changed12, sealed12(kHandshake, message_of(20, Bytes(11))), SSL_AD_DECODE_ERROR,
     "RFC 5246, 7.2.2", kWrongLength},
    {"DataTooSoon", When::Changed12, sealed12(kApplicationData, {1}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 5246, 7.2.2",
     kInappropriate},
    {"EmptyHandshakeRecord", When::Greeted12, plain(kHandshake, {}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 5246, 6.2.1",
     kNoEmptyFragments, OpensslDoes{kGoesOn, "the RFC forbids sending it, not taking it; OpenSSL takes 32 in a row"}},
    {"EmptyAlert", When::Greeted12, plain(kAlert, {}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 5246, 6.2.1", kNoEmptyFragments},
    {"HalfAnAlert", When::Greeted12, plain(kAlert, {1}), SSL_AD_DECODE_ERROR, "RFC 5246, 7.2.2", kWrongLength,
     OpensslDoes{SSL_AD_UNEXPECTED_MESSAGE, kUnnamed}},
    {"AlertOfAnotherLevel", When::Greeted12, plain(kAlert, {3, 90}), SSL_AD_ILLEGAL_PARAMETER, "RFC 5246, 7.2",
     kTwoLevels},
    {"AnAlertInAMessage", When::Greeted12,
     [](Client&) {
       return join({plain_record(kHandshake, {11, 0}), plain_record(kAlert, {1, 90})});
     },
     SSL_AD_UNEXPECTED_MESSAGE, "RFC 5246, 7.2.2", kInappropriate, OpensslDoes{kGoesOn, "RFC 5246 does not forbid it"}},
    {"UnknownType", When::Greeted12, plain(99, {1}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 5246, 6", kUnexpectedType12},
    {"AnotherVersion", When::Greeted12, [](Client&) { return Bytes{22, 3, 1, 0, 1, 11}; }, SSL_AD_PROTOCOL_VERSION,
     "RFC 5246, 7.2.2",
     "protocol_version: The protocol version the client has attempted to negotiate is recognized but not supported."},
    {"TooLongARecord", When::Greeted12,
     [](Client&) {
       return join({{22, 3, 3, 0x40, 1}, Bytes(0x4001)});
     },
     SSL_AD_RECORD_OVERFLOW, "RFC 5246, 7.2.2",
     "record_overflow: A TLSCiphertext record was received that had a length more than 2^14+2048 bytes, or a record "
     "decrypted to a TLSCompressed record with more than 2^14+1024 bytes."},
};

const Row kRecords12[] = {
    {"EmptyAlert", When::Open12, sealed12(kAlert, {}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 5246, 6.2.1", kNoEmptyFragments},
    {"HalfAnAlert", When::Open12, sealed12(kAlert, {1}), SSL_AD_DECODE_ERROR, "RFC 5246, 7.2.2", kWrongLength,
     OpensslDoes{SSL_AD_UNEXPECTED_MESSAGE, kUnnamed}},
    {"AlertOfAnotherLevel", When::Open12, sealed12(kAlert, {0, 90}), SSL_AD_ILLEGAL_PARAMETER, "RFC 5246, 7.2",
     kTwoLevels},
    {"EmptyHandshakeRecord", When::Open12, sealed12(kHandshake, {}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 5246, 6.2.1",
     kNoEmptyFragments, OpensslDoes{kGoesOn, "the RFC forbids sending it, not taking it; OpenSSL takes 32 in a row"}},
    {"FinishedAgain", When::Open12, sealed12(kHandshake, message_of(20, Bytes(12))), SSL_AD_UNEXPECTED_MESSAGE,
     "RFC 5246, 7.2.2", kInappropriate},
    {"ChangeCipherSpec", When::Open12, sealed12(kChangeCipherSpec, {1}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 5246, 7.2.2",
     kInappropriate},
    {"UnknownType", When::Open12, sealed12(99, {1}), SSL_AD_UNEXPECTED_MESSAGE, "RFC 5246, 6", kUnexpectedType12},
    {"FlippedBit", When::Open12,
     [](Client& c) {
       Bytes record = c.peer12.seal(kApplicationData, {1});
       record.back() ^= 1;
       return record;
     },
     SSL_AD_BAD_RECORD_MAC, "RFC 5246, 7.2.2",
     "bad_record_mac: This alert is returned if a record is received with an incorrect MAC."},
};

INSTANTIATE_TEST_SUITE_P(Hello12, Alerts, testing::ValuesIn(kHello12), name_of_row);
INSTANTIATE_TEST_SUITE_P(Flight12, Alerts, testing::ValuesIn(kFlight12), name_of_row);
INSTANTIATE_TEST_SUITE_P(Records12, Alerts, testing::ValuesIn(kRecords12), name_of_row);

}  // namespace
}  // namespace sallyport::test
