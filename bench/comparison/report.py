"""Records in, Markdown and plots out. Knows nothing of processes, so that a finished run can be shown again."""

import statistics

from .plots import line_plot, percentile_plot
from .scenarios import figure

NOISE = 0.10
FLAT = 0.15
BEST_OF = ("HAProxy", "nginx", "hitch")
OPENSSL = "sallyport-openssl"  # Sallyport with tls_engine = "openssl"
OPENSSL_AGAINST = ("HAProxy", "nginx")  # the same OpenSSL
EPOLL = "sallyport-epoll"  # with io = "epoll"
ORDER = ("Sallyport", OPENSSL, EPOLL, "HAProxy", "nginx", "hitch", "Mosquitto", "no proxy, no TLS")
# What the curves show: (figure of a point, what it is the CPU time of).
CONNECTIONS_CURVE = (("handshake_us", "handshake"), ("message_us", "message"))
DEVICES_CURVE = (("handshake_us", "handshake of a known device"), ("message_us", "message"),
                 ("first_us", "first connection"), ("both_us", "connection, known and new devices at once"))


def shown(value):
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


class Cell:
    """One peer's figure in one row: the median of the runs that are ok, and what became of the others."""

    def __init__(self, records, metric):
        self.problems = sorted({each.problem for each in records if not each.ok})
        self.failed = sum(not each.ok for each in records)
        self.runs = len(records)
        self.figures = [value for each in records if each.ok
                        if (value := figure(each.result, metric)) is not None]
        self.median = statistics.median(self.figures) if self.figures else None

    def markdown(self):
        if not self.runs:
            return ""
        if self.median is None:
            return "failed" if not self.problems or "not possible" not in self.problems[0] else "n/a"
        spread = f" ({shown(min(self.figures))}–{shown(max(self.figures))})" if len(self.figures) > 1 else ""
        return f"{shown(self.median)}{spread}" + (f", {self.failed} of {self.runs} failed" if self.failed else "")


def verdict(ratio, goal):
    """Within 10 % of its goal is not met: the next run may say otherwise."""
    if ratio is None:
        return "**no result**"
    if ratio <= goal * (1 - NOISE):
        return "met"
    return "within noise: **not met**" if ratio <= goal * (1 + NOISE) else "**not met**"


def judged_rows(data):
    """Each row of the table as a dict: cells by peer, ratio, verdict."""
    for scenario in data.scenarios:
        records = [each for each in data.records if each.scenario == scenario["name"]]
        for row in scenario["rows"]:
            cells = {peer: Cell([each for each in records if each.peer == peer], row["metric"]) for peer in ORDER}
            rivals = {peer: cells[peer].median for peer in BEST_OF if cells[peer].median is not None}
            best = min(rivals, key=rivals.get) if rivals else None
            ours = cells["Sallyport"].median
            ratio = ours / rivals[best] if best and ours is not None and rivals[best] > 0 else None
            yield {**row, "scenario": scenario["name"], "cells": cells, "best": best, "ratio": ratio,
                   "verdict": verdict(ratio, row["goal"])}


def openssl_rows(rows):
    """Sallyport by OpenSSL alone beside the peers with the same OpenSSL: it is not to be behind them."""
    lines = []
    for row in rows:
        own = row["cells"][OPENSSL].median
        rivals = {peer: row["cells"][peer].median for peer in OPENSSL_AGAINST if row["cells"][peer].median is not None}
        if own is None or not rivals:
            continue
        best = min(rivals, key=rivals.get)
        ratio = own / rivals[best] if rivals[best] > 0 else 1.0
        word = "**behind**" if ratio > 1 + NOISE else "level" if ratio > 1 - NOISE else "ahead"
        lines.append(f"| {row['title']}, {row['unit']} | {shown(own)} | {shown(rivals[best])} ({best}) | {ratio:.2f} "
                     f"| {word} |")
    if not lines:
        return []
    return ["", "## Sallyport by OpenSSL alone", "",
            f"`tls_engine = \"openssl\"` beside the better of {' and '.join(OPENSSL_AGAINST)} with the same OpenSSL. "
            f"*Level* is within the noise of {NOISE:.0%}.", "",
            "| scenario | sallyport-openssl | best of them | ratio | |", "|---|---:|---:|---:|---|", *lines]


def flatness(points, key):
    """(largest deviation from the first point as a share, verdict) of a scaling curve."""
    figures = [getattr(each, key) for each in points if getattr(each, key) is not None]
    if len(figures) < 2:
        return None
    worst = max(abs(each / figures[0] - 1) for each in figures[1:])
    return worst, "flat" if worst <= FLAT else "**not flat**"


