"""Every reason that lies in a certificate, each by its own test: the alert, the log line, the metric."""

import datetime
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from harness.authority import Authority, Identity, days, new_key, now, with_other_s
from harness.device import Device, admitted, refusal
from harness.server import listener

both_versions = pytest.mark.parametrize("tls", ["1.2", "1.3"])


@pytest.fixture(scope="module", params=["auto", "openssl"])
def server(request, broker, serve, site, root):
    running = serve([listener(site)], broker, proxy={"tls_engine": request.param})
    root.register(running)
    return running


def settled(server, identity):
    """Connects once and waits until the device is in the registry."""
    admitted(server.port, identity).close()
    return server.registered(identity)


def refused(server, identity, tls, reason, alert):
    """One refusal: reason and alert as given; the log names the certificate."""
    with server.refuses(reason, serial=identity.serial, fingerprint=identity.id) as lines:
        how = refusal(server.port, identity, tls)
    assert how == alert if isinstance(alert, str) else how in alert, how
    assert identity.cn in lines[0].fields["subject"]


@both_versions
def test_no_certificate(server, tls):
    """A mutual listener requires one; the two versions of TLS have different alerts for it."""
    with server.refuses("no_certificate"):
        how = refusal(server.port, None, tls)
    assert how == {"1.2": "handshake_failure", "1.3": "certificate_required"}[tls]


@both_versions
def test_ca_unknown(server, work, tls):
    """A CA nobody registered, also when the client sends it along."""
    stranger = Authority(work / f"stranger{tls}", "Stranger")
    refused(server, stranger.issue("alien", sent=[stranger.certificate]), tls, "ca_unknown", "unknown_ca")


@both_versions
def test_ca_inactive(server, work, tls):
    """Known and unknown devices of a deactivated CA alike; both come back with it."""
    ca = Authority(work / f"sleepy{tls}", "Sleepy CA " + tls)
    ca_id = ca.register(server)
    known, unknown = ca.issue("known"), ca.issue("unknown")
    settled(server, known)
    server.cli("ca", "deactivate", ca_id)
    refused(server, known, tls, "ca_inactive", "certificate_unknown")
    refused(server, unknown, tls, "ca_inactive", "certificate_unknown")
    assert server.json("device", "show", known.id)["status"] == "active"
    assert server.json("device", "show", known.id)["effective_status"] == "ca_inactive"
    server.cli("ca", "activate", ca_id)
    admitted(server.port, known, tls).close()
    admitted(server.port, unknown, tls).close()


def test_an_inactive_root_above_a_registered_intermediate_refuses(server, work):
    """Links between registered CAs are the server's own: leaving the root out, or sending a copy of the
    intermediate signed by an active root, gets around neither."""
    top = Authority(work / "top", "Inactive top")
    middle = Authority(work / "middle", "Registered middle", parent=top)
    other = Authority(work / "other", "Active other")
    top_id = top.register(server)
    middle.register(server)
    other.register(server)
    cross_signed = Authority(work / "cross", "Registered middle", parent=other, key=middle.key)
    server.cli("ca", "deactivate", top_id)
    refused(server, middle.issue("leaves the root out"), "1.3", "ca_inactive", "certificate_unknown")
    refused(server, middle.issue("cross-signed", sent=[cross_signed.certificate]), "1.3", "ca_inactive",
            "certificate_unknown")


@both_versions
def test_device_inactive(server, root, tls):
    """Its own status, whatever its CA's."""
    device = root.issue("sleeper")
    settled(server, device)
    server.cli("device", "deactivate", device.id)
    refused(server, device, tls, "device_inactive", "certificate_unknown")
    server.cli("device", "activate", device.id)
    admitted(server.port, device, tls).close()


