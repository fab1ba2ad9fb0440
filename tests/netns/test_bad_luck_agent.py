"""The agent among strangers and bad manners: it refuses in words, loses no socket, serves on."""

from __future__ import annotations

import json
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Self

import pytest

from agent.access import keys, tls
from agent.access.keyring import identifier
from agent.control import MAX_LINE, PROTOCOL
from probe.lab import Lab, module, start_agent, write_key
from tests.netns.conftest import MakeLab
from tests.netns.ends import Json, Running, Watch, agent_log, descriptors, inside, probe, wait_until

pytestmark = pytest.mark.netns

NEAR, FAR = "10.77.1.2", "10.77.2.2"
SECRET = "A" * 43 + "="  # 32 octets in base64
CHECK: Json = {
    "number": 1,
    "kind": "esp",
    "direction": "inbound",
    "flow": "new",
    "family": 4,
}
OPEN: Json = {
    "type": "open",
    "secret": SECRET,
    "checks": [CHECK],
    "local": FAR,
    "peer": NEAR,
    "state_timeout": 600.0,
}
HELLO: Json = {"type": "hello", "protocol": PROTOCOL, "version": "test", "name": "a test"}
FIRE: Json = {"type": "fire", "volleys": [{"check": 1, "first": 1, "count": 1}], "gap": 0.0}


def connection(lab: Lab) -> socket.socket:
    """TCP to the agent, from near."""
    return inside(lab, "near", lambda: socket.create_connection((FAR, 5088), 5))


class Session:
    """An authenticated connection that says whatever the test wants."""

    def __init__(self, lab: Lab, key: Path) -> None:
        secret = keys.load(key)
        context = tls.context(secret, server=False)
        self.link = context.wrap_socket(connection(lab), server_hostname=identifier(secret))
        self.link.settimeout(10)
        self._lines = self.link.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up, without a word."""
        self._lines.close()
        self.link.close()

    def say(self, message: Json | bytes) -> None:
        line = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"
        self.link.sendall(line)

    def hear(self) -> Json:
        """The next answer; an empty one when the agent hung up. What was seen is passed over."""
        while line := self._lines.readline():
            found: Json = json.loads(line)
            if found["type"] != "seen":
                return found
        return {}

    def ask(self, message: Json | bytes) -> Json:
        self.say(message)
        return self.hear()


class Far:
    """An agent at work, and what it looks like when it is idle."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.key = write_key(lab)
        self.agent = start_agent(lab, self.key)
        self.serves()  # the first session opens what stays open
        self.idle = descriptors(self.agent.pid)

    def serves(self) -> None:
        said = probe(self.lab, self.key, "--only=esp", "--shots=1")
        assert said.code == 0, said

    def is_idle(self) -> bool:
        return descriptors(self.agent.pid) == self.idle

    def session(self, *first: Json) -> Session:
        session = Session(self.lab, self.key)
        for message in first:
            session.ask(message)
        return session


@pytest.fixture(scope="module")
def far() -> Iterator[Far]:
    from probe.lab import load_firewall

    with Lab(load_firewall("open")) as lab:
        yield Far(lab)


