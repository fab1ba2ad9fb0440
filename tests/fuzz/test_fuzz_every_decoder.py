"""Every function of ``agent`` that takes bytes or packets in: a value or a WireError, nothing else.

Nobody has to list them. They are found by the types of their parameters, and called with what an
enemy may send; one whose parameters nobody can make up, or whose class nobody can make, fails a
test by its name.
"""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
import types
import typing
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence, Set
from collections.abc import Callable as CallableType
from enum import Enum
from importlib import import_module
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import agent
from agent import strands
from agent.access.pairing import LIFETIME, Far, Near, Offer, new_code
from agent.album import Album
from agent.answers import Answers
from agent.crossed import Crossed
from agent.engine import Engine
from agent.errors import AgentError
from agent.events import Captured, Frame, Input, Piece, Received, Requested
from agent.inband.box import Ephemeral, SessionKeys, Shared
from agent.inband.call import Call
from agent.inband.carriers import Ridden
from agent.inband.door import Door as ControlDoor
from agent.inband.session import Session
from agent.inband.ways import FIXED, HARMLESS, new_flow
from agent.late import LateReplies
from agent.model import Check, Direction, Event, Flow, Side, Sighting, Tag
from agent.recognise import Recogniser
from agent.record.schedule import Schedule
from agent.wire import KINDS, codec, ip
from agent.wire.base import Codec, Keys, Packet, Path, Reading
from agent.wire.icmp import IcmpError, read_error
from agent.wire.noise import Noise
from agent.wire.port import PortCodec
from probe import plan as planning
from scenarios import load
from tests.fuzz import hostile
from tests.fuzz.effort import few
from tests.unit.wire_shots import ANSWER_TAG, ELSEWHERE, ENDS, FAMILIES, KEYS, TAG, path

# The shells that own sockets, files and processes: what they read goes through what is tested here.
SHELLS = (
    "agent.linux",
    "agent.cli",
    "agent.daemon",
    "agent.session",
    "agent.access.door",
    "agent.access.invite",
    "agent.ledger",
    "agent.station",
    "agent.__main__",
)
TOOLS = ("agent.wire.make_templates",)  # makes what is shipped, and is not run by a user
SECRETS = (  # their octets are our own, a key for one
    "agent.record.file.encode",
    "agent.wire.ike.put",
    "agent.inband.box.derive",
    "agent.inband.box.turned",
    "agent.access.tls.context",
    "agent.access.tls.credentials",
    "agent.access.keyring.identifier",
    "agent.access.keyring.store",
    "agent.access.keys.store",
)
INPUT = (bytes, Packet, IcmpError, Captured, Received, Requested, Piece, Frame)  # from outside


def plan() -> planning.Plan:
    return planning.make(load("all"), 4)


def engine() -> Engine:
    near, far = ENDS[4]
    return Engine(Side.FAR, KEYS, plan().checks, far, near, keep=True)


def answers() -> Answers:
    near, far = ENDS[4]
    checks = {check.number: check for check in plan().checks}
    codecs = {check.kind: codec(check.kind) for check in checks.values()}
    return Answers(KEYS, checks, codecs, far, near)


def pairing_near() -> Near:
    made = Near("482915034", b"a connection", "alice", Random(1).randbytes)
    made.begin()
    return made


def pairing_far() -> Far:
    chance = Random(1).randbytes
    return Far(Offer(new_code(chance), LIFETIME), b"a connection", chance)


SHARED = Shared(bytes(32))
SESSION_KEYS = SHARED.session(bytes(32), bytes(32), bytes(32))
CONTROL_PATHS = {way: new_flow(way, *ENDS[4], 50_000) for way in (*HARMLESS, *FIXED)}


# How to come by an object of a class; a codec is asked for by its kind.
class _Away:
    """Where what a bundle writes goes."""

    def is_closing(self) -> bool:
        return False

    def write(self, _data: bytes) -> None:
        pass


def _bundle() -> strands.Bundle:
    return strands.Bundle(cast(Any, None), cast(Any, _Away()))


MADE: dict[type, Callable[[], object]] = {
    strands.Bundle: _bundle,
    strands.Writer: lambda: strands.Writer(_bundle(), 1, ("10.0.0.5", "10.0.0.1")),
    Answers: answers,
    Far: pairing_far,
    Near: pairing_near,
    Call: lambda: Call(SHARED, CONTROL_PATHS, ENDS[4][0], 0.0, 0.0, bytes),
    ControlDoor: lambda: ControlDoor([bytes(32)], lambda _nonce: True, bytes, lambda: 0.0),
    Crossed: lambda: Crossed(Recogniser(Side.FAR, KEYS, plan().checks, ENDS[4][0]), *ENDS[4]),
    Session: lambda: Session(Side.NEAR, SESSION_KEYS, CONTROL_PATHS, (0, 0), 0.0),
    SessionKeys: lambda: SESSION_KEYS,
    Shared: lambda: SHARED,
    Ephemeral: lambda: Ephemeral(bytes(32)),
    Album: lambda: Album(Side.FAR, True, lambda _packet, _outgoing: TAG),
    Engine: engine,
    LateReplies: lambda: LateReplies(KEYS, {}, {}, ENDS[4]),
    Schedule: lambda: Schedule(0.0, "esp ike+fresh", 4),
    Recogniser: lambda: Recogniser(Side.FAR, KEYS, plan().checks, ENDS[4][0]),
}
ABSTRACT = (Codec, Noise)
KIND_OF = {type(codec(kind)): kind for kind in KINDS} | {PortCodec: "tcp:445"}

