"""tls_engine = "openssl": handshakes, records, tickets and hashes are OpenSSL's, by its public API and by whatever
providers its configuration names. The whole process, one listener, and from one reload to the next."""

import os
import ssl
import subprocess
import time

import pytest

from harness.authority import Authority
from harness.device import Device, Ended, client_context, refusal
from harness.resuming import served, with_session
from harness.server import BINARY, Sallyport, listener
from harness.wait import until

POISONED = os.environ.get("SALLYPORT_POISONED", "")
HOUSE = os.environ.get("SALLYPORT_HOUSE_PROVIDER", "")
GROUPS = {"prime256v1": "p-256", "secp384r1": "p-384", "secp521r1": "p-521"}


def of(server, **labels):
    return server.metric("handshakes_total", **labels)


def made_by(server):
    return server.json("status")["tls"]


def in_force(server):
    return [each["tls_engine"] for each in server.json("listener", "list")]


@pytest.fixture(scope="module")
def server(broker, serve, site, root):
    """What stands in front of the functions of other libraries, and of OpenSSL's below its public API, ends the
    process at the first call."""
    assert os.path.exists(POISONED), "SALLYPORT_POISONED names no file: run this through ctest"
    running = serve([listener(site)], broker, proxy={"tls_engine": "openssl"}, log={"level": "debug"},
                    environment={"LD_PRELOAD": POISONED})
    root.register(running)
    return running


def test_with_auto_the_trap_is_sprung(broker, work, site):
    """Without the key the same program ends at once: the traps stand where our own way leads."""
    trapped = Sallyport(work / "trapped", [listener(site)], broker, environment={"LD_PRELOAD": POISONED})
    with pytest.raises(AssertionError, match="poisoned: "):
        trapped.start()


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_devices_are_served_resumed_and_refused(server, root, tls):
    served(server, root.issue("device " + tls), tls)


@pytest.mark.parametrize("kind", ["rsa", "p384", "ed25519"])
def test_every_kind_of_device_key(server, root, kind):
    identity = root.issue("of " + kind, kind=kind)
    with Device(server.port, identity) as device:
        assert device.connect("it") == 0
        server.registered(identity)


def test_a_stranger_is_refused(server, work):
    """The path is built and every signature checked, by OpenSSL's public API as well."""
    stranger = Authority(work / "strangers", "Strangers").issue("stranger")
    with server.refuses("ca_unknown"):
        assert refusal(server.port, stranger, "1.3")


def test_it_says_so(server, root):
    """In the log at the start, in the metrics, in status, and in the line of each session."""
    line, = server.lines("openssl-alone")
    assert line.fields["providers"] == "default"
    assert server.lines("openssl-only") == []
    identity = root.issue("shown")
    with Device(server.port, identity) as device:
        assert device.connect("shown") == 0
        server.registered(identity)
        assert made_by(server)["own"] == 0 and made_by(server)["openssl"] >= 1
        assert "OpenSSL" in server.cli("status").stdout
    until("it is not counted any more", lambda: made_by(server) == {"own": 0, "openssl": 0})
    assert of(server, engine="own") == 0 and of(server, engine="openssl") >= 1
    ended = until("its end is in the log", lambda: server.lines("ended", client_id="shown"))
    # OpenSSL's clients offer the hybrid group first since 3.5.
    group = "x25519mlkem768" if ssl.OPENSSL_VERSION_INFO >= (3, 5) else "x25519"
    assert ended[0].fields["engine"] == "openssl" and ended[0].fields["group"] == group


# In TLS 1.2 a client must offer the curve of the server's certificate as well, and Python offers one.
@pytest.mark.parametrize("tls, group", [("1.2", "prime256v1"), *(("1.3", group) for group in GROUPS)])
def test_groups_are_counted(server, root, tls, group):
    identity = root.issue(f"{group} {tls}")
    context = client_context(identity, tls)
    context.set_ecdh_curve(group)
    before = of(server, engine="openssl", group=GROUPS[group], version=tls)
    with Device(server.port, context=context) as device:
        assert device.connect("g") == 0
        assert of(server, engine="openssl", group=GROUPS[group], version=tls) == before + 1


