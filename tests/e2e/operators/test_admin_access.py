"""Who may operate, over the socket and over the network, what an attacker of the API achieves, and the audit log."""

import hashlib
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import threading
import time
import urllib.parse
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from harness.admin import Admin, answer_of
from harness.authority import Authority, days, now, pem
from harness.device import admitted
from harness.server import BINARY, Sallyport, listener
from harness.unix_http import ask
from harness.wait import until
from harness.witness import Witness

MIB = 1 << 20


@pytest.fixture
def open_admin(work, broker, site, request):
    """Starts servers with an admin address for one test; they must end with 0 whatever was done to them."""
    started = []

    def start(admin=None, **tables):
        folder = work / f"a{os.urandom(3).hex()}"
        started.append(Admin(folder, [listener(site)], broker, admin or {}, **tables))
        return started[-1]

    yield start
    for each in started:
        each.server.stop()


@pytest.fixture(scope="module")
def admin(work, broker, site, root):
    """The server of most tests: plain HTTP on loopback."""
    running = Admin(work / "admin", [listener(site)], broker, {})
    root.register(running.server)
    yield running
    running.server.stop()


@pytest.fixture(scope="module")
def operator(admin):
    return admin.token("operator", "operator")


@pytest.fixture(scope="module")
def viewer(admin):
    return admin.token("viewer", "viewer")


# --- tokens

def test_without_a_good_token_there_is_only_401(admin, operator):
    """No token, a wrong one, one that is cut or longer, another scheme: 401 with WWW-Authenticate on every path,
    also on those that do not exist, before any body is read. Only the console's page is for everybody."""
    wrong = ["", "Bearer", "Bearer ", f"Bearer {operator[:-1]}", f"Bearer {operator}0", f"Bearer x{operator}",
             f"Basic {operator}", operator, f"Bearer {operator} {operator}", "Bearer " + "0" * 4000,
             "Bearer sallyport_" + "0" * 64, "Bearer " + hashlib.sha256(operator.encode()).hexdigest()]
    for authorization in [None, *wrong]:
        for method, target in (("GET", "/v1/cas"), ("POST", "/v1/tokens"), ("GET", "/v1/nothing"), ("GET", "/v2"),
                               ("POST", "/v1/devices/import"), ("GET", "/metrics")):
            status, headers, answer = admin.http(method, target, authorization=authorization)
            assert status == 401, (authorization, method, target, status, answer)
            assert headers["WWW-Authenticate"].startswith("Bearer"), headers
            assert answer["status"] == 401 and answer["type"].startswith("urn:sallyport:")
    for authorization in (None, "Bearer x"):  # what is the same everywhere tells a stranger nothing
        assert admin.http("GET", "/v1/openapi.json", authorization=authorization)[0] == 200
    with closing(admin.connection()) as connection:  # a stranger's body of 1 GB is not waited for
        connection.putrequest("POST", "/v1/devices/import")
        connection.putheader("Content-Length", str(1 << 30))
        connection.endheaders()
        assert answer_of(connection)[0] == 401
    assert admin.http("GET", "/v1/cas", operator)[0] == 200


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_the_scheme_is_case_insensitive(admin, operator, scheme):
    """RFC 9110, section 11.1: `bearer` is `Bearer`."""
    assert admin.http("GET", "/v1/cas", authorization=f"{scheme} {operator}")[0] == 200


def test_an_expired_token_opens_nothing(admin):
    """--ttl 1s: what it is, is said when it is made; 401 a second later, and soon it is revoked by itself."""
    made = admin.server.json("token", "create", "--name", "short", "--role", "operator", "--ttl", "1s", "--yes")
    token = made["token"]
    assert made["role"] == "operator" and made["expires_at"] > made["created_at"]
    until("it has expired", lambda: admin.http("GET", "/v1/cas", token)[0] == 401, 4)
    assert admin.http("POST", "/v1/registration-codes", token)[0] == 401
    until("it is revoked", lambda: "short" not in [each["name"] for each in admin.server.json("token", "list")], 30)
    [line] = [each for each in admin.server.json("audit") if each["target"] == "short" and "revoke" in each["action"]]
    assert line["who"] == "its end", line


def test_a_change_is_logged_in_words(admin):
    """A setting's line says what was done to what, by whom; no line has an id of zeros."""
    admin.token("viewer", "worded")
    admin.server.cli("ca", "code")
    [line] = admin.server.exactly(1, "setting", target="worded")
    assert (line.fields["action"], line.fields["after"]) == ("token.create", "viewer"), line.text
    assert line.fields["who"] == f"uid {os.getuid()}" and "pid" in line.fields["from"], line.text
    assert "status" not in admin.server.line("code-issued").fields
    assert "0" * 64 not in admin.server.log() and "status=- " not in admin.server.log()


