"""What was saved comes back as it was, and what was not saved by us is told from it.

The invariant: *any text yields a result or a SavedError, and what we wrote yields the same again.*
"""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.report import table
from probe.report.json import render
from probe.report.saved import SavedError, load, read
from probe.result import RunResult
from tests.samples import lost, result, whole
from tests.unit.random_results import RESULTS, TEXT

GOLDEN = Path(__file__).parent.parent / "golden" / "report.json"


@given(RESULTS)
def test_what_was_written_is_read_again(run: RunResult) -> None:
    text = render(run)
    again = load(text)
    assert render(again) == text
    assert load(render(again)) == again


@given(RESULTS)
def test_nothing_is_lost_but_digits(run: RunResult) -> None:
    """Neither a member of the records, nor what the table says of them."""
    again = load(render(run))
    assert _undated(again) == _undated(run)
    assert table.render(again, colour=False) == table.render(
        replace(run, seconds=again.seconds), colour=False
    )


def _undated(run: RunResult) -> RunResult:
    """Without what is written with fewer digits than it has."""
    return replace(
        run,
        started=0,
        seconds=0,
        agreed=None,
        path=replace(
            run.path,
            rtt_ms=run.path.rtt_ms is None,
            carriage={d: replace(c, at_most=0) for d, c in run.path.carriage.items()},
        ),
        conclusions=tuple(
            replace(c, evidence=tuple(replace(s, time=0) for s in c.evidence))
            for c in run.conclusions
        ),
    )


# -- what is not ours ------------------------------------------------------------------------------


@given(st.binary(max_size=60) | TEXT | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
).map(json.dumps))  # fmt: skip
def test_whatever_it_is_it_is_told(text: str | bytes) -> None:
    with pytest.raises(SavedError):
        load(text)


@given(st.data())
def test_whatever_is_wrong_in_ours_is_told(data: st.DataObject) -> None:
    """One member is replaced by another value: it is read, or told; nothing else happens."""
    whole_object = json.loads(GOLDEN.read_text())
    place: Any = whole_object
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not (isinstance(place[key], (dict, list)) and place[key]) or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(
        st.sampled_from([None, True, -1, 0, 1e300, 2**70, "", "x", [], {}, "0001-01-01T00:00:00Z"])
    )
    found: RunResult | None
    try:
        found = load(json.dumps(whole_object))
    except SavedError:
        found = None
    if found is not None:
        assert render(load(render(found))) == render(found)


def test_cut_off_anywhere() -> None:
    text = GOLDEN.read_text().strip()
    for end in range(1, len(text)):
        with pytest.raises(SavedError, match="it ends in the middle"):
            load(text[:end])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is nothing in it"),
        (" \n", "there is nothing in it"),
        ("kind,direction\n", "malformed"),
        ("[]", "not the JSON that `probe run --json FILE` writes"),
        ('{"a": 1}', "it has no schema number"),
        ('{"schema": "1"}', "it has no schema number"),
        ('{"schema": true}', "it has no schema number"),
        ('{"schema": 1, "trace": "esp"}', "this is what `probe trace --json` writes"),
        ('{"schema": 1, "state_of": "esp"}', "this is what `probe state --json` writes"),
        ('{"schema": 2}', "schema 2, and probe .* reads schema 1: use the version of probe that"),
        ('{"schema": 2, "near": {"version": "7.1"}}', "that wrote it, 7.1$"),
        ('{"schema": 1}', "missing required field `complete`"),
        ("[" * 100_000, "not the JSON"),
        ('{"schema": 1, "later": ' + "[" * 100_000, "recursion"),
        ('{"schema": 1}'.encode("utf-16"), "malformed"),
        (b'{"schema": 1, "scenario": "\xff"}', "codec"),
    ],
)
def test_what_is_not_ours(text: str | bytes, words: str) -> None:
    with pytest.raises(SavedError, match=words):
        load(text)


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        ('"outcome": "refused"', '"outcome": "eaten"', r"'eaten' - at `\$.checks\[4\].outcome`"),
        ('"verdict": "fail"', '"verdict": "bad"', r"'bad' - at `\$.checks\[4\].verdict`"),
        ('"event": "left"', '"event": "flew"', r"'flew' - at .*evidence\[0\].event`"),
        ('"shots": 3', '"shots": "3"', r"got `str` - at `\$.checks\[0\].shots`"),
        ('"shots": 3', '"shots": -3', ">= 0"),
        ('"family": 4', '"family": 5', r"at `\$.checks\[0\].family`"),
        ('"ttl": 64', '"ttl": 256', "<= 255"),
        ('"source_port": 500', '"source_port": 65536', "<= 65535"),
        ('"kind": "esp",', "", "missing required field `kind`"),
        ("2023-11-14T22:13:20.25", "yesterday", "datetime"),
        ("2023-11-14T", "0001-01-01T", "a time in the year 1"),
        ('"version": "0.1.0",', '"version": "9.0", "seen_as": 1, "x": 0,', "probe 9.0 wrote it"),
    ],
)
def test_what_is_wrong_is_named(ours: str, theirs: str, words: str) -> None:
    text = GOLDEN.read_text()
    assert ours in text
    with pytest.raises(SavedError, match=words):
        load(text.replace(ours, theirs, 1))


def test_what_a_later_version_adds_is_ignored() -> None:
    whole_object = json.loads(GOLDEN.read_text())
    whole_object["later"] = {"deep": [1, {"x": None}]}
    whole_object["near"]["colour"] = "red"
    whole_object["checks"][4]["evidence"][0]["smell"] = 3
    assert load(json.dumps(whole_object)) == load(GOLDEN.read_text())


def test_what_the_first_version_had_not() -> None:
    """The contract's members alone are enough."""
    run = result(whole("esp"), lost("ah"))
    whole_object = json.loads(render(run))
    del whole_object["notes"], whole_object["options"], whole_object["error"]
    del whole_object["near"]["seen_as"]
    del whole_object["path"]["loss"], whole_object["path"]["mtu"]
    for check in whole_object["checks"]:
        for name in ("fragmenting", "number", "partner", "label"):
            del check[name]
    found = load(json.dumps(whole_object))
    assert [c.check.number for c in found.conclusions] == list(range(1, 9))
    assert table.render(found, colour=False) == table.render(run, colour=False)


# -- files -----------------------------------------------------------------------------------------


def test_from_a_file_and_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = result(whole("esp"))
    path = tmp_path / "run.json"
    path.write_bytes(b"\xef\xbb\xbf" + render(run).encode())  # as some editors save it
    assert read(str(path)) == run
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(render(run).encode())))
    assert read("-") == run


def test_a_file_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SavedError, match=f"cannot read {tmp_path}: Is a directory"):
        read(str(tmp_path))
    with pytest.raises(SavedError, match="No such file or directory"):
        read(str(tmp_path / "none"))
    (tmp_path / "empty").touch()
    with pytest.raises(SavedError, match=f"{tmp_path}/empty: there is nothing in it"):
        read(str(tmp_path / "empty"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"{")))
    with pytest.raises(SavedError, match="standard input: it ends in the middle"):
        read("-")
    monkeypatch.setattr("probe.report.saved.LARGEST", 100)
    (tmp_path / "large").write_bytes(b"[" * 101)
    with pytest.raises(SavedError, match="larger than"):
        read(str(tmp_path / "large"))
