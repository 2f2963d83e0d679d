// Listeners, the server certificates hosted for them, and the sessions on them.
#include <algorithm>
#include <charconv>

#include "admin/api/admin_api.h"

namespace sallyport {

namespace {

Json to_json(const HostedCertificate& hosted) {
  const Certificate& leaf = hosted.chain.front();
  const auto* serial = reinterpret_cast<const std::uint8_t*>(leaf.serial().data());
  return {{"id", to_hex(hosted.id)},
          {"serial", serial_hex({serial, leaf.serial().size()})},
          {"subject", leaf.subject()},
          {"cn", leaf.cn()},
          {"names", hosted.names},
          {"not_before", utc(leaf.not_before())},
          {"not_after", utc(leaf.not_after())},
          {"key_type", leaf.key_type_name()},
          {"chain_length", hosted.chain.size()},
          {"added_at", utc(hosted.added_at)},
          {"used_by", hosted.used_by}};
}

Json to_json(const SessionInfo& session, const std::vector<ListenerInfo>& listeners) {
  const auto text_or_null = [](std::string_view text) {
    return text.empty() ? Json(nullptr) : Json(std::string(text));
  };
  return {{"id", session_id(session.id)},
          {"device_id", session.device ? Json(to_hex(*session.device)) : Json(nullptr)},
          {"cn", text_or_null(session.cn)},
          {"ca_id", session.device ? Json(to_hex(session.ca)) : Json(nullptr)},
          {"listener", session.listener < listeners.size() ? listeners[session.listener].name : ""},
          {"peer", session.peer},
          {"via", text_or_null(session.via)},
          {"client_id", session.client_id},
          {"server", text_or_null(session.server)},
          {"mqtt_version", text_or_null(session.mqtt_version)},
          {"tls_version", text_or_null(session.tls_version)},
          {"resumed", session.resumed},
          {"state", session.state},
          {"since", utc(session.since)}};
}

}  // namespace

HttpResponse AdminApi::list_server_certificates(const Call& call) {
  const auto all = parts_.listeners.certificates();
  if (!all) return refused(all.error());
  Json items = Json::array();
  for (const HostedCertificate& hosted : *all) items.push_back(to_json(hosted));
  return page_of(std::move(items), "id", call.request);
}

HttpResponse AdminApi::add_server_certificate(const Call& call) {
  auto body = json_object(call.request);
  if (!body) return refused(body.error());
  const auto chain = text_member(*body, "chain");
  if (!chain) return refused(chain.error());
  auto key = text_member(*body, "key");
  if (!key) return refused(key.error());
  if (chain->empty() || key->empty()) return invalid("the body must be {\"chain\": PEM, \"key\": PEM}");
  const auto hosted = parts_.listeners.host(*chain, *key, call.caller.actor);
  ::explicit_bzero(key->data(), key->size());
  return hosted ? ok(to_json(*hosted), 201) : refused(hosted.error());
}

HttpResponse AdminApi::show_server_certificate(const Call& call) {
  const auto all = parts_.listeners.certificates();
  if (!all) return refused(all.error());
  const std::string& wanted = call.args[0];
  const auto reference = reference_of(wanted);
  if (!reference) return refused(bad_reference("server certificate"));
  std::vector<Digest> ids;
  const HostedCertificate* found = nullptr;
  for (const HostedCertificate& hosted : *all) {
    if (!reference->names(hosted.id, hosted.chain.front().serial())) continue;
    ids.push_back(hosted.id);
    found = &hosted;
  }
  if (ids.size() > 1) return refused(ambiguous("server certificates", wanted, ids));
  if (found == nullptr) return problem(404, "not-found", "no hosted server certificate matches '" + wanted + "'");
  return ok(to_json(*found));
}

HttpResponse AdminApi::delete_server_certificate(const Call& call) {
  const auto id = parse_digest(call.args[0]);
  if (!id) return refused(needs_full_id());
  const auto removed = parts_.listeners.unhost(*id, call.caller.actor);
  return removed ? ok(to_json(*removed)) : refused(removed.error());
}

HttpResponse AdminApi::list_listeners(const Call& call) {
  Json items = Json::array();
  for (const ListenerInfo& listener : parts_.plane.listeners()) items.push_back(to_json(listener));
  return page_of(std::move(items), "name", call.request);
}

HttpResponse AdminApi::listener_answer(const std::string& name, const Answer<void>& done) {
  if (!done) return refused(done.error());
  for (const ListenerInfo& listener : parts_.plane.listeners()) {
    if (listener.name == name) return ok(to_json(listener));
  }
  return problem(404, "not-found", "there is no listener '" + name + "'");
}

HttpResponse AdminApi::use_certificate(const Call& call) {
  const auto body = json_object(call.request);
  if (!body) return refused(body.error());
  const auto text = text_member(*body, "id");
  if (!text) return refused(text.error());
  const auto id = parse_digest(*text);
  if (!id) return refused(needs_full_id());
  return listener_answer(call.args[0], parts_.listeners.use_certificate(call.args[0], *id, call.caller.actor));
}

HttpResponse AdminApi::set_auth(const Call& call) {
  const auto body = json_object(call.request);
  if (!body) return refused(body.error());
  const auto mode = text_member(*body, "mode");
  if (!mode) return refused(mode.error());
  if (*mode != "mutual" && *mode != "one-way") return invalid("mode must be \"mutual\" or \"one-way\"");
  const AuthMode wanted = *mode == "mutual" ? AuthMode::Mutual : AuthMode::OneWay;
  return listener_answer(call.args[0], parts_.listeners.set_auth(call.args[0], wanted, call.caller.actor));
}

HttpResponse AdminApi::reset_listener(const Call& call) {
  return listener_answer(call.args[0], parts_.listeners.reset(call.args[0], call.caller.actor));
}

HttpResponse AdminApi::list_sessions(const Call& call) {
  const auto filter = session_filter([&](const char* name) { return query_value(call.request.query, name); });
  if (!filter) return refused(filter.error());
  const auto limit = limit_of(call.request);
  if (!limit) return refused(limit.error());
  const auto page = sessions_that_fit(*filter, *limit, query_value(call.request.query, "page_token"));
  if (!page) return refused(page.error());
  const auto listeners = parts_.plane.listeners();
  Json items = Json::array();
  for (const SessionInfo& session : page->sessions) items.push_back(to_json(session, listeners));
  return ok({{"items", std::move(items)}, {"next_page_token", page->next_page_token}});
}

HttpResponse AdminApi::cut_session(const Call& call) {
  const std::string& text = call.args[0];
  std::uint64_t id = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), id, 16);
  if (failure != std::errc() || end != text.data() + text.size()) {
    return invalid("a session is named by its id of 16 hex digits, as `session list` shows it");
  }
  const bool shared = parts_.registrar.shared_state().has_value();
  if (!parts_.plane.cut_session(id)) {
    return problem(404, "not-found",
                   "there is no live session '" + text + "'" +
                       (shared ? " at node " + this_node() + ": to cut one of another node, name that node" : ""));
  }
  // Ids are of a node.
  const std::string named = session_id(id) + (shared ? " at " + this_node() : "");
  if (const auto noted = parts_.registrar.record(call.caller.actor, "session.cut", named, "cut"); !noted) {
    return refused(noted.error());
  }
  return ok({{"id", session_id(id)}, {"cut", true}});
}

}  // namespace sallyport
