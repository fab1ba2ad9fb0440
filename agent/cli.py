"""``probe-agent``: the command line of the far end."""

from __future__ import annotations

import argparse
import errno
import ipaddress
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent import __version__
from agent.arguments import Parser
from agent.errors import AgentError

if TYPE_CHECKING:
    from agent.daemon import Config, Daemon
    from agent.keyring import KeyFiles, Keyring, NamedKey

USELESS = 3  # the exit code of an agent that stops because it cannot work
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
    """Exit codes: 0 stopped; 2 the command line or a file is wrong; 3 it cannot work here."""
    options = parser().parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, stream=sys.stderr)
    try:
        try:
            from agent import keyring

            files = keyring.find_files(options.key, options.keys, os.environ)
            config = _config(options, files)
        except (AgentError, ValueError) as error:
            print(f"probe-agent: {error}", file=sys.stderr)
            return 2
        return _serve(config, _Pairing(files, options.pair))
    except KeyboardInterrupt:
        return 0


def _say(text: str) -> None:
    """To whoever still reads it: an agent whose output was closed serves on."""
    try:
        print(f"probe-agent: {text}", flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parser() -> argparse.ArgumentParser:
    parser = Parser(
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
    parser.add_argument("--version", action="version", version=f"probe-agent {__version__}")
    return parser


def _config(options: argparse.Namespace, files: KeyFiles) -> Config:
    from agent import keyring
    from agent.daemon import Config
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
        _ring(files, pairing=options.pair is not None),
        options.listen,
        options.port,
        tuple(allow),
        Limits(options.max_shots, options.max_octets, options.max_seconds),
        options.max_sessions,
        options.inband,
    )


def _ring(files: KeyFiles, *, pairing: bool) -> Keyring:
    """The keys; a new one, and what to do with it, when there is none and none is to be made."""
    from agent import keys
    from agent.keyring import SHARED, Keyring, NamedKey

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


def _serve(config: Config, pairing: _Pairing) -> int:
    import asyncio

    try:
        return asyncio.run(_run(config, pairing))
    except AgentError as error:
        print(f"probe-agent: {error}", file=sys.stderr)
        return 3


def _place(config: Config) -> str:
    return f"{config.listen or 'every address'}, TCP {config.port}"


def _no_listening(config: Config, error: OSError) -> str:
    """Why not, and what to do."""
    # asyncio wraps the system's own words in a sentence of its own
    why = os.strerror(error.errno) if error.errno else str(error)
    advice = {
        errno.EADDRINUSE: "Is an agent running already? Else choose another --port (and the same "
        "for `probe run`)",
        errno.EADDRNOTAVAIL: "No interface of this host has that address: look at `ip address`, "
        "or leave --listen out",
        errno.EACCES: "A port below 1024 takes root or CAP_NET_BIND_SERVICE: choose another --port",
    }.get(error.errno or 0, "Look at --listen and --port")
    return f"cannot listen on {_place(config)}: {why}. {advice}"


async def _run(config: Config, pairing: _Pairing) -> int:
    import asyncio

    from agent.daemon import Daemon
    from agent.ledger import Ledger, state_directory

    ledger = Ledger(state_directory(os.environ) / "flows.sqlite")
    for trouble in ledger.news():
        print(f"probe-agent: {trouble}", file=sys.stderr)
    daemon = Daemon(config, ledger)
    try:
        await daemon.start()
    except OSError as error:
        raise AgentError(_no_listening(config, error)) from error
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, _reread, daemon, pairing.files)
    _say(f"{__version__} listens on {_place(config)}")
    useless = False

    def give_up() -> None:
        nonlocal useless
        useless = True
        stopping.set()

    pairing.begin(daemon, config, give_up)
    await stopping.wait()
    await daemon.stop()
    return USELESS if useless else 0


def _reread(daemon: Daemon, files: KeyFiles) -> None:
    """What cannot be used leaves the old keys in force: a slip shall lock nobody out."""
    try:
        daemon.take(files.load())
    except AgentError as error:
        print(f"probe-agent: the keys stay as they were: {error}", file=sys.stderr)
    else:
        _say(f"read the keys again: {len(daemon.ring)}")


@dataclass(frozen=True, slots=True)
class _Pairing:
    """``name``: as --pair has it, "" for whatever they call themselves, None for no pairing."""

    files: KeyFiles
    name: str | None

    def begin(self, daemon: Daemon, config: Config, stop: Callable[[], None]) -> None:
        if self.name is None:
            return

        def over() -> None:
            if not len(daemon.ring):  # nobody could ever come in
                stop()

        from agent.pairing import LIFETIME

        code = daemon.invite(self._keep, _say, over)
        port = f" --port {config.port}" if config.port != 5088 else ""
        host = config.listen or os.uname().nodename
        _say(
            f"pairing code: {code} (for one use, within {LIFETIME / 60:g} minutes)\n"
            f"  On the near host:\n"
            f"    probe run --peer {host}{port} --code {code}"
        )

    def _keep(self, theirs: str, key: bytes) -> NamedKey:
        from agent import invite

        directory = self.files.directory
        kept = invite.keep(directory, self.name or theirs, key, replace=bool(self.name))
        _say(f"the key of {kept.name} is {directory / kept.name}")
        return kept
