from __future__ import annotations

from agent.control import Open
from agent.log.tally import Session, Totals
from agent.model import Check, Direction, Event, Facts, Flow, PortHeld, Side, Sighting

NEW = Check(1, "esp", Direction.INBOUND, Flow.NEW, 4, partner=2)
REPLY = Check(2, "esp", Direction.OUTBOUND, Flow.REPLY, 4, partner=1)
ASKED = Check(3, "ike", Direction.OUTBOUND, Flow.NEW, 4, partner=4)
ANSWER = Check(4, "ike", Direction.INBOUND, Flow.REPLY, 4, partner=3)
RUN = Open(bytes(32), [NEW, REPLY, ASKED, ANSWER], "10.0.0.2", "10.0.0.1", 600.0)


def saw(event: Event, check: int, shot: int = 1, stage: str = "") -> Sighting:
    return Sighting(Side.FAR, event, check, shot, 0.0, stage=stage)


def test_a_session_in_one_line() -> None:
    session = Session("10.0.0.1", began=5.0)
    session.opened(RUN, Facts(held=(PortHeld(17, 500), PortHeld(6, 88, taken=False))))
    session.saw([saw(Event.SENT, 1), saw(Event.LEFT, 1), saw(Event.ARRIVED, 2)])
    session.saw([saw(Event.ARRIVED, 3, 1, "syn"), saw(Event.ARRIVED, 3, 1, "request")])
    session.saw([saw(Event.DELIVERED, 3), saw(Event.SENT, 4), saw(Event.UNSENT, 1, 2)])
    line = session.line(7.5)
    assert (line["kinds"], line["control"]) == ("esp,ike", "tcp")
    assert (line["runs"], line["checks"]) == (1, 4)
    assert (line["sent"], line["received"], line["answered"]) == (1, 2, 1)
    assert line["seconds"] == 2.5
    assert session.held == ("UDP 500",)


def test_totals_are_those_of_sessions_that_are_over() -> None:
    totals = Totals()
    session = Session("10.0.0.1", began=0.0)
    session.opened(RUN, Facts(held=(PortHeld(17, 500),)))
    session.saw([saw(Event.SENT, 1), saw(Event.SENT, 4)])
    totals.add(session)
    totals.add(Session("10.0.0.9", began=0.0))  # never came to a run
    assert (totals.sessions, totals.sent, totals.answered) == (2, 1, 1)
    assert totals.held == ("UDP 500",)


def test_a_second_run_of_a_session_counts_on_with_numbers_used_again() -> None:
    session = Session("10.0.0.1", began=0.0)
    for _ in range(2):
        session.opened(RUN, Facts())
        session.saw([saw(Event.ARRIVED, 2)])
    assert (session.runs, session.received) == (2, 2)
