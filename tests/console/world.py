"""What the console is shown: a real server and broker, CAs, devices in every state, live sessions and refusals.

`python3 world.py FOLDER` keeps one running for looking at by hand; its address and tokens go to FOLDER/world.json.
"""

import json
import re
import subprocess
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.x509.oid import NameOID  # noqa: E402

from harness.admin import Admin  # noqa: E402
from harness.authority import Authority, days, now, pem  # noqa: E402
from harness.broker import Mosquitto, free_port  # noqa: E402
from harness.device import Device, Ended, client_context, refusal  # noqa: E402
from harness.server import listener  # noqa: E402

# Common names that a page must show as text.
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<script>document.title='owned'</script>",
    "\u202egnp.exe\u202c right to left",
    "\u2066isolated\u2069 and \u200fmarked",
    "a'\"`;--${1}&amp;%00",
    "表計算端末-データ-𝕏",
]

# Beside a device named meter-0001, each of these looks like it or like nothing.
LOOKALIKES = ["meter-0001\u00ad", "meter-0001\u034f", "meter-0001\ufe0f", "meter-0001\U000e0041", "meter-0001\u3164",
              "meter\u00a00001", "meter  0001", "meter-0001 "]


def crl_of(authority, serials, key=None):
    """A CRL of `authority` as PEM; `key`: another one signs it under its name."""
    begun = now()
    builder = (x509.CertificateRevocationListBuilder().issuer_name(authority.name).last_update(begun - days(1))
               .next_update(begun + days(30)).add_extension(x509.CRLNumber(7), critical=False))
    for serial in serials:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(begun - days(1)).build())
    return builder.sign(key or authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class World:
    """One server in all its states, and the other half of the checks: what only this side can do, by do()."""

    def __init__(self, folder, meters=70):
        self.folder = Path(folder)
        self.shop = Authority(self.folder / "shop", "Server certificate shop")
        self.site = self.shop.server("localhost")
        self.broker = Mosquitto(self.folder / "broker").start()
        key_file = self.folder / "seal.key"
        key_file.write_text("5a" * 32)
        key_file.chmod(0o600)
        self.address = f"127.0.0.1:{free_port()}"
        self.admin = Admin(
            self.folder / "server",
            [listener(self.site), listener(self.site, "gateway", auth="one-way", upstream="edge"),
             listener(self.site, "plant", clones="alert")],
            None, {"address": self.address, "backup_dir": str(self.folder / "backups")},
            upstreams=[{"name": "broker", "servers": [self.broker.address]},
                       {"name": "edge", "servers": [self.broker.address, f"127.0.0.1:{free_port()}"],
                        "health_interval": "1s"}],
            registry={"key_file": str(key_file)})
        self.server = self.admin.server
        self.config = Path(self.server.config).read_text()
        self.held = {}  # by name: connections that stay open
        self.presses = {}
        self.fill(meters)

    def fill(self, meters):
        server, folder = self.server, self.folder
        port = server.ports["mqtts"]
        self.fleet = Authority(folder / "fleet", "Fleet CA 2026")
        self.closed = Authority(folder / "closed", "Retired line CA")
        self.plant = Authority(folder / "plant", "Plant CA")
        self.soon = Authority(folder / "soon", "Pilot CA", not_after=now() + days(20))
        self.spare = Authority(folder / "spare", "Spare CA")
        self.stranger = Authority(folder / "stranger", "Somebody else's CA")
        for each in (self.fleet, self.closed, self.soon, self.spare):
            each.register(server)
        self.plant.register(server, "--approve")
        self.listed = Authority(folder / "listed", "By hand CA")
        self.listed.register(server, "--no-auto-register")
        Authority(folder / "renewed", "By hand CA").register(server)  # of the same name
        self.meters = [self.fleet.issue(f"meter-{i:04d}", not_after=now() + days(12 if i % 9 == 0 else 400))
                       for i in range(meters)]
        self.hostile = [self.fleet.issue(cn) for cn in HOSTILE]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # 64 characters are the limit; a device may not care
            long_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "n" * 256, _validate=False)])
        self.long = self.fleet.issue(subject=long_name)
        self.lookalikes = [self.fleet.issue(cn) for cn in LOOKALIKES]
        self.spares = [self.spare.issue(f"spare-{i}") for i in range(3)]
        self.old = self.closed.issue("old-1")
        bulk = [self.fleet.issue(f"bulk-{i}") for i in range(6)]
        first = folder / "first.pem"
        everybody = [*self.meters, *self.hostile, *self.lookalikes, self.long, *self.spares, *bulk, self.old]
        first.write_text("".join(Path(each.chain_file).read_text() for each in everybody))
        server.cli("device", "register", str(first), "--yes")
        for each in self.meters[:9]:
            self.hold(each.cn, Device(port, each), each.cn)
        for i, each in enumerate(self.hostile):
            self.hold(f"hostile-{i}", Device(port, each), f"client of {each.cn}"[:60])
        for each in self.spares[:2]:
            self.hold(f"spare {each.cn}", Device(port, each), each.cn)
        # One certificate in two places.
        plant_port = server.ports["plant"]
        self.hold("clone-1", Device(plant_port, self.meters[10]), "meter-0010")
        self.hold("clone-2", Device(plant_port, self.meters[10], source="127.0.0.2"), "meter-0010-b")
        server.cli("device", "deactivate", *[each.id for each in self.meters[20:24]], "--yes")
        server.cli("device", "revoke", *[each.id for each in self.meters[24:27]], "--yes")
        server.cli("ca", "deactivate", self.closed.id, "--yes")
        for i in range(3):
            self.press(f"press-{i}")
        self.unknown = self.stranger.issue("unknown-7")
        self.expired = self.fleet.issue("late", not_before=now() - days(9), not_after=now() - days(1))
        self.tire = self.listed.issue("tire-1")
        # Names that only look as if they were a meter's: in another part of the subject, and as one of two.
        organization, name = NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME
        tricks = [[(organization, "x, CN = meter-0001, OU = a"), (name, "evil-1")], [(name, "meter-0001"), (name, "evil-2")]]
        self.tricks = [self.stranger.issue(subject=x509.Name([x509.NameAttribute(*each) for each in parts])) for parts in tricks]
        for who in [*self.tricks, self.tire, self.meters[20], self.meters[24], self.old, self.unknown, self.expired,
                    self.fleet.issue("<b>bold</b>\u202e", signer=self.stranger.key)]:
            for _ in range(2):
                refusal(port, who)
        self.files = self.written()

    def written(self):
        """Files that a person hands in."""
        def write(name, text):
            path = self.folder / name
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            return str(path)

        new = [self.fleet.issue(f"imported-{i}") for i in range(40)]
        bundle = pem(self.unknown.certificate) + "".join(pem(each.certificate) for each in new)
        broken = "-----BEGIN CERTIFICATE-----\nnot base64\n-----END CERTIFICATE-----\n"
        second = self.shop.server("second.example")
        serials = [self.meters[50].certificate.serial_number, 0x1234567890]
        return {
            "bundle": write("bundle.pem", bundle + broken),
            "with_key": write("with_key.pem", Path(new[0].chain_file).read_text() + Path(new[0].key_file).read_text()),
            "crl": write("fleet.crl", crl_of(self.fleet, serials)),
            "forged_crl": write("forged.crl", crl_of(self.fleet, serials, self.stranger.key)),
            "server_chain": second.chain_file, "server_key": second.key_file, "wrong_key": self.site.key_file,
            "expired": self.expired.chain_file,
            "strange_crl": write("stranger.crl", crl_of(self.stranger, serials)),
            "der_key": write("key.der", new[0].key.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())),
            "noise": write("noise.bin", b"no certificate is in here\n" * 200),
        }

    def hold(self, name, device, client_id):
        assert device.connect(client_id, keep_alive=0) == 0  # for as long as the checks take
        self.held[name] = device

    def press(self, cn):
        """A device of the plant comes for the first time; the code of its CONNACK."""
        self.presses.setdefault(cn, self.plant.issue(cn))
        try:
            with Device(self.server.ports["mqtts"], self.presses[cn]) as device:
                return device.connect(cn)
        except Ended as ended:
            return ended.how

    def description(self):
        return {
            "url": f"http://{self.address}", "folder": str(self.folder), "socket": self.server.socket,
            "operator": self.admin.token("operator", "console-operator"),
            "viewer": self.admin.token("viewer", "console-viewer"),
            "cas": {"fleet": self.fleet.id, "spare": self.spare.id},
            "devices": {"active": self.meters[0].id, "online": self.meters[1].id, "forgotten": self.meters[40].id,
                        "inactive": self.meters[20].id, "long": self.long.id},
            "hostile": HOSTILE, "lookalikes": LOOKALIKES, "broker": self.broker.address, "files": self.files,
        }

    # The other half of the checks: one method a command.
    def do(self, what):
        (name, argument), *more = what.items()
        return getattr(self, f"do_{name}")(argument, **dict(more))

    def do_cli(self, arguments):
        return self.server.cli(*arguments).stdout.strip()

    def do_token(self, role, name):
        return self.admin.token(role, name)

    def do_stop(self, _):
        self.server.stop()

    def do_start(self, _):
        self.server.start()

    def do_ended(self, prefix, close=False):
        """How the connections whose name begins so have ended; `close`: we end them ourselves."""
        names = [each for each in self.held if each.startswith(prefix)]
        if close:
            for each in names:
                self.held.pop(each).close()
            return []
        return [self.held.pop(each).end() for each in names]

    def do_crowd(self, count):
        who = self.meters[60]
        port, context = self.server.ports["mqtts"], client_context(who)
        for i in range(count):
            self.hold(f"crowd-{i}", Device(port, who, context=context), f"crowd-{i}")

    def do_press(self, cn):
        return self.press(cn)

    def do_press_again(self, cn):
        return self.press(cn)

    def do_comes(self, number):
        """A registered device connects; whether it was let in."""
        try:
            with Device(self.server.ports["mqtts"], self.meters[number]) as device:
                return device.connect(self.meters[number].cn) == 0
        except Ended:
            return False

    def do_shown_by(self, name):
        """The subject of the certificate that a listener shows to who comes now."""
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.server.ports[name]}"],
                              input="", capture_output=True, text=True, timeout=30, check=False)
        return re.search(r"^subject=(.*)$", done.stdout, re.M).group(1)

    def do_config(self, more):
        Path(self.server.config).write_text(more + "\n" + self.config)

    def do_signed(self, asked):
        """Runs the commands that the wizard shows, in a folder with CA.crt and CA.key, and makes what is wrong beside."""
        folder = self.folder / "line-7"
        folder.mkdir()
        made = Authority(folder, "Line 7 CA")
        (folder / "CA.crt").write_text(pem(made.certificate))
        (folder / "CA.key").write_bytes(Path(made.identity.key_file).read_bytes())
        subprocess.run(["bash", "-e"], input=asked["commands"], text=True, cwd=folder, capture_output=True, check=True)
        (folder / "text.crt").write_text("this is no certificate\n")
        return {"ca": str(folder / "CA.crt"), "key": str(folder / "CA.key"), "proof": str(folder / "verification.crt"),
                "wrong_code": made.verification("0" * 32).chain_file, "text": str(folder / "text.crt"),
                "wrong_key": made.verification(asked["code"], signer=self.stranger.key).chain_file,
                "leaf": made.issue("a device", ca=False).chain_file}

    def stop(self):
        for each in self.held.values():
            each.close()
        if self.server.process is not None:
            self.server.stop()
        self.broker.stop()


if __name__ == "__main__":
    world = World(Path(sys.argv[1]))
    Path(sys.argv[1], "world.json").write_text(json.dumps(world.description(), indent=1))
    try:
        while True:  # some life, so that the charts move
            for number in range(10):
                with Device(world.server.ports["mqtts"], world.meters[30 + number]) as visitor:
                    visitor.connect(f"visitor-{number}")
                time.sleep(0.3)
            refusal(world.server.ports["mqtts"], world.unknown)
    finally:
        world.stop()
