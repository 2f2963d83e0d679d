"""What people expect of a command line: several ids at once, ids alone, standard input, a page at a time, a CA beside
--url; and what is final only where somebody said so."""

import json
import subprocess

import pytest

from harness.authority import Authority
from harness.device import admitted
from harness.server import BINARY, listener
from harness.wait import until


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    running = serve([listener(site)], broker)
    root.register(running)
    return running


def known(server, root, *names):
    identities = [root.issue(name) for name in names]
    for each in identities:
        admitted(server.port, each).close()
        server.registered(each)
    return identities


def run(server, *arguments, given=None):
    return subprocess.run([BINARY, *arguments, "--socket", server.socket], input=given, capture_output=True, text=True,
                          timeout=60)


def status_of(server, identity):
    return server.json("device", "show", identity.id)["status"]


def test_several_at_once_and_from_standard_input(server, root):
    """One that is refused stops none of the others; the exit status says that there was one."""
    one, two, three = known(server, root, "one", "two", "three")
    assert run(server, "device", "deactivate", one.id, two.id, "--yes").returncode == 0
    assert [status_of(server, each) for each in (one, two, three)] == ["inactive", "inactive", "active"]
    done = run(server, "device", "activate", one.id, "00" * 32, two.id)
    assert done.returncode == 1 and done.stdout.split() == [one.id, "active", two.id, "active"]
    given = f"{one.id}\n\n  {three.id}  \n".replace("  " + three.id, three.id)
    assert run(server, "device", "deactivate", "-", given=given).returncode == 0
    assert [status_of(server, each) for each in (one, two, three)] == ["inactive", "active", "inactive"]


def test_ids_alone(server, root):
    """What one command lists, another one takes."""
    named = known(server, root, "quiet one", "quiet two")
    listed = run(server, "device", "list", "--cn", "quiet*", "-q").stdout
    assert sorted(listed.split()) == sorted(each.id for each in named)
    assert run(server, "device", "deactivate", "-", given=listed).returncode == 0
    assert {status_of(server, each) for each in named} == {"inactive"}
    assert run(server, "ca", "list", "-q").stdout.split() == [each["id"] for each in server.json("ca", "list")]
    assert run(server, "device", "list", "--cn", "nobody*", "-q").stdout == ""
    empty = run(server, "device", "deactivate", "-", given="")
    assert empty.returncode == 0 and "names none" in empty.stderr
    assert run(server, "device", "list", "--cn", "nobody*").stdout.split()[0] == "ID"


def test_ids_alone_as_json(server, root):
    """-q says what, -o json how."""
    (one,) = known(server, root, "json-one")
    ids = json.loads(run(server, "device", "list", "-q", "-o", "json").stdout)
    assert one.id in ids and all(isinstance(each, str) and len(each) == 64 for each in ids)
    assert run(server, "device", "list", "-q").stdout.split() == ids


def test_what_is_final_is_not_done_by_accident(server, root, work):
    """No terminal, no --yes: nothing is revoked, and no CA is deleted with its devices."""
    device, = known(server, root, "stays")
    done = run(server, "device", "revoke", device.id)
    assert done.returncode == 2 and "--yes" in done.stderr and status_of(server, device) == "active"
    ca = Authority(work / "cascade", "Not by accident")
    ca.register(server)
    done = run(server, "ca", "delete", ca.id, "--cascade")
    assert done.returncode == 2 and "--yes" in done.stderr
    assert server.json("ca", "show", ca.id)["status"] == "active"
    assert run(server, "device", "revoke", device.id, "--yes").returncode == 0


def test_a_long_list_shows_its_first_page_at_once(server, root, work):
    """More than a page; whoever reads only its head ends the list, and is told of no error."""
    ca = Authority(work / "many", "Of many")
    ca.register(server)
    bundle = work / "many.pem"
    bundle.write_text("".join(open(ca.issue(f"many {i}").chain_file).read() for i in range(1200)))
    assert run(server, "device", "register", str(bundle)).returncode == 0
    until("they are registered", lambda: server.json("ca", "show", ca.id)["devices"]["active"] == 1200)
    lines = run(server, "device", "list", "--ca", ca.id).stdout.splitlines()
    assert len(lines) == 1201 and {len(line.split("  ")[0]) for line in lines[1:]} == {12}
    listing = subprocess.Popen([BINARY, "device", "list", "--ca", ca.id, "--socket", server.socket],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert listing.stdout.readline().startswith("ID")
    listing.stdout.close()
    assert listing.wait(30) != 2 and listing.stderr.read() == ""
