"""The real commands at a terminal: what a person sees while they run, and when they are over."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pexpect
import pytest

ROOT = Path(__file__).parents[2]
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
PROBE = [sys.executable, "-m", "probe"]


def at_terminal(*options: str, columns: int = 80, seconds: float = 60.0) -> pexpect.spawn[str]:
    return pexpect.spawn(
        PROBE[0],
        [*PROBE[1:], *options],
        cwd=str(ROOT),
        encoding="utf-8",
        timeout=seconds,
        dimensions=(50, columns),
    )


def shown(text: str | None) -> str:
    """Without what steers the terminal."""
    return ESCAPES.sub("", text or "").replace("\r", "")


def whole(*options: str, columns: int = 80) -> tuple[int, str]:
    """Its exit code and all that it wrote."""
    terminal = at_terminal(*options, columns=columns)
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus is not None, terminal.signalstatus
    return terminal.exitstatus, terminal.before or ""


@pytest.mark.parametrize("columns", [80, 110])
def test_a_run_shows_how_far_it_is_and_then_a_table_that_fits(columns: int) -> None:
    code, raw = whole("lab", "--firewall=esp-missing", columns=columns)
    assert code == 1
    assert "inbound: asking again, to be sure" in shown(raw)
    table = shown(raw[raw.rindex("near 10.77.1.2") :])
    assert max(map(len, table.splitlines())) <= columns
    assert "ESP              IP 50          LOST" in table
    assert "\x1b[1;31mLOST" in raw  # in colour, and in capitals for who sees none
    assert shown(raw).rstrip().splitlines()[-1].startswith("FAIL: 2 of 28 checks failed")


def test_quiet_is_one_line() -> None:
    code, raw = whole("lab", "--firewall=open", "--quiet")
    last = shown(raw[raw.rindex("PASS:") :]).strip()
    assert (code, last) == (0, "PASS: 28 of 28 checks passed (3 of them state-possible).")
    assert "OUTBOUND" not in raw


def test_verbose_tells_the_story_of_the_shots() -> None:
    code, raw = whole("lab", "--firewall=reject", "--verbose", "--only=esp")
    assert code == 1
    words = " ".join(shown(raw).split())
    assert "refused by 10.77.2.1: communication administratively prohibited" in words


def test_an_interrupt_prints_the_table_so_far() -> None:
    terminal = at_terminal("lab", "--firewall=closed", "--timeout=20")
    terminal.expect("inbound: asking")
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert "the run was not finished" in " ".join(shown(terminal.before).split())


def test_a_watch_that_cannot_begin_says_why(tmp_path: Path) -> None:
    key = tmp_path / "key"
    assert whole("keygen", str(key))[0] == 0
    code, raw = whole("watch", "--peer=127.0.0.1", "--port=1", f"--key={key}")
    assert code == 3
    lines = shown(raw[raw.rindex("probe: ") :]).splitlines()
    assert "refuses TCP 1" in " ".join(lines)
    assert "Traceback" not in raw
    assert max(map(len, lines)) <= 80  # folded at a word, not by the terminal


@pytest.mark.parametrize("command", ["run", "trace", "state", "watch"])
def test_a_missing_option_is_told_in_a_screenful(command: str) -> None:
    code, raw = whole(command)
    assert code == 2
    assert "required: --peer" in shown(raw)
    assert max(map(len, shown(raw).splitlines())) <= 80
