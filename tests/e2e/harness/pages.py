"""Operators' pages, read as a reader would: what each block is, and one shell script that does what the page says.

    ```sh                      commands, run one after the other in one shell
    ```sh background           a command that runs beside the others until the end
    ```sh elsewhere            commands for another machine: run against a stand-in, which writes down what it is asked
    ```console                 commands behind "$ ", and what each prints, which is compared
    ```toml /etc/…/file.toml   a file: it is written with this very content
    <!-- happens                what befalls the reader, who does not see it: a disk is lost

A page is written for a machine of its own; `Place` says what stands for that here."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from .broker import free_port
from .server import BINARY

DOCS = Path(__file__).parents[3] / "admin" / "docs"
BLOCK = re.compile(r"^( *)```(\S*)([^\n]*)\n(.*?)^\1```$", re.M | re.S)  # indented: of a step in a list
EVENT = re.compile(r"^<!-- happens\n(.*?)^-->$", re.M | re.S)
# What is not run: a file's content without its name, and what a program prints.
SHOWN = ("toml", "yaml", "")
FILES = ("toml", "conf", "haproxy", "nginx", "text")

# Of the page's machine: its ports, its folders, its networks, the name that devices connect to.
ELSEWHERE = ("aws", "apt-get", "timedatectl")
PORTS = ("8883", "8884", "8885", "1883", "9884", "443")
FOLDERS = ("/etc/sallyport", "/var/lib/sallyport", "/run/sallyport", "/var/backups/sallyport", "/etc/mosquitto",
           "/etc/haproxy", "/etc/nginx", "/etc/systemd/system")
NETWORK, LOOPBACK = "10.0.", "127.0."
NAME = "mqtt.example.com"
ANY_LINES = "..."
# What a device or a process just did shows a moment later in what these ask for, and none of them changes anything:
# they are asked again until they print what the page shows.
LATER = re.compile(r"sallyport ((device|session|upstream|listener|ca) (list|show)|rejections|status)\b[^|]*"
                   r"|journalctl [^;&]*|curl -s [^;&]*/(readyz|livez|metrics)\b[^;&]*")
PATIENCE = 20


class Block:
    def __init__(self, page, line, language, rest, text):
        self.page, self.line, self.language, self.text = page, line, language, text
        self.rest = rest.strip()
        if language == "sh":
            assert self.rest in ("", "background", "elsewhere"), f"{self}: what is a block {self.rest!r}?"
            self.kind = self.rest or "sh"
        elif language == "console":
            self.kind = "console"
        elif self.rest and language in FILES:
            assert self.rest.startswith("/") or "/" not in self.rest, f"{self}: {self.rest!r} is no name of a file"
            self.kind = "file"
        else:
            assert language in SHOWN, f"{self}: nobody runs a block of {language!r}"
            self.kind = "shown"

    def __str__(self):
        return f"{self.page}:{self.line}"

    def shown_commands(self):
        """(line, command, what it prints) of a console block."""
        found = []
        for offset, line in enumerate(self.text.splitlines()):
            if found and found[-1][1].endswith("\\"):
                found[-1][1] += "\n" + line
            elif line.startswith("$ "):
                found.append([self.line + offset, line[2:], []])
            else:
                assert found, f"{self}: no command stands before {line!r}"
                found[-1][2].append(line)
        return found


def blocks_of(text, page="?"):
    found = [(each.start(), each[2], each[3], re.sub(rf"^{each[1]}", "", each[4], flags=re.M))
             for each in BLOCK.finditer(text)]
    found += [(each.start(), "sh", "", each[1]) for each in EVENT.finditer(text)]
    return [Block(page, text[:start].count("\n") + 2, *each) for start, *each in sorted(found)]


def blocks(page):
    return blocks_of((DOCS / page).read_text(), page)


def _must_fail(command):
    """A command that is to fail must: bash's -e passes over what stands behind a "!"."""
    return re.sub(r"^! ((?:.*\\\n)*.*)$", r"if \1; then echo 'it did not fail' >&2; false; fi", command, flags=re.M)


