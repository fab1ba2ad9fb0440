"""Is the way back open only as a reply, and how long? What to do next, and what it shows. Pure.

``Measurement.steps()`` yields one step after the other and is sent what became of it; whoever
conducts the two ends carries them out (:mod:`probe.state.conduct`), a test plays a firewall
instead. The finding so far may be read at any time.

1. A reply to nothing: far sends what would answer a request that near has not sent. Where it comes
   in, the way back is open to anything, and the firewall's memory does not matter.
2. Near opens the flow, and far answers at once.
3. Silence, then a late reply; and again, as :mod:`probe.state.hold` says. Before every silence the
   flow is renewed by a request and its answer: not all firewalls count a reply as a sign of life.
   After a failure it is opened anew, and aged: Linux remembers UDP longer once both ends have
   spoken for two seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import StrEnum

from probe.judge import loss
from probe.result import RunResult
from probe.state.hold import Held, Search

SHOTS = 3  # late replies close together
ENOUGH = int(loss.shots_needed(loss.UNKNOWN_LOSS))  # all unseen: no loss we reckon with does that
MOST = 60  # where the path is known to lose more
TOUCH = 0.02  # seconds between shots that follow each other at once
AGEING = 1.2  # seconds between the requests that age a UDP flow: three of them make two seconds
FORGOTTEN = 1.1  # times what was measured, and a second, and the flow is surely gone
CUSTOMARY = 20.0  # seconds between two NAT keepalives (RFC 3948, 4)
MARGIN = 0.8  # of the measured time: what is recommended

# -- steps -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cold:
    """Far sends replies to a request that was never sent."""

    shots: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """Near sends requests, each of which far answers at once."""

    shots: int
    gap: float


@dataclass(frozen=True, slots=True)
class OneWay:
    """Near sends one request, which far does not answer; on a tuple of its own where it can."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing is sent until that many seconds have gone by since the tuple's last packet."""

    seconds: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Replies:
    """Far answers the last request that was delivered to it again."""

    shots: int


Step = Cold | Exchange | OneWay | Silence | Replies


@dataclass(frozen=True, slots=True)
class Way:
    """Shots in one direction: how many left, came to the other host, and into its socket."""

    sent: int = 0
    arrived: int = 0
    delivered: int = 0
    refused: str = ""  # by whom and with which words, should somebody have said no

    def __add__(self, other: Way) -> Way:
        return Way(
            self.sent + other.sent,
            self.arrived + other.arrived,
            self.delivered + other.delivered,
            self.refused or other.refused,
        )


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a step. ``quiet``: of Replies, since the tuple's last packet, within bounds.

    ``spoiled``: in words, why nothing that follows may be believed; "" while all is well.
    """

    there: Way = Way()
    back: Way = Way()
    quiet: tuple[float, float] = (0.0, 0.0)
    spoiled: str = ""


Course = Generator[Step, Told, bool]

# -- what is found -----------------------------------------------------------------------------


class State(StrEnum):
    OPEN = "open"  # to anything: no flow is needed
    REPLY_ONLY = "reply-only"
    CLOSED = "closed"  # even to replies
    NO_WAY_OUT = "no-way-out"  # no request arrives, so that there is nothing to reply to
    UNCLEAR = "unclear"


class Asked(StrEnum):
    COLD = "cold"  # before anything was sent
    BOTH = "answered"  # after a request and its answer
    ALONE = "one-way"  # after a request that got no answer


@dataclass(frozen=True, slots=True)
class Trial:
    """Replies after ``silence`` seconds without a packet."""

    asked: Asked
    silence: float
    back: Way


@dataclass(frozen=True, slots=True)
class Finding:
    """``held`` and ``one_way``: None where that was not measured."""

    state: State
    cause: str
    held: Held | None = None
    one_way: Held | None = None
    trials: tuple[Trial, ...] = ()
    sent: int = 0  # answers that left far at once, on an open flow
    missing: int = 0  # of these, not seen at near: loss
    remarks: tuple[str, ...] = ()

    @property
    def interval(self) -> int | None:
        """Seconds within which the flow wants a packet; None where that is not known."""
        known = [held.at_least for held in (self.held, self.one_way) if held is not None]
        seconds = int(min(known, default=0.0) * MARGIN)
        return seconds or None


@dataclass(frozen=True, slots=True)
class StateResult:
    """Everything a report needs. ``run`` has the hosts and the notes."""

    run: RunResult
    kind: str
    family: int
    bound: float
    finding: Finding


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be measured, and of what.

    ``shared``: the kind has one tuple between two hosts (no ports, or fixed ones), so that only
    silence makes it a new one; ``ages``: it travels in UDP, whose flows firewalls let grow up.
    ``prior``: in words, earlier traffic that a firewall may remember.
    """

    bound: float  # seconds that one silence may last
    one_way: bool = False
    shared: bool = True
    ages: bool = False
    prior: str = ""
    behind_nat: bool = False


