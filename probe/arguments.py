"""Types of arguments: text in, value out, or words for the one who typed it."""

from __future__ import annotations

import argparse


def number(
    text: str, low: float, high: float, what: str, kind: type[float] | type[int] = float
) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = -1
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text}: {what} from {low:g} to {high:.8g}")
    return value


def address(text: str) -> str:
    import ipaddress

    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not an IP address") from None


def port(text: str) -> int:
    return int(number(text, 1, 65_535, "a port is a number", int))


def wait(text: str) -> float:
    return number(text, 0.01, 60, "a number of seconds")


def state_timeout(text: str) -> float:
    return number(text, 0, 604_800, "a number of seconds")


def silence(text: str) -> float:
    return number(text, 1, 86_400, "a number of seconds")


def shots(text: str) -> int:
    return int(number(text, 1, 50, "a number", int))


def kinds(text: str) -> tuple[str, ...]:
    from agent.errors import AgentError
    from agent.wire import codec

    kinds = tuple(kind.strip() for kind in text.split(",") if kind.strip())
    if not kinds:
        raise argparse.ArgumentTypeError("name at least one kind, as in --only esp,ike")
    for kind in kinds:
        try:
            codec(kind)
        except AgentError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return kinds


def kind(text: str) -> str:
    found = kinds(text)
    if len(found) > 1:
        raise argparse.ArgumentTypeError(f"{text}: one kind at a time")
    return found[0]


def hops(text: str) -> int:
    return int(number(text, 1, 64, "a number", int))


def add_peer(parser: argparse.ArgumentParser) -> None:
    """The far host, and how to talk to its agent."""
    add = parser.add_argument
    add("--peer", required=True, metavar="HOST", help="the far host")
    add("--port", type=port, default=5088, help="the agent's port (default: 5088)")
    add("--key", metavar="FILE", help="the shared key (default: as `keygen`)")
    add("-4", dest="family", action="store_const", const=4, help="IPv4 only")
    add("-6", dest="family", action="store_const", const=6, help="IPv6 only")
