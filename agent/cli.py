"""``probe-agent``: the command line of the far end."""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from agent import __version__, settings
from agent.errors import AgentError
from agent.log import journal

if TYPE_CHECKING:
    from agent.access.keyring import KeyFiles, Keyring, NamedKey
    from agent.config import Config
    from agent.linux.keeper import Hands
    from agent.linux.privileges import User

NOT_RUNNING = 3
MOST = 1e12

LIMITS = (
    ("shots", float, 2000.0, "shots a second, replies included"),
    ("octets", float, 4_000_000.0, "octets a second, of whole IP packets"),
    ("seconds", float, 3600.0, "seconds until it is ended"),
    ("sessions", int, 16, "sessions at once"),
)
EPILOG = """\
examples:
  probe-agent                                listen on TCP 5088, every address
  probe-agent --listen 10.0.0.5 --allow 10.1.0.0/16
  probe-agent --pair                         let one more operator in, by a code

With --pair, run on the near host what it says, once; both hosts then hold a key
for next time. Without, the first start writes a key and says where. Copy it to
the near host once, then run there:
  probe run --peer THIS-HOST
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 stopped; 2 the command line or a file is wrong; 3 it cannot work here.

    With ``--status``: 0 it runs, 3 it does not.
    """
    with ExitStack() as stack:
        try:
            options = settings.parse(parser(), arguments)
            journal.begin(sys.stderr, as_json=options.log == "json")
            if options.status:
                return _status(options)
            if options.record is not None:
                return _record(options, stack)
            from agent.access import keyring
            from agent.linux import keeper, privileges

            if options.stdio:
                return _stdio(options, stack)
            files = keyring.find_files(options.key, options.keys, os.environ)
            user = privileges.user(options.user)
            keep = keep_once(files.directory, options.pair)
            hands = keeper.Hands((lambda _: files.load(), keeper.open_tracking, keep))
            if user is not None:  # before the imports that it has no use for
                writer = privileges.ROOT if options.pair is not None else user
                hands = keeper.Keeper(writer, hands)
                stack.callback(hands.close)
            config = _config(options, files)
        except settings.SettingsError as error:
            return _fail(2, error)
        except (AgentError, ValueError) as error:
            return _fail(2, settings.placed(error, options, arguments))
        except KeyboardInterrupt:
            return 0
        try:
            from agent.serve import serve

            return serve(config, user, hands, files, options.pair is not None, _say)
        except AgentError as error:
            return _fail(3, error)
        except KeyboardInterrupt:
            return 0


def _stdio(options: argparse.Namespace, stack: ExitStack) -> int:
    user, hands = _helped(options, stack)
    config = _config(options, None)
    from agent.stdio import serve

    try:
        return serve(config, user, hands, options.stdio)
    except AgentError as error:
        return _fail(3, error)


def _helped(options: argparse.Namespace, stack: ExitStack) -> tuple[User | None, Hands]:
    """(whom to become, who then reads the connection tracking); NoSuchUser."""
    from agent.linux import keeper, privileges

    user = privileges.user(options.user)
    # At the places of KEYS and TRACKING; no key is read again.
    hands = keeper.Hands((lambda _: None, keeper.open_tracking))
    if user is not None:
        hands = keeper.Keeper(user, hands)
        stack.callback(hands.close)
    return user, hands


def keep_once(directory: Path, pair: str | None) -> Callable[[bytes], NamedKey]:
    """What keeps the one key of a pairing (32 octets and what its holder is called).

    ``pair``: as ``--pair`` has it. Root may do this for the agent, and whoever has taken the agent
    over could ask as well: so no second key, and none without a pairing. KeyFileError for those.
    """
    asked = pair is None

    def keep(named_key: bytes) -> NamedKey:
        nonlocal asked
        from agent.access import invite
        from agent.errors import KeyFileError
        from agent.linux.keeper import KEY

        if asked:
            raise KeyFileError("one key is kept for each start with --pair, and no other")
        asked = True
        name = pair or named_key[KEY:].decode()
        return invite.keep(directory, name, named_key[:KEY], replace=bool(pair))

    return keep


def _fail(code: int, error: Exception | str) -> int:
    print(f"probe-agent: {error}", file=sys.stderr)
    return code


def _status(options: argparse.Namespace) -> int:
    from agent.ledger import state_directory
    from agent.log import status

    try:
        found = status.ask(status.place(state_directory(os.environ), options.port))
    except AgentError as error:
        return _fail(NOT_RUNNING, error)
    _say(json.dumps(found) if options.json else status.render(found), name="")
    return 0


def _record(options: argparse.Namespace, stack: ExitStack) -> int:
    """Far's half of a run without contact. Exit codes: 0 recorded, 2 wrong, 3 not to the end."""
    import asyncio

    try:
        user, hands = _helped(options, stack)
        from agent.record import command as recording

        wanted = recording.wanted(options)
    except (AgentError, ValueError) as error:
        return _fail(2, error)
    try:
        return 0 if asyncio.run(recording.record(wanted, user, hands, _say)) else 3
    except AgentError as error:
        return _fail(3, error)


