"""What a station takes from the other end: only orders that make sense, in bounded numbers.

Whoever holds the key may ask, and may be of a version that counts differently or simply broken. An
order that cannot be carried out is refused in words, before any of it is done.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable, Mapping, Sequence

from agent import __version__
from agent.control import Open
from agent.errors import AgentError
from agent.model import Check, Flow, Late, PortUse, Volley
from agent.wire import codec, is_kind, kerberos

SECRET = 32  # octets
MAX_CHECKS = 1000
MAX_NUMBER = 65_535  # a tag has 16 bits for the check and 16 for the shot
MAX_SHOTS = 10_000  # in one order
MAX_GAP = 60.0  # seconds
MAX_TTL = 255
MAX_ADDRESSES = 8  # that NATs may give one host in one run


class BadOrder(AgentError):
    """An order that is refused. The text names what is wrong with it."""


def check_open(order: Open) -> None:
    """BadOrder unless a run can be opened like this."""
    if len(order.secret) != SECRET:
        raise BadOrder(f"a run's secret has {SECRET} octets")
    if not 0 < len(order.checks) <= MAX_CHECKS:
        raise BadOrder(f"a run has 1 to {MAX_CHECKS} checks")
    if order.asked is not None and not all(
        math.isfinite(most) and most > 0
        for most in (order.asked.shots, order.asked.octets, order.asked.seconds)
    ):
        raise BadOrder("limits are numbers above 0")
    if not math.isfinite(order.state_timeout):
        raise BadOrder("a state timeout is a number of seconds")
    wrong_client = kerberos.fault(order.client)
    if wrong_client:
        raise BadOrder(wrong_client)
    families = {_version(order.local), _version(order.peer)}
    checks = {check.number: check for check in order.checks}
    if len(checks) != len(order.checks):
        raise BadOrder("two checks have the same number")
    for check in order.checks:
        fault = _fault(check, checks)
        if fault or families != {check.family}:
            raise BadOrder(
                f"check {check.number}: {fault or 'of another family than the addresses'}"
            )


def check_volleys(
    checks: Mapping[int, Check], ours: Iterable[Check], volleys: Sequence[Volley]
) -> None:
    """BadOrder unless each volley asks for shots that this end may send."""
    mine = {check.number for check in ours if check.flow is Flow.NEW}
    for volley in volleys:
        if volley.check not in checks:
            raise BadOrder(f"there is no check {volley.check}")
        if volley.check not in mine:
            raise BadOrder(f"the shots of check {volley.check} are not this end's to begin")
        if volley.first < 1 or volley.count < 1 or volley.first + volley.count - 1 > MAX_NUMBER:
            raise BadOrder(f"check {volley.check}: shots are numbered from 1 to {MAX_NUMBER}")
        if volley.ttl is not None and not 1 <= volley.ttl <= MAX_TTL:
            raise BadOrder(f"check {volley.check}: a TTL is a number from 1 to {MAX_TTL}")
    if sum(volley.count for volley in volleys) > MAX_SHOTS:
        raise BadOrder(f"more than {MAX_SHOTS} shots at once")


def check_late(checks: Mapping[int, Check], ours: Iterable[Check], late: Late) -> None:
    """BadOrder unless this end can answer that request with those shots."""
    request, reply = checks.get(late.request.check), checks.get(late.check)
    mine = {check.number for check in ours}
    if reply is None or reply.flow is not Flow.REPLY or reply.number not in mine:
        raise BadOrder(f"there is no check {late.check} whose replies are this end's to send")
    if request is None or request.flow is not Flow.NEW or request.number in mine:
        raise BadOrder(f"check {late.request.check} asks nothing that this end could answer")
    kind = codec(reply.kind)
    if request.kind != reply.kind or kind.stream or kind.answered_by_kernel or not kind.tagged:
        raise BadOrder(f"check {late.check}: {reply.kind} cannot be answered late")
    if late.cold and kind.port is not None and request.source_port is None:
        raise BadOrder(f"check {request.number} has no fixed source port to answer to")
    if not 1 <= late.request.shot <= MAX_NUMBER or not 1 <= late.count <= MAX_SHOTS:
        raise BadOrder(f"check {late.check}: 1 to {MAX_SHOTS} shots at once")
    if late.first < 1 or late.first + late.count - 1 > MAX_NUMBER:
        raise BadOrder(f"check {late.check}: shots are numbered from 1 to {MAX_NUMBER}")


def check_gap(gap: float) -> None:
    """BadOrder unless shots can be that many seconds apart."""
    if not 0 <= gap <= MAX_GAP:
        raise BadOrder(f"shots are 0 to {MAX_GAP:g} seconds apart")


def check_ports(checks: Mapping[int, Check], ports: Iterable[PortUse]) -> None:
    """BadOrder unless each port belongs to a check of the run."""
    for use in ports:
        if use.check not in checks:
            raise BadOrder(f"there is no check {use.check}")
        if not (0 < use.port <= 65_535 and 0 < use.shot <= MAX_NUMBER):
            raise BadOrder(f"check {use.check}: no shot can leave from port {use.port}")


def check_addresses(family: int, addresses: Iterable[str], known: Iterable[str]) -> None:
    """BadOrder unless a NAT can have given all these, beside those ``known``, to one host."""
    for text in addresses:
        if _version(text) != family or _address(text).is_multicast:
            raise BadOrder(f"no shot of this run can come from {text}")
    if len({*addresses, *known}) > MAX_ADDRESSES:
        raise BadOrder(f"no host has more than {MAX_ADDRESSES} addresses more in one run")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        raise BadOrder(f"{text!r} is not an IP address") from None


def _version(address: str) -> int:
    return _address(address).version


def _fault(check: Check, checks: Mapping[int, Check]) -> str:
    if not 0 <= check.number <= MAX_NUMBER:
        return f"checks are numbered from 0 to {MAX_NUMBER}"
    for port in (check.source_port, check.destination_port):
        if port is not None and not 0 < port <= 65_535:
            return f"{port} is no port"
    if check.size is not None and not 0 < check.size <= 65_535:
        return f"no packet has {check.size} octets"
    if not is_kind(check.kind):
        return f"there is no kind {check.kind!r} in version {__version__}"
    service = check.destination_port if check.flow is Flow.NEW else check.source_port
    if service != codec(check.kind).port:
        return f"{check.kind} has another port than {service}"
    if check.partner is None:
        return ""
    partner = checks.get(check.partner)
    if partner is None or partner.partner != check.number:
        return "its partner does not know it"
    if partner.kind != check.kind or partner.direction is check.direction:
        return "its partner is no reply to it"
    if partner.flow is check.flow:
        return "a request and its reply are partners, nothing else"
    return ""
