"""Wireshark's word on a capture file."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

WARNING = 0x00600000  # of its expert severities; an error is above it
ERROR = 0x00800000
GUESSED = ("thrift",)  # from the first octets of any datagram, as which ours are random
CHECKS = ("ip.check_checksum", "udp.check_checksum", "tcp.check_checksum")  # off by default


def read(
    file: Path, fields: Sequence[str], wanted: str = "", *, sums: bool = False
) -> list[list[str]]:
    """``fields`` of the packets that the display filter ``wanted`` finds.

    ``sums``: checksums of IP, UDP and TCP are held against the packet, a wrong one being an error.
    """
    argv = ["tshark", "-n", "-r", str(file), "-T", "fields", "-E", "separator=|"]
    argv += [argument for check in CHECKS for argument in ("-o", f"{check}:{sums}")]
    argv += [argument for guess in GUESSED for argument in ("--disable-protocol", guess)]
    argv += ["-Y", wanted] if wanted else []
    argv += [argument for field in fields for argument in ("-e", field)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return [line.split("|") for line in done.stdout.splitlines()]


def worst(severities: str) -> int:
    """The gravest of a packet's expert severities, 0 for none."""
    return max((int(severity) for severity in severities.split(",") if severity), default=0)
