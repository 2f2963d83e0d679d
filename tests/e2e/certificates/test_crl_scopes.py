"""CRLs of parts of a CA, CRLs after a CA's key changed, and what is known of the last ones; and a CA's twin."""

import json
import os
import pty
import subprocess

import pytest
from cryptography import x509

from harness.authority import Authority, days, now
from harness.device import admitted
from harness.lists import crl, file_of, imported, is_refused, known
from harness.server import BINARY, listener
from harness.wait import PATIENCE, until


@pytest.fixture(scope="module")
def server(broker, serve, site):
    return serve([listener(site)], broker)


def partition(uri):
    return x509.IssuingDistributionPoint([x509.UniformResourceIdentifier(uri)], None, False, False, None, False, False)


def test_partitions_have_numbers_of_their_own(server, ca, tmp_path):
    """A list of another part of the CA's certificates is no replay; an older one of the same part is."""
    one, two = ca.issue("one"), ca.issue("two")
    known(server, one, two)
    first, second = partition("http://ca.example/1.crl"), partition("http://ca.example/2.crl")
    imported(server, crl(ca, one, number=7, extensions=[first]), revoked=1)
    imported(server, crl(ca, two, number=3, extensions=[second]), revoked=1)
    is_refused(server, two)
    refused = server.cli("crl", "import", file_of(crl(ca, number=6, extensions=[first]), tmp_path), "--yes", status=1)
    assert "this scope (http://ca.example/1.crl)" in refused.stderr
    listed = [each for each in server.json("crl", "list") if each["ca_id"] == ca.id]
    assert {each["scope"]: (each["number"], each["entries"], each["overdue"]) for each in listed} == {
        "http://ca.example/1.crl": ("07", 1, False), "http://ca.example/2.crl": ("03", 1, False)}
    assert server.metric("crl_entries", ca=ca.id) == 2
    table = server.cli("crl", "list").stdout
    assert "NEXT UPDATE" in table and "http://ca.example/2.crl" in table


def test_one_that_is_overdue_is_said(server, ca):
    """In the log once, in `crl list`, `status` and the metric; the next list ends it."""
    before = server.json("status")["crls"]["overdue"]
    imported(server, crl(ca, number=1, at=now() - days(8)))
    until("it is said", lambda: server.lines("crl-overdue", ca=ca.id), 10)
    assert server.json("status")["crls"]["overdue"] == before + 1
    assert f"{before + 1} overdue" in server.cli("status").stdout
    assert [each["overdue"] for each in server.json("crl", "list") if each["ca_id"] == ca.id] == [True]
    assert server.metric("crl_next_update_seconds", ca=ca.id) == pytest.approx((now() - days(1)).timestamp(), abs=86400)
    imported(server, crl(ca, number=2))
    assert server.json("status")["crls"]["overdue"] == before
    assert len(server.lines("crl-overdue", ca=ca.id)) == 1


def test_a_list_under_a_new_key_asks_about_the_old_one(server, work, tmp_path):
    """After a key rollover: the command fails and says what was left in, until it is told whose list it is."""
    old = Authority(work / "rollover", "Rolled over")
    new = Authority(work / "rollover-new", "Rolled over")
    for each in (old, new):
        each.register(server)
    device, newer, unseen = old.issue("device"), new.issue("newer"), old.issue("unseen")
    known(server, device, newer)
    path = file_of(crl(new, device, newer, unseen), tmp_path)
    asked = server.cli("crl", "import", path, "--yes", status=1)
    assert f"1 device of CA {old.id}" in asked.stderr and f"--also-under {old.id}" in asked.stderr
    is_refused(server, newer)
    admitted(server.port, device).close()
    wrong = server.cli("crl", "import", path, "--also-under", old.id[:16], "--yes", status=1)
    assert "full id" in wrong.stderr
    done = server.cli("crl", "import", "--also-under", old.id, path, "--yes", "-o", "json")
    assert json.loads(done.stdout)["revoked"] == 1 and json.loads(done.stdout)["under_other_keys"] == []
    is_refused(server, device)
    is_refused(server, unseen)
    assert any("also under " + old.id in each["after"] for each in server.json("audit"))


def on_a_terminal(server, *arguments, typed):
    """Runs a command as a person would, who types these lines; (exit status, standard error)."""
    outside, inside = pty.openpty()
    process = subprocess.Popen([BINARY, *arguments], stdin=inside, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env={**os.environ, "SALLYPORT_SOCKET": server.socket})
    os.close(inside)
    try:
        os.write(outside, typed.encode())
        _, errors = process.communicate(timeout=PATIENCE)
    finally:
        os.close(outside)
    return process.returncode, errors


@pytest.mark.parametrize("answer, status, standing", [("y", 0, "revoked"), ("n", 1, "active")])
def test_a_person_is_asked(server, work, tmp_path, answer, status, standing):
    """On a terminal the question comes at once, and `y` takes the list for the other key, too."""
    old = Authority(work / f"asked-{answer}", f"Asked {answer}")
    new = Authority(work / f"asked-{answer}-new", f"Asked {answer}")
    for each in (old, new):
        each.register(server)
    device = old.issue("device")
    known(server, device)
    ended, said = on_a_terminal(server, "crl", "import", file_of(crl(new, device), tmp_path), typed=f"y\n{answer}\n")
    assert (ended, server.json("device", "show", device.id)["status"]) == (status, standing), said
    assert "importing it under them, too" in said
    assert ("it was taken for the key that signed it alone" in said) == (answer == "n")


def test_a_twin_that_is_active_is_named(server, work):
    """Of two certificates with one name and key one suffices: who deactivates the other is told."""
    one = Authority(work / "twin", "Twin")
    other = Authority(work / "twin-renewed", "TWIN", key=one.key)
    device = one.issue("device")
    one.register(server)
    other.register(server)
    known(server, device)
    done = server.cli("ca", "deactivate", one.id, "--yes")
    assert done.stdout.split() == [one.id, "inactive"]
    assert f"its devices are still admitted through CA {other.id}" in done.stderr
    assert server.json("ca", "show", one.id)["admitted_through"] == [other.id]
    admitted(server.port, device).close()
    done = server.cli("ca", "deactivate", other.id, "--yes", "-o", "json")
    assert json.loads(done.stdout)["admitted_through"] == []
    is_refused(server, device, "ca_inactive")
