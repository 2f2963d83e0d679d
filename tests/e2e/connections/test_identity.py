"""What the broker is told of a device: its user name, client id and user properties are the certificate's, whatever the
device says; with Mosquitto's `pattern readwrite devices/%u/#` each device has its own topics and nobody else's."""

import os
import re

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from harness import connects, packet
from harness.authority import Authority
from harness.broker import Mosquitto
from harness.device import Device, client_context, plain
from harness.recorder import Recorder
from harness.server import listener
from harness.wait import stays, until

VERSIONS = [3, 4, 5]
BAD_IDENTITY = {3: 5, 4: 5, 5: 0x87}
MISMATCH = {3: 2, 4: 2, 5: 0x85}


@pytest.fixture(scope="module")
def broker(work):
    """Every device its own topics by its user name alone; `operator` all of them."""
    folder = work / "identity-broker"
    folder.mkdir()
    (folder / "acl").write_text("user operator\ntopic readwrite #\n\npattern readwrite devices/%u/#\n")
    running = Mosquitto(folder, f"acl_file {folder}/acl", "log_type all").start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def recorder():
    running = Recorder()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def server(broker, recorder, serve, site, root):
    def led_to(name, upstream=None, **settings):
        return {**listener(site, name=name, **settings), "upstream": upstream or name}

    running = serve(
        [led_to("named"), led_to("both"), led_to("asked", "named", client_id="{cn}"), led_to("uri"), led_to("told"),
         led_to("of_id"), led_to("recorded")],
        upstreams=[
            {"name": "named", "servers": [broker.address], "username": "{cn}"},
            {"name": "both", "servers": [broker.address], "username": "{cn}", "client_id": "{cn}"},
            {"name": "uri", "servers": [recorder.address], "username": "{san_uri}"},
            {"name": "told", "servers": [recorder.address], "user_properties": True},
            {"name": "of_id", "servers": [recorder.address], "username": "{ca_cn}:{client_id}"},
            {"name": "recorded", "servers": [recorder.address], "username": "{cn}", "client_id": "{serial}",
             "user_properties": True}])
    root.register(running)
    return running


class Operator:
    """Sees everything, past Sallyport."""

    def __init__(self, port):
        self.sock, self.buffer = plain(port), bytearray()
        self.sock.sendall(connects.connect(client_id=b"operator", flags=0x82, user=b"operator"))
        assert self.packet()[0] == packet.CONNACK
        self.sock.sendall(packet.subscribe("#"))
        assert self.packet()[0] == packet.SUBACK

    def packet(self):
        while not (found := packet.take(self.buffer)):
            data = self.sock.recv(65536)
            assert data, "the broker ended the operator's connection"
            self.buffer += data
        return found

    def publish(self, topic, payload):
        self.sock.sendall(packet.publish(topic, payload))

    def message(self):
        kind, flags, body = self.packet()
        assert kind == packet.PUBLISH
        return packet.published(flags, body)[:2]


def connect(device, version, client_id, user=None, password=None, **fields):
    """A CONNECT that says what it likes; the code of the CONNACK."""
    device.version = version
    flags = 0x02 | (0x80 if user is not None else 0) | (0x40 if password is not None else 0)
    name = b"MQIsdp" if version == 3 else b"MQTT"
    device.send(connects.connect(level=version, name=name, flags=flags, client_id=client_id.encode(), user=user,
                                 password=password, **fields))
    return device.expect(packet.CONNACK)[1][1]


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_device_has_its_own_topics_and_no_others(server, broker, root, version, tls):
    """It says it is another one, by client id, user name and password; what it may read and write stays its own."""
    honest, liar = (root.issue(f"{name} {version} {tls}") for name in ("honest", "liar"))
    operator = Operator(broker.port)
    with Device(server.ports["named"], honest, tls) as victim, Device(server.ports["named"], liar, tls) as device:
        assert connect(victim, version, f"victim {version} {tls}") == 0
        assert connect(device, version, f"x {version} {tls}", honest.cn.encode(), b"secret") == 0
        for each, own in ((victim, honest), (device, liar)):
            each.subscribe("devices/#", 1)
            each.publish(f"devices/{own.cn}/up", b"mine")
            assert each.message() == (f"devices/{own.cn}/up", b"mine")
            assert operator.message() == (f"devices/{own.cn}/up", b"mine")
        # A publish that is denied is dropped, so what comes first afterwards is the next one.
        device.send(packet.publish(f"devices/{honest.cn}/up", b"forged", 1, 7, version=version))
        device.expect(packet.PUBACK)
        device.send(packet.publish("elsewhere", b"forged", 0, version=version))
        operator.publish(f"devices/{honest.cn}/down", b"to the victim")
        operator.publish(f"devices/{liar.cn}/down", b"to the liar")
        assert [operator.message()[1] for _ in range(2)] == [b"to the victim", b"to the liar"]
        assert victim.message() == (f"devices/{honest.cn}/down", b"to the victim")
        assert device.message() == (f"devices/{liar.cn}/down", b"to the liar")


