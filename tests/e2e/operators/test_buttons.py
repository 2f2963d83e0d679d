"""The table of migrate-managed.md: a button of a managed cloud, our command, our API call. Each command and each call
is carried out, and does what the button does."""

import re
from pathlib import Path

import pytest

from harness.authority import Authority
from harness.pages import DOCS
from harness.server import listener
from harness.unix_http import ask

ROW = re.compile(r"^\| ([^|]+) \| `sallyport ([^`]+)` \| `([A-Z]+ [^`]+)` \|$", re.M)
TABLE = (DOCS / "migrate-managed.md").read_text().split("\n## Their button")[1].split("\n## ")[0]
ROWS = ROW.findall(TABLE)
# What is to be known of CA and device before a row, where it is not ("active", "active"), and what after it.
BEFORE = {"ca register": (None, None), "ca activate": ("inactive", "active"), "ca delete": ("inactive", None),
          "device activate": ("active", "inactive")}
AFTER = {"ca register": ("active", None), "ca activate": ("active", "active"), "ca deactivate": ("inactive", "active"),
         "ca delete": (None, None), "device activate": ("active", "active"), "device revoke": ("active", "revoked"),
         "device deactivate": ("active", "inactive"), "device delete": ("active", None)}
ACTIVE = ("active", "active")


@pytest.fixture(scope="module")
def server(serve, broker, site, work):
    key_file = work / "seal.key"
    key_file.write_text("5a" * 32)
    key_file.chmod(0o600)
    return serve([listener(site)], broker, registry={"key_file": str(key_file)})


class Fleet:
    """A CA and a device of its own, and a server certificate, in the state that a row begins with."""

    def __init__(self, server, folder, shop, what, command):
        self.server, self.of_ca = server, what.startswith("ca ")
        self.ca = Authority(folder, folder.name[-60:])
        self.device = self.ca.issue("meter")
        self.chain = shop.server(re.sub(r"[^a-z0-9]+", "-", folder.name.lower()) + ".example")
        ca, device = ACTIVE if "--cascade" in command else BEFORE.get(what, ACTIVE)
        if ca:
            self.ca.register(server)
        if device:
            server.cli("device", "register", self.device.chain_file)
        if device == "inactive":
            server.cli("device", "deactivate", self.device.id, "--yes")
        if ca == "inactive":
            server.cli("ca", "deactivate", self.ca.id, "--yes")
        code = server.cli("ca", "code").stdout.strip()
        self.proof = self.ca.verification(code)
        self.hosted = ""
        if what == "listener use-cert":
            self.hosted = server.cli("server-cert", "add", self.chain.chain_file, self.chain.key_file).stdout.strip()

    @property
    def one(self):
        return self.ca.identity if self.of_ca else self.device

    def standing(self):
        found = []
        for kind, id in (("ca", self.ca.id), ("device", self.device.id)):
            found.append(next((each["status"] for each in self.server.json(kind, "list") if each["id"] == id), None))
        return tuple(found)

    def by_command(self, command):
        ca_asked = "--ca" in command
        words = {"ID": self.hosted or (self.ca.id if ca_asked else self.one.id), "NAME": "mqtts",
                 "SN": self.ca.identity.serial if ca_asked else self.one.serial, "CHAIN": self.chain.chain_file,
                 "KEY": self.chain.key_file, "CA.crt": self.ca.identity.chain_file,
                 "VERIFICATION.crt": self.proof.chain_file}
        return self.server.cli(*[words.get(word, word) for word in command.split()]).stdout

    def by_call(self, call, command):
        method, path = call.split(" ", 1)
        path = path.replace("ca=ID", f"ca={self.ca.id}").replace("SN", self.one.serial)
        path = path.replace("ID", self.one.id).replace("NAME", "mqtts")
        text = {name: Path(file).read_text() for name, file in (
            ("ca", self.ca.identity.chain_file), ("proof", self.proof.chain_file), ("chain", self.chain.chain_file),
            ("key", self.chain.key_file))}
        body = {"POST /v1/registration-codes": {},
                "POST /v1/cas": {"certificate": text["ca"], "verification_certificate": text["proof"]},
                "POST /v1/server-certificates": {"chain": text["chain"], "key": text["key"]},
                "PUT /v1/listeners/mqtts/server-certificate": {"id": self.hosted},
                "PUT /v1/listeners/mqtts/auth": {"mode": command.split()[3] if len(command.split()) > 3 else ""},
                }.get(f"{method} {path}")
        status, _, answer = ask(self.server.socket, method, path, body)
        assert 200 <= status < 300, f"{call}: {status} {answer}"
        return str(answer)


def listener_of(server):
    (found,) = server.json("listener", "list")
    return found


@pytest.mark.parametrize("row", ROWS, ids=[re.sub(r"[^a-z]+", "-", command) for _, command, _ in ROWS])
def test_the_command_and_the_call_do_what_the_button_does(server, work, shop, row, request):
    _, command, call = row
    what = " ".join(command.split()[:2])
    other = Fleet(server, work / f"{request.node.callspec.id[-40:]}other", shop, "", "")
    other.of_ca = what.startswith("ca ")
    if what == "server-cert list":
        server.cli("server-cert", "add", other.chain.chain_file, other.chain.key_file)
    for way in ("command", "call"):
        fleet = Fleet(server, work / f"{request.node.callspec.id[-40:]}{way}", shop, what, command)
        said = fleet.by_command(command) if way == "command" else fleet.by_call(call, command)
        assert fleet.standing() == AFTER.get(what, BEFORE.get(what, ACTIVE)), f"{command} by {way}"
        if what in ("ca list", "ca show", "device list"):
            assert fleet.one.serial in said, "what the row asks for is among what is shown"
            assert not re.search("SN|ID", command) or other.one.serial not in said, "and nothing else"
        elif what == "server-cert list":
            assert (other.chain.id[:12] if way == "command" else other.chain.id) in said
        elif what.endswith("download"):
            assert Path(fleet.one.chain_file).read_text().strip() in said
        elif what == "server-cert add":
            assert fleet.chain.id in said and fleet.chain.id in server.cli("server-cert", "list", "-q").stdout
        elif what == "listener use-cert":
            assert listener_of(server)["server_certificates"] == [fleet.hosted]
        elif what == "listener auth":
            assert listener_of(server)["auth"] == command.split()[3]
        elif what == "ca code":
            assert re.search(r"\b[0-9a-f]{32}\b", said)


def test_the_table_is_read_whole():
    """Each row of the table has a command and a call; none is passed over."""
    assert len(ROWS) == sum(line.startswith("| ") for line in TABLE.splitlines()) - 1 > 20
