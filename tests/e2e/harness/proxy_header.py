"""PROXY headers, written and taken apart by the specification's letter and by no code of Sallyport's; and a broker that
keeps what it is sent, piece by piece."""

import socket
import struct
import threading

from . import packet
from .wait import until

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
SSL, CN, VERSION, CIPHER, CLIENT_CERT = 0x20, 0x22, 0x21, 0x23, 0x28
CLIENT_SSL, CERT_CONN, CERT_SESS = 1, 2, 4


def v1(client, destination="127.0.0.1", ports=(40000, 8883)):
    family = "TCP6" if ":" in client else "TCP4"
    return f"PROXY {family} {client} {destination} {ports[0]} {ports[1]}\r\n".encode()


def v2(client, destination="127.0.0.1", ports=(40000, 8883), fields=b"", command=1):
    kind = socket.AF_INET6 if ":" in client else socket.AF_INET
    body = b"".join(socket.inet_pton(kind, each) for each in (client, destination)) + struct.pack("!HH", *ports)
    family = 0x21 if ":" in client else 0x11
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(body + fields)) + body + fields


LOCAL = SIGNATURE + b"\x20\0\0\0"


def fields_of(data):
    """{type: value} of TLVs that must fill `data`."""
    found = {}
    while data:
        kind, length = struct.unpack("!BH", data[:3])
        assert len(data) >= 3 + length and kind not in found
        found[kind], data = data[3:3 + length], data[3 + length:]
    return found


class Header:
    """A header of version 2 that `data` begins with; `rest` is what stands behind it."""

    def __init__(self, data):
        assert data[:12] == SIGNATURE, data[:40]
        self.command, family = data[12] & 15, data[13]
        assert data[12] >> 4 == 2
        self.length = 16 + struct.unpack("!H", data[14:16])[0]
        body, self.rest = data[16:self.length], data[self.length:]
        assert 16 + len(body) == self.length, "the header did not come in one piece"
        self.client = self.destination = None
        if family in (0x11, 0x21):
            kind, size = (socket.AF_INET, 4) if family == 0x11 else (socket.AF_INET6, 16)
            ports = struct.unpack("!HH", body[2 * size:2 * size + 4])
            self.client = (socket.inet_ntop(kind, body[:size]), ports[0])
            self.destination = (socket.inet_ntop(kind, body[size:2 * size]), ports[1])
            body = body[2 * size + 4:]
        fields = fields_of(body)
        self.flags = self.verify = None
        self.tls = {}
        if SSL in fields:
            self.flags, self.verify = struct.unpack("!BI", fields[SSL][:5])
            self.tls = fields_of(fields[SSL][5:])

    def text(self, kind):
        return self.tls[kind].decode() if kind in self.tls else None


class Receiver:
    """Accepts any number of connections one after another, keeps the first piece of each, answers a CONNACK."""

    def __init__(self):
        self.first, self.probes = [], []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._sockets = []
        self.address = "127.0.0.1:%d" % self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            self._sockets.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            data = sock.recv(65536)
            if len(data) <= 16:  # a probe of the upstream
                self.probes.append((data, sock.recv(1)))
                sock.close()
                return
            sock.sendall(packet.packet(packet.CONNACK, b"\0\0"))
            self.first.append(data)
            while sock.recv(65536):
                pass
        except OSError:
            pass

    def header(self, number):
        until(f"session {number} has come", lambda: len(self.first) > number)
        return Header(self.first[number])

    def stop(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for sock in self._sockets:
            sock.close()
