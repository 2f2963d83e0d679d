// The console's sign-in, its sessions, and how its page is served: without a network, by a clock of the test's own.
#include <algorithm>
#include <array>
#include <set>
#include <thread>

#include "admin/console_server/console_site.h"
#include "cache/crypto/sha2.h"
#include "tests/admin/api_world.h"

namespace sallyport::test {
namespace {

constexpr ConsoleFile kFiles[] = {
    {"assets/app-1234.js", "text/javascript; charset=utf-8", "\"abc\"", "plain script", "zipped script"},
    {"favicon.svg", "image/svg+xml", "\"fav\"", "<svg/>", "zipped svg"},
    {"index.html", "text/html; charset=utf-8", "\"idx\"", "plain page", "zipped page"},
};

// What is logged, a line each: the event and its values.
class Lines final : public Logger {
 public:
  void write(Level, std::string_view event, std::initializer_list<Field> fields) override {
    std::string line(event);
    for (const Field& field : fields) (line += ' ') += field.text;
    lines.push_back(std::move(line));
  }
  bool has(std::string_view text) const {
    return std::any_of(lines.begin(), lines.end(),
                       [&](const std::string& line) { return line.find(text) != std::string::npos; });
  }
  std::vector<std::string> lines;
};

class ConsoleTest : public ApiTest {
 protected:
  ConsoleTest() {
    now_ = ConsoleSessions::clock_of_the_machine();
    signed_in_ = std::make_unique<ConsoleSessions>(*access_, lines_, [this] { return now_; });
    api_ = std::make_unique<AdminApi>(ApiParts{*registrar_, *store_, gate_, plane_, *listeners_, *access_, *signed_in_,
                                               probes_, warnings_, outcomes_, desk_, log_, config_, running_, *samples_,
                                               rejections_, feed_, [] { return std::string_view("ready"); }},
                                      lines_);
    site_ = std::make_unique<ConsoleSite>(*api_, *signed_in_, *registrar_, outcomes_, null_, kFiles, "");
    operator_ = access_->create("ci", true, 0, {})->token;
    viewer_ = access_->create("watcher", false, 0, {})->token;
  }

  static HttpRequest request(const std::string& method, const std::string& path, const std::string& body = "") {
    HttpRequest made;
    made.method = method;
    const std::size_t mark = path.find('?');
    made.path = path.substr(0, mark);
    made.query = mark == std::string::npos ? "" : path.substr(mark + 1);
    made.host = "127.0.0.1:9000";
    made.peer = {false, "", "192.0.2.1:5"};
    made.body = body;
    if (!body.empty()) made.content_type = "application/json";
    return made;
  }
  HttpResponse ask(const HttpRequest& what) {
    HttpPlan plan = site_->plan(what);
    return plan.refused ? std::move(*plan.refused) : site_->handle(what);
  }
  HttpResponse ask(const std::string& method, const std::string& path) { return ask(request(method, path)); }
  static std::string header(const HttpResponse& response, std::string_view name) {
    std::string value;
    for (const auto& [each, text] : response.headers) {
      if (each == name) value = text;
    }
    return value;
  }

  struct Browser {
    std::string cookie, csrf;
    HttpRequest made(HttpRequest what) const {
      what.cookie = "theme=dark; sallyport_console=" + cookie;
      what.csrf = csrf;
      return what;
    }
  };
  HttpRequest sign_in_request(const std::string& token, const std::string& from = "192.0.2.1:5") {
    HttpRequest what = request("POST", "/console/session", Json{{"token", token}}.dump());
    what.peer.from = from;
    return what;
  }
  Browser sign_in(const std::string& token) {
    const HttpResponse answer = ask(sign_in_request(token));
    EXPECT_EQ(answer.status, 200U) << answer.body;
    const std::string set = header(answer, "Set-Cookie");
    const std::size_t begin = set.find('=') + 1;
    return {set.substr(begin, set.find(';') - begin), json(answer)["csrf"].get<std::string>()};
  }
  unsigned status_of(const Browser& browser, const std::string& method = "GET",
                     const std::string& path = "/v1/status") {
    return ask(browser.made(request(method, path))).status;
  }
  void pass(std::chrono::seconds time) {
    now_.wall += time.count();
    now_.steady_ms += time.count() * 1000;
  }

