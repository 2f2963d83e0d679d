"""The metrics address and the admin API as other programs see them."""

import socket
import urllib.request

import pytest

from harness import packet, unix_http
from harness.device import Device, admitted
from harness.server import listener
from harness.wait import until

NAMES = {"connections_accepted_total", "rejections_total", "handshakes_total", "handshake_seconds_bucket",
         "handshake_seconds_sum", "handshake_seconds_count", "sessions_open", "sessions_ended_total", "bytes_total",
         "mqtt_connects_total", "registrations_total", "registration_queue_depth", "registration_commit_seconds_count",
         "devices", "cas", "ca_not_after_seconds", "upstream_up", "upstream_connect_seconds_count",
         "shard_busy_ratio", "warmup_seconds", "build_info"}


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    running = serve([listener(site), listener(site, name="open", auth="one-way")], broker)
    root.register(running)
    return running


def test_the_names_of_the_contract_are_there(server):
    """Before anything happened, too: a dashboard must not wait for the first event."""
    assert NAMES <= {name for name, _ in server.metrics()}
    reasons = {dict(labels)["reason"] for name, labels in server.metrics() if name == "rejections_total"}
    assert {"ca_unknown", "tls_error", "shutting_down", "serial_conflict"} <= reasons and "none" not in reasons


def test_bytes_and_packets_are_counted_exactly(server, root):
    """Plaintext, each byte once in each direction, and one CONNECT of its version."""
    before = server.metrics()
    identity = root.issue("counted")
    sent = [packet.connect("counted", 5), packet.subscribe("count", version=5),
            packet.publish("count", b"z" * 5000, version=5), packet.pingreq()]
    with Device(server.port, identity) as device:
        received = 0
        for each in sent:
            device.send(each)
        answers = bytearray()
        while packet.pingresp() not in answers:
            answers += device.receive()
        received = len(answers)
        device.send(packet.disconnect())
        device.close_notify()
    sent_bytes = sum(map(len, sent)) + len(packet.disconnect())

    def grown(name, **labels):
        wanted = set(labels.items())
        return sum(value - before.get((key, have), 0) for (key, have), value in server.metrics().items()
                   if key == name and wanted <= have)

    until("the session is over", lambda: grown("sessions_ended_total") == 1)
    assert grown("bytes_total", direction="to_broker") == sent_bytes
    assert grown("bytes_total", direction="to_client") == received
    assert grown("mqtt_connects_total", version="5") == grown("mqtt_connects_total") == 1
    assert grown("connections_accepted_total", listener="mqtts") == 1
    assert grown("handshakes_total", version="1.3", kind="full") == grown("handshakes_total") == 1
    assert grown("handshake_seconds_count") == 1
    assert grown("sessions_open") == 0


@pytest.mark.parametrize("origin", ["client", "broker", "proxy"])
def test_who_ended_a_session_is_counted(server, root, origin):
    """The client's disconnect, the broker's (a session takeover), and our cut are told apart."""
    before = server.metric("sessions_ended_total", origin=origin)
    identity = root.issue("ending by " + origin)
    with admitted(server.port, identity, client_id="end-" + origin) as device:
        if origin == "client":
            device.close_notify()
        elif origin == "broker":
            device.send(packet.connect("a second CONNECT is a protocol error"))
            device.end()
        else:
            server.registered(identity)
            server.cli("device", "deactivate", identity.id)
            device.end()
    until("it is counted", lambda: server.metric("sessions_ended_total", origin=origin) == before + 1, 5)


def test_probes_and_nothing_else(server):
    """/metrics, /livez and /readyz, by GET alone."""
    assert server.probe("livez") == server.probe("readyz") == server.probe("metrics") == 200
    assert server.probe("") == server.probe("v1/devices") == server.probe("v1/status") == 404
    request = urllib.request.Request(f"http://{server.metrics_address}/metrics", data=b"x", method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5)
    assert refused.value.code == 405


def test_the_admin_socket_carries_the_api(server, root):
    """The promised paths, problem documents for what is wrong, probes too."""
    status, kind, cas = unix_http.ask(server.socket, "GET", "/v1/cas")
    assert status == 200 and kind.startswith("application/json")
    assert [each["id"] for each in cas["items"]] == [root.id] and not cas["next_page_token"]
    assert unix_http.ask(server.socket, "GET", "/v1/cas/" + root.id)[2]["cn"] == "Fleet root"
    assert unix_http.ask(server.socket, "GET", f"/v1/cas/{root.id}/certificate")[2].startswith("-----BEGIN")
    status, kind, made = unix_http.ask(server.socket, "POST", "/v1/registration-codes")
    assert status == 201 and set(made) == {"code", "expires_at"}
    for method, target, wanted in (("GET", "/v1/nothing", 404), ("GET", "/v1/devices/" + "0" * 64, 404),
                                   ("DELETE", "/v1/status", 405), ("GET", "/v1/devices?limit=0", 400),
                                   ("GET", "/v1/devices?status=odd", 400), ("POST", "/v1/cas", 400)):
        status, kind, problem = unix_http.ask(server.socket, method, target)
        assert status == wanted, (method, target, status)
        assert kind.startswith("application/problem+json") and problem["type"] and problem["status"] == wanted
    assert unix_http.ask(server.socket, "GET", "/livez")[0] == 200


def test_slow_and_hostile_admin_clients_hold_nobody_up(server):
    """Half requests, endless headers, garbage: the command line is answered meanwhile."""
    socks = []
    for number in range(40):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(5)
        sock.connect(server.socket)
        sock.sendall([b"GET /v1/st", b"GET / HTTP/1.1\r\nx: " + b"y" * 6000, b"\0" * 100,
                      b"POST /v1/cas HTTP/1.1\r\ncontent-length: 1000000\r\n\r\n{"][number % 4])
        socks.append(sock)
    assert server.cli("status", timeout=5).returncode == 0
    assert server.probe("livez") == 200
    for sock in socks:
        sock.close()
