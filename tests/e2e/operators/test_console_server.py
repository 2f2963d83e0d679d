"""The console's server side, as curl sees it: sign-in, cookies, who is kept out, the page's files, and the operations
that its pages ask for. The page itself is another test's."""

import gzip
import http.client
import json
import shutil
import ssl
import time
from contextlib import closing

import pytest

from harness.admin import Admin
from harness.authority import Authority, pem
from harness.clock import Clock
from harness.device import Device, admitted, refusal
from harness.server import listener
from harness.wait import PATIENCE, until


class Browser:
    """Keeps a cookie and the CSRF value, as a page does. Answers are (status, headers, body)."""

    def __init__(self, port, host=None, tls=None):
        self.port, self.tls, self.host = port, tls, host
        self.cookie = self.csrf = None

    def ask(self, method, target, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie:
            headers["Cookie"] = f"{'__Host-' if self.tls else ''}sallyport_console={self.cookie}"
        if self.csrf and method not in ("GET", "HEAD"):
            headers.setdefault("X-Sallyport-CSRF", self.csrf)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        if self.host:
            headers["Host"] = self.host
        made = (http.client.HTTPSConnection("localhost", self.port, timeout=PATIENCE, context=self.tls) if self.tls
                else http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE))
        with closing(made) as connection:
            connection.request(method, target, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            raw = answer.read()
            kind = answer.getheader("content-type", "")
            return answer.status, answer.headers, json.loads(raw) if "json" in kind and raw else raw

    def sign_in(self, token):
        status, headers, body = self.ask("POST", "/console/session", {"token": token})
        assert status == 200, body
        self.cookie = headers["Set-Cookie"].split(";")[0].split("=")[1]
        self.csrf = body["csrf"]
        return headers, body

    def status(self, *arguments, **headers):
        return self.ask(*arguments, **headers)[0]


@pytest.fixture(scope="module")
def admin(work, broker, site, root):
    running = Admin(work / "console", [listener(site)], broker, {})
    root.register(running.server)
    yield running
    running.server.stop()


@pytest.fixture
def operator(admin):
    browser = Browser(admin.port)
    browser.sign_in(admin.token("operator"))
    return browser


def test_a_sign_in_answers_a_cookie_that_no_script_reads(admin):
    """HttpOnly, SameSite=Strict, for the whole site, without Secure on http; the session's answer has the role, the CSRF
    value and the ends, and neither cookie nor token; both are in no log line, and the audit log says who came."""
    token = admin.token("viewer", "watching-console")
    browser = Browser(admin.port)
    headers, body = browser.sign_in(token)
    assert headers["Set-Cookie"].split("; ")[1:] == ["Path=/", "HttpOnly", "SameSite=Strict"]
    assert headers["Cache-Control"] == "no-store"
    assert (body["name"], body["role"], body["idle_seconds"]) == ("watching-console", "viewer", 900)
    assert len(browser.cookie) == 64 and browser.cookie not in json.dumps(body)
    assert browser.ask("GET", "/console/session")[2]["csrf"] == body["csrf"]
    assert browser.status("GET", "/v1/devices") == 200
    assert browser.status("POST", "/v1/registration-codes") == 403, "a viewer"
    assert browser.status("DELETE", "/console/session") == 204
    assert browser.status("GET", "/v1/devices") == 401
    assert browser.status("GET", "/console/session") == 401
    line = next(each for each in admin.server.json("audit") if each["action"] == "console.sign-in")
    assert line["who"] == "watching-console" and line["from"].startswith("127.0.0.1:")
    log = admin.server.log()
    assert "console-sign-in" in log and "console-sign-out" in log
    assert token not in log and browser.cookie not in log and browser.csrf not in log


def test_changes_take_the_csrf_value(admin, operator):
    """Without it, with another session's, or from another site's page: 403, and nothing has changed."""
    other = Browser(admin.port)
    other.sign_in(admin.token("operator"))
    before = len(admin.server.json("audit"))
    for wrong in ("", "00" * 32, other.csrf):
        for method, target in (("POST", "/v1/registration-codes"), ("DELETE", "/v1/tokens/none"),
                               ("PUT", "/v1/log/level")):
            status, _, problem = operator.ask(method, target, **{"X-Sallyport-CSRF": wrong})
            assert (status, problem["type"]) == (403, "urn:sallyport:csrf"), (wrong, method)
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://evil.example"}):
        assert operator.status("POST", "/v1/registration-codes", **headers) == 403, headers
    assert len(admin.server.json("audit")) == before
    assert operator.status("POST", "/v1/registration-codes", **{"Sec-Fetch-Site": "same-origin"}) == 201
    assert operator.status("POST", "/v1/registration-codes", Origin=f"http://127.0.0.1:{admin.port}") == 201


def test_a_name_that_was_made_to_lead_here_is_refused(admin, operator):
    """DNS rebinding: a Host that is neither an address nor localhost gets no page, no sign-in and no answer by a cookie."""
    for target in ("/", "/console/", "/v1/status", "/console/session"):
        operator.host = f"rebound.example:{admin.port}"
        assert operator.status("GET", target) == 421, target
        operator.host = f"localhost:{admin.port}"
        assert operator.status("GET", target) in (200, 302, 404), target
    stranger = Browser(admin.port, host="rebound.example")
    assert stranger.status("POST", "/console/session", {"token": "x"}) == 421


def test_it_ends_with_its_token_and_by_the_clock(work, broker, site):
    """Revoked while the page is open: the next request is 401, and a stream of events ends. A quarter of an hour without a
    person ends it, whatever the page asks by itself meanwhile."""
    clock = Clock(work / "console-clock")
    running = Admin(work / "console-ends", [listener(site)], broker, {}, environment=clock.environment)
    try:
        browser, other = Browser(running.port), Browser(running.port)
        browser.sign_in(running.token("operator", "revoked-soon"))
        with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE)) as stream:
            stream.request("GET", "/v1/events", headers={"Cookie": f"sallyport_console={browser.cookie}"})
            events = stream.getresponse()
            assert events.status == 200
            running.server.cli("token", "revoke", "revoked-soon", "--yes")
            assert browser.status("GET", "/v1/status") == 401
            events.read()  # to its end
        other.sign_in(running.token("operator"))
        clock.set(800)
        assert other.status("GET", "/v1/status") == 200
        clock.set(1600)
        assert other.status("GET", "/v1/status", **{"X-Sallyport-Background": "1"}) == 200
        clock.set(1720)
        assert other.status("GET", "/v1/status", **{"X-Sallyport-Background": "1"}) == 401
        until("it is said", lambda: "why=idle" in running.server.log())
    finally:
        running.server.stop()