def test_a_revoked_token_opens_nothing_at_once(admin):
    """401 as soon as the command has returned, also on a connection that was open before."""
    token = admin.token("operator", "leaving")
    with closing(admin.connection()) as kept:
        headers = {"Authorization": f"Bearer {token}"}
        kept.request("GET", "/v1/cas", headers=headers)
        assert answer_of(kept)[0] == 200
        admin.server.cli("token", "revoke", "leaving", "--yes")
        kept.request("GET", "/v1/cas", headers=headers)
        assert answer_of(kept)[0] == 401
    assert admin.http("GET", "/v1/cas", token)[0] == 401
    assert "leaving" not in [each["name"] for each in admin.server.json("token", "list")]
    assert "no token" in admin.server.cli("token", "revoke", "leaving", "--yes", status=1).stderr


def test_a_token_revoked_while_its_body_comes_changes_nothing(admin):
    """The request began with a good token; when the body is complete it is no longer one: 401."""
    token = admin.token("operator", "midway")
    body = json.dumps({"name": "escalated", "role": "operator"})
    with closing(admin.connection()) as connection:
        connection.putrequest("POST", "/v1/tokens")
        connection.putheader("Authorization", f"Bearer {token}")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:10].encode())
        admin.server.cli("token", "revoke", "midway", "--yes")
        connection.send(body[10:].encode())
        assert answer_of(connection)[0] == 401
    assert "escalated" not in [each["name"] for each in admin.server.json("token", "list")]


def paths_of(admin, role):
    """(method, path with its placeholders filled in) of every operation for `role`."""
    paths = ask(admin.server.socket, "GET", "/v1/openapi.json")[2]["paths"]
    return [(method.upper(), path.replace("{id}", "ab" * 32).replace("{name}", "mqtts"))
            for path, methods in paths.items() for method, operation in methods.items() if operation["x-role"] == role]


def test_a_viewer_changes_nothing(admin, viewer, root):
    """403 for every operation that changes something, and nothing has changed."""
    device = root.issue("seen by a viewer")
    admitted(admin.server.port, device).close()
    admin.server.registered(device)
    changing = paths_of(admin, "operator") + [
        ("POST", f"/v1/devices/{device.id}/revoke"), ("DELETE", f"/v1/devices/{device.id}"),
        ("POST", f"/v1/cas/{root.id}/deactivate"), ("DELETE", f"/v1/cas/{root.id}?cascade=true"),
        ("DELETE", "/v1/tokens/operator"), ("DELETE", "/v1/tokens?name=operator")]
    assert len(changing) > 20
    before = admin.server.json("audit")
    for method, path in changing:
        status, _, answer = admin.http(method, path, viewer, {"name": "mine", "role": "operator"})
        assert status == 403 and "operator" in answer["detail"], (method, path, status)
    assert admin.server.json("audit") == before
    assert admin.server.json("device", "show", device.id)["status"] == "active"
    assert admin.server.json("ca", "show", root.id)["status"] == "active"


def test_a_viewer_reads_and_explains(admin, viewer, root):
    """Every reading operation answers a viewer: 200, or 404 for what is not there."""
    for method, path in paths_of(admin, "viewer"):
        status, _, answer = admin.http(method, path, viewer, {} if method == "POST" else None)
        assert status in (200, 404) or (path == "/v1/explain" and status == 400), (method, path, status, answer)
    chain = Path(root.issue("explained").chain_file).read_text()
    status, _, answer = admin.http("POST", "/v1/explain", viewer, {"chain": chain})
    assert status == 200 and answer["admitted"] is True and answer["steps"]


def test_a_token_is_shown_once_and_names_are_unique(admin):
    """Lists show no token; a taken name is 409; names, roles and times are checked."""
    token = admin.token("viewer", "once")
    for form in ("json", "table"):
        assert token not in admin.server.cli("token", "list", "-o", form).stdout
    path = admin.server.socket
    assert ask(path, "POST", "/v1/tokens", {"name": "once", "role": "viewer"})[0] == 409
    for bad in ({"name": "", "role": "viewer"}, {"name": "a b", "role": "viewer"}, {"name": "x" * 65, "role": "viewer"},
                {"name": "../x", "role": "viewer"}, {"name": "x\n", "role": "viewer"}, {"name": "x", "role": "admin"},
                {"name": "x"}, {"role": "viewer"}, {"name": "x", "role": "viewer", "ttl_seconds": 0},
                {"name": "x", "role": "viewer", "ttl_seconds": -1}, {"name": 7, "role": "viewer"}, [], "x",
                {"name": "x", "role": "viewer", "ttl_seconds": 1 << 62}, {"name": "x", "role": "viewer",
                                                                         "ttl_seconds": "1h"}):
        assert ask(path, "POST", "/v1/tokens", bad)[0] == 400, bad
    assert "x" not in [each["name"] for each in admin.server.json("token", "list")]


