"""Two ends that never exchange a word: each by its own clock, judged together afterwards."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from agent.ledger import Ledger, Tuple5
from agent.linux.privileges import NEEDED
from agent.station import moment
from probe.lab import Lab, module, write_key
from tests.netns.conftest import MakeLab
from tests.netns.ends import Json, Running, Said, outcomes, result
from tests.netns.nobody import NOBODY, only, told
from tests.netns.test_least_privilege import TRACKING

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
        self.orders = command.strip().replace("far.rec", str(self.far_record))

    def start_far(self, setup: str = "", prefix: tuple[str, ...] = ()) -> None:
        """``setup``: shell that is run before it."""
        options = self.orders.removeprefix("probe-agent").strip()
        line = f"{setup} exec {' '.join(module('agent'))} {options} --key={self.key}"
        self.far = Running(self.lab, "far", ["sh", "-c", line], prefix=prefix)

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


def test_while_it_records_it_is_not_root(make_lab: MakeLab) -> None:
    """And misses nothing by it: root's key, root's ledger, root's conntrack, root's directory."""
    lab = make_lab("open")
    lab.load("far", TRACKING)
    key = write_key(lab)
    lab.directory.chmod(0o700)
    ends = Ends(lab, key, "--only=esp,ah,ike,kerberos-udp,kerberos-tcp")
    ends.start_far()
    ends.far.hear("records from")
    now = told(ends.far.process.pid)
    assert now["Uid"].split() == [str(NOBODY.pw_uid)] * 4
    assert now["Gid"].split() == [str(NOBODY.pw_gid)] * 4
    assert now["Groups"] == ""
    for name in ("CapEff", "CapPrm", "CapBnd"):
        assert now[name] == only(*NEEDED)
    assert now["NoNewPrivs"] == "1"
    assert (ends.near.end(60).code, ends.far.end(60).code) == (0, 0)
    place = ends.far_record.stat()
    assert (place.st_uid, place.st_gid, place.st_mode & 0o777) == (0, 0, 0o600)
    found = result(ends.judged("--json=-"))
    assert found["complete"]
    for flow in ("new", "reply"):
        told_ = set().union(*outcomes(found, flow=flow).values())
        assert told_ <= {"delivered", "state-possible"}
    assert not any("far:" in note for note in found["notes"]), found["notes"]
    ledger = Ledger(lab.directory / "far" / "probe" / "flows.sqlite")
    esp = Tuple5(4, 50, lab.far_address(), 0, lab.near_address(), 0)
    assert ledger.age(esp, moment()) is not None, "the next run knows of this one"


def test_whom_it_becomes(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    ends = Ends(lab, write_key(lab), "--only=esp", "--at=+10m")
    for user, uid in (("root", "0"), ("daemon", str(pwd.getpwnam("daemon").pw_uid))):
        orders, ends.orders = ends.orders, f"{ends.orders} --user={user}"
        ends.start_far()
        ends.far.hear("records from")
        assert told(ends.far.process.pid)["Uid"].split()[0] == uid
        ends.far.process.terminate()
        assert ends.far.end().code == 3
        ends.orders = orders
    ends.orders += " --user=no-such-user"
    ends.start_far()
    said = ends.far.end()
    assert (said.code, "this host has no such user" in said.words) == (2, True)
    ends.near.process.terminate()


def test_what_cannot_work_is_said_at_once_and_not_at_the_hour(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    ends = Ends(lab, write_key(lab), "--only=esp", "--at=+10m")
    target = lab.directory / "target"
    target.write_text("somebody's\n")
    target.chmod(0o644)
    orders, no_raw = ends.orders, ("setpriv", "--bounding-set=-net_raw", "--")
    (lab.directory / "link").symlink_to(target)
    os.mkfifo(lab.directory / "pipe")
    for name, prefix, words in (
        ("link", (), "Too many levels of symbolic links"),
        ("pipe", (), "cannot write"),
        ("", (), "Is a directory"),
        ("far.rec", no_raw, "the far host lets this program open no raw sockets"),
    ):
        ends.orders = orders.replace(str(ends.far_record), str(lab.directory / name))
        ends.start_far(prefix=prefix)
        said = ends.far.end()
        assert (said.code, words in said.words) == (3, True), said
    assert target.read_text() == "somebody's\n"
    assert target.stat().st_mode & 0o777 == 0o644
    assert not ends.far_record.exists()
    ends.near.process.terminate()


def test_a_record_for_which_there_is_no_room(make_lab: MakeLab) -> None:
    """It is there whole or not at all."""
    lab = make_lab("open")
    ends = Ends(lab, write_key(lab), "--only=esp,ah,ike")
    place = lab.directory / "disk"
    place.mkdir()
    ends.orders = ends.orders.replace(str(ends.far_record), str(place / "far.rec"))
    copy = lab.directory / "copy"
    mount = f"mount -t tmpfs -o size=8k tmpfs {place}; echo before >{place}/far.rec;"
    ends.start_far(mount, prefix=("unshare", "--mount", "--"))
    ends.far.hear("records from")
    pid = ends.far.process.pid
    left = Path(f"/proc/{pid}/root{place}/far.rec")
    assert left.read_text() == "before\n", "until there is something better"
    held = os.open(left, os.O_RDONLY)
    assert ends.near.end(60).code == 0
    said = ends.far.end(60)
    assert (said.code, "No space left on device" in said.words) == (3, True), said
    copy.write_bytes(os.read(held, 1 << 20))
    os.close(held)
    assert copy.read_bytes() == b""
    ends.far_record = copy
    assert "it is empty" in ends.judged().words


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
