"""`openssl s_client`, driven like a person would: handshake, one CONNECT, wait, quit."""

import re
import select
import subprocess
import time

from . import packet


class SClient:
    """One run. `text` is all it printed; `connack` whether a CONNACK 0 came back."""

    def __init__(self, port, identity, *options, client_id="s-client", timeout=8.0):
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost",
                   "-cert", identity.chain_file, "-cert_chain", identity.chain_file, "-key", identity.key_file,
                   *options]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output = bytearray()
        accepted = packet.packet(packet.CONNACK, b"\0\0")
        try:
            process.stdin.write(packet.connect(client_id))
            process.stdin.flush()
            deadline = time.monotonic() + timeout
            while time.monotonic() < deadline and accepted not in output:
                if not select.select([process.stdout], [], [], 0.1)[0]:
                    continue
                piece = process.stdout.read1(65536)
                if not piece:
                    break
                output += piece
            try:
                process.stdin.write(b"Q\n")
                process.stdin.close()
            except OSError:
                pass  # it has ended already
            while piece := process.stdout.read1(65536):
                output += piece
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        self.connack = accepted in output
        self.text = output.decode(errors="replace")
        self.reused = re.search(r"^Reused, TLS", self.text, re.M) is not None
        self.ticket_sent = "NewSessionTicket" in self.text or "TLS session ticket:" in self.text
        found = re.search(r"^    Session-ID: ?([0-9A-F]*)\s*$", self.text, re.M)
        self.session_id = found.group(1) if found else ""