@dataclass(slots=True)
class Measurement:
    wanted: Wanted
    state: State = field(default=State.UNCLEAR, init=False)
    cause: str = field(default="it ended before anything was known", init=False)
    both: Search = field(init=False)
    alone: Search | None = field(default=None, init=False)
    _opened: bool = field(default=False, init=False)
    _alive: bool = field(default=False, init=False)  # the firewall knows the flow, as aged as ever
    _forgotten: float = field(default=0.0, init=False)  # after how much silence, at the last trial
    _trials: list[Trial] = field(default_factory=list, init=False)
    _remarks: list[str] = field(default_factory=list, init=False)
    _answers: Way = field(default=Way(), init=False)

    def __post_init__(self) -> None:
        self.both = Search(self.wanted.bound)

    # -- what is known so far ----------------------------------------------------------------

    def finding(self) -> Finding:
        return Finding(
            self.state,
            self.cause,
            self.both.held if self._opened else None,
            self.alone.held if self.alone is not None else None,
            tuple(self._trials),
            self._answers.sent,
            self._answers.sent - self._answers.arrived,
            tuple(dict.fromkeys((*self._remarks, *self._at_near()))),
        )

    def remaining(self) -> float:
        """Seconds of silence still to come, about."""
        seconds = self.both.remaining()
        if self.wanted.one_way:
            seconds += self.both.held.at_least if self.alone is None else self.alone.remaining()
        return seconds

    def _at_near(self) -> list[str]:
        """What came to near's interface and not into its socket: near's own firewall."""
        stopped = [t for t in self._trials if t.back.arrived and not t.back.delivered]
        if not stopped:
            return []
        first = stopped[0]
        when = "at once" if first.asked is Asked.COLD else f"after {first.silence:.1f} s of silence"
        return [
            f"what came to near's interface {when} was dropped by near's own firewall, which "
            "forgets sooner, or asks more, than the network; the times here are the network's"
        ]

    # -- the course --------------------------------------------------------------------------

    def steps(self) -> Course:
        """To the end, or to where nothing more can be said. True at a clean end."""
        if self.wanted.behind_nat:
            self._remarks.append(
                "near is behind a NAT: nothing new can come to its own address from outside, "
                "whatever the rules say; what is measured is how long the mapping lasts"
            )
        elif (yield from self._closed_when_cold()) is False:
            return self.state is State.OPEN
        if (yield from self._open()) is False:
            return self.state is not State.UNCLEAR
        self.state, self.cause, self._opened = State.REPLY_ONLY, "", True
        if (yield from self._search(self.both, Asked.BOTH, self._renew)) is False:
            return False
        return (yield from self._one_way()) if self.wanted.one_way else True

    def _unclear(self, cause: str) -> bool:
        self.state, self.cause = State.UNCLEAR, cause
        return False

    def _closed_when_cold(self) -> Course:
        told = yield Cold(ENOUGH)
        self._trials.append(Trial(Asked.COLD, 0.0, told.back))
        if told.back.arrived:
            if self.wanted.prior:
                return self._unclear(
                    f"a reply to nothing came in, but {self.wanted.prior}: a firewall may still "
                    "remember that. Ask again with --wait, or when the path has been quiet"
                )
            self.state = State.OPEN
            self.cause = "a reply to a request that was never sent came in as well"
            return False
        if told.spoiled:
            return self._unclear(told.spoiled)
        if not told.back.sent:
            return self._unclear(told.back.refused or NEVER_LEFT)
        if told.back.refused:
            self._remarks.append(f"the reply to nothing was refused: {told.back.refused}")
        return True

    def _open(self) -> Course:
        """Until an answer arrives, or silence proves something."""
        there = back = Way()
        for turn in range(2 * ENOUGH):
            told = yield Exchange(SHOTS, TOUCH)
            there, back = there + told.there, back + told.back
            if told.spoiled:
                return self._unclear(told.spoiled)
            if back.arrived:
                self._answers += told.back
                return True
            if turn and not there.sent:
                return self._unclear(f"no request left near: {there.refused or HOST}")
            if there.delivered and not back.sent:
                return self._unclear(back.refused or NEVER_LEFT)
            if back.sent >= ENOUGH:
                self.state = State.CLOSED
                refused = f" ({back.refused})" if back.refused else ""
                self.cause = (
                    f"{there.delivered} requests came to far, and none of its answers to near"
                    f"{refused}"
                )
                return False
            if not there.delivered and there.sent >= ENOUGH:
                return self._no_way_out(there)
        return self._unclear("the path loses too much to tell")

    def _no_way_out(self, there: Way) -> bool:
        self.state = State.NO_WAY_OUT
        if there.arrived:
            self.cause = "far's own firewall drops the requests, so that there is nothing to answer"
        elif there.refused:
            self.cause = f"the requests are refused: {there.refused}"
        else:
            self.cause = f"none of {there.sent} requests came to far, so there is nothing to answer"
        return False

    def _renew(self) -> Course:
        """A request and its answer; and where the flow is new, more of them, until it is aged."""
        if self.wanted.behind_nat and self.wanted.shared and self._forgotten:
            # Our late replies ended at the gateway, which may remember them itself. Until it
            # forgets, that is in the way of the mapping (seen with Linux masquerade).
            told = yield Silence(self._forgotten * FORGOTTEN + 1.0, "until the NAT has forgotten")
            if told.spoiled:
                return self._unclear(told.spoiled)
        for _ in range(self._needed()):
            told = yield Exchange(1, TOUCH)
            self._answers += told.back
            if told.spoiled:
                return self._unclear(told.spoiled)
            if told.back.arrived:
                break
        else:
            if not self._forgotten:
                return self._unclear(BROKEN)
            self._remarks.append(
                "once forgotten, the flow could not be opened again, so that no finer answer was to"
                " be had"
            )
            return False
        self._forgotten = 0.0
        if not self._alive:
            told = yield Exchange(SHOTS, AGEING if self.wanted.ages else TOUCH)
            self._answers += told.back
        self._alive = True
        return True

    def _needed(self) -> int:
        """How many late replies must fail before the loss on the path cannot be what failed."""
        rate = loss.upper_bound(self._answers.sent, self._answers.sent - self._answers.arrived)
        return int(min(MOST, loss.shots_needed(rate)))

    def _search(self, search: Search, asked: Asked, renew: Callable[[], Course]) -> Course:
        doubted: float | None = None
        while (silence := doubted or search.silence()) is not None:
            if (yield from renew()) is False:
                return False
            told = yield Silence(silence)
            if told.spoiled:
                return self._unclear(told.spoiled)
            told = yield Replies(SHOTS)
            back, (low, high) = told.back, told.quiet
            if not (back.arrived or told.spoiled):
                told = yield Replies(self._needed() - SHOTS)
                back, high = back + told.back, told.quiet[1]
            self._trials.append(Trial(asked, low, back))
            if told.spoiled:
                return self._unclear(told.spoiled)
            if not back.sent:
                return self._unclear(back.refused or NEVER_LEFT)
            self._alive = back.arrived > 0
            self._forgotten = 0.0 if self._alive else high
            # On a path that loses packets one failure is none: it is asked a second time.
            if not self._alive and doubted is None and self._answers.sent > self._answers.arrived:
                doubted = silence
                continue
            doubted = None
            search.answer(low if self._alive else high, self._alive)
        held = search.held
        if held.less_than is not None and held.at_least >= held.less_than:
            return self._unclear(
                f"a late reply came after {held.at_least:.1f} s of silence, and none after "
                f"{held.less_than:.1f} s: loss on the path, or a firewall that forgets unevenly"
            )
        return True

    # -- flows that got no answer ------------------------------------------------------------

    def _one_way(self) -> Course:
        """First at what an answered flow is known to last: most often that is the same."""
        held = self.both.held
        if held.at_least < min(self.wanted.bound, 1.0):
            self._remarks.append("too short for flows without an answer to be told apart")
            return True
        if self.wanted.shared and held.less_than is None:
            self._remarks.append(
                "a flow without an answer could not be measured: until the answered one is "
                "forgotten, which takes more than --max, it cannot be told from that"
            )
            return True
        self.alone = Search(held.at_least, first=held.at_least)
        return (yield from self._search(self.alone, Asked.ALONE, self._alone))

    def _alone(self) -> Course:
        if self.wanted.shared and self._alive:
            known = self.both.held.less_than
            assert known is not None
            told = yield Silence(known * FORGOTTEN + 1.0, "until the answered flow is forgotten")
            if told.spoiled:
                return self._unclear(told.spoiled)
        for _ in range(self._needed()):
            told = yield OneWay()
            if told.spoiled:
                return self._unclear(told.spoiled)
            if told.there.delivered:
                return True
        return self._unclear(BROKEN)


HOST = "does near's own firewall drop it?"
NEVER_LEFT = "far's reply never left far: does far's own firewall drop it?"
BROKEN = "the path carried answers a moment ago, and carries none any more"
