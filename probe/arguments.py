"""Arguments that several commands have, and their types: text in, value out, or words for the one
who typed it.
"""

from __future__ import annotations

import argparse
from collections.abc import Container
from typing import TYPE_CHECKING

from agent.model import CLIENT
from probe.report import FORMS

if TYPE_CHECKING:
    from probe.far.ssh import Ssh

PORT = 5088
DIRECTIONS = ("outbound", "inbound", "both")


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


def host(text: str) -> str:
    """A name or an address; an IPv6 address may stand in brackets, as in a URL."""
    import ipaddress

    name, _, rest = text.rpartition(":")
    if rest.isdecimal() and name and (":" not in name or name.endswith("]")):
        raise argparse.ArgumentTypeError(f"{text}: the port goes into --port {rest}")
    name = text.removeprefix("[").removesuffix("]") if text.startswith("[") else text
    if not name or "/" in name or name.split() != [name]:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a host name nor an address")
    try:
        found = ipaddress.ip_address(name)
    except ValueError:
        return name
    if found.is_multicast or found.is_unspecified:
        raise argparse.ArgumentTypeError(f"{text} is not the address of one host")
    if found.version == 6 and found.is_link_local and not found.scope_id:
        raise argparse.ArgumentTypeError(f"{text}: by which interface? As in {text}%eth0")
    return name


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


def slack(text: str) -> float:
    return number(text, 0.1, 600, "a number of seconds")


def interval(text: str) -> float:
    return number(text, 0.1, 86_400, "a number of seconds")


def rounds(text: str) -> int:
    return int(number(text, 1, 1_000_000, "a number", int))


def listen_at(text: str) -> tuple[str, int]:
    """An address (may be empty) and a port: "9788", "0.0.0.0:9788", "[::1]:9788"."""
    host, _, number = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    return address(host) if host else "", port(number)


def realm(text: str) -> str:
    return _client("realm", text)


def principal(text: str) -> str:
    return _client("principal", text)


def _client(part: str, text: str) -> str:
    from agent.model import Client
    from agent.wire.kerberos import fault

    wrong = fault(Client(**{part: text}))
    if wrong:
        raise argparse.ArgumentTypeError(wrong)
    return text


def platform(text: str) -> str:
    from probe.advise.platforms import UnknownPlatform, load

    try:
        load(text)
    except UnknownPlatform as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def hops(text: str) -> int:
    return int(number(text, 1, 64, "a number", int))


def command(text: str) -> tuple[str, ...]:
    import shlex

    try:
        return tuple(shlex.split(text)) or ("ssh",)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


def add_peer(parser: argparse.ArgumentParser) -> None:
    """The far host, and how to talk to its agent."""
    add_host(parser)
    add = parser.add_argument
    add("--port", type=port, default=PORT, help=f"the agent's port (default: {PORT})")
    add(
        "--control",
        choices=("auto", "tcp", "inband", "ssh"),
        help="how to talk to the agent: by TCP, in packets of the tested kinds, or (auto, the "
        "default) the second where the first fails; ssh starts one there for the time of the run",
    )
    add("--ssh", metavar="DEST", help="--control ssh, and where ssh goes (default: root@HOST)")
    add(
        "--ssh-file",
        metavar="FILE",
        help="--control ssh, and what it copies there (default: what make dist makes)",
    )
    add(
        "--ssh-command",
        type=command,
        metavar="CMD",
        help="--control ssh, and the ssh to use, with options, as in 'ssh -F FILE' (default: ssh)",
    )
    add(
        "--code",
        nargs="?",
        const="-",
        metavar="CODE",
        help="pair with the far host first, by the code that `probe-agent --pair` shows there; "
        "without CODE it is asked for (typed in full, others may see it: it is of no use twice)",
    )


def add_host(parser: argparse.ArgumentParser) -> None:
    """The far host, and the key that it has as well."""
    add = parser.add_argument
    add("--peer", required=True, type=host, metavar="HOST", help="the far host")
    add("--key", metavar="FILE", help="the key (default: that of the host, else the shared one)")
    add("-4", dest="family", action="store_const", const=4, help="IPv4 only")
    add("-6", dest="family", action="store_const", const=6, help="IPv6 only")


def ssh(options: argparse.Namespace) -> Ssh:
    """How the agent is started with ``--control ssh``."""
    from pathlib import Path

    from probe.far.ssh import Ssh

    file = Path(options.ssh_file) if options.ssh_file else None
    return Ssh(options.ssh or "", file, options.ssh_command or ("ssh",))


