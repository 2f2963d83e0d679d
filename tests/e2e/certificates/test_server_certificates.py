"""Server certificates: hosted with an encrypted key, switched at run time, re-read when their files change."""

import base64
import json
import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harness.authority import Authority, days, der, now, pem
from harness.device import Device, Ended, admitted, plain, refusal
from harness.server import BINARY, listener
from harness.unix_http import ask
from harness.wait import stays, until
from harness.witness import Witness

PEM = serialization.Encoding.PEM
PLAIN = serialization.NoEncryption()
PKCS8, TRADITIONAL = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL


def sealing_file(folder, mode=0o600):
    """What registry.key_file names."""
    path = Path(folder) / "sealing.key"
    path.write_text(os.urandom(32).hex() + "\n")
    path.chmod(mode)
    return str(path)


@pytest.fixture(scope="module")
def middle(work, shop):
    """An intermediate of the shop, so that a chain has an order."""
    return Authority(work / "middle", "Middle of the shop", parent=shop)


@pytest.fixture(scope="module")
def server(broker, serve, work, site, root):
    """Two listeners, and a key_file."""
    (work / "seal").mkdir()
    running = serve([listener(site), listener(site, name="second")], broker,
                    registry={"key_file": sealing_file(work / "seal")})
    root.register(running)
    return running


@pytest.fixture(autouse=True)
def as_the_file_says(request):
    """Every test leaves the module's server without overrides."""
    yield
    if "server" in request.fixturenames:
        running = request.getfixturevalue("server")
        for each in listeners(running).values():
            if each["overrides"]:
                running.cli("listener", "reset", each["name"], "--yes")


def listeners(server):
    return {each["name"]: each for each in server.json("listener", "list")}


def presented(port, identity=None, tls="1.3"):
    """The DER of the certificate that a new handshake shows."""
    with Device(port, identity, tls) as device:
        return device.tls.getpeercert(binary_form=True)


def hosted(server, identity):
    return server.cli("server-cert", "add", identity.chain_file, identity.key_file, "--yes").stdout.strip()


def post(server, chain, key):
    """Posts a certificate; (status, answer)."""
    status, _, answer = ask(server.socket, "POST", "/v1/server-certificates", {"chain": chain, "key": key})
    return status, answer


def chain_of(identity):
    return Path(identity.chain_file).read_text()


def key_of(identity, form=PKCS8, encryption=PLAIN):
    return identity.key.private_bytes(PEM, form, encryption).decode()


def leaf(authority, name="localhost", **options):
    return authority.issue(name, dns=options.pop("dns", [name]), eku=[ExtendedKeyUsageOID.SERVER_AUTH], **options)


# --- hosting

@pytest.mark.parametrize("kind", ["rsa", "p256", "p384"])
@pytest.mark.parametrize("form", ["pkcs8", "traditional"])
def test_every_form_of_key_is_hosted_and_served(server, shop, root, tmp_path, kind, form):
    """PKCS#8, PKCS#1 (RSA) and SEC1 (EC) keys are taken, and a client that verifies the chain is served with them."""
    identity = shop.server("localhost", kind=kind)
    file = tmp_path / "server.key"
    file.write_text(key_of(identity, TRADITIONAL if form == "traditional" else PKCS8))
    kind_line = "RSA " if kind == "rsa" else "EC "
    assert file.read_text().startswith(f"-----BEGIN {kind_line if form == 'traditional' else ''}PRIVATE KEY-----")
    added = server.cli("server-cert", "add", identity.chain_file, str(file), "--yes").stdout
    assert added == identity.id + "\n"
    server.cli("listener", "use-cert", "mqtts", identity.id, "--yes")
    with Device(server.port, root.issue("client"), ca_file=shop.identity.chain_file) as device:
        assert device.tls.getpeercert(binary_form=True) == der(identity.certificate)


def test_a_sec1_key_as_openssl_ecparam_writes_it(server, shop, tmp_path):
    """`openssl ecparam -genkey` puts an EC PARAMETERS block before the key; it is passed over."""
    file = tmp_path / "ec.key"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-out", str(file)], check=True)
    assert "EC PARAMETERS" in file.read_text()
    key = serialization.load_pem_private_key(file.read_bytes()[file.read_bytes().index(b"-----BEGIN EC PRIV"):], None)
    identity = leaf(shop, key=key)
    assert server.cli("server-cert", "add", identity.chain_file, str(file), "--yes").stdout.strip() == identity.id


