"""The console of one node of a shared registry, in a real browser (tests/console): it shows every node's sessions and
refusals, and cuts there."""

import sys
from pathlib import Path

import pytest

from harness.authority import Authority
from harness.broker import free_port
from harness.device import Device, refusal
from harness.edge import Edge
from harness.wait import until

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "console"))

import runner  # noqa: E402

pytestmark = pytest.mark.skipif(not runner.THERE, reason="needs nodejs, npm and chromium")


class Machines:
    """Three of them; the first has the console. A device at-N is connected to each."""

    def __init__(self, folder, broker, site):
        self.folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        self.edge = Edge(folder, broker, site, nodes=0)
        try:
            self.nodes = [self.edge.add(address=self.address), self.edge.add(), self.edge.add()]
            self.edge.acquainted()
            self.fleet = Authority(folder / "fleet", "Machines fleet")
            self.fleet.register(self.nodes[0])
            self.edge.settled()
            self.held, self.issued = {}, {}
            for number in range(3):
                self.do_hold([f"at-{number}", number])
            self.stranger = Authority(folder / "stranger", "A stranger's CA").issue("unknown at 1")
            assert refusal(self.nodes[1].port, self.stranger)
            self.edge.settled()
        except BaseException:
            self.edge.stop()
            raise

    def stop(self):
        for each in self.held.values():
            each.close()
        self.edge.stop()

    def token(self, role):
        return self.nodes[0].cli("token", "create", "--name", f"machines-{role}", "--role", role, "--yes").stdout.strip()

    def description(self):
        return {"url": f"http://{self.address}", "folder": str(self.folder), "operator": self.token("operator"),
                "viewer": self.token("viewer")}

    # What the checks ask of this side.
    def do(self, what):
        (name, argument), = what.items()
        return getattr(self, f"do_{name}")(argument)

    def do_hold(self, asked):
        name, number = asked
        device = self.issued[name] = self.issued.get(name) or self.fleet.issue(name)
        self.held[name] = Device(self.nodes[number].port, device)
        assert self.held[name].connect(name, keep_alive=0) == 0
        self.nodes[number].registered(device)

    def do_ended(self, name):
        return self.held.pop(name).end()

    def do_stop(self, number):
        self.nodes[number].kill9()
        until("the first node knows", lambda: [
            each for each in self.nodes[0].json("node", "list")
            if each["name"] == f"edge-{number}" and each["last_seen_seconds_ago"] > 11])


@pytest.fixture
def machines(work, broker, site):
    runner.install()
    made = Machines(work / "machines", broker, site)
    yield made
    made.stop()


def test_the_console_of_one_node_is_the_console_of_all(machines):
    runner.run(machines, "machines")
