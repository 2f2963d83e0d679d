// What the table of alerts is made of (alerts_test.cc, alerts12_test.cc): a client that has said everything that comes
// before what a row says, and the row.
#pragma once

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>

#include "cache/crypto/openssl_insides.h"
#include "proxy/tls/tls_engine.h"
#include "tests/proxy/tls/peer_parts.h"
#include "tests/proxy/tls/tls12_peer.h"
#include "tests/proxy/tls/tls13_peer.h"
#include "tests/proxy/tls/tls_server.h"

namespace sallyport::test {

// What has been said before, as it should be.
enum class When : std::uint8_t {
  Hello13,    // nothing
  Hello12,    // nothing
  Greeted13,  // a ClientHello
  Certified13,
  Proven13,  // CertificateVerify
  Open13,    // all of it
  Greeted12,
  Certified12,
  Exchanged12,  // ClientKeyExchange
  Proven12,
  Changed12,  // ChangeCipherSpec
  Open12,
};
inline bool of_tls12(When when) {
  return when == When::Hello12 || when >= When::Greeted12;
}

inline constexpr int kGoesOn = -1;  // no alert: OpenSSL takes it

struct OpensslDoes {
  int alert;
  const char* why;       // it is let be
  bool until35 = false;  // OpenSSL 3.5 does as the RFC says
};

class Client;
struct Row {
  const char* name;
  When when;
  std::function<Bytes(Client&)> says;
  int alert;
  const char* where;  // RFC and section
  const char* quote;
  std::optional<OpensslDoes> openssl = std::nullopt;
  std::optional<int> since35 = std::nullopt;  // OpenSSL 3.5's alert, where the RFC has none of its own
};
inline void PrintTo(const Row& row, std::ostream* out) {
  *out << row.name;
}

inline const char* const kOpensslsOwn = "OpenSSL sends this alert itself, and nothing of its API changes it";

class Client {
 public:
  Client() : ca(make_ca("Device CA")), device(make_device("d", ca)), yes(Reason::None) {}

  Bytes der() const {
    const std::string& bytes = device.certificate.der();
    return {bytes.begin(), bytes.end()};
  }
  Hello hello13() { return Hello(peer13.share()); }
  // A message in a record of its own, which counts in the transcript.
  Bytes say(When when, const Bytes& message) {
    if (of_tls12(when)) {
      peer12.said(message);
      return plain_record(kHandshake, message);
    }
    const Bytes record = peer13.seal(kHandshake, message);
    peer13.said(message);
    return record;
  }
  Step give(const Bytes& bytes) {
    pending = bytes;
    engine->lend(pending);
    return engine->handshake();
  }
  Step read(const Bytes& bytes) {
    pending = bytes;
    engine->lend(pending);
    std::vector<std::uint8_t> plain(bytes.size() + TlsRecords::kMostOpened);
    std::size_t n = 0;
    Step step = engine->read(plain, n);
    while (step == Step::Done) step = engine->read(plain, n);
    return step;
  }
  // All that comes before `when`.
  void come_to(When when) {
    engine.emplace(server.context(), &yes, output);
    if (when == When::Hello13 || when == When::Hello12) return;
    of_tls12(when) ? come_to12(when) : come_to13(when);
    if (!output.empty()) output.consume(output.size());
  }
  // The alert that the output ends with: in the clear, or under the key that is due.
  std::optional<int> alert(When when) {
    std::span<const std::uint8_t> bytes = output.bytes();
    std::optional<InnerRecord> record;
    if (when == When::Hello13 || (of_tls12(when) && when != When::Open12)) {
      if (bytes.size() < 7) return std::nullopt;
      record = InnerRecord{bytes[0], Bytes(bytes.begin() + 5, bytes.end())};
    } else {
      record = when == When::Open12 ? peer12.open(bytes) : peer13.open(bytes);
    }
    if (!record || record->type != kAlert || record->content.size() != 2 || record->content[0] != 2)
      return std::nullopt;
    return record->content[1];
  }

  Server server;
  const Identity509 ca, device;
  Says yes;
  Tls13Peer peer13;
  Tls12Peer peer12;
  ByteBuffer output;
  Bytes pending;
  std::optional<TlsEngine> engine;

