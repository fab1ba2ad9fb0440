"""What was said of a shot, by whom, and what that proves: the evidence of one end alone. Pure.

Without an agent nobody saw a shot arrive; there is only what came back. Four things are held apart:

* the far host's *own words*: an echo reply, an IKE or a Kerberos answer to the very request. Nobody
  else has them, but a firewall that redirects the port to a service of its own: then they come from
  nearer than others of its words, and prove nothing;
* what its kernel says for it: a protocol or a port unreachable, a TCP handshake or a reset. A
  firewall may say the same in its name, from its address. What betrays it is the distance: the
  TTL that is left of it, held against that of the far host's own words;
* what somebody else says under a name of his own: a refusal;
* silence, which says nothing at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from agent.model import Check, Event, Flow, Side, Sighting
from agent.wire import codec, ip
from agent.wire.icmp import describe
from probe.judge import words
from probe.judge.evidence import Evidence
from probe.judge.tracks import is_stream
from probe.naming import service

STARTS = (64, 128, 255)  # the TTLs that hosts begin with
NO_PROTOCOL = {(4, 3, 2), (6, 4, 1)}  # family, type, code: a kernel that nobody there asked for it
NO_PORT = {(4, 3, 3), (6, 1, 4)}
UNTESTED = "; nothing else came from there that its TTL could be held against"


class Worth(StrEnum):
    REACHED = "reached"
    REFUSED = "refused"
    UNCLEAR = "unclear"  # something was said; what it proves cannot be told


@dataclass(frozen=True, slots=True)
class Word:
    """What was said of one shot, in one clause. ``own``: in the far host's own words."""

    worth: Worth
    text: str
    own: bool = False


def routers(ttl: int) -> int:
    """How many a packet passed that has this TTL left, if it began as hosts do."""
    return next(start for start in STARTS if ttl <= start) - ttl


