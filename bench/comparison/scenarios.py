"""What is compared: one scenario for each row of the results, or for two that come out of the same run.

A scenario is a command line of bench/load and what the proxies are configured for. A row says which figure of the
run it shows and the goal: Sallyport's share of the best peer's figure.
"""

from dataclasses import dataclass

from .peers import CIPHER_TLS12, CIPHER_TLS13, POST_QUANTUM, groups_with, has_post_quantum

CPU = "proxy_cpu_us_per_unit"
MOST_IDLE = 10000


@dataclass(frozen=True)
class Row:
    title: str
    metric: str  # a key of load's JSON; a dot leads into an object
    unit: str
    goal: float


@dataclass(frozen=True)
class Scenario:
    name: str
    rows: tuple
    load: tuple  # the arguments of load
    quick: tuple  # the arguments that replace the last ones of the same name in a quick run
    seconds: float  # about how long one run takes, start to end; what the time budget is shared out by
    tickets: int = 0  # how many a full handshake issues; Sallyport knows one or none
    key: str = "ec"
    tls: str = "1.3"
    group: str = "X25519"  # of the key exchange
    resumes: bool = False
    told: str = "nothing"  # how the broker hears of the device: "proxy", a header; "user-name", in its CONNECT
    floor: bool = False  # also measured without proxy and TLS
    broker: bool = True  # a peer that is the broker as well can do it: nothing of it comes from the sink
    repeats: int = 3  # more where the figure swings from run to run


def idle_connections(files):
    """As many as fit below the limit of open files of one process, where each proxied one takes two."""
    return max(100, min(MOST_IDLE, (files - 4000) // 2))


def scenarios(files):
    """The table, in the order of the results."""
    def handshake(name, title, goal, *arguments, resumes=False, tls="1.3", **settings):
        mode = "resumed" if resumes else "full"
        return Scenario(name, (Row(title, CPU, "µs", goal),),
                        ("handshake", "--mode", mode, *arguments, "--count", "4000"), ("--count", "1000"), 6,
                        tls=tls, resumes=resumes, **settings)

    def bulk(direction, connections):
        many = "" if connections == 1 else f", {connections} connections"
        return Scenario(f"bulk-{direction}" + (f"-{connections}" if many else ""),
                        (Row(f"bulk {direction}{many}, per MB", CPU, "µs", 0.85),),
                        ("bulk", "--direction", direction, "--connections", str(connections), "--megabytes", "2000"),
                        ("--megabytes", "1500"), 4, broker=direction == "up", repeats=5)

    idle = str(idle_connections(files))
    return [
        handshake("handshake-tls13", "full TLS 1.3 mutual handshake + CONNECT + close, known device, P-256", 0.60),
        *([handshake("handshake-post-quantum", f"the same, known device, with {POST_QUANTUM}", 0.60,
                     group=POST_QUANTUM)] if has_post_quantum() else []),
        Scenario("handshake-first", (Row("the same, first connection (registration included)", CPU, "µs", 0.85),),
                 ("handshake", "--mode", "first", "--count", "4000"), ("--count", "1000"), 7),
        handshake("told-by-proxy", "the first row, and a PROXY v2 header with the CN (nginx: v1, without)", 0.60,
                  told="proxy", broker=False),
        handshake("told-by-user-name", "the first row, and the CN as the CONNECT's user name (the peers: the header)",
                  0.60, told="user-name", broker=False),
        handshake("handshake-tickets", "with one ticket issued", 0.45, tickets=1),
        handshake("handshake-two-tickets", "with tickets as OpenSSL issues them: the peers two, Sallyport one", 0.45,
                  tickets=2),
        handshake("handshake-tls12", "full TLS 1.2", 0.65, tls="1.2"),
        handshake("resumed-tls13", "resumed TLS 1.3", 0.40, resumes=True, tickets=1),
        handshake("resumed-tls12", "resumed TLS 1.2", 0.50, resumes=True, tickets=1, tls="1.2"),
        handshake("handshake-rsa", "RSA-2048 server key", 0.70, key="rsa"),
        handshake("handshake-intermediate", "device under an intermediate", 0.55, "--intermediate"),
        Scenario("messages-burst", (Row("100-byte messages, one connection in bursts of 100", CPU, "µs", 0.90),),
                 ("messages", "--connections", "1", "--size", "100", "--burst", "100", "--rate", "200000",
                  "--seconds", "4"), ("--seconds", "2"), 6),
        Scenario("messages-1000", (Row("100-byte messages, 1000 connections at 20,000/s", CPU, "µs", 0.60),),
                 ("messages", "--connections", "1000", "--size", "100", "--rate", "20000", "--seconds", "5"),
                 ("--seconds", "2"), 9, repeats=7),
        *(bulk(direction, connections) for connections in (1, 4) for direction in ("up", "down")),
        Scenario("roundtrip-1", (Row("round trip p50, 1 connection", "latency_us.p50", "µs", 1.0),
                                 Row("round trip p99, 1 connection", "latency_us.p99", "µs", 1.0)),
                 ("roundtrip", "--connections", "1", "--rate", "1000", "--size", "100", "--seconds", "5"),
                 ("--seconds", "2"), 7, floor=True, repeats=5),
        Scenario("roundtrip-1000", (Row("round trip p50, 1000 connections", "latency_us.p50", "µs", 1.0),
                                    Row("round trip p99, 1000 connections", "latency_us.p99", "µs", 1.0)),
                 ("roundtrip", "--connections", "1000", "--rate", "2000", "--size", "100", "--seconds", "5"),
                 ("--seconds", "2"), 9, floor=True, repeats=7),
        Scenario("storm", (Row("established sessions' p99 during bursts of 50 handshakes", "latency_us.p99", "µs",
                               0.40),),
                 ("storm", "--connections", "100", "--rate", "1000", "--burst", "50", "--every", "0.5",
                  "--seconds", "8"), ("--seconds", "3"), 11, floor=True, repeats=7),
        Scenario("reconnect-4000", (Row("4000 devices (quick: 1000) reconnect at once: CPU per connection", CPU, "µs",
                                        0.65),),
                 ("reconnect", "--mode", "full", "--connections", "4000"), ("--connections", "1000"), 15),
        Scenario("idle", (Row(f"idle connection, PSS (of {int(idle):,}; quick: 1,500)", "pss_kib_per_unit", "KiB",
                              0.65),),
                 ("idle", "--hold", "2", "--connections", idle), ("--hold", "1", "--connections", "1500"), 18,
                 repeats=2),
    ]


def arguments_of(scenario, quick):
    """The command line of load, with the pinned cipher; a quick run replaces values by its own."""
    arguments = list(scenario.load)
    if quick:
        for name, value in zip(scenario.quick[::2], scenario.quick[1::2]):
            arguments[arguments.index(name) + 1] = value
    return arguments


def tls_arguments(scenario):
    cipher = CIPHER_TLS12[scenario.key] if scenario.tls == "1.2" else CIPHER_TLS13
    return ["--tls", scenario.tls, "--cipher", cipher, "--group", groups_with(scenario.group)]


def figure(result, metric):
    """The figure a row shows, or None where the run has none."""
    for name in metric.split("."):
        if not isinstance(result, dict) or name not in result:
            return None
        result = result[name]
    return result
