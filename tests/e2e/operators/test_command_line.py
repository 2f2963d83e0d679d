"""The command line as scripts see it: exit statuses, positions of configuration errors, one helpful line."""

import json
import os
import re
import signal
import socket
import subprocess
from types import SimpleNamespace

import pytest

from harness.authority import Authority, days, now
from harness.device import admitted
from harness.refuses_calls import IO_URING, launcher
from harness.server import BINARY, listener, toml


def run(*arguments, **environment):
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                          env={**os.environ, **environment})


@pytest.fixture
def config(work, tmp_path, site):
    """Writes a configuration; `check` runs on it."""
    def write(listeners=None, upstreams=None, text=None, **tables):
        path = tmp_path / "sallyport.toml"
        path.write_text(text or toml({
            "state_dir": str(tmp_path / "state"),
            "listener": [listener(site)] if listeners is None else listeners,
            "upstream": upstreams or [{"name": "broker", "servers": ["127.0.0.1:1883"]}],
            "admin": {"socket": str(tmp_path / "a.sock")}, **tables}))
        return str(path)
    return write


def test_version():
    """What a bug report needs: commit, date, compiler and the libraries it runs with; `--version` is one line."""
    done = run("version")
    assert done.returncode == 0 and re.match(r"sallyport \d+\.\d+", done.stdout)
    facts = json.loads(run("version", "-o", "json").stdout)
    assert set(facts) == {"version", "commit", "build_date", "compiler", "openssl", "rocksdb", "liburing"}
    assert done.stdout.startswith(f"sallyport {facts['version']}\n")
    shown = dict(line.split(None, 1) for line in done.stdout.splitlines()[1:])
    assert shown == {key: value for key, value in facts.items() if key != "version"}
    assert re.fullmatch(r"unknown|[0-9a-f]{12,40}(-dirty)?", facts["commit"]), facts
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", facts["build_date"]), facts
    assert all(re.match(r"\d+\.\d+", facts[each]) for each in ("openssl", "rocksdb", "liburing")), facts
    assert run("--version").stdout == f"sallyport {facts['version']}\n"


def test_the_reference_of_the_configuration():
    """`config` names every key with its default; -o json says the same to a program."""
    done = run("config")
    settings = json.loads(run("config", "-o", "json").stdout)
    assert done.returncode == 0 and len(settings) > 60
    for each in settings:
        line = next(line for line in done.stdout.splitlines() if line.startswith(each["key"] + " "))
        assert (each["default"] or "-") in line
        assert each["range"] in " ".join(done.stdout.split())
        assert each["description"] and each["applies"] in {"at_once", "after_restart", "not_yet"}
        assert each["required"] == (each["default"] is None)
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_the_commented_file_is_accepted(tmp_path, site):
    """`config --default`: check accepts it as it stands and says that nothing is served yet; with the example taken
    and a certificate put in, it says ok and no more."""
    text = run("config", "--default").stdout
    path = tmp_path / "sallyport.toml"
    path.write_text(text)
    done = run("check", "--config", str(path))
    assert done.returncode == 0 and "0 listeners" in done.stdout, done.stderr
    assert done.stderr.splitlines() == [f"sallyport: {path}: there is no [[listener]]: devices cannot connect"]
    taken = re.sub(r"^# Needed\.\n#", "# Needed.\n", text.replace("\n#[[", "\n[["), flags=re.M)
    path.write_text(taken)
    done = run("check", "--config", str(path))
    if not os.path.exists("/etc/sallyport/server_chain.crt"):
        lines = done.stderr.splitlines()
        assert done.returncode == 2 and len(lines) == 1 and "/etc/sallyport/server_chain.crt" in lines[0], done.stderr
    path.write_text(taken.replace("/etc/sallyport/server_chain.crt", str(site.chain_file), 1)
                    .replace("/etc/sallyport/server_pkcs8.key", str(site.key_file), 1))
    done = run("check", "--config", str(path))
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert not re.search(r"[ \t]$", text, re.M) and max(map(len, text.splitlines())) <= 120