def test_device_pending(server, work):
    """A CA that requires approval: the first time a CONNACK says no, later the handshake, until an operator agrees."""
    ca = Authority(work / "approving", "Approving CA")
    ca.register(server, "--approve")
    for version, code in ((4, 0x05), (5, 0x87)):
        device = ca.issue(f"applicant {version}")
        with server.refuses("device_pending", serial=device.serial):
            with Device(server.port, device) as applicant:
                assert applicant.connect("applicant", version) == code
                applicant.end()
        assert server.registered(device)["status"] == "pending"
        assert device.id in server.devices("--status", "pending")
        refused(server, device, "1.3", "device_pending", "certificate_unknown")
        server.cli("device", "activate", device.id)
        admitted(server.port, device).close()
        assert server.json("device", "show", device.id)["status"] == "active"


@both_versions
def test_not_registered(server, work, tls):
    """A CA registered with --no-auto-register admits nobody it does not know."""
    ca = Authority(work / f"closed{tls}", "Closed CA " + tls)
    ca.register(server, "--no-auto-register")
    device = ca.issue("unexpected")
    refused(server, device, tls, "not_registered", "certificate_unknown")
    assert device.id not in server.devices()


@both_versions
def test_expired(server, root, tls):
    """An unknown device past its notAfter."""
    refused(server, root.issue("old", not_before=now() - days(20), not_after=now() - days(1)), tls, "expired",
            "certificate_expired")


def test_a_registered_device_expires_too(server, root):
    """A known device skips the path building, not the dates."""
    device = root.issue("brief", not_after=now() + datetime.timedelta(seconds=3))
    settled(server, device)
    time.sleep(max(0, (device.certificate.not_valid_after - now()).total_seconds() + 1.1))
    refused(server, device, "1.3", "expired", "certificate_expired")


def test_not_yet_valid(server, root):
    """A certificate from tomorrow."""
    refused(server, root.issue("early", not_before=now() + days(1)), "1.3", "not_yet_valid",
            ("certificate_expired", "certificate_unknown"))


@both_versions
def test_bad_signature(server, root, tls):
    """The registered CA's name, somebody else's key."""
    refused(server, root.issue("forged", signer=new_key()), tls, "bad_signature",
            ("certificate_unknown", "decrypt_error", "bad_certificate"))


def test_bad_purpose(server, root):
    """An extended key usage without clientAuth is a no; absent is a yes."""
    refused(server, root.issue("a web server", eku=[ExtendedKeyUsageOID.SERVER_AUTH]), "1.3", "bad_purpose",
            "certificate_unknown")
    admitted(server.port, root.issue("fit", eku=[ExtendedKeyUsageOID.CLIENT_AUTH])).close()


def test_bad_chain(server, root, work):
    """An intermediate that is no CA, and one below a path length of 0."""
    no_ca = Authority(work / "no-ca", "Not a CA", parent=root, ca=False)
    refused(server, no_ca.issue("child of a leaf", sent=[no_ca.certificate]), "1.3", "bad_chain",
            "certificate_unknown")
    short = Authority(work / "short", "No CA below me", parent=root, path_length=0)
    below = Authority(work / "too-deep", "Too deep", parent=short)
    refused(server, below.issue("too deep", sent=[below.certificate, short.certificate]), "1.3", "bad_chain",
            "certificate_unknown")


def test_an_expired_intermediate_is_refused(server, root, work):
    """The whole chain must be in date, not the leaf alone."""
    old = Authority(work / "old-ca", "Old CA", parent=root, not_before=now() - days(30), not_after=now() - days(2))
    device = old.issue("child of the old", sent=[old.certificate])
    refused(server, device, "1.3", "expired", ("certificate_expired", "certificate_unknown"))


def test_a_serial_number_is_taken_once(server, root):
    """Another certificate of the same CA with a registered device's serial: refused before admission."""
    first = root.issue("first")
    settled(server, first)
    second = root.issue("second", serial=first.certificate.serial_number)
    refused(server, second, "1.3", "serial_conflict", "certificate_unknown")
    assert second.id not in server.devices()
    admitted(server.port, first).close()


@both_versions
def test_a_rewritten_ecdsa_signature_is_refused(server, root, work, tls):
    """s → n − s gives a second valid certificate with another fingerprint: a deactivated device must not return
    that way, nor an active one become two."""
    device = root.issue("malleable")
    settled(server, device)
    twin = Identity(work, with_other_s(device.certificate), device.key)
    assert twin.id != device.id and twin.serial == device.serial
    refused(server, twin, tls, "serial_conflict", "certificate_unknown")
    server.cli("device", "deactivate", device.id)
    refused(server, twin, tls, "serial_conflict", "certificate_unknown")
    assert twin.id not in server.devices()


