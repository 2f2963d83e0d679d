#!/usr/bin/env python3
"""Learns the engine's state machines from outside, and compares them with the committed drawings: README.md.

    learn.py ORACLE            each handshake of ours, mutual and one-way; fails where one is not as it is drawn
    learn.py ORACLE --accept   draws what was learned, as .dot here and .svg (graphviz) in proxy/tls/states/
    learn.py ORACLE --deep     tests each machine with two messages more than it needs; takes minutes
    learn.py ORACLE --openssl  says where OpenSSL's own machines answer otherwise; compares nothing

The algorithm is Angluin's L* for Mealy machines (Shahbaz and Groz 2009): a table of what each message is answered with
behind each access word, closed and consistent by construction, and a conformance test (Chow's W-method) that looks for a
word which the table is wrong about.
"""

import argparse
import itertools
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
PICTURES = HERE.parents[1] / "proxy" / "tls" / "states"

ALPHABET = {
    "tls13": ["ClientHello", "TicketHello", "Certificate", "NoCertificate", "CertificateVerify", "BadCertificateVerify",
              "Finished", "BadFinished", "ChangeCipherSpec", "KeyUpdate", "Data", "CloseNotify", "FatalAlert"],
    "tls12": ["ClientHello", "Certificate", "NoCertificate", "ClientKeyExchange", "CertificateVerify",
              "BadCertificateVerify", "ChangeCipherSpec", "Finished", "BadFinished", "Data", "CloseNotify", "FatalAlert"],
}
MACHINES = list(itertools.product(ALPHABET, ["mutual", "one-way"]))

# What a state is called: by the messages that lead there.
NAMES = {
    "tls13 mutual": {"": "start", "ClientHello": "wait for Certificate", "ClientHello Certificate": "wait for CertificateVerify",
                     "ClientHello Certificate CertificateVerify": "wait for Finished",
                     "TicketHello": "wait for Finished, resumed"},
    "tls13 one-way": {"": "start", "ClientHello": "wait for Finished", "TicketHello": "wait for Finished, resumed"},
    "tls12 mutual": {"": "start", "ClientHello": "wait for Certificate", "ClientHello Certificate": "wait for ClientKeyExchange",
                     "ClientHello Certificate ClientKeyExchange": "wait for CertificateVerify",
                     "ClientHello Certificate ClientKeyExchange CertificateVerify": "wait for ChangeCipherSpec",
                     "ClientHello Certificate ClientKeyExchange CertificateVerify ChangeCipherSpec": "wait for Finished"},
    "tls12 one-way": {"": "start", "ClientHello": "wait for ClientKeyExchange",
                      "ClientHello ClientKeyExchange": "wait for ChangeCipherSpec",
                      "ClientHello ClientKeyExchange ChangeCipherSpec": "wait for Finished"},
}
# Every way into a session, and why it may be one. There is no other, or learning fails.
ESTABLISHED = {
    ("tls13 mutual", "wait for Finished", "Finished"): "the device showed its certificate and proved its key",
    ("tls13 mutual", "wait for Finished, resumed", "Finished"): "the device proved the secret of a ticket",
    ("tls13 one-way", "wait for Finished", "Finished"): "nobody is asked who they are",
    ("tls13 one-way", "wait for Finished, resumed", "Finished"): "nobody is asked; the ticket's secret was proven",
    ("tls12 mutual", "wait for Finished", "Finished"): "the device showed its certificate and proved its key",
    ("tls12 one-way", "wait for Finished", "Finished"): "nobody is asked who they are",
}