def script_of(found, here=str):
    """One shell script of a page's blocks, whose words `here` turns into this machine's. What a console block's command
    prints goes to $SHOWN/PAGE:LINE."""
    lines = ["set -eEuo pipefail", "trap 'echo \"$PAGE, line $LINE, failed: $BASH_COMMAND\" >&2' ERR"]
    for block in found:
        lines.append(f"PAGE='{block.page}' LINE={block.line}")
        if block.kind in ("sh", "elsewhere"):
            lines.append(_must_fail(here(block.text)))
        elif block.kind == "background":
            # Started in the folder where the reader stands by then.
            lines.append(f"( exec {here(block.text.strip())} ) >>background.log 2>&1 &")
        elif block.kind == "file":
            end = "END_OF_THE_PAGES_FILE"
            file = here(block.rest)
            lines.append(f"mkdir -p \"$(dirname {file})\"\ncat > {file} <<'{end}'\n{here(block.text)}{end}\n"
                         f"as-here {file}")
        elif block.kind == "console":
            for line, command, _ in block.shown_commands():
                printed = f"\"$SHOWN/$PAGE:{line}\""
                shown = f"LINE={line}\n{{ {_must_fail(here(command))}\n}} > {printed} 2>&1 </dev/null"
                if LATER.fullmatch(command):
                    # Of a loop's condition -e does not care: who fails says so in what is compared.
                    shown = f"SECONDS=0\nwhile {shown} || echo \"exit status $?\" >> {printed}\n" \
                            f"! as-shown \"$PAGE:{line}\" && [ $SECONDS -lt {PATIENCE} ]; do sleep 0.2; done"
                lines.append(shown)
    return "\n".join(lines) + "\n"


