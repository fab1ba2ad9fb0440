"""What a run was asked for, in the words that its report and its saved file keep."""

from __future__ import annotations

from agent.model import Direction
from probe.drive import Settings
from probe.run import Request


def test_the_usual_needs_no_words() -> None:
    assert Request(peer="far.example", key=b"").options == ()
    assert Request("10.0.0.5", b"", port=1, family=6, scenario="nat-t").options == ()


def test_the_options_are_what_was_typed() -> None:
    asked = Request(
        "far.example",
        b"",
        only=("esp", "udp:1701"),
        directions=(Direction.INBOUND,),
        strict=True,
        sizes=True,
        inspect=True,
        alias="10.0.0.7",
        settings=Settings(5, 0.25, 30.0, True),
    )
    assert asked.options == (
        "--only=esp,udp:1701",
        "--direction=inbound",
        "--strict",
        "--sizes",
        "--inspect",
        "--alias=10.0.0.7",
        "--fresh=wait",
        "--shots=5",
        "--timeout=0.25",
        "--state-timeout=30",
    )
    assert Request("far.example", b"", fresh_address=True).options == ("--fresh=address",)
