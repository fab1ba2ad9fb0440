"""``probe show`` and ``probe diff`` as they are typed: what they print where, and exit codes."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from probe.cli import main
from probe.report import FORMS, PACKETS, render
from probe.result import Outcome, RunResult
from scenarios import Row
from tests.samples import lost, refused_ike, result, row, whole

SAVED_FORMS = [form for form in FORMS if form not in PACKETS]
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "run.json"
    path.write_text(str(render("json", refused_ike())))
    return path


def call(*arguments: str) -> int:
    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


def probe(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-m", "probe", *arguments]
    return subprocess.run(argv, cwd=ROOT, input=stdin, capture_output=True, check=False, timeout=60)


def save(path: Path, run: RunResult, hours: float = 0) -> str:
    path.write_text(str(render("json", replace(run, started=run.started + hours * 3600))))
    return str(path)


# -- show ------------------------------------------------------------------------------------------


def test_a_saved_run_is_drawn_again(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", str(saved)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "near 10.0.0.1 (alpha) → far 10.0.0.5 (beta)   kb233256" in out
    assert "WHY  IKE, outbound new: 10.0.0.254 answered: prohibited by a filter." in out
    assert out.endswith("FAIL: 1 of 8 checks failed, 5 passed, 2 skipped.\n")


def test_verbose_and_quiet(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", "-v", str(saved)) == 0
    assert "near: left (10.0.0.1:500 → 10.0.0.5:500" in capsys.readouterr().out
    assert call("show", "-q", str(saved)) == 0
    assert capsys.readouterr().out == "FAIL: 1 of 8 checks failed, 5 passed, 2 skipped.\n"
    assert call("show", "-q", "-v", str(saved)) == 2


def test_quiet_is_one_line_however_much_there_is_to_count(
    saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = (Outcome.LOSSY, Outcome.UNOBSERVED, Outcome.STATE_POSSIBLE, Outcome.NOT_APPLICABLE)
    saved.write_text(
        str(render("json", result(*[row(Row("esp"), *outcomes)] * 90, lost("ah"), complete=False)))
    )
    assert call("show", "-q", str(saved)) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert len(line) > 80
    assert line.startswith("FAIL, and the run was not finished: ")
    assert line.endswith("92 skipped.")


def test_every_form_of_it(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = {form: saved.with_name(f"out.{form}") for form in SAVED_FORMS}
    options = [f"--{form}={place}" for form, place in places.items()]
    assert call("show", "-q", str(saved), *options) == 0
    assert places["json"].read_text() == str(render("json", refused_ike())) + "\n"
    assert places["html"].read_text().startswith("<!DOCTYPE html>")
    assert ElementTree.parse(places["junit"]).getroot().tag == "testsuites"
    assert len(list(csv.reader(io.StringIO(places["csv"].read_text())))) == 9
    assert places["markdown"].read_text().startswith("**FAIL: 1 of 8")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("form", SAVED_FORMS)
def test_from_standard_input_to_standard_output(form: str, saved: Path) -> None:
    done = probe("show", "-", f"--{form}=-", stdin=saved.read_bytes())
    expected = render(form, refused_ike())
    octets = expected if isinstance(expected, bytes) else f"{expected}\n".encode()
    assert (done.returncode, done.stdout) == (0, octets)
    assert b"FAIL: 1 of 8 checks failed" in done.stderr


def test_standard_output_is_for_one(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", str(saved), "--json=-", "--html=-") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "--json - and --html -: only one of them can have standard output" in err


def test_a_file_is_for_one(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = saved.with_name("out")
    assert call("show", str(saved), f"--csv={place}", f"--html={place}") == 2
    assert f"--html {place}: --csv goes there" in capsys.readouterr().err
    assert not place.exists()


def test_one_file_that_cannot_be_written_spoils_no_other(
    saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, table = saved.with_name("out.html"), saved.with_name("out.csv")
    options = [f"--html={page}", "--markdown=/dev/full", f"--csv={table}"]
    assert call("show", str(saved), *options) == 2
    out, err = capsys.readouterr()
    assert err == "probe: cannot write /dev/full: No space left on device\n"
    assert page.read_text().endswith("</html>\n")
    assert table.read_bytes().endswith(b"\r\n")
    assert "FAIL: 1 of 8" in out


def test_an_unfinished_run_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = replace(result(whole("esp"), complete=False), error="the agent is gone")
    assert call("show", save(tmp_path / "run.json", run)) == 0
    out, err = capsys.readouterr()
    assert err == "probe: the agent is gone\n"
    assert "PASS, and the run was not finished" in out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is nothing in it"),
        ('{"schema": 1, "complete"', "it ends in the middle"),
        ('{"schema": 7}', "it is of schema 7"),
        ("<html>", "not the JSON that `probe run --json FILE` writes"),
    ],
)
def test_what_is_no_saved_run(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    page = tmp_path / "out.html"
    for arguments in (["show", str(path), f"--html={page}"], ["diff", str(path), str(path)]):
        assert call(*arguments) == 2
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1)
        assert f"probe: {path}: {words}" in err
    assert not page.exists()


# -- diff ------------------------------------------------------------------------------------------

ESP, AH = whole("esp"), whole("ah")
STARRED = row(Row("ah"), Outcome.STATE_POSSIBLE, *[Outcome.DELIVERED] * 3)


@pytest.mark.parametrize(
    ("before", "after", "code", "word"),
    [
        (result(ESP, AH), result(ESP, AH), 0, "NOT WORSE"),
        (result(lost("esp"), AH), result(ESP, AH), 0, "NOT WORSE"),
        (result(ESP, AH), result(lost("esp"), AH), 1, "WORSE"),
        (result(ESP, AH), result(lost("esp"), STARRED), 1, "WORSE"),
        (result(ESP, AH), result(ESP, STARRED), 3, "UNCLEAR"),
        (result(ESP, AH), result(ESP), 3, "UNCLEAR"),
        (result(), result(), 3, "UNCLEAR"),
    ],
)
def test_the_exit_code_of_a_comparison(
    before: RunResult,
    after: RunResult,
    code: int,
    word: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = save(tmp_path / "before.json", before), save(tmp_path / "after.json", after, hours=1)
    assert call("diff", "-q", *places) == code
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"{word}: ")
    assert call("diff", *places) == code
    assert out.strip() in " ".join(capsys.readouterr().out.split())  # folded there


def test_a_comparison_for_programs(tmp_path: Path, saved: Path) -> None:
    before = save(tmp_path / "before.json", result(ESP, whole("ike")))
    done = probe("diff", before, "-", "--json=-", stdin=saved.read_bytes())
    assert done.returncode == 1
    assert json.loads(done.stdout)["diff"]["worse"] == 1
    assert b"WORSE: 1 of 8 checks is worse" in done.stderr
    place = tmp_path / "diff.json"
    assert probe("diff", before, str(saved), f"--json={place}").returncode == 1
    assert json.loads(place.read_text())["changes"]
    done = probe("show", str(place))
    assert done.returncode == 2
    assert b"this is what `probe diff --json` writes" in done.stderr


def test_a_comparison_that_cannot_be(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, words in (
        (["-", "-"], "only one of the two can be standard input"),
        ([str(saved), str(tmp_path / "none")], "none: No such file or directory"),
        ([str(saved), str(saved), f"--json={tmp_path}"], "it is a directory"),
        ([str(saved), str(saved), "--json=/dev/full"], "cannot write /dev/full"),
        ([str(saved)], "the following arguments are required: AFTER"),
    ):
        assert call("diff", *arguments) == 2
        assert words in capsys.readouterr().err
