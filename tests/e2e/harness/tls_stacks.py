"""Devices that are not OpenSSL's: the command-line clients of GnuTLS and NSS, each with a certificate of its own.

Each run makes a handshake, sends one CONNECT, and reads until the CONNACK or the end.
"""

import subprocess
from pathlib import Path

from .typed import converse
from .wait import PATIENCE


class Run:
    """`connack`: a CONNACK 0 came back; `text`: all it printed."""

    def __init__(self, command, timeout=8.0):
        self.connack, self.text = converse(command, "stack", timeout)


def gnutls(port, identity, tls, ca_file, *options):
    priority = "NORMAL:-VERS-ALL:+VERS-TLS" + tls
    return Run(["gnutls-cli", "--x509certfile", identity.chain_file, "--x509keyfile", identity.key_file,
                "--x509cafile", ca_file, "--priority", priority, "--sni-hostname", "localhost",
                "--verify-hostname", "localhost", *options, "-p", str(port), "127.0.0.1"])


def nss_database(identity, ca_file, folder):
    """NSS keeps certificates and keys in a database of its own. `identity`: None for none."""
    database, bundle = f"sql:{folder}", Path(folder) / "device.p12"
    subprocess.run(["certutil", "-N", "-d", database, "--empty-password"], check=True, capture_output=True)
    subprocess.run(["certutil", "-A", "-d", database, "-n", "server-ca", "-t", "C,,", "-a", "-i", ca_file],
                   check=True, capture_output=True)
    if identity is None:
        return database
    subprocess.run(["openssl", "pkcs12", "-export", "-in", identity.chain_file, "-inkey", identity.key_file,
                    "-name", "device", "-passout", "pass:p", "-out", bundle], check=True, capture_output=True)
    subprocess.run(["pk12util", "-i", bundle, "-d", database, "-W", "p"], check=True, capture_output=True)
    return database


def nss(port, identity, tls, ca_file, folder):
    database = nss_database(identity, ca_file, folder)
    version = "tls" + tls
    return Run(["tstclnt", "-h", "localhost", "-4", "-p", str(port), "-d", database, "-n", "device",
                "-V", f"{version}:{version}"])


NSS_BYTES = 300_000


def nss_echo(port, identity, version, ca_file, folder, connections):
    """How much of what it said came back, over all connections, and what else it printed."""
    database, request = nss_database(identity, ca_file, folder), Path(folder) / "request"
    request.write_bytes(b"x" * NSS_BYTES)
    device = ["-n", "device"] if identity is not None else []
    done = subprocess.run(["tstclnt", "-h", "localhost", "-4", "-p", str(port), "-d", database, *device, "-V",
                           f"tls{version}:tls{version}", "-u", "-G", "-f", "-L", str(connections), "-A", str(request)],
                          capture_output=True, timeout=PATIENCE, check=False)
    return done.stdout.count(b"x"), done.stderr.decode(errors="replace")
