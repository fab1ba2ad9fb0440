"""Where results go: what may be written where is known before the run."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path

import pytest

from probe.output import NoPlace, append, check_places, uninterrupted, wants_colour, write


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_who_wants_colour() -> None:
    assert wants_colour(Terminal(), {})
    assert wants_colour(Terminal(), {"NO_COLOR": "", "TERM": "xterm"})
    assert not wants_colour(Terminal(), {"NO_COLOR": "1"})
    assert not wants_colour(Terminal(), {"TERM": "dumb"})
    assert not wants_colour(io.StringIO(), {})


def test_only_one_form_has_standard_output(tmp_path: Path) -> None:
    check_places({"json": "-", "csv": str(tmp_path / "a.csv")})
    with pytest.raises(NoPlace, match="--json - and --csv -: only one of them"):
        check_places({"json": "-", "csv": "-"})


def test_a_place_that_cannot_be_names_its_option(tmp_path: Path) -> None:
    with pytest.raises(NoPlace, match=r"--csv .*: it is a directory"):
        check_places({"csv": str(tmp_path)})
    with pytest.raises(NoPlace, match=r"--json .*: there is no directory"):
        check_places({"json": str(tmp_path / "none" / "a.json")})


def test_text_ends_with_a_newline_and_octets_stay_as_they_are(tmp_path: Path) -> None:
    assert write(str(tmp_path / "text"), "Größe")
    assert write(str(tmp_path / "octets"), b"\x00\xff")
    assert (tmp_path / "text").read_bytes() == "Größe\n".encode()
    assert (tmp_path / "octets").read_bytes() == b"\x00\xff"


def test_what_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not write(str(tmp_path), "text")
    assert "cannot write" in capsys.readouterr().err


def test_an_interrupt_does_not_tear_what_is_left() -> None:
    before = signal.getsignal(signal.SIGINT)
    with uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_line_that_was_torn_ends_where_it_is(tmp_path: Path) -> None:
    place = tmp_path / "watch.jsonl"
    assert append(str(place), '{"a": 1}', complain=True)
    with place.open("a") as file:
        file.write('{"b')  # the disk was full
    assert append(str(place), '{"c": 1}', complain=True)
    assert append(str(place), '{"d": 1}', complain=True)
    assert place.read_text().splitlines() == ['{"a": 1}', '{"b', '{"c": 1}', '{"d": 1}']


def test_a_full_disk_is_complained_of_where_that_is_wanted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert not append("/dev/full", "{}", complain=True)
    assert "cannot write /dev/full: No space left on device" in capsys.readouterr().err
    assert not append("/dev/full", "{}", complain=False)
    assert capsys.readouterr().err == ""