  ConsoleSessions::Now now_;
  Lines lines_;
  std::unique_ptr<ConsoleSite> site_;
  std::string operator_, viewer_;
};

TEST_F(ConsoleTest, ATokenIsShownOnceAndACookieStandsForIt) {
  const HttpResponse answer = ask(sign_in_request(operator_));
  ASSERT_EQ(answer.status, 200U);
  const Json body = json(answer);
  EXPECT_EQ(body["name"], "ci");
  EXPECT_EQ(body["role"], "operator");
  EXPECT_EQ(body["idle_seconds"], 900);
  EXPECT_EQ(body["ends"], utc(now_.wall + 12 * 3600));
  const std::string set = header(answer, "Set-Cookie");
  EXPECT_THAT(set, HasSubstr("sallyport_console="));
  EXPECT_THAT(set, HasSubstr("; Path=/; HttpOnly; SameSite=Strict"));
  EXPECT_EQ(set.find("Secure"), std::string::npos) << "a browser would drop it on http";
  EXPECT_EQ(answer.body.find(set.substr(18, 64)), std::string::npos) << "scripts must not see the cookie";
  HttpRequest over_tls = sign_in_request(operator_);
  over_tls.peer.tls = true;
  const std::string secure = header(ask(over_tls), "Set-Cookie");
  EXPECT_THAT(secure, HasSubstr("; Secure"));
  EXPECT_EQ(secure.find("__Host-sallyport_console="), 0U) << "no other port or name can set it";
  EXPECT_TRUE(lines_.has("console-sign-in ci 192.0.2.1:5"));
  for (const std::string& line : lines_.lines) EXPECT_EQ(line.find(operator_), std::string::npos);
  const Json audit = json(ApiTest::ask("GET", "/v1/audit"));
  EXPECT_EQ(audit["items"][0]["action"], "console.sign-in");
  EXPECT_EQ(audit["items"][0]["who"], "ci");
  EXPECT_EQ(audit["items"][0]["from"], "192.0.2.1:5");

  const Browser browser = sign_in(viewer_);
  EXPECT_EQ(status_of(browser), 200U);
  const HttpResponse again = ask(browser.made(request("GET", "/console/session")));
  EXPECT_EQ(again.status, 200U);
  EXPECT_EQ(json(again)["csrf"], browser.csrf);
  EXPECT_EQ(json(again)["role"], "viewer");
}

TEST_F(ConsoleTest, ACookieOfAnotherOrNoneIsNobody) {
  const Browser browser = sign_in(operator_);
  Browser other = browser;
  other.cookie.back() = other.cookie.back() == '0' ? '1' : '0';
  EXPECT_EQ(status_of(other), 401U);
  other.cookie = browser.cookie.substr(1);
  EXPECT_EQ(status_of(other), 401U);
  other.cookie = "";
  EXPECT_EQ(status_of(other), 401U);
  other.cookie = to_hex(Sha256::of(browser.cookie));
  EXPECT_EQ(status_of(other), 401U) << "what is kept of it signs nobody in";
  HttpRequest both = browser.made(request("GET", "/v1/status"));
  both.authorization = "Bearer wrong";
  EXPECT_EQ(ask(both).status, 401U) << "a token that is shown is the one that counts";
  EXPECT_EQ(ask("GET", "/console/session").status, 401U);
  EXPECT_EQ(ask(sign_in_request("sallyport_" + std::string(64, 'a'))).status, 401U);
  EXPECT_EQ(ask(sign_in_request("")).status, 401U);
  for (const char* body : {"", "{}", "[]", "{\"token\": 7}", "{\"token\"", "\"token\""}) {
    HttpRequest what = request("POST", "/console/session", body);
    what.content_type = "application/json";
    EXPECT_EQ(ask(what).status, 400U) << body;
  }
}

TEST_F(ConsoleTest, AChangeTakesTheCsrfValueOfItsSession) {
  const Browser browser = sign_in(operator_), other = sign_in(operator_);
  EXPECT_EQ(status_of(browser, "POST", "/v1/registration-codes"), 201U);
  for (const std::string& wrong : {std::string(), other.csrf, browser.csrf.substr(1), std::string(64, '0')}) {
    const Browser forged{browser.cookie, wrong};
    EXPECT_EQ(status_of(forged, "POST", "/v1/registration-codes"), 403U) << wrong;
    EXPECT_EQ(status_of(forged, "PUT", "/v1/log/level"), 403U) << wrong;
    EXPECT_EQ(status_of(forged, "DELETE", "/v1/tokens/ci"), 403U) << wrong;
    EXPECT_EQ(status_of(forged, "DELETE", "/console/session"), 403U) << wrong;
    EXPECT_EQ(status_of(forged), 200U) << "reading takes none";
  }
  // Also where the body has come meanwhile: both steps ask.
  HttpRequest late = Browser{browser.cookie, ""}.made(request("POST", "/v1/registration-codes"));
  EXPECT_EQ(api_->handle(late).status, 403U);
}

TEST_F(ConsoleTest, AViewerReads) {
  const Browser browser = sign_in(viewer_);
  EXPECT_EQ(status_of(browser), 200U);
  EXPECT_EQ(status_of(browser, "POST", "/v1/registration-codes"), 403U);
  EXPECT_EQ(status_of(browser, "DELETE", "/v1/tokens/ci"), 403U);
}

TEST_F(ConsoleTest, AnotherSitesPageIsRefused) {
  const Browser browser = sign_in(operator_);
  const auto with = [&](const char* site, const char* origin, const std::string& method = "GET") {
    HttpRequest what = browser.made(request(method, method == "GET" ? "/v1/status" : "/v1/registration-codes"));
    what.fetch_site = site;
    what.origin = origin;
    return ask(what).status;
  };
  EXPECT_EQ(with("same-origin", ""), 200U);
  EXPECT_EQ(with("none", ""), 200U) << "typed by a person";
  EXPECT_EQ(with("none", "", "POST"), 403U);
  EXPECT_EQ(with("cross-site", ""), 403U);
  EXPECT_EQ(with("same-site", "", "POST"), 403U);
  EXPECT_EQ(with("", "http://127.0.0.1:9000", "POST"), 201U);
  EXPECT_EQ(with("", "http://evil.example", "POST"), 403U);
  EXPECT_EQ(with("", "https://127.0.0.1:9000", "POST"), 403U);
  EXPECT_EQ(with("", "null", "POST"), 403U);
  HttpRequest forged = sign_in_request(operator_);
  forged.fetch_site = "cross-site";
  EXPECT_EQ(ask(forged).status, 403U) << "nobody is signed in by another page, either";
  forged = sign_in_request(operator_);
  forged.content_type = "text/plain";
  EXPECT_EQ(ask(forged).status, 415U) << "a form can send that";
  // A token beside it comes from no browser by itself.
  HttpRequest machine = request("GET", "/v1/status");
  machine.authorization = "Bearer " + viewer_;
  machine.origin = "http://evil.example";
  machine.host = "console.example";
  EXPECT_EQ(ask(machine).status, 200U);
}

TEST_F(ConsoleTest, ANameThatWasMadeToLeadHereIsRefused) {
  const Browser browser = sign_in(operator_);
  for (const char* path : {"/", "/console/", "/console/devices", "/console/assets/app-1234.js"}) {
    HttpRequest what = request("GET", path);
    what.host = "rebound.example:9000";
    EXPECT_EQ(ask(what).status, 421U) << path;
    what.peer.tls = true;
    EXPECT_LT(ask(what).status, 400U) << "its certificate says so under TLS: " << path;
  }
  HttpRequest what = browser.made(request("GET", "/v1/status"));
  what.host = "rebound.example:9000";
  EXPECT_EQ(ask(what).status, 421U);
  what = sign_in_request(operator_);
  what.host = "rebound.example";
  EXPECT_EQ(ask(what).status, 421U);
}

TEST_F(ConsoleTest, ItEndsAfterAQuarterOfAnHourWithoutAPerson) {
  const Browser browser = sign_in(operator_);
  pass(std::chrono::seconds(899));
  EXPECT_EQ(status_of(browser), 200U);
  pass(std::chrono::seconds(899));
  EXPECT_EQ(status_of(browser), 200U) << "the one before was a person's";
  HttpRequest polls = browser.made(request("GET", "/v1/status"));
  polls.background = true;
  for (int i = 0; i < 89; ++i) {
    pass(std::chrono::seconds(10));
    EXPECT_EQ(ask(polls).status, 200U) << i;
  }
  pass(std::chrono::seconds(10));
  EXPECT_EQ(ask(polls).status, 401U) << "what the page asks by itself keeps nobody signed in";
  EXPECT_EQ(status_of(browser), 401U);
  EXPECT_TRUE(lines_.has("console-sign-out ci 192.0.2.1:5 idle"));
  EXPECT_EQ(signed_in_->size(), 0U);
}

TEST_F(ConsoleTest, ItEndsAfterTwelveHoursAndByEitherClock) {
  const Browser browser = sign_in(operator_);
  for (int i = 0; i < 12 * 6; ++i) {
    EXPECT_EQ(status_of(browser), 200U) << i;
    pass(std::chrono::minutes(10));
  }
  EXPECT_EQ(status_of(browser), 401U);
  // A wall clock that is set on ends it, one that is set back gives it no time.
  const Browser second = sign_in(operator_);
  now_.wall += 901;
  EXPECT_EQ(status_of(second), 401U);
  const Browser third = sign_in(operator_);
  now_.wall -= 100'000;
  now_.steady_ms += 901'000;
  EXPECT_EQ(status_of(third), 401U);
  EXPECT_EQ(signed_in_->size(), 0U);
}

TEST_F(ConsoleTest, ItIsNeverMoreThanItsToken) {
  const Browser browser = sign_in(operator_), other = sign_in(viewer_);
  ASSERT_TRUE(access_->revoke("ci", {}));
  EXPECT_EQ(status_of(browser), 401U);
  EXPECT_EQ(status_of(other), 200U);
  // One that is made anew under its name is another token.
  const Browser watching = sign_in(viewer_);
  ASSERT_TRUE(access_->revoke("watcher", {}));
  ASSERT_TRUE(access_->create("watcher", true, 0, {}));
  EXPECT_EQ(status_of(watching), 401U);
  EXPECT_TRUE(lines_.has("its token is revoked or over"));
  const auto brief = access_->create("brief", true, 60, {});
  EXPECT_EQ(json(ask(sign_in_request(brief->token)))["ends"], utc(brief->info.expires_at));
}

TEST_F(ConsoleTest, ItEndsAtSignOut) {
  const Browser browser = sign_in(operator_), other = sign_in(operator_);
  const HttpResponse out = ask(browser.made(request("DELETE", "/console/session")));
  EXPECT_EQ(out.status, 204U);
  EXPECT_THAT(header(out, "Set-Cookie"), HasSubstr("sallyport_console=; Path=/"));
  EXPECT_THAT(header(out, "Set-Cookie"), HasSubstr("Max-Age=0"));
  EXPECT_EQ(status_of(browser), 401U);
  EXPECT_EQ(status_of(other), 200U);
  EXPECT_EQ(ask(browser.made(request("DELETE", "/console/session"))).status, 401U);
  EXPECT_EQ(json(ApiTest::ask("GET", "/v1/audit"))["items"][0]["action"], "console.sign-out");
  // A new sign-in of a browser takes the place of the one that it had.
  HttpRequest again = other.made(sign_in_request(operator_));
  EXPECT_EQ(ask(again).status, 200U);
  EXPECT_EQ(status_of(other), 401U);
  EXPECT_EQ(signed_in_->size(), 1U);
}

TEST_F(ConsoleTest, SessionsAreBounded) {
  std::vector<Browser> browsers;
  for (std::size_t i = 0; i < ConsoleSessions::kMostOfToken; ++i) browsers.push_back(sign_in(operator_));
  EXPECT_EQ(status_of(browsers[0]), 200U);
  browsers.push_back(sign_in(operator_));
  EXPECT_EQ(signed_in_->size(), ConsoleSessions::kMostOfToken);
  EXPECT_EQ(status_of(browsers[0]), 200U) << "it was here later";
  EXPECT_EQ(status_of(browsers[1]), 401U) << "whoever was away for longest has gone";
  EXPECT_EQ(status_of(browsers.back()), 200U);
  const std::size_t tokens = ConsoleSessions::kMost / ConsoleSessions::kMostOfToken + 1;
  for (std::size_t i = 0; i < tokens; ++i) {
    const std::string token = access_->create("many-" + std::to_string(i), false, 0, {})->token;
    for (std::size_t n = 0; n < ConsoleSessions::kMostOfToken; ++n) (void)sign_in(token);
  }
  EXPECT_EQ(signed_in_->size(), ConsoleSessions::kMost);
}

TEST_F(ConsoleTest, WrongTokensAreFew) {
  const auto wrong = [&](const std::string& from) { return ask(sign_in_request("wrong", from)); };
  for (int i = 0; i < 10; ++i) EXPECT_EQ(wrong("192.0.2.7:" + std::to_string(1000 + i)).status, 401U) << i;
  const HttpResponse refused = wrong("192.0.2.7:2000");
  EXPECT_EQ(refused.status, 429U);
  EXPECT_EQ(header(refused, "Retry-After"), "6");
  EXPECT_EQ(ask(sign_in_request(operator_, "192.0.2.7:2001")).status, 200U)
      << "whoever shares an address with a stranger is not kept out";
  EXPECT_EQ(wrong("192.0.2.8:1").status, 401U) << "others are not held up";
  pass(std::chrono::seconds(6));
  EXPECT_EQ(wrong("192.0.2.7:2002").status, 401U);
  EXPECT_EQ(wrong("192.0.2.7:2003").status, 429U);
  EXPECT_EQ(outcomes_.auth_failures(), 14U);
  EXPECT_EQ(std::count_if(lines_.lines.begin(), lines_.lines.end(),
                          [](const std::string& line) { return line.find("console-refused") == 0; }),
            12)
      << "what is not looked at leaves no line";
}

// Each is a line of the audit log: a viewer must not bury what others did.
TEST_F(ConsoleTest, ARightTokenSignsInAtABoundedPace) {
  const auto status = [&](const std::string& token) { return ask(sign_in_request(token)).status; };
  for (int i = 0; i < SignInLimits::kOfToken; ++i) ASSERT_EQ(status(viewer_), 200U) << i;
  const HttpResponse refused = ask(sign_in_request(viewer_, "192.0.2.99:1"));
  EXPECT_EQ(refused.status, 429U);
  EXPECT_THAT(refused.body, HasSubstr("this token has signed in too often"));
  EXPECT_EQ(status(operator_), 200U);
  EXPECT_EQ(outcomes_.auth_failures(), 0U);
  pass(std::chrono::seconds(1));
  EXPECT_EQ(status(viewer_), 200U);
  EXPECT_EQ(status(viewer_), 429U);
}

// Another server of the same host name can plant one, and a browser sends the one with the longer path first.
TEST_F(ConsoleTest, APlantedCookieHidesNone) {
  const Browser watcher = sign_in(viewer_), operating = sign_in(operator_);
  HttpRequest what = request("GET", "/console/session");
  const auto name_of = [&](const std::string& cookies) {
    what.cookie = cookies;
    const HttpResponse answer = ask(what);
    return answer.status == 200 ? json(answer)["name"].get<std::string>() : std::to_string(answer.status);
  };
  const std::string planted = "sallyport_console=", own = "; sallyport_console=" + operating.cookie;
  EXPECT_EQ(name_of(planted + "x" + own), "ci");
  EXPECT_EQ(name_of(planted + watcher.cookie + own), "ci") << "whoever signed in last";
  EXPECT_EQ(name_of(planted + watcher.cookie), "watcher");
  std::string many;
  for (std::size_t i = 0; i < ConsoleSessions::kMostCookies; ++i) many += planted + std::to_string(i) + "; ";
  EXPECT_EQ(name_of(many + own), "401") << "what is looked at is bounded";
  what.peer.tls = true;
  EXPECT_EQ(name_of(planted + operating.cookie), "401") << "under TLS it has another name";
  EXPECT_EQ(name_of("__Host-sallyport_console=" + operating.cookie), "ci");
}

// A stranger's requests: some are told, the next line counts the others.
TEST_F(ConsoleTest, RefusedRequestsLeaveFewLines) {
  const auto told = [&] {
    return std::count_if(lines_.lines.begin(), lines_.lines.end(),
                         [](const std::string& line) { return line.find("admin-refused") == 0; });
  };
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < 500; ++i) EXPECT_EQ(api_->plan(request("GET", "/v1/status")).refused->status, 401U);
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - begun);
  EXPECT_GE(told(), 20);
  EXPECT_LE(told(), 20 * (seconds.count() + 2));
}

