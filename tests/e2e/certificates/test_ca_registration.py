"""Proof of possession: who may register a CA, and with what."""

import signal
import time

import pytest
from cryptography import x509

from harness.authority import Authority, days, new_key, now
from harness.device import admitted, refusal
from harness.server import listener
from harness.wait import until


@pytest.fixture(scope="module")
def server(broker, serve, site):
    return serve([listener(site)], broker)


def code_of(server, *options):
    return server.cli("ca", "code", *options).stdout.strip()


def refused(server, ca, proof):
    """Exit 1, one helpful line on stderr, nothing on stdout, nothing registered."""
    done = server.cli("ca", "register", ca.identity.chain_file, proof.chain_file, status=1)
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert ca.id not in {each["id"] for each in server.json("ca", "list")}
    return done.stderr


def test_the_code_is_alone_on_stdout_and_long(server):
    """At least 128 bits, another one each time, and several may be outstanding."""
    codes = {server.cli("ca", "code").stdout for _ in range(5)}
    assert len(codes) == 5
    for code in codes:
        assert code.endswith("\n") and len(code.split()) == 1 and 22 <= len(code.strip()) <= 64


def test_register_prints_the_id_alone(server, work):
    """So that a script can keep it."""
    ca = Authority(work / "plain", "Plain CA")
    done = server.cli("ca", "register", ca.identity.chain_file, ca.verification(code_of(server)).chain_file)
    assert done.stdout == ca.id + "\n"
    shown = server.json("ca", "show", ca.id)
    assert (shown["status"], shown["auto_register"], shown["approve"]) == ("active", True, False)
    assert shown["cn"] == "Plain CA" and shown["serial"] == ca.identity.serial
    assert [each["id"] for each in server.json("ca", "list", "--serial", ca.identity.serial)] == [ca.id]


def test_several_codes_may_be_outstanding_and_each_serves_once(server, work):
    """The second use of a code is refused, also for another CA; the other code still works."""
    first, second = Authority(work / "first", "First"), Authority(work / "second", "Second")
    one, two = code_of(server), code_of(server)
    server.cli("ca", "register", first.identity.chain_file, first.verification(one).chain_file)
    refused(server, second, second.verification(one))
    server.cli("ca", "register", second.identity.chain_file, second.verification(two).chain_file)


def test_a_code_nobody_issued_is_refused(server, work):
    """Including one that differs in the last character."""
    ca = Authority(work / "guess", "Guesser")
    code = code_of(server)
    wrong = code[:-1] + ("A" if code[-1] != "A" else "B")
    refused(server, ca, ca.verification(wrong))
    refused(server, ca, ca.verification("guess"))
    server.cli("ca", "register", ca.identity.chain_file, ca.verification(code).chain_file)


def test_a_code_ends(server, work):
    """--ttl 1s: refused afterwards."""
    ca = Authority(work / "late", "Late")
    code = code_of(server, "--ttl", "1s")
    time.sleep(2.1)
    refused(server, ca, ca.verification(code))


def test_a_proof_signed_by_another_key_is_refused(server, work):
    """The right names, the right code, but not the CA's key: and the code is not a prize for trying."""
    ca = Authority(work / "robbed", "Robbed")
    code = code_of(server)
    refused(server, ca, ca.verification(code, signer=new_key()))


def test_the_code_must_be_the_common_name(server, work):
    """A proof with another CN proves nothing."""
    ca = Authority(work / "misnamed", "Misnamed")
    code = code_of(server)
    refused(server, ca, ca.verification(code, cn="something else"))


def test_what_is_not_a_ca_is_refused(server, work):
    """Basic constraints CA:FALSE, however good the proof."""
    ca = Authority(work / "leaf", "A leaf", ca=False)
    refused(server, ca, ca.verification(code_of(server)))


def test_an_expired_ca_is_refused(server, work):
    ca = Authority(work / "past", "Past", not_before=now() - days(10), not_after=now() - days(1))
    refused(server, ca, ca.verification(code_of(server)))


def test_registering_twice_is_refused_or_changes_nothing(server, work):
    """The status an operator gave it must not come back by a second registration."""
    ca = Authority(work / "twice", "Twice")
    ca.register(server)
    server.cli("ca", "deactivate", ca.id)
    proof = ca.verification(code_of(server))
    server.cli("ca", "register", ca.identity.chain_file, proof.chain_file, status=None)
    assert server.json("ca", "show", ca.id)["status"] == "inactive"


def test_two_cas_of_one_name_are_told_apart(server, work):
    """Same subject, two keys: each one's devices are its own, and one's deactivation leaves the other's alone."""
    left, right = (Authority(work / side, "One name for two") for side in ("left", "right"))
    left.register(server)
    right.register(server)
    mine, yours = left.issue("mine"), right.issue("yours", serial=None)
    for identity, ca in ((mine, left), (yours, right)):
        admitted(server.port, identity).close()
        assert server.registered(identity)["ca_id"] == ca.id
    server.cli("ca", "deactivate", left.id)
    with server.refuses("ca_inactive", serial=mine.serial):
        refusal(server.port, mine)
    admitted(server.port, yours).close()


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_a_ca_renewed_with_its_key_keeps_devices_that_name_the_old_one(server, work, tls):
    """The guides' `authorityKeyIdentifier=keyid,issuer` puts the serial number of the CA's certificate into a device's,
    where the CA has no key id. When that one is gone, a renewed one with the same key carries the fleet on."""
    old = Authority(work / f"old-{tls}", "Renewed " + tls)
    names_the_old_one = x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(old.name)],
                                                    old.certificate.serial_number)
    old.register(server)
    known, unknown = (old.issue(cn, extra=[names_the_old_one]) for cn in ("known " + tls, "unknown " + tls))
    admitted(server.port, known, tls).close()
    server.registered(known)
    new = Authority(work / f"new-{tls}", "Renewed " + tls, key=old.key)
    new.register(server)
    server.cli("ca", "deactivate", old.id)
    for identity in (known, unknown):
        assert "admitted" in server.cli("explain", identity.chain_file).stdout
        with admitted(server.port, identity, tls) as device:
            device.ping()
        until("it is below the new one", lambda: server.registered(identity)["ca_id"] == new.id)
        assert server.registered(identity)["effective_status"] == "active"


