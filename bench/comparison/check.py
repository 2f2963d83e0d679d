"""Is a peer fit to be compared? It must refuse who shows no certificate, or a stranger's, and speak what the others do.

Asked with `openssl s_client`, once for each peer and configuration. An MQTT CONNECT is sent, and only a CONNACK counts
as being let in: in TLS 1.3 a client believes itself connected before the server has judged its certificate.
"""

import os
import re
import select
import subprocess
import time
from pathlib import Path

from .peers import CIPHER_TLS12, CIPHER_TLS13, PeerFailed, groups_with
from .records import Check

CONNECT = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04fair"
CONNACK = b"\x20\x02\x00\x00"


def openssl(*arguments, cwd):
    done = subprocess.run(["openssl", *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PeerFailed(f"openssl {' '.join(arguments)}: {done.stderr.strip()}")


def make_witnesses(pki):
    """A device of the device CA, one below its intermediate, and a stranger of nobody's, in `pki`/check."""
    folder = Path(pki) / "check"
    folder.mkdir(exist_ok=True)
    (folder / "device.ext").write_text("basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n"
                                       "extendedKeyUsage=clientAuth\n")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    for name, issuer in (("device", "device-ca"), ("below", "device-intermediate")):
        openssl("req", "-new", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN=check-{name}",
                cwd=folder)
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"../{issuer}.pem", "-CAkey", f"../{issuer}.key",
                "-set_serial", f"0x{os.urandom(15).hex()}", "-days", "30", "-extfile", "device.ext",
                "-out", f"{name}.pem", cwd=folder)
    openssl("req", "-x509", *new_key, "-keyout", "stranger.key", "-out", "stranger.pem", "-subj", "/CN=check-stranger",
            "-days", "30", cwd=folder)
    return folder


def converse(port, tls, key, groups, *arguments):
    """What s_client printed after a CONNECT was sent, up to a CONNACK and a moment more, or its end."""
    cipher = ["-tls1_2", "-cipher", CIPHER_TLS12[key]] if tls == "1.2" else ["-tls1_3", "-ciphersuites", CIPHER_TLS13]
    client = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-ign_eof", "-msg",
                               "-groups", groups, *cipher, *map(str, arguments)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = b""
    try:
        client.stdin.write(CONNECT)
        client.stdin.flush()
        deadline = time.monotonic() + 5
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([client.stdout], [], [], left)[0]:
                break
            more = os.read(client.stdout.fileno(), 65536)
            if not more:
                break
            if CONNACK in more and CONNACK not in said:
                deadline = time.monotonic() + 0.2
            said += more
    except BrokenPipeError:
        pass
    finally:
        client.kill()
        client.wait()
        client.stdin = None
        client.stdout.close()
    return said


def first(pattern, said):
    found = re.search(pattern, said)
    return found.group(1).decode() if found else ""


def check(peer, folder, tickets=0, key="ec", tls="1.3", intermediate=False, group="X25519"):
    """Raises PeerFailed, or returns what was agreed on."""
    groups = groups_with(group)
    for who, arguments in (("without a certificate", ()),
                           ("with a stranger's certificate",
                            ("-cert", folder / "stranger.pem", "-key", folder / "stranger.key"))):
        if CONNACK in converse(peer.port, tls, key, groups, *arguments):
            raise PeerFailed(f"a client {who} is let in: no fair comparison")
    name = "below" if intermediate else "device"
    known = ["-cert", folder / f"{name}.pem", "-key", folder / f"{name}.key"]
    if intermediate:
        known += ["-cert_chain", folder.parent / "device-intermediate.pem"]
    said = converse(peer.port, tls, key, groups, *known)
    if CONNACK not in said:
        raise PeerFailed(f"a device is not let in: {said[-300:].decode(errors='replace')}")
    issued = said.count(b", NewSessionTicket")
    agreed = Check(peer.name, key, intermediate, first(rb"(TLSv1\.\d), Cipher is", said),
                   first(rb"Cipher is (\S+)", said),
                   # Which words it is depends on OpenSSL's version.
                   first(rb"(?:Server Temp Key|Peer Temp Key|Negotiated TLS1.3 group): (\w+)", said), issued,
                   as_wanted=issued == tickets)
    if agreed.group != group:
        raise PeerFailed(f"the key exchange is {agreed.group}, not {group}: no fair comparison")
    return agreed