def test_list_show_and_delete(server, shop, middle):
    """A hosted certificate is listed with its names and dates, shown by prefix, and gone after its deletion."""
    identity = leaf(middle, "a.example.com", dns=["a.example.com", "*.b.example.com"], sent=[middle.certificate])
    assert hosted(server, identity) == identity.id
    shown = server.json("server-cert", "show", identity.id[:8])
    assert shown["id"] == identity.id and shown["serial"] == identity.serial and shown["cn"] == "a.example.com"
    assert shown["names"] == ["a.example.com", "*.b.example.com"]
    assert shown["chain_length"] == 2 and shown["used_by"] == []
    assert shown["not_after"] == identity.certificate.not_valid_after.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert shown in server.json("server-cert", "list")
    assert identity.id[:12] in server.cli("server-cert", "list").stdout
    status, answer = post(server, chain_of(identity), key_of(identity))
    assert status == 409 and "already" in answer["detail"]
    assert server.cli("server-cert", "delete", identity.id[:12], "--yes", status=1).stderr.count("full id") == 1
    server.cli("server-cert", "delete", identity.id, "--yes")
    assert identity.id not in [each["id"] for each in server.json("server-cert", "list")]
    server.cli("server-cert", "show", identity.id, status=1)
    server.cli("server-cert", "delete", identity.id, "--yes", status=1)