def test_a_resumption_of_tls_12_exchanges_no_keys(server):
    """test_devices_are_served_resumed_and_refused was one."""
    assert of(server, version="1.2", kind="resumed") == of(server, version="1.2", kind="resumed", group="none")
    assert of(server, version="1.3", group="none") == 0


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_an_operators_provider_does_all_of_it(broker, serve_once, site, root, tmp_path, tls):
    """OPENSSL_CONF activates one provider that is not OpenSSL's own: an HSM's, or one with FIPS, stands as this one."""
    assert os.path.exists(HOUSE), "SALLYPORT_HOUSE_PROVIDER names no file: run this through ctest"
    settings = tmp_path / "openssl.cnf"
    settings.write_text("openssl_conf = all\n[all]\nproviders = each\nalg_section = properties\n[each]\nhouse = house\n"
                        f"[house]\nmodule = {HOUSE}\nactivate = 1\n[properties]\n"
                        "default_properties = provider=house\n")
    server = serve_once([listener(site)], broker, proxy={"tls_engine": "openssl"},
                        environment={"OPENSSL_CONF": str(settings), "LD_PRELOAD": POISONED})
    root.register(server)
    said = server.line("openssl-alone").fields
    assert said["providers"] == "house"
    old = tuple(map(int, said["version"].split(".")[:2])) < (3, 2)
    assert said["keys_of_tickets"] == ("left unread" if old else "read"), "the house's algorithms need no default context"
    served(server, root.issue("of the house " + tls), tls)


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_a_provider_that_needs_more_than_it_did_at_the_start_is_served(broker, serve_once, site, root, tmp_path, tls):
    """Its hardware goes, and what stands in asks for the context that tickets are opened without: found out at once, said,
    and done in another way from then on."""
    settings, down = tmp_path / "openssl.cnf", tmp_path / "down"
    settings.write_text("openssl_conf = all\n[all]\nproviders = each\nalg_section = properties\n[each]\nhouse = house\n"
                        f"[house]\nmodule = {HOUSE}\nactivate = 1\n[properties]\n"
                        "default_properties = provider=house\n")
    server = serve_once([listener(site)], broker, proxy={"tls_engine": "openssl"},
                        environment={"OPENSSL_CONF": str(settings), "HOUSE_DOWN": str(down)})
    root.register(server)
    identity = root.issue("with a ticket")
    context = client_context(identity, tls)

    def comes(session=None):
        with Device(server.port, context=with_session(context, session) if session else context) as device:
            assert device.connect("with a ticket") == 0
            device.ping()
            return device.tls.session_reused, device.tls.session
    comes()
    server.registered(identity)  # a ticket of before tells of a stranger
    _, session = comes()
    reused, session = comes(session)
    assert reused
    down.touch()
    if server.line("openssl-alone").fields["keys_of_tickets"] == "left unread":
        with server.refuses("internal_error"), pytest.raises((Ended, OSError)):
            comes(session)
        server.line("openssl-alone", keys_of_tickets="read")
    reused, session = comes(session)
    assert reused
    assert comes(session)[0]


def test_one_listeners_tls_is_by_an_operators_provider(broker, serve_once, site, root, tmp_path):
    """What the rest of the process does in its own way brings no provider of OpenSSL's beside it."""
    settings = tmp_path / "openssl.cnf"
    settings.write_text("openssl_conf = all\n[all]\nproviders = each\n[each]\nhouse = house\n"
                        f"[house]\nmodule = {HOUSE}\nactivate = 1\n")
    server = serve_once([listener(site), listener(site, name="theirs", tls_engine="openssl")], broker,
                        environment={"OPENSSL_CONF": str(settings)})
    root.register(server)
    assert server.line("openssl-alone").fields["providers"] == "house"
    with Device(server.ports["theirs"], root.issue("of one listener")) as device:
        assert device.connect("of one listener") == 0
    until("it is counted", lambda: of(server, listener="theirs", engine="openssl") == 1)


@pytest.mark.parametrize("where", ["[proxy]", "[[listener]]", "nowhere"])
@pytest.mark.parametrize("provider", ["null", "base", "nosuchfips"])
def test_a_provider_that_lacks_a_hash_is_refused_at_the_start(tmp_path, site, broker, serve_once, provider, where):
    """Nothing would work: `check` and `serve` say which, and where to look. "base" has encoders alone, as where the
    module of a FIPS provider is missing."""
    server = serve_once([listener(site)], broker)
    text = open(server.config, encoding="utf-8").read()
    config = tmp_path / "sallyport.toml"
    config.write_text(text.replace(where, where + "\ntls_engine = \"openssl\""))
    settings = tmp_path / "openssl.cnf"
    settings.write_text("openssl_conf = all\n[all]\nproviders = each\n[each]\n"
                        f"{provider} = it\n[it]\nactivate = 1\n")
    for command in ("check", "serve"):
        done = subprocess.run([BINARY, command, "--config", str(config)], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "OPENSSL_CONF": str(settings)})
        assert done.returncode == 2, done
        assert "OPENSSL_CONF" in done.stderr, done.stderr
        assert "no provider of OpenSSL's has SHA2-256" in done.stderr or \
            "asks for a provider that cannot be had: nosuchfips" in done.stderr, done.stderr