@pytest.fixture(autouse=True)
def _unharmed(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each of these the agent is idle again, serves, and its log holds no traceback."""
    yield
    if "far" not in request.fixturenames:
        return
    far: Far = request.getfixturevalue("far")
    wait_until(far.is_idle, "all sockets closed", 12)
    assert far.agent.poll() is None
    agent_log(far.lab)


def changed(message: Json, **more: Any) -> Json:
    return {**message, **more}


def with_check(**more: Any) -> Json:
    return changed(OPEN, checks=[changed(CHECK, **more)])


# -- before a session ----------------------------------------------------------------------------


def test_strangers_at_the_door(far: Far) -> None:
    """Garbage, silence at each step, another key, no key: all at once, and it goes on serving."""
    with ExitStack() as stack:
        silent = [stack.enter_context(closing(connection(far.lab))) for _ in range(30)]
        garbage = stack.enter_context(closing(connection(far.lab)))
        garbage.sendall(b"\x16\x03\x01" + b"\xff" * 5000)
        http = stack.enter_context(closing(connection(far.lab)))
        http.sendall(b"GET / HTTP/1.0\r\n\r\n")
        half = stack.enter_context(closing(connection(far.lab)))
        half.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # a ClientHello breaks off
        gone = connection(far.lab)
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        gone.close()  # by a reset
        mute = stack.enter_context(Session(far.lab, far.key))  # and then no hello
        far.serves()
        for other in (bytes(32), None):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            if other is not None:
                context = tls.context(other, server=False)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            for name in (None, identifier(bytes(32)), identifier(keys.load(far.key))):
                link = stack.enter_context(closing(connection(far.lab)))
                assert turned_away(context, link, name)
        far.serves()
        assert mute.hear() == {}
        for sock in (*silent, half):
            sock.settimeout(10)
            while sock.recv(1000):  # an alert, perhaps
                pass
    assert "it said nothing for too long" in agent_log(far.lab)


def test_a_greeting_that_names_a_host_in_no_ascii(far: Far) -> None:
    """Python tells nobody of it but standard error; the log has one line for it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    name = identifier(keys.load(far.key))
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    greeting = outgoing.read().replace(name.encode(), b"\xa9" * len(name))
    with closing(connection(far.lab)) as link:
        link.sendall(greeting)
        while link.recv(1000):  # an alert
            pass
    log = agent_log(far.lab)
    assert "passed over: UnicodeDecodeError" in log
    assert "Exception ignored" not in log


def turned_away(context: ssl.SSLContext, sock: socket.socket, name: str | None) -> bool:
    """In TLS 1.3 a client hears of it only when it reads."""
    try:
        with context.wrap_socket(sock, server_hostname=name) as link:
            link.sendall(json.dumps(HELLO).encode() + b"\n")
            return link.recv(1) == b""
    except OSError:
        return True


@pytest.mark.parametrize(
    "first", [OPEN, {"type": "close"}, b"nonsense\n", b"\n", b"[" * 9000 + b"\n", b"\xff\n"]
)
def test_a_session_begins_with_a_hello(far: Far, first: Json | bytes) -> None:
    with far.session() as session:
        assert session.ask(first)["type"] == "oops"
        assert session.hear() == {}


def test_an_oversized_line(far: Far) -> None:
    with far.session(HELLO) as session:
        session.say(b"x" * (MAX_LINE + 2))
        assert "too long" in session.hear()["text"]
        assert session.hear() == {}


# -- within one ------------------------------------------------------------------------------------

ORDERS: dict[str, tuple[Json | bytes, str]] = {
    "nothing open": (FIRE, "no run has been opened"),
    "to a third party": (changed(OPEN, peer="10.77.2.1"), "to no other"),
    "from another address": (changed(OPEN, local="10.77.2.99"), "to no other"),
    "short secret": (changed(OPEN, secret="AAAA"), "32 octets"),
    "no checks": (changed(OPEN, checks=[]), "1 to 1000 checks"),
    "twice the same": (changed(OPEN, checks=[CHECK, CHECK]), "the same number"),
    "unknown kind": (with_check(kind="espp"), "there is no kind 'espp' in version"),
    "other family": (with_check(family=6), "another family"),
    "no family": (with_check(family=5), "another family"),
    "a port too many": (with_check(destination_port=99), "another port"),
    "no such port": (with_check(source_port=70_000), "70000 is no port"),
    "a huge packet": (with_check(size=1 << 40), "no packet has"),
    "a partner unknown": (with_check(partner=7), "does not know it"),
    "its own partner": (with_check(partner=1), "no reply to it"),
    "a huge number": (with_check(number=1 << 20), "numbered from"),
}


@pytest.mark.parametrize("name", ORDERS)
def test_an_open_that_makes_no_sense(far: Far, name: str) -> None:
    order, words = ORDERS[name]
    with far.session(HELLO) as session:
        answer = session.ask(order)
        assert answer["type"] == "oops"
        assert words in answer["text"]
        assert session.ask(OPEN)["type"] == "opened", "and the session goes on"


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (OPEN, "open already"),
        (changed(FIRE, volleys=[{"check": 2, "first": 1, "count": 1}]), "no check 2"),
        (changed(FIRE, volleys=[{"check": 1, "first": 0, "count": 1}]), "numbered from"),
        (changed(FIRE, volleys=[{"check": 1, "first": 1, "count": 10**9}]), "numbered from"),
        (changed(FIRE, volleys=[{"check": 1, "first": 1, "count": 60_000}]), "more than 10000"),
        (changed(FIRE, gap=-1.0), "seconds apart"),
        (changed(FIRE, gap=1e9), "seconds apart"),
        ({"type": "prepare", "volleys": [{"check": 9, "first": 1, "count": 1}]}, "no check 9"),
        ({"type": "await", "ports": [{"check": 9, "shot": 1, "port": 1}]}, "no check 9"),
        ({"type": "await", "ports": [{"check": 1, "shot": 1, "port": -1}]}, "port -1"),
        (HELLO, "a Hello is no question"),
        ({"type": "closed"}, "a Closed is no question"),
    ],
)
def test_an_order_that_makes_no_sense(far: Far, order: Json, words: str) -> None:
    with far.session(HELLO, OPEN) as session:
        answer = session.ask(order)
        assert answer["type"] == "oops"
        assert words in answer["text"]
        assert session.ask(FIRE)["type"] == "firing", "and the run goes on"