class Oracle:
    """What a connection is answered with, message by message. What was asked once is remembered."""

    def __init__(self, program, version, auth, engine):
        self._process = subprocess.Popen([program, version, auth, engine], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True, bufsize=1)
        self._known = {}
        self.asked = 0

    def __call__(self, word):
        word = tuple(word)
        if word not in self._known:
            self.asked += 1
            self._process.stdin.write(" ".join(word) + "\n")
            self._process.stdin.flush()
            answers = self._process.stdout.readline().rstrip("\n").split("|")
            if len(answers) != len(word):
                raise SystemExit(f"the oracle ended at {' '.join(word)}")
            for length in range(1, len(word) + 1):
                before = self._known.setdefault(word[:length], tuple(answers[:length]))
                if before != tuple(answers[:length]):
                    raise SystemExit(f"{' '.join(word[:length])} was answered with {before}, and then with {answers}")
        return self._known[word]

    def close(self):
        self._process.stdin.close()
        if self._process.wait(60) != 0:
            raise SystemExit("the oracle failed at its end")


class Machine:
    """`access`: state → the word that leads there; `step`: (state, message) → (answer, state)."""

    def __init__(self, access, step):
        self.access, self.step = access, step

    def run(self, word):
        state, answers = 0, []
        for message in word:
            answer, state = self.step[state, message]
            answers.append(answer)
        return tuple(answers)


def learn(oracle, alphabet, extra):
    """L*. `extra`: how many messages the conformance test puts between an access word and a suffix."""
    prefixes, suffixes = [()], [(message,) for message in alphabet]

    def row(prefix):
        return tuple(oracle(prefix + suffix)[len(prefix):] for suffix in suffixes)

    while True:
        rows = {}
        for prefix in prefixes:
            rows.setdefault(row(prefix), len(rows))
        open_rows = True
        while open_rows:
            open_rows = False
            for prefix in list(prefixes):
                for message in alphabet:
                    next_row = row(prefix + (message,))
                    if next_row not in rows:
                        rows[next_row] = len(rows)
                        prefixes.append(prefix + (message,))
                        open_rows = True
        access = {rows[row(prefix)]: prefix for prefix in reversed(prefixes)}
        step = {(state, message): (oracle(prefix + (message,))[-1], rows[row(prefix + (message,))])
                for state, prefix in access.items() for message in alphabet}
        machine = Machine(access, step)
        wrong = counterexample(oracle, machine, alphabet, suffixes, extra)
        if wrong is None:
            return machine
        # Every suffix of it tells more states apart, one at least (Maler and Pnueli).
        for start in range(len(wrong)):
            if wrong[start:] not in suffixes:
                suffixes.append(wrong[start:])


def counterexample(oracle, machine, alphabet, suffixes, extra):
    for length in range(extra + 1):
        for prefix in machine.access.values():
            for middle in itertools.product(alphabet, repeat=length):
                for suffix in suffixes:
                    word = prefix + middle + suffix
                    if oracle(word) != machine.run(word):
                        return word
    return None


def named(title, machine):
    """state → its name; those in a session, and the end, by what they do."""
    names, kinds = {}, {"ended": [], "established": [], "established by ticket": []}
    for state, prefix in machine.access.items():
        known = NAMES[title].get(" ".join(prefix))
        if known is not None:
            names[state] = known
    for (state, _), (answer, target) in machine.step.items():
        if target in names:
            continue
        words = answer.split()
        if "failed" in words or "closed" in words or words == ["ended"]:
            names[target], kind = "ended", "ended"
        elif "established_by_ticket" in words or "established" in words:
            kind = "established by ticket" if "established_by_ticket" in words else "established"
            names[target] = kind
        else:
            continue
        kinds[kind].append(target)
    for state in machine.access:
        names.setdefault(state, "after " + " ".join(machine.access[state]))
    return names


def problems(title, machine, names):
    """Ways into a session that nobody has named, and ways out of the end."""
    found, used = [], set()
    inside = {state for state, name in names.items() if name.startswith("established")}
    for (state, message), (answer, target) in sorted(machine.step.items()):
        says = "established" in answer.split() or "established_by_ticket" in answer.split()
        enters = target in inside and state not in inside
        if says != enters:
            found.append(f"{names[state]} answers {message} with {answer!r} and goes to {names[target]}")
        if enters:
            key = (title, names[state], message)
            used.add(key)
            if key not in ESTABLISHED:
                found.append(f"{names[state]} comes to {names[target]} by {message}: nobody has said why it may")
        if names[state] == "ended" and (answer, names[target]) != ("ended", "ended"):
            found.append(f"after its end {message} is answered with {answer!r}")
    found += [f"nothing comes to a session any more by {key[1]}, {key[2]}" for key in ESTABLISHED if key[0] == title and key not in used]
    return found


