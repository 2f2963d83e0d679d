"""A real PostgreSQL (Debian's), in a folder and on a loopback port of its own, stopped by process id."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from .wait import PATIENCE, until


def programs():
    """The newest version that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    assert found, "PostgreSQL is not installed: deploy/packages.sh has it"
    return found[-1].parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


_made = []  # what initdb made, once in a process: it takes longer than a copy


class Postgres:
    """initdb refuses root: then it runs as `postgres`, whom the package made. `launcher`: the words before its command."""

    host, launcher = "127.0.0.1", ()

    def __init__(self, folder):
        self._place(folder)
        if not _made:
            first = self.folder / "initdb"
            self._run("initdb", "-D", first, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale", "C")
            _made.append(first)
        subprocess.run(["cp", "-a", str(_made[0]), str(self.data)], check=True, timeout=PATIENCE)
        self._configure()

    def _place(self, folder):
        self.bin = programs()
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "data"
        self.port = free_port()
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.process = None
        if os.geteuid() == 0:
            for above in [self.folder, *self.folder.parents][:-2]:
                above.chmod(above.stat().st_mode | 0o055)
            shutil.chown(self.folder, "postgres")

    def _configure(self):
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as file:
            file.write(f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\n"
                       "max_connections = 60\nshared_buffers = 64MB\n"
                       "fsync = off\n")  # it is killed, its machine is not: what it has written, the kernel has

    def _as_user(self):
        return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}

    def _run(self, program, *arguments):
        done = subprocess.run([str(self.bin / program), *map(str, arguments)], capture_output=True, text=True,
                              timeout=PATIENCE * 2, cwd=self.folder, **self._as_user())
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"
        return done.stdout

    @property
    def url(self):
        return f"postgresql://postgres@{self.host}:{self.port}/postgres"

    def start(self):
        self._spawn()
        until("PostgreSQL answers", self.answers, 30, pause=0.05)
        return self

    def _spawn(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([*self.launcher, str(self.bin / "postgres"), "-D", str(self.data)], stdout=log,
                                            stderr=log, cwd=self.folder, start_new_session=True, **self._as_user())

    def answers(self):
        if self.process.poll() is not None:  # a child that was born while it was killed held the shared memory
            self._spawn()
        return subprocess.run([str(self.bin / "pg_isready"), "-h", self.host, "-p", str(self.port), "-q"],
                              timeout=PATIENCE, check=False).returncode == 0

    def kill9(self):
        """All of it, as a machine that dies: the backends would notice the postmaster's end only later."""
        self._signal(signal.SIGKILL)
        self.process.wait(PATIENCE)
        self.process = None
        until("nothing listens any more", lambda: self._refused(), 10)

    def _refused(self):
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) != 0

    def _signal(self, which):
        """The postmaster, which starts no other from then on, and its children: each is a session of its own."""
        os.kill(self.process.pid, which)
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                pid, rest = int(stat.parts[2]), stat.read_text().rsplit(")", 1)[1].split()
                if int(rest[1]) == self.process.pid:
                    os.kill(pid, which)

    def pause(self):
        self._signal(signal.SIGSTOP)

    def go_on(self):
        self._signal(signal.SIGCONT)

    def stop(self):
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.go_on()
            self.process.send_signal(signal.SIGINT)  # fast: sessions are ended
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait(PATIENCE)
        self.process = None

    def sql(self, text, database="postgres"):
        """Rows as lists of texts."""
        done = subprocess.run([str(self.bin / "psql"), "-X", "-q", "-A", "-t", "-F", "|", "-v", "ON_ERROR_STOP=1", "-h",
                               self.host, "-p", str(self.port), "-U", "postgres", "-d", database, "-c", text],
                              capture_output=True, text=True, timeout=PATIENCE * 10, check=False)
        assert done.returncode == 0, done.stderr
        return [line.split("|") for line in done.stdout.splitlines()]

    def copy_cold(self, into):
        """A backup: PostgreSQL is stopped for it."""
        shutil.copytree(self.data, into, symlinks=True)

    def put_back(self, backup):
        shutil.rmtree(self.data)
        shutil.copytree(backup, self.data, symlinks=True)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "postgres:postgres", str(self.data)], check=True, timeout=PATIENCE)
        self.data.chmod(0o700)
