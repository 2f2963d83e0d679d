"""A storm with the limits on: devices in a reconnect loop, a fleet that registers at once, and 20,000 attempts of
strangers and of such devices while others work. Every refusal is counted and in `status`."""

import threading
import time

import pytest

from harness.device import Device, Ended, admitted, client_context, plain, reset
from harness.server import listener
from harness.wait import until

ATTEMPTS, LIMIT, PER_SECOND = 20_000, 6, 5


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    running = serve([listener(site, max_connects_per_minute_per_device=LIMIT),
                     listener(site, name="guarded", max_new_per_second_per_ip=20, max_connections_per_ip=50,
                              max_handshakes_per_shard=64, max_connects_per_minute_per_device=600)],
                    upstreams=[{"name": "broker", "servers": [broker.address]}],
                    registry={"max_registrations_per_second_per_ca": PER_SECOND}, proxy={"shards": 2})
    root.register(running)
    return running


def rejected(server, reason):
    return server.json("status")["rejections"].get(reason, 0)


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize("version, code", [(4, 3), (5, 0x9F)])
def test_a_device_in_a_loop(server, root, tls, version, code):
    """It gets its allowance and not one more, over all shards; it is told so; another device is not touched."""
    looping, other = root.issue("loop"), root.issue("other")
    admitted(server.port, looping, tls).close()
    server.registered(looping)
    before = rejected(server, "rate_limited")
    began, codes = time.monotonic(), []
    for _ in range(3 * LIMIT):
        with Device(server.port, looping, tls) as device:
            codes.append(device.connect("loop", version))
    refilled = int((time.monotonic() - began) / (60 / LIMIT)) + 1
    assert LIMIT - 1 <= codes.count(0) <= LIMIT - 1 + refilled
    assert set(codes) == {0, code} and codes[:LIMIT - 1] == [0] * (LIMIT - 1)
    assert rejected(server, "rate_limited") - before == codes.count(code)
    line = server.line("rejected", reason="rate_limited", fingerprint=looping.id)
    assert line.fields["what"] == "max_connects_per_minute_per_device" and line.fields["claimed"] == "0"
    assert f"{rejected(server, 'rate_limited')} rate_limited" in server.cli("status").stdout
    until("a second of registrations has passed", lambda: time.monotonic() - began > 1.5)
    admitted(server.port, other, tls).close()


def test_a_fleet_that_registers_at_once(server, root):
    """Of one CA so many a second, the others are refused before they are registered, and come again."""
    time.sleep(1.1)
    fleet = [root.issue(f"new {number}") for number in range(3 * PER_SECOND)]
    before, began = rejected(server, "rate_limited"), time.monotonic()
    codes = []
    for each in fleet:
        with Device(server.ports["guarded"], each, source=f"127.0.1.{len(codes)}") as device:
            codes.append(device.connect("new"))
    most = PER_SECOND + int((time.monotonic() - began) * PER_SECOND) + 1
    assert PER_SECOND <= codes.count(0) <= most and set(codes) == {0, 3}
    assert rejected(server, "rate_limited") - before == codes.count(3)
    registered = set(server.devices())
    for each, code in zip(fleet, codes):
        if code == 3:
            assert each.id not in registered
    again = fleet[codes.index(3)]
    time.sleep(1.1)
    admitted(server.ports["guarded"], again, source="127.0.1.250").close()
    known = fleet[0]
    for _ in range(2 * PER_SECOND):
        admitted(server.ports["guarded"], known, source="127.0.1.251").close()


def test_twenty_thousand_attempts(server, root):
    """Strangers who connect and leave, rubbish, other CAs' certificates and devices in a loop, 20,000 in all from 64
    addresses; a session that works is not ended, its round trips go on, and every attempt is accounted for."""
    port = server.ports["guarded"]
    working, looping = root.issue("working"), root.issue("storming")
    time.sleep(1.1)
    steady = admitted(port, working, client_id="steady", source="127.0.2.1")
    steady.subscribe("storm/echo")
    admitted(port, looping, source="127.0.2.2").close()
    context = client_context(looping)
    accepted = server.metric("connections_accepted_total", listener="guarded")
    ended, made, lock = threading.Event(), [0], threading.Lock()

    def storm(number):
        source = 0
        while True:
            with lock:
                if made[0] >= ATTEMPTS or ended.is_set():
                    return
                made[0] += 1
                turn = made[0]
            source = f"127.0.{3 + number}.{1 + turn % 8}"
            try:
                if turn % 20 == 0:  # a device's whole handshake
                    with Device(port, context=context, source=source, timeout=20) as device:
                        device.connect(f"storm-{number}")
                    continue
                sock = plain(port, source, timeout=20)
                if turn % 3 == 0:
                    sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64))
                elif turn % 3 == 1:
                    sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
                reset(sock)
            except (Ended, OSError, AssertionError):
                pass

    threads = [threading.Thread(target=storm, args=(number,)) for number in range(8)]
    began = time.monotonic()
    for each in threads:
        each.start()
    trips = 0
    try:
        while any(each.is_alive() for each in threads):
            steady.publish("storm/echo", b"%d" % trips)
            assert steady.message(20) == ("storm/echo", b"%d" % trips)
            trips += 1
            time.sleep(0.02)
    finally:
        ended.set()
        for each in threads:
            each.join()
    print(f"{made[0]} attempts in {time.monotonic() - began:.1f} s beside {trips} round trips")
    assert made[0] == ATTEMPTS and trips > 20
    steady.ping()
    steady.close()
    until("all are gone", lambda: server.metric("sessions_open", listener="guarded") == 0, 20)
    refused = server.rejections("guarded")
    came = server.metric("connections_accepted_total", listener="guarded") - accepted
    silent = server.metric("connections_silent_total", listener="guarded")
    assert refused["rate_limited"] > ATTEMPTS / 2, refused  # before TLS, by their addresses' rate
    assert came >= ATTEMPTS * 0.9
    served = server.metric("sessions_ended_total", listener="guarded")
    assert sum(refused.values()) + silent + served >= came
    assert server.json("status")["rejections"]["rate_limited"] >= refused["rate_limited"]
    admitted(port, working, source="127.0.2.9").close()