def _say(text: str, name: str = "probe-agent: ") -> None:
    """To whoever still reads it: an agent whose output was closed serves on."""
    try:
        print(f"{name}{text}", flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parser() -> settings.Parser:
    parser = settings.Parser(
        prog="probe-agent",
        description="The far end of the firewall test: answers what `probe run` asks, and sends "
        "test packets back to the host that asked, to no other.",
        epilog=EPILOG,
    )
    parser.add_argument("--listen", metavar="ADDR", help="address to listen on (default: every)")
    parser.add_argument("--port", type=int, default=5088, help="control port (default: 5088)")
    parser.add_argument("--key", metavar="FILE", help="the shared key; written when it is missing")
    parser.add_argument(
        "--allow",
        metavar="CIDR",
        action="append",
        default=[],
        help="who may use it (may be given again; default: whoever holds the key)",
    )
    parser.add_argument(
        "--keys",
        metavar="DIR",
        help="one key file for each operator, named after them (default: keys.d beside the key)",
    )
    parser.add_argument(
        "--pair",
        nargs="?",
        const="",
        metavar="NAME",
        help="show a code with which one operator can make a key, once and within ten minutes; "
        "kept under NAME in place of the key that was there (default: what they call themselves)",
    )
    parser.add_argument(
        "--user",
        metavar="NAME",
        help="whom root becomes once the sockets are open (default: probe-agent where this host "
        "has such a user, else nobody; root to stay root)",
    )
    parser.add_argument(
        "--log",
        choices=("text", "json"),
        default="text",
        help="the log's form, on standard error (default: text, key=value)",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=f"options from a TOML file (default: {settings.DEFAULT}, where it exists)",
    )
    parser.add_argument(
        "--status",
        action="store_true",
        help="what a running agent does (that of --port); exit code 0 it runs, 3 it does not",
    )
    parser.add_argument("--json", action="store_true", help="with --status: as one JSON object")
    limits = parser.add_argument_group("limits, for each session")
    for name, kind, default, help_ in LIMITS:
        limits.add_argument(
            f"--max-{name}", type=kind, default=default, metavar="N", help=f"{help_} ({default:g})"
        )
    parser.add_argument(
        "--no-inband",
        dest="inband",
        action="store_false",
        help="answer on the control port alone, never to messages that ride in ESP, IKE or ping",
    )
    alone = parser.add_argument_group(
        "without contact", "as `probe record` on the near host says: see its --help"
    )
    alone.add_argument("--record", metavar="FILE", help="record a run, write it here, and end")
    alone.add_argument("--at", metavar="TIME", help="when it begins: 2026-01-31T18:30:00Z")
    alone.add_argument("--peer", metavar="ADDR", help="the near host's address")
    alone.add_argument("--ask", metavar="KINDS", help="what is asked (default: the KB's list)")
    alone.add_argument("--shots", type=int, default=16, metavar="N", help="of each check (16)")
    alone.add_argument("--slack", type=float, default=5.0, metavar="S", help="between clocks (5)")
    alone.add_argument("--run", metavar="ID", help="which run, of several at the same hour")
    alone.add_argument("--key-id", metavar="ID", help="which key of several near has")
    # `probe run --control ssh` starts it so; N: seconds without a word after which it ends
    parser.add_argument("--stdio", type=float, metavar="N", help=argparse.SUPPRESS)
    parser.add_argument("--version", action="version", version=f"probe-agent {__version__}")
    return parser


def _config(options: argparse.Namespace, files: KeyFiles | None) -> Config:
    """``files``: where the keys are; None where none is needed."""
    from agent.access import keyring
    from agent.config import Config
    from agent.model import Limits

    if not 0 < options.port < 65_536:
        raise ValueError(f"--port {options.port}: a port is a number from 1 to 65535")
    if options.listen is not None:
        try:
            ipaddress.ip_address(options.listen.partition("%")[0])
        except ValueError:
            raise ValueError(f"--listen {options.listen}: not an IP address") from None
    allow = []
    for text in options.allow:
        try:
            allow.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            raise ValueError(f"--allow {text}: not an address or a network (10.1.0.0/16)") from None
    for name, *_ in LIMITS:
        value = getattr(options, f"max_{name}")
        if not 0 < value < MOST:
            raise ValueError(f"--max-{name} {value:g}: a number above 0")
    if options.pair:
        keyring.check_name(options.pair, "--pair ")
    return Config(
        _ring(files, pairing=options.pair is not None) if files else keyring.Keyring(()),
        options.listen,
        options.port,
        tuple(allow),
        Limits(options.max_shots, options.max_octets, options.max_seconds),
        options.max_sessions,
        options.inband,
    )


def _ring(files: KeyFiles, *, pairing: bool) -> Keyring:
    """The keys; a new one, and what to do with it, when there is none and none is to be made."""
    from agent.access import keys
    from agent.access.keyring import SHARED, Keyring, NamedKey

    ring = files.load()
    if any(key.name == SHARED for key in ring):
        _say(f"the key is {files.file}")
    operators = sorted({key.name for key in ring} - {SHARED})
    if operators:
        _say(f"operators with a key in {files.directory}: {', '.join(operators)}")
    if len(ring) or pairing:
        return ring
    key = keys.create(files.file)
    host = os.uname().nodename
    _say(
        f"wrote a new key to {files.file}\n"
        f"  Copy it once to the near host, for example there:\n"
        f"    mkdir -p /etc/probe && scp root@{host}:{files.file} {keys.SYSTEM_KEY} && "
        f"chmod 600 {keys.SYSTEM_KEY}\n"
        f"  Then, on the near host:\n"
        f"    probe run --peer {host}\n"
        f"  (Or start it with --pair, and copy nothing.)"
    )
    return Keyring((NamedKey(SHARED, key),))
