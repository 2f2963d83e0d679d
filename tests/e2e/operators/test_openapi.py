"""The OpenAPI description is the API: every path and method of it is driven against a live server."""

import json
import os
import re
import urllib.parse
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from harness.authority import Authority, days, now, pem
from harness.device import admitted, refusal
from harness.server import listener
from harness.unix_http import UnixConnection
from harness.wait import until

NOTHING = "00" * 32
# What is promised to operators (without the paths of the metrics address).
PROMISED = """
POST   /v1/registration-codes
GET    /v1/cas                  POST /v1/cas                     GET /v1/cas/{id}         DELETE /v1/cas/{id}
GET    /v1/cas/{id}/certificate POST /v1/cas/{id}/activate       POST /v1/cas/{id}/deactivate
GET    /v1/devices              POST /v1/devices                 POST /v1/devices/import
GET    /v1/devices/{id}         DELETE /v1/devices/{id}          GET /v1/devices/{id}/certificate
POST   /v1/devices/{id}/activate  POST /v1/devices/{id}/deactivate  POST /v1/devices/{id}/revoke
GET    /v1/crls                 POST /v1/crls
POST   /v1/explain              GET /v1/rejections               GET /v1/audit            GET /v1/status
GET    /v1/server-certificates  POST /v1/server-certificates
GET    /v1/server-certificates/{id}  DELETE /v1/server-certificates/{id}
GET    /v1/listeners            DELETE /v1/listeners/{name}/overrides
PUT    /v1/listeners/{name}/server-certificate  PUT /v1/listeners/{name}/auth
GET    /v1/upstreams            GET    /v1/upstreams/{name}
POST   /v1/upstreams/{name}/servers/{server}/drain      POST /v1/upstreams/{name}/servers/{server}/undrain
GET    /v1/sessions             DELETE /v1/sessions/{id}
GET    /v1/nodes                DELETE /v1/nodes/{name}
GET    /v1/tokens  POST /v1/tokens  DELETE /v1/tokens  POST /v1/backup
GET    /v1/config              GET /v1/samples                  GET /v1/events
POST   /v1/devices/bulk        POST /v1/sessions/cut            GET /v1/rejections/groups   GET /v1/attention
POST   /v1/drain               POST /v1/ticket-keys/rotate
"""
PARAMETERS = {"/v1/cas": {"serial", "status", "limit", "page_token"},
              "/v1/devices": {"serial", "ca", "status", "cn", "expires_before", "limit", "page_token"}}
TYPES = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict, "number": (int, float),
         "null": type(None)}


def operations(document):
    return {(method.upper(), path): operation for path, methods in document["paths"].items()
            for method, operation in methods.items()}


def call(server, method, target, body=None):
    """One request: (status, content type, raw bytes). A body that is no bytes goes as JSON."""
    raw = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
    with closing(UnixConnection(server.socket, 30)) as connection:
        connection.request(method, target, raw)
        answer = connection.getresponse()
        kind = answer.getheader("content-type")
        # A stream has no end by itself: its first line is a heartbeat at the latest.
        return answer.status, kind, answer.readline() if kind == "application/x-ndjson" else answer.read()


def text_of(identity):
    return Path(identity.chain_file).read_text()


def crl_of(ca, *serials):
    builder = (x509.CertificateRevocationListBuilder().issuer_name(ca.name)
               .last_update(now()).next_update(now() + days(9)))
    for serial in serials:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now()).build())
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


class Checker:
    """Compares answers with the schemas of the document."""

    def __init__(self, document):
        self.document = document

    def resolve(self, schema):
        while "$ref" in schema:
            at = self.document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                at = at[part]
            schema = at
        return schema

    def fits(self, schema, value, where):
        schema = self.resolve(schema)
        kinds = schema.get("type", [])
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if kinds:
            good = any(isinstance(value, TYPES[kind]) and not (isinstance(value, bool) and kind == "integer")
                       for kind in kinds)
            assert good, f"{where} is {value!r}, documented as {kinds}"
        if isinstance(value, dict):
            missing = [each for each in schema.get("required", []) if each not in value]
            assert not missing, f"{where} lacks {missing}: {value}"
            for name, below in schema.get("properties", {}).items():
                if name in value:
                    self.fits(below, value[name], f"{where}.{name}")
        if isinstance(value, list) and "items" in schema:
            for number, each in enumerate(value):
                self.fits(schema["items"], each, f"{where}[{number}]")

    def answer(self, operation, status, kind, raw, where):
        """A success as documented; returns the parsed answer."""
        documented = [each for each in operation["responses"] if each != "default"]
        assert str(status) in documented, f"{where}: {status}, documented {documented}: {raw[:300]!r}"
        content = operation["responses"][str(status)]["content"]
        assert kind in content, f"{where}: {kind}, documented {list(content)}"
        if kind != "application/json":
            return raw.decode()
        value = json.loads(raw)
        self.fits(content[kind].get("schema", {}), value, where)
        return value

    def refusal(self, operation, status, kind, raw, where):
        """A problem document as documented for every operation."""
        assert 400 <= status < 500, (where, status, raw)
        content = operation["responses"]["default"]["content"]
        assert kind in content and kind == "application/problem+json", (where, kind)
        value = json.loads(raw)
        self.fits(content[kind]["schema"], value, where)
        assert value["status"] == status and value["type"].startswith("urn:"), value


