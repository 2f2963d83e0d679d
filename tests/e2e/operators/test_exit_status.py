"""One exit status for each kind of failure, of every command that speaks to a server: the reference names them, so none is
left out. 1: the server cannot be asked, with one line that says so, and no word before it of what was to be done. 2: an
option that there is not."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from harness.authority import days, now
from harness.server import BINARY

PAGE = (Path(__file__).resolve().parents[3] / "admin/docs/commands.md").read_text()
# What speaks to no server, or looks at more than it.
OF_THIS_MACHINE = {"serve", "check", "doctor", "config", "completion", "version", "restore", "registry"}
NEEDED = {"token create": ["--name", "n", "--role", "viewer"], "ca set": ["--approve", "on"]}


def commands():
    """(words, placeholders, whether it takes --yes) of each command of the reference."""
    for section in PAGE.split("\n## `sallyport ")[1:]:
        heading, text = section.split("`", 1)
        words = [word for word in heading.split() if re.fullmatch(r"[a-z][a-z-]*", word)]
        arguments = [word.strip("[].") if "..." in word else word.strip("[]") for word in heading.split()
                     if word not in words]
        if "| option |" not in text and not arguments and any(  # a group of others
                other.startswith(" ".join(words) + " ") for other in re.findall(r"\n## `sallyport ([^`]+)`", PAGE)):
            continue
        if words[0] not in OF_THIS_MACHINE:
            yield words, arguments, "| `--yes` |" in text


COMMANDS = list(commands())


@pytest.fixture(scope="module")
def files(root, work):
    crl = (x509.CertificateRevocationListBuilder().issuer_name(root.name).last_update(now())
           .next_update(now() + days(9)).sign(root.key, hashes.SHA256()))
    path = work / "empty.crl"
    path.write_bytes(crl.public_bytes(serialization.Encoding.DER))
    return {"FILE": str(path), "KEY": root.identity.key_file}


def spelled(words, arguments, takes_yes, files, identity):
    stand_in = {"ID": "ab" * 32, "SESSION": "ab" * 8, "NAME": "name", "SERVER": "127.0.0.1:1", "LEVEL": "debug",
                "MODE": "mutual", "DIR": "/tmp/never-made", **files}
    made = [*words, *(stand_in.get(each, identity.chain_file) for each in arguments), *NEEDED.get(" ".join(words), [])]
    if not arguments and words[-1] in ("activate", "deactivate", "revoke", "delete"):
        made.append(stand_in["ID"])
    return made + (["--yes"] if takes_yes else [])


def run(arguments):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SALLYPORT_")}
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=60, env=environment,
                          stdin=subprocess.DEVNULL)


def test_the_reference_has_them_all():
    assert len(COMMANDS) >= 45, COMMANDS
    assert {"ticket-keys rotate", "drain", "upstream drain", "session cut", "tail"} <= {" ".join(c[0]) for c in COMMANDS}


@pytest.mark.parametrize("words, arguments, takes_yes", COMMANDS, ids=[" ".join(each[0]) for each in COMMANDS])
def test_of_every_command(words, arguments, takes_yes, files, root, tmp_path):
    asked = spelled(words, arguments, takes_yes, files, root.issue("of a command"))
    nobody = str(tmp_path / "nobody.sock")
    done = run([*asked, "--socket", nobody])
    assert done.returncode == 1 and done.stdout == "", (asked, done)
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and nobody in lines[0], "what it was about to do is said to nobody"
    wrong = run([*asked, "--socket", nobody, "--no-such-option"])
    assert wrong.returncode == 2 and wrong.stderr and not wrong.stdout, (asked, wrong)