def test_tokens_persist_hashed(open_admin):
    """After a crash they still open; neither the log nor the state folder ever holds a token, only its hash."""
    opened = open_admin(log={"level": "debug"})
    token = opened.token("operator", "persisting")
    lost = opened.token("viewer", "revoked-before")
    code = ask(opened.server.socket, "POST", "/v1/registration-codes")[2]["code"]
    opened.http("GET", "/v1/cas", token)
    opened.http("GET", "/v1/nothing", token)
    opened.http("POST", "/v1/tokens", token, {"name": "persisting", "role": "viewer"})
    opened.http("GET", "/v1/cas", token + "0")
    opened.http("POST", "/v1/tokens", lost, {})
    opened.server.cli("token", "revoke", "revoked-before", "--yes")
    opened.server.kill9()
    opened.server.start()
    assert opened.http("GET", "/v1/cas", token)[0] == 200
    assert opened.http("GET", "/v1/cas", lost)[0] == 401
    data = b"\0".join(each.read_bytes() for each in opened.server.folder.rglob("*") if each.is_file())
    assert b"persisting" in data and hashlib.sha256(token.encode()).digest() in data  # the search finds what is there
    for secret in (token, lost, code):
        assert secret.encode() not in data and secret.removeprefix("sallyport_").encode() not in data
    for secret in (token, lost):
        assert bytes.fromhex(secret.removeprefix("sallyport_")) not in data


# --- the command line over the network

def test_the_command_line_over_the_network(admin, operator, viewer, root, tmp_path):
    """--url with --token-file, or $SALLYPORT_URL with $SALLYPORT_TOKEN; a viewer's change is refused with a reason."""
    url = f"http://127.0.0.1:{admin.port}"
    token_file = tmp_path / "token"
    token_file.write_text(operator + "\n")
    listed = json.loads(admin.cli("ca", "list", "-o", "json", url=url, token_file=token_file).stdout)
    assert root.id in [each["id"] for each in listed]
    assert len(admin.cli("ca", "code", url=url, token_file=token_file).stdout.strip()) >= 32
    listed = admin.cli("ca", "list", SALLYPORT_URL=url, SALLYPORT_TOKEN=viewer).stdout
    assert root.id[:12] in listed
    refused = admin.cli("ca", "deactivate", root.id, "--yes", status=1, SALLYPORT_URL=url + "/", SALLYPORT_TOKEN=viewer)
    assert "only reads" in refused.stderr
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("".join(pem(root.issue(f"over the network {n}").certificate) for n in range(3)))
    assert "3 registered" in admin.cli("device", "register", str(bundle), url=url, token_file=token_file).stdout


def test_the_command_line_says_what_is_wrong(admin, operator, tmp_path):
    """No token, a wrong one, several lines, no such file, http to elsewhere, a bad URL: exit 1 and one line."""
    url = f"http://127.0.0.1:{admin.port}"
    lines = tmp_path / "two"
    lines.write_text(operator + "\r\nX-Evil: 1\n")
    for environment, word in (({"SALLYPORT_URL": url}, "needs a token"),
                              ({"SALLYPORT_URL": url, "SALLYPORT_TOKEN": "wrong"}, "unknown, revoked or has ended"),
                              ({"SALLYPORT_URL": "http://192.0.2.1:9", "SALLYPORT_TOKEN": operator}, "in clear"),
                              ({"SALLYPORT_URL": "ftp://127.0.0.1", "SALLYPORT_TOKEN": operator}, "https://HOST:PORT"),
                              ({"SALLYPORT_URL": url + "/v1", "SALLYPORT_TOKEN": operator}, "https://HOST:PORT"),
                              ({"SALLYPORT_URL": "http://127.0.0.1:1", "SALLYPORT_TOKEN": operator}, "cannot reach")):
        done = admin.cli("ca", "list", status=1, **environment)
        assert word in done.stderr and len(done.stderr.splitlines()) == 1 and operator not in done.stderr, done
    assert "several lines" in admin.cli("ca", "list", status=1, url=url, token_file=lines).stderr
    assert "--token-file" in admin.cli("ca", "list", status=1, url=url, token_file=tmp_path / "none").stderr