def broken(messages):
    """Three in a line."""
    return ",\\l".join(", ".join(messages[at:at + 3]) for at in range(0, len(messages), 3))


def drawing(title, machine, names):
    """Dot, a line an edge; messages of one edge that are answered alike stand together."""
    lines = [f'digraph "{title}" {{', "  rankdir=TB; node [shape=box, style=rounded, fontname=Helvetica];",
             "  edge [fontname=Helvetica, fontsize=9];"]
    order = sorted(machine.access, key=lambda state: (len(machine.access[state]), machine.access[state]))
    for state in order:
        look = ', style="rounded,filled", fillcolor=palegreen' if names[state].startswith("established") else \
            ', style="rounded,filled", fillcolor=lightgrey' if names[state] == "ended" else ""
        lines.append(f'  "{names[state]}" [label="{names[state]}"{look}];')
    for state in order:
        edges = {}
        for message in sorted({each for _, each in machine.step}):
            answer, target = machine.step[state, message]
            if names[state] == "ended":
                continue
            edges.setdefault(names[target], {}).setdefault(answer, []).append(message)
        for target, answers in edges.items():
            label = "\\l".join(f"{broken(messages)} / {answer.replace('_', ' ')}" for answer, messages in answers.items())
            why = [ESTABLISHED[title, names[state], message] for messages in answers.values() for message in messages
                   if (title, names[state], message) in ESTABLISHED]
            if why:
                label += "\\l[" + "; ".join(why) + "]"
            look = ", color=darkgreen, penwidth=2" if why else ", color=grey" if target == "ended" else ""
            lines.append(f'  "{names[state]}" -> "{target}" [label="{label}\\l"{look}];')
    return "\n".join([*lines, "}", ""])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("oracle")
    parser.add_argument("--accept", action="store_true")
    parser.add_argument("--deep", action="store_true")
    parser.add_argument("--openssl", action="store_true")
    asked = parser.parse_args()
    began, bad = time.monotonic(), 0
    for version, auth in MACHINES:
        title = f"{version} {auth}"
        oracle = Oracle(asked.oracle, version, auth, "auto")
        machine = learn(oracle, ALPHABET[version], 2 if asked.deep else 1)
        names = named(title, machine)
        found = problems(title, machine, names)
        picture = drawing(title, machine, names)
        file = HERE / (title.replace(" ", "_") + ".dot")
        if asked.openssl:
            other = Oracle(asked.oracle, version, auth, "openssl")
            for state, prefix in machine.access.items():
                for message in ALPHABET[version]:
                    ours, theirs = oracle(prefix + (message,))[-1], other(prefix + (message,))[-1]
                    if ours != theirs:
                        print(f"state machines: {title}: {names[state]}: {message}: ours {ours!r}, OpenSSL's {theirs!r}")
            other.close()
        if asked.accept:
            file.write_text(picture)
            PICTURES.mkdir(exist_ok=True)
            subprocess.run(["dot", "-Tsvg", "-o", str(PICTURES / (file.stem + ".svg")), str(file)], check=True)
        elif not file.exists() or file.read_text() != picture:
            found.append(f"it is not as {file.name} draws it: --accept, and read the difference")
            Path(f"{file.stem}.learned.dot").write_text(picture)
        for each in found:
            print(f"state machines: {title}: {each}")
        bad += len(found)
        print(f"state machines: {title}: {len(machine.access)} states of {len(ALPHABET[version])} messages, {oracle.asked} connections")
        oracle.close()
    print((f"{bad} failed, " if bad else "") + f"{len(MACHINES)} passed in {time.monotonic() - began:.1f}s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
