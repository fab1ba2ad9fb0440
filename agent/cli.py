"""``probe-agent``: the command line of the far end."""

from __future__ import annotations

import argparse
import errno
import ipaddress
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent import __version__
from agent.arguments import Parser
from agent.errors import AgentError

if TYPE_CHECKING:
    from agent.daemon import Config

EPILOG = """\
examples:
  probe-agent                                listen on TCP 5088, every address
  probe-agent --listen 10.0.0.5 --allow 10.1.0.0/16

The first start writes a key and says where. Copy it to the near host once, then
run there:
  probe run --peer THIS-HOST
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 stopped; 2 the command line or a file is wrong; 3 it cannot work here."""
    options = parser().parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, stream=sys.stderr)
    try:
        try:
            config = _config(options)
        except (AgentError, ValueError) as error:
            print(f"probe-agent: {error}", file=sys.stderr)
            return 2
        return _serve(config)
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
    parser.add_argument("--version", action="version", version=f"probe-agent {__version__}")
    return parser


def _config(options: argparse.Namespace) -> Config:
    from agent.daemon import Config

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
    return Config(_key(options.key), options.listen, options.port, tuple(allow))


def _key(given: str | None) -> bytes:
    """The key; a new one, and what to do with it, when there is none."""
    from agent import keys

    places = keys.candidates(given, os.environ)
    if any(map(keys.is_there, places)):
        path, key = keys.find(given, os.environ)
        _say(f"the key is {path}")
        return key
    path = _new_key_place(places)
    key = keys.create(path)
    _say(
        f"wrote a new key to {path}\n"
        f"  Copy it once to the near host, for example there:\n"
        f"    mkdir -p /etc/probe && scp root@{os.uname().nodename}:{path} {keys.SYSTEM_KEY} && "
        f"chmod 600 {keys.SYSTEM_KEY}\n"
        f"  Then, on the near host:\n"
        f"    probe run --peer {os.uname().nodename}"
    )
    return key


def _new_key_place(places: Sequence[Path]) -> Path:
    """As root the system's place, else one's own."""
    return places[-1] if os.geteuid() == 0 else places[0]


def _serve(config: Config) -> int:
    import asyncio

    try:
        return asyncio.run(_run(config))
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


async def _run(config: Config) -> int:
    import asyncio

    from agent.daemon import Daemon
    from agent.ledger import Ledger, state_directory

    ledger = Ledger(state_directory(os.environ) / "flows.sqlite")
    for trouble in ledger.news():
        print(f"probe-agent: {trouble}", file=sys.stderr)
    daemon = Daemon(config, ledger)
    try:
        server = await daemon.start()
    except OSError as error:
        raise AgentError(_no_listening(config, error)) from error
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    _say(f"{__version__} listens on {_place(config)}")
    async with server:
        await stopping.wait()
        server.close()
        await daemon.stop()
    return 0
