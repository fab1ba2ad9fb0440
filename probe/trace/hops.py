"""How far did each kind come? Shots with a rising TTL, and who answered them → hops. Pure.

A router where a shot's TTL runs out sends "time exceeded" and thereby says that it *received* the
shot. That it forwards such shots is known only from what lies behind it: Linux, for one, looks at
the TTL before its forward rules are asked, so a firewall answers at its own hop for what it then
drops. So the kind that dies (the *subject*) is walked beside a kind that gets through (the
*reference*): where the reference is answered and the subject is not, it died between the last hop
that had it and this one.

Silence of a router proves nothing by itself. Routers limit their ICMP errors (Linux: six at once,
then one a second to each host), or send none at all: a hop is held to have missed a shot only where
it answers the reference and leaves enough shots that were sent politely unanswered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from agent.model import Check, Event, Sighting, Volley
from probe.judge.tracks import origin, target
from probe.result import Conclusion, Outcome

TIME_EXCEEDED = {4: 11, 6: 3}
THROUGH = (Outcome.DELIVERED, Outcome.STATE_POSSIBLE, Outcome.LOSSY)
ARRIVED = (*THROUGH, Outcome.ALTERED, Outcome.HOST_DROPPED)
DEAD = (Outcome.LOST, Outcome.REFUSED)
POLITE_SECONDS = 0.95  # after the one before, so that a limit of one a second allows an answer
POLITE_SHOTS = 2
DOUBT = 1e-3  # that all shots to a hop were lost by chance, or their answers

# Places: the hops have their numbers.
ORIGIN, TARGET = 0, -1


class Got(StrEnum):
    """Did a kind get as far as a hop?"""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Walked:
    """What one direction brought to light.

    ``subject`` and ``reference`` judge the shots that were free to go all the way; ``volleys`` and
    ``sightings`` may hold others as well.
    """

    subject: Conclusion
    reference: Conclusion | None
    volleys: Sequence[Volley]
    sightings: Sequence[Sighting]
    target: str = ""  # the address of the end that should get the shots
    interrupted: str = ""  # which end lost its link or its address meanwhile, in a sentence


@dataclass(frozen=True, slots=True)
class Hop:
    """``number``: the TTL that ends there. No address: nobody there ever answered."""

    number: int
    addresses: tuple[str, ...]
    subject: Got
    reference: Got
    shots: tuple[int, int]  # of the subject, of the reference, that left with this TTL
    answers: tuple[int, int]


@dataclass(slots=True)
class _Tally:
    """What became of one kind's limited shots, by TTL."""

    shots: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))  # that left
    answered: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    addresses: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    left: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    unclear: list[str] = field(default_factory=list)  # who answered for some shot of this check
    refusers: set[str] = field(default_factory=set)
    resets: set[int] = field(default_factory=set)  # TTLs with which a SYN was answered by RST
    reached: int | None = None  # the lowest TTL that brought a shot to the target

    @property
    def deepest(self) -> int:
        return max(self.answered, default=0)


def distance(checks: Iterable[Check], sightings: Iterable[Sighting]) -> int | None:
    """Routers on the way that ``checks`` took, from the TTL at either end; None: none arrived.

    Whoever sets the TTL anew on the way spoils this, so that the walk looks one hop further.
    """
    ends = {check.number: (origin(check), target(check)) for check in checks}
    gone: dict[tuple[int, int, str], int] = {}
    come: dict[tuple[int, int, str], int] = {}
    for sighting in sightings:
        here, there = ends.get(sighting.check, (None, None))
        key = (sighting.check, sighting.shot, sighting.stage)
        if sighting.ttl is None:
            continue
        if sighting.event is Event.LEFT and sighting.at is here:
            gone[key] = sighting.ttl
        elif sighting.event is Event.ARRIVED and sighting.at is there:
            come[key] = sighting.ttl
    found = {gone[key] - come[key] for key in come if key in gone and gone[key] >= come[key]}
    return min(found, default=None)


def limited(volleys: Iterable[Volley]) -> dict[tuple[int, int], int]:
    """(check, shot) → its TTL, for the shots that had one."""
    return {
        (volley.check, shot): volley.ttl
        for volley in volleys
        if volley.ttl is not None
        for shot in range(volley.first, volley.first + volley.count)
    }