@pytest.mark.parametrize("version", VERSIONS)
def test_nobody_takes_the_session_of_another(server, root, version):
    """With client_id = "{cn}" on the upstream a device that names another one's client id gets its own."""
    first, second = root.issue(f"first {version}"), root.issue(f"second {version}")
    with Device(server.ports["both"], first) as victim, Device(server.ports["both"], second) as other:
        assert connect(victim, version, "anything") == 0
        assert connect(other, version, first.cn) == 0
        victim.ping()
        other.ping()
        shown = {each["cn"]: each["client_id"] for each in server.json("session", "list")}
        assert shown[first.cn] == first.cn and shown[second.cn] == second.cn
        # Its own second connection takes over: that is what a client id is for.
        with Device(server.ports["both"], first) as again:
            assert connect(again, version, "something else") == 0
            victim.end()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_client_id_that_a_listener_asks_for(server, broker, root, version):
    """Equal: let in. Another one: CONNACK 0x02, or 0x85 in MQTT 5, and a refusal by name. Empty: filled in where 3.1.1
    and 5 allow it to be empty; 3.1 does not."""
    identity = root.issue(f"asked {version}")
    port = server.ports["asked"]
    with Device(port, identity) as device:
        assert connect(device, version, identity.cn) == 0
        device.ping()
    for other in (identity.cn + "x", identity.cn[:-1], identity.cn.upper(), "x"):
        with server.refuses("client_id_mismatch", listener_name="asked", client_id=other):
            with Device(port, identity) as device:
                assert connect(device, version, other) == MISMATCH[version]
                device.end()
    with Device(port, identity) as device:
        if version == 3:
            assert connect(device, version, "") == 2
        else:
            assert connect(device, version, "") == 0
            device.ping()
            assert [each["client_id"] for each in server.json("session", "list", "--device", identity.id)] == [identity.cn]
            with plain(broker.port) as another:  # the broker knows it by this id: whoever has it takes over
                another.sendall(packet.connect(identity.cn))
                device.end()


def test_an_empty_client_id_with_a_session_to_keep(server, root):
    """[MQTT-3.1.3-8]: 3.1.1 answers 0x02; nothing is filled in."""
    with Device(server.ports["asked"], root.issue("keeper")) as device:
        device.send(connects.connect(flags=0, client_id=b""))
        assert device.expect(packet.CONNACK)[1] == b"\0\2"
        device.end()


def common_names(*names):
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sallyport tests"),
                      *(x509.NameAttribute(NameOID.COMMON_NAME, each) for each in names)])


BAD = {
    "no CN": ((), "{cn} is not in the certificate"),
    "two": (("a", "b"), "{cn} is there several times"),
    "plus": (("a+b",), "{cn} holds '+' or '#'"),
    "hash": (("#",), "{cn} holds '+' or '#'"),
    "slash": (("a/b",), "{cn} holds '/'"),
    "newline": (("a\nb",), "{cn} holds a control character"),
    "NUL": (("a\0b",), "{cn} holds a control character"),
    "C1": (("a\x85b",), "{cn} holds a control character"),
}


