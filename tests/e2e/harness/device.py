"""A device: TLS of a chosen version over a plain socket, and raw MQTT above it.

Unlike a client library it says exactly how a connection ended: `Ended.how` is "close_notify", "truncated" (TCP
end without one), "reset", "silent" (nothing within the time), or the name of the TLS alert, for example
"unknown_ca".
"""

import socket
import ssl
import struct
import time

from . import packet
from .wait import PATIENCE, patient

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Ended(Exception):
    def __init__(self, how):
        super().__init__(how)
        self.how = how


def how_it_ended(error):
    if isinstance(error, ssl.SSLZeroReturnError):
        return "close_notify"
    if isinstance(error, ssl.SSLEOFError):
        return "truncated"
    if isinstance(error, ssl.SSLError) and getattr(error, "reason", None):
        reason = error.reason
        if "ALERT_" in reason:
            return reason.split("ALERT_", 1)[1].lower()
        return "truncated" if reason == "UNEXPECTED_EOF_WHILE_READING" else reason.lower()
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return "reset"
    if isinstance(error, (TimeoutError, socket.timeout)):
        return "silent"
    raise error


def plain(port, source=None, receive_buffer=None, timeout=10.0):
    """A TCP connection to a listener of ours."""
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if source:
        sock.bind((source, 0))
    sock.settimeout(patient(timeout))
    sock.connect(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def reset(sock):
    """Closes with an RST: an abrupt end, and no TIME_WAIT left behind."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read_to_end(sock, timeout=10.0):
    """Reads a plain socket to its end and closes it; the bytes that came."""
    sock.settimeout(timeout)
    data = b""
    try:
        while piece := sock.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    sock.close()
    return data


def client_context(identity=None, tls="1.3", ca_file=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = VERSIONS[tls]
    if ca_file:
        context.load_verify_locations(ca_file)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if identity is not None:
        context.load_cert_chain(identity.chain_file, identity.key_file)
    return context


class Device:
    def __init__(self, port, identity=None, tls="1.3", *, ca_file=None, server_name="localhost", source=None,
                 receive_buffer=None, timeout=10.0, context=None):
        self.context = context or client_context(identity, tls, ca_file)
        self.buffer = bytearray()
        self.version = 4
        sock = plain(port, source, receive_buffer, timeout)
        try:
            # suppress_ragged_eofs=False: an end without close_notify must not look like an orderly one.
            self.tls = self.context.wrap_socket(sock, server_hostname=server_name, suppress_ragged_eofs=False)
        except OSError as error:
            sock.close()
            # Python calls a bare TCP end during the handshake "zero return" too; nobody closes orderly there.
            how = how_it_ended(error)
            raise Ended("truncated" if how == "close_notify" else how) from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        try:
            self.tls.sendall(data)
        except OSError as error:
            raise Ended(how_it_ended(error)) from error

    def receive(self, timeout=10.0):
        """Some bytes of the other side, or Ended."""
        try:
            self.tls.settimeout(patient(timeout))
            data = self.tls.recv(262144)
        except OSError as error:
            raise Ended(how_it_ended(error)) from error
        if not data:
            raise Ended("close_notify")
        return data

    def packet(self, timeout=10.0):
        """The next MQTT packet: (kind, flags, body)."""
        deadline = time.monotonic() + patient(timeout)
        while True:
            found = packet.take(self.buffer)
            if found:
                return found
            self.buffer += self.receive(max(0.01, deadline - time.monotonic()))

    def expect(self, kind, timeout=10.0):
        found, flags, body = self.packet(timeout)
        assert found == kind, f"expected packet type {kind}, got {found}: {body[:40]!r}"
        return flags, body

    def connect(self, client_id, version=4, **options):
        """Sends a CONNECT; returns the return code (3.1, 3.1.1) or reason code (5) of the CONNACK."""
        self.version = version
        self.send(packet.connect(client_id, version, **options))
        return self.expect(packet.CONNACK)[1][1]

    def subscribe(self, topic, qos=0):
        self.send(packet.subscribe(topic, qos, version=self.version))
        assert self.expect(packet.SUBACK)[1][-1] == qos

    def publish(self, topic, payload, qos=0, packet_id=1, retain=False):
        """Publishes; with QoS 1 waits for the PUBACK."""
        self.send(packet.publish(topic, payload, qos, packet_id, retain, self.version))
        if qos:
            assert int.from_bytes(self.expect(packet.PUBACK, 30)[1][:2], "big") == packet_id

    def message(self, timeout=10.0):
        """The next message: (topic, payload); acknowledges QoS 1."""
        flags, body = self.expect(packet.PUBLISH, timeout)
        topic, payload, packet_id = packet.published(flags, body, self.version)
        if packet_id:
            self.send(packet.puback(packet_id))
        return topic, payload

    def ping(self):
        self.send(packet.pingreq())
        self.expect(packet.PINGRESP)

    def end(self, timeout=10.0):
        """Reads until the other side ends the connection; says how. Fails if it does not within `timeout`."""
        timeout = patient(timeout)
        deadline = time.monotonic() + timeout
        try:
            while time.monotonic() < deadline:
                self.receive(max(0.01, deadline - time.monotonic()))
        except Ended as ended:
            assert ended.how != "silent", f"still open after {timeout:g} s"
            return ended.how
        raise AssertionError(f"still talking after {timeout:g} s")

    def close_notify(self):
        """Our close_notify; waits for the other side's."""
        try:
            self.tls.settimeout(PATIENCE)
            self.tls.unwrap()
        except OSError as error:
            raise Ended(how_it_ended(error)) from error

    def reset(self):
        reset(self.tls)

    def close(self):
        self.tls.close()


def refusal(port, identity=None, tls="1.3", timeout=10.0, **options):
    """How a connection that must not be admitted ends, seen by the client."""
    try:
        device = Device(port, identity, tls, timeout=timeout, **options)
    except Ended as ended:
        return ended.how
    with device:
        return device.end(timeout)


def admitted(port, identity, tls="1.3", client_id=None, **options):
    """A device that is let in: TLS done and CONNACK 0 received."""
    device = Device(port, identity, tls, **options)
    code = device.connect(client_id or "c-" + identity.serial[-12:])
    assert code == 0, f"CONNACK {code:#x}"
    return device
