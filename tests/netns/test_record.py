"""Two ends that never exchange a word: each by its own clock, judged together afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from probe.lab import Lab, module, write_key
from tests.netns.conftest import MakeLab
from tests.netns.ends import Json, Running, Said, outcomes, result

pytestmark = pytest.mark.netns

ONE_WAY = """
table inet lab {
    chain forward {
        type filter hook forward priority filter; policy drop;
        iifname "near0" oifname "far0" accept
    }
}
"""
NO_CONTROL = "tcp dport 5088 drop"


class Ends:
    """near and far, started apart; far's command is what near's told to start."""

    def __init__(self, lab: Lab, key: Path, *options: str) -> None:
        self.lab, self.key = lab, key
        self.near_record, self.far_record = lab.directory / "near.rec", lab.directory / "far.rec"
        argv = [*module("probe"), "record", str(self.near_record), f"--key={key}", "--at=+3"]
        argv += [f"--peer={lab.far_address()}", "--slack=0.5", *options]
        self.near = Running(lab, "near", argv)
        assert self.near.process.stdout is not None
        words = ""
        while "probe-agent" not in words or words.rstrip().endswith("\\"):
            words += self.near.process.stdout.readline()
        command = words[words.index("probe-agent") :].replace("\\\n", " ")
        self.orders = command.replace("far.rec", str(self.far_record))

    def start_far(self) -> None:
        options = self.orders.removeprefix("probe-agent").strip()
        line = f"exec {' '.join(module('agent'))} {options} --key={self.key}"
        self.far = Running(self.lab, "far", ["sh", "-c", line])

    def judged(self, *options: str) -> Said:
        records = [str(self.far_record), str(self.near_record)]
        argv = [*module("probe"), "correlate", *records, f"--key={self.key}", *options]
        return Running(self.lab, "near", argv).end()


def both(lab: Lab, *options: str) -> tuple[Ends, Json]:
    ends = Ends(lab, write_key(lab), *options)
    ends.start_far()
    near, far = ends.near.end(60), ends.far.end(60)
    assert (near.code, far.code) == (0, 0), near.err + far.err
    return ends, result(ends.judged("--json=-"))


@pytest.mark.parametrize("family", [4, 6])
def test_a_firewall_that_lets_nothing_of_control_through(make_lab: MakeLab, family: int) -> None:
    lab = make_lab("kb233256", family)
    lab.run("fw", ["nft", f"insert rule inet lab forward {NO_CONTROL}"])
    _, found = both(lab)
    assert found["complete"] is True
    assert found["path"]["control"] == "records"
    assert outcomes(found, direction="inbound", flow="new") == {
        kind: {"delivered"}
        for kind in ("icmp-echo", "esp", "ah", "ike", "kerberos-udp", "kerberos-tcp")
    }
    new = outcomes(found, direction="outbound", flow="new")
    assert new["esp"] == {"state-possible"}
    assert new["kerberos-tcp"] == {"delivered"}
    assert all(o == {"delivered"} for o in outcomes(found, flow="reply").values())


def test_what_is_closed_is_lost_and_only_that(make_lab: MakeLab) -> None:
    """Outbound alone is open, statelessly: what far sends is lost, its replies as well."""
    lab = make_lab(None)
    lab.load("fw", ONE_WAY)
    _, found = both(lab, "--only=esp,ike,icmp-echo")
    assert set.union(*outcomes(found, direction="inbound", flow="new").values()) == {"lost"}
    assert set.union(*outcomes(found, direction="outbound", flow="new").values()) == {"delivered"}
    assert set.union(*outcomes(found, direction="inbound", flow="reply").values()) == {"lost"}


def test_where_nothing_crosses_silence_is_no_proof(make_lab: MakeLab) -> None:
    lab = make_lab("closed")
    lab.flush("fw")
    lab.load("fw", ONE_WAY.replace('iifname "near0" oifname "far0" accept', "drop"))
    ends, found = both(lab, "--only=esp,ike")
    assert set.union(*outcomes(found, flow="new").values()) == {"unobserved"}
    assert "awake at the same time" in " ".join(found["notes"])
    assert ends.judged().code == 3


def test_far_was_stopped_too_early(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    ends = Ends(lab, write_key(lab), "--only=esp")
    ends.start_far()
    ends.far.hear("records from")
    ends.far.process.terminate()
    assert ends.far.end().code == 3
    ends.near.end(60)
    found = result(ends.judged("--json=-"))
    assert found["complete"] is False
    assert "far was stopped before the end" in " ".join(found["notes"])
    assert set.union(*outcomes(found, flow="new").values()) == {"unobserved"}


def test_an_hour_that_is_over(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    argv = [*module("agent"), f"--key={key}", "--record=x.rec", "--at=2020-01-01T00:00:00Z"]
    argv.append("--run=0badcafe")
    said = Running(lab, "far", [*argv, f"--peer={lab.near_address()}"]).end()
    assert said.code == 3
    assert "agree on a later one" in said.words


def test_another_key_is_told(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab("open")
    ends, _ = both(lab, "--only=icmp-echo")
    other = tmp_path / "key"
    other.write_text("00" * 32 + "\n")
    other.chmod(0o600)
    ends.key = other
    said = ends.judged()
    assert said.code == 2
    assert "made with another key" in said.words