def test_https(open_admin, site, shop, tmp_path):
    """admin.certificate and key: the CLI verifies chain and name; nothing is sent to whom it does not trust."""
    opened = open_admin({"certificate": site.chain_file, "key": site.key_file})
    token = opened.token("operator", "over-tls")
    url = f"https://localhost:{opened.port}"
    trusted = {"SALLYPORT_TOKEN": token, "SSL_CERT_FILE": shop.identity.chain_file}
    assert opened.cli("ca", "code", url=url, **trusted).stdout.strip()
    assert json.loads(opened.cli("audit", "-o", "json", url=url, **trusted).stdout)[0]["who"] == "over-tls"
    before = len(opened.server.json("audit"))
    untrusted = opened.cli("ca", "code", status=1, url=url, SALLYPORT_TOKEN=token)
    assert "$SSL_CERT_FILE" in untrusted.stderr
    named = opened.cli("ca", "code", "--cacert", shop.identity.chain_file, url=url, SALLYPORT_TOKEN=token)
    assert named.stdout.strip()
    assert "TLS" in opened.cli("ca", "code", "--cacert", Authority(tmp_path, "Not theirs").identity.chain_file, status=1,
                               url=url, SALLYPORT_TOKEN=token).stderr
    assert "--cacert" in opened.cli("ca", "code", "--cacert", "/nonexistent", status=1, url=url,
                                    SALLYPORT_TOKEN=token).stderr
    before = len(opened.server.json("audit"))
    elsewhere = {**trusted, "SSL_CERT_FILE": Authority(tmp_path, "Another CA").identity.chain_file}
    assert "TLS" in opened.cli("ca", "code", status=1, url=url, **elsewhere).stderr
    assert "TLS" in opened.cli("ca", "code", status=1, url=f"https://127.0.0.1:{opened.port}", **trusted).stderr
    opened.cli("ca", "code", status=1, url=f"http://127.0.0.1:{opened.port}", SALLYPORT_TOKEN=token)
    assert len(opened.server.json("audit")) == before
    old = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{opened.port}", "-tls1_1",
                          "-cipher", "ALL:@SECLEVEL=0"], capture_output=True, stdin=subprocess.DEVNULL, timeout=120)
    assert old.returncode != 0


def test_sighup_reads_the_admin_certificate_again(open_admin, shop, tmp_path):
    """A renewed certificate of the admin address is served from the reload on; a bad one changes nothing."""
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"

    def put(identity):
        chain.write_text(Path(identity.chain_file).read_text())
        key.write_text(Path(identity.key_file).read_text())

    def presented():
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", opened.port)))

    def reload():
        done = len(opened.server.lines("reload"))
        opened.server.signal(signal.SIGHUP)
        until("it has reloaded", lambda: len(opened.server.lines("reload")) > done)

    first, second = shop.server("localhost"), shop.server("localhost")
    put(first)
    opened = open_admin({"certificate": str(chain), "key": str(key)})
    assert hashlib.sha256(presented()).hexdigest() == first.id
    put(second)
    reload()
    until("the new one is served", lambda: hashlib.sha256(presented()).hexdigest() == second.id)
    key.write_text(Path(first.key_file).read_text())
    reload()
    assert hashlib.sha256(presented()).hexdigest() == second.id
    until("it is said why", lambda: any("does not belong" in line.text for line in opened.server.lines("reload")))


@pytest.mark.parametrize("address", ["0.0.0.0:9443", "[::]:9443", "192.0.2.7:9443", "example.com:9443"])
def test_check_refuses_an_open_address_without_tls(work, site, broker, address):
    """Not loopback and no certificate: exit 2, with file, line and the remedy; with one it is fine."""
    def check(**tables):
        server = Sallyport(work / f"c{os.urandom(3).hex()}", [listener(site)], broker,
                           admin={"socket": "/tmp/unused.sock", "address": address, **tables})
        return subprocess.run([BINARY, "check", "--config", server.config], capture_output=True, text=True, timeout=120)

    refused = check()
    assert refused.returncode == 2 and "in clear" in refused.stderr and "sallyport.toml:" in refused.stderr, refused
    assert check(certificate=site.chain_file, key=site.key_file).returncode == 0
    half = check(certificate=site.chain_file)
    assert half.returncode == 2 and "go together" in half.stderr
    missing = check(certificate=site.chain_file, key="/nonexistent.key")
    assert missing.returncode == 2 and "/nonexistent.key" in missing.stderr


# --- attacks

def tcp(admin):
    return socket.create_connection(("127.0.0.1", admin.port), 10)


def say(admin, data, where="tcp"):
    """Sends bytes as they are; the status of the answer, or 0 if the connection just ended."""
    if where == "tcp":
        sock = tcp(admin)
    else:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(admin.server.socket)
    with sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        answer = b""
        try:
            while b"\r\n" not in answer:
                piece = sock.recv(65536)
                if not piece:
                    break
                answer += piece
        except ConnectionResetError:
            pass
    return int(answer.split(b" ")[1]) if answer else 0


def head(method, target, token, *headers):
    target = target if isinstance(target, bytes) else target.encode()
    lines = [f"Authorization: Bearer {token}".encode(), b"Host: x", *(each.encode() for each in headers)]
    return method.encode() + b" " + target + b" HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n"