TEST(SignInLimits, CountAddressesAndAllTogether) {
  EXPECT_EQ(SignInLimits::address_of("192.0.2.1:80"), "192.0.2.1");
  EXPECT_EQ(SignInLimits::address_of("::ffff:192.0.2.1:80"), "192.0.2.1");
  EXPECT_EQ(SignInLimits::address_of("2001:db8::1:80"), SignInLimits::address_of("2001:db8::ffff:2:81"));
  EXPECT_NE(SignInLimits::address_of("2001:db8::1:80"), SignInLimits::address_of("2001:db8:0:1::1:80"));
  SignInLimits limits;
  std::int64_t taken = 0;
  for (int i = 0; i < 1000; ++i) {
    taken += limits.take("10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ":1", 5000) == 0 ? 1 : 0;
  }
  EXPECT_EQ(taken, SignInLimits::kOfAll);
  EXPECT_EQ(limits.take("10.9.9.9:1", 5000), 1);
  EXPECT_EQ(limits.take("10.9.9.9:1", 5200), 0);
  for (std::size_t i = 0; i < 3 * SignInLimits::kTokens; ++i) {
    EXPECT_EQ(limits.take_of_token("token-" + std::to_string(i), 5000), 0);
  }
  // Its memory is bounded, and nobody is forgotten for others.
  SignInLimits busy;
  for (int i = 0; i < 10; ++i) EXPECT_EQ(busy.take("192.0.2.1:1", 0), 0);
  std::int64_t now = 0;
  for (int i = 0; i < 6000; ++i, now += 200) {
    EXPECT_EQ(busy.take("10." + std::to_string(i / 250) + ".0." + std::to_string(i % 250) + ":1", now), 0) << i;
    EXPECT_LE(busy.addresses(), SignInLimits::kAddresses);
    if (i == 20) {
      EXPECT_GT(busy.take("192.0.2.1:1", now), 0);
    }
  }
}

TEST_F(ConsoleTest, ThePageIsServedFromMemory) {
  const auto get = [&](const std::string& path, const char* encoding = "", const char* none_match = "") {
    HttpRequest what = request("GET", path);
    what.accept_encoding = encoding;
    what.if_none_match = none_match;
    return ask(what);
  };
  EXPECT_EQ(get("/").status, 302U);
  EXPECT_EQ(header(get("/"), "Location"), "/console/");
  EXPECT_EQ(get("/console").status, 302U);
  for (const char* path : {"/console/", "/console/index.html", "/console/devices", "/console/devices/ab12/x"}) {
    const HttpResponse page = get(path);
    EXPECT_EQ(page.status, 200U) << path;
    EXPECT_EQ(page.body, "plain page") << path;
    EXPECT_EQ(header(page, "Cache-Control"), "no-store") << path;
    EXPECT_EQ(page.content_type, "text/html; charset=utf-8");
  }
  const HttpResponse script = get("/console/assets/app-1234.js", "br, GZIP;q=0.8");
  EXPECT_EQ(script.body, "zipped script");
  EXPECT_EQ(header(script, "Content-Encoding"), "gzip");
  EXPECT_EQ(header(script, "Cache-Control"), "public, max-age=31536000, immutable");
  EXPECT_EQ(header(script, "ETag"), "\"abc-gz\"");
  EXPECT_EQ(header(script, "Vary"), "Accept-Encoding");
  for (const char* encoding : {"", "identity", "gzip;q=0", "gzip;q=0.00", "deflate, gzip; q=0"}) {
    const HttpResponse plain = get("/console/assets/app-1234.js", encoding);
    EXPECT_EQ(plain.body, "plain script") << encoding;
    EXPECT_EQ(header(plain, "Content-Encoding"), "") << encoding;
    EXPECT_EQ(header(plain, "ETag"), "\"abc\"") << encoding;
  }
  EXPECT_EQ(header(get("/console/favicon.svg"), "Cache-Control"), "no-cache");
  for (const char* match : {"\"abc-gz\"", "W/\"abc-gz\"", "\"x\", \"abc-gz\"", "*"}) {
    const HttpResponse same = get("/console/assets/app-1234.js", "gzip", match);
    EXPECT_EQ(same.status, 304U) << match;
    EXPECT_EQ(same.body, "") << match;
    EXPECT_EQ(header(same, "ETag"), "\"abc-gz\"");
  }
  EXPECT_EQ(get("/console/assets/app-1234.js", "gzip", "\"abc\"").status, 200U) << "the other bytes";
  for (const char* path : {"/console/../v1/status", "/console/assets/../index.html", "/console/assets/none.js",
                           "/console/.env", "/console//etc/passwd.", "/console/%2e%2e.js"}) {
    EXPECT_EQ(get(path).status, 404U) << path;
  }
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS"}) {
    const HttpResponse refused = ask(method, "/console/");
    EXPECT_EQ(refused.status, 405U);
    EXPECT_EQ(header(refused, "Allow"), "GET, HEAD");
  }
}