def test_a_server_without_listeners(serve_once, broker, root):
    """It serves its operators, who may register CAs before the first listener is there, says that it has none, and is
    not ready, so that no balancer sends it devices."""
    server = serve_once([], broker, ready=503)
    server.line("no-listener")
    assert server.probe("livez") == 200
    root.register(server)
    assert server.json("status")["sessions"] == 0
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


@pytest.mark.skipif(os.path.exists("/etc/sallyport/sallyport.toml"), reason="this machine has a configuration")
@pytest.mark.parametrize("command", ["serve", "check"])
def test_the_default_file_is_named_where_it_is_absent(command):
    done = run(command)
    assert done.returncode == 2 and not done.stdout
    assert "/etc/sallyport/sallyport.toml" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["ca"], ["ca", "register", "one"],
                                       ["device", "list", "--nonsense"], ["device", "list", "-o", "xml"],
                                       ["device", "deactivate"], ["ca", "list", "--status", "maybe"],
                                       ["ca", "code", "--ttl", "soon"]])
def test_wrong_usage_is_exit_2(arguments):
    """With something on stderr and nothing on stdout."""
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stderr and not done.stdout


@pytest.mark.parametrize("command", ["serve", "check", "config"])
def test_a_file_without_its_flag_says_how_it_is_named(command):
    done = run(command, "some.toml")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "some.toml" in done.stderr and "--config FILE" in done.stderr


@pytest.mark.parametrize("arguments", [["status"], ["ca", "code"], ["device", "list"], ["listener", "list"]])
def test_an_unreachable_socket_is_exit_1_and_one_helpful_line(arguments, tmp_path):
    """It names the path and what to do, from --socket and from the environment."""
    path = str(tmp_path / "nobody.sock")
    for done in (run(*arguments, "--socket", path), run(*arguments, SALLYPORT_SOCKET=path)):
        assert done.returncode == 1
        assert not done.stdout
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1 and path in lines[0] and "serve" in lines[0]


def test_check_is_silent_about_what_is_right(config, tmp_path):
    """Exit 0, and nothing was bound, opened or created."""
    done = run("check", "--config", config())
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "state").exists() and not (tmp_path / "a.sock").exists()


def test_every_problem_in_one_pass_with_its_position(config):
    """FILE:LINE:COL for each, a suggestion for a misspelt key, exit 2 from check and serve alike."""
    path = config(text="""state_dri = "/tmp/x"

[[listener]]
name = "mqtts"
address = "127.0.0.1:0"
upstream = "borker"
certificates = []
handshake_timeout = 10
auth = "both"

[[upstream]]
name = "broker"
servers = ["127.0.0.1"]

[log]
level = "loud"
""")
    for command in ("check", "serve"):
        done = run(command, "--config", path)
        assert done.returncode == 2, done.stderr
        positions = re.findall(rf"^{re.escape(path)}:(\d+):\d+: (.*)$", done.stderr, re.M)
        found = {int(line): text for line, text in positions}
        assert set(found) == {1, 6, 7, 8, 9, 13, 16}, done.stderr
        assert "did you mean 'state_dir'" in found[1]
        assert "borker" in found[6]


def test_a_syntax_error_has_a_position(config):
    done = run("check", "--config", config(text='state_dir = "x"\n[[listener\n'))
    assert done.returncode == 2 and re.search(r"sallyport\.toml:2:\d+: ", done.stderr)


def test_an_unreadable_file_is_named(tmp_path):
    done = run("serve", "--config", str(tmp_path / "absent.toml"))
    assert done.returncode == 2 and "absent.toml" in done.stderr


