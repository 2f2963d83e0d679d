"""Several Sallyports that share one registry in a PostgreSQL of the tests."""

import subprocess

from .device import admitted
from .postgres import Postgres
from .replication import Standby
from .server import BINARY, Sallyport, listener
from .wait import until


def refuses_to_start(node):
    """What it says while it ends by itself."""
    done = subprocess.run([BINARY, "serve", "--config", node.config], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr


def is_away(node):
    return not node.json("status")["registry"]["connected"]


class Edge:
    """`nodes`: Sallyports with state of their own, called edge-0, edge-1, … `standby`: PostgreSQL has one, and the nodes
    know both."""

    def __init__(self, folder, broker, site, nodes=3, start=True, role=None, standby=False, postgres=Postgres, **registry):
        self.folder, self.broker, self.site, self.registry = folder, broker, site, registry
        self.postgres, self.standby, self.nodes = postgres(folder / "pg").start(), None, []
        self.servers = [self.postgres]  # every PostgreSQL there is
        try:
            if role:
                self.postgres.sql(f"create role {role} login")
            self.command("init", *(["--grant-to", role] if role else []))
            self.url = self.postgres.url.replace("postgres@", f"{role}@") if role else self.postgres.url
            if standby:
                self.standby = Standby(folder / "standby", self.postgres)
                self.servers.append(self.standby.start())
                self.url = (f"postgresql://postgres@127.0.0.1:{self.postgres.port},127.0.0.1:{self.standby.port}/postgres"
                            "?target_session_attrs=read-write")
            for _ in range(nodes):
                self.add(start)
            if start:
                self.acquainted()
        except BaseException:
            self.stop()
            raise

    def command(self, *arguments, status=0):
        done = subprocess.run([BINARY, "registry", *arguments, "--shared", self.postgres.url], capture_output=True,
                              text=True, timeout=120, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def add(self, start=True, environment=None, proxy=None, address=None, **registry):
        """`address`: of its API and console."""
        name = f"edge-{len(self.nodes)}"
        tables = {"admin": {"socket": str(self.folder / name / "admin.sock"), "address": address}} if address else {}
        settings = {"shared": self.url, "node": name, **self.registry, **registry}
        node = Sallyport(self.folder / name, [listener(self.site)], self.broker, environment=environment, registry=settings,
                         proxy=dict(proxy or {}), **tables)
        self.nodes.append(node)
        return node.start() if start else node

    def acquainted(self):
        """Waits until each node knows of all: they look once a second."""
        names = sorted(node.folder.name for node in self.nodes)
        for node in self.nodes:
            until(f"{node.folder.name} knows them all", lambda n=node: [each["name"] for each in n.json("node", "list")] == names)

    def revision(self):
        return int(self.postgres.sql("select revision from sallyport.registry")[0][0])

    def settled(self, *nodes):
        """Waits until these nodes, or all, have everything in force that there is."""
        for node in nodes or self.nodes:
            until(f"{node.folder.name} has it all", lambda n=node: n.json("status")["registry"]["revision"] >= self.revision())

    def known(self, fleet, name):
        """A device that came in at the first node, and that every node knows."""
        device = fleet.issue(name)
        with admitted(self.nodes[0].port, device):
            self.nodes[0].registered(device)
        self.settled()
        return device

    def fail_over(self):
        """The standby is the primary from now on, whatever the other one thinks of itself."""
        self.postgres, self.standby = self.standby.promote(), None

    def heal(self):
        """All of them run, and follow: whatever the test before has left."""
        if self.postgres.process is None:
            self.postgres.start()
        for node in self.nodes:
            if node.process is None:
                node.start()
        for node in self.nodes:
            until(f"{node.folder.name} follows", lambda n=node: n.json("status")["registry"]["connected"])
        self.settled()

    def stop(self):
        failures = []
        for node in self.nodes:
            try:
                node.stop()
            except AssertionError as failure:
                failures.append(str(failure))
            if node.process is not None:
                node.kill9()
        for server in self.servers:
            server.stop()
        assert not failures, "\n".join(failures)
