"""What a watch knows, for Prometheus to fetch. Takes prometheus_client, which is an extra.

It is no dependency of the program because its licence (Apache-2.0) does not go with ours in what
we distribute; who installs it runs it.
"""

from __future__ import annotations

from collections import Counter as Counts
from typing import Any

from agent import __version__
from probe.far.dial import ProbeError
from probe.naming import service
from probe.result import Conclusion, Outcome, Verdict
from probe.watch.watching import Round

CHECK = (
    "kind",
    "name",
    "direction",
    "flow",
    "family",
    "size",
    "fragmenting",
    "source_port",
    "destination_port",
)
DIRECTION = ("direction",)
THROUGH = (Outcome.DELIVERED, Outcome.STATE_POSSIBLE, Outcome.LOSSY)
EXPECTED = {Verdict.PASS: 1.0, Verdict.FAIL: 0.0, Verdict.WARN: 0.0}


class NoMetrics(ProbeError):
    """They cannot be served here. The text says what to do."""


class Metrics:
    """The figures of one watch. NoMetrics where the library is missing."""

    def __init__(self, peer: str, scenario: str) -> None:
        try:
            import prometheus_client as client
        except ImportError:
            raise NoMetrics(
                "--metrics needs the library prometheus_client. Install it: "
                "pip install prometheus_client, or Debian's python3-prometheus-client"
            ) from None
        self.registry = client.CollectorRegistry()

        def gauge(name: str, about: str, labels: tuple[str, ...] = ()) -> Any:
            return client.Gauge(f"ipsec_probe_{name}", about, labels, registry=self.registry)

        def counter(name: str, about: str, labels: tuple[str, ...] = ()) -> Any:
            return client.Counter(f"ipsec_probe_{name}", about, labels, registry=self.registry)

        self._through = gauge(
            "check_through",
            "1 if packets of this check get through, all or some, 0 if none does unharmed.",
            CHECK,
        )
        self._expected = gauge(
            "check_as_expected",
            "1 if a check is as the scenario wants it, 0 if not; absent where it was not tested.",
            CHECK,
        )
        self._outcome = gauge(
            "check_outcome",
            "1 for the outcome that a check has, 0 for others.",
            (*CHECK, "outcome"),
        )
        self._flapping = gauge(
            "check_flapping",
            "1 while a check changes too often for every change to be told, else 0.",
            CHECK,
        )
        self._changes = counter("check_changes", "Changes of a check that were told.", CHECK)
        self._verdicts = gauge("checks", "Checks by verdict, as they stand.", ("verdict",))
        self._rounds = counter("rounds", "Rounds that were made.")
        self._failed = counter("rounds_failed", "Rounds that told nothing.")
        self._blind = gauge("blind", "1 while nothing can be tested, for some rounds now, else 0.")
        self._last = gauge(
            "last_complete_round_timestamp_seconds",
            "When a round was last complete; 0 before the first.",
        )
        self._seconds = gauge("round_duration_seconds", "How long the last round took.")
        self._rtt = gauge("control_rtt_seconds", "Round trip time of the control connection.")
        self._loss = gauge(
            "path_loss_ratio", "Share of shots lost among checks that get through.", DIRECTION
        )
        info = gauge("watch_info", "What is watched.", ("peer", "scenario", "version"))
        info.labels(peer, scenario, __version__).set(1)

    def serve(self, address: str, port: int) -> None:
        """From now on, in a thread of its own. NoMetrics where the port cannot be had."""
        from prometheus_client import start_http_server

        try:
            start_http_server(port, addr=address, registry=self.registry)
        except OSError as error:
            raise NoMetrics(f"--metrics {address}:{port}: {error.strerror or error}") from None

    def update(self, told: Round) -> None:
        self._rounds.inc()
        self._seconds.set(told.result.seconds)
        if told.error:
            self._failed.inc()
            if told.blind:
                self._blind.set(1)
            return
        self._blind.set(0)
        self._last.set(told.time)
        if told.result.path.rtt_ms is not None:
            self._rtt.set(told.result.path.rtt_ms / 1e3)
        for direction, carriage in told.result.path.carriage.items():
            if carriage.sent:
                self._loss.labels(direction.value).set(carriage.missing / carriage.sent)
        for change in told.changes:
            self._changes.labels(*_labels(change.conclusion)).inc()
        for conclusion in told.conclusions:
            self._check(conclusion)
            self._flapping.labels(*_labels(conclusion)).set(conclusion in told.flapping)
        verdicts = Counts(conclusion.verdict for conclusion in told.conclusions)
        for verdict in Verdict:
            self._verdicts.labels(verdict.value).set(verdicts[verdict])

    def _check(self, conclusion: Conclusion) -> None:
        labels = _labels(conclusion)
        self._changes.labels(*labels)  # 0 is told as well
        for outcome in Outcome:
            self._outcome.labels(*labels, outcome.value).set(outcome is conclusion.outcome)
        expected = EXPECTED.get(conclusion.verdict)
        if expected is not None:
            self._through.labels(*labels).set(conclusion.outcome in THROUGH)
            self._expected.labels(*labels).set(expected)
            return
        for gauge in (self._through, self._expected):  # what is not known has no number
            gauge.labels(*labels)
            gauge.remove(*labels)


def _labels(conclusion: Conclusion) -> tuple[str, ...]:
    check = conclusion.check
    return (
        check.kind,
        conclusion.label or service(check.kind).title,
        check.direction.value,
        check.flow.value,
        str(check.family),
        str(check.size or ""),
        check.fragmenting.value,
        _port(check.source_port, fresh=check.destination_port is not None),
        _port(check.destination_port, fresh=check.source_port is not None),
    )


def _port(port: int | None, *, fresh: bool) -> str:
    return str(port) if port is not None else "fresh" if fresh else ""
