from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.report.state import render, render_json
from probe.state.hold import Held
from probe.state.memory import Asked, Finding, State, Trial, Way
from tests.unit.test_state import result_of

COLD = Trial(Asked.COLD, 0.0, Way(12))
TRIALS = (
    COLD,
    Trial(Asked.BOTH, 1.01, Way(3, 3, 3)),
    Trial(Asked.BOTH, 60.04, Way(12)),
    Trial(Asked.ALONE, 1234.5, Way(12, refused="10.0.0.9 says no")),
    Trial(Asked.BOTH, 2.0, Way(3, 3)),
    Trial(Asked.BOTH, 2.0, Way()),
)
HELD = Finding(State.REPLY_ONLY, "", Held(27.9, 32.1), None, TRIALS)
KINDS = ("esp", "ah", "ike", "ike-nat-t", "esp-in-udp", "kerberos-udp", "udp:1701")


def words(finding: Finding, kind: str = "esp", **more: bool) -> str:
    return " ".join(render(result_of(finding, kind, **more), colour=False).split())


@given(
    st.sampled_from(State),
    st.sampled_from(KINDS),
    st.none() | st.builds(Held, st.floats(0, 1e5), st.none() | st.floats(0.1, 1e5)),
    st.none() | st.builds(Held, st.floats(0, 1e5), st.none() | st.floats(0.1, 1e5)),
    st.booleans(),
    st.booleans(),
)
def test_every_finding_has_words_in_80_columns(
    state: State, kind: str, held: Held | None, alone: Held | None, complete: bool, nat: bool
) -> None:
    finding = Finding(state, "because", held, alone, TRIALS, 9, 2, ("a remark",))
    result = result_of(finding, kind, complete=complete, nat=nat)
    lines = render(result, colour=False).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert ("not finished" in lines[-1] or "not finished" in lines[-2]) is not complete
    told = json.loads(render_json(result))
    assert (told["schema"], told["complete"], told["state_of"]) == (1, complete, kind)
    assert told["state"] == state


def test_every_trial_is_told() -> None:
    text = words(HELD)
    for part in (
        "reply to nothing, before anything was sent dropped",
        "late reply after 1.0 s of silence arrives",
        "late reply after 60.0 s of silence dropped",
        "silence, one way refused",
        "near's own firewall drops it",
        "not sent",
    ):
        assert part in text


def test_what_to_set_is_below_what_was_measured() -> None:
    assert "a packet at least every 22 s" in words(HELD)
    assert "27.9 to 32.1 s after the last packet" in words(HELD)
    assert "DPD interval to 22 s or less" in words(HELD, "ike")
    assert json.loads(render_json(result_of(HELD)))["keepalive"] == 22


def test_a_flow_without_an_answer_sets_the_pace() -> None:
    found = Finding(State.REPLY_ONLY, "", Held(120.0, 128.0), Held(29.0, 31.0))
    assert found.interval == 23
    assert "A flow that got no answer: 29.0 to 31.0 s" in words(found)
    same = Finding(State.REPLY_ONLY, "", Held(120.0, 128.0), Held(120.0, None))
    assert "A flow that got no answer: as long" in words(same)


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (Held(27.0, 30.0), "is quick enough"),
        (Held(22.0, 24.0), "is only just quick enough"),
        (Held(9.0, 10.0), "is too slow here"),
        (Held(10.0, None), "was not measured: it takes --max 25"),
        (Held(19.0, 21.0), "was not measured"),
    ],
)
def test_the_customary_keepalive_is_held_against_it(held: Held, told: str) -> None:
    assert told in words(Finding(State.REPLY_ONLY, "", held), "esp-in-udp")


def test_longer_than_the_bound() -> None:
    text = words(Finding(State.REPLY_ONLY, "", Held(60.0, None)))
    assert "60.0 s or longer" in text
    assert "--max waits longer" in text


def test_forgotten_at_once() -> None:
    text = words(Finding(State.REPLY_ONLY, "", Held(0.0, 1.3)))
    assert "less than 1.3 s" in text
    assert "no keepalive is that quick" in text


def test_open_and_shut() -> None:
    assert "the firewall remembers does not matter" in words(Finding(State.OPEN, "it came in"))
    assert "CLOSED, even for replies" in words(Finding(State.CLOSED, "none came"))
    assert "keeps no state of this" in words(Finding(State.CLOSED, "none came"))
    assert "allow IP protocol 50 (ESP) outbound first" in words(
        Finding(State.NO_WAY_OUT, "none came")
    ).replace("Allow", "allow")


def test_ah_and_nat_do_not_go_together() -> None:
    assert "never works through a NAT" in words(HELD, "ah", nat=True)
    assert "never works through a NAT" not in words(HELD, "ah")


def test_interrupted_before_a_time_was_known() -> None:
    text = words(Finding(State.REPLY_ONLY, "", Held(0.0, None)), complete=False)
    assert "a time not measured" in text
    assert "The measurement was not finished." in text
    assert "keepalive" not in text


def test_a_far_host_cannot_steer_the_terminal() -> None:
    finding = Finding(State.UNCLEAR, "\x1b[2J\x07", trials=TRIALS)
    assert "\x1b" not in render(result_of(finding), colour=False)
    assert render(result_of(HELD), colour=True).count("\x1b") == 2