tags = st.sampled_from([TAG, ANSWER_TAG]) | st.builds(
    Tag, st.integers(0, 65_535), st.integers(1, 65_535)
)
frames = st.builds(Frame, hostile.raw_packets, st.booleans(), st.just(1.0), st.booleans())
captured = st.builds(
    Captured,
    hostile.packets,
    st.booleans(),
    st.just(1.0),
    st.booleans(),
    st.booleans(),
    st.none() | frames,
)
families = st.sampled_from(FAMILIES)
kinds = st.sampled_from(KINDS)
paths = st.builds(path, kinds, families)


def _readable(data: bytes) -> IcmpError | None:
    try:
        return read_error(ip.parse(data))
    except AgentError:
        return None


ERRORS = [found for data in hostile.errors() if (found := _readable(data)) is not None]


def errors() -> st.SearchStrategy[IcmpError]:
    """What the reader of ICMP errors makes of what comes in."""
    changed = hostile.mutated(hostile.errors()).map(lambda data: _readable(data) or ERRORS[0])
    return st.sampled_from(ERRORS) | changed


BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    bytes: hostile.octets,
    Packet: hostile.packets,
    IcmpError: errors(),
    Captured: captured,
    Frame: frames,
    Piece: st.builds(Piece, frames),
    Received: st.builds(Received, hostile.packets, st.just(1.0)),
    Requested: st.builds(Requested, st.integers(1, 9), paths, hostile.octets, st.just(1.0)),
    Keys: st.just(KEYS),
    Tag: tags,
    Path: paths,
    Codec: kinds.map(codec),
    Sighting: st.builds(Sighting, st.just(Side.FAR), st.sampled_from(Event), st.just(1),
                        st.just(1), st.just(1.0)),
    Reading: st.builds(Reading, tags),
    bool: st.booleans(),
    int: st.sampled_from([0, 4, 6, 17, 50]) | st.integers(0, 65_535),
    float: st.floats(0, 1e9),
    str: st.sampled_from([*ENDS[4], *ENDS[6], *ELSEWHERE.values()]),
    Direction: st.sampled_from(Direction),
    Side: st.sampled_from(Side),
    Ridden: st.sampled_from(list(CONTROL_PATHS.values())),
    Collection[bytes]: st.just(SHARED.markers),
    Iterable[bytes]: st.just([bytes(32), b"k" * 32]),
    Iterable[int]: st.lists(st.integers(0, 65_535), max_size=4).map(lambda more: [7, 8, *more]),
    Container[int] | None: st.none() | st.frozensets(st.integers(0, 65_535), max_size=4),
    Set[Tag]: st.frozensets(tags, max_size=4),
    Iterable[Check]: st.just(plan().checks),
    Input: captured,  # what a run's engine is told at length: see test_fuzz_engine.py
}  # fmt: skip

# What a function asks of its input, in its docstring, and its callers hold.
headers = hostile.parsed().map(lambda packet: packet.header).filter(len)
replies = st.sampled_from([Tag(c.number, 1) for c in plan().checks if c.flow is Flow.REPLY])
boxes = st.binary(max_size=900).map(lambda plain: SESSION_KEYS.seal(Side.NEAR, 1, plain))
NARROWER: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "agent.inband.box.Shared.seal": {"nonce": st.binary(min_size=12, max_size=12)},
    "agent.inband.carriers.message": {"box": boxes},
    "agent.inband.carriers.wrap": {"box": boxes},
    "agent.answers.Answers.answer": {"reply": replies},
    "agent.recognise.Recogniser.heard": {"answer": replies},
    "agent.wire.ip.addresses": {"data": headers},
    "agent.wire.ip.dscp": {"header": headers},
    "agent.wire.fragment.split": {"hops": st.integers(0, 255), "protocol": st.integers(0, 255)},
}


@dataclasses.dataclass(frozen=True)
class Found:
    name: str
    call: Callable[..., Any]
    owner: type | None = None
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.name}[{self.kind}]" if self.kind else self.name


def modules() -> Iterator[str]:
    for found in pkgutil.walk_packages(agent.__path__, "agent."):
        if not found.name.startswith((*SHELLS, *TOOLS)):
            yield found.name