@pytest.mark.parametrize("which", BAD)
def test_a_certificate_that_no_template_can_use(server, root, which):
    """It is refused at its CONNECT, by name and with the field that is wrong; where no template needs the field it is
    served; `explain` says the same beforehand."""
    names, why = BAD[which]
    identity = root.issue(subject=common_names(*names), cn=which)
    for version in VERSIONS:
        with server.refuses("bad_identity", listener_name="named", what=why):
            with Device(server.ports["named"], identity) as device:
                assert connect(device, version, "any") == BAD_IDENTITY[version]
                device.end()
    with Device(server.ports["told"], identity) as device:
        assert connect(device, 5, "any") == 0
    explained = server.cli("explain", identity.chain_file, "--listener", "named", status=1).stdout
    assert "bad_identity" in explained and why in explained
    assert "sallyport-device" in server.cli("explain", identity.chain_file, "--listener", "told").stdout


def test_explain_shows_what_the_broker_is_told(server, root):
    identity = root.issue("explained")
    shown = server.cli("explain", identity.chain_file, "--listener", "asked").stdout
    assert "the client id it must have, {cn}" in shown and "the user name the broker is told, {cn}" in shown
    assert "Fleet root:CLIENT-ID" in server.cli("explain", identity.chain_file, "--listener", "of_id").stdout


def fields_of(connect_packet):
    """The fields of a CONNECT, by the standard's order."""
    buffer = bytearray(connect_packet)
    _, _, body = packet.take(buffer)
    at = 0

    def take(size):
        nonlocal at
        at += size
        return body[at - size:at]

    def data():
        return take(int.from_bytes(take(2), "big"))
    data()
    level, flags = take(1)[0], take(1)[0]
    take(2)
    properties = take(take(1)[0]) if level & 0x7F == 5 and body[at] < 128 else b""
    if level & 0x7F == 5 and not properties and body[at] >= 128:
        first, second = take(2)
        properties = take(first & 0x7F | second << 7)
    found = {"level": level, "flags": flags, "properties": properties, "client_id": data()}
    if flags & 4:
        if level & 0x7F == 5:
            take(take(1)[0])
        found["will"] = data(), data()
    if flags & 0x80:
        found["user"] = data()
    if flags & 0x40:
        found["password"] = data()
    assert at == len(body)
    return found, bytes(buffer)


def user_properties(raw):
    """The user properties of a CONNECT that has no others."""
    found, at = [], 0
    while at < len(raw):
        assert raw[at] == 0x26
        pair = []
        at += 1
        for _ in range(2):
            size = int.from_bytes(raw[at:at + 2], "big")
            pair.append(raw[at + 2:at + 2 + size].decode())
            at += 2 + size
        found.append(tuple(pair))
    return found


def property_of(name, value):
    return b"\x26" + packet.text(name) + packet.text(value)


def test_user_properties_are_ours(server, recorder, root):
    """What a client sends under our names does not arrive; what it sends under others does, and 3.1.1 has none."""
    identity = root.issue("told")
    with Device(server.ports["told"], identity) as device:
        assert connect(device, 5, "id", b"user", b"word", properties=property_of("sallyport-cn", "operator")
                       + property_of("site", "plant 7") + property_of("sallyport-device", "00") * 2) == 0
    found, _ = fields_of(recorder.last())
    assert user_properties(found["properties"]) == [
        ("site", "plant 7"), ("sallyport-device", identity.id), ("sallyport-ca", root.id), ("sallyport-cn", "told")]
    assert (found["client_id"], found["user"], found["password"]) == (b"id", b"user", b"word")
    with Device(server.ports["told"], identity) as device:
        assert connect(device, 4, "id", b"user", b"word") == 0
    assert recorder.last() == connects.connect(flags=0xC2, client_id=b"id", user=b"user", password=b"word")


