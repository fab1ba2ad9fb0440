"""The manual pages, as man shows them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

MAN = Path(__file__).parents[2] / "packaging" / "man"


@pytest.mark.parametrize("name", ["probe.1", "probe-agent.1"])
def test_man_shows_it_without_a_warning(name: str) -> None:
    argv = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", str(MAN / name)]
    env = {**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "MAN_KEEP_FORMATTING": ""}
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=env)
    assert done.stderr == ""
    plain = re.sub(r".\x08", "", done.stdout)  # bold is a letter over itself
    assert "EXIT STATUS" in plain
    assert max(map(len, plain.splitlines())) <= 80 + 7  # examples stand as they are, indented
