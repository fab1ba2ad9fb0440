"""Causes in plain words: one sentence each, for a tired person at night."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.model import Check, Event, Flow, Fragmenting, Side, Sighting
from agent.wire.icmp import describe
from probe.judge.tracks import Track, is_stream, origin, target

if TYPE_CHECKING:
    from probe.judge.evidence import Evidence

ERRNO = {
    "EPERM": "its own firewall (OUTPUT) forbids it",
    "EACCES": "its own rules forbid it",
    "EMSGSIZE": "it is larger than the path's MTU allows, and must not be fragmented",
    "ENETUNREACH": "it has no route to the other host",
    "EHOSTUNREACH": "the other host cannot be reached from its network",
    "EADDRNOTAVAIL": "the source address is no longer its own",
    "ENOBUFS": "its interface's queue is full",
    "ENETDOWN": "its interface is down",
}


_SERVICES = {"ike": "IKE", "kerberos": "Kerberos"}  # by how their kinds begin


def count(number: int, noun: str = "shot") -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def not_sent(side: Side, reason: str) -> str:
    why = ERRNO.get(reason)
    return (
        f"{side}'s kernel refused to send it: {why} ({reason})"
        if why
        else (f"{side} could not send it: {reason}")
    )


def never_left(side: Side, check: Check) -> str:
    if check.kind == "icmp-echo" and check.flow is Flow.REPLY:
        return f"{side}'s kernel did not answer the echo request (its own firewall or setting)"
    return (
        f"{side}'s kernel took it, but it never reached an interface: {side}'s own firewall "
        "(OUTPUT or POSTROUTING) drops it, or its next hop does not answer"
    )


def lost(check: Check, left: Sequence[Track], refusers: set[str]) -> str:
    here, there = origin(check), target(check)
    if is_stream(check):
        stage = _stream_stage(check, left)
        if stage:
            return stage
    text = f"{count(len(left))} left {here} and none reached {there}; nobody answered"
    if refusers:
        names = " and ".join(sorted(refusers))
        return f"{text}. Other kinds were refused by {names}, which may limit how often it says so"
    return f"{text}: something in between drops it silently"


def _stream_stage(check: Check, left: Sequence[Track]) -> str:
    """Where a connection that was made broke off."""
    here, there = origin(check), target(check)
    if check.flow is Flow.REPLY:
        if all((here, Event.LEFT, "answer") in track.stages for track in left):
            return (
                f"the connection was made and {here} answered the request, but the answer never "
                f"reached {there}: something in between drops it after the handshake"
            )
        return ""
    connected = [track for track in left if (here, Event.DELIVERED, "syn-ack") in track.stages]
    if not connected:
        return ""
    if any((there, Event.ARRIVED, "syn") in track.stages for track in connected):
        return (
            f"the connection was made, but the request never reached {there}: something in "
            "between drops it after the handshake"
        )
    return (
        f"something in between completed the TCP handshake in {there}'s name: {there} saw nothing"
    )


def shaken_for(check: Check, tracks: Sequence[Track]) -> bool:
    """A SYN was answered, and the end in whose name it was never saw one."""
    here, there = origin(check), target(check)
    return (
        is_stream(check)
        and check.flow is Flow.NEW
        and any((here, Event.ARRIVED, "syn-ack") in track.stages for track in tracks)
        and not any((there, Event.ARRIVED, "syn") in track.stages for track in tracks)
    )


def cut_off(check: Check, track: Track) -> bool:
    """The two ends shook hands; a reset came before the request did, and the target sent none."""
    here, there = origin(check), target(check)
    return (
        is_stream(check)
        and check.flow is Flow.NEW
        and track.refused is not None
        and track.refused.stage == "rst"
        and track.target_refused is None
        and (here, Event.ARRIVED, "syn-ack") in track.stages
        and (there, Event.LEFT, "syn-ack") in track.stages
        and (there, Event.ARRIVED, "request") not in track.stages
    )


def reset_between(check: Check) -> str:
    sink = target(check)
    return (
        "the connection was made, and something in between reset it at the request's first octets, "
        f"in {sink}'s name (TCP RST); {sink} itself saw no request and sent no reset"
    )


def proxied(check: Check, cause: str) -> str:
    return f"something in between completed the TCP handshake in {target(check)}'s name; {cause}"


def forged(check: Check, cause: str) -> str:
    sink = target(check)
    return (
        f"something in between answered in {sink}'s name, and {sink} never sent an answer; {cause}"
    )


def pieces(check: Check) -> int:
    """How many fragments a check's shots may travel in, reckoned with IPv6's smallest MTU."""
    return -(-check.size // 1280) if check.size else 1


def too_large(check: Check, left: Sequence[Track], smaller: int) -> str:
    sink = target(check)
    text = f"passes at {smaller:,} octets, lost at {check.size:,}: "
    if any(track.part_arrived for track in left):
        return (
            f"{text}the first fragment reached {sink} and the rest did not: fragments are dropped"
        )
    if check.fragmenting is Fragmenting.LAST_FIRST:
        return f"{text}it left in fragments, the last one first: fragments are dropped"
    if any(track.fragments for track in left):
        return f"{text}it left in fragments, and fragments are dropped"
    return f"{text}too large for the path, and no ICMP error came back to say so: an MTU black hole"


def out_of_order(check: Check, left: Sequence[Track]) -> str:
    """It passes in fragments, but not in these."""
    return (
        f"{check.size:,} octets pass in fragments that come in order; {count(len(left))} whose "
        f"last fragment left first never reached {target(check)}: fragments out of order are "
        "dropped"
    )


def put_in_order(check: Check) -> str:
    side = origin(check)
    return (
        f"its fragments left {side} in order: {side}'s own connection tracking joins them before "
        "they leave, so the other order cannot be asked from there"
    )


def nameless(check: Check) -> str:
    return (
        f"what may be these shots reached {target(check)}, from ports that none of them left from: "
        f"a NAT rewrites the ports, and {check.kind} carries no other name"
    )


def lossy(
    check: Check, left: Sequence[Track], arrived: Sequence[Track], delivered: Sequence[Track]
) -> str:
    sink = target(check)
    text = f"{len(delivered)} of {count(len(left))} got through to {sink}"
    if len(arrived) > len(delivered):
        text += f" ({len(arrived)} reached its interface)"
    return f"{text}: the path loses packets, or something limits their rate"


def altered(check: Check, track: Track, evidence: Evidence) -> str:
    got = track.arrived or track.delivered
    text = f"it arrived, but {track.altered}"
    source = evidence.address(origin(check))
    if got is not None and source and got.source and got.source != source:
        text += f"; its source address {source} had become {got.source}, so a NAT is in between"
        if check.kind == "ah":
            text += ", and AH cannot cross NAT"
    elif check.kind.startswith("ike") and "port" in track.altered:
        text += "; an IPsec pass-through in between rewrites it without translating the address"
    return text


def refused(check: Check, told: Sighting, evidence: Evidence) -> str:
    sink = target(check)
    if told.icmp is None:
        if told.at is sink:
            return (
                f"{sink} itself reset the connection (TCP RST): nothing there takes it, or its own "
                "firewall rejects it"
            )
        return (
            f"a TCP RST came back in {sink}'s name from {told.source}"
            if told.source
            else "a TCP RST came back"
        )
    what = describe(check.family, told.icmp.type, told.icmp.code)
    return f"{_who(told.icmp.sender, evidence)} answered: {what}"


def left_behind(check: Check) -> str:
    sink = target(check)
    return (
        f"{sink} itself refused it, as a host does whose agent is gone: the run broke off meanwhile"
    )


def says_unreachable(told: Sighting) -> bool:
    """A router that found nobody: what a host whose link is down looks like, and a reject rule."""
    icmp = told.icmp
    return icmp is not None and (icmp.type, icmp.code) in ((3, 0), (3, 1), (1, 0), (1, 3))


def says_no_protocol(told: Sighting) -> bool:
    """A host without a socket for it, and a Linux whose raw socket had no room for this packet."""
    icmp = told.icmp
    return icmp is not None and (icmp.type, icmp.code) in ((3, 2), (4, 1))


def refused_in_its_name(check: Check, told: Sighting) -> str:
    """An ICMP error with the target's own address, and the target saw nothing arrive."""
    sink = target(check)
    what = describe(check.family, told.icmp.type, told.icmp.code) if told.icmp else "TCP RST"
    return f"something in between answered in {sink}'s name: {what}; {sink} itself saw nothing"


