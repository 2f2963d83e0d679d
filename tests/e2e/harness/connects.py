"""CONNECTs of all three dialects, well-formed and not, each with a name: what a broker and Sallyport are both asked."""

from .packet import CONNECT, length, packet, text


def body(level=4, flags=0x02, name=b"MQTT", keep_alive=60, properties=b"", client_id=b"dev", will=None, will_properties=b"",
         user=None, password=None, behind=b""):
    """The bytes behind the fixed header. `will` is (topic, payload). What is None is left out, whatever the flags say."""
    out = text(name) + bytes([level, flags]) + keep_alive.to_bytes(2, "big")
    if level & 0x7F == 5:
        out += length(len(properties)) + properties
    out += text(client_id)
    if will is not None:
        if level & 0x7F == 5:
            out += length(len(will_properties)) + will_properties
        out += text(will[0]) + text(will[1])
    for field in (user, password):
        if field is not None:
            out += text(field)
    return out + behind


def connect(**fields):
    return packet(CONNECT, body(**fields))


def v31(**fields):
    return connect(**{"level": 3, "name": b"MQIsdp", **fields})


def v5(**fields):
    return connect(**{"level": 5, **fields})


WILL = (b"will/topic", b"gone")
EXPIRY, RECEIVE_MAXIMUM, LARGEST = b"\x11\0\0\0\x0a", b"\x21\0\x14", b"\x27\0\x01\0\0"
USER_PROPERTY = b"\x26" + text("site") + text("plant 7")

# What differs on purpose, as (what Mosquitto does with it, our answer). Of MQTT 5 Mosquitto 2.0 only closes. A server may
# say in a CONNACK why it refuses (3.1.4, 4.13.1), which is all that the owner of the device gets to see.
REFUSED, LET_IN = "refused", "let in"
MALFORMED = (REFUSED, b"\x20\x03\0\x81\0")  # 1.2: what cannot be parsed; 2.2.2.2: a property that has no place here
PROTOCOL_ERROR = (REFUSED, b"\x20\x03\0\x82\0")  # a property twice, or with a value that its section forbids
WILL_TOPIC = (REFUSED, b"\x20\x03\0\x90\0")  # [MQTT-4.7.1-1], [MQTT-4.7.3-1]
# Mosquitto looks away: 3.1.2.11.10 calls the first a protocol error, [MQTT-4.7.1-1] forbids the second.
ONLY_OURS = (LET_IN, b"\x20\x03\0\x82\0")
OURS_AND_NEWER = (f"{LET_IN} or {REFUSED}", ONLY_OURS[1])  # Mosquitto 2.0.11 lets it in, 2.0.21 does not

# Mosquitto closes without a CONNACK: for who asked through Sallyport the broker is unavailable.
UNANSWERED = (REFUSED, b"\x20\x03\0\x88\0")

