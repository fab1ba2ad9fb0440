"""The manual pages say what the command lines say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from probe.commands import NAMES

PACKAGING = Path(__file__).parents[2] / "packaging"


def pages() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("make_man", PACKAGING / "make_man.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, str] = module.pages()
    return found


@pytest.mark.parametrize("name", ["probe.1", "probe-agent.1"])
def test_they_are_up_to_date(name: str) -> None:
    assert (PACKAGING / "man" / name).read_text() == pages()[name], "run `make man`"


def test_every_command_has_its_section() -> None:
    text = pages()["probe.1"]
    assert all(f".SS probe {name}\n" in text for name in NAMES)
    assert text.count("\n.EX\n") >= len(NAMES)