def takes_input(call: Callable[..., Any]) -> bool:
    if not callable(call):
        return False
    hints = typing.get_type_hints(call)
    wanted = [hint for name, hint in hints.items() if name != "return"]
    return any(hint in INPUT or any(part in INPUT for part in _parts(hint)) for hint in wanted)


def _parts(hint: Any) -> tuple[Any, ...]:
    """Of what a type is made; a function that is handed over brings nothing in by itself."""
    return () if typing.get_origin(hint) is CallableType else typing.get_args(hint)


def functions() -> Iterator[Found]:
    """Public functions, and public methods of public classes, that take something in."""
    for name in modules():
        module = import_module(name)
        for thing in vars(module).values():
            if getattr(thing, "__module__", "") != name:
                continue
            if getattr(thing, "__name__", "_").startswith("_"):  # constants have none
                continue
            where = f"{name}.{thing.__name__}"
            if inspect.isclass(thing):
                yield from methods(where, thing)
            elif where not in SECRETS and takes_input(getattr(thing, "__wrapped__", thing)):
                yield Found(where, thing)


def methods(where: str, owner: type) -> Iterator[Found]:
    if owner in ABSTRACT:
        return
    kinds = [""]
    if issubclass(owner, Codec):
        kinds = [kind for kind in (*KINDS, "udp:1701", "tcp:445") if type(codec(kind)) is owner]
        assert kinds, f"no kind has the codec {where}"
    for method, call in inspect.getmembers(owner, inspect.isfunction):
        says_nothing = call.__qualname__.startswith("Codec.")  # as every kind without such a thing
        if not method.startswith("_") and not says_nothing and takes_input(call):
            yield from (Found(f"{where}.{method}", call, owner, kind) for kind in kinds)


EVERY = list(functions())


def strategy(wanted: Any) -> st.SearchStrategy[Any] | None:
    """Of a parameter's type: one of BY_TYPE, or something that is made of them."""
    if wanted in BY_TYPE:
        return BY_TYPE[wanted]
    if wanted is type(None):
        return st.none()
    if inspect.isclass(wanted) and issubclass(wanted, Enum):
        return st.sampled_from(wanted)
    parts = [strategy(part) for part in typing.get_args(wanted) if part is not Ellipsis]
    known = [part for part in parts if part is not None]
    if not parts or len(known) < len(parts):
        return None
    if typing.get_origin(wanted) in (typing.Union, types.UnionType):
        return st.one_of(known)
    if typing.get_origin(wanted) in (list, Sequence, Iterable):
        return st.lists(known[0], max_size=4)
    return None


def make(owner: type) -> object:
    """An object to call the methods of."""
    if owner in MADE:
        return MADE[owner]()
    wanted = inspect.signature(owner).parameters.values()
    assert all(parameter.default is not parameter.empty for parameter in wanted), (
        f"say in MADE how to come by a {owner.__name__}, so that it is fuzzed as well"
    )
    return owner()


def arguments(found: Found) -> dict[str, st.SearchStrategy[Any]]:
    call = getattr(found.call, "__wrapped__", found.call)
    hints = typing.get_type_hints(call)
    made = {}
    for name in inspect.signature(call).parameters:
        if name == "self":
            continue
        narrower = NARROWER.get(found.name, {})
        known = narrower[name] if name in narrower else strategy(hints[name])
        assert known is not None, (
            f"{found.name}: nothing says how to make up {name}: {hints[name]}. "
            "Add it to BY_TYPE, so that this decoder is fuzzed as well"
        )
        made[name] = known
    return made


def test_decoders_are_found() -> None:
    """The search itself works: some of each sort are among what it finds."""
    names = {found.name for found in EVERY}
    assert {
        "agent.wire.ip.parse",
        "agent.wire.icmp.read_error",
        "agent.wire.isakmp.payloads",
        "agent.wire.kerberos.parse_error",
        "agent.wire.der.element",
        "agent.wire.esp.Esp.read",
        "agent.wire.reassemble.Reassembler.add",
        "agent.control.Decoder.feed",
        "agent.recognise.Recogniser.quoted",
        "agent.engine.Engine.handle",
        "agent.access.tls.Front.read",
        "agent.access.pairing.Near.receive",
        "agent.access.pairing.Far.receive",
    } <= names
    assert {found.kind for found in EVERY if found.name.endswith(".read")} >= set(KINDS)


@pytest.mark.parametrize("found", EVERY, ids=str)
@few
@given(data=st.data())
def test_a_value_or_a_wire_error(found: Found, data: st.DataObject) -> None:
    call = found.call
    if found.owner is not None:
        if found.kind:
            call = getattr(codec(found.kind), call.__name__)
        else:
            call = getattr(make(found.owner), call.__name__)
    drawn = {name: data.draw(known, label=name) for name, known in arguments(found).items()}
    try:
        result = call(**drawn)
        if inspect.isgenerator(result):
            list(result)
    except AgentError:
        return