def test_a_cn_that_no_template_could_use_is_not_told(server, recorder, root):
    """user_properties keeps nobody out: sallyport-cn is left out, and a client's own is removed all the same."""
    identity = root.issue(subject=common_names("a", "b"), cn="two names")
    with Device(server.ports["told"], identity) as device:
        assert connect(device, 5, "id", properties=property_of("sallyport-cn", "operator")) == 0
    found, _ = fields_of(recorder.last())
    assert user_properties(found["properties"]) == [("sallyport-device", identity.id), ("sallyport-ca", root.id)]


def test_a_uri_may_have_slashes(server, recorder, root):
    uri = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://fleet/meter-7")])
    with Device(server.ports["uri"], root.issue("uri", extra=[uri])) as device:
        assert connect(device, 4, "id") == 0
    assert fields_of(recorder.last())[0]["user"] == b"spiffe://fleet/meter-7"
    with server.refuses("bad_identity", listener_name="uri", what="{san_uri} is not in the certificate"):
        with Device(server.ports["uri"], root.issue("no uri")) as device:
            assert connect(device, 4, "id") == 5
            device.end()


def test_a_client_id_in_a_template_must_be_safe(server, recorder, root):
    identity = root.issue("by client id")
    with Device(server.ports["of_id"], identity) as device:
        assert connect(device, 4, "meter-7") == 0
    assert fields_of(recorder.last())[0]["user"] == b"Fleet root:meter-7"
    for bad in ("", "a/b", "#", "x" * 257):
        with server.refuses("bad_identity", listener_name="of_id"):
            with Device(server.ports["of_id"], identity) as device:
                assert connect(device, 4, bad) == 5
                device.end()


@pytest.mark.parametrize("together", [True, False], ids=["in one piece", "afterwards"])
@pytest.mark.parametrize("version", VERSIONS)
def test_after_the_connect_every_byte_passes(server, recorder, root, version, together):
    """Whatever follows the CONNECT, valid MQTT or not, arrives as it was sent, and so does what the broker sends."""
    identity = root.issue(f"bytes {version} {together}")
    noise = os.urandom(200_000)
    with Device(server.ports["recorded"], identity) as device:
        name = b"MQIsdp" if version == 3 else b"MQTT"
        said = connects.connect(level=version, name=name, flags=0xF6, client_id=b"liar", will=connects.WILL, user=b"liar",
                                password=b"secret", properties=b"" if version < 5 else connects.USER_PROPERTY)
        device.send(said + (noise if together else b""))
        device.expect(packet.CONNACK)
        if not together:
            device.send(noise)
        came = recorder.last(len(noise) + 60)
        until("all of it", lambda: len(recorder.connections[-1]) >= len(noise) + len(came) - len(fields_of(came)[1]))
        found, rest = fields_of(recorder.last())
        assert rest == noise
        assert (found["client_id"], found["user"], found["will"]) == (identity.serial.encode(), identity.cn.encode(),
                                                                       connects.WILL)
        assert "password" not in found and found["flags"] == 0xB6
        answer = os.urandom(100_000)
        recorder.sockets[-1].sendall(answer)
        got = bytes(device.buffer)
        while len(got) < len(answer):
            got += device.receive()
        assert got == answer


@pytest.fixture(scope="module", params=["own engine", "openssl"])
def engine(request, serve, site, root, recorder):
    """The same upstream with our handshake, and with every handshake OpenSSL's own."""
    environment = {}
    if request.param == "openssl":
        shim = os.environ.get("SALLYPORT_UNKNOWN_OPENSSL", "")
        assert os.path.exists(shim), "SALLYPORT_UNKNOWN_OPENSSL names no file: run this through ctest"
        environment["LD_PRELOAD"] = shim
    running = serve([listener(site, client_id="{cn}")],
                    upstreams=[{"name": "broker", "servers": [recorder.address], "user_properties": True,
                                "username": "{cn} {serial} {fingerprint} {ca_cn} {ca_id} {san_dns} {san_uri}"}],
                    environment=environment)
    root.register(running)
    return running


