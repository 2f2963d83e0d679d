"""Several Sallyports that share one registry in a PostgreSQL of the tests."""

import subprocess

from .postgres import Postgres
from .server import BINARY, Sallyport, listener
from .wait import until


def refuses_to_start(node):
    """What it says while it ends by itself."""
    done = subprocess.run([BINARY, "serve", "--config", node.config], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr


class Edge:
    """`nodes`: Sallyports with state of their own, called edge-0, edge-1, …"""

    def __init__(self, folder, broker, site, nodes=3, start=True, role=None, **registry):
        self.folder, self.broker, self.site, self.registry = folder, broker, site, registry
        self.postgres = Postgres(folder / "pg").start()
        self.nodes = []
        try:
            if role:
                self.postgres.sql(f"create role {role} login")
            self.command("init", *(["--grant-to", role] if role else []))
            self.url = self.postgres.url.replace("postgres@", f"{role}@") if role else self.postgres.url
            for _ in range(nodes):
                self.add(start)
        except BaseException:
            self.stop()
            raise

    def command(self, *arguments, status=0):
        done = subprocess.run([BINARY, "registry", *arguments, "--shared", self.postgres.url], capture_output=True,
                              text=True, timeout=120, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def add(self, start=True, proxy=None, **registry):
        name = f"edge-{len(self.nodes)}"
        settings = {"shared": self.url, "node": name, **self.registry, **registry}
        node = Sallyport(self.folder / name, [listener(self.site)], self.broker, registry=settings,
                         proxy=dict(proxy or {}))
        self.nodes.append(node)
        return node.start() if start else node

    def revision(self):
        return int(self.postgres.sql("select revision from sallyport.registry")[0][0])

    def settled(self, *nodes):
        """Waits until these nodes, or all, have everything in force that there is."""
        for node in nodes or self.nodes:
            until(f"{node.folder.name} has it all", lambda n=node: n.json("status")["registry"]["revision"] >= self.revision())

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
        self.postgres.stop()
        assert not failures, "\n".join(failures)