@pytest.mark.parametrize("where", ["tcp", "socket"])
def test_oversized_requests(admin, operator, where):
    """A header over 8 KiB is 431; a body over 1 MiB is 413, announced or chunked; endless lines do not grow memory."""
    assert say(admin, head("GET", "/v1/cas", operator, "X-Big: " + "x" * 16384), where) == 431
    assert say(admin, head("GET", "/v1/cas?x=" + "y" * 16384, operator), where) == 431
    assert say(admin, head("GET", "/v1/cas", operator, *(f"X-{n}: 1" for n in range(3000))), where) == 431
    assert say(admin, head("POST", "/v1/cas", operator, f"Content-Length: {MIB + 1}"), where) == 413
    assert say(admin, head("POST", "/v1/cas", operator, "Content-Length: 99999999999999999"), where) == 413
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    assert say(admin, head("POST", "/v1/cas", operator, "Transfer-Encoding: chunked") + 20 * chunk, where) == 413
    assert say(admin, head("POST", "/v1/cas", operator, f"Content-Length: {MIB}") + b" " * MIB, where) == 400
    assert say(admin, b"G" * (4 * MIB), where) in (0, 400, 431)
    assert admin.http("GET", "/v1/cas", operator)[0] == 200


PATHS = ["/v1/../v1/cas", "/v1/..", "/v1/../", "/v1/../../etc/passwd", "//v1/cas", "/v1//cas", "/v1/cas/", "/v1/cas//",
         "/v1/./cas", "/%2e%2e/v1/cas", "/v1/%2e%2e/v1/cas", "/v1/cas/%2e%2e/devices", "/v1/cas/..%2f..%2fetc%2fpasswd",
         "/v1/cas/%00", "/v1/devices/%00%00%00%00%00%00%00%00", "/v1/devices/" + "%" * 100, "/v1/devices/%zz%",
         "/v1/devices/" + "a" * 4000, "/v1/devices/%ff%fe%fd%fc%fb%fa%f9%f8", "/v1%2fcas", "/V1/cas", "/v1\\cas",
         "/v1/cas;x=1", "/v1/cas%0d%0aX-Evil:1", "/", "*", "v1/cas", "/v1", "/v1/", "/v1/livez", "/livez/../v1/cas",
         "/v1/sessions/%00", "/v1/server-certificates/%00", "/v1/listeners/%00", "/v1/tokens/a/b",
         b"/v1/\xff\xfe", b"/v1/cas/\x00", b"/v1/cas\x00", b"/v1/ca\x01s", b"\x00", b"/v1/cas\t", b"/v1/ cas"]


@pytest.mark.parametrize("where", ["tcp", "socket"])
def test_path_tricks(admin, operator, where):
    """Each is refused with 400, 404 or 405 (a connection that just ends counts as 400), never 200 and never 500; the
    console's own with 421 for a Host that is a name."""
    for path in PATHS:
        for method in ("GET", "DELETE", "POST"):
            status = say(admin, head(method, path, operator, "Content-Length: 0"), where)
            rebound = where == "tcp" and path == "/" and status == 421  # the console's, and this Host is a name
            assert status in (0, 400, 404, 405) or rebound, (method, path, status)
    for path in ("/v1/listeners/%00/auth", "/v1/listeners/%ff%fe/auth", "/v1/listeners/../auth", "/v1/listeners//auth"):
        body = b'{"mode": "mutual"}'
        assert say(admin, head("PUT", path, operator, f"Content-Length: {len(body)}") + body, where) in (400, 404)
    for method in ("PATCH", "TRACE", "CONNECT", "OPTIONS", "BREW"):
        assert say(admin, head(method, "/v1/cas", operator), where) in (0, 400, 404, 405, 501), method
    assert admin.http("GET", "/v1/cas", operator)[0] == 200
    assert not [line for line in admin.server.log().splitlines() if line and not line.startswith("20")]


def test_broken_http_and_json(admin, operator):
    """Two lengths, a length beside chunks, bad chunks, no HTTP at all, JSON bombs: 400 or a closed connection."""
    smuggled = b'0\r\n\r\nDELETE /v1/tokens/operator HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ' + operator.encode()
    for headers in (["Content-Length: 4", "Transfer-Encoding: chunked"], ["Content-Length: 4", "Content-Length: 5"],
                    ["Content-Length: -1"], ["Content-Length: 0x10"], ["Content-Length: 1 1"]):
        status = say(admin, head("POST", "/v1/cas", operator, *headers) + smuggled + b"\r\n\r\n")
        assert status in (0, 400), (headers, status)
    assert say(admin, head("POST", "/v1/cas", operator, "Transfer-Encoding: chunked") + b"zz\r\n") in (0, 400)
    assert say(admin, head("POST", "/v1/cas", operator, "Transfer-Encoding: chunked") +
               b"ffffffffffffffff\r\nx") in (0, 400, 413)
    assert say(admin, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)) in (0, 400)
    assert say(admin, b"GET /v1/cas\r\n\r\n") in (0, 400)
    for body in ("{", "[" * 200000, '{"a":' * 100000, "null", '"x"', "1e999", '{"certificate": [], "chain": 7}', "\0",
                 '{"certificate": "\\ud800"}', "{\"certificate\": \"\xff\"}", '{"certificate": {}}'):
        for path in ("/v1/cas", "/v1/devices", "/v1/explain", "/v1/tokens", "/v1/server-certificates", "/v1/backup"):
            status, _, answer = admin.http("POST", path, operator, raw=body.encode("latin-1"))
            assert status == 400, (path, body[:40], status, answer)
    assert "operator" in [each["name"] for each in admin.server.json("token", "list")]


