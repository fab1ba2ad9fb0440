"""The JSON is a contract: key for key, in this order, and always the whole object."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from probe.report.json import render
from probe.result import PathFacts
from tests.samples import refused_ike, result, whole

GOLDEN = Path(__file__).parent.parent / "golden" / "report.json"


def test_golden() -> None:
    assert render(refused_ike()) + "\n" == GOLDEN.read_text()


def test_every_key_in_its_order() -> None:
    whole_object: dict[str, Any] = json.loads(render(refused_ike()))
    assert " ".join(whole_object) == (
        "schema complete scenario started seconds near far path limits checks summary notes "
        "options error"
    )
    assert list(whole_object["near"]) == ["host", "address", "version", "seen_as"]
    assert list(whole_object["far"]) == ["host", "address", "version", "seen_as"]
    assert list(whole_object["path"]) == ["rtt_ms", "control", "near_behind_nat", "loss", "mtu"]
    assert list(whole_object["summary"]) == ["pass", "fail", "warn", "error", "skip"]
    check = whole_object["checks"][4]
    assert " ".join(check) == (
        "kind direction flow family size fragmenting source_port destination_port shots arrived "
        "delivered outcome expected verdict cause number partner label evidence"
    )
    left, refused = check["evidence"]
    assert " ".join(left) == (
        "at event shot time source destination source_port destination_port ttl dscp size"
    )
    assert refused["icmp"] == {"type": 3, "code": 13, "from": "10.0.0.254"}


def test_the_summary_counts_every_check() -> None:
    whole_object = json.loads(render(refused_ike()))
    assert whole_object["summary"] == {"pass": 5, "fail": 1, "warn": 0, "error": 0, "skip": 2}
    assert len(whole_object["checks"]) == 8


def test_times_are_rfc_3339_in_utc() -> None:
    whole_object = json.loads(render(refused_ike()))
    assert whole_object["started"] == "2023-11-14T22:13:20.250000Z"
    assert whole_object["checks"][4]["evidence"][1]["time"] == "2023-11-14T22:13:20.500125Z"


def test_an_interrupted_run_is_a_whole_object_as_well() -> None:
    run = replace(result(complete=False), path=PathFacts(rtt_ms=None))
    whole_object = json.loads(render(run))
    assert whole_object["complete"] is False
    assert whole_object["checks"] == []
    assert whole_object["path"]["rtt_ms"] is None


@pytest.mark.parametrize("character", ["→", "\x1b", "\u2028"])
def test_it_is_ascii_whatever_it_says(character: str) -> None:
    run = replace(result(whole("esp")), scenario=character)
    assert render(run).isascii()
    assert json.loads(render(run))["scenario"] == character
