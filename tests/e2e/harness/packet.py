"""MQTT packets built and taken apart by hand (3.1, 3.1.1, 5): nothing a library would refuse to send."""

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 13, 14


def length(value):
    out = bytearray()
    while True:
        value, digit = divmod(value, 128)
        out.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(out)


def packet(kind, body, flags=0):
    return bytes([kind << 4 | flags]) + length(len(body)) + body


def text(value):
    raw = value if isinstance(value, bytes) else value.encode()
    return len(raw).to_bytes(2, "big") + raw


def connect(client_id="", version=4, keep_alive=60, clean=True, will=None, protocol=None, flags=None):
    """`version` is the protocol level: 3, 4 or 5. `will` is (topic, payload)."""
    bits = (2 if clean else 0) | (4 if will else 0)
    body = text(protocol or ("MQIsdp" if version == 3 else "MQTT"))
    body += bytes([version, bits if flags is None else flags]) + keep_alive.to_bytes(2, "big")
    properties = b"\0" if version == 5 else b""
    body += properties + text(client_id)
    if will:
        body += properties + text(will[0]) + text(will[1])
    return packet(CONNECT, body)


def publish(topic, payload, qos=0, packet_id=1, retain=False, version=4):
    body = text(topic) + (packet_id.to_bytes(2, "big") if qos else b"") + (b"\0" if version == 5 else b"")
    return packet(PUBLISH, body + payload, qos << 1 | (1 if retain else 0))


def subscribe(topic, qos=0, packet_id=1, version=4):
    body = packet_id.to_bytes(2, "big") + (b"\0" if version == 5 else b"") + text(topic) + bytes([qos])
    return packet(SUBSCRIBE, body, 2)


def puback(packet_id):
    return packet(PUBACK, packet_id.to_bytes(2, "big"))


def pingreq():
    return packet(PINGREQ, b"")


def pingresp():
    return packet(PINGRESP, b"")


def disconnect():
    return packet(DISCONNECT, b"")


def take(buffer):
    """Takes one packet off the front of a bytearray: (kind, flags, body), or None until it is whole."""
    size, shift, at = 0, 0, 1
    while True:
        if at >= len(buffer):
            return None
        digit = buffer[at]
        size |= (digit & 0x7F) << shift
        shift += 7
        at += 1
        if not digit & 0x80:
            break
        assert at <= 4, "a length field of more than four bytes"
    if len(buffer) < at + size:
        return None
    kind, flags, body = buffer[0] >> 4, buffer[0] & 15, bytes(buffer[at:at + size])
    del buffer[:at + size]
    return kind, flags, body


def published(flags, body, version=4):
    """Topic, payload and packet id (0 for QoS 0) of a PUBLISH."""
    size = int.from_bytes(body[:2], "big")
    topic, rest, packet_id = body[2:2 + size].decode(), body[2 + size:], 0
    if flags >> 1 & 3:
        packet_id, rest = int.from_bytes(rest[:2], "big"), rest[2:]
    if version == 5:
        rest = rest[1 + rest[0]:]  # properties under 128 bytes are all these tests ever see
    return topic, rest, packet_id
