"""A line where something changed, and JSON lines for all."""

from __future__ import annotations

import json
from dataclasses import replace

from agent.model import Fragmenting
from probe.report.watch import changed, json_lines, lines, name
from probe.result import Outcome
from probe.watch.watching import Change, Round
from scenarios import Row
from tests.samples import result, row, whole


def told(**more: object) -> Round:
    run = result(whole("esp"), whole("ike"))
    return Round(1_700_000_000.0, 3, run, conclusions=run.conclusions, **{"error": "", **more})  # type: ignore[arg-type]


def lost_esp(**more: bool) -> Change:
    gone = row(Row("esp"), *[Outcome.LOST] * 4, causes={Outcome.LOST: "nobody \x1banswered"})[0]
    return Change(gone, "passes", "lost", 1_699_999_940.0, **more)


def test_nothing_changed_nothing_said() -> None:
    assert not list(lines(told()))


def test_a_change_in_words() -> None:
    (line,) = lines(told(changes=(lost_esp(),)))
    assert "FAIL ESP IP 50, outbound new: passes → lost. Nobody ?answered" in " ".join(line.split())
    assert max(map(len, line.splitlines())) <= 80


def test_flapping_and_its_end() -> None:
    (line,) = lines(told(changes=(lost_esp(flapping=True),)))
    assert "It changes often" in " ".join(line.split())
    (line,) = lines(told(changes=(lost_esp(steady=True),)))
    assert "no longer flapping" in " ".join(line.split())


def test_the_evidence_of_what_changed_and_of_nothing_else() -> None:
    run = result(whole("ike"), row(Row("esp"), *[Outcome.LOST] * 4, first=4))
    change = Change(replace(run.conclusions[4], evidence=()), "passes", "lost", 0.0)
    shown = changed(Round(1.0, 3, run, "", (change,), run.conclusions))
    assert shown.conclusions == (run.conclusions[4],)
    assert not changed(Round(1.0, 3, run, "", (), run.conclusions)).conclusions


def test_each_size_has_a_name_of_its_own_replies_as_well() -> None:
    sizes = [row(Row("ike", size=size), *[Outcome.LOST] * 4) for size in (None, 1400, 2000)]
    reversed_ = [
        replace(c, check=replace(c.check, fragmenting=Fragmenting.LAST_FIRST)) for c in sizes[-1]
    ]
    names = [name(conclusion) for four in (*sizes, reversed_) for conclusion in four]
    assert len(set(names)) == len(names)
    assert "IKE UDP 500→500, 1400 B, outbound new" in names
    assert "IKE 2000 B reversed, inbound reply" in names


def test_blind_and_sighted() -> None:
    (line,) = lines(told(blind=True, error="the agent is gone"))
    assert "BLIND: nothing can be tested. the agent is gone" in line
    assert len(list(lines(told(sighted=True)))) == 1


def test_json_lines() -> None:
    change, blind, whole_round = map(
        json.loads, json_lines(told(changes=(lost_esp(),), blind=True, error="gone"))
    )
    assert (change["event"], blind["event"], whole_round["event"]) == ("change", "blind", "round")
    assert change["time"] == "2023-11-14T22:13:20.000Z"
    assert (change["kind"], change["before"], change["after"]) == ("esp", "passes", "lost")
    assert (change["outcome"], change["verdict"]) == ("lost", "fail")
    assert blind["error"] == whole_round["error"] == "gone"
    assert whole_round["summary"] == {"pass": 8, "fail": 0, "warn": 0, "error": 0, "skip": 0}
