"""The operators' pages are run as they are written: every command, every file, every output that they show
(harness/pages.py says how). The real Sallyport, Mosquitto, HAProxy, nginx and certificates; each page has a machine of
its own, that is a folder and free ports."""

import json
import shutil
import subprocess

import pytest

from harness import pages, stock
from harness.pages import BLOCK, DOCS, Place, blocks, blocks_of

# Pages that are run, and the page at whose end each of them begins.
RUN = {"first-hour.md": None, "sidecar.md": None, "edge.md": None, "migrate-mosquitto.md": None,
       "migrate-haproxy.md": None, "migrate-nginx.md": None, "migrate-aws-iot.md": None, "migrate-managed.md": None,
       "day-two.md": "sidecar.md", "security.md": "sidecar.md", "upgrade-backup-disaster.md": "sidecar.md"}
# What needs another machine, and how often a page asks it.
ELSEWHERE = {"migrate-aws-iot.md": [("aws", "list-certificates-by-ca", 1), ("aws", "describe-certificate", 3)],
             "upgrade-backup-disaster.md": [("apt-get", "install", 1), ("timedatectl", "set-ntp", 1)]}
PROGRAMS = ("sallyport", "openssl", "curl", "mosquitto", "systemctl", "haproxy", "nginx", "aws", "apt", "kubectl")


@pytest.fixture(scope="module")
def shelf(work):
    """What the reader has: made once for all pages."""
    folder = work / "stock"
    stock.lay_in(folder)
    return folder


@pytest.mark.parametrize("page", RUN)
def test_every_command_of_the_page_works(work, shelf, page):
    place = Place(work / page.removesuffix(".md"), shelf)
    before = blocks(RUN[page]) if RUN[page] else []
    found = blocks(page)
    place.run(page, before + found)
    wrong = place.differences(found)
    assert not wrong, "\n\n".join(wrong)
    _asked_elsewhere(place, page)


def _asked_elsewhere(place, page):
    """What was asked of other machines is what this file counts, the page says that it was not done, and the words
    are those that the real program knows, where it is installed."""
    kept = place.root / "run/elsewhere"
    asked = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    verbs = [(program, next(word for word in words[program == "aws":] if not word.startswith("-")))
             for program, *words in asked]
    assert sorted((*each, verbs.count(each)) for each in set(verbs)) == sorted(ELSEWHERE.get(page, []))
    assert not asked or "stand-in" in (DOCS / page).read_text(), f"{page} does not say what was not run"
    if shutil.which("aws"):
        for program, *words in asked:
            if program == "aws":
                # A skeleton reaches no cloud. It is not made for a command or an option that is not there.
                done = subprocess.run(["aws", *words, "--region", "eu-central-1", "--generate-cli-skeleton", "input"],
                                      capture_output=True, text=True, timeout=60)
                assert done.returncode == 0, f"aws {' '.join(words)}: {done.stderr}"


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_no_block_of_a_page_is_overlooked(page):
    """The reader of pages finds all blocks: as many as there are fences. On a page that is run, what is not run is no
    command."""
    text = (DOCS / page).read_text()
    assert sum(line.lstrip().startswith("```") for line in text.splitlines()) == 2 * len(BLOCK.findall(text))
    if page in RUN:
        for block in blocks(page):
            if block.kind == "shown":
                assert not any(line.split()[:1] and line.split()[0] in PROGRAMS for line in block.text.splitlines()), \
                    f"{block}: a command that nobody runs"


def a_page(text):
    return blocks_of(text.replace("'''", "```"), "a page")


def outcome(folder, text):
    """What running a page of this text complains of."""
    place = Place(folder)
    found = a_page(text)
    try:
        place.run("a page", found)
    except AssertionError as failure:
        return str(failure)
    return "\n".join(place.differences(found))


@pytest.mark.parametrize("text, complaint", [
    ("'''sh\ntrue\n'''\n", ""),
    ("'''sh\ntrue\nfalse\n'''\n", "line 2, failed: false"),
    ("'''sh\n! false\n'''\n", ""),
    ("'''sh\n! true\n'''\n", "it did not fail"),
    ("'''console\n$ ! true\n'''\n", "it did not fail"),
    ("'''console\n$ echo one two\none two\n$ echo three\nthree\n'''\n", ""),
    ("'''console\n$ echo one two\none\n'''\n", "$ echo one two"),
    ("'''console\n$ echo one\n'''\n", "$ echo one"),
    ("'''console\n$ true\none\n'''\n", "$ true"),
    ("'''console\n$ echo one >&2\none\n'''\n", ""),
    ("'''console\n$ echo one two three\none … three\n'''\n", ""),
    ("'''console\n$ echo one two four\none … three\n'''\n", "$ echo one"),
    ("'''console\n$ seq 5\n1\n...\n5\n'''\n", ""),
    ("'''console\n$ seq 5\n1\n...\n4\n'''\n", "$ seq 5"),
    ("'''console\n$ echo of 2026-11-29, 0123456789abcdef, 12 ms\nof 2026-01-01, 99999999…, 1 ms\n'''\n", ""),
    ("'''console\n$ echo id 0123456789abcdef, 3 sessions\nid 99999999…, 4 sessions\n'''\n", "3 sessions"),
    ("'''text a/file\nno $HOME, 'kept'\n'''\n", "is no name of a file"),
    ("'''text file\nno $HOME, 'kept'\n'''\n'''sh\ngrep -F 'no $HOME' file\n'''\n", ""),
    ("'''sh background\ntouch there; exec sleep 60\n'''\n'''sh\nuntil [ -e there ]; do sleep 0.01; done\n'''\n", ""),
    ("<!-- happens\necho here > file\n-->\n'''console\n$ cat file\nhere\n'''\n", ""),
    ("1. one\n   '''sh\n   echo here > file\n   '''\n   '''console\n   $ cat file\n   here\n   '''\n", ""),
    ("'''console\n$ sallyport device list\nsallyport: cannot reach …\n'''\n", "exit status 1"),
    ("\n" * 441 + "'''console\n$ echo a port in the number of a line\na port in the number of a line\n'''\n", ""),
    ("'''python\nprint(1)\n'''\n", "nobody runs"),
    ("'''sh sometimes\ntrue\n'''\n", "what is a block"),
    ("'''sh\nsystemctl start postfix\n'''\n", "no unit postfix"),
], ids=[str(number) for number in range(26)])
def test_the_reader_of_pages_notices_what_is_wrong(tmp_path, monkeypatch, text, complaint):
    """The tests above can fail: a command that fails, one that should and does not, another output, another block."""
    monkeypatch.setattr(pages, "PATIENCE", 1)
    try:
        said = outcome(tmp_path / "p", text)
    except AssertionError as failure:
        said = str(failure)
    assert (complaint in said) if complaint else said == "", said


def test_rows_come_in_any_order_and_are_all_there():
    table = ["ID         NAME", "0123456789ab  one", "9876543210ab  two"]
    assert pages.fits(["ID  NAME", "00000000…  two", "00000000…  one"], table)
    assert not pages.fits(["ID  NAME", "00000000…  two", "00000000…  two"], table)
    assert not pages.fits(["ID  NAME", "00000000…  two"], table)