def plots(data):
    """{file name: SVG} of all there is to plot."""
    found = {}
    curves = data.scale_connections
    for name, key, what in (("scale_handshake", "handshake_us", "a full TLS 1.3 handshake + CONNECT + close"),
                            ("scale_message", "message_us", "a 100-byte message")):
        found[f"{name}.svg"] = line_plot(
            f"CPU of the proxy for {what}", "idle connections open", "µs of CPU",
            {peer: [(point.x, getattr(point, key)) for point in curves[peer] if point.x]
             for peer in ORDER if peer in curves})
    for name, title, y_label, log_y, series in (
            ("handshake", "CPU of Sallyport for a connection", "µs of CPU", False,
             {"known devices": "handshake_us", "first connections": "first_us", "both at once": "both_us"}),
            ("message", "CPU of Sallyport for a 100-byte message", "µs of CPU", False, {"Sallyport": "message_us"}),
            ("rates", "Handshakes of known devices and registrations at the same time", "a second", False,
             {"known devices": "known_rate", "registrations": "registered_rate"}),
            ("start", "From the start of Sallyport until it answers", "seconds", True, {"Sallyport": "warm_seconds"})):
        found[f"scale_devices_{name}.svg"] = line_plot(
            title, "registered devices", y_label,
            {label: [(each.x, getattr(each, key)) for each in data.scale_devices]
             for label, key in series.items()}, log_y=log_y)
    for name, title in (("storm", "Round trips while bursts of 50 handshakes arrive"),
                        ("roundtrip-1", "Round trips on one connection"),
                        ("roundtrip-1000", "Round trips on 1000 connections")):
        latencies = {}
        for peer in ORDER:
            runs = [each.result["latency_us"] for each in data.records
                    if each.scenario == name and each.peer == peer and each.ok]
            if runs:
                latencies[peer] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        found[f"{name}.svg"] = percentile_plot(title, "µs", latencies)
    return {name: svg for name, svg in found.items() if svg}


def table(rows, peers):
    lines = ["| scenario | " + " | ".join(peers) + " | ratio to the best | goal | verdict |",
             "|---|" + "---:|" * (len(peers) + 2) + "---|"]
    for row in rows:
        cells = []
        for peer in peers:
            text = row["cells"][peer].markdown()
            cells.append(f"**{text}**" if peer == row["best"] else text)
        ratio = f"{row['ratio']:.2f}" if row["ratio"] is not None else "–"
        best = f" ({row['best']})" if row["best"] else ""
        lines.append(f"| {row['title']}, {row['unit']} | " + " | ".join(cells) +
                     f" | {ratio}{best} | ≤ {row['goal']:.2f} | {row['verdict']} |")
    return lines


def rates(data, peers):
    """Absolute rates: what came out in passing, with load, sink and proxy on the same cores."""
    lines = ["| scenario | unit | " + " | ".join(peers) + " |", "|---|---|" + "---:|" * len(peers)]
    for scenario in data.scenarios:
        records = [each for each in data.records if each.scenario == scenario["name"] and each.ok]
        unit = next((each.result["unit"] for each in records), None)
        if unit is None or scenario["name"] == "idle":
            continue
        cells = [shown(Cell([each for each in records if each.peer == peer], "rate").median) for peer in peers]
        lines.append(f"| {scenario['name']} | {unit}/s | " + " | ".join(cells) + " |")
    return lines


def failures(data):
    lines = []
    for each in data.records:
        if not each.ok and "not possible" not in each.problem:
            lines.append(f"- {each.scenario}, {each.peer}, run {each.repeat}: {each.problem}")
    for peer, points in data.scale_connections.items():
        lines += [f"- scale-connections, {peer}, at {each.x or 'the start'}: {each.problem}"
                  for each in points if each.problem]
    return lines + [f"- scale-devices, at {each.x:,}: {each.problem}"
                    for each in data.scale_devices if each.problem]


def scaling(data):
    devices = data.scale_devices
    lines = []
    for what, curves, shows in (("idle connections", data.scale_connections, CONNECTIONS_CURVE),
                                ("registered devices", {"Sallyport": devices}, DEVICES_CURVE)):
        for peer in ORDER:
            for key, unit in shows:
                points = [each for each in curves.get(peer, []) if each.x and getattr(each, key) is not None]
                judged = flatness(points, key)
                if judged is None:
                    continue
                figures = " → ".join(f"{shown(getattr(each, key))} at {each.x:,}" for each in points)
                lines.append(f"| {peer} | {what} | {unit} | {figures} | {judged[0] * 100:.0f} % | {judged[1]} |")
    if not lines:
        return ["The scaling curves were not measured in this run."]
    head = ["| peer | over | per | µs of CPU | farthest from the first | goal: within 15 % |",
            "|---|---|---|---|---:|---|"]
    if not devices:
        lines += ["", "The curve over registered devices was not measured in this run."]
    return head + lines + registered_devices([each for each in devices if each.warm_seconds is not None])