def test_wrong_tokens_are_few(work, broker, site):
    """Ten a minute of an address, then 429 with Retry-After; the right one signs in, from the same address, too."""
    running = Admin(work / "console-limits", [listener(site)], broker, {})
    try:
        token = running.token("operator")
        browser, stranger = Browser(running.port), Browser(running.port)
        browser.sign_in(token)
        answers = []
        while len(answers) < 500 and (not answers or answers[-1][0] != 429):
            answers.append(stranger.ask("POST", "/console/session", {"token": f"wrong {len(answers)}"}))
        assert len(answers) > 10 and {each[0] for each in answers[:-1]} == {401}
        assert 1 <= int(answers[-1][1]["Retry-After"]) <= 6
        assert browser.status("GET", "/v1/status") == 200
        assert stranger.status("POST", "/console/session", {"token": token}) == 200
        assert running.server.metric("admin_auth_failures_total") >= len(answers)
    finally:
        running.server.stop()


def test_over_tls(work, broker, site, shop):
    """Secure cookies and HSTS; the certificate keeps other names out."""
    running = Admin(work / "console-tls", [listener(site)], broker,
                    {"certificate": site.chain_file, "key": site.key_file})
    try:
        browser = Browser(running.port, tls=ssl.create_default_context(cafile=str(shop.identity.chain_file)))
        headers, _ = browser.sign_in(running.token("operator"))
        assert "; Secure" in headers["Set-Cookie"]
        assert headers["Strict-Transport-Security"] == "max-age=31536000"
        assert browser.status("POST", "/v1/registration-codes", Origin=f"https://localhost:{running.port}") == 201
        assert browser.status("POST", "/v1/registration-codes", Origin=f"http://localhost:{running.port}") == 403
    finally:
        running.server.stop()


