"""Sightings → what became of each shot: one track a shot, TCP's stages folded in.

The two ends of a check are named by what they do: the *origin* sends its shots, the *target* should
get them. For a reply the origin is the host that answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agent.model import TAKEN, Check, Direction, Event, Flow, Fragmenting, Side, Sighting

STREAM_PREFIXES = ("tcp:", "kerberos-tcp")  # its noise as well


@dataclass(slots=True)
class Track:
    """One shot's way. Filled by :func:`follow`, then only read."""

    shot: int
    sent: bool = False
    unsent: str = ""  # why the origin's kernel refused it
    left: bool = False
    held_back: bool = False  # TCP: connected, and then the request never left
    arrived: Sighting | None = None
    delivered: Sighting | None = None
    altered: str = ""  # how it was changed on its way, in words
    refused: Sighting | None = None  # as the origin was told
    target_refused: Sighting | None = None  # the target's own kernel said so
    part_arrived: bool = False  # its first fragment reached the target's interface
    fragments: bool = False  # it left in several fragments
    backwards: bool = False  # and the first of them left last
    hops: int | None = None  # routers that it passed, by its TTL
    foreign: bool = False  # answered by a program that is not ours
    elsewhere: str = ""  # and the address that it answered from, where another had been asked
    forged: Sighting | None = None  # an answer that never left the host in whose name it came
    stages: set[tuple[Side, Event, str]] = field(default_factory=set)


def origin(check: Check) -> Side:
    return Side.NEAR if check.direction is Direction.OUTBOUND else Side.FAR


def target(check: Check) -> Side:
    return Side.FAR if check.direction is Direction.OUTBOUND else Side.NEAR


def is_stream(check: Check) -> bool:
    return check.kind.startswith(STREAM_PREFIXES)


def follow(checks: Iterable[Check], sightings: Iterable[Sighting]) -> dict[int, dict[int, Track]]:
    """check number → shot number → its track. Sightings may come in any order."""
    by_check: dict[int, dict[int, list[Sighting]]] = defaultdict(lambda: defaultdict(list))
    for sighting in sightings:
        by_check[sighting.check][sighting.shot].append(sighting)
    tracks: dict[int, dict[int, Track]] = {}
    for check in checks:
        shots = by_check.get(check.number, {})
        other = by_check.get(check.partner, {}) if check.partner is not None else {}
        if is_stream(check):
            tracks[check.number] = _streams(check, shots, other)
        else:
            tracks[check.number] = {
                shot: _datagram(check, shot, seen, other.get(shot, ()))
                for shot, seen in shots.items()
            }
    return tracks


def _datagram(
    check: Check, shot: int, seen: Sequence[Sighting], other: Sequence[Sighting]
) -> Track:
    """``other``: what was seen of the request that a reply answers, or of the reply."""
    track = Track(shot)
    left: Sighting | None = None
    answer: Sighting | None = None  # of a program that is not ours, as it left,
    taken: Sighting | None = None  # as a socket of the asker's got it,
    imitation: Sighting | None = None  # and as it came in: or one that only looks like it
    source, sink = origin(check), target(check)
    digests: dict[Event, str] = {}
    for sighting in seen:
        if sighting.stage == "fragment":
            track.fragments = True
            track.part_arrived |= sighting.event is Event.ARRIVED and sighting.at is sink
            continue
        match sighting.event:
            case Event.SENT if sighting.at is source:
                track.sent = True
            case Event.UNSENT if sighting.at is source:
                track.unsent = sighting.note
            case Event.LEFT if sighting.at is source:
                track.sent = track.left = True  # the kernel's own echo reply is never "sent" by us
                track.backwards = sighting.backwards
                left = sighting
            case Event.ARRIVED if sighting.at is sink:
                track.arrived = sighting
            case Event.DELIVERED if sighting.at is sink:
                track.delivered = sighting
            case Event.REPLIED if sighting.at is source:
                answer = sighting
            case Event.REPLIED if sighting.stage == TAKEN:
                taken = sighting
            case Event.REPLIED:
                imitation = sighting
            case Event.REFUSED if sighting.at is source:
                track.refused = sighting
            case Event.REFUSED:
                track.target_refused = sighting
            case _:
                pass
        if sighting.digest:
            digests.setdefault(sighting.event, sighting.digest)
    if answer is not None:
        _answered_by_others(track, answer, imitation, taken, other)
    elif imitation is not None and track.left and not track.arrived:
        track.arrived, track.altered = imitation, "its payload was changed on the way"
    elif imitation is not None:
        track.forged = imitation
    got = track.arrived or track.delivered
    if got is not None and not track.altered:
        track.altered = _alteration(check, got, digests) or _from_elsewhere(check, got, other)
        if left is not None and left.ttl is not None and got.ttl is not None:
            track.hops = left.ttl - got.ttl
    return track


def _answered_by_others(
    track: Track,
    answer: Sighting,
    came: Sighting | None,
    taken: Sighting | None,
    asked: Sequence[Sighting],
) -> None:
    """A daemon's own answer is as good a reply as ours, unless no asker would know it for one."""
    track.foreign = True
    request = next((s for s in asked if s.at is answer.at and s.event is Event.ARRIVED), None)
    if request is not None and request.destination != answer.source:
        track.elsewhere = answer.source
        return
    track.left = True
    if came is None or track.arrived:
        return
    track.arrived = came
    if came.digest == answer.digest:
        track.delivered = track.delivered or taken
    else:
        track.altered = "its payload was changed on the way"