@pytest.mark.parametrize("what", ["missing", "garbage", "other key", "chain out of order"])
def test_check_opens_the_certificates(config, tmp_path, shop, site, what):
    """A missing file, one that is no PEM, a key that does not fit, a chain upside down."""
    chain, key = site.chain_file, site.key_file
    if what == "missing":
        chain = str(tmp_path / "no.crt")
    elif what == "garbage":
        chain = str(tmp_path / "garbage.crt")
        (tmp_path / "garbage.crt").write_text("not a certificate\n")
    elif what == "other key":
        key = shop.server("other").key_file
    else:
        parts = open(chain).read().split("-----END CERTIFICATE-----\n")
        chain = str(tmp_path / "upside-down.crt")
        (tmp_path / "upside-down.crt").write_text("".join(f"{part}-----END CERTIFICATE-----\n" for part in
                                                          (parts[1], parts[0])))
    path = config([{"name": "mqtts", "address": "127.0.0.1:0", "upstream": "broker",
                    "certificates": [{"chain": chain, "key": key}]}])
    done = run("check", "--config", path)
    assert done.returncode == 2, done.stdout
    assert os.path.basename(chain) in done.stderr or os.path.basename(key) in done.stderr


def test_check_says_all_of_it_in_one_pass(tmp_path, shop, site):
    """What the text says and what the files say, each with line and column: two problems of the text, three of the files,
    and as warnings what serve would go on with: an expired certificate, a broker's name that does not resolve."""
    old = shop.issue("old", dns=["old"], not_before=now() - days(9), not_after=now() - days(1))
    path = tmp_path / "sallyport.toml"
    path.write_text(f"""state_dir = "{tmp_path}/sallyport.toml/state"
misspelt = 1
[[listener]]
name = "mqtts"
address = "127.0.0.1:0"
upstream = "broker"
certificates = [
  {{ chain = "{old.chain_file}", key = "{old.key_file}" }},
  {{ chain = "{tmp_path}/absent.crt", key = "{site.key_file}" }},
]
auth = "maybe"
[[upstream]]
name = "broker"
servers = ["127.0.0.1:1", "name.invalid:1883"]
[registry]
trusted_cas = ["{site.key_file}"]
[admin]
socket = "{tmp_path}/a.sock"
""")
    done = run("check", "--config", str(path))
    assert done.returncode == 2, done.stderr
    found = {}
    for line in done.stderr.splitlines():
        at, _, text = line.removeprefix(str(path) + ":").partition(": ")
        found[int(at.split(":")[0])] = text
    assert set(found) == {1, 2, 8, 9, 11, 14, 16}, done.stderr
    assert "has expired: a start serves it" in found[8] and "a reload keeps" in found[8] and found[8].endswith("(warning)")
    assert "cannot be resolved" in found[14] and found[14].endswith("(warning)")
    assert "absent.crt" in found[9] and "is not a folder" in found[1] and "trusted_cas" in found[16]


def test_check_as_json(config, tmp_path, site):
    """The same for a program, with the same exit status."""
    good = run("check", "--config", config([listener(site)]), "-o", "json")
    shown = json.loads(good.stdout)
    assert good.returncode == 0 and shown["ok"] and shown["listeners"] == 1 and shown["problems"] == [], good
    path = tmp_path / "bad.toml"
    path.write_text("nonsense = 1\n")
    bad = run("check", "--config", str(path), "-o", "json")
    shown = json.loads(bad.stdout)
    assert bad.returncode == 2 and not shown["ok"] and bad.stderr == "", bad
    assert shown["problems"][0]["line"] == 1 and "nonsense" in shown["problems"][0]["message"]


def test_of_a_file_that_cannot_be_read_nothing_else_is_said(tmp_path):
    """Its defaults are not what it says: neither `check` nor `doctor` speaks of a state_dir that it may not name."""
    path = str(tmp_path / "nope.toml")
    done = run("check", "--config", path)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "state_dir" not in done.stderr, done
    found = json.loads(run("doctor", "--config", path, "--socket", str(tmp_path / "none.sock"), "-o", "json").stdout)
    assert "disk" not in [each["about"] for each in found] and "kernel" in [each["about"] for each in found]