def registered_devices(points):
    """What is to be said of a full registry beside CPU time: registrations go on, the start, the memory."""
    if not points:
        return []
    wrong = any(each.problem for each in points)
    lines = ["", "Sallyport with a registry of that many devices; what measures brings some thousand more. The rates "
             "are of two loads at once, as fast as they go: full handshakes of known devices, and first connections, "
             "each of which is a registration; the best of the rounds, for other work on the cores only lowers them. "
             "Sallyport counted them" +
             ("; what went wrong is above." if wrong else ", and every new device was registered in the end.") +
             " What of the start is not reading is RocksDB replaying its log, of at most 64 MiB. The memory is the "
             "process's, RocksDB's included.", "",
             "| registered devices | handshakes/s of known devices | registrations/s meanwhile | most that waited to "
             "be written | s until it answers | of them reading | PSS, MiB | bytes for each |", "|" + "---:|" * 8]
    for each in points:
        memory = [each.pss_mib, points[0].pss_mib]
        more = (memory[0] - memory[1]) * 2**20 / each.x if None not in memory and each.x >= 100_000 else None
        cells = [f"{each.x:,}", shown(each.known_rate), shown(each.registered_rate),
                 f"{each.waiting_most:.0f}" if each.waiting_most is not None else "–",
                 shown(each.warm_seconds), shown(each.read_seconds), shown(each.pss_mib), shown(more)]
        lines.append("| " + " | ".join(cells) + " |")
    judged = {what: flatness(points, key) for key, what in (("known_rate", "handshakes"),
                                                            ("registered_rate", "registrations"))}
    words = ", ".join(f"{what} {verdict[0] * 100:.0f} % ({verdict[1]})" for what, verdict in judged.items() if verdict)
    return lines + (["", f"Rates, farthest from the first: {words}."] if words else [])


def checks(data):
    lines = []
    for each in data.checks:
        what = "a device below an intermediate" if each.intermediate else "a device"
        lines.append(f"- {each.peer}, {each.key.upper()} key: nobody without a certificate, no stranger; {what} "
                     f"with {each.protocol}, {each.cipher}, {each.group}, tickets issued: {each.tickets}")
    return lines


def markdown(data, notes, folder="results"):
    """RESULTS.md. `notes`: what a person wrote about the rows that miss their goals, or an empty text."""
    peers = [peer for peer in ORDER if any(each.peer == peer for each in data.records)]
    rows = list(judged_rows(data))
    met = sum(row["verdict"] == "met" for row in rows)
    lines = ["# Sallyport and its peers", "",
             f"{data.kind} run of {data.date}, commit {data.commit}, {data.minutes:.0f} minutes. "
             f"{met} of {len(rows)} rows meet their goals.", ""]
    if data.kind != "Full":
        lines += ["This run was short: its figures are indications.", ""]
    lines += ["Rerun it with `./bench/compare.sh` (up to 45 minutes) or `./bench/compare.sh --quick` (5 minutes after "
              "the build); `--record` keeps the result here. The figures of each run are in the JSON file beside this one.", "",
              "## Machine and versions", ""]
    lines += [f"- {name}: {value}" for name, value in data.machine.items()]
    lines += [f"- {name}: {value}" for name, value in data.versions.items()]
    lines += ["", "## Results", "",
              "CPU time of the proxy's process tree per unit, latencies from due times, PSS per connection; the median "
              "of the runs and, in brackets, the least and the greatest. The ratio is Sallyport's median to the best "
              "(bold) of HAProxy, nginx and hitch. *Met* means by more than the noise of 10 %. Mosquitto terminates "
              "TLS itself and has no second connection to make: it is shown, not counted.", ""]
    lines += table(rows, peers)
    lines += openssl_rows(rows)
    if failed := failures(data):
        lines += ["", "## What failed", "", *failed]
    if notes:
        lines += ["", "## The rows that miss their goals", "", notes.strip()]
    lines += ["", "## Scaling", "", *scaling(data), ""]
    lines += [f"![{name}]({folder}/{name})" for name in plots(data)]
    lines += ["", "## Rates, not claimed", "",
              "Load, sink and proxy share the machine's cores: these say more about the three together than about the "
              "proxy. Where the load sets the rate, it is the load's.", "", *rates(data, peers)]
    lines += ["", "## How it was measured", "",
              f"Each run starts the proxy afresh in front of a fresh sink, one worker, thread or shard each; "
              f"{data.how_often}. The order of the peers rotates from run to run. The configurations are in "
              "`bench/peers/`: mutual TLS required and verified, X25519, one pinned cipher a TLS version, no tickets "
              "but where the scenario issues or resumes, the same number of tickets there unless the row says "
              "otherwise, no access log. Before it was measured each was asked by `openssl s_client`, and each refused "
              "who must be refused:", "",
              *checks(data), ""]
    return "\n".join(lines)


def write(data, out, notes_file):
    """Writes the Markdown to `out`, the raw data and the plots beside it; returns the files."""
    folder = out.parent / "results"
    folder.mkdir(parents=True, exist_ok=True)
    files = [out, out.with_suffix(".json")]
    files[1].write_text(data.to_json())
    for name, svg in plots(data).items():
        (folder / name).write_text(svg)
        files.append(folder / name)
    out.write_text(markdown(data, notes_file.read_text() if notes_file.exists() else ""))
    return files