def _from_elsewhere(check: Check, got: Sighting, asked: Sequence[Sighting]) -> str:
    """A reply must come from where the request was sent, or its asker takes it for a stranger's."""
    if check.flow is not Flow.REPLY:
        return ""
    sent = next((s for s in asked if s.at is got.at and s.event in (Event.SENT, Event.LEFT)), None)
    if sent is None or not got.source:
        return ""
    if sent.destination.partition("%")[0] != got.source.partition("%")[0]:
        return f"it came from {got.source}, and {sent.destination} had been asked"
    if got.source_port is not None and sent.destination_port != got.source_port:
        return f"it came from port {got.source_port}, and {sent.destination_port} had been asked"
    return ""


def _alteration(check: Check, got: Sighting, digests: Mapping[Event, str]) -> str:
    """What breaks the real protocol. A translated address alone breaks AH and nothing else."""
    if not got.intact:
        return got.note or "its integrity check fails at the other end"
    gone = digests.get(Event.LEFT) or digests.get(Event.SENT)
    here = digests.get(Event.ARRIVED) or digests.get(Event.DELIVERED)
    if gone and here and gone != here:
        return "its payload was changed on the way"
    fixed = check.source_port if check.flow is Flow.NEW else None
    if fixed is not None and got.source_port is not None and got.source_port != fixed:
        return f"its source port {fixed} was rewritten to {got.source_port} on the way"
    wanted = check.destination_port if check.flow is Flow.NEW else None
    if wanted is not None and got.destination_port is not None and got.destination_port != wanted:
        return f"its destination port {wanted} was rewritten to {got.destination_port} on the way"
    return ""


def _streams(
    check: Check,
    shots: Mapping[int, list[Sighting]],
    other: Mapping[int, list[Sighting]],
) -> dict[int, Track]:
    """TCP: the SYN asks and the SYN-ACK answers; once connected, request and answer must follow.

    A SYN that the target's kernel answered was delivered, also when its answer was lost: then the
    way there is open, and the way back is not. A request that never arrives on a connection that
    was made is lost, whatever became of the SYN.
    """
    tracks: dict[int, Track] = {}
    for shot in sorted({*shots, *other}):
        seen = [*shots.get(shot, ()), *other.get(shot, ())]
        stages = {(s.at, s.event, s.stage) for s in seen}
        pick = {(s.at, s.event, s.stage): s for s in seen}
        told = {s.at: s for s in shots.get(shot, ()) if s.event is Event.REFUSED}
        asks, answers = origin(check), target(check)
        if check.flow is Flow.REPLY:
            asks, answers = answers, asks
        syn_answered = (answers, Event.LEFT, "syn-ack") in stages
        connected = (asks, Event.DELIVERED, "syn-ack") in stages
        served = (answers, Event.DELIVERED, "request") in stages
        track = Track(shot, stages=stages)
        if check.flow is Flow.NEW:
            track.unsent = next((s.note for s in seen if s.event is Event.UNSENT), "")
            track.sent = (asks, Event.SENT, "syn") in stages
            track.left = (asks, Event.LEFT, "syn") in stages
            if connected and syn_answered and not served:
                # The SYN passed; what matters is the request. (Where a proxy in between shook
                # hands in the target's name, it may hold the request back: then the SYN counts.)
                track.left = (asks, Event.LEFT, "request") in stages
                track.held_back = not track.left
            # Once connected, the SYN is old news: the request must have come as well.
            stage = "request" if connected or served else "syn"
            track.arrived = pick.get((answers, Event.ARRIVED, stage))
            if served:
                track.delivered = pick[answers, Event.DELIVERED, "request"]
            elif told.get(asks) and (asks, Event.ARRIVED, "syn-ack") in stages:
                pass  # what came after the handshake was refused
            elif syn_answered and not connected:
                track.delivered = pick[answers, Event.LEFT, "syn-ack"]
            elif (answers, Event.DELIVERED, "syn") in stages and not connected:
                track.delivered = pick[answers, Event.DELIVERED, "syn"]
            track.refused, track.target_refused = told.get(asks), told.get(answers)
        else:
            answered = (answers, Event.LEFT, "answer") in stages
            replies = shots.get(shot, ())
            track.sent = track.left = syn_answered
            track.arrived = pick.get((asks, Event.ARRIVED, "answer"))
            track.delivered = pick.get((asks, Event.DELIVERED, "answer"))
            # Our own listener answers every request: an answer of its that never left was cut off,
            # if it was not held back.
            held = [s.note for s in replies if s.at is answers and s.event is Event.UNSENT]
            if held and not (answered or told):
                track.unsent, track.sent, track.left = held[0], False, False
            ours = bool(held) or any(s.at is answers and s.event is Event.SENT for s in replies)
            if not answered and not ours:  # then the SYN-ACK is all the reply there was
                track.arrived = pick.get((asks, Event.ARRIVED, "syn-ack"))
                track.delivered = pick.get((asks, Event.DELIVERED, "syn-ack"))
            track.refused, track.target_refused = told.get(answers), told.get(asks)
            track.foreign = bool(track.delivered and track.delivered.note)
        tracks[shot] = track
    return tracks


def put_in_order(check: Check, tracks: Iterable[Track]) -> bool:
    """Its fragments were to leave the last one first, and did not."""
    left = [track for track in tracks if track.left]
    asked = check.fragmenting is Fragmenting.LAST_FIRST
    return asked and bool(left) and not any(track.backwards for track in left)