def test_of_two_certificates_of_one_intermediate_the_valid_one_is_found(server, work):
    """A client that sends both, the ended one in front, is admitted; `explain` shows each path it tried."""
    top = Authority(work / "top-of-two", "Top of two")
    top.register(server)
    good = Authority(work / "good-of-two", "One of two", parent=top)
    ended = Authority(work / "ended-of-two", "One of two", parent=top, key=good.key, not_before=now() - days(9),
                      not_after=now() - days(1))
    no_ca = Authority(work / "no-ca-of-two", "One of two", parent=top, key=good.key, ca=False)
    for tls in ("1.2", "1.3"):
        admitted(server.port, good.issue("behind two " + tls, sent=[ended.certificate, good.certificate]), tls).close()
    device = good.issue("behind three", sent=[no_ca.certificate, ended.certificate, good.certificate])
    said = server.cli("explain", device.chain_file).stdout
    assert said.count("RFC 5280 path validation") == 2 and "admitted" in said, said
    admitted(server.port, device).close()


def test_trusted_cas_are_added_and_never_changed(serve_once, broker, work, site, root):
    """`trusted_cas` needs no proof; a CA deactivated at run time stays so over a restart."""
    folder = work / "trusted"
    folder.mkdir()
    second = Authority(work / "second-trusted", "Second trusted")
    (folder / "second.pem").write_text(open(second.identity.chain_file).read())
    server = serve_once([listener(site)], broker,
                        registry={"trusted_cas": [root.identity.chain_file, str(folder)]})
    assert {each["id"] for each in server.json("ca", "list")} == {root.id, second.id}
    identity = second.issue("trusting")
    admitted(server.port, identity).close()
    server.registered(identity)
    server.cli("ca", "deactivate", second.id)
    server.stop()
    server.start()
    assert server.json("ca", "show", second.id)["status"] == "inactive"
    with server.refuses("ca_inactive", serial=identity.serial):
        refusal(server.port, identity)
    until("the root's devices are admitted", lambda: admitted(server.port, root.issue("rooted")))


def test_an_expired_ca_among_trusted_cas_stops_nobody(serve_once, broker, work, site):
    """A file of three CAs, the one in the middle has ended: the server starts, the others are registered, the log names
    it, and a later reload is not refused by it. `check` says it, too."""
    good, last = (Authority(work / f"{cn}-of-three", cn + " of three") for cn in ("First", "Last"))
    ended = Authority(work / "ended-of-three", "Ended of three", not_before=now() - days(9), not_after=now() - days(1))
    bundle = work / "three.pem"
    bundle.write_text("".join(open(each.identity.chain_file).read() for each in (good, ended, last)))
    server = serve_once([listener(site)], broker, registry={"trusted_cas": [str(bundle)]})
    assert {each["id"] for each in server.json("ca", "list")} == {good.id, last.id}
    said = server.lines("trusted-ca", ca=ended.id)
    assert len(said) == 1 and said[0].level == "warning" and "expired" in said[0].fields["why"], server.log()
    admitted(server.port, last.issue("of the last one")).close()
    checked = server.cli("check", "--config", server.config)
    assert "Ended of three" in checked.stderr and "passed over" in checked.stderr
    server.signal(signal.SIGHUP)
    until("the reload is done", lambda: [each for each in server.lines("reload") if each.fields["what"] == "done"])
    weak = Authority(work / "no-ca-of-three", "No CA at all", ca=False)
    bundle.write_text(bundle.read_text() + open(weak.identity.chain_file).read())
    refused = server.cli("check", "--config", server.config, status=2)
    assert "No CA at all" in refused.stderr


def test_auto_register_off_by_default(serve_once, broker, site, root):
    """`auto_register = false` in the configuration is the default of CAs registered without their own choice."""
    server = serve_once([listener(site)], broker, registry={"auto_register": False})
    root.register(server)
    with server.refuses("not_registered"):
        refusal(server.port, root.issue("uninvited"))


def test_a_subject_that_would_forge_lines(server, work):
    """Tables and logs escape what certificates say."""
    name = "evil\n2026-01-01T00:00:00.000Z info rejected listener=forged"
    ca = Authority(work / "evil", name)
    ca.register(server)
    assert server.json("ca", "show", ca.id)["cn"] == name
    for text in (server.cli("ca", "list").stdout, server.cli("ca", "show", ca.id).stdout, server.log()):
        assert not any(line.startswith("2026-01-01T") for line in text.splitlines())
