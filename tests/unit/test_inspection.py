from __future__ import annotations

from agent.model import Check, Direction, Flow
from probe import plan as planning
from probe.judge.inspection import NOISE, findings, with_noise
from probe.result import Conclusion, Expect, Outcome, Verdict
from scenarios import load


def told(kind: str, outcome: Outcome, source_port: int | None = None) -> Conclusion:
    check = Check(1, kind, Direction.OUTBOUND, Flow.NEW, 4, None, source_port, 500)
    return Conclusion(check, outcome, Expect.ANY, Verdict.PASS, "", 3, 0, 0)


def test_real_passes_and_noise_does_not() -> None:
    (sentence,) = findings([told("ike", Outcome.DELIVERED), told("ike-noise", Outcome.LOST)])
    assert "inspects UDP 500 outbound" in sentence


def test_no_word_where_the_evidence_does_not_hold() -> None:
    for real, noise in (
        (Outcome.DELIVERED, Outcome.DELIVERED),
        (Outcome.LOST, Outcome.LOST),
        (Outcome.DELIVERED, Outcome.UNOBSERVED),
        (Outcome.DELIVERED, Outcome.LOSSY),
        (Outcome.DELIVERED, Outcome.HOST_DROPPED),
        (Outcome.LOSSY, Outcome.LOST),
    ):
        assert findings([told("ike", real), told("ike-noise", noise)]) == ()


def test_ike_from_500_is_no_measure_for_noise_from_a_fresh_port() -> None:
    assert findings([told("ike", Outcome.DELIVERED, 500), told("ike-noise", Outcome.LOST)]) == ()


def test_every_kind_that_has_noise_gets_it_and_ike_a_fresh_port_to_compare() -> None:
    for name in ("kb233256", "site-to-site", "kerberos", "l2tp-ipsec"):
        scenario = load(name)
        plan = planning.make(with_noise(scenario), 4)
        kinds = {check.kind for check in plan.checks}
        for kind, noise in NOISE.items():
            assert (kind in kinds) == (noise in kinds), (name, kind)
        if "ike" in kinds:
            new = [c for c in plan.checks if c.kind == "ike" and c.flow is Flow.NEW]
            assert None in {check.source_port for check in new}
        noise_rows = [p for p in plan.planned if p.check.kind in NOISE.values()]
        assert {planned.expected for planned in noise_rows} <= {Expect.ANY}


def test_noise_is_as_large_as_the_real_thing() -> None:
    from agent.model import Tag
    from agent.wire import codec
    from agent.wire.base import Keys, Path

    keys, path = Keys(bytes(32)), Path(4, "10.0.0.1", "10.0.0.2", 50_000, 500)
    for kind, noise in NOISE.items():
        real, made = (codec(name).request(keys, Tag(1, 1), path) for name in (kind, noise))
        assert len(real) == len(made)
        assert codec(kind).port == codec(noise).port


def test_noise_never_looks_like_the_real_thing() -> None:
    from agent.model import Tag
    from agent.wire import codec
    from agent.wire.base import Keys, Path

    path = Path(4, "10.0.0.1", "10.0.0.2", 50_000, 500)
    for run in range(300):
        keys = Keys(run.to_bytes(32, "big"))
        for noise in NOISE.values():
            assert codec(noise).request(keys, Tag(1, 1), path)[:20] == b"\xee" * 20
