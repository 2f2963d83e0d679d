"""What a listener can be: one-way, several server certificates chosen by name and key type, plain bytes."""

import socket
import subprocess
import threading

import pytest

from harness.authority import der
from harness.device import Device, Ended, admitted, client_context, refusal
from harness.server import listener


@pytest.fixture(scope="module")
def echo():
    """An upstream that sends back what it gets and half-closes when its peer did."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(sock):
        with sock:
            while data := sock.recv(65536):
                sock.sendall(data)

    def accept():
        while True:
            try:
                sock = listening.accept()[0]
            except OSError:
                return
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"127.0.0.1:{listening.getsockname()[1]}"
    listening.close()


@pytest.fixture(scope="module")
def certificates(shop):
    """The first is the default; the wildcard comes in both key types."""
    return {"default": shop.server("localhost"), "default rsa": shop.server("localhost", kind="rsa"),
            "wild": shop.server("*.mqtt.example.com"), "wild rsa": shop.server("*.mqtt.example.com", kind="rsa"),
            "exact": shop.server("mqtt-test.mqtt.example.com", "second.example.com")}


@pytest.fixture(scope="module")
def server(broker, serve, site, root, certificates, echo):
    running = serve([listener(list(certificates.values())),
                     listener(site, name="open", auth="one-way"),
                     listener(site, name="modern", tls_min="1.3"),
                     listener(site, name="bytes", protocol="tcp", upstream="echo"),
                     listener(site, name="chosen", cas=["00" * 32])],
                    upstreams=[{"name": "broker", "servers": [broker.address]},
                               {"name": "echo", "servers": [echo]}])
    root.register(running)
    return running


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_one_way_asks_for_no_certificate(server, shop, root, tls):
    """The client verifies the server, and that is all: no registration, whatever certificate the client has."""
    port = server.ports["open"]
    with Device(port, tls=tls, ca_file=shop.identity.chain_file) as client:
        assert client.connect("anonymous " + tls) == 0
        client.subscribe("one-way")
        client.publish("one-way", b"hello")
        assert client.message() == ("one-way", b"hello")
    bearer = root.issue("unasked")
    with Device(port, bearer, tls) as client:
        assert client.connect("bearer " + tls) == 0
    assert bearer.id not in server.devices()


SNI = {"localhost": "default", "a.mqtt.example.com": "wild", "A.MQTT.Example.Com": "wild",
       "mqtt-test.mqtt.example.com": "exact", "second.example.com": "exact", "a.b.mqtt.example.com": "default",
       "mqtt.example.com": "default", "nobody.example.org": "default"}


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize("name", SNI)
def test_sni_chooses_the_certificate(server, root, certificates, name, tls):
    """An exact name before a wildcard, a wildcard for exactly one label, the default for everybody else."""
    with Device(server.port, context=client_context(root.issue("asker"), tls), server_name=name) as client:
        assert client.tls.getpeercert(True) == der(certificates[SNI[name]].certificate)


def test_without_sni_the_default_answers(server, root, certificates):
    with Device(server.port, root.issue("nameless"), server_name=None) as client:
        assert client.tls.getpeercert(True) == der(certificates["default"].certificate)


@pytest.mark.parametrize("tls", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("signature, name, wanted", [
    ("rsa_pss_rsae_sha256", "localhost", "default rsa"), ("ecdsa_secp256r1_sha256", "localhost", "default"),
    ("rsa_pss_rsae_sha256", "x.mqtt.example.com", "wild rsa"),
    ("ecdsa_secp256r1_sha256", "x.mqtt.example.com", "wild")])
def test_the_key_type_follows_what_the_client_can_verify(server, certificates, tls, signature, name, wanted):
    """ECDSA for those who can, RSA for the others, under each name."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-servername", name, tls,
                           "-sigalgs", signature], input="", capture_output=True, text=True, timeout=120)
    pem = "-----BEGIN CERTIFICATE-----" + done.stdout.split("-----BEGIN CERTIFICATE-----", 1)[1]
    pem = pem.split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
    with open(certificates[wanted].chain_file) as file:
        assert file.read().startswith(pem), done.stdout


def test_the_chain_is_sent_as_configured(server):
    """Our chain is what the file holds: the leaf and the CA, not less."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-showcerts",
                           "-servername", "localhost"], input="", capture_output=True, text=True, timeout=120)
    assert 1 <= done.stdout.count("-----BEGIN CERTIFICATE-----") <= 2


def test_tls_min_keeps_old_clients_out(server, root):
    """`tls_min = "1.3"` refuses a TLS 1.2 client with the protocol_version alert."""
    port = server.ports["modern"]
    with server.refuses("tls_error", listener_name="modern"):
        assert refusal(port, root.issue("old-fashioned"), "1.2") == "protocol_version"
    admitted(port, root.issue("modern")).close()


def test_a_listener_may_admit_only_some_cas(server, root):
    """`cas` narrows the trust of one listener: a CA that is not listed is unknown there."""
    device = root.issue("elsewhere")
    admitted(server.port, device).close()
    with server.refuses("ca_unknown", listener_name="chosen", serial=device.serial):
        assert refusal(server.ports["chosen"], device) == "unknown_ca"


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_plain_bytes_pass_through_a_tcp_listener(server, root, tls):
    """`protocol = "tcp"`: no MQTT is looked for; the first byte registers the device."""
    device = root.issue("bytes " + tls)
    with Device(server.ports["bytes"], device, tls) as client:
        # In turns: Python 3.11 has no lock around one TLS object that two threads use.
        blob = bytes(range(256)) * 64
        for _ in range(64):
            client.send(blob)
            came = bytearray()
            while len(came) < len(blob):
                came += client.receive()
            assert came == blob
        server.registered(device)
        client.close_notify()


def test_a_tcp_client_that_says_nothing_is_not_registered(server, root):
    """TLS alone does not register."""
    device = root.issue("mute")
    with Device(server.ports["bytes"], device) as client:
        try:
            client.receive(0.3)
        except Ended as ended:
            assert ended.how == "silent"
    assert device.id not in server.devices()


def test_listener_list_says_where_each_listens(server):
    """Port 0 was configured: the list and the log say which port it became."""
    listed = {each["name"]: each for each in server.json("listener", "list")}
    assert listed["open"]["auth"] == "one-way" and listed["mqtts"]["auth"] == "mutual"
    assert listed["bytes"]["protocol"] == "tcp" and listed["bytes"]["upstream"] == "echo"
    for line in server.lines("listening"):
        assert listed[line.fields["listener"]]["address"] == line.fields["address"]
        assert int(line.fields["address"].rsplit(":", 1)[1]) > 0
