"""`openssl s_client`, driven like a person would: handshake, one CONNECT, wait, quit."""

import re

from .typed import converse


class SClient:
    """One run. `text` is all it printed; `connack` whether a CONNACK 0 came back."""

    def __init__(self, port, identity, *options, client_id="s-client", timeout=8.0):
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost",
                   "-cert", identity.chain_file, "-cert_chain", identity.chain_file, "-key", identity.key_file,
                   *options]
        self.connack, self.text = converse(command, client_id, timeout, farewell=b"Q\n")
        self.reused = re.search(r"^Reused, TLS", self.text, re.M) is not None
        self.ticket_sent = "NewSessionTicket" in self.text or "TLS session ticket:" in self.text
        found = re.search(r"^    Session-ID: ?([0-9A-F]*)\s*$", self.text, re.M)
        self.session_id = found.group(1) if found else ""
