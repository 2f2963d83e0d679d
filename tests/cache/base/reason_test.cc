// What a refused peer is told, row by row, as operators and devices rely on it. The rows are written out here, not read
// from the table under test.
#include "cache/base/reason.h"

#include <gtest/gtest.h>

#include <set>

namespace sallyport {
namespace {

// One byte each as it stands on the wire; 255: no alert.
struct Told {
  std::string_view reason;
  int alert13, alert12;      // RFC 8446 and RFC 5246: AlertDescription
  int connack311, connack5;  // MQTT 3.1.1, section 3.2.2.3; MQTT 5.0, section 3.2.2.2; 0: no CONNACK
};

constexpr int kNoAlert = 255;
constexpr Told kTold[] = {
    {"none", kNoAlert, kNoAlert, 0x05, 0x87},
    {"no_certificate", 116, 40, 0x05, 0x87},
    {"not_a_device", 46, 46, 0x05, 0x87},
    {"ca_unknown", 48, 48, 0x05, 0x87},
    {"ca_inactive", 46, 46, 0x05, 0x87},
    {"device_inactive", 46, 46, 0x05, 0x87},
    {"device_pending", 46, 46, 0x05, 0x87},
    {"device_revoked", 44, 44, 0x05, 0x87},
    {"not_registered", 46, 46, 0x05, 0x87},
    {"expired", 45, 45, 0x05, 0x87},
    {"not_yet_valid", 46, 46, 0x05, 0x87},
    {"bad_signature", 46, 46, 0x05, 0x87},
    {"bad_purpose", 46, 46, 0x05, 0x87},
    {"bad_chain", 46, 46, 0x05, 0x87},
    {"serial_conflict", 46, 46, 0x05, 0x87},
    {"bad_identity", 46, 46, 0x05, 0x87},
    {"client_id_mismatch", kNoAlert, kNoAlert, 0x02, 0x85},
    {"not_mqtt", kNoAlert, kNoAlert, 0x01, 0x84},
    {"bad_connect", kNoAlert, kNoAlert, 0, 0x95},
    {"tls_error", kNoAlert, kNoAlert, 0, 0},
    {"handshake_timeout", kNoAlert, kNoAlert, 0, 0},
    {"connect_timeout", kNoAlert, kNoAlert, 0, 0},
    {"rate_limited", kNoAlert, kNoAlert, 0x03, 0x9F},
    {"too_many_connections", kNoAlert, kNoAlert, 0, 0},
    {"too_many_sessions", kNoAlert, kNoAlert, 0x03, 0x97},
    {"bad_proxy_header", kNoAlert, kNoAlert, 0, 0},
    {"clone", kNoAlert, kNoAlert, 0x03, 0x8E},
    {"broker_unavailable", kNoAlert, kNoAlert, 0x03, 0x88},
    {"internal_error", 46, 46, 0x05, 0x87},
    {"shutting_down", kNoAlert, kNoAlert, 0x03, 0x8B},
};

TEST(Reason, EachTellsThePeerWhatItAlwaysTold) {
  ASSERT_EQ(std::size(kReasons), std::size(kTold));
  for (std::size_t i = 0; i < std::size(kTold); ++i) {
    SCOPED_TRACE(kTold[i].reason);
    const ReasonRow& row = kReasons[i];
    EXPECT_EQ(static_cast<std::size_t>(row.reason), i) << "row_of() finds a row by its place";
    EXPECT_EQ(row.name, kTold[i].reason);
    EXPECT_EQ(static_cast<int>(row.alert), kTold[i].alert13);
    EXPECT_EQ(static_cast<int>(row.alert12), kTold[i].alert12);
    EXPECT_EQ(row.connack.v311, kTold[i].connack311);
    EXPECT_EQ(row.connack.v5, kTold[i].connack5);
  }
}

TEST(Reason, EachRefusalSaysWhatToDo) {
  std::set<std::string_view> names, words;
  for (const ReasonRow& row : kReasons) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    if (row.reason == Reason::None) continue;
    EXPECT_TRUE(row.what_to_do.ends_with('.')) << row.name;
    EXPECT_TRUE(words.insert(row.what_to_do).second) << row.name;
  }
}

}  // namespace
}  // namespace sallyport