class Again:
    """An SSLContext that offers a session."""

    def __init__(self, context, session):
        self.context, self.session = context, session

    def wrap_socket(self, sock, **options):
        return self.context.wrap_socket(sock, session=self.session, **options)


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_a_resumed_session_is_told_the_same(engine, recorder, root, tls):
    """First, known and resumed: every field comes out the same, though a ticket holds no certificate."""
    names = x509.SubjectAlternativeName([x509.DNSName("meter.example"), x509.UniformResourceIdentifier("urn:meter/7")])
    identity = root.issue("Zähler " + tls, extra=[names])
    context = client_context(identity, tls)
    told = []
    for way in ("first", "known", "resumed"):
        offered = context if way != "resumed" else Again(context, session)
        with Device(engine.port, context=offered) as device:
            assert connect(device, 5, identity.cn) == 0
            assert device.tls.session_reused == (way == "resumed")
            told.append(recorder.last())
            engine.registered(identity)
            session = device.tls.session
            device.close_notify()
    assert told[0] == told[1] == told[2]
    found, _ = fields_of(told[0])
    assert found["user"].decode() == f"{identity.cn} {identity.serial} {identity.id} Fleet root {root.id} meter.example " \
                                     "urn:meter/7"
    assert ("sallyport-cn", identity.cn) in user_properties(found["properties"])
    # A ticket is no way round the rule about the client id.
    with engine.refuses("client_id_mismatch"):
        with Device(engine.port, context=Again(context, session)) as device:
            assert connect(device, 4, "another") == 2
            device.end()


def test_one_way_is_refused_where_a_template_needs_a_certificate(server, serve_once, site, recorder):
    """At run time, in the file, and for a choice that was made before the file had a template."""
    for name in ("named", "asked", "told"):
        refused = server.cli("listener", "auth", name, "one-way", "--yes", status=1)
        assert "one-way" in refused.stderr and "mutual" in refused.stderr
    plain_server = serve_once([listener(site)], recorder)
    plain_server.cli("listener", "auth", "mqtts", "one-way", "--yes")
    plain_server.stop()
    with open(plain_server.config) as file:
        text = file.read()
    with open(plain_server.config, "w") as file:
        file.write(re.sub(r"(servers = .*)", r'\1\nusername = "{cn}"', text))
    checked = plain_server.cli("check", "--config", plain_server.config, status=2)
    assert "sallyport listener reset" in checked.stderr or "`listener reset mqtts" in checked.stderr
    assert "auth one-way asks for no certificate" in plain_server.cli("serve", "--config", plain_server.config,
                                                                      status=1).stderr
    plain_server.cli("listener", "reset", "mqtts", "--state-dir", str(plain_server.folder / "state"), "--yes")
    plain_server.start()


def test_check_warns_of_cas_that_may_issue_the_same_name(serve_once, site, recorder, root, work):
    """Two CAs, and a template that does not tell them apart; `cas` or {ca_id} ends the warning."""
    def warnings(username, **settings):
        server = serve_once([listener(site, **settings)],
                            upstreams=[{"name": "broker", "servers": [recorder.address], "username": username}])
        root.register(server)
        Authority(work / "twin" / server.folder.name, "Twin").register(server)
        said = server.cli("check", "--config", server.config).stderr
        return [line for line in said.splitlines() if "devices of 2 CAs" in line]
    assert len(warnings("{cn}")) == 1
    assert warnings("{ca_id}.{cn}") == []
    assert warnings("{cn}", cas=[root.id]) == []


def test_check_warns_of_a_name_that_a_device_chooses(serve_once, site, recorder):
    """"pump" with "2-main" is "pump-2" with "main": what a device says of itself may complete it to another."""
    for number, (listens, upstream, warns) in enumerate([
            ({}, {"username": "{client_id}"}, "upstream[0].username"),
            ({}, {"client_id": "{cn}-{client_id}"}, "upstream[0].client_id"),
            ({}, {"client_id": "{cn}/{client_id}"}, None),
            ({"client_id": "{cn}"}, {"username": "{client_id}"}, None)]):
        server = serve_once([listener(site, **listens)], upstreams=[
            {"name": "broker", "servers": [recorder.address], **upstream}])
        said = server.cli("check", "--config", server.config).stderr
        assert ("says of itself" in said) == (warns is not None), (number, said)
