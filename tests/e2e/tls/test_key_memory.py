"""A server's private key is in the process's memory once, and that memory is locked and left out of core files."""

import os
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from harness.device import Device
from harness.server import listener
from harness.wait import until

LARGE = 1 << 31  # no memory of Sallyport's is: a sanitizer's own


def regions(pid):
    """(begin, end, flags of the kernel) of what may be written."""
    found = []
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if head := re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line):
            begin, end = (int(each, 16) for each in head.groups()[:2])
            writable = head[3].startswith("rw")
        elif line.startswith("VmFlags:") and writable and end - begin < LARGE:
            found.append((begin, end, line.split()[1:]))
    return found


def copies(pid, key_file):
    """The flags of the memory each copy of the key's secret lies in, as DER or as OpenSSL's numbers have it."""
    numbers = load_pem_private_key(Path(key_file).read_bytes(), None).private_numbers()
    secret = numbers.private_value if hasattr(numbers, "private_value") else numbers.d
    size = (secret.bit_length() + 7) // 8
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for begin, end, flags in regions(pid):
            memory.seek(begin)
            try:
                held = memory.read(end - begin)
            except OSError:
                continue
            for order in ("big", "little"):
                found += [flags] * held.count(secret.to_bytes(size, order))
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="the process lets nobody else read its memory")
@pytest.mark.parametrize("engine", ["auto", "openssl"])
@pytest.mark.parametrize("kind", ["p256", "rsa"])
def test_a_key_is_there_once_and_locked(broker, serve_once, shop, root, engine, kind):
    """Three listeners with one certificate, a device at each, a reload, and a device again."""
    identity = shop.server("localhost", kind=kind)
    names = ["one", "two", "three"]
    server = serve_once([listener(identity, name=name) for name in names], broker, proxy={"tls_engine": engine})
    root.register(server)
    device = root.issue(f"of {engine} {kind}")

    def connect_to_all():
        for name in names:
            for tls in ("1.2", "1.3"):
                with Device(server.ports[name], device, tls) as connected:
                    assert connected.connect("x") == 0

    connect_to_all()
    server.signal(1)
    until("it is reloaded", lambda: server.lines("reload", what="done"))
    connect_to_all()
    until("the contexts of before are gone", lambda: len(copies(server.process.pid, identity.key_file)) == 1)
    flags, = copies(server.process.pid, identity.key_file)
    assert "dd" in flags, "left out of core files"
    assert "lo" in flags or server.lines("trouble", kind="key-memory"), "locked, or it is said that it is not"
