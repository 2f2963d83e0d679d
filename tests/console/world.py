"""What the console is shown: a real server and broker, CAs, devices in every state, live sessions and refusals.

`python3 world.py FOLDER` keeps one running for looking at by hand; its address and tokens go to FOLDER/world.json.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from harness.admin import Admin  # noqa: E402
from harness.authority import Authority, days, name_of, now  # noqa: E402
from harness.broker import Mosquitto, free_port  # noqa: E402
from harness.device import Device, refusal  # noqa: E402
from harness.server import listener  # noqa: E402
from harness.wait import until  # noqa: E402

# Subjects that a page must show as text. A common name holds 64 characters in OpenSSL's eyes, 256 bytes in ours.
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<script>document.title='owned'</script>",
    "\u202egnp.exe\u202c right to left",
    "\u2066isolated\u2069 and \u200fmarked",
    "a'\"`;--${1}&amp;%00",
    "表計算端末-データ-𝕏",
]


class World:
    def __init__(self, folder, meters=60):
        self.folder = Path(folder)
        self.shop = Authority(self.folder / "shop", "Server certificate shop")
        self.site = self.shop.server("localhost")
        self.broker = Mosquitto(self.folder / "broker").start()
        key_file = self.folder / "seal.key"
        key_file.write_text("5a" * 32)
        key_file.chmod(0o600)
        self.admin = Admin(
            self.folder / "server",
            [listener(self.site), listener(self.site, "gateway", auth="one-way", upstream="edge"),
             listener(self.site, "plant", clones="alert")],
            admin={"address": f"127.0.0.1:{free_port()}", "backup_dir": str(self.folder / "backups")},
            broker=None,
            upstreams=[{"name": "broker", "servers": [self.broker.address]},
                       {"name": "edge", "servers": [self.broker.address, f"127.0.0.1:{free_port()}"],
                        "health_interval": "1s"}],
            registry={"key_file": str(key_file)})
        self.server = self.admin.server
        self.held = []  # connections that stay open
        self.fill(meters)

    def fill(self, meters):
        server, folder = self.server, self.folder
        port = server.ports["mqtts"]
        self.fleet = Authority(folder / "fleet", "Fleet CA 2026")
        self.fleet.register(server)
        self.closed = Authority(folder / "closed", "Retired line CA")
        self.closed.register(server)
        self.plant = Authority(folder / "plant", "Plant CA")
        self.plant.register(server, "--approve")
        self.soon = Authority(folder / "soon", "Pilot CA", not_after=now() + days(20))
        self.soon.register(server)
        self.stranger = Authority(folder / "stranger", "Somebody else's CA")
        self.meters = [self.fleet.issue(f"meter-{i:04d}", not_after=now() + days(12 if i % 9 == 0 else 400))
                       for i in range(meters)]
        self.hostile = [self.fleet.issue(cn) for cn in HOSTILE]
        bundle = folder / "bundle.pem"
        bundle.write_text("".join(Path(each.chain_file).read_text() for each in self.meters + self.hostile))
        server.cli("device", "register", str(bundle), "--yes")
        for each in self.meters[:9]:
            self.hold(Device(port, each), each.cn)
        for each in self.hostile:
            self.hold(Device(port, each), f"client of {each.cn}"[:60])
        for each in self.meters[20:24]:
            server.cli("device", "deactivate", each.id, "--yes")
        for each in self.meters[24:27]:
            server.cli("device", "revoke", each.id, "--yes")
        # One certificate in two places.
        plant_port = server.ports["plant"]
        self.hold(Device(plant_port, self.meters[10]), "meter-0010")
        self.hold(Device(plant_port, self.meters[10], source="127.0.0.2"), "meter-0010-b")
        self.old = self.closed.issue("old-1")
        server.cli("device", "register", self.old.chain_file)
        server.cli("ca", "deactivate", self.closed.id, "--yes")
        self.waiting = [self.plant.issue(f"press-{i}") for i in range(3)]
        for each in self.waiting:
            device = Device(port, each)
            device.connect(each.cn)
            device.close()
        for who in [self.meters[20], self.meters[24], self.old, self.stranger.issue("unknown-7"),
                    self.fleet.issue("late", not_before=now() - days(9), not_after=now() - days(1)),
                    self.fleet.issue("<b>bold</b>\u202e", signer=self.stranger.key)]:
            for _ in range(2):
                refusal(port, who)

    def hold(self, device, client_id):
        assert device.connect(client_id) == 0
        self.held.append(device)

    def description(self):
        admin = self.admin
        return {
            "url": f"http://127.0.0.1:{admin.port}", "socket": self.server.socket, "pid": self.server.process.pid,
            "operator": admin.token("operator", "console-operator"), "viewer": admin.token("viewer", "console-viewer"),
            "folder": str(self.folder),
        }

    def stop(self):
        for each in self.held:
            each.close()
        self.server.stop()
        self.broker.stop()


if __name__ == "__main__":
    world = World(Path(sys.argv[1]))
    Path(sys.argv[1], "world.json").write_text(json.dumps(world.description(), indent=1))
    try:
        while True:  # some life, so that the charts move
            for i in range(10):
                with Device(world.server.ports["mqtts"], world.meters[30 + i]) as device:
                    device.connect(f"visitor-{i}")
                time.sleep(0.3)
            refusal(world.server.ports["mqtts"], world.stranger.issue("passer-by"))
    finally:
        world.stop()
