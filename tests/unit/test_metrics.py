"""Figures for Prometheus: what is known has a number, what is not has none."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from agent.model import Fragmenting
from probe.result import Outcome
from probe.watch.metrics import Metrics, NoMetrics
from probe.watch.watching import Change, Round
from scenarios import Row
from tests.samples import result, row, whole

PACKAGING = Path(__file__).parents[2] / "packaging"
NAME = re.compile(r"\bipsec_probe_[a-z_]+")


def filled(*outcomes: Outcome) -> Metrics:
    metrics = Metrics("10.0.0.5", "kb233256")
    run = result(whole("esp"), row(Row("ike"), *(outcomes or [Outcome.LOST] * 4)))
    change = Change(run.conclusions[4], "passes", "lost", 0.0)
    metrics.update(Round(1_700_000_000.0, 1, run, "", (change,), run.conclusions))
    return metrics


def value(metrics: Metrics, metric: str, /, **labels: str) -> float | None:
    found = metrics.registry.get_sample_value(f"ipsec_probe_{metric}", labels)
    return None if found is None else float(found)


def check(kind: str, **more: str) -> dict[str, str]:
    ports = {"source_port": "500", "destination_port": "500"} if kind == "ike" else {}
    return {
        "kind": kind,
        "name": kind.upper(),
        "direction": "outbound",
        "flow": "new",
        "family": "4",
        "size": "",
        "fragmenting": "usual",
        "source_port": "",
        "destination_port": "",
        **ports,
        **more,
    }


def test_what_passes_and_what_does_not() -> None:
    metrics = filled()
    assert value(metrics, "check_through", **check("esp")) == 1
    assert value(metrics, "check_as_expected", **check("esp")) == 1
    assert value(metrics, "check_through", **check("ike")) == 0
    assert value(metrics, "check_as_expected", **check("ike")) == 0
    assert value(metrics, "check_outcome", **check("ike", outcome="lost")) == 1
    assert value(metrics, "check_outcome", **check("ike", outcome="delivered")) == 0
    assert value(metrics, "check_changes_total", **check("ike")) == 1
    assert value(metrics, "check_changes_total", **check("esp")) == 0
    assert value(metrics, "checks", verdict="fail") == 4


def test_what_was_not_measured_has_no_number() -> None:
    metrics = filled()
    run = result(whole("esp"), row(Row("ike"), *[Outcome.UNOBSERVED] * 4))
    metrics.update(Round(1_700_000_060.0, 2, run, "", (), run.conclusions))
    assert value(metrics, "check_through", **check("ike")) is None
    assert value(metrics, "check_as_expected", **check("ike")) is None
    assert value(metrics, "check_outcome", **check("ike", outcome="unobserved")) == 1


def test_the_same_size_in_another_order_of_fragments_is_another_check() -> None:
    metrics = Metrics("10.0.0.5", "kb233256")
    passing = row(Row("kerberos-udp", size=2000), *[Outcome.DELIVERED] * 4)
    stopped = [
        replace(c, check=replace(c.check, fragmenting=Fragmenting.LAST_FIRST))
        for c in row(Row("kerberos-udp", size=2000), *[Outcome.LOST] * 4)
    ]
    run = result(passing, tuple(stopped))
    metrics.update(Round(1_700_000_000.0, 1, run, "", (), run.conclusions))
    found = [
        sample.value
        for family in metrics.registry.collect()
        if family.name == "ipsec_probe_check_as_expected"
        for sample in family.samples
    ]
    assert sorted(found) == [0.0] * 4 + [1.0] * 4


def test_what_gets_through_in_part_gets_through() -> None:
    metrics = filled(*[Outcome.LOSSY] * 4)
    assert value(metrics, "check_through", **check("ike")) == 1
    assert value(metrics, "check_as_expected", **check("ike")) == 0


def test_flapping_as_long_as_it_lasts() -> None:
    metrics = filled()
    run = result(whole("esp"), row(Row("ike"), *[Outcome.LOST] * 4))
    for flapping, number in (((run.conclusions[4],), 1), ((), 0)):
        metrics.update(Round(1.0, 2, run, "", (), run.conclusions, flapping))
        assert value(metrics, "check_flapping", **check("ike")) == number
        assert value(metrics, "check_flapping", **check("esp")) == 0


def test_blind_as_long_as_it_lasts_and_not_before_the_first_round() -> None:
    assert value(Metrics("10.0.0.5", "kb233256"), "blind") == 0
    metrics = filled()
    broken = result()
    for blind in (True, False):  # it is told once
        metrics.update(Round(1.0, 2, broken, "gone", blind=blind))
        assert value(metrics, "blind") == 1
    metrics.update(Round(1.0, 3, broken, ""))
    assert value(metrics, "blind") == 0


def test_a_round_that_told_nothing_changes_no_figure_of_a_check() -> None:
    metrics = filled()
    broken = result(row(Row("esp"), *[Outcome.UNOBSERVED] * 4))
    metrics.update(Round(1_700_000_060.0, 2, broken, "the agent is gone", (), ()))
    assert value(metrics, "rounds_total") == 2
    assert value(metrics, "rounds_failed_total") == 1
    assert value(metrics, "last_complete_round_timestamp_seconds") == 1_700_000_000
    assert value(metrics, "check_through", **check("esp")) == 1


def test_no_series_is_added_by_more_rounds() -> None:
    metrics = filled()
    before = len(generate_latest(metrics.registry).splitlines())
    for number in range(2, 50):
        run = result(whole("esp"), whole("ike"))
        metrics.update(Round(1_700_000_000.0 + number, number, run, "", (), run.conclusions))
    assert len(generate_latest(metrics.registry).splitlines()) == before


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(NoMetrics, match="pip install prometheus_client"):
        Metrics("10.0.0.5", "kb233256")


def test_a_port_that_is_taken() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NoMetrics, match=f"127.0.0.1:{port}: Address already in use"):
            filled().serve("127.0.0.1", port)


@pytest.mark.parametrize("file", ["grafana/ipsec-probe.json", "prometheus/ipsec-probe.rules.yml"])
def test_dashboard_and_alerts_ask_for_what_there_is(file: str) -> None:
    text = (PACKAGING / file).read_text()
    if file.endswith(".json"):
        text = json.dumps(json.loads(text)["panels"])
    there = set(NAME.findall(generate_latest(filled().registry).decode()))
    asked = set(NAME.findall(text))
    assert len(asked) >= 4
    assert asked <= there | {"ipsec_probe_path_loss_ratio"}