@pytest.fixture
def server(serve_once, broker, site, tmp_path):
    key_file = tmp_path / "sealing"
    key_file.write_text(os.urandom(32).hex())
    key_file.chmod(0o600)
    return serve_once([listener(site), listener(site, name="second")], broker, registry={"key_file": str(key_file)})


@pytest.fixture
def document(server):
    status, kind, raw = call(server, "GET", "/v1/openapi.json")
    assert (status, kind) == (200, "application/json")
    return json.loads(raw)


def test_the_document(document):
    """OpenAPI 3.1, every promised path with its parameters, every reference resolves, no two operations share
    an id, every placeholder is a parameter."""
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert document["info"]["title"] and document["info"]["version"]
    all_of_them = operations(document)
    promised = set(re.findall(r"(GET|POST|PUT|DELETE)\s+(/\S+)", PROMISED))
    assert len(promised) >= 35 and not promised - set(all_of_them), promised - set(all_of_them)
    ids = [each["operationId"] for each in all_of_them.values()]
    assert len(set(ids)) == len(ids)
    checker = Checker(document)
    references = re.findall(r'"\$ref": ?"([^"]+)"', json.dumps(document))
    assert references
    for each in references:
        assert checker.resolve({"$ref": each})["type"] == "object"
    for (method, path), operation in all_of_them.items():
        parameters = {(each["in"], each["name"]) for each in operation["parameters"]}
        assert {name for place, name in parameters if place == "path"} == set(re.findall(r"\{(\w+)\}", path)), path
        asked = {name for place, name in parameters if place == "query"}
        assert method != "GET" or PARAMETERS.get(path, set()) <= asked, path
        assert operation["summary"] and operation["x-role"] in ("anyone", "viewer", "operator")
        assert ("requestBody" in operation) <= (method in ("POST", "PUT", "PATCH")), (method, path)
        assert (operation["x-role"] != "operator") == (method == "GET" or path == "/v1/explain"), (method, path)
    assert document["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}


class World:
    """Real objects of every kind, and for every operation the request that succeeds on them."""

    def __init__(self, server, root, shop, folder):
        self.server, self.root, self.shop, self.folder = server, root, shop, folder
        root.register(server)
        self.ca, self.doomed = Authority(folder / "ca", "Driven"), Authority(folder / "doomed", "To be deleted")
        self.hosted = shop.server("localhost", kind="rsa")
        self.device, self.other = root.issue("driven"), root.issue("pre-registered", not_after=now() + days(9))
        self.live = admitted(server.port, self.device, client_id="driven")
        self.second = admitted(server.port, self.device, client_id="stays")
        server.registered(self.device)
        refusal(server.port, Authority(folder / "stranger", "Stranger").issue("refused"))
        until("a refusal is listed", lambda: server.json("rejections"))
        until("the sessions are listed", lambda: len(server.json("session", "list")) == 2)
        self.session = next(each["id"] for each in server.json("session", "list") if each["client_id"] == "driven")

    def close(self):
        self.live.close()
        self.second.close()

    def ca_body(self, ca):
        code = json.loads(call(self.server, "POST", "/v1/registration-codes")[2])["code"]
        return {"certificate": pem(ca.certificate), "verification_certificate": text_of(ca.verification(code)),
                "auto_register": True, "approve": False}

    def deleted_ca(self):
        """A CA that may be deleted: inactive, without active devices."""
        self.server.cli("ca", "deactivate", self.doomed.register(self.server), "--yes")
        return self.doomed.id

    def steps(self):
        """(method, path of the document, what replaces its placeholder, query, body) in an order that works out."""
        device, ca, name = self.device.id, self.ca.id, "mqtts"
        yield "GET", "/v1/openapi.json", "", "", None
        yield "POST", "/v1/registration-codes", "", "", {"ttl_seconds": 60}
        yield "POST", "/v1/cas", "", "", self.ca_body(self.ca)
        yield "GET", "/v1/cas", "", f"?status=active&limit=10&serial={self.ca.identity.serial}", None
        yield "GET", "/v1/cas/{id}", ca, "", None
        yield "GET", "/v1/cas/{id}/certificate", ca, "", None
        yield "PATCH", "/v1/cas/{id}", ca, "", {"auto_register": True, "approve": False}
        yield "POST", "/v1/cas/{id}/deactivate", ca, "", None
        yield "POST", "/v1/cas/{id}/activate", ca, "", None
        yield "DELETE", "/v1/cas/{id}", self.deleted_ca(), "?cascade=false", None
        yield "POST", "/v1/devices", "", "", {"certificate": text_of(self.other), "intermediates": None}
        yield "GET", "/v1/attention", "", "", None
        yield "POST", "/v1/devices/import", "", "", "".join(pem(self.root.issue(f"bulk {n}").certificate)
                                                            for n in range(3))
        wanted = (f"?ca={self.root.id}&status=active&cn=d*&cn_part=RIV&limit=5&expires_before=2099-01-01T00:00:00Z"
                  f"&expires_after=2020-01-01T00:00:00Z&serial_prefix={self.device.serial[:3]}")
        yield "GET", "/v1/devices", "", wanted, None
        yield "GET", "/v1/devices/{id}", device, "", None
        yield "GET", "/v1/devices/{id}/certificate", device, "", None
        yield "GET", "/v1/sessions", "", f"?device={device}&ca={self.root.id}&listener=mqtts&peer=127.0.0.1&limit=10", None
        yield "DELETE", "/v1/sessions/{id}", self.session, "", None
        yield "POST", "/v1/explain", "", "", {"chain": text_of(self.device), "listener": name,
                                              "at": now().strftime("%Y-%m-%dT%H:%M:%SZ")}
        yield "POST", "/v1/devices/{id}/deactivate", device, "", None
        yield "POST", "/v1/devices/{id}/activate", device, "?wait=1", None
        bulk = {"action": "activate", "filter": {"ca": self.root.id, "cn_part": "BULK"}, "dry_run": True, "cursor": ""}
        yield "POST", "/v1/devices/bulk", "", "", bulk
        yield "POST", "/v1/sessions/cut", "", "", {"filter": {"device": device, "client_id_part": "driven"}, "dry_run": True}
        yield "POST", "/v1/devices/{id}/revoke", device, "", None
        yield "DELETE", "/v1/devices/{id}", self.other.id, "", None
        yield "POST", "/v1/crls", "", f"?also_under={self.ca.id}", crl_of(self.ca, 4711)
        yield "GET", "/v1/crls", "", "?limit=10", None
        yield "GET", "/v1/rejections", "", "?limit=10&peer=127.0.0.1&issuer=O%3DSallyport+tests,CN%3DStranger&since=2020-01-01T00:00:00Z", None
        yield "GET", "/v1/rejections/groups", "", "?limit=10&listener=mqtts&reason=ca_unknown&since=2020-01-01T00:00:00Z", None
        yield "GET", "/v1/status", "", "", None
        yield "GET", "/v1/nodes", "", "?limit=10", None
        yield "GET", "/v1/config", "", "", None
        yield "GET", "/v1/events", "", f"?event=began,ended&kind=new&reason=expired&listener=mqtts&device={device}", None
        yield "GET", "/v1/samples", "", "?since=2020-01-01T00:00:00Z", None
        yield "POST", "/v1/server-certificates", "", "", {"chain": text_of(self.hosted),
                                                          "key": Path(self.hosted.key_file).read_text()}
        yield "GET", "/v1/server-certificates", "", "", None
        yield "GET", "/v1/server-certificates/{id}", self.hosted.id, "", None
        yield "PUT", "/v1/listeners/{name}/server-certificate", name, "", {"id": self.hosted.id}
        yield "PUT", "/v1/listeners/{name}/auth", name, "", {"mode": "mutual"}
        yield "GET", "/v1/listeners", "", "", None
        yield "GET", "/v1/upstreams", "", "?limit=10", None
        yield "GET", "/v1/upstreams/{name}", "broker", "", None
        server = urllib.parse.quote(self.server.json("upstream", "show", "broker")["servers"][0]["server"], safe="")
        for action in ("drain", "undrain"):
            yield "POST", f"/v1/upstreams/{{name}}/servers/{{server}}/{action}", ("broker", server), "", None
        yield "DELETE", "/v1/listeners/{name}/overrides", name, "", None
        yield "DELETE", "/v1/server-certificates/{id}", self.hosted.id, "", None
        yield "POST", "/v1/tokens", "", "", {"name": "driven", "role": "viewer", "ttl_seconds": 60}
        yield "GET", "/v1/tokens", "", "", None
        yield "DELETE", "/v1/tokens/{name}", "driven", "", None
        self.server.cli("token", "create", "--name", "by-query", "--role", "operator", "--yes")
        yield "DELETE", "/v1/tokens", "", "?name=by-query", None
        yield "POST", "/v1/backup", "", "", {"dir": str(self.folder / "backup")}
        yield "GET", "/v1/audit", "", "?limit=10&since=2020-01-01T00:00:00Z&target=by-query", None
        yield "PUT", "/v1/log/level", "", "", {"level": "debug"}
        yield "POST", "/v1/reload", "", "", None
        yield "POST", "/v1/ticket-keys/rotate", "", "", None
        yield "POST", "/v1/drain", "", "", None


def test_every_operation_is_what_it_is_documented_to_be(server, document, root, shop, tmp_path):
    """Each answers a good request with its documented status, content type and every required member of the right
    type; lists are not empty, so that their items are checked, too; nothing described is left out."""
    world, checker, driven = World(server, root, shop, tmp_path), Checker(document), {}
    try:
        for method, path, instead, query, body in world.steps():
            where = f"{method} {path}"
            operation = operations(document)[method, path]
            documented = {each["name"] for each in operation["parameters"] if each["in"] == "query"}
            assert set(re.findall(r"[?&](\w+)=", query)) <= documented, where
            assert ("requestBody" in operation) >= (body is not None), where
            if isinstance(body, dict):
                sent = operation["requestBody"]["content"]["application/json"]["schema"]
                if path != "/v1/backup":
                    checker.fits(sent, body, f"the body of {where}")
                assert set(body) <= set(checker.resolve(sent)["properties"]), where
            parts = iter([instead] if isinstance(instead, str) else instead)
            target = re.sub(r"\{\w+\}", lambda _: next(parts), path) + query
            value = checker.answer(operation, *call(server, method, target, body), where)
            assert not isinstance(value, dict) or "items" not in value or value["items"], f"{where}: nothing listed"
            driven[method, path] = value
    finally:
        world.close()
    assert server.wait() == 0
    elsewhere = {("DELETE", "/v1/nodes/{name}")}  # with a shared registry: shared/test_sessions_elsewhere.py
    assert set(driven) | elsewhere == set(operations(document)), set(operations(document)) - set(driven)
    # A few answers in themselves: not only members, but the right ones.
    assert driven["GET", "/v1/cas/{id}"]["id"] == world.ca.id
    assert driven["DELETE", "/v1/cas/{id}"]["id"] == world.doomed.id
    assert driven["POST", "/v1/cas/{id}/deactivate"]["status"] == "inactive"
    assert driven["GET", "/v1/cas/{id}/certificate"] == pem(world.ca.certificate)
    assert driven["GET", "/v1/devices/{id}/certificate"] == pem(world.device.certificate)
    assert [each["id"] for each in driven["GET", "/v1/devices"]["items"]] == [world.device.id]
    assert driven["POST", "/v1/devices"]["registered_by"] == "operator"
    assert driven["POST", "/v1/devices/{id}/revoke"]["status"] == "revoked"
    assert driven["POST", "/v1/devices/import"]["registered"] == 3
    assert driven["POST", "/v1/crls"]["not_seen_yet"] == 1
    assert driven["POST", "/v1/devices/bulk"]["matched"] == 3
    assert [each["kind"] for each in driven["GET", "/v1/attention"]["items"]] == ["devices-end"]
    assert driven["GET", "/v1/rejections/groups"]["items"][0]["subject"].endswith("refused")
    assert {each["target"] for each in driven["GET", "/v1/audit"]["items"]} == {"by-query"}
    assert [each["ca_id"] for each in driven["GET", "/v1/crls"]["items"]] == [world.ca.id]
    assert driven["DELETE", "/v1/sessions/{id}"] == {"id": world.session, "cut": True}
    assert driven["POST", "/v1/explain"]["admitted"] is True
    chosen = driven["PUT", "/v1/listeners/{name}/server-certificate"]["overrides"]
    assert chosen == {"server_certificate": world.hosted.id}
    assert driven["DELETE", "/v1/listeners/{name}/overrides"]["overrides"] == {}
    assert driven["POST", "/v1/tokens"]["token"] and "token" not in driven["GET", "/v1/tokens"]["items"][0]


# A request that each operation refuses: what replaces its placeholder, query, body.
BAD = {("GET", "/v1/openapi.json"): None, ("GET", "/v1/status"): None, ("GET", "/v1/config"): None,
       ("GET", "/v1/attention"): None,
       ("GET", "/v1/samples"): ("", "?since=now", None), ("GET", "/v1/events"): ("", "?reason=none-such", None),
       ("POST", "/v1/drain"): None,
       ("POST", "/v1/ticket-keys/rotate"): None, ("POST", "/v1/reload"): None,
       ("POST", "/v1/registration-codes"): ("", "", {"ttl_seconds": -1}),
       ("POST", "/v1/devices/import"): ("", "", "-----BEGIN PRIVATE KEY-----\n"),
       ("DELETE", "/v1/tokens"): ("", "", None)}


def test_every_operation_refuses_with_a_problem_document(server, document):
    """What is not there, a body that is not what it should be, a query out of bounds: 4xx with type, title, status
    and detail, for each operation that can refuse anything; nothing has changed afterwards."""
    checker = Checker(document)
    before = server.json("audit")
    for (method, path), operation in operations(document).items():
        default = (NOTHING, "?limit=100000" if method == "GET" and "{" not in path else "", "[]"
                   if method in ("POST", "PUT") else None)
        bad = BAD.get((method, path), default)
        if bad is None:
            continue
        instead, query, body = bad
        target = re.sub(r"\{\w+\}", instead, path) + query
        checker.refusal(operation, *call(server, method, target, body), f"{method} {target}")
    for path, methods in document["paths"].items():  # a method that is not described
        status, kind, raw = call(server, "OPTIONS", re.sub(r"\{\w+\}", NOTHING, path))
        assert status == 405 and kind == "application/problem+json", (path, status, raw)
        assert all(each.upper() in json.loads(raw)["detail"] for each in methods), (path, raw)
    assert server.json("audit") == before


def test_every_operation_refuses_an_unknown_parameter(server, document):
    """A filter that is spelt wrongly must not answer with everything: 400, and it says what there is."""
    checker = Checker(document)
    before = server.json("audit")
    for (method, path), operation in operations(document).items():
        target = re.sub(r"\{\w+\}", NOTHING, path) + "?Status=active"
        status, kind, raw = call(server, method, target, "{}" if method in ("POST", "PUT") else None)
        assert status == 400, (method, target, status, raw)
        checker.refusal(operation, status, kind, raw, f"{method} {target}")
        named = [each["name"] for each in operation["parameters"] if each["in"] == "query"]
        detail = json.loads(raw)["detail"]
        assert "'Status'" in detail and all(each in detail for each in named or ["none"]), detail
    assert call(server, "GET", "/v1/cas?status=active&")[0] == 200
    assert server.json("audit") == before


def test_a_short_list_has_pages_too(server):
    """Page by page it is the same list; a token that no answer gave is refused."""
    for name in ("page-one", "page-two", "page-three"):
        server.cli("token", "create", "--name", name, "--role", "viewer", "--yes")
    for path in ("/v1/tokens", "/v1/listeners", "/v1/server-certificates"):
        whole = json.loads(call(server, "GET", path + "?limit=1000")[2])
        assert whole["next_page_token"] == ""
        shown, token = [], None
        while token != "":
            page = json.loads(call(server, "GET", f"{path}?limit=1&page_token=" + urllib.parse.quote(token or ""))[2])
            assert len(page["items"]) <= 1
            shown, token = shown + page["items"], page["next_page_token"]
        assert shown == whole["items"]
        assert call(server, "GET", path + "?page_token=nobodys")[0] == 400
    assert len(json.loads(call(server, "GET", "/v1/tokens")[2])["items"]) >= 3


def test_registering_a_device_twice_is_documented(server, document, root):
    """The second time says that nothing was made; that status is in the description as well."""
    root.register(server)
    body = {"certificate": text_of(root.issue("twice"))}
    described = operations(document)["POST", "/v1/devices"]["responses"]
    for _ in range(2):
        status, _, raw = call(server, "POST", "/v1/devices", body)
        assert status < 300 and str(status) in described, (status, raw)


def test_probes_are_on_the_socket_too(server):
    """GET /livez, /readyz and /metrics, which are not part of /v1 nor of the document."""
    for path in ("/livez", "/readyz", "/metrics"):
        assert call(server, "GET", path)[0] == 200, path
    assert b"sallyport_build_info" in call(server, "GET", "/metrics")[2]
