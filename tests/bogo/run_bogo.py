#!/usr/bin/env python3
"""BoringSSL's test runner against TlsEngine, three times: README.md.

    run_bogo.py SHIM FOLDER            the runner is built in FOLDER if it is not there yet
    run_bogo.py SHIM FOLDER --listed   only the tests that pass; where a shim is slow to start, as with sanitizers
    run_bogo.py SHIM FOLDER --accept   writes engines.list anew, of what this run did

A test must pass, or be one of disabled.list, or need what Sallyport does not have (the shim says "unimplemented"). Every
test that passes stands in engines.list with who made each of its handshakes, and must have met the same again.
"""

import argparse
import collections
import fnmatch
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
RUNS = {"aes": {"BOGO_AES_FIRST": "1"},                                          # ours
        "plain": {},                                                             # OpenSSL's, but where a test asks for AES
        "openssl": {"BOGO_AES_FIRST": "1", "SALLYPORT_BOGO_ENGINE": "openssl"}}  # OpenSSL's alone
LISTED = ("aes", "plain")
SKIPPED = 77


def disabled_patterns():
    """[(runs, pattern, whether it fails with each OpenSSL)]"""
    patterns = []
    for line in (HERE / "disabled.list").read_text().splitlines():
        if line and not line.startswith("#"):
            runs, pattern, reason = line.split(maxsplit=2)
            surely, runs = not runs.startswith("~"), runs.removeprefix("~")
            assert reason and set(runs.split(",")) <= {"all", *RUNS}, line
            patterns.append((set(RUNS) if runs == "all" else set(runs.split(",")), pattern, surely))
    return patterns


class Run:
    """`results`: test → PASS, FAIL or SKIP; `met`: test → its connections, in order; `said`: test → why it failed."""

    def __init__(self, name, shim, folder, only=()):
        self.name, self.all, work = name, not only, folder / name
        work.mkdir(exist_ok=True)
        log, config, results = work / "log", work / "config.json", work / "results.json"
        for old in (log, results):
            old.unlink(missing_ok=True)
        config.write_text(json.dumps({"DisabledTests": {}, "ErrorMap": {}, "HalfRTTTickets": 0}))
        # The shim learns the name of a test from where its transcript would go.
        command = [folder / "runner", "-shim-path", shim, "-shim-config", config, "-loose-errors", "-allow-unimplemented",
                   "-pipe", "-num-workers", str(len(os.sched_getaffinity(0))), "-resource-dir", folder / "resources",
                   "-transcript-dir", work / "transcripts", "-json-output", results]
        if only:
            command += ["-test", ";".join(sorted(only))]
        # What a sanitizer finds must fail a test that expects a failure, too: PORTING.md.
        sanitizers = {each: os.environ.get(each, "") + ":exitcode=90" for each in ("ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS")}
        done = subprocess.run(command, env={**os.environ, **sanitizers, **RUNS[name], "SALLYPORT_BOGO_LOG": str(log)},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1500, check=False)
        (work / "output").write_text(done.stdout)
        if not results.exists():
            sys.exit(f"bogo {name}: the runner failed: {done.stdout[-2000:]}")
        self.results = {test: each["actual"] for test, each in json.loads(results.read_text())["tests"].items()}
        self.met = collections.defaultdict(list)
        for line in log.read_text().splitlines():
            test, handshake, records, kind, ended = line.split("\t")
            # OpenSSL's words are of its version.
            words = ended if handshake == "own" or ended == "done" else "refused"
            self.met[test].append(f"{handshake}/{records} {kind} {words}")
        self.said = dict(part.split(")\n", 1) for part in done.stdout.split("FAILED (")[1:])

    def of(self, result):
        return {test for test, each in self.results.items() if each == result}

    def findings(self, expected, patterns):
        found = []
        failed = self.of("FAIL")
        mine = [pattern for runs, pattern, _ in patterns if self.name in runs]
        may_pass = [pattern for runs, pattern, surely in patterns if self.name in runs and not surely]
        for test in sorted(failed):
            if not any(fnmatch.fnmatchcase(test, pattern) for pattern in mine):
                found.append(f"{test} fails: {self.said.get(test, '')[:600]}")
        for pattern in mine:
            if self.all and pattern not in may_pass and not fnmatch.filter(failed, pattern):
                found.append(f"disabled.list has {pattern}, and nothing of that name fails")
        passed = self.of("PASS")
        if self.name in LISTED:
            for test in sorted(expected):
                if test not in passed:
                    found.append(f"{test} does not pass: {self.results.get(test, 'there is no such test')}")
            for test in sorted(passed):
                if test not in expected:
                    if any(fnmatch.fnmatchcase(test, pattern) for pattern in may_pass):
                        continue
                    found.append(f"{test} passes and is not in engines.list: --accept")
                elif self.met[test] != expected[test]:
                    found.append(f"{test} met {self.met[test]}, and should have met {expected[test]}")
        else:
            for test, connections in self.met.items():
                if any("own" in each for each in connections):
                    found.append(f"{test} met {connections}, with tls_engine = openssl")
        return found


def read_engines():
    """run → test → its connections"""
    expected = {name: {} for name in LISTED}
    for line in (HERE / "engines.list").read_text().splitlines():
        if not line.startswith("#"):
            runs, test, connections = line.split("\t")
            for run in runs.split(","):
                expected[run][test] = connections.split("; ") if connections else []
    return expected


def write_engines(runs):
    lines = collections.defaultdict(list)
    for run in runs:
        if run.name in LISTED:
            for test in run.of("PASS"):
                lines[test, "; ".join(run.met[test])].append(run.name)
    head = ("# RUNS TEST CONNECTIONS: who made the handshake, whose the records were, full or resumed, and how it ended; in our\n"
            "# words where it was ours. Written by run_bogo.py --accept: read the difference before you commit it.\n")
    rows = sorted(f"{','.join(names)}\t{test}\t{met}\n" for (test, met), names in lines.items())
    (HERE / "engines.list").write_text(head + "".join(sorted(rows, key=lambda row: row.split("\t")[1])))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("shim", type=lambda path: Path(path).resolve())
    parser.add_argument("folder", type=lambda path: Path(path).resolve())
    parser.add_argument("--listed", action="store_true")
    parser.add_argument("--accept", action="store_true")
    asked = parser.parse_args()
    began = time.monotonic()
    built = subprocess.run([HERE / "build_runner.sh", asked.folder], check=False).returncode
    if built != 0:
        sys.exit(SKIPPED if built == SKIPPED else f"bogo: the runner could not be had ({built})")
    listed = read_engines() if asked.listed else {}
    only = {name: listed.get(name, listed.get("aes", {})) for name in RUNS}
    runs = [Run(name, asked.shim, asked.folder, only[name]) for name in RUNS]
    if asked.accept and not asked.listed:
        write_engines(runs)
    expected, patterns = read_engines(), disabled_patterns()
    good = bad = 0
    for run in runs:
        findings = run.findings(expected.get(run.name, {}), patterns)
        for each in findings:
            print(f"bogo {run.name}: {each}")
        ours = sum(any(each.startswith("own/") for each in met) for test, met in run.met.items() if run.results[test] == "PASS")
        print(f"bogo {run.name}: {len(run.of('PASS'))} pass ({ours} met a handshake of ours), {len(run.of('FAIL'))} fail as "
              f"disabled.list says, {len(run.of('SKIP'))} need what is not here")
        good, bad = good + len(run.of("PASS")), bad + len(findings)
    print((f"{bad} failed, " if bad else "") + f"{good} passed in {time.monotonic() - began:.1f}s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