def settle(options: argparse.Namespace) -> str:
    """Whose options say how ssh goes wants ssh. Returns what is wrong with that, or ""."""
    if not hasattr(options, "ssh_command"):
        return ""
    asked = [
        f"--{name.replace('_', '-')}"
        for name in ("ssh", "ssh_file", "ssh_command")
        if getattr(options, name) is not None
    ]
    options.control = options.control or ("ssh" if asked else "auto")
    if options.control != "ssh":
        return f"{asked[0]} is for --control ssh, not {options.control}" if asked else ""
    if options.code is not None:
        return "--code: the agent that ssh starts needs no key; leave it out"
    if options.port != PORT:
        return (
            f"--port {options.port} is the agent's, and one that ssh starts has none. Ssh's own: "
            f"--ssh-command 'ssh -p {options.port}', or Port in ~/.ssh/config"
        )
    return ""


def add_reports(parser: argparse.ArgumentParser, without: Container[str] = ()) -> None:
    """The files that a result can be written to."""
    for form, help in FORMS.items():
        if form in without:
            continue
        parser.add_argument(
            f"--{form}", metavar="FILE|-", help=f"{help}; for - the table goes to stderr"
        )


def add_advice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--advise",
        type=platform,
        metavar="PLATFORM",
        help="end with the rules that are missing, for this firewall (`probe advise --list`)",
    )


def places(options: argparse.Namespace) -> dict[str, str]:
    """Form → the file that it is to be written to, or "-"."""
    found = {form: getattr(options, form, None) for form in FORMS}
    return {form: place for form, place in found.items() if place is not None}


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    """How much of a result is printed."""
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "-v", "--verbose", action="store_true", help="show what was seen of each shot"
    )
    either.add_argument("-q", "--quiet", action="store_true", help="print the summary line only")


def add_test(parser: argparse.ArgumentParser) -> None:
    """What to send, and what to make of it."""
    add = parser.add_argument
    add("--scenario", default="kb233256", metavar="NAME|FILE", help="default: kb233256")
    add("--only", type=kinds, default=(), metavar="KIND,…", help="only these kinds")
    add("--direction", choices=DIRECTIONS, default="both", help="of the new flows (default: both)")
    add_verbosity(parser)
    add("--strict", action="store_true", help="what state may have let through is a failure")
    add(
        "--state-timeout",
        type=state_timeout,
        default=600.0,
        metavar="S",
        help="how long a firewall may remember a flow (default: 600)",
    )
    add(
        "--fresh",
        choices=("wait", "address"),
        help="a clean tuple for ESP, AH and IKE: wait until firewalls have forgotten, or take a "
        "temporary IPv6 address",
    )
    add(
        "--alias",
        metavar="ADDR",
        type=address,
        help="the same by a further address of this host",
    )
    add("--timeout", type=wait, default=1.0, metavar="S", help="silence counts after S seconds")
    add("--sizes", action="store_true", help="also send what is large in real life, in fragments")
    add("--inspect", action="store_true", help="also send noise: does something read the payload?")
    add("--shots", type=shots, default=3, metavar="N", help="packets of each check (default: 3)")
    add(
        "--realm",
        type=realm,
        default=CLIENT.realm,
        metavar="REALM",
        help="of the Kerberos requests (default: one that cannot exist)",
    )
    add(
        "--principal",
        type=principal,
        default=CLIENT.principal,
        metavar="NAME",
        help=f"the user they ask for; no password is sent (default: {CLIENT.principal})",
    )


def passed_on(options: argparse.Namespace) -> list[str]:
    """The options of :func:`add_test` and :func:`add_reports`, but for the scenario, as typed."""
    passed = [
        f"--direction={options.direction}",
        f"--state-timeout={options.state_timeout}",
        f"--timeout={options.timeout}",
        f"--shots={options.shots}",
        f"--realm={options.realm}",
        f"--principal={options.principal}",
    ]
    if options.only:
        passed.append(f"--only={','.join(options.only)}")
    if options.fresh:
        passed.append(f"--fresh={options.fresh}")
    if options.alias:
        passed.append(f"--alias={options.alias}")
    if getattr(options, "advise", None):
        passed.append(f"--advise={options.advise}")
    passed += [
        f"--{flag}"
        for flag in ("verbose", "quiet", "strict", "sizes", "inspect")
        if getattr(options, flag)
    ]
    return passed + [f"--{form}={place}" for form, place in places(options).items()]