def test_check_names_limits_that_hold_nobody(config, tmp_path, site):
    """A one-way listener knows no device."""
    path = tmp_path / "one-way.toml"
    path.write_text(f"""state_dir = "{tmp_path}/state"
[[listener]]
name = "anybody"
address = "127.0.0.1:0"
upstream = "broker"
auth = "one-way"
certificates = [ {{ chain = "{site.chain_file}", key = "{site.key_file}" }} ]
clones = "cut-old"
max_sessions_per_device = 1
max_connects_per_minute_per_device = 5
[[upstream]]
name = "broker"
servers = ["127.0.0.1:1883"]
[admin]
socket = "{tmp_path}/a.sock"
""")
    done = run("check", "--config", str(path))
    assert done.returncode == 0, done.stderr
    warned = [line for line in done.stderr.splitlines() if "has no effect: auth = \"one-way\"" in line]
    assert [line.removeprefix(f"{path}:").split(":")[0] for line in warned] == ["8", "9", "10"], done.stderr


def test_check_counts_cas_and_looks_at_the_socket(config, tmp_path, work):
    """More CAs than max_cas, and a file where the socket is to be: serve would fail, and check says so."""
    files = [Authority(work / f"counted-{n}", f"Counted {n}").identity.chain_file for n in range(2)]
    path = tmp_path / "many.toml"
    (tmp_path / "a.sock").write_text("no socket")
    path.write_text(f"""state_dir = "{tmp_path}/state"
[registry]
trusted_cas = {json.dumps(files)}
max_cas = 1
[admin]
socket = "{tmp_path}/a.sock"
""")
    done = run("check", "--config", str(path))
    assert done.returncode == 2, done.stderr
    assert f"{path}:3:" in done.stderr and "more CAs than registry.max_cas = 1" in done.stderr
    assert f"{path}:6:" in done.stderr and "is no socket" in done.stderr


def test_check_looks_into_the_state_folder(serve_once, broker, site, root):
    """What was chosen at run time is said, at the listener; and that the folder is in use, where no file is touched."""
    server = serve_once([listener(site)], broker)
    server.cli("listener", "auth", "mqtts", "one-way", "--yes")

    def files():
        return {(file.name, file.stat().st_ino, file.stat().st_size)
                for file in (server.folder / "state" / "registry").iterdir()}

    before = files()
    while_running = run("check", "--config", server.config)
    assert while_running.returncode == 0 and "is in use by another process" in while_running.stderr
    assert files() == before
    server.stop()
    done = run("check", "--config", server.config)
    assert done.returncode == 0 and "in use" not in done.stderr
    assert "auth one-way was chosen for listener mqtts" in done.stderr
    assert done.stderr.count(server.config + ":") == 1
    current = server.folder / "state" / "registry" / "CURRENT"
    current.rename(server.folder / "CURRENT")
    done = run("check", "--config", server.config)
    refused = run("serve", "--config", server.config)
    assert done.returncode == 2 and "has lost changes" in done.stderr and "state_dir" in done.stderr, done
    assert refused.returncode == 1 and "has lost changes" in refused.stderr, refused
    (server.folder / "CURRENT").rename(current)
    assert run("check", "--config", server.config).returncode == 0
    (server.folder / "state" / "registry.mark").unlink()
    done = run("check", "--config", server.config)
    assert done.returncode == 2 and "registry.mark is gone" in done.stderr, done.stderr


