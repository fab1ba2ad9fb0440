"""``probe-agent``: the command line of the far end."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent import __version__
from agent.errors import AgentError, KeyFileError

if TYPE_CHECKING:
    from agent.daemon import Config

EPILOG = """\
examples:
  probe-agent                                listen on TCP 5088, every address
  probe-agent --listen 10.0.0.5 --allow 10.1.0.0/16

The first start writes a key and says where. Copy it to the near host once, then run there:
  probe run --peer THIS-HOST
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 stopped; 2 the command line or a file is wrong; 3 it cannot work here."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, stream=sys.stderr)
    try:
        config = _config(options)
    except (AgentError, ValueError) as error:
        print(f"probe-agent: {error}", file=sys.stderr)
        return 2
    return _serve(config)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="probe-agent",
        description="The far end of the firewall test: answers what `probe run` asks, and sends "
        "test packets back to the host that asked, to no other.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
    if any(place.exists() for place in places):
        path, key = keys.find(given, os.environ)
        print(f"probe-agent: the key is {path}", flush=True)
        return key
    path = _new_key_place(places)
    key = keys.create(path)
    print(
        f"probe-agent: wrote a new key to {path}\n"
        f"  Copy it once to the near host, for example there:\n"
        f"    mkdir -p /etc/probe && scp root@{os.uname().nodename}:{path} {keys.SYSTEM_KEY} && "
        f"chmod 600 {keys.SYSTEM_KEY}\n"
        f"  Then, on the near host:\n"
        f"    probe run --peer {os.uname().nodename}",
        flush=True,
    )
    return key


def _new_key_place(places: Sequence[Path]) -> Path:
    """As root the system's place, else one's own."""
    return places[-1] if os.geteuid() == 0 else places[0]


def _serve(config: Config) -> int:
    import asyncio

    try:
        return asyncio.run(_run(config))
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        where = f"{config.listen or 'every address'}, TCP {config.port}"
        print(
            f"probe-agent: cannot listen on {where}: {error.strerror or error}. Is an agent "
            "running already? Else choose another --port (and the same for `probe run`)",
            file=sys.stderr,
        )
        return 3
    except (AgentError, KeyFileError) as error:
        print(f"probe-agent: {error}", file=sys.stderr)
        return 3


async def _run(config: Config) -> int:
    import asyncio

    from agent.daemon import Daemon
    from agent.ledger import Ledger, state_directory
    from agent.linux.capture import Capture
    from agent.station import PRIVILEGE

    try:
        Capture().close()
    except PermissionError:
        raise AgentError(PRIVILEGE.format(side="far")) from None
    ledger = Ledger(state_directory(os.environ) / "flows.sqlite")
    for trouble in ledger.troubles:
        print(f"probe-agent: {trouble}", file=sys.stderr)
    daemon = Daemon(config, ledger)
    server = await daemon.start()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    print(
        f"probe-agent: {__version__} listens on {config.listen or 'every address'}, "
        f"TCP {config.port}",
        flush=True,
    )
    async with server:
        await stopping.wait()
        server.close()
        await daemon.stop()
    return 0