class Place:
    """Stands for the page's machine: a folder in which everything is, free ports, loopback, and a bin/ with what a
    machine has that a test has not: units of systemd (units.py), and the user that the package makes."""

    def __init__(self, folder, stock=None):
        self.folder = Path(folder)
        self.root = self.folder / "m"
        self.work = self.folder / "work"
        self.shown = self.folder / "shown"
        for each in (self.root / "etc/sallyport", self.root / "run/sallyport", self.root / "var/lib",
                     self.root / "var/backups", self.work, self.shown, self.folder / "bin"):
            each.mkdir(parents=True)
        if stock is not None:
            shutil.copytree(stock / "work", self.work, dirs_exist_ok=True)
            shutil.copytree(stock / "etc", self.root / "etc/sallyport", dirs_exist_ok=True)
        self.ports = {port: str(free_port()) for port in PORTS}
        (self.folder / "ports").write_text(json.dumps(self.ports))
        for name in ("systemctl", "journalctl", "as-here", "chown", "chgrp", *ELSEWHERE):
            self.tool(name, f"exec {sys.executable} -B {Path(__file__).parent / 'units.py'} {name} \"$@\"")
        self.tool("as-shown", f"PYTHONPATH={Path(__file__).parents[1]} exec {sys.executable} -B -m harness.pages "
                              f"{self.folder} \"$1\"")
        # The real binary. Where it would read the default configuration, it reads the page's.
        self.tool("sallyport", f"case \"$1\" in serve|check|doctor) case \"$*\" in *--config*) ;; *)\n"
                               f"  set -- \"$@\" --config {self.root}/etc/sallyport/sallyport.toml ;;\nesac ;; esac\n"
                               f"exec {BINARY} \"$@\"")

    def tool(self, name, script):
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    @classmethod
    def of(cls, folder):
        """One that was made before."""
        place = cls.__new__(cls)
        place.folder, place.root, place.work, place.shown = (Path(folder, each) for each in ("", "m", "work", "shown"))
        place.ports = json.loads(Path(folder, "ports").read_text())
        return place

    def here(self, text):
        """The page's text for this machine."""
        for port, ours in self.ports.items():
            text = re.sub(rf"(?<![\w.]){port}(?!\w)", ours, text)
        for each in FOLDERS:
            text = text.replace(each, f"{self.root}{each}")
        return text.replace(NETWORK, LOOPBACK).replace(NAME, "localhost")

    def there(self, text):
        """What was printed here, as the page's machine would have it."""
        text = text.replace(str(self.root), "").replace(str(self.work), "/root")
        for port, ours in self.ports.items():
            text = re.sub(rf"\b{ours}\b", port, text)
        text = re.sub(rf"\buid {os.geteuid()}\b", "uid 0", text)
        return re.sub(r"\b127\.0\.(?!0\.1\b)", NETWORK, text).replace("localhost", NAME)

    def environment(self):
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SALLYPORT_")}
        return {**kept, "PATH": f"{self.folder}/bin:{kept['PATH']}:/usr/sbin", "HOME": str(self.folder),
                "SHOWN": str(self.shown), "PLACE_WORK": str(self.work), "PLACE_ROOT": str(self.root),
                "PLACE_BINARY": BINARY, "PLACE_METRICS": f"127.0.0.1:{self.ports['9884']}",
                "LC_ALL": "C.UTF-8", "TZ": "UTC",
                "SALLYPORT_SOCKET": f"{self.root}/run/sallyport/admin.sock"}

    def run(self, page, found, timeout=400):
        """Does what the page says. Raises AssertionError with what was printed if a command fails."""
        for block in found:
            for line, _, expected in block.shown_commands() if block.kind == "console" else ():
                (self.folder / f"{block.page}:{line}.wanted").write_text("\n".join(expected))
        output = self.folder / "output"
        with open(output, "w") as file:
            shell = subprocess.Popen(["bash", "-c", script_of(found, self.here)], cwd=self.work, stdout=file,
                                     env=self.environment(), stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT,
                                     start_new_session=True)
        try:
            try:
                status = shell.wait(timeout)
            except subprocess.TimeoutExpired:
                status = f"not within {timeout} s"
            if status != 0:
                raise AssertionError(f"{page}: {status}\n{self._said(output)}")
        finally:
            # Whoever was started by the page is of its session, and ends with it.
            try:
                os.killpg(shell.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            shell.wait()

    def _said(self, output):
        last = sorted(self.shown.iterdir(), key=lambda each: each.stat().st_mtime)[-1:]
        logs = [output, *last, *self.work.rglob("background.log"), *sorted(self.root.glob("run/*.log"))]
        return "\n".join(f"--- {each.name}\n{each.read_text(errors='replace')[-3000:]}" for each in logs)

    def printed(self, where):
        return self.there((self.shown / where).read_text()).splitlines()

    def differences(self, found):
        """Where what was printed is not what the page shows."""
        wrong = []
        for block in found:
            for line, command, expected in block.shown_commands() if block.kind == "console" else ():
                printed = self.printed(f"{block.page}:{line}")
                if not fits(expected, printed):
                    wrong.append(f"{block.page}:{line}: $ {command}\n--- the page shows\n" + "\n".join(expected) +
                                 "\n--- printed is\n" + "\n".join(printed))
        return wrong


_ASIDE = (
    (re.compile(r"\b\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?(\.\d+)?Z?)?"), "DATE"),
    (re.compile(r"\b[0-9a-fA-F]{8,64}\b…?"), "ID"),
    (re.compile(r"\b\d[\d,]*(\.\d+)?( ?(ms|s|min|h|d|KiB|MiB|GiB|KB|MB|B|bytes)\b|%)"), "AMOUNT"),
    (re.compile(rf"(?<=[\d\]]:)(?!({'|'.join(PORTS)})\b)\d{{4,5}}\b"), "PORT"),  # a client's: the kernel chose it
    (re.compile(r"\s+"), " "),
)


def plain(line):
    """Without what is different each time: ids, dates, amounts, a client's port, the width of a column."""
    for pattern, word in _ASIDE:
        line = pattern.sub(word, line)
    return line.strip()


def _line_fits(expected, printed):
    """A word "…" stands for any words."""
    return re.fullmatch(r"\S.*".join(map(re.escape, re.split(r"(?<!\S)…(?!\S)", expected))), printed) is not None


def _rows_fit(expected, printed):
    """Rows that are sorted by their ids, or of one second, come in any order."""
    left = list(printed)
    for row in expected:
        found = next((each for each in left if _line_fits(row, each)), None)
        if found is None:
            return False
        left.remove(found)
    return not left


def fits(expected, printed):
    """A line "..." stands for any lines, also none."""
    expected, printed = [plain(each) for each in expected], [plain(each) for each in printed]
    while expected and not expected[-1]:
        expected.pop()
    is_table = expected[:1] == printed[:1] and re.match(r"(ID|LAST) [A-Z]", "".join(expected[:1]))
    if is_table and ANY_LINES not in expected:
        return _rows_fit(expected[1:], printed[1:])
    reachable = {0}  # how many printed lines may be accounted for
    for line in expected:
        if line == ANY_LINES:
            reachable = set(range(min(reachable), len(printed) + 1)) if reachable else set()
        else:
            reachable = {at + 1 for at in reachable if at < len(printed) and _line_fits(line, printed[at])}
    return len(printed) in reachable


if __name__ == "__main__":  # as-shown: whether what was printed last fits already
    there = Place.of(sys.argv[1])
    wanted = (there.folder / f"{sys.argv[2]}.wanted").read_text().splitlines()
    sys.exit(0 if fits(wanted, there.printed(sys.argv[2])) else 1)