def test_slow_clients_hold_up_nobody(admin, operator):
    """Heads and bodies that come byte by byte: meanwhile the API answers at once, and after some seconds the slow
    ones are cut off."""
    with ExitStack() as stack:
        slow = []
        for number in range(120):
            sock = stack.enter_context(tcp(admin))
            request = head("POST", "/v1/cas", operator, "Content-Length: 1000")
            sock.sendall(request[:20] if number % 2 else request + b"{")
            slow.append(sock)
        stop = threading.Event()

        def drip():
            while not stop.wait(0.5):
                for sock in slow:
                    try:
                        sock.send(b" ")
                    except OSError:
                        pass

        dripping = threading.Thread(target=drip, daemon=True)
        dripping.start()
        def all_cut():
            return all(ended(sock) for sock in slow)

        assert admin.http("GET", "/v1/status", operator)[0] == 200
        assert ask(admin.server.socket, "GET", "/v1/status")[0] == 200
        assert not all_cut(), "it answers beside them, not behind them"
        for _ in range(10):
            assert admin.http("GET", "/v1/status", operator)[0] == 200
            assert ask(admin.server.socket, "GET", "/v1/status")[0] == 200

        until("the slow ones are cut off", all_cut, 20, pause=0.3)
        stop.set()
        dripping.join()


def ended(sock):
    """Whether the other side has closed."""
    sock.setblocking(False)
    try:
        return sock.recv(4096) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        sock.setblocking(True)


def test_a_private_key_posted_as_a_certificate(admin, operator, root):
    """Refused with 400 wherever a certificate is taken; no line of it comes back or goes into the log."""
    identity = root.issue("careless")
    key = Path(identity.key_file).read_text()
    traditional = identity.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                                             serialization.NoEncryption()).decode()
    certificate, body_line = pem(identity.certificate), key.splitlines()[1]
    for text in (key, traditional, certificate + key, key + certificate, certificate + traditional):
        for path, body in (("/v1/cas", {"certificate": text, "verification_certificate": certificate}),
                           ("/v1/cas", {"certificate": certificate, "verification_certificate": text}),
                           ("/v1/devices", {"certificate": text}),
                           ("/v1/devices", {"certificate": [certificate, text]}),
                           ("/v1/devices", {"certificate": certificate, "intermediates": text}),
                           ("/v1/explain", {"chain": text}),
                           ("/v1/explain", {"chain": certificate, "listener": text})):
            status, _, answer = admin.http("POST", path, operator, body)
            assert status == 400 and "private key" in answer["detail"], (path, status, answer)
            assert body_line not in json.dumps(answer)
        status, _, answer = admin.http("POST", "/v1/devices/import", operator, raw=text)
        assert status == 400 and "private key" in answer["detail"] and body_line not in json.dumps(answer)
        status, _, answer = admin.http("POST", "/v1/crls", operator, raw=text)
        assert status == 400 and body_line not in json.dumps(answer)
    for name in (key, traditional):
        assert admin.http("POST", "/v1/tokens", operator, {"name": name, "role": "viewer"})[0] == 400
    for command in (["device", "register", identity.key_file], ["explain", identity.key_file],
                    ["ca", "register", identity.key_file, identity.chain_file], ["crl", "import", identity.key_file]):
        done = admin.server.cli(*command, "--yes" if command[0] != "explain" else "-ojson", status=1)
        assert body_line not in done.stdout + done.stderr
    log = admin.server.log() + admin.server.errors()
    for line in [*key.splitlines()[1:-1], *traditional.splitlines()[1:-1], "PRIVATE KEY"]:
        assert line not in log
    for line in certificate.splitlines()[1:-1]:
        assert line not in log