class Case:
    """One direction's evidence, sorted by kind and TTL; it may be incomplete still."""

    def __init__(self, walked: Walked) -> None:
        self.walked = walked
        self._ttl = limited(walked.volleys)
        self.subject = self._tally(walked.subject.check)
        self.reference = (
            self._tally(walked.reference.check) if walked.reference is not None else _Tally()
        )
        self._resolve(self.subject, self.reference)
        self._resolve(self.reference, self.subject)

    @property
    def deepest(self) -> int:
        """The highest TTL to which anybody answered."""
        return max(self.subject.deepest, self.reference.deepest)

    @property
    def end(self) -> int | None:
        """The lowest TTL with which a shot came to the end of the way; None: none did yet."""
        reached = (self.subject.reached, self.reference.reached)
        return min((ttl for ttl in reached if ttl is not None), default=None)

    @property
    def asked(self) -> int:
        return max((*self.subject.shots, *self.reference.shots), default=0)

    def _tally(self, check: Check) -> _Tally:
        tally = _Tally()
        here, there = origin(check), target(check)
        for sighting in self.walked.sightings:
            if sighting.check != check.number:
                continue
            ttl = self._ttl.get((sighting.check, sighting.shot))
            if sighting.event is Event.REFUSED and sighting.at is here and sighting.icmp:
                self._answer(tally, check, sighting, ttl)
            elif ttl is None:
                continue
            elif sighting.event is Event.REFUSED and sighting.at is here:
                tally.resets.add(ttl)
            elif sighting.event is Event.LEFT and sighting.at is here:
                tally.shots[ttl].add(sighting.shot)
                tally.left[ttl].append(sighting.time)
            elif sighting.event is Event.ARRIVED and sighting.at is there:
                tally.reached = min(ttl, tally.reached or ttl)
        return tally

    @staticmethod
    def _answer(tally: _Tally, check: Check, sighting: Sighting, ttl: int | None) -> None:
        assert sighting.icmp is not None
        sender = sighting.icmp.sender
        if (sighting.icmp.type, sighting.icmp.code) != (TIME_EXCEEDED[check.family], 0):
            tally.refusers.add(sender)
        elif sighting.note:
            tally.unclear.append(sender)
        elif ttl is not None:
            tally.answered[ttl].add(sighting.shot)
            if sender not in tally.addresses[ttl]:
                tally.addresses[ttl].append(sender)

    @staticmethod
    def _resolve(tally: _Tally, other: _Tally) -> None:
        """An answer that does not say which shot it is for: its sender's hop is known otherwise."""
        for sender in tally.unclear:
            for ttl, addresses in other.addresses.items():
                if sender in addresses:
                    tally.answered[ttl].add(0)
                    if sender not in tally.addresses[ttl]:
                        tally.addresses[ttl].append(sender)

    # -- what is known ---------------------------------------------------------------------------

    @property
    def arrived(self) -> bool:
        """The subject came to the target's interface, whatever became of it there."""
        subject = self.walked.subject
        sink = target(subject.check)
        return subject.outcome in ARRIVED or any(
            sighting.event in (Event.ARRIVED, Event.DELIVERED) and sighting.at is sink
            for sighting in subject.evidence
        )

    @property
    def reference_through(self) -> bool:
        reference = self.walked.reference
        return reference is not None and reference.outcome in ARRIVED

    @property
    def holder(self) -> int:
        """The last hop that had the subject, by an answer of its own; 0: the sending end."""
        at = [
            ttl
            for ttl, addresses in self.addresses().items()
            if self.subject.refusers & set(addresses)
        ]
        return max([self.subject.deepest, *at])

    @property
    def misser(self) -> int | None:
        """The first place behind the holder where the reference is known to have come."""
        behind = [ttl for ttl in self.reference.answered if ttl > self.holder]
        if behind:
            return min(behind)
        return TARGET if self.reference_through else None

    @property
    def certain(self) -> bool:
        """Is the misser's silence about the subject more than a limit on answers, or loss?"""
        hop = self.misser
        if self.walked.interrupted:
            return False  # it may have been that end's silence
        if hop is None or hop == TARGET:
            return hop == TARGET  # the target's own eyes say so, not a router
        return self._polite(hop) >= POLITE_SHOTS and self._enough(hop)

    @property
    def refuser(self) -> str | None:
        """The address that refused the subject by an ICMP error; None: nobody did."""
        elapsed = (TIME_EXCEEDED[self.walked.subject.check.family], 0)
        told = [
            sighting.icmp.sender
            for sighting in self.walked.subject.evidence
            if sighting.event is Event.REFUSED
            and sighting.icmp is not None
            and (sighting.icmp.type, sighting.icmp.code) != elapsed
        ]
        return next(iter([*told, *sorted(self.subject.refusers)]), None)

    @property
    def reset_at(self) -> int | None:
        """The lowest TTL with which a connection was reset; None: none was."""
        return min(self.subject.resets, default=None)

    def _polite(self, hop: int) -> int:
        """Shots of the subject that came long enough after any other with this TTL."""
        mine = self.subject.left.get(hop, [])
        moments = sorted([*mine, *self.reference.left.get(hop, [])])
        return sum(
            1
            for moment in mine
            if not any(0 <= moment - other < POLITE_SECONDS for other in moments if other != moment)
        )

    def _enough(self, hop: int) -> bool:
        """Would so many shots have been answered once, if the reference tells how often one is?"""
        shots, answers = len(self.reference.shots[hop]), len(self.reference.answered[hop])
        silence = (shots - answers + 1) / (shots + 2)
        return bool(silence ** len(self.subject.shots.get(hop, ())) <= DOUBT)

    # -- what to ask again -----------------------------------------------------------------------

    def wanted(self) -> list[tuple[int, int]]:
        """(check number, TTL) of single shots that are to be sent now, a second after the last.

        Where the reference was answered, the subject is asked again until its silence is certain;
        a hop that answered neither gets one more chance of each.
        """
        walked = self.walked
        found: list[tuple[int, int]] = []
        dead = walked.subject.outcome in DEAD and not self.subject.refusers
        dead = dead and not walked.interrupted
        misser = self.misser
        if dead and misser is not None and misser != TARGET and not self.certain:
            found.append((walked.subject.check.number, misser))
            # Behind it as well, once: the limit may have swallowed the answers of all of them.
            found += [
                (walked.subject.check.number, ttl)
                for ttl in sorted(self.reference.answered)
                if ttl > misser and not self._polite_count(self.subject, ttl)
            ]
        last = self.asked if misser in (None, TARGET) else misser
        if not self.reference_through and not self.arrived:
            last = min(last, self.deepest + 1)  # behind it, most likely nobody is reached
        if self.end is not None:
            last = min(last, self.end - 1)
        for ttl in range(1, last + 1):
            if self.subject.answered.get(ttl) or self.reference.answered.get(ttl):
                continue
            asked = max(self._polite_count(tally, ttl) for tally in (self.subject, self.reference))
            if asked == 0 and walked.reference is not None and ttl in self.reference.shots:
                found.append((walked.reference.check.number, ttl))
            elif asked <= 1 and dead and not self._polite_count(self.subject, ttl):
                found.append((walked.subject.check.number, ttl))
        return found

    @staticmethod
    def _polite_count(tally: _Tally, ttl: int) -> int:
        """Shots that came long after the first of their own kind."""
        moments = tally.left.get(ttl, [])
        return sum(1 for moment in moments if moment - min(moments) >= POLITE_SECONDS)

    # -- hops ------------------------------------------------------------------------------------

    def addresses(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = defaultdict(list)
        for tally in (self.reference, self.subject):
            for ttl, addresses in tally.addresses.items():
                found[ttl] += [a for a in addresses if a not in found[ttl]]
        return found

    def hops(self) -> tuple[Hop, ...]:
        addresses, missed_from = self.addresses(), self._missed_from()
        last = self._last_worth_telling() if self.end is None else self.end - 1
        return tuple(
            Hop(
                number,
                tuple(addresses.get(number, ())),
                self._subject_got(number, missed_from),
                self._reference_got(number),
                self._counts(self.subject.shots, self.reference.shots, number),
                self._counts(self.subject.answered, self.reference.answered, number),
            )
            for number in range(1, last + 1)
        )

    @staticmethod
    def _counts(
        one: Mapping[int, set[int]], other: Mapping[int, set[int]], number: int
    ) -> tuple[int, int]:
        return len(one.get(number, ())), len(other.get(number, ()))

    def _last_worth_telling(self) -> int:
        """Where nothing arrived: the last hop that answered, and one silent one behind it.

        A kind that dies is asked of more hops than there may be: its silence shows no hop.
        """
        kinds = ((self.subject, self.arrived), (self.reference, self.reference_through))
        through = [tally.shots for tally, arrived in kinds if arrived]
        if through:
            return max([self.deepest, *(ttl for shots in through for ttl in shots)])
        return min(self.asked, self.deepest + 1)

    def _subject_got(self, number: int, missed_from: int | None) -> Got:
        if self.arrived or self.holder >= number:
            return Got.YES
        return Got.NO if missed_from is not None and number >= missed_from else Got.UNKNOWN

    def _reference_got(self, number: int) -> Got:
        """What stops the reference is not asked: it is there to compare with."""
        come = self.reference_through or self.reference.deepest >= number
        return Got.YES if come else Got.UNKNOWN

    def _missed_from(self) -> int | None:
        """The first hop that is known to have missed the subject; so have all behind it."""
        if self.arrived or self.walked.subject.outcome not in DEAD:
            return None
        if self.refuser is not None:
            return self.holder + 1 if self.holder else None
        if self.reset_at is not None:
            return self.reset_at
        return self.misser if self.certain and self.misser != TARGET else None