def test_ca_certificates_are_never_devices(server, root, work):
    """Neither the registered CA itself nor a leaf with CA:TRUE."""
    refused(server, root.identity, "1.3", "not_a_device", "certificate_unknown")
    refused(server, root.issue("would-be CA", ca=True), "1.3", "not_a_device", "certificate_unknown")


def test_verification_certificates_are_never_devices(server, root):
    """The CN is a code that was issued: used or not, its holder proved the CA's key, and is no device."""
    code = server.cli("ca", "code").stdout.strip()
    refused(server, root.verification(code), "1.3", "not_a_device", "certificate_unknown")


def test_a_verification_certificate_stays_none_after_its_use(server, work):
    """Also after the code was consumed by the registration."""
    ca = Authority(work / "proven", "Proven CA")
    proof = ca.verification(server.cli("ca", "code").stdout.strip())
    server.cli("ca", "register", ca.identity.chain_file, proof.chain_file)
    refused(server, proof, "1.3", "not_a_device", "certificate_unknown")


def test_the_servers_own_key_is_never_a_device(server, root, site, work):
    """By public key: any certificate over a key this server presents."""
    refused(server, root.issue("impostor", key=site.key), "1.3", "not_a_device", "certificate_unknown")


@pytest.mark.parametrize("kind", ["rsa", "p384", "ed25519"])
def test_other_key_types_are_devices_too(server, root, kind):
    """RSA, P-384 and Ed25519 device keys under a P-256 CA."""
    device = root.issue("of type " + kind, kind=kind)
    settled(server, device)
    admitted(server.port, device).close()


def test_the_log_has_the_words_that_explain_has(server, root):
    """`detail=94` is for nobody: what stands against a chain is said as `explain` says it, and by `device register`."""
    weak = Authority(root.folder / "no-ca", "No CA, but it signs", parent=root, ca=False)
    refusals = {"bad_purpose": (root.issue("for servers", eku=[ExtendedKeyUsageOID.SERVER_AUTH]), "purpose"),
                "bad_chain": (weak.issue("below no CA", sent=[weak.certificate]), "invalid CA")}
    for reason, (identity, about) in refusals.items():
        for tls in ("1.2", "1.3"):
            with server.refuses(reason, serial=identity.serial) as lines:
                refusal(server.port, identity, tls)
            said = lines[0].fields["what"]
            assert about in said and lines[0].fields["detail"] == "0", lines[0].text
            assert said in server.cli("explain", identity.chain_file, status=1).stdout
    for_servers = refusals["bad_purpose"][0]
    assert "purpose" in server.cli("device", "register", for_servers.chain_file, status=1).stderr


def test_what_tls_would_refuse_is_not_called_admitted(server, root, tmp_path):
    """No signature scheme of TLS has the curve secp256k1, and 16 KiB of certificates are what a listener reads: such a
    device never shakes hands. `explain`, `device register` and an import say so."""
    odd = root.issue("odd curve", key=ec.generate_private_key(ec.SECP256K1()))
    assert "no signature with a key of this kind" in server.cli("explain", odd.chain_file, status=1).stdout
    refused = server.cli("device", "register", odd.chain_file, status=1)
    assert "no signature with a key of this kind" in refused.stderr
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(open(odd.chain_file).read() + open(root.issue("fine").chain_file).read())
    done = server.cli("device", "register", str(bundle), status=1)
    assert done.stdout == "1 registered, 0 registered before, 1 failed\n"
    assert "bad_chain" in done.stderr and "no signature with a key of this kind" in done.stderr
    assert refusal(server.port, odd, "1.2")
    large = root.issue("large", dns=[f"{'a' * 60}{number}.example" for number in range(250)])
    said = server.cli("explain", large.chain_file, status=1).stdout
    assert "16 KiB" in said and "tls_error" in said, said
    with server.refuses("tls_error"):
        refusal(server.port, large)