class Hearsay:
    """The words about each request of a run."""

    def __init__(self, checks: Iterable[Check], evidence: Evidence) -> None:
        self._evidence = evidence
        self._far = _bare(evidence.far_address)
        self._checks = {check.number: check for check in checks}
        self._seen: dict[tuple[int, int], list[Sighting]] = defaultdict(list)
        for sighting in evidence.sightings:
            if sighting.at is Side.NEAR:
                self._seen[sighting.check, sighting.shot].append(sighting)
        self._own = {routers(ttl) for ttl in self._ttls(own=True)}
        self._lent = {routers(ttl) for ttl in self._ttls(own=False)}

    @property
    def distance(self) -> int | None:
        """Routers between, by the far host's own words; None where it said nothing itself."""
        return max(self._own, default=None)

    def words(self, request: Check) -> dict[int, Word]:
        """Shot → what was said of it, for those of which anything was."""
        found: dict[int, Word] = {}
        for shot in self.shots(request):
            word = self._word(request, shot)
            if word is not None:
                found[shot] = word
        return found

    def shots(self, request: Check) -> list[int]:
        return sorted({shot for number, shot in self._seen if number == request.number})

    def replies(self, request: Check, shot: int) -> list[Sighting]:
        """What came back of the reply check, from the far host's address."""
        if request.partner is None:
            return []
        seen = self._seen.get((request.partner, shot), ())
        return [s for s in seen if s.event in _COMING and self._from_far(s)]

    # -- distance ------------------------------------------------------------------------------

    def _ttls(self, *, own: bool) -> list[int]:
        """Of the far host's own words; or of what may be said in its name."""
        found: list[int] = []
        for (number, _), seen in self._seen.items():
            check = self._checks.get(number)
            if check is None:
                continue
            spoken = any(s.stage == "answer" and s.says for s in seen)  # by TCP
            for s in seen:
                if s.ttl is None or not self._from_far(s):
                    continue
                if s.event is Event.ARRIVED and check.flow is Flow.REPLY:
                    stream = is_stream(check)
                    mine = not stream or (s.stage == "answer" and spoken)
                    lent = stream and s.stage == "syn-ack"
                elif s.event is Event.REPLIED:
                    mine, lent = bool(s.says), False
                else:
                    mine, lent = False, s.event is Event.REFUSED and self._kernels(check, s)
                if mine if own else lent:
                    found.append(s.ttl)
        return found

    def _nearer(self, ttl: int | None) -> int:
        """By how many routers this came from nearer than the far host, by all that is known."""
        if ttl is None or not (self._own or self._lent):
            return 0
        there = min(self._own) if self._own else max(self._lent)
        return max(0, there - routers(ttl))

    def _disputed(self, what: str, ttl: int | None) -> Word | None:
        """Of what comes from nearer than the farthest of far's own words: it may be another's."""
        if ttl is None or not self._own or routers(ttl) >= max(self._own):
            return None
        nearer = words.count(max(self._own) - routers(ttl), "router")
        return Word(
            Worth.UNCLEAR,
            f"{what} came in far's name ({self._far}), and from {nearer} nearer than another "
            f"answer of far's (TTL {ttl}): far itself, or something on the way in its place",
        )

    def _in_its_name(self, what: str, ttl: int | None) -> str:
        return (
            f"{what} came in far's name ({self._far}), and from "
            f"{words.count(self._nearer(ttl), 'router')} nearer than far's other answers (TTL "
            f"{ttl}): something on the way speaks for it"
        )

    # -- what was said -------------------------------------------------------------------------

    def _word(self, request: Check, shot: int) -> Word | None:
        asked = self._seen[request.number, shot]
        own = _bare(self._evidence.near_address)
        refusals = [
            self._icmp(request, s)
            for s in asked
            # What near's own kernel says to itself is of what never left.
            if s.event is Event.REFUSED and s.icmp is not None and _bare(s.icmp.sender) != own
        ]
        # Near's own firewall (OUTPUT) resets in far's name what then never leaves.
        left = any(s.event is Event.LEFT for s in asked)
        resets = [s for s in asked if left and s.event is Event.REFUSED and s.stage == "rst"]
        if is_stream(request):
            answer = self._stream(request, shot, [s for s in resets if self._from_far(s)])
        else:
            answer = self._datagram(request, shot)
        return _weigh([*([answer] if answer else []), *refusals])

    def _icmp(self, request: Check, told: Sighting) -> Word:
        assert told.icmp is not None
        what = describe(request.family, told.icmp.type, told.icmp.code)
        if _bare(told.icmp.sender) != self._far:
            return Word(Worth.REFUSED, words.refused(request, told, self._evidence))
        if self._nearer(told.ttl):
            return Word(Worth.REFUSED, self._in_its_name(what, told.ttl))
        if not self._kernels(request, told):
            return Word(
                Worth.REFUSED,
                f"far's own address ({self._far}) answered: {what}. Its own firewall refuses it, "
                "or one that speaks in its name",
            )
        disputed = self._disputed(what, told.ttl)
        if disputed is not None:
            return disputed
        nobody = "nothing there takes it"
        if (request.family, told.icmp.type, told.icmp.code) in NO_PORT:
            nobody = "nothing there listens, or its own firewall refuses it"
        untested = "" if self._own else UNTESTED
        return Word(
            Worth.REACHED,
            f"far itself ({self._far}) answered: {what}, so it arrived there; {nobody}{untested}",
        )

    def _kernels(self, request: Check, told: Sighting) -> bool:
        """A kernel's own word for "it arrived, and nobody here takes it", from the far host."""
        if told.icmp is None or _bare(told.icmp.sender) != self._far:
            return False
        word = (request.family, told.icmp.type, told.icmp.code)
        protocol = codec(request.kind).protocol(request.family)
        return (protocol in (ip.ESP, ip.AH, ip.UDP) and word in NO_PROTOCOL) or (
            protocol == ip.UDP and word in NO_PORT
        )

    def _datagram(self, request: Check, shot: int) -> Word | None:
        replies = self.replies(request, shot)
        for reply in replies:
            if reply.says or reply.event is not Event.REPLIED:
                disputed = self._disputed(reply.says or "its answer", reply.ttl)
                if disputed is not None:
                    return disputed
        for reply in replies:
            if reply.says:
                return Word(Worth.REACHED, f"far's own service answered: {reply.says}", own=True)
            if reply.event is not Event.REPLIED:  # sealed by this very request
                return Word(Worth.REACHED, "", own=True)
        if replies:
            return Word(
                Worth.UNCLEAR,
                f"what came back in far's name is no answer in {service(request.kind).title}: "
                "whether the request reached far is not known",
            )
        for s in self._seen.get((request.partner or 0, shot), ()):
            if s.event in _COMING:
                return Word(
                    Worth.UNCLEAR,
                    f"the answer came from {s.source}, and {self._far} had been asked: a real peer "
                    "would not take it",
                )
        return None

    def _stream(self, request: Check, shot: int, resets: Sequence[Sighting]) -> Word | None:
        replies = self.replies(request, shot)
        shaken = [s for s in replies if s.stage == "syn-ack"]
        answers = [s for s in replies if s.stage == "answer"]
        ttl = next((s.ttl for s in shaken if s.ttl is not None), None)
        says = next((s.says for s in answers if s.says), "")
        if says:
            spoken = next((s.ttl for s in answers if s.ttl is not None), None)
            disputed = self._disputed(says, spoken)
            if disputed is not None:
                return disputed
            text = f"far's own service answered: {says}"
            if self._nearer(ttl):
                text += "; the handshake before it was made by something nearer, in its name"
            return Word(Worth.REACHED, text, own=True)
        if not shaken:
            return self._reset(request, resets[0]) if resets else None
        if self._nearer(ttl):
            return Word(Worth.UNCLEAR, self._in_its_name("a TCP handshake", ttl))
        disputed = self._disputed("a TCP handshake", ttl)
        if disputed is not None:
            return disputed
        cut = next((s for s in resets if s.ttl is not None), None)
        if cut is not None and cut.ttl is not None and ttl is not None:
            nearer = routers(ttl) - routers(cut.ttl)
            if nearer > 0:
                return Word(
                    Worth.REFUSED,
                    "the connection was made, and then reset from "
                    f"{words.count(nearer, 'router')} nearer than the handshake (TTL {cut.ttl}): "
                    "something on the way ends it behind the handshake",
                )
        return self._handshake(request, bool(resets), bool(answers))

    def _handshake(self, request: Check, was_reset: bool, answered: bool) -> Word:
        untested = "" if self._own else UNTESTED
        made = f"far completed the TCP handshake on port {request.destination_port}"
        if request.kind.partition(":")[0] == "tcp":
            return Word(Worth.REACHED, f"{made}{untested}")
        then = "no answer to the request came"
        if was_reset:
            then = "the connection was then reset"
        elif answered:
            then = f"what answered there is not {service(request.kind).title}"
        if untested:  # a KDC answers: who shook hands here?
            return Word(
                Worth.UNCLEAR,
                f"a TCP handshake was completed in far's name, and {then}: far itself, or a proxy "
                f"on the way{untested}",
            )
        return Word(Worth.REACHED, f"{made}, and {then}")

    def _reset(self, request: Check, reset: Sighting) -> Word:
        port = request.destination_port
        if self._nearer(reset.ttl):
            return Word(Worth.REFUSED, self._in_its_name("a TCP RST", reset.ttl))
        if reset.ttl is None or not (self._own or self._lent):
            return Word(
                Worth.UNCLEAR,
                f"a TCP RST came in far's name: either it arrived there and nothing listens on "
                f"port {port}, or a firewall on the way says so in its name{UNTESTED}",
            )
        disputed = self._disputed("a TCP RST", reset.ttl)
        if disputed is not None:
            return disputed
        return Word(
            Worth.REACHED,
            f"far itself reset the connection (TCP RST, from as far as its other answers): it "
            f"arrived there, and nothing listens on port {port}, or its own firewall refuses it",
        )

    def _from_far(self, sighting: Sighting) -> bool:
        return _bare(sighting.source) == self._far


_COMING = (Event.ARRIVED, Event.DELIVERED, Event.REPLIED)


def _weigh(said: Sequence[Word]) -> Word | None:
    """One word for a shot of which several things may have been said."""
    reached = [word for word in said if word.worth is Worth.REACHED]
    refused = [word for word in said if word.worth is Worth.REFUSED]
    if not reached or not refused:
        return next(iter([*reached, *refused, *said]), None)
    best = next((word for word in reached if word.own), None)
    if best is not None:  # nobody else has these words, whatever he claims
        return Word(best.worth, _and_yet(best, refused[0]), own=True)
    return Word(Worth.UNCLEAR, f"two answers contradict each other: {_and_yet(*reached, *refused)}")


def _and_yet(*said: Word) -> str:
    return "; and yet ".join(word.text for word in said if word.text)


def _bare(address: str) -> str:
    return address.partition("%")[0]