def test_the_page(admin):
    """Files from memory with what a browser needs to keep them; hostile paths find nothing; every answer is strict."""
    browser = Browser(admin.port)
    status, headers, _ = browser.ask("GET", "/")
    assert (status, headers["Location"]) == (302, "/console/")
    status, headers, page = browser.ask("GET", "/console/devices/some")
    if status == 404:
        assert b"not part of this build" in page
        assert not (shutil.which("node") and shutil.which("npm")) or "CONSOLE=OFF" in page.decode(), \
            "Node.js and npm are here, and the console is not built in"
        return
    assert status == 200 and headers["Cache-Control"] == "no-store" and b"<script" in page
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
    for name in set(part.split('"')[0] for part in page.decode().split("/console/")[1:] if part.startswith("assets/")):
        status, headers, zipped = browser.ask("GET", f"/console/{name}", Accept_Encoding="gzip")
        assert status == 200 and headers["Content-Encoding"] == "gzip" and "immutable" in headers["Cache-Control"]
        status, plain_headers, plain = browser.ask("GET", f"/console/{name}")
        assert gzip.decompress(zipped) == plain and plain_headers["ETag"] != headers["ETag"]
        status, again, body = browser.ask("GET", f"/console/{name}", Accept_Encoding="gzip", If_None_Match=headers["ETag"])
        assert (status, body, again["ETag"]) == (304, b"", headers["ETag"])
    for target in ("/console/../v1/status", "/console/%2e%2e/v1/status.json", "/console/assets/../../etc/passwd.",
                   "/console/.git", "/console/" + "a" * 3000 + ".js"):
        assert browser.status("GET", target) == 404, target
    assert browser.status("POST", "/console/devices") == 405
    assert browser.status("GET", "/v1/status") == 401, "the API is as it was"


def test_bulk_names_its_impact_and_has_it(admin, operator, tmp_path):
    """A dry run says what would change and whom it would cut; the real one does that, in force when it is answered; a
    viewer is refused; one session is cut by a filter."""
    ca = Authority(tmp_path / "bulk", "Bulk")
    ca.register(admin.server)
    devices = [ca.issue(f"bulk-{n}") for n in range(3)]
    live = [admitted(admin.server.port, each, client_id=each.cn) for each in devices]
    for each in devices:
        admin.server.registered(each)
    body = {"action": "deactivate", "filter": {"ca": ca.id, "cn_part": "BULK"}, "dry_run": True}
    tried = operator.ask("POST", "/v1/devices/bulk", body)[2]
    assert (tried["matched"], tried["would_change"], tried["sessions"], tried["changed"]) == (3, 3, 3, 0)
    viewer = Browser(admin.port)
    viewer.sign_in(admin.token("viewer"))
    assert viewer.status("POST", "/v1/devices/bulk", body) == 403
    sessions = {"filter": {"ca": ca.id, "client_id_part": "BULK-2"}}
    assert operator.ask("POST", "/v1/sessions/cut", {**sessions, "dry_run": True})[2]["matched"] == 1
    assert operator.ask("POST", "/v1/sessions/cut", sessions)[2] == {"dry_run": False, "matched": 1, "cut": 1,
                                                                    "cursor": None}
    assert live[2].end(PATIENCE) == "close_notify"
    done = operator.ask("POST", "/v1/devices/bulk", {**body, "dry_run": False})[2]
    assert (done["changed"], done["sessions"], done["failed"], done["cursor"]) == (3, 2, [], None)
    assert live[0].end(PATIENCE) == live[1].end(PATIENCE) == "close_notify"
    assert refusal(admin.server.port, devices[0])
    listed = operator.ask("GET", f"/v1/devices?ca={ca.id}&status=inactive")[2]["items"]
    assert {each["id"] for each in listed} == {each.id for each in devices}


def test_what_waits_is_approved(admin, operator, tmp_path):
    """Pending devices are found, approved together, and come in."""
    ca = Authority(tmp_path / "pending", "Waiting room")
    ca.register(admin.server, "--approve")
    devices = [ca.issue(f"waits-{n}") for n in range(2)]
    for each in devices:
        with Device(admin.server.port, each) as device:
            assert device.connect("waits") == 0x05
    waiting = lambda: operator.ask("GET", f"/v1/devices?status=pending&ca={ca.id}")[2]["items"]  # noqa: E731
    until("both wait", lambda: len(waiting()) == 2)
    assert any(each["kind"] == "pending-devices" for each in operator.ask("GET", "/v1/attention")[2]["items"])
    done = operator.ask("POST", "/v1/devices/bulk", {"action": "approve", "filter": {"ca": ca.id}})[2]
    assert (done["matched"], done["changed"]) == (2, 2)
    assert not waiting()
    admitted(admin.server.port, devices[0]).close()