@pytest.mark.parametrize("wrong", ["missing", "syntax", "section", "folder", "provider"])
def test_a_configuration_that_is_not_in_force_is_refused(tmp_path, site, broker, serve_once, wrong):
    """OpenSSL itself goes on by its default provider, and nobody would know. With "auto" it is nobody's prescription."""
    server = serve_once([listener(site)], broker)
    text = open(server.config, encoding="utf-8").read()
    server.stop()
    settings = tmp_path / "openssl.cnf"
    texts = {"syntax": "openssl_conf = all\n[all\n", "section": "openssl_conf = nowhere\n",
             "provider": "openssl_conf = all\n[all]\nproviders = each\n[each]\ndefault = it\nnosuch = it\n"
                         "[it]\nactivate = 1\n"}
    if wrong in texts:
        settings.write_text(texts[wrong])
    elif wrong == "folder":
        settings.mkdir()
    for engine, status in (("auto", 0), ("openssl", 2)):
        config = tmp_path / f"{engine}.toml"
        config.write_text(text.replace("[proxy]", f'[proxy]\ntls_engine = "{engine}"'))
        done = subprocess.run([BINARY, "check", "--config", str(config)], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "OPENSSL_CONF": str(settings)})
        assert done.returncode == status, done
        assert (f"OPENSSL_CONF names, {settings}, " in done.stderr) is (engine == "openssl"), done.stderr


def test_a_reload_goes_by_what_was_read_at_the_start(tmp_path, site, broker, serve_once):
    """OpenSSL reads its configuration once: what is put right, or wrong, afterwards is for the next start."""
    settings = tmp_path / "openssl.cnf"
    server = serve_once([listener(site)], broker, environment={"OPENSSL_CONF": str(settings)})
    settings.write_text("openssl_conf = all\n[all]\n")
    text = open(server.config, encoding="utf-8").read()
    with open(server.config, "w", encoding="utf-8") as file:
        file.write(text.replace("[proxy]", "[proxy]\ntls_engine = \"openssl\""))
    server.signal(1)
    assert "OPENSSL_CONF" in server.line("reload", what="nothing has changed").fields["why"]
    assert in_force(server) == ["auto"]


class Reloading:
    """A server whose file is written anew and whose SIGHUP is waited for."""

    def __init__(self, server):
        self.server = server
        self.done = 0

    def say(self, old, new):
        with open(self.server.config, encoding="utf-8") as file:
            text = file.read()
        assert old in text
        with open(self.server.config, "w", encoding="utf-8") as file:
            file.write(text.replace(old, new, 1))
        self.server.signal(1)
        self.done += 1
        until("it is reloaded", lambda: len(self.server.lines("reload", what="done")) == self.done)


def test_a_reload_changes_it_for_new_connections(broker, serve_once, site, root):
    """Those that are open go on as they are; a ticket of the one is good with the other; and back again."""
    server = serve_once([listener(site)], broker, log={"level": "debug"})
    root.register(server)
    reload = Reloading(server)
    identity = root.issue("stays")
    context = client_context(identity, "1.3")
    with Device(server.port, context=context) as before:
        assert before.connect("before") == 0
        server.registered(identity)
        session = before.tls.session
        assert made_by(server) == {"own": 1, "openssl": 0}
        assert in_force(server) == ["auto"]
        reload.say("[proxy]", "[proxy]\ntls_engine = \"openssl\"")
        assert in_force(server) == ["openssl"]
        server.line("reload", listener="mqtts", tls_engine="openssl")
        with Device(server.port, context=with_session(context, session)) as after:
            assert after.connect("after") == 0
            assert after.tls.session_reused
            after.ping()
            before.ping()
            assert made_by(server) == {"own": 1, "openssl": 1}
            session = after.tls.session
            reload.say("tls_engine = \"openssl\"", "tls_engine = \"auto\"")
            with Device(server.port, context=with_session(context, session)) as back:
                assert back.connect("back") == 0
                assert back.tls.session_reused
                assert made_by(server) == {"own": 2, "openssl": 1}
                after.ping()
    until("none is counted any more", lambda: made_by(server) == {"own": 0, "openssl": 0})
    assert of(server, engine="own") == 2 and of(server, engine="openssl") == 1


def test_a_listener_says_otherwise(broker, serve_once, site, root):
    """Beside one that follows [proxy], either way round; a reload of the listener's key alone."""
    server = serve_once([listener(site), listener(site, name="strict", tls_engine="openssl")], broker)
    root.register(server)

    def engine_of(name):
        identity = root.issue(f"{name} {time.monotonic_ns()}")
        before = of(server, listener=name, engine="openssl")
        with Device(server.ports[name], identity) as device:
            assert device.connect("x") == 0
        return "openssl" if of(server, listener=name, engine="openssl") > before else "own"

    assert engine_of("mqtts") == "own"
    assert engine_of("strict") == "openssl"
    reload = Reloading(server)
    reload.say("[proxy]", "[proxy]\ntls_engine = \"openssl\"")
    assert engine_of("mqtts") == "openssl"
    reload.say('tls_engine = "openssl"', 'tls_engine = "auto"')  # the first in the file is the listener's
    assert engine_of("strict") == "own", "the process keeps to OpenSSL, and this listener does not"
    assert engine_of("mqtts") == "openssl"
