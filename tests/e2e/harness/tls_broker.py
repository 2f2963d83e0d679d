"""Brokers behind TLS: a Mosquitto that asks for certificates, and one made up that tells how it was connected to."""

import contextlib
import socket
import ssl
import threading

from . import packet


def mosquitto_lines(identity, authority=None):
    """Of a listener with TLS; with `authority` it asks for a certificate of its."""
    lines = [f"certfile {identity.chain_file}", f"keyfile {identity.key_file}"]
    if authority is not None:
        lines += [f"cafile {authority.identity.chain_file}", "require_certificate true"]
    return lines


class WebServer:
    """Answers whatever it hears in HTTP, in clear."""

    def __init__(self):
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address = "127.0.0.1:%d" % self._listening.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            with sock:
                sock.recv(65536)
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    def stop(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


def offers_session(hello):
    """Whether this ClientHello has a pre_shared_key (RFC 8446, section 4.2.11)."""
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at:at + 2], "big")
    at += 1 + hello[at] + 2
    while at + 4 <= len(hello):
        if hello[at:at + 2] == b"\0\x29":
            return True
        at += 4 + int.from_bytes(hello[at + 2:at + 4], "big")
    return False


class TlsBroker:
    """Answers a CONNECT with CONNACK and PINGREQs, or with `echo` sends everything back. `reused` has for each
    handshake whether it was resumed, `ends` how each connection ended: "close_notify" or "truncated"."""

    def __init__(self, identity, *, version=None, echo=False, cuts_off=False, refuses_resumption=False):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(identity.chain_file, identity.key_file)
        if version is not None:
            self.context.minimum_version = self.context.maximum_version = version
        self.echo, self.cuts_off, self.refuses_resumption = echo, cuts_off, refuses_resumption
        self.reused, self.ends, self.failed, self.refused = [], [], [], 0
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        if self.refuses_resumption and offers_session(sock.recv(65536, socket.MSG_PEEK)):
            self.refused += 1
            with sock:
                sock.recv(65536)
                sock.sendall(b"\x15\x03\x03\x00\x02\x02\x28")
            return
        try:
            tls = self.context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False)
        except OSError as error:
            self.failed.append(error)
            return
        buffer, heard = bytearray(), False
        with tls:
            while True:
                try:
                    data = tls.recv(65536)
                except OSError:
                    self.ends.append("truncated")
                    return
                if not data:
                    self.ends.append("close_notify")
                    with contextlib.suppress(OSError):
                        tls.unwrap()
                    return
                if not heard:
                    self.reused.append(tls.session_reused)
                heard = True
                if self.echo:
                    tls.sendall(data)
                    if self.cuts_off:
                        return
                    continue
                buffer += data
                while found := packet.take(buffer):
                    if found[0] == packet.CONNECT:
                        tls.sendall(b"\x20\x02\0\0")
                    elif found[0] == packet.PINGREQ:
                        tls.sendall(packet.pingresp())