 private:
  void come_to13(When when) {
    ASSERT_EQ(give(peer13.say(hello13())), Step::WantInput);
    ASSERT_TRUE(peer13.hear(output.bytes()));
    output.consume(output.size());
    if (when >= When::Certified13) {
      ASSERT_EQ(give(say(when, peer13.certificate({der()}))), Step::WantInput);
    }
    if (when >= When::Proven13) {
      ASSERT_EQ(give(say(when, peer13.certificate_verify(device.key.get(), 0x0403, "SHA256"))), Step::WantInput);
    }
    if (when == When::Open13) {
      ASSERT_EQ(give(say(when, peer13.finished())), Step::Done);
    }
  }
  void come_to12(When when) {
    ASSERT_EQ(give(peer12.say(hello12())), Step::WantInput);
    ASSERT_TRUE(peer12.hear(output.bytes()));
    output.consume(output.size());
    if (when >= When::Certified12) {
      ASSERT_EQ(give(say(when, peer12.certificate({der()}))), Step::WantInput);
    }
    if (when >= When::Exchanged12) {
      const Bytes exchange = say(when, peer12.key_exchange());
      peer12.agree();
      ASSERT_EQ(give(exchange), Step::WantInput);
    }
    if (when >= When::Proven12) {
      ASSERT_EQ(give(say(when, peer12.certificate_verify(device.key.get(), 0x0403, "SHA256"))), Step::WantInput);
    }
    if (when >= When::Changed12) {
      ASSERT_EQ(give(peer12.change_cipher_spec()), Step::WantInput);
    }
    if (when == When::Open12) {
      const Bytes message = peer12.finished();
      const Bytes record = peer12.seal(kHandshake, message);
      peer12.said(message);
      ASSERT_EQ(give(record), Step::Done);
      std::span<const std::uint8_t> bytes = output.bytes();
      ASSERT_TRUE(peer12.hear_end(bytes));
    }
  }
};

class Alerts : public testing::TestWithParam<Row> {};
inline std::string name_of_row(const testing::TestParamInfo<Row>& tested) {
  return tested.param.name;
}

inline Bytes changed(Hello hello, const std::function<void(Hello&)>& change) {
  change(hello);
  return plain_record(kHandshake, hello.message());
}
inline std::function<Bytes(Client&)> hello13_with(std::function<void(Hello&)> change) {
  return [change = std::move(change)](Client& client) { return changed(client.hello13(), change); };
}
inline std::function<Bytes(Client&)> hello12_with(std::function<void(Hello&)> change) {
  return [change = std::move(change)](Client&) { return changed(hello12(), change); };
}
// Of the client's next key, whichever version it is.
inline std::function<Bytes(Client&)> sealed13(std::uint8_t type, Bytes content) {
  return [type, content = std::move(content)](Client& client) { return client.peer13.seal(type, content); };
}
inline std::function<Bytes(Client&)> opened13(std::uint8_t type, Bytes content) {
  return [type, content = std::move(content)](Client& client) { return client.peer13.seal_any(type, content); };
}
inline std::function<Bytes(Client&)> sealed12(std::uint8_t type, Bytes content) {
  return [type, content = std::move(content)](Client& client) { return client.peer12.seal(type, content); };
}
inline std::function<Bytes(Client&)> plain(std::uint8_t type, Bytes content) {
  return [type, content = std::move(content)](Client&) { return plain_record(type, content); };
}
// A Certificate of TLS 1.3 with this context, of one entry with this certificate and these extensions.
inline Bytes certificate13(const Bytes& context, const Bytes& der, const Bytes& extensions) {
  return message_of(11,
                    join({vector_of(context, 1), vector_of(join({vector_of(der, 3), vector_of(extensions, 2)}), 3)}));
}
inline std::function<Bytes(Client&)> certified13(Bytes context, Bytes extensions) {
  return
      [=](Client& client) { return client.peer13.seal(kHandshake, certificate13(context, client.der(), extensions)); };
}
// The device's certificate with a key whose algorithm, id-ecPublicKey, has become another.
inline Bytes of_unknown_key(Bytes der) {
  static const Bytes kEcPublicKey = {0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01};
  const auto at = std::search(der.begin(), der.end(), kEcPublicKey.begin(), kEcPublicKey.end());
  CHECK(at != der.end());
  *(at + 8) = 0x77;
  return der;
}
inline Bytes point_share(std::size_t group, std::size_t bytes, std::uint8_t form) {
  Bytes point(bytes, 1);
  point[0] = form;
  return vector_of(join({number(group, 2), vector_of(point, 2)}), 2);
}

}  // namespace sallyport::test