def pem_bombs():
    """{what: (piece, how many)} of 64 MiB, or less where the server has work with every line."""
    begin = b"-----BEGIN CERTIFICATE-----\n"
    block = begin + b"A" * 64 + b"\n-----END CERTIFICATE-----\n"
    return {"random bytes": (os.urandom(MIB), 64), "one endless line": (b"A" * MIB, 64),
            "BEGIN upon BEGIN": (begin * (MIB // len(begin)), 64),
            "an endless block": (begin + (b"A" * 64 + b"\n") * 16000, 64),
            "BEGINs of other things": (b"-----BEGIN X-----\n" * 58000, 24),
            "bad certificates": (block * (MIB // len(block)), 8), "line ends": (b"\n" * MIB, 24)}


@pytest.mark.parametrize("what", pem_bombs())
def test_a_pem_bomb_is_bounded(admin, operator, root, what):
    """Tens of MiB of it into the import: answered with what failed (a bounded list), in bounded memory, while the API
    answers and a session goes on."""
    piece, count = pem_bombs()[what]
    witness = Witness(admin.server.port, root.issue("during the bomb"))
    before, highest = admin.server.rss(), 0
    with closing(admin.connection(60)) as connection:
        connection.putrequest("POST", "/v1/devices/import")
        connection.putheader("Authorization", f"Bearer {operator}")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        for number in range(count):
            connection.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
            if number % 8 == 0:
                assert ask(admin.server.socket, "GET", "/v1/cas")[0] == 200
                highest = max(highest, admin.server.rss())
        connection.send(b"0\r\n\r\n")
        status, _, answer = answer_of(connection)
    assert status == 200 and answer["registered"] == 0 and answer["complete"] is True, (status, answer)
    assert len(answer["failures"]) <= 10000 and len(json.dumps(answer)) < 4 * MIB
    assert answer["failed"] == len(answer["failures"]) + answer["failures_omitted"]
    assert max(highest, admin.server.rss()) - before < 32 * MIB
    witness.verdict()


def test_a_good_certificate_amid_garbage_is_registered(admin, operator, root):
    """What can be read is kept, whatever surrounds it."""
    identity = root.issue("amid garbage")
    text = "junk\n-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n" + pem(identity.certificate) + "junk"
    status, _, answer = admin.http("POST", "/v1/devices/import", operator, raw=text)
    assert (status, answer["registered"], answer["failed"]) == (200, 1, 1), answer
    assert answer["failures"][0]["line"] == 2
    assert admin.server.json("device", "show", identity.id)["registered_by"] == "operator"


def test_ten_thousand_idle_connections(admin, operator, root):
    """On the admin address: the API still answers there and on the socket, and devices are served."""
    with ExitStack() as stack:
        idle = []
        for _ in range(10000):
            sock = stack.enter_context(socket.socket())
            sock.settimeout(10)
            sock.connect(("127.0.0.1", admin.port))
            idle.append(sock)
        assert len(idle) == 10000
        for _ in range(5):
            assert admin.http("GET", "/v1/cas", operator)[0] == 200
            assert ask(admin.server.socket, "GET", "/v1/cas")[0] == 200
        admitted(admin.server.port, root.issue("beside the idle")).close()
        descriptors = len(os.listdir(f"/proc/{admin.server.process.pid}/fd"))
        assert descriptors < 2000, f"{descriptors} descriptors are kept for idle strangers"
    assert admin.http("GET", "/v1/cas", operator)[0] == 200


def test_the_socket_is_the_operators(admin):
    """Mode 0660, from the first moment on."""
    assert stat.S_IMODE(os.stat(admin.server.socket).st_mode) == 0o660


# --- audit

def crl_of(ca, *serials):
    builder = (x509.CertificateRevocationListBuilder().issuer_name(ca.name)
               .last_update(now()).next_update(now() + days(9)))
    for serial in serials:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now()).build())
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_every_change_is_in_the_audit_log(open_admin, shop, work, tmp_path):
    """Who, from where, what, on what, before and after: one line a change, over the socket and over the network, the
    last first; it survives a crash; `--last` narrows it down."""
    key_file = tmp_path / "key"
    key_file.write_text(os.urandom(32).hex())
    key_file.chmod(0o600)
    opened = open_admin(registry={"key_file": str(key_file)})
    server, ca, spare = opened.server, Authority(tmp_path / "a", "Audited"), Authority(tmp_path / "b", "Deleted whole")
    hosted, by_net = shop.server("localhost"), opened.token("operator", "robot")
    one, two, three = ca.issue("one"), ca.issue("two"), ca.issue("three")
    code = server.cli("ca", "code").stdout.strip()
    server.cli("ca", "register", ca.identity.chain_file, ca.verification(code).chain_file)
    spare.register(server)
    server.cli("device", "register", two.chain_file)
    device = admitted(server.port, one)
    server.registered(one)
    session = server.json("session", "list", "--device", one.id)[0]["id"]
    server.cli("session", "cut", session, "--yes")
    assert device.end(2.0) == "close_notify"
    for action in ("deactivate", "activate", "revoke"):
        assert opened.http("POST", f"/v1/devices/{one.id}/{action}", by_net)[0] == 200
    server.cli("device", "delete", two.id, "--yes")
    crl = tmp_path / "crl.pem"
    crl.write_text(crl_of(ca, three.certificate.serial_number))
    server.cli("crl", "import", str(crl), "--yes")
    server.cli("server-cert", "add", hosted.chain_file, hosted.key_file, "--yes")
    server.cli("listener", "use-cert", "mqtts", hosted.id, "--yes")
    server.cli("listener", "auth", "mqtts", "one-way", "--yes")
    server.cli("listener", "reset", "mqtts", "--yes")
    server.cli("server-cert", "delete", hosted.id, "--yes")
    server.cli("backup", str(tmp_path / "backup"), "--yes")
    server.cli("ca", "deactivate", ca.id, "--yes")
    server.cli("ca", "activate", ca.id, "--yes")
    server.cli("ca", "deactivate", spare.id, "--yes")
    server.cli("ca", "delete", spare.id, "--yes")
    server.cli("ca", "delete", ca.id, "--cascade", "--yes")
    server.cli("token", "revoke", "robot", "--yes")
    refused = server.cli("ca", "activate", "ab" * 32, "--yes", status=1)
    assert refused.stderr

    records = list(reversed(server.json("audit")))
    seen = [(each["action"], each["target"], each["before"], each["after"]) for each in records]

    def done(action, target, before, after):
        """The first line of this kind; each change has its own."""
        fits = [each for each in seen if each[0] == action and (target is None or each[1] == target)]
        assert fits, f"no line for {action} {target}: {seen}"
        assert (before is None or fits[0][2] == before) and (after is None or fits[0][3] == after), fits[0]

    done("token.create", "robot", "", "operator")
    done("code.issue", None, "", None)
    done("ca.register", ca.id, "", "active")
    done("device.register", two.id, "", "active")
    done("session.cut", session, None, "cut")
    done("device.deactivate", one.id, "active", "inactive")
    done("device.activate", one.id, "inactive", "active")
    done("device.revoke", one.id, "active", "revoked")
    done("device.delete", two.id, "active", "")
    done("crl.import", ca.id, None, None)
    done("server-certificate.add", hosted.id, "", "hosted")
    done("listener.certificate", "mqtts", "as the file says", f"certificate {hosted.id}")
    done("listener.auth", "mqtts", f"certificate {hosted.id}", None)
    done("listener.reset", "mqtts", None, "as the file says")
    done("server-certificate.delete", hosted.id, "hosted", "")
    done("backup", str(tmp_path / "backup"), None, None)
    done("ca.deactivate", ca.id, "active", "inactive")
    done("ca.activate", ca.id, "inactive", "active")
    done("ca.delete", spare.id, None, None)
    done("ca.delete-cascade", ca.id, None, None)
    done("token.revoke", "robot", None, "")
    assert not [each for each in seen if each[1] == "ab" * 32]
    for each in records:
        assert each["at"].endswith("Z") and each["revision"] > 0
        if each["action"] in ("device.deactivate", "device.activate", "device.revoke"):
            assert each["who"] == "robot" and each["from"].startswith("127.0.0.1:"), each
        else:
            assert each["who"] == f"uid {os.getuid()}" and each["from"].startswith("socket pid "), each
    assert code not in json.dumps(records) and by_net not in json.dumps(records)
    table = server.cli("audit").stdout
    assert "device.revoke" in table and "robot" in table and one.id in table

    server.kill9()
    server.start()
    assert list(reversed(server.json("audit"))) == records
    pages, token = [], ""
    while True:
        page = ask(server.socket, "GET", "/v1/audit?limit=4&page_token=" + urllib.parse.quote(token))[2]
        pages += page["items"]
        token = page["next_page_token"]
        if not token:
            break
    assert list(reversed(pages)) == records
    assert server.json("audit", "--last", "1h") == pages
    moment = records[-1]["at"][:19]
    until("a second has passed", lambda: time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - 1.2)) > moment, 4)

    def only_what_is_new():
        server.cli("ca", "code")
        return {each["action"] for each in server.json("audit", "--last", "1s")} == {"code.issue"}

    until("a code's line is found within its second", only_what_is_new)
    server.cli("audit", "--last", "soon", status=2)


def test_two_operators_at_once_leave_every_line(admin):
    """Changes from the socket and from the network at the same time: each one that was answered is in the log."""
    names = [f"race-{number}" for number in range(40)]
    token = admin.token("operator", "racer")
    statuses = {}

    def over_the_network():
        for name in names[:20]:
            statuses[name] = admin.http("POST", "/v1/tokens", token, {"name": name, "role": "viewer"})[0]

    thread = threading.Thread(target=over_the_network)
    thread.start()
    for name in names[20:]:
        statuses[name] = ask(admin.server.socket, "POST", "/v1/tokens", {"name": name, "role": "viewer"})[0]
    thread.join(30)
    assert set(statuses.values()) == {201} and len(statuses) == 40
    lines = [each for each in admin.server.json("audit") if each["target"] in names]
    assert sorted(each["target"] for each in lines) == sorted(names)
    assert {each["who"] for each in lines} == {"racer", f"uid {os.getuid()}"}
    assert len({each["at"] for each in lines}) == 40  # so that a page_token never loses one
