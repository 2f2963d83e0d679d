// How a connection string is read, and which servers of it are asked, without a PostgreSQL.
#include "cache/shared/pg_connection.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace sallyport {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(PgConnection, AStringThatCannotBeReadIsNotRepeated) {
  EXPECT_EQ(PgUrl::flaw("postgresql://sallyport@db.example/sallyport"), "");
  EXPECT_THAT(PgUrl::flaw("host=db.example password=geheim"), Not(HasSubstr("geheim")));
  for (const std::string url :
       {"postgresql://u:%geheim@h/d", "postgresql://u:geheim@[::1/d", "postgresql://u:geheim@[::1]x/d",
        "postgresql://u:geheim@h/d?password=%zzgeheim", "postgresql://h/d?a\"b%zz=geheim\"geheim",
        "postgresql://u:geheim@h/d?password=geheim=geheim%00", "postgresql://u:x@geheim@h/d",
        "postgresql://u:geheim/x@h/d", "postgresql://u:\"geheim%zz@h/d", "postgresql://u:x y@h/d",
        "postgresql:///d password=geheim", "postgresql://u@h/d password=geheim"}) {
    const std::string flaw = PgUrl::flaw(url);
    EXPECT_NE(flaw, "") << url;
    EXPECT_THAT(flaw, Not(HasSubstr("geheim"))) << url;
  }
  EXPECT_THAT(PgUrl::flaw("postgresql://h/d?sslmoed=require"), HasSubstr("sslmoed")) << "what is wrong is named";
  EXPECT_THAT(PgUrl::flaw("postgresql://u:x@y@h/d"), HasSubstr("%40"));
  for (const char* port : {"abc", "0", "65536", "54x", "5432,abc"}) {
    EXPECT_THAT(PgUrl::flaw(std::string("postgresql:///d?host=h,h&port=") + port), HasSubstr("port")) << port;
  }
  EXPECT_THAT(PgUrl::flaw("postgresql://h/d?sslmode=verify-fll"), HasSubstr("verify-full"));
  EXPECT_THAT(PgUrl::flaw("postgresql://h/d?target_session_attrs=readwrite"), HasSubstr("read-write"));
  EXPECT_EQ(PgUrl::flaw("postgresql://h/d?sslmode=verify-ca&target_session_attrs=primary"), "");
  EXPECT_EQ(PgUrl::flaw("postgresql://h1:5432,h2:5433/d"), "");
  for (const std::string good :
       {"postgresql://u:x%40y@h/d", "postgresql:///d?host=/run/postgresql", "postgresql://h1,h2/d",
        "postgresql://u@[::1]:5432/d?application_name=a@b", "postgresql://u:p@/d?host=/tmp/x"}) {
    EXPECT_EQ(PgUrl::flaw(good), "") << good;
  }
}

TEST(PgConnection, AServerElsewhereHasToShowItsName) {
  const auto weak = [](const std::string& hosts) {
    return !PgUrl::weakness("postgresql://" + hosts + "/d?sslmode=require").empty();
  };
  EXPECT_FALSE(weak("127.0.0.1"));
  EXPECT_FALSE(weak("localhost,[::1]"));
  EXPECT_FALSE(weak(""));
  EXPECT_TRUE(weak("db.example"));
  EXPECT_TRUE(weak("127.0.0.1,db.example"));
  EXPECT_TRUE(weak("127.example.com")) << "a name is no address";
  EXPECT_TRUE(PgUrl::weakness("postgresql://db.example/d").empty()) << "verify-full where nothing is said";
  ::setenv("PGHOST", "db.example", 1);
  EXPECT_TRUE(weak("")) << "the environment says where it is";
  ::unsetenv("PGHOST");
  EXPECT_FALSE(PgUrl::weakness("postgresql:///d?service=far&sslmode=require").empty());
}

// As libpq would look for them; a server that shows no certificate needs none.
TEST(PgConnection, AFileThatIsNotThereIsNamed) {
  const auto said = [](const std::string& parameters) {
    return PgUrl::unreadable("postgresql://db.example/d?" + parameters);
  };
  EXPECT_THAT(said("sslrootcert=/nowhere/root.crt"), HasSubstr("sslrootcert that cannot be read: /nowhere/root.crt"));
  EXPECT_THAT(said("sslmode=require&sslkey=/nowhere/key"), HasSubstr("sslkey"));
  EXPECT_THAT(said("sslmode=require&passfile=/nowhere/pass"), HasSubstr("passfile"));
  EXPECT_THAT(said("sslrootcert=/dev/null"), HasSubstr("sslrootcert that holds no certificate: /dev/null"));
  EXPECT_EQ(said("sslrootcert=/etc/ssl/certs/ca-certificates.crt"), "");
  EXPECT_EQ(said("sslmode=require"), "");
  const std::string home = std::getenv("HOME") != nullptr ? std::getenv("HOME") : "";
  ::setenv("HOME", "/nowhere", 1);
  EXPECT_THAT(said(""), HasSubstr("/nowhere/.postgresql/root.crt")) << "verify-full is what is meant";
  EXPECT_THAT(said("sslmode=verify-ca"), HasSubstr("/nowhere/.postgresql/root.crt"));
  EXPECT_EQ(PgUrl::unreadable("postgresql://localhost/d"), "");
  ::setenv("PGSSLROOTCERT", "/dev/null", 1);
  EXPECT_EQ(said(""), "");
  ::unsetenv("PGSSLROOTCERT");
  ::setenv("HOME", home.c_str(), 1);
}

// Takes connections, and never says a word: as a machine that hangs, or is gone behind a firewall.
class Silent {
 public:
  Silent() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(::listen(fd_, 16), 0);
    EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length), 0);
    port_ = std::to_string(ntohs(address.sin_port));
  }
  ~Silent() { ::close(fd_); }
  bool was_asked() const {
    const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0) ::close(fd);
    return fd >= 0;
  }
  const std::string& port() const { return port_; }

 private:
  int fd_;
  std::string port_;
};

TEST(PgConnection, AServerThatHangsLeavesTimeForTheNext) {
  const Silent first, second;
  const auto opened = PgConnection::open(
      "postgresql://u@127.0.0.1:" + first.port() + ",127.0.0.1:" + second.port() + "/d", "test", 600ms);
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().what, HasSubstr("no connection in time"));
  EXPECT_TRUE(first.was_asked());
  EXPECT_TRUE(second.was_asked());
}

TEST(PgConnection, OnlyTheServerThatWasMeantIsAsked) {
  const Silent first, second;
  const auto opened = PgConnection::open("postgresql://u@nowhere.invalid:" + first.port() + "/d?sslmode=disable",
                                         "test", 300ms, {"nowhere.invalid", "127.0.0.1", second.port()});
  ASSERT_FALSE(opened);
  EXPECT_FALSE(first.was_asked());
  EXPECT_TRUE(second.was_asked()) << "and no name was resolved for it";
}

}  // namespace
}  // namespace sallyport