def _who(sender: str, evidence: Evidence) -> str:
    names = {
        evidence.far_address: "the far host itself",
        evidence.near_address: "the near host itself",
    }
    name = names.get(sender) if sender else None
    return f"{name} ({sender})" if name else f"{sender}, a router or firewall in between,"


def mapped(evidence: Evidence) -> str:
    return (
        f"near sits behind NAT (far sees it as {evidence.near_seen_as}): a new flow from far would "
        "end at the gateway itself, and stand in the way of near's own"
    )


def hidden(check: Check, told: Sighting | None, evidence: Evidence) -> str:
    """Inbound-new towards a host behind NAT, tried all the same."""
    seen_as = evidence.near_seen_as
    sent = (s for s in evidence.sightings if (s.check, s.event) == (check.number, Event.LEFT))
    if any(sighting.destination != seen_as for sighting in sent):
        return (
            f"near sits behind NAT (far sees it as {seen_as}), which was known only when outbound "
            "had been asked: inbound was tried at near's own address, where nobody finds it"
        )
    text = (
        f"near sits behind NAT (far sees it as {seen_as}); tried at that address, a new flow from "
        "far does not get in, as no NAT lets it unless a port is forwarded"
    )
    if told is None or told.icmp is None:
        return text
    what = describe(6 if ":" in told.icmp.sender else 4, told.icmp.type, told.icmp.code)
    return f"{text} ({told.icmp.sender} answered: {what})"