def test_a_port_in_use_is_exit_1(config, site):
    """One line that names the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("serve", "--config", config([{**listener(site), "address": address}],
                                               metrics={"address": "127.0.0.1:0"}))
    assert done.returncode == 1
    assert address in done.stderr and len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_where_io_uring_is_refused_one_clear_line(config, error):
    """Where nothing else is wanted: exit 1, and the line names io_uring. By itself epoll stands in (test_io.py)."""
    path = config(metrics={"address": "127.0.0.1:0"}, proxy={"io": "io_uring"})
    done = subprocess.run([*launcher(error, IO_URING), BINARY, "serve", "--config", path],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1 and "io_uring" in done.stderr, done.stderr


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    running = serve([listener(site)], broker)
    root.register(running)
    identity = root.issue("shown")
    admitted(running.port, identity).close()
    running.registered(identity)
    return running


def test_tables_are_plain_when_piped(server):
    """No colours, one line an item, a head."""
    for arguments in (["device", "list"], ["ca", "list"], ["listener", "list"], ["status"]):
        text = server.cli(*arguments).stdout
        assert "\x1b" not in text and text.strip()
    assert len(server.cli("device", "list").stdout.splitlines()) == 2


def test_json_is_the_apis_own_objects(server, root):
    """Every field that is promised."""
    device = next(iter(server.devices().values()))
    assert set(device) >= {"id", "serial", "subject", "cn", "ca_id", "status", "effective_status", "not_before",
                           "not_after", "key_type", "registered_at", "registered_by", "last_seen", "sessions"}
    ca = server.json("ca", "list")[0]
    assert set(ca) >= {"id", "serial", "subject", "cn", "status", "not_before", "not_after", "key_type",
                       "auto_register", "approve", "registered_at", "devices"}
    assert set(ca["devices"]) == {"active", "inactive", "pending", "revoked"}
    status = server.json("status")
    assert status["devices"]["active"] == 1 and status["cas"]["active"] == 1


@pytest.mark.parametrize("arguments", [["status"], ["device", "list"], ["status", "-o", "json"], ["version"]])
def test_output_that_cannot_be_written_is_exit_1(server, arguments):
    """A script that reads a file on a full disk must not go on with half an answer."""
    socket = [] if arguments == ["version"] else ["--socket", server.socket]
    with open("/dev/full", "w") as full:
        done = subprocess.run([BINARY, *arguments, *socket], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1, done
    assert "could not be written" in done.stderr and len(done.stderr.splitlines()) == 1, done


def test_a_token_that_could_not_be_shown_is_named(server):
    """It is shown once: whoever did not get it is told that it is there, and opens."""
    with open("/dev/full", "w") as full:
        done = subprocess.run([BINARY, "token", "create", "--name", "lost", "--role", "viewer", "--socket",
                               server.socket], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1, done
    assert "token lost was made and could not be shown: revoke it" in done.stderr, done
    server.cli("token", "revoke", "lost", "--yes")


def test_an_address_is_not_told_to_be_a_socket(config, site):
    """What a listener cannot take is not offered to it."""
    for name, words in (("address", {"address": "127.0.0.1"}), ("address", {"address": "unix:/tmp/mqtt"})):
        done = run("check", "--config", config([{**listener(site), **words}]))
        assert done.returncode == 2 and name in done.stderr, done
        assert '"host:port"' in done.stderr and '"unix:/path"' not in done.stderr, done


@pytest.mark.parametrize("arguments", [["device", "show", "00" * 32], ["ca", "show", "00" * 32],
                                       ["device", "deactivate", "00" * 32], ["ca", "activate", "00" * 32],
                                       ["device", "show", "abc"], ["device", "deactivate", "00112233"],
                                       ["ca", "register", "/nonexistent", "/nonexistent"]])
def test_refused_is_exit_1_and_one_line(server, arguments):
    """Nothing on stdout, one line on stderr."""
    done = server.cli(*arguments, status=1)
    assert not done.stdout and len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_list_longer_than_a_page(server, work):
    """`ca list` and `device list` follow the pages."""
    assert len(server.devices("--cn", "sho*")) == 1
    assert server.devices("--cn", "nobody*") == {}
    assert len(server.devices("--expires-within", "600d")) == 1
    assert server.devices("--expires-within", "1d") == {}
    other = Authority(work / "empty-ca", "Empty CA")
    other.register(server)
    assert server.devices("--ca", other.id) == {}


@pytest.fixture(scope="module")
def below_zero(work):
    """A CA and its device with the negative serial numbers that old tools made; as OpenSSL makes and prints them."""
    folder = work / "below-zero"
    folder.mkdir()

    def openssl(*arguments):
        done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    for name in ("ca", "device", "proof"):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
    openssl("req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=Below zero", "-days", "30", "-set_serial",
            "-0xABFEFDFD", "-out", "ca.crt")

    def issue(name, cn, serial):
        openssl("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={cn}", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-set_serial", serial,
                "-days", "20", "-out", f"{name}.crt")
        return str(folder / f"{name}.crt")

    return SimpleNamespace(folder=folder, issue=issue, serial=lambda name: openssl(
        "x509", "-in", f"{name}.crt", "-noout", "-serial").split("=")[1], fingerprint=lambda name: openssl(
        "x509", "-in", f"{name}.crt", "-noout", "-fingerprint", "-sha256").split("=")[1])


def test_numbers_go_in_as_they_come_out(server, below_zero):
    """A negative serial is listed as OpenSSL prints it, and taken wherever a serial is: as an argument, behind an option,
    and by the changing commands. A fingerprint may have its colons. `explain` takes what the lists show."""
    proof = below_zero.issue("proof", server.cli("ca", "code").stdout.strip(), "77")
    ca_id = server.cli("ca", "register", str(below_zero.folder / "ca.crt"), proof).stdout.strip()
    certificate = below_zero.issue("device", "minus", "-0x5AFEFDFD")
    device_id = server.cli("device", "register", certificate).stdout.split()[0]
    assert below_zero.serial("device") == "-5AFEFDFD" and below_zero.serial("ca") == "-ABFEFDFD"
    assert server.json("device", "show", device_id)["serial"] == "-5AFEFDFD"
    assert server.json("ca", "show", ca_id)["serial"] == "-ABFEFDFD"
    for reference in ("-5AFEFDFD", "-5afe:fdfd", device_id[:12], below_zero.fingerprint("device")):
        assert server.json("device", "show", reference)["id"] == device_id
        assert server.cli("device", "download", reference).stdout.startswith("-----BEGIN CERTIFICATE-----")
        assert "admitted" in server.cli("explain", reference).stdout
        assert server.json("session", "list", "--device", reference) == []
    for reference in ("-ABFEFDFD", "-abfefdfd", ca_id[:12], below_zero.fingerprint("ca")):
        assert server.json("ca", "show", reference)["id"] == ca_id
        assert set(server.devices("--ca", reference)) == {device_id}
        assert server.json("session", "list", "--ca", reference) == []
    assert [each["id"] for each in server.json("ca", "list", "--serial", "-ABFEFDFD")] == [ca_id]
    assert set(server.devices("--serial", "-5AFEFDFD")) == {device_id}
    assert set(server.devices("--serial=-5AFEFDFD", "--ca=-ABFEFDFD")) == {device_id}
    assert server.json("rejections", "--serial", "-5AFEFDFD") == []
    assert server.cli("device", "show", "5AFEFDFD", status=1).stdout == "", "another number"
    server.cli("device", "deactivate", "--serial", "-5AFEFDFD", "--ca", "-ABFEFDFD", "--yes")
    assert "device_inactive" in server.cli("explain", device_id, status=1).stdout
    server.cli("device", "activate", below_zero.fingerprint("device"), "--yes")
    server.cli("device", "revoke", "--yes", "--serial", "-5AFEFDFD", "--ca", below_zero.fingerprint("ca"))
    assert server.json("device", "show", "-5AFEFDFD")["status"] == "revoked"
    server.cli("ca", "deactivate", "--serial", "-ABFEFDFD", "--yes")
    assert server.json("ca", "show", ca_id)["status"] == "inactive"
    with open(certificate, "rb") as file:
        assert "device_revoked" in server.cli("explain", "-", status=1, stdin=file).stdout