def test_a_refusal_is_explained(admin, operator, tmp_path):
    """By its id: from what was kept where the certificate is not here, by the decision itself where it is registered."""
    stranger = Authority(tmp_path / "stranger", "Nobody's").issue("unknown")
    known = Authority(tmp_path / "known", "Known")
    known.register(admin.server)
    device = known.issue("walker")
    admitted(admin.server.port, device).close()
    admin.server.registered(device)
    admin.server.cli("device", "deactivate", device.id, "--yes")
    for each in (stranger, device, stranger):
        refusal(admin.server.port, each)

    def group_of(identity):
        return next((each for each in operator.ask("GET", "/v1/rejections/groups")[2]["items"]
                     if each["fingerprint"] == identity.id), None)

    until("both are listed", lambda: group_of(stranger) and group_of(device) and group_of(stranger)["count"] == 2)
    group = group_of(stranger)
    assert (group["reason"], group["peers"], len(group["ids"])) == ("ca_unknown", 1, 1) and group["what_to_do"]
    kept = operator.ask("POST", "/v1/explain", {"refusal": group["ids"][0]})[2]
    assert (kept["source"], kept["stopped_at"], kept["id"]) == ("refusal", 4, stranger.id)
    assert [each["step"] for each in kept["steps"]] == [1, 2, 3, 4]
    walked = operator.ask("POST", "/v1/explain", {"refusal": group_of(device)["ids"][0]})[2]
    assert (walked["source"], walked["reason"], walked["stopped_at"]) == ("certificate", "device_inactive", 3)
    listed = operator.ask("GET", "/v1/rejections")[2]["items"]
    assert {group["ids"][0], group_of(device)["ids"][0]} <= {each["id"] for each in listed}


def test_a_page_of_many_is_bounded(work, broker, site, tmp_path):
    """20,000 devices by an import: a search for one of them is some pages, each bounded, and finds it; a search that fits
    nothing ends; by a serial's beginning it is one page; changing all of them is calls of a thousand."""
    folder = tmp_path / "many"
    folder.mkdir()
    ca = Authority(folder, "Many")
    running = Admin(work / "console-many", [listener(site)], broker, {})
    try:
        ca.register(running.server)
        key = ca.issue("shared key").key
        bundle = "".join(pem(ca.issue(f"meter-{n:05}", key=key).certificate) for n in range(MANY))
        browser = Browser(running.port)
        token = running.token("operator")
        browser.sign_in(token)
        status, _, outcome = running.http("POST", "/v1/devices/import", token, raw=bundle)
        assert (status, outcome["registered"]) == (200, MANY), outcome

        def pages(query):
            found, at, calls, longest = [], "", 0, 0.0
            while True:
                began = time.monotonic()
                answer = browser.ask("GET", f"/v1/devices?limit=100&{query}&page_token={at}")[2]
                longest = max(longest, time.monotonic() - began)
                calls += 1
                found += answer["items"]
                at = answer["next_page_token"]
                if not at:
                    return found, calls, longest

        found, calls, longest = pages("cn_part=METER-00777")
        assert [each["cn"] for each in found] == ["meter-00777"]
        assert 1 < calls < 20, f"{calls} calls, the longest of {longest:.3f} s"
        assert pages("cn_part=nobody")[0] == []
        serial = found[0]["serial"]
        again, calls, _ = pages(f"serial_prefix={serial[:-1]}")
        assert [each["cn"] for each in again] == ["meter-00777"] and calls == 1
        cursor, changed, calls = "", 0, 0
        while cursor is not None:
            done = browser.ask("POST", "/v1/devices/bulk", {"action": "deactivate", "filter": {"cn_part": "meter"},
                                                            "cursor": cursor})[2]
            assert done["matched"] <= 1000
            changed, cursor, calls = changed + done["changed"], done["cursor"], calls + 1
        assert changed == MANY and calls >= MANY / 1000
        assert browser.ask("GET", "/v1/status")[2]["devices"]["inactive"] == MANY
    finally:
        running.server.stop()


MANY = 20000
