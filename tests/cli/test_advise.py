"""``probe advise``: what it prints, and its exit codes."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from probe.advise.platforms import names
from probe.cli import main
from probe.report.json import render
from probe.result import Outcome, RunResult
from scenarios import Row
from tests.samples import lost, result, row, whole


def call(*arguments: str) -> int:
    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


def saved(place: Path, run: RunResult) -> str:
    path = place / "result.json"
    path.write_text(str(render(run)))
    return str(path)


NO_ESP = result(whole("ike"), lost("esp"))


def test_plain_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("advise", saved(tmp_path, NO_ESP)) == 1
    text = capsys.readouterr().out
    assert text.startswith("- IKE passes, ESP does not")
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("platform", names())
def test_every_platform_by_its_name(
    platform: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("advise", saved(tmp_path, NO_ESP), "--platform", platform) == 1
    text = capsys.readouterr().out
    assert "10.0.0.1" in text
    assert "carry nothing" in " ".join(line.strip("#! ") for line in text.splitlines())


def test_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(str(render(NO_ESP)).encode()))
    monkeypatch.setattr(sys, "stdin", stream)
    assert call("advise", "-", "--platform", "ufw") == 1
    assert "ufw route prepend allow proto esp" in capsys.readouterr().out


def test_nothing_to_mend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path, result(whole("esp"), whole("ike")))
    assert call("advise", path) == 0
    assert call("advise", path, "--platform", "pf") == 0
    assert capsys.readouterr().out.startswith("Nothing to mend")


def test_what_could_not_be_tested_gets_no_advice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unseen = row(Row("esp"), *[Outcome.UNOBSERVED] * 4)
    assert call("advise", saved(tmp_path, result(unseen)), "--platform", "pf") == 3
    assert call("advise", saved(tmp_path, result())) == 3
    assert capsys.readouterr().out.startswith("No advice")


def test_the_platforms_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("advise", "--list") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(names())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "which run?"),
        (("/nonexistent.json",), "cannot read"),
        (("x.json", "--platform", "nftable"), "did you mean 'nftables'?"),
        (("x.json", "--platform", "iptable"), "did you mean 'iptables'?"),
    ],
)
def test_wrong_usage(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("advise", *arguments) == 2
    assert words in capsys.readouterr().err


def test_a_file_cannot_put_words_into_a_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "10.0.0.1\n; reboot #"
    run = replace(NO_ESP, near=replace(NO_ESP.near, address=evil), scenario="x\nreboot")
    for platform in names():
        call("advise", saved(tmp_path, run), "--platform", platform)
        lines = capsys.readouterr().out.splitlines()
        assert all(line.startswith(("#", "!")) for line in lines), platform


def test_run_takes_the_platform_before_anything_is_sent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call("run", "--peer", "bad..name", "--advise", "forti") == 2
    assert "did you mean 'fortigate'?" in capsys.readouterr().err