TEST_F(ConsoleTest, EveryAnswerIsStrict) {
  const Browser browser = sign_in(operator_);
  for (const char* path : {"/", "/console/", "/console/none.js", "/console/session", "/v1/status", "/v1/nothing",
                           "/console/assets/app-1234.js"}) {
    for (const bool tls : {false, true}) {
      HttpRequest what = browser.made(request("GET", path));
      what.peer.tls = tls;
      const HttpResponse answer = ask(what);
      const std::string policy = header(answer, "Content-Security-Policy");
      EXPECT_THAT(policy, HasSubstr("default-src 'none'")) << path;
      EXPECT_THAT(policy, HasSubstr("frame-ancestors 'none'")) << path;
      EXPECT_EQ(policy.find("unsafe"), std::string::npos) << path;
      EXPECT_EQ(header(answer, "Referrer-Policy"), "no-referrer") << path;
      EXPECT_EQ(header(answer, "Cross-Origin-Opener-Policy"), "same-origin") << path;
      EXPECT_EQ(header(answer, "Cross-Origin-Resource-Policy"), "same-origin") << path;
      EXPECT_NE(header(answer, "Permissions-Policy"), "") << path;
      EXPECT_EQ(header(answer, "Strict-Transport-Security"), tls ? "max-age=31536000" : "") << path;
    }
  }
  EXPECT_EQ(header(ask("GET", "/console/"), "Content-Security-Policy"),
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
            "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
}

TEST_F(ConsoleTest, ABuildWithoutItSaysSo) {
  ConsoleSite without(*api_, *signed_in_, *registrar_, outcomes_, null_, {}, "Node.js was not there.");
  const HttpResponse page = without.handle(request("GET", "/console/devices"));
  EXPECT_EQ(page.status, 404U);
  EXPECT_EQ(page.content_type, "text/html; charset=utf-8");
  EXPECT_THAT(page.body, HasSubstr("Node.js was not there."));
  EXPECT_EQ(without.handle(request("GET", "/")).status, 302U);
}

// What was built into this program: whole, small, and without what the policy would stop.
TEST(ConsoleFiles, AreSmallAndKeepToThePolicy) {
  if (console_files().empty()) {
    EXPECT_NE(console_left_out(), "");
    GTEST_SKIP() << console_left_out();
  }
  std::size_t total = 0;
  std::set<std::string_view> paths, etags;
  for (const ConsoleFile& file : console_files()) {
    total += file.gzipped.size();
    EXPECT_TRUE(paths.insert(file.path).second) << file.path;
    etags.insert(file.etag);
    EXPECT_EQ(file.gzipped.substr(0, 2), "\x1f\x8b") << file.path;
    EXPECT_GT(file.plain.size(), 0U) << file.path;
  }
  EXPECT_EQ(paths.count("index.html"), 1U);
  EXPECT_EQ(etags.size(), paths.size());
  EXPECT_LE(total, 250U * 1024) << "what a browser loads at most";
  const auto index = std::find_if(console_files().begin(), console_files().end(),
                                  [](const ConsoleFile& file) { return file.path == "index.html"; });
  for (const char* barred : {"<style", " style=", "<script>", " onclick=", "javascript:", "http://", "https://"}) {
    EXPECT_EQ(index->plain.find(barred), std::string_view::npos) << barred;
  }
}

TEST_F(ConsoleTest, ManyAtOnce) {
  const Browser stays = sign_in(operator_);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    const std::string token = access_->create("thread-" + std::to_string(t), t % 2 == 0, 0, {})->token;
    threads.emplace_back([&, token] {
      for (int i = 0; i < 50; ++i) {
        ConsoleSessions::NotSignedIn why;
        const auto made = signed_in_->sign_in(token, {false, "", "192.0.2.1:5"}, why);
        ASSERT_TRUE(made);
        const Browser browser{made->cookie, made->session.csrf};
        EXPECT_TRUE(signed_in_->enter(browser.made(request("GET", "/v1/status"))).session.has_value());
        signed_in_->tick();
        signed_in_->sign_out(browser.made(request("DELETE", "/console/session")));
        EXPECT_TRUE(signed_in_->still_signed_in(stays.made(request("GET", "/v1/events"))));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(signed_in_->size(), 1U);
}

}  // namespace
}  // namespace sallyport::test