def refused_uploads(shop, middle):
    """{what: (chain, key, words of the reason)}"""
    good = leaf(middle, sent=[middle.certificate, shop.certificate])
    root_pem, middle_pem, leaf_pem = pem(shop.certificate), pem(middle.certificate), pem(good.certificate)
    expired = leaf(shop, not_before=now() - days(20), not_after=now() - days(1))
    future = leaf(shop, not_before=now() + days(1), not_after=now() + days(20))
    nameless = leaf(shop, dns=[], subject=x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Nobody")]))
    weak = leaf(shop, key=rsa.generate_private_key(public_exponent=65537, key_size=1024))
    secret = serialization.BestAvailableEncryption(b"secret")
    key = key_of(good)
    device = shop.issue("meter-1", eku=[ExtendedKeyUsageOID.CLIENT_AUTH])
    return {
        "a device's": (chain_of(device), key_of(device), "serverAuth"),
        "a CA's": (root_pem, key_of(shop), "is a CA's"),
        "the CA first": (root_pem + middle_pem + leaf_pem, key, "certificate first"),
        "root before intermediate": (leaf_pem + root_pem + middle_pem, key, "did not sign"),
        "a stranger behind": (leaf_pem + pem(Authority(shop.folder, "Stranger").certificate), key, "did not sign"),
        "key of another": (leaf_pem + middle_pem, key_of(leaf(shop)), "does not belong"),
        "key of another type": (leaf_pem + middle_pem, key_of(leaf(shop, kind="rsa")), "does not belong"),
        "expired": (chain_of(expired), key_of(expired), "expired"),
        "not yet valid": (chain_of(future), key_of(future), "not valid yet"),
        "encrypted PKCS#8": (leaf_pem, key_of(good, PKCS8, secret), "encrypted"),
        "encrypted SEC1": (leaf_pem, key_of(good, TRADITIONAL, secret), "encrypted"),
        "no names": (chain_of(nameless), key_of(nameless), "subjectAltName"),
        "weak RSA": (chain_of(weak), key_of(weak), "2048"),
        "no key": (leaf_pem, "hello\n", "no private key"),
        "a certificate as key": (leaf_pem, leaf_pem, "no private key"),
        "no certificate": ("hello\n", key, ""),
        "nothing": ("", "", ""),
        "the key with the chain": (leaf_pem + key, key, "private key"),
    }


def test_what_cannot_serve_is_refused_with_its_reason(server, shop, middle, tmp_path):
    """HTTP 400 and a reason that names the fault; the command says it on stderr and exits 1; nothing is stored."""
    before = server.json("server-cert", "list")
    for what, (chain, key, words) in refused_uploads(shop, middle).items():
        status, answer = post(server, chain, key)
        assert status == 400 and words in answer["detail"], (what, status, answer)
        assert answer["type"].startswith("urn:sallyport:") and answer["status"] == 400
        chain_file, key_file = tmp_path / "c.pem", tmp_path / "k.pem"
        chain_file.write_text(chain)
        key_file.write_text(key)
        done = server.cli("server-cert", "add", str(chain_file), str(key_file), "--yes", status=1)
        assert done.stderr.strip() and not done.stdout, what
        assert words in done.stderr, (what, done.stderr)
    assert server.json("server-cert", "list") == before
    assert "PRIVATE KEY" not in server.log()


def test_without_a_key_file_hosting_is_refused_with_the_remedy(serve_once, broker, site, shop, tmp_path):
    """409, saying what to put where; after that and a SIGHUP it works, without a restart."""
    server = serve_once([listener(site)], broker)
    identity = shop.server("localhost")
    status, answer = post(server, chain_of(identity), key_of(identity))
    assert status == 409 and "registry.key_file" in answer["detail"] and "openssl rand -hex 32" in answer["detail"]
    assert "registry.key_file" in server.cli("server-cert", "add", identity.chain_file, identity.key_file, "--yes",
                                             status=1).stderr
    with open(server.config, "a") as file:
        file.write(f"\n[registry]\nkey_file = {json.dumps(sealing_file(tmp_path))}\n")
    server.signal(signal.SIGHUP)
    until("the reload is done", lambda: server.lines("reload", what="done"))
    assert hosted(server, identity) == identity.id


def test_a_key_file_that_others_can_read_is_refused(serve_once, broker, site, shop, tmp_path):
    """At run time 400 with the remedy; `check` and `serve` do not accept it (exit 2); so with a key of bad length."""
    path = Path(sealing_file(tmp_path))
    server = serve_once([listener(site)], broker, registry={"key_file": str(path)})
    identity = shop.server("localhost")
    for mode in (0o640, 0o604, 0o666):
        path.chmod(mode)
        status, answer = post(server, chain_of(identity), key_of(identity))
        assert status == 400 and "chmod 0600" in answer["detail"], (oct(mode), status, answer)
    for command in ("check", "serve"):
        done = subprocess.run([BINARY, command, "--config", server.config], capture_output=True, text=True, timeout=120)
        assert done.returncode == 2 and "chmod 0600" in done.stderr, done
    path.chmod(0o600)
    good = path.read_text()
    for bad in ("", "abc\n", good.strip() + "00\n", good.strip()[:-2] + "zz\n"):
        path.write_text(bad)
        done = subprocess.run([BINARY, "check", "--config", server.config], capture_output=True, text=True, timeout=120)
        assert done.returncode == 2 and "64 hex digits" in done.stderr, (bad, done)
    path.write_text(good)
    assert hosted(server, identity) == identity.id


def secrets_of(identity):
    """The private numbers of a key, raw, in hex, and as base64 shows them at each of its three alignments."""
    numbers = identity.key.private_numbers()
    values = ([numbers.p, numbers.q, numbers.d, numbers.dmp1, numbers.dmq1]
              if isinstance(identity.key, rsa.RSAPrivateKey) else [numbers.private_value])
    forms = []
    for value in values:
        raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
        forms += [raw, raw.hex().encode(), raw.hex().upper().encode()]
        forms += [base64.b64encode(b"\0" * shift + raw)[4:-4] for shift in range(3)]
    return forms


def everything_below(folder):
    """All bytes of all files; and once more without line ends, which PEM and JSON put anywhere."""
    data = b"\0".join(path.read_bytes() for path in Path(folder).rglob("*") if path.is_file())
    return data + b"\0" + data.replace(b"\n", b"").replace(b"\\n", b"")


def test_a_hosted_key_is_nowhere_in_clear(serve_once, broker, site, shop, root, tmp_path):
    """Neither the state folder, a backup, nor the log holds a piece of the key; nor, anywhere, the key_file's key."""
    sealing = sealing_file(tmp_path)
    server = serve_once([listener(site)], broker, registry={"key_file": sealing}, log={"level": "debug"})
    identities = [shop.server("localhost", kind=kind) for kind in ("rsa", "p256")]
    for identity in identities:
        hosted(server, identity)
        server.cli("listener", "use-cert", "mqtts", identity.id, "--yes")
    for format_ in ("table", "json"):
        listed = server.cli("server-cert", "list", "-o", format_).stdout
        listed += server.cli("server-cert", "show", identities[0].id, "-o", format_).stdout
        assert "PRIVATE" not in listed and "key_pem" not in listed
    state = server.folder / "state"

    def search(where):
        data = everything_below(where)
        for identity in identities:
            for secret in secrets_of(identity):
                assert secret not in data
        assert Path(sealing).read_text().strip().encode() not in data
        assert bytes.fromhex(Path(sealing).read_text().strip()) not in data
        return data

    # A positive control: what is not secret is found by the same search, and the key in its file is, too.
    assert base64.b64encode(der(identities[0].certificate)) in search(state)
    for identity in identities:
        (tmp_path / "control").mkdir(exist_ok=True)
        (tmp_path / "control" / "key").write_text(key_of(identity))
        assert sum(secret in everything_below(tmp_path / "control") for secret in secrets_of(identity)) >= 1
    server.cli("backup", str(tmp_path / "backup"), "--yes")
    search(tmp_path / "backup")
    server.stop()
    search(state)
    search(server.folder)  # with the log and stderr
    assert b"PRIVATE KEY" not in everything_below(server.folder)


# --- run-time choices

@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_use_cert_switches_new_handshakes_at_once(server, site, shop, root, tls):
    """When the command has returned every new handshake shows the new certificate, on this listener alone, and a
    live session has not missed a message."""
    identity = shop.server("localhost")
    hosted(server, identity)
    witness = Witness(server.port, root.issue("witness"))
    client = root.issue("client")
    assert presented(server.port, client, tls) == der(site.certificate)
    changed = server.json("listener", "use-cert", "mqtts", identity.id, "--yes")
    for _ in range(8):
        assert presented(server.port, client, tls) == der(identity.certificate)
    assert presented(server.ports["second"], client, tls) == der(site.certificate)
    assert changed["overrides"] == {"server_certificate": identity.id}
    assert changed["server_certificates"] == [identity.id]
    assert listeners(server)["mqtts"] == changed and listeners(server)["second"]["overrides"] == {}
    assert server.json("server-cert", "show", identity.id)["used_by"] == ["mqtts"]
    server.json("listener", "reset", "mqtts", "--yes")
    assert presented(server.port, client, tls) == der(site.certificate)
    assert listeners(server)["mqtts"]["overrides"] == {}
    until("a few messages more", lambda: len(witness.came) >= 3)
    witness.verdict()


def test_a_certificate_in_use_cannot_be_deleted(server, shop):
    """409 with the listener's name and the remedy while any listener uses it; allowed after the reset."""
    identity = shop.server("localhost")
    hosted(server, identity)
    for name in ("mqtts", "second"):
        server.cli("listener", "use-cert", name, identity.id, "--yes")
    assert sorted(server.json("server-cert", "show", identity.id)["used_by"]) == ["mqtts", "second"]
    for name in ("mqtts", "second"):
        status, _, answer = ask(server.socket, "DELETE", f"/v1/server-certificates/{identity.id}")
        assert status == 409 and name in answer["detail"] and "use-cert" in answer["detail"], answer
        assert "uses this" in server.cli("server-cert", "delete", identity.id, "--yes", status=1).stderr
        server.cli("listener", "reset", name, "--yes")
    server.cli("server-cert", "delete", identity.id, "--yes")


def test_use_cert_refuses_what_is_not_there(server, shop):
    """An unknown certificate, a prefix, a bad id, an unknown listener: refused, nothing changes."""
    identity = shop.server("localhost")
    hosted(server, identity)
    for name, wanted, expected in (("mqtts", "ab" * 32, 404), ("mqtts", identity.id[:12], 400), ("mqtts", "", 400),
                                   ("nobody", identity.id, 404), ("mqtts", 7, 400)):
        status, _, answer = ask(server.socket, "PUT", f"/v1/listeners/{name}/server-certificate", {"id": wanted})
        assert status == expected, (name, wanted, status, answer)
    assert "no listener" in server.cli("listener", "use-cert", "nobody", identity.id, "--yes", status=1).stderr
    assert "no listener" in server.cli("listener", "reset", "nobody", "--yes", status=1).stderr
    assert listeners(server)["mqtts"]["overrides"] == {}


def test_auth_is_switched_at_run_time(server, root):
    """To one-way: clients without a certificate are let in. Back to mutual: exactly their sessions are cut, those
    with a certificate go on, and the next client without one is refused."""
    port, bystander = server.ports["second"], Witness(server.port, root.issue("bystander"))
    assert refusal(port) == "certificate_required"
    with_one = admitted(port, root.issue("with a certificate"))
    assert server.json("listener", "auth", "second", "one-way", "--yes")["auth"] == "one-way"
    assert listeners(server)["second"]["overrides"] == {"auth": "one-way"}
    without = []
    for number in range(4):
        device = Device(port, None, "1.3" if number % 2 else "1.2")
        assert device.connect(f"without-{number}", version=5 if number < 2 else 4) == 0
        without.append(device)
    with_one.ping()
    done = server.cli("listener", "auth", "second", "mutual", "--yes")
    assert "cuts its sessions that showed no certificate" in done.stderr
    for device in without:
        assert device.end(2.0) == "close_notify"
        device.close()
    with_one.ping()
    with_one.close()
    assert refusal(port) == "certificate_required"
    admitted(port, root.issue("another with one")).close()
    assert listeners(server)["second"]["overrides"] == {"auth": "mutual"}
    bystander.verdict()


def test_nothing_of_a_one_way_session_passes_after_the_switch(server, root):
    """When `listener auth mutual` has returned, no byte of a session without a certificate reaches the broker."""
    port = server.ports["second"]
    server.cli("listener", "auth", "second", "one-way", "--yes")
    with admitted(server.port, root.issue("observer")) as observer, Device(port) as nobody:
        observer.subscribe("switch")
        assert nobody.connect("nobody") == 0
        nobody.publish("switch", b"before")
        assert observer.message() == ("switch", b"before")
        server.cli("listener", "auth", "second", "mutual", "--yes")
        try:
            for _ in range(20):
                nobody.publish("switch", b"after")
        except Ended:
            pass
        observer.publish("switch", b"END")
        assert observer.message() == ("switch", b"END")


def test_a_ticket_of_one_mode_does_not_resume_in_the_other(server, root):
    """A session resumed from a one-way ticket is none on a mutual listener: the certificate is asked for."""
    port = server.ports["second"]
    server.cli("listener", "auth", "second", "one-way", "--yes")
    with Device(port, None, "1.2") as first:
        assert first.connect("ticket") == 0
        ticket, context = first.tls.session, first.context
    server.cli("listener", "auth", "second", "mutual", "--yes")
    sock = plain(port)
    with pytest.raises(OSError) as refused:
        context.wrap_socket(sock, server_hostname="localhost", session=ticket)
    assert "ALERT" in str(refused.value).upper()
    sock.close()


def test_a_bad_mode_is_refused(server):
    """Anything but "mutual" and "one-way": 400 and usage, no override."""
    for body in ({"mode": "none"}, {"mode": ""}, {}, {"mode": True}, []):
        assert ask(server.socket, "PUT", "/v1/listeners/mqtts/auth", body)[0] == 400
    server.cli("listener", "auth", "mqtts", "both", "--yes", status=2)
    assert ask(server.socket, "PUT", "/v1/listeners/nobody/auth", {"mode": "mutual"})[0] == 404
    assert all(not each["overrides"] for each in listeners(server).values())


def test_choices_persist_over_a_crash_and_reset_drops_them(serve_once, broker, site, shop, root, tmp_path):
    """After kill -9 the chosen certificate and mode are in force before the first connection; reset is as durable."""
    key_file = sealing_file(tmp_path)
    server = serve_once([listener(site)], broker, registry={"key_file": key_file})
    root.register(server)
    identity = shop.server("localhost")
    hosted(server, identity)
    server.cli("listener", "use-cert", "mqtts", identity.id, "--yes")
    server.cli("listener", "auth", "mqtts", "one-way", "--yes")
    chosen = {"auth": "one-way", "server_certificate": identity.id}
    assert listeners(server)["mqtts"]["overrides"] == chosen
    server.kill9()
    server.start()
    shown = listeners(server)["mqtts"]
    assert shown["overrides"] == chosen and shown["auth"] == "one-way"
    assert presented(server.port) == der(identity.certificate)
    with Device(server.port) as device:
        assert device.connect("nobody") == 0
        server.cli("listener", "reset", "mqtts", "--yes")
        assert device.end(2.0) == "close_notify"
    server.kill9()
    server.start()
    shown = listeners(server)["mqtts"]
    assert shown["overrides"] == {} and shown["auth"] == "mutual"
    client = root.issue("client")
    assert presented(server.port, client) == der(site.certificate)
    assert refusal(server.port) == "certificate_required"
    assert [each["id"] for each in server.json("server-cert", "list")] == [identity.id]


def test_another_key_file_is_said_at_the_start(serve_once, broker, site, shop, root, tmp_path):
    """A chosen certificate that cannot be decrypted: serve warns, in log, status and metric, and serves the file's; the
    chosen mode holds. Once the key file is right, the chosen one is served, without a word to Sallyport."""
    key_file = Path(sealing_file(tmp_path))
    good = key_file.read_text()
    server = serve_once([listener(site, auth="one-way")], broker, registry={"key_file": str(key_file)})
    identity = shop.server("localhost")
    hosted(server, identity)
    server.cli("listener", "use-cert", "mqtts", identity.id, "--yes")
    server.cli("listener", "auth", "mqtts", "mutual", "--yes")
    root.register(server)
    client = root.issue("client")
    server.stop()
    for spoil, word in ((lambda: key_file.write_text(os.urandom(32).hex()), "registry.key_file is another one"),
                        (key_file.unlink, "registry.key_file")):
        spoil()
        server.start()
        warning = server.json("status")["warnings"]
        assert [each["kind"] for each in warning] == ["key-file"] and word in warning[0]["what"], warning
        assert server.metric("warnings", kind="key-file") == 1
        assert presented(server.port, client) == der(site.certificate)
        assert refusal(server.port) == "certificate_required", "the chosen mode holds"
        key_file.write_text(good)
        key_file.chmod(0o600)
        until("the chosen one is served", lambda: presented(server.port, client) == der(identity.certificate))
        assert server.json("status")["warnings"] == [] and server.metric("warnings") == 0
        server.stop()


def test_what_is_loaded_serves_a_change_of_mode(serve_once, broker, site, shop, root, tmp_path):
    """Files that broke after the start, the key_file among them, keep nobody from asking for certificates, from using a
    hosted one, and from taking that back."""
    put(tmp_path, site)
    key_file = Path(sealing_file(tmp_path))
    server = serve_once([files_listener(tmp_path, auth="one-way")], broker, registry={"key_file": str(key_file)})
    root.register(server)
    identity = shop.server("localhost")
    hosted(server, identity)
    server.kill9()
    server.start()
    for file in (tmp_path / "chain.pem", tmp_path / "key.pem", key_file):
        file.write_text("broken\n")
    server.cli("listener", "auth", "mqtts", "mutual", "--yes")
    assert refusal(server.port) == "certificate_required"
    client = root.issue("device")
    admitted(server.port, client).close()
    server.cli("listener", "use-cert", "mqtts", identity.id, "--yes")
    assert presented(server.port, client) == der(identity.certificate)
    server.cli("listener", "reset", "mqtts", "--yes")
    assert presented(server.port) == der(site.certificate)


def test_a_choice_is_taken_back_offline(serve_once, broker, site, shop, tmp_path):
    """`listener reset NAME --state-dir DIR`, with no server running: durable, audited, and refused in one line where a
    server uses the folder, it holds no registry, or nothing was chosen."""
    server = serve_once([listener(site)], broker, registry={"key_file": sealing_file(tmp_path)})
    identity = shop.server("localhost")
    hosted(server, identity)
    server.cli("listener", "use-cert", "mqtts", identity.id, "--yes")
    server.cli("listener", "auth", "mqtts", "one-way", "--yes")
    state = str(server.folder / "state")
    reset = ("listener", "reset", "mqtts", "--yes", "--state-dir")
    in_use = server.cli(*reset, state, status=1).stderr
    assert len(in_use.splitlines()) == 1 and "running" in in_use, in_use
    server.stop()
    assert "holds no registry" in server.cli(*reset, str(tmp_path), status=1).stderr
    assert not (tmp_path / "registry").exists()
    other = server.cli("listener", "reset", "other", "--yes", "--state-dir", state, status=1).stderr
    assert "nothing was chosen" in other and "mqtts" in other
    said = server.cli(*reset, state)
    assert "as the configuration file says" in said.stdout and identity.id in said.stderr + said.stdout
    server.start()
    assert listeners(server)["mqtts"]["overrides"] == {}
    assert refusal(server.port) == "certificate_required"
    line = server.json("audit")[0]
    assert (line["action"], line["target"], line["who"]) == ("listener.reset", "mqtts", f"uid {os.getuid()}")
    assert identity.id in line["before"]


def test_an_expired_certificate_is_served_with_a_warning(serve_once, broker, site, shop, root, tmp_path):
    """Of two files one has expired: the other is presented. Alone, it is: many a device looks at no date. A hosted one
    that has expired meanwhile is no reason not to start, either."""
    expired = leaf(shop, not_before=now() - days(20), not_after=now() - days(1), sent=[shop.certificate])
    server = serve_once([listener([expired, site]), listener(expired, name="alone")], broker)
    root.register(server)
    client = root.issue("client")
    assert presented(server.ports["mqtts"], client) == der(site.certificate)
    assert presented(server.ports["alone"], client) == der(expired.certificate)
    admitted(server.ports["alone"], client).close()
    warnings = server.json("status")["warnings"]
    assert len(warnings) == 2 and all("has expired" in each["what"] for each in warnings), warnings
    assert server.metric("warnings", kind="server-certificate") == 2
    assert "has expired" in server.cli("status").stdout
    server.exactly(2, "trouble", kind="server-certificate")
    server.signal(signal.SIGHUP)
    until("a reload takes what it has", lambda: server.lines("reload", what="done"))


def test_a_refused_file_is_tried_again(serve_once, broker, shop, tmp_path):
    """A renewed certificate whose time comes in seconds is refused, said once, and taken when its time has come, without
    another change of the files. A key that cannot be read yet goes the same way."""
    put(tmp_path, shop.server("localhost"))
    server = serve_once([files_listener(tmp_path)], broker)

    def complaints():
        return [each for each in server.lines("certificate-files") if each.level == "error"]

    for wait in (6, 60):  # on a busy machine, more of them
        soon = leaf(shop, not_before=now() + days(wait / 86_400), sent=[shop.certificate])
        put(tmp_path, soon)
        until("its time has come", lambda: presented(server.port) == der(soon.certificate), wait + 20)
        if complaints():
            break
    assert len(complaints()) == 1 and "is not valid yet" in complaints()[0].fields["why"], server.log()



# --- files

def put(folder, identity, chain="chain.pem", key="key.pem"):
    """Both files replaced as `mv` does it, the new ones on the spot of the old ones."""
    for name, text in ((chain, chain_of(identity)), (key, key_of(identity))):
        fresh = folder / (name + ".new")
        fresh.write_text(text)
        os.replace(fresh, folder / name)


def files_listener(folder, chain="chain.pem", key="key.pem", auth="one-way"):
    return {"name": "mqtts", "address": "127.0.0.1:0", "upstream": "broker", "auth": auth,
            "certificates": [{"chain": str(folder / chain), "key": str(folder / key)}]}


def test_files_replaced_by_mv_are_read_again(serve_once, broker, shop, tmp_path):
    """New handshakes show the new certificate within seconds, no signal needed; the live session goes on."""
    first, second = shop.server("localhost"), shop.server("localhost", kind="rsa")
    put(tmp_path, first)
    server = serve_once([files_listener(tmp_path)], broker)
    with Device(server.port) as session:
        assert session.connect("lives on") == 0
        assert presented(server.port) == der(first.certificate)
        put(tmp_path, second)
        until("the new one is shown", lambda: presented(server.port) == der(second.certificate))
        session.ping()
    server.line("certificate-files", listener="mqtts", what="read again and in use")


def test_a_kubernetes_symlink_swap_is_noticed(serve_once, broker, shop, tmp_path):
    """tls.crt -> ..data/tls.crt, ..data -> a dated folder: swapping ..data atomically is a new certificate."""
    identities = [shop.server("localhost") for _ in range(3)]

    def swap(number):
        dated = tmp_path / f"..2026_11_2{number}"
        dated.mkdir()
        put(dated, identities[number], "tls.crt", "tls.key")
        os.symlink(dated.name, tmp_path / "..data_tmp")
        os.replace(tmp_path / "..data_tmp", tmp_path / "..data")

    swap(0)
    for name in ("tls.crt", "tls.key"):
        os.symlink(f"..data/{name}", tmp_path / name)
    server = serve_once([files_listener(tmp_path, "tls.crt", "tls.key")], broker)
    assert presented(server.port) == der(identities[0].certificate)
    for number in (1, 2):
        swap(number)
        until("the new one is shown", lambda: presented(server.port) == der(identities[number].certificate))


def in_place(path, text, size):
    """Rewritten without a trace in stat(2): same inode, size and time. Only a signal tells the server to look."""
    assert len(text) <= size
    about = os.stat(path)
    with open(path, "r+") as file:
        file.write(text.ljust(size - 1) + "\n")
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def test_sighup_reads_certificate_files_again(serve_once, broker, shop, tmp_path):
    """Also where nothing else could tell that they changed; a bad one changes nothing, and the log says so."""
    first, second = shop.server("localhost"), shop.server("localhost")
    for name, text in (("chain.pem", chain_of(first)), ("key.pem", key_of(first))):
        (tmp_path / name).write_text(text.ljust(4095) + "\n")
    server = serve_once([files_listener(tmp_path)], broker)
    in_place(tmp_path / "chain.pem", chain_of(second), 4096)
    server.signal(signal.SIGHUP)
    failed = until("the reload has failed", lambda: [each for each in server.lines("reload") if each.level == "error"])
    assert failed[0].fields["what"] == "nothing has changed" and "does not belong" in failed[0].fields["why"]
    assert presented(server.port) == der(first.certificate)
    in_place(tmp_path / "key.pem", key_of(second), 4096)
    server.signal(signal.SIGHUP)
    until("the reload is done", lambda: server.lines("reload", what="done"))
    assert presented(server.port) == der(second.certificate)


def file_warnings(server):
    return [each for each in server.json("status")["warnings"] if each["kind"] == "certificate-files"]


def test_a_bad_new_file_changes_nothing_and_says_so(serve_once, broker, shop, tmp_path):
    """Garbage, another's key, an expired certificate, a missing file: the old certificate stays, the log has the
    reason once, and the next good files are taken."""
    good, stranger = shop.server("localhost"), shop.server("localhost")
    expired = leaf(shop, not_before=now() - days(20), not_after=now() - days(1), sent=[shop.certificate])
    put(tmp_path, good)
    server = serve_once([files_listener(tmp_path)], broker)

    def complaints():
        return [each for each in server.lines("certificate-files") if each.level == "error"]

    def garbage():
        (tmp_path / "chain.pem").write_text("not a certificate\n")

    def other_key():
        put(tmp_path, good)
        (tmp_path / "key.pem").write_text(key_of(stranger))

    def missing():
        (tmp_path / "key.pem").unlink()

    for number, (spoil, word) in enumerate([(garbage, "chain.pem"), (other_key, "does not belong"),
                                            (lambda: put(tmp_path, expired), "expired"), (missing, "key.pem")]):
        spoil()
        until(f"complaint {number + 1}", lambda: len(complaints()) == number + 1)
        assert word in complaints()[-1].fields["why"], complaints()[-1].text
        assert complaints()[-1].fields["listener"] == "mqtts"
        warning = until("it is a warning", lambda: file_warnings(server))
        assert warning[0]["about"] == "mqtts" and word in warning[0]["what"], warning
        assert server.metric("warnings", kind="certificate-files") == 1 and word in server.cli("status").stdout
        assert presented(server.port) == der(good.certificate)
    stays("said once", lambda: len(complaints()) == 4, 1.2)
    put(tmp_path, stranger)
    until("the next good ones are taken", lambda: presented(server.port) == der(stranger.certificate))
    assert "PRIVATE KEY" not in server.log()


def test_the_state_folder_is_nobody_elses(server):
    """Sealed keys or not: only the server's user may look into it."""
    assert stat.S_IMODE(os.stat(server.folder / "state").st_mode) & 0o077 == 0


def test_a_key_file_that_is_no_file_is_refused_at_once(serve_once, broker, site, tmp_path):
    """A folder, a device, a pipe that nobody writes to: `check` says so, and a reload goes by the file of before."""
    server = serve_once([listener(site)], broker)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    text = Path(server.config).read_text()
    for what in (tmp_path, "/dev/null", pipe):
        Path(server.config).write_text(text + f'\n[registry]\nkey_file = "{what}"\n')
        done = subprocess.run([BINARY, "check", "--config", server.config], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and f"{what}: is no ordinary file" in done.stderr, done.stderr
        assert "chmod" not in done.stderr
    Path(server.config).write_text(text.replace(site.chain_file, str(pipe)))
    server.signal(1)
    assert "pipe" in server.line("reload", what="nothing has changed").fields["why"]
