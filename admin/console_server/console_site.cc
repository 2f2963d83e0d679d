#include "admin/console_server/console_site.h"

#include <algorithm>

#include "admin/console_server/header_fields.h"
#include "admin/operations/objects.h"

namespace sallyport {

namespace {

constexpr std::string_view kRoot = "/console/", kSession = "/console/session";
constexpr std::size_t kSignInBytes = 4096;

bool of_the_console(std::string_view path) {
  return path == "/" || path == "/console" || path.substr(0, kRoot.size()) == kRoot;
}

void add(HttpResponse& response, std::string name, std::string value) {
  response.headers.emplace_back(std::move(name), std::move(value));
}

// For every answer of the address. `page`: a document of ours that runs; nothing else here is one.
HttpResponse strict(HttpResponse response, const HttpRequest& request, bool page) {
  add(response, "Content-Security-Policy",
      page ? "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
             "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
           : "default-src 'none'; frame-ancestors 'none'");
  add(response, "Referrer-Policy", "no-referrer");
  add(response, "Cross-Origin-Opener-Policy", "same-origin");
  add(response, "Cross-Origin-Resource-Policy", "same-origin");
  add(response, "Permissions-Policy",
      "accelerometer=(), camera=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), payment=(), usb=()");
  if (request.peer.tls) add(response, "Strict-Transport-Security", "max-age=31536000");
  return response;
}

HttpResponse method_refused(std::string_view allowed) {
  HttpResponse response = problem(405, "method", "this path takes " + std::string(allowed));
  add(response, "Allow", std::string(allowed));
  return response;
}

HttpResponse moved() {
  HttpResponse response{302, "", ""};
  add(response, "Location", std::string(kRoot));
  return response;
}

bool only_reads(const HttpRequest& request) {
  return request.method == "GET" || request.method == "HEAD";
}

HttpResponse nobody() {
  return problem(401, "unauthorized", "nobody is signed in here: POST /console/session takes a token");
}

// Nothing of it is scripted away: HttpOnly; no other site's page sends it: SameSite=Strict.
std::string cookie(std::string_view value, const HttpRequest& request, bool over) {
  std::string text = std::string(ConsoleSessions::name_of_cookie(request.peer.tls)) + "=" + std::string(value) +
                     "; Path=/; HttpOnly; SameSite=Strict";
  if (request.peer.tls) text += "; Secure";
  if (over) text += "; Max-Age=0";
  return text;
}

HttpResponse session_answer(const ConsoleSessions::Session& session) {
  const Json body = {{"name", session.name},         {"role", session.operates ? "operator" : "viewer"},
                     {"csrf", session.csrf},         {"idle_seconds", ConsoleSessions::kIdle.count()},
                     {"ends", utc(session.ends_at)}, {"version", SALLYPORT_VERSION}};
  return {200, "application/json", dump(body)};
}

}  // namespace

ConsoleSite::ConsoleSite(HttpHandler& api, ConsoleSessions& signed_in, Registrar& registrar, Outcomes& outcomes,
                         Logger& log, std::span<const ConsoleFile> files, std::string_view left_out)
    : api_(api),
      signed_in_(signed_in),
      registrar_(registrar),
      outcomes_(outcomes),
      log_(log),
      files_(files),
      left_out_(left_out) {}

HttpPlan ConsoleSite::plan(const HttpRequest& head) {
  if (!of_the_console(head.path)) {
    HttpPlan plan = api_.plan(head);
    if (plan.refused) plan.refused = strict(std::move(*plan.refused), head, false);
    return plan;
  }
  HttpPlan plan;
  plan.body_bytes = kSignInBytes;
  return plan;
}

HttpResponse ConsoleSite::handle(const HttpRequest& request) {
  if (!of_the_console(request.path)) return strict(api_.handle(request), request, false);
  if (request.path == kSession) return strict(session(request), request, false);
  HttpResponse response = page(request);
  const bool document = response.content_type.substr(0, 9) == "text/html";
  return strict(std::move(response), request, document);
}

// Every other name below /console/ without a dot is a page's own: the same document, which finds out by itself.
HttpResponse ConsoleSite::page(const HttpRequest& request) const {
  if (!request.peer.tls && is_foreign_host(request.host)) {
    return problem(421, "foreign-host", "here is the console of this address and localhost, by no other name");
  }
  if (!only_reads(request)) return method_refused("GET, HEAD");
  if (request.path.size() < kRoot.size()) return moved();
  const std::string_view name = std::string_view(request.path).substr(kRoot.size());
  const bool is_file = name.find('.') != std::string_view::npos;
  const std::string_view wanted = is_file ? name : "index.html";
  const auto found = std::find_if(files_.begin(), files_.end(), [&](const ConsoleFile& f) { return f.path == wanted; });
  if (found != files_.end()) return file(request, *found);
  if (is_file || left_out_.empty()) return problem(404, "not-found", "the console has no such file");
  return {
      404, "text/html; charset=utf-8",
      "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Sallyport</title>\n<h1>The console is not "
      "part of this build</h1>\n<p>" +
          std::string(left_out_) +
          "</p>\n<p>The API is here all the same: <a href=\"/v1/openapi.json\">/v1/openapi.json</a>.</p>\n</html>\n"};
}

// Files below assets/ are named by what is in them, and never change. The document is asked for anew every time: it
// says which of them are the current ones.
HttpResponse ConsoleSite::file(const HttpRequest& request, const ConsoleFile& wanted) const {
  const bool zipped = takes_gzip(request.accept_encoding);
  std::string etag(wanted.etag);
  if (zipped) etag.insert(etag.size() - 1, "-gz");
  HttpResponse response{200, std::string(wanted.content_type), ""};
  const bool hashed = wanted.path.substr(0, 7) == "assets/";
  add(response, "Cache-Control",
      hashed                        ? "public, max-age=31536000, immutable"
      : wanted.path == "index.html" ? "no-store"
                                    : "no-cache");
  add(response, "ETag", etag);
  add(response, "Vary", "Accept-Encoding");
  if (has_it(request.if_none_match, etag)) {
    response.status = 304;
    return response;
  }
  response.body = std::string(zipped ? wanted.gzipped : wanted.plain);
  if (zipped) add(response, "Content-Encoding", "gzip");
  return response;
}

HttpResponse ConsoleSite::session(const HttpRequest& request) {
  if (request.method == "POST") return sign_in(request);
  if (request.method == "DELETE") return sign_out(request);
  if (!only_reads(request)) return method_refused("GET, HEAD, POST, DELETE");
  ConsoleSessions::Entry entry = signed_in_.enter(request);
  if (entry.refused) return std::move(*entry.refused);
  return entry.session ? session_answer(*entry.session) : nobody();
}

HttpResponse ConsoleSite::sign_in(const HttpRequest& request) {
  if (auto refused = ConsoleSessions::refusal_of_origin(request)) return std::move(*refused);
  // A form of another page cannot send this one.
  const std::string_view kind =
      trimmed(std::string_view(request.content_type).substr(0, request.content_type.find(';')));
  if (!same_word(kind, "application/json")) {
    return problem(415, "media-type", "the body must be application/json: {\"token\": \"…\"}");
  }
  const Json body = parse_json(request.body);
  const auto given = body.is_object() ? body.find("token") : body.end();
  if (!body.is_object() || given == body.end() || !given->is_string()) {
    return problem(400, "invalid", "the body must be {\"token\": \"…\"}");
  }
  ConsoleSessions::NotSignedIn why;
  const auto made = signed_in_.sign_in(given->get<std::string>(), request.peer, why);
  if (!made) {
    if (!why.valid) outcomes_.auth_failed();
    if (why.wait_seconds == 0) return problem(401, "unauthorized", "this is no token that is valid now");
    HttpResponse wait =
        problem(429, "too-many-attempts",
                std::string(why.valid ? "this token has signed in too often" : "too many wrong tokens were tried") +
                    ": wait " + std::to_string(why.wait_seconds) + " s");
    add(wait, "Retry-After", std::to_string(why.wait_seconds));
    return wait;
  }
  signed_in_.sign_out(request);  // of the same browser: the cookie is replaced
  note(made->session.name, request.peer.from, "console.sign-in");
  HttpResponse response = session_answer(made->session);
  add(response, "Set-Cookie", cookie(made->cookie, request, false));
  return response;
}

HttpResponse ConsoleSite::sign_out(const HttpRequest& request) {
  ConsoleSessions::Entry entry = signed_in_.enter(request);
  if (entry.refused) return std::move(*entry.refused);
  if (!entry.session) return nobody();
  signed_in_.sign_out(request);
  note(entry.session->name, request.peer.from, "console.sign-out");
  HttpResponse response{204, "", ""};
  add(response, "Set-Cookie", cookie("", request, true));
  return response;
}

// A help beside the log's line: a disk that does not take it keeps nobody out, least of all whoever came to see why.
void ConsoleSite::note(const std::string& who, const std::string& from, const char* action) {
  const auto noted = registrar_.stalled()
                         ? Answer<void>(Refusal{Refusal::Kind::Unavailable, "the disk does not answer"})
                         : registrar_.record({who, from}, action, who, "");
  if (noted) return;
  const std::lock_guard lock(mutex_);
  log_.warn("audit-line-lost", {{"action", action}, {"who", who}, {"why", noted.error().what}});
}

}  // namespace sallyport