SAME = None
TABLE = [
    # 3.1.1, let in
    ("311 plain", connect(), SAME),
    ("311 session kept", connect(flags=0x00), SAME),
    ("311 empty id, clean", connect(client_id=b""), SAME),
    ("311 long id", connect(client_id=b"x" * 300), SAME),
    ("311 UTF-8 id", connect(client_id="Zähler 世界".encode()), SAME),
    ("311 will", connect(flags=0x06, will=WILL), SAME),
    ("311 will, QoS 2, retained", connect(flags=0x36, will=WILL), SAME),
    ("311 will without payload", connect(flags=0x06, will=(b"w", b"")), SAME),
    ("311 user", connect(flags=0x82, user=b"user"), SAME),
    ("311 empty user", connect(flags=0x82, user=b""), SAME),
    ("311 user, password", connect(flags=0xC2, user=b"user", password=b"\0\xff"), SAME),
    ("311 everything", connect(flags=0xF6, will=WILL, user=b"user", password=b"secret"), SAME),
    ("311 no keep alive", connect(keep_alive=0), SAME),
    ("311 bridge", connect(level=0x84), SAME),
    # 3.1.1, refused
    ("311 empty id, kept", connect(flags=0x00, client_id=b""), SAME),
    ("311 reserved flag", connect(flags=0x03), SAME),
    ("311 will QoS 3", connect(flags=0x1E, will=WILL), SAME),
    ("311 will QoS without will", connect(flags=0x0A), SAME),
    ("311 will retain without will", connect(flags=0x22), SAME),
    ("311 will flag, no will", connect(flags=0x06), SAME),
    ("311 will topic empty", connect(flags=0x06, will=(b"", b"x")), SAME),
    ("311 will topic with +", connect(flags=0x06, will=(b"a/+", b"x")), SAME),
    ("311 will topic with #", connect(flags=0x06, will=(b"a/#", b"x")), SAME),
    ("311 password alone", connect(flags=0x42, password=b"p"), SAME),
    ("311 user flag, no user", connect(flags=0x82), SAME),
    ("311 bytes behind", connect(behind=b"x"), SAME),
    ("311 NUL in id", connect(client_id=b"a\0b"), SAME),
    ("311 id overlong UTF-8", connect(client_id=b"\xc0\x80"), SAME),
    ("311 id surrogate", connect(client_id=b"\xed\xa0\x80"), SAME),
    ("311 id cut UTF-8", connect(client_id=b"\xe4\xb8"), SAME),
    ("311 user not UTF-8", connect(flags=0x82, user=b"\xff"), SAME),
    ("311 field past the packet", packet(CONNECT, text("MQTT") + b"\x04\x02\0\x3c\0\x09short"), SAME),
    ("311 too short", packet(CONNECT, text("MQTT") + b"\x04\x02"), SAME),
    # What is no MQTT of ours
    ("level 6", connect(level=6), SAME),
    ("level 0", connect(level=0), SAME),
    ("level 3 as MQTT", connect(level=3), SAME),
    ("MQIsdp of level 4", v31(level=4), SAME),
    ("another name", connect(name=b"MQTX"), SAME),
    ("a longer name", connect(name=b"MQTT5"), SAME),
    ("an empty name", connect(name=b""), SAME),
    ("flags in the first byte", packet(CONNECT, body(), 1), SAME),
    ("a PUBLISH first", packet(3, text("t") + b"x"), SAME),
    ("a PINGREQ first", packet(12, b""), SAME),
    # 3.1
    ("31 plain", v31(), SAME),
    ("31 long id", v31(client_id=b"x" * 30), SAME),
    ("31 empty id", v31(client_id=b""), SAME),
    ("31 reserved flag", v31(flags=0x03), SAME),
    ("31 will, user, password", v31(flags=0xE6, will=WILL, user=b"u", password=b"p"), SAME),
    ("31 will QoS without will", v31(flags=0x0A), SAME),
    ("31 user flag, no user", v31(flags=0x82), SAME),
    ("31 both flags, neither", v31(flags=0xC2), SAME),
    ("31 both flags, no password", v31(flags=0xC2, user=b"u"), SAME),
    ("31 password alone", v31(flags=0x42, password=b"p"), SAME),
    ("31 bytes behind", v31(behind=b"x"), SAME),
    ("31 bridge", v31(level=0x83), SAME),
    # 5, let in
    ("5 plain", v5(), SAME),
    ("5 session kept", v5(flags=0x00, properties=EXPIRY), SAME),
    ("5 properties", v5(properties=EXPIRY + RECEIVE_MAXIMUM + LARGEST + b"\x22\0\x05" + b"\x19\1" + b"\x17\0"), SAME),
    ("5 user properties", v5(properties=USER_PROPERTY * 2), SAME),
    ("5 will", v5(flags=0x06, will=WILL), SAME),
    ("5 will properties", v5(flags=0x36, will=WILL, will_properties=b"\x18\0\0\0\x1e" + b"\x01\1" + b"\x02\0\0\0\x09"
                             + b"\x03" + text("text/plain") + b"\x08" + text("answer") + b"\x09" + text("corr")
                             + USER_PROPERTY * 2), SAME),
    ("5 user, password", v5(flags=0xC2, user=b"user", password=b"secret"), SAME),
    ("5 bridge", v5(level=0x85), UNANSWERED),
    # 5, refused
    ("5 reserved flag", v5(flags=0x03), MALFORMED),
    ("5 will QoS 3", v5(flags=0x1E, will=WILL), MALFORMED),
    ("5 will QoS without will", v5(flags=0x0A), MALFORMED),
    ("5 unknown property", v5(properties=b"\x05\0"), MALFORMED),
    ("5 property of a PUBLISH", v5(properties=b"\x23\0\x05"), MALFORMED),
    ("5 property of a will", v5(properties=b"\x18\0\0\0\x1e"), MALFORMED),
    ("5 property of a CONNECT in the will", v5(flags=0x06, will=WILL, will_properties=EXPIRY), MALFORMED),
    ("5 property twice", v5(properties=EXPIRY * 2), PROTOCOL_ERROR),
    ("5 will property twice", v5(flags=0x06, will=WILL, will_properties=b"\x01\0\x01\0"), PROTOCOL_ERROR),
    ("5 receive maximum 0", v5(properties=b"\x21\0\0"), PROTOCOL_ERROR),
    ("5 largest packet 0", v5(properties=b"\x27\0\0\0\0"), PROTOCOL_ERROR),
    ("5 response information 2", v5(properties=b"\x19\x02"), PROTOCOL_ERROR),
    ("5 problem information 2", v5(properties=b"\x17\x02"), PROTOCOL_ERROR),
    ("5 authentication data alone", v5(properties=b"\x16\0\1x"), ONLY_OURS),
    ("5 property cut", v5(properties=b"\x11\0\0"), MALFORMED),
    ("5 user property not UTF-8", v5(properties=b"\x26" + text(b"\xff") + text("v")), MALFORMED),
    ("5 properties past the packet", packet(CONNECT, text("MQTT") + b"\x05\x02\0\x3c\x20\x11\0"), MALFORMED),
    ("5 property length of 5 bytes", packet(CONNECT, text("MQTT") + b"\x05\x02\0\x3c\xff\xff\xff\xff\x01\0\1c"), MALFORMED),
    ("5 NUL in id", v5(client_id=b"a\0b"), MALFORMED),
    ("5 bytes behind", v5(behind=b"x"), MALFORMED),
    ("5 will topic empty", v5(flags=0x06, will=(b"", b"x")), WILL_TOPIC),
    ("5 will topic with #", v5(flags=0x06, will=(b"a/#", b"x")), WILL_TOPIC),
    ("5 response topic with +", v5(flags=0x06, will=WILL, will_properties=b"\x08" + text("a/+")), OURS_AND_NEWER),
    ("5 a length of more bytes than it needs", packet(CONNECT, b"").replace(b"\0", b"\x8d\0") + body(level=5, client_id=b""),
     (LET_IN, MALFORMED[1])),  # [MQTT-1.5.5-1]
    ("5 a property length of more bytes than it needs",
     packet(CONNECT, text("MQTT") + b"\x05\x02\0\x3c\x80\0" + text("dev")), MALFORMED),
    ("5 field past the packet", packet(CONNECT, text("MQTT") + b"\x05\x02\0\x3c\0\0\x09short"), MALFORMED),
]
