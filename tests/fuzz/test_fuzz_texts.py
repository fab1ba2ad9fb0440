"""What comes as text, from the other end or out of a file: a value, or the reader's own error."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from agent import orders
from agent.access import keys
from agent.control import MAX_LINE, Decoder, Hello, Open, Prepare, Seen, encode
from agent.errors import AgentError, ControlError, KeyFileError
from agent.ledger import Tuple5
from agent.linux.conntrack import Tracked, parse
from agent.model import Check, Direction, Event, Flow, Side, Sighting, Volley
from scenarios import ScenarioError, load, names
from tests.fuzz import hostile
from tests.fuzz.effort import few, many, some

T = TypeVar("T")


def refusal(error: type[Exception], call: Callable[[T], object], argument: T) -> str | None:
    """What the one error that is allowed says; None where there was none."""
    try:
        call(argument)
    except error as found:
        return str(found)
    return None


CHECK = Check(1, "esp", Direction.INBOUND, Flow.NEW, 4)
LINES = [
    encode(Hello(1, "0.1.0", "alpha")),
    encode(Open(bytes(32), [CHECK], "10.0.0.1", "10.0.0.5", 600.0, keep=True)),
    encode(Prepare([Volley(1, 1, 3)])),
    encode(Seen([Sighting(Side.NEAR, Event.LEFT, 1, 1, 0.0)])),
    b'{"type":"hello","protocol":1e400,"version":"","name":""}\n',
    b'{"type":"open","secret":"!!","checks":[],"local":"","peer":"","state_timeout":0}\n',
    b"[" * 3000 + b"\n",
    b'{"type":"open","checks":' + b"[" * 3000 + b"\n",
    b"\xff\xfe\n",
    b"\n",
]


@many
@given(st.lists(hostile.mutated(LINES) | st.binary(max_size=60), max_size=4))
def test_the_control_protocol(parts: list[bytes]) -> None:
    decoder = Decoder()
    try:
        for part in parts:
            for message in decoder.feed(part):
                if isinstance(message, Open):
                    orders.check_open(message)
                if isinstance(message, Prepare):
                    orders.check_volleys({1: CHECK}, [CHECK], message.volleys)
    except AgentError:
        return


def test_a_line_without_end_is_not_kept() -> None:
    decoder = Decoder()
    fed = 0
    try:
        for _ in range(2 * MAX_LINE // 65_536):
            fed += 65_536
            list(decoder.feed(b"x" * 65_536))
    except ControlError:
        assert fed <= MAX_LINE + 65_536
        return
    raise AssertionError("it took more than a line may have")


@some
@given(st.data())
def test_orders_that_decode_are_held_against_the_limits(data: st.DataObject) -> None:
    """A message of the right shape, and of any values: taken, or refused in words."""
    numbers = st.integers(-2, 70_000)
    made = st.builds(
        Check,
        numbers,
        st.sampled_from(["esp", "ike", "tcp:445", "nothing", ""]),
        st.sampled_from(Direction),
        st.sampled_from(Flow),
        st.sampled_from([4, 6, 5]),
        st.none() | numbers,
        st.none() | numbers,
        st.none() | numbers,
        st.none() | numbers,
    )
    addresses = st.sampled_from(["10.0.0.1", "fd00::1%eth0", "::1", "", "host"])
    message = Open(
        data.draw(st.binary(max_size=33)) if data.draw(st.booleans()) else bytes(32),
        data.draw(st.lists(made, max_size=3)),
        data.draw(addresses),
        data.draw(addresses),
        data.draw(st.floats()),
    )
    assert refusal(AgentError, orders.check_open, message) != ""


KEY = ("ab" * 32 + "\n").encode()


@few
@given(hostile.mutated([KEY, KEY[:-1], KEY.upper(), b"", b"\xef\xbb\xbf" + KEY, KEY * 100]))
def test_key_files(text: bytes) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "key"
        path.write_bytes(text)
        os.chmod(path, 0o600)
        words = refusal(KeyFileError, keys.load, path)
        assert words is None or str(path) in words


SCENARIOS = [
    (Path(__file__).parents[2] / "scenarios" / f"{name}.toml").read_bytes() for name in names()
]
VALUES = ["esp", "tcp:445", "udp:1-65535", "tcp:9-1", "both", 0, -1, 1 << 70, 1.5, True, [], {},
          [[]], "", "\x1b[31m", "2020-01-01", None]  # fmt: skip


def loaded(text: bytes) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "mine.toml"
        path.write_bytes(text)
        words = refusal(ScenarioError, load, str(path))
        assert words is None or "mine.toml" in words


@some
@given(hostile.mutated(SCENARIOS))
@example(b"row = 1")
@example(b"[[row]]\nkind = {}")
@example(b"row = [[" + b"[" * 3000)
@example(b"[[row]]\nsize = 1" + b"0" * 5000)
def test_scenario_files(text: bytes) -> None:
    loaded(text)


@some
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["kind", "direction", "source_port", "size", "fragmenting", "expect",
                             "label", "sample", "title"]),
            st.sampled_from(VALUES),
        ),
        max_size=3,
    )
)  # fmt: skip
def test_scenario_rows_of_any_values(rows: list[dict[str, object]]) -> None:
    lines = ['title = "t"']
    for row in rows:
        lines.append("[[row]]")
        lines += [f"{key} = {_toml(value)}" for key, value in row.items()]
    loaded("\n".join(lines).encode())


def _toml(value: object) -> str:
    return "1979-05-27" if value is None else msgspec.json.encode(value).decode()


TRACKED = [
    b"ipv4     2 udp      17 29 src=10.0.0.1 dst=10.0.0.5 sport=500 dport=500 [UNREPLIED] "
    b"src=10.0.0.5 dst=10.0.0.1 sport=500 dport=500 mark=0 zone=0 use=2",
    b"ipv6     10 unknown  50 599 src=fd00:0001::1 dst=fd00:0002::5 src=fd00:0002::5 "
    b"dst=fd00:0001::1 mark=0 use=2",
    b"ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=10.0.0.5 sport=50000 dport=5088",
]


@many
@given(st.lists(hostile.mutated(TRACKED), max_size=4))
def test_the_connection_tracking_table(lines: list[bytes]) -> None:
    text = [line.decode("ascii", "replace") for line in lines]
    for found in parse(text, "10.0.0.1", "10.0.0.5"):
        assert isinstance(found, Tracked)
        assert isinstance(found.flow, Tuple5)
