"""The packets that scapy built once (``make_templates``), and where their variable fields lie."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("templates.json")
__loader__: Any  # of this module: it also reads what lies beside it, in an archive as on a disk


@dataclass(frozen=True, slots=True)
class Template:
    """``fields``: name → offset into ``data``. What stands there is a place holder."""

    data: bytes
    fields: dict[str, int]


@cache
def templates() -> dict[str, Template]:
    """Every template by name: both messages of ike and of ike-v1, as-req, krb-error."""
    return {
        name: Template(bytes.fromhex("".join(entry["hex"])), entry["fields"])
        for name, entry in json.loads(__loader__.get_data(str(FILE))).items()
    }