def unplaced(told: Sighting | None, evidence: Evidence) -> str:
    """Inbound-new towards an address that is near's by its own word alone."""
    text = (
        f"it went to {evidence.near_address}, which is near's address by near's own word: no shot "
        "reached far to bear it out, and behind a NAT far would have to use another one"
    )
    if told is None or told.icmp is None:
        return text
    what = describe(6 if ":" in told.icmp.sender else 4, told.icmp.type, told.icmp.code)
    return f"{text} ({told.icmp.sender} answered: {what})"


def overflowed(check: Check, evidence: Evidence) -> str:
    sink = target(check)
    facts = evidence.facts(sink)
    return f"it reached {sink}'s interface; whether a socket got it is not known, because " + (
        f"the report of the {sink} host is missing"
        if facts is None
        else f"{sink}'s sockets overflowed by {facts.socket_dropped} packets"
    )


def host_dropped(check: Check, arrived: int) -> str:
    sink = target(check)
    if is_stream(check):
        return (
            f"{count(arrived)} reached {sink}'s interface and was not answered: {sink}'s own "
            "firewall drops it (INPUT), or drops the answer (OUTPUT), not the network"
        )
    return (
        f"{count(arrived)} reached {sink}'s interface and no socket there: {sink}'s own firewall "
        "(INPUT) drops it, not the network"
    )


def foreign(check: Check, elsewhere: str) -> str:
    """``elsewhere``: the address it answered from, where another had been asked; else ""."""
    name = next((name for start, name in _SERVICES.items() if check.kind.startswith(start)), "")
    own = f"the {origin(check)} host's own"
    whose = f"{own} {name} service" if name else f"{own} service on port {check.source_port}"
    if not elsewhere:
        return f"answered by {whose}"
    return (
        f"answered by {whose}, but from {elsewhere}, which had not been asked: who asks may not "
        "take that for an answer. What passed is our own"
    )


def overtaken(check: Check) -> str:
    return (
        f"it reached {target(check)}'s interface while another program came to port "
        f"{check.destination_port} there: whether a socket got it was not seen. Run it again"
    )


def was_reset(check: Check, request: Track) -> bool:
    """The host that should reply to this TCP request had nothing that took it."""
    answered = (origin(check), Event.LEFT, "syn-ack") in request.stages
    return request.target_refused is not None and not answered


def unanswered(check: Check, delivered: Sequence[Track]) -> str:
    """A TCP reply that is the SYN-ACK alone, though the request was taken; else ""."""
    if check.flow is not Flow.REPLY or not is_stream(check):
        return ""
    here = origin(check)
    mute = [
        track
        for track in delivered
        if (here, Event.DELIVERED, "request") in track.stages
        and (here, Event.LEFT, "answer") not in track.stages
    ]
    if len(mute) < len(delivered):
        return ""
    return (
        f"the connection was made, and the program that holds port {check.source_port} on {here} "
        "took the request and did not answer it: the SYN-ACK is all the reply there was"
    )
