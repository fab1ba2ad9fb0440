"""The alert rules and the metrics, as Prometheus' own tool judges them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from prometheus_client import generate_latest

from tests.unit.test_metrics import filled

RULES = Path(__file__).parents[2] / "packaging" / "prometheus" / "ipsec-probe.rules.yml"
LABELS = 'instance="near", direction="outbound", flow="new"'
CASE = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'ipsec_probe_check_as_expected{{{labels}, kind="esp", name="ESP"}}'
        values: '1 1 0 0 0'
      - series: 'ipsec_probe_check_through{{{labels}, kind="esp"}}'
        values: '1 1 0 0 0'
      - series: 'ipsec_probe_check_through{{{labels}, kind="ike"}}'
        values: '1 1 1 1 1'
      - series: 'ipsec_probe_blind{{instance="near"}}'
        values: '0x12 1x20'
    alert_rule_test:
      - {{eval_time: 1m, alertname: IpsecProbeCheckNotAsExpected, exp_alerts: []}}
      - {{eval_time: 1m, alertname: IpsecProbeHollowTunnel, exp_alerts: []}}
      - {{eval_time: 10m, alertname: IpsecProbeBlind, exp_alerts: []}}
    promql_expr_test:
      - expr: count(ALERTS{{alertname="IpsecProbeCheckNotAsExpected", alertstate="firing"}})
        eval_time: 3m
        exp_samples: [{{value: 1, labels: '{{}}'}}]
      - expr: count(ALERTS{{alertname="IpsecProbeHollowTunnel", alertstate="firing"}})
        eval_time: 3m
        exp_samples: [{{value: 1, labels: '{{}}'}}]
      - expr: count(ALERTS{{alertname="IpsecProbeBlind", alertstate="firing"}})
        eval_time: 20m
        exp_samples: [{{value: 1, labels: '{{}}'}}]
"""


def promtool(*arguments: str, text: str | None = None) -> str:
    argv = ["promtool", *arguments]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_metrics_follow_the_conventions() -> None:
    assert promtool("check", "metrics", text=generate_latest(filled().registry).decode()) == ""


def test_the_rules_are_rules() -> None:
    assert "5 rules found" in promtool("check", "rules", str(RULES))


def test_they_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    case = tmp_path / "case.yml"
    case.write_text(CASE.format(rules=RULES, labels=LABELS))
    assert "SUCCESS" in promtool("test", "rules", str(case))