def test_what_is_no_message_ends_the_session(far: Far) -> None:
    with far.session(HELLO, OPEN) as session:
        answer = session.ask(b'{"type":"fire","volleys":"all of them","gap":0}\n')
        assert "malformed" in answer["text"]
        assert session.hear() == {}


def test_only_the_host_that_asked_is_ever_sent_to(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    watch = Watch(lab)
    far = Far(lab)
    before = watch.count("far")
    with far.session(HELLO) as session:
        assert session.ask(changed(OPEN, peer="10.77.1.1"))["code"] == "denied"
        assert session.ask(FIRE)["type"] == "oops"
        assert watch.count("far") == before
        session.ask(OPEN)
        session.ask(FIRE)
        wait_until(lambda: watch.count("far") == before + 1, "the one shot that is allowed")


TCP_CHECKS = [
    {
        "number": 1,
        "kind": "kerberos-tcp",
        "direction": "inbound",
        "flow": "new",
        "family": 4,
        "destination_port": 88,
        "partner": 2,
    },
    {
        "number": 2,
        "kind": "kerberos-tcp",
        "direction": "outbound",
        "flow": "reply",
        "family": 4,
        "source_port": 88,
        "partner": 1,
    },
]


def test_a_session_that_breaks_while_connections_are_being_made(far: Far) -> None:
    """SYNs into silence, one of them ordered twice: nothing of it is left."""
    far.lab.load(
        "fw",
        "table inet mute { chain c { type filter hook forward priority -5; tcp dport 88 drop; }; }",
    )
    volleys = [{"check": 1, "first": 1, "count": 20}]
    with far.session(HELLO, changed(OPEN, checks=TCP_CHECKS)) as session:
        assert len(session.ask({"type": "prepare", "volleys": volleys})["ports"]) == 20
        assert session.ask(changed(FIRE, volleys=volleys))["type"] == "firing"
        assert session.ask(changed(FIRE, volleys=volleys))["type"] == "firing"
        assert descriptors(far.agent.pid) > far.idle + 20
        with far.session(HELLO, OPEN) as other:  # another run goes on meanwhile
            session.close()
            wait_until(lambda: descriptors(far.agent.pid) < far.idle + 10, "its sockets closed")
            assert other.ask(FIRE)["type"] == "firing"
    far.lab.load("fw", "delete table inet mute")


def test_a_size_that_the_kind_cannot_have_is_told_as_unsent(far: Far) -> None:
    scenario = far.lab.directory / "small.toml"
    scenario.write_text('[[row]]\nkind = "ike"\nsize = 60\n')
    said = probe(far.lab, far.key, f"--scenario={scenario}", "--timeout=0.2")
    assert said.code == 3
    assert "could not send it" in " ".join(said.out.split())


# -- its own start -----------------------------------------------------------------------------


def start(lab: Lab, *options: str, prefix: tuple[str, ...] = ()) -> Running:
    return Running(lab, "far", [*module("agent"), *options], prefix=prefix)


def test_a_start_that_fails_says_why(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    key = write_key(lab)
    start_agent(lab, key)
    damaged = lab.directory / "damaged"
    damaged.write_text("not a key\n")
    damaged.chmod(0o600)
    no_raw = ("setpriv", "--bounding-set=-net_raw", "--")
    no_low = ("setpriv", "--bounding-set=-net_bind_service", "--")
    cases: list[tuple[Running, int, str]] = [
        (start(lab, f"--key={key}", f"--listen={FAR}"), 3, "Is an agent running already?"),
        (start(lab, f"--key={key}", "--listen=10.9.9.9"), 3, "No interface of this host has"),
        (start(lab, f"--key={key}", prefix=no_raw), 3, "the far host lets this program open no"),
        (start(lab, f"--key={key}", "--port=80", prefix=no_low), 3, "A port below 1024 takes root"),
        (start(lab, f"--key={damaged}"), 2, "is damaged"),
        (start(lab, f"--key={lab.directory}"), 2, "Is a directory"),
        (start(lab, f"--key={key}", "--listen=far.example"), 2, "not an IP address"),
        (start(lab, f"--key={key}", "--allow=10.0.0.0/33"), 2, "--allow 10.0.0.0/33: not an"),
    ]
    for running, code, words in cases:
        said = running.end()
        assert (said.code, words in said.words) == (code, True), said


def test_without_ipv6_it_serves_ipv4(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    for where in ("near", "far"):
        lab.run(where, ["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"])
    key = write_key(lab)
    agent = start(lab, f"--key={key}")
    agent.hear("listens on every address")
    assert probe(lab, key, "--only=esp").code == 0
    said = probe(lab, key, "-6", "--peer=fd77:2::2")
    assert said.code == 3
    assert "no route to fd77:2::2" in said.words
    agent.process.send_signal(signal.SIGINT)
    assert agent.end().code == 0


def test_an_agent_whose_output_nobody_reads(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    agent = start(lab, f"--key={key}")
    assert agent.process.stdout is not None
    assert agent.process.stderr is not None
    agent.process.stdout.close()
    agent.process.stderr.close()
    tcp = Path(f"/proc/{agent.process.pid}/net/tcp")
    wait_until(lambda: ":13E0 " in tcp.read_text() + tcp.with_name("tcp6").read_text(), "it")
    assert probe(lab, key, "--only=esp").code == 0
    assert agent.process.poll() is None


def test_a_host_that_runs_out_of_descriptors(make_lab: MakeLab) -> None:
    """Sessions are refused in words, strangers wait; when there is room again it serves."""
    lab = make_lab("open")
    key = write_key(lab)
    agent = start(lab, f"--key={key}", prefix=("prlimit", "--nofile=24", "--"))
    agent.hear("listens")
    pid = agent.process.pid
    with ExitStack() as stack:
        one = stack.enter_context(Session(lab, key))
        assert one.ask(HELLO)["type"] == "welcome"
        for _ in range(30):
            stack.enter_context(closing(connection(lab)))
        wait_until(lambda: descriptors(pid) == 24, "no room left")
        answer = one.ask(OPEN)
        assert answer["type"] == "oops"
        assert "Too many open files" in answer["text"]
    wait_until(lambda: descriptors(pid) < 16, "all gone", 8)
    said = probe(lab, key, "--only=esp,ah", "--shots=1")
    assert said.code == 0
    agent.process.terminate()
    assert agent.end().code == 0
