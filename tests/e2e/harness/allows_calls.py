"""Runs a command under a filter that lets through only the system calls of a list, as systemd's SystemCallFilter= and a
container's seccomp profile do."""

import re
import subprocess
from pathlib import Path

from .refuses_calls import launcher

_HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")  # of linux-libc-dev


def numbers():
    """{name: number} of this architecture's system calls; empty where they are not known."""
    if not _HEADER.exists():
        return {}
    return {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", _HEADER.read_text())}


def only(names):
    """The words to put before a command that may use these system calls alone. Any other answers EPERM."""
    allowed = {number for name, number in numbers().items() if name in names}
    return launcher("EPERM", ",".join(str(each) for each in range(470) if each not in allowed))


def of_unit(unit):
    """The names that the SystemCallFilter= lines of a unit file leave, as systemd.exec(5) has it."""
    names = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", Path(unit).read_text(), re.M):
        sets = line.lstrip("~").split()
        listed = set().union(*(_members(each) for each in sets))
        names = names - listed if line.startswith("~") else names | listed
    return names


def _members(name):
    if not name.startswith("@"):
        return {name}
    shown = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
    words = [line.strip() for line in shown.stdout.splitlines()[1:]]
    return set().union(*(_members(each) for each in words if each and not each.startswith("#")))
