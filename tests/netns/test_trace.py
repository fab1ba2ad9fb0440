"""``probe trace`` through two and three real routers, whose kernels limit ICMP errors as usual.

A walk is mostly waiting, so the labs stand side by side and all walk at once.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from probe.lab import start_agent, write_key
from tests.netns.chain import Chain
from tests.netns.ends import Json, Running, Watch, start_probe, wait_until

pytestmark = pytest.mark.netns

FORWARD = """
table inet test {{
    chain forward {{
        type filter hook forward priority filter; policy accept;
        {rule}
    }}
}}
"""
SILENT = """
table inet silent {
    chain output {
        type filter hook output priority filter; policy accept;
        icmp type time-exceeded drop
    }
}
"""
MASQUERADE = """
table ip nat {
    chain out {
        type nat hook postrouting priority srcnat;
        oifname "far0" masquerade
    }
}
"""
FAR_INPUT = """
table inet host {
    chain input {
        type filter hook input priority filter; policy accept;
        meta l4proto esp drop
    }
}
"""


@dataclass(frozen=True)
class Setting:
    routers: int
    at: int
    family: int
    rule: str = ""
    arguments: tuple[str, ...] = ()
    more: str = ""
    far: str = ""
    limited: bool = True


SETTINGS = {
    "first drops ESP out": Setting(
        2, 1, 4, 'iifname "near0" meta l4proto esp drop', ("--kind=esp",)
    ),
    "middle drops AH in": Setting(3, 2, 6, 'iifname "far0" meta l4proto ah drop', ("--kind=ah",)),
    "last drops IKE": Setting(3, 3, 4, "udp dport 500 drop"),
    "last drops TCP out": Setting(
        2, 2, 6, 'iifname "near0" tcp dport 88 drop', ("--kind=kerberos-tcp",)
    ),
    "silent router drops ESP out": Setting(
        3, 2, 4, 'iifname "near0" meta l4proto esp drop', ("--kind=esp",), SILENT
    ),
    "last rejects AH out": Setting(
        2,
        2,
        4,
        'iifname "near0" meta l4proto ah reject with icmpx admin-prohibited',
        ("--kind=ah",),
    ),
    "nat, then drop": Setting(
        2, 1, 4, 'iifname "near0" udp dport 4500 drop', ("--kind=esp-in-udp",), MASQUERADE
    ),
    "far's own firewall": Setting(2, 1, 4, "", ("--kind=esp",), far=FAR_INPUT),
    "middle drops ESP out, no kind named": Setting(
        3, 2, 4, 'iifname "near0" meta l4proto esp drop'
    ),
    "open": Setting(2, 1, 6),
    "everything dropped behind the first": Setting(
        2,
        1,
        4,
        "tcp dport 5088 accept\ntcp sport 5088 accept\ndrop",
        ("--kind=ike",),
    ),
}


class Walking:
    """A lab, and ``probe trace`` that runs in it."""

    def __init__(self, setting: Setting) -> None:
        self.lab = Chain(setting.routers, setting.at, setting.family, limited=setting.limited)
        self.setting = setting

    def __enter__(self) -> Walking:
        self.lab.__enter__()
        self.lab.load("fw", FORWARD.format(rule=self.setting.rule) + self.setting.more)
        if self.setting.far:
            self.lab.load("far", self.setting.far)
        self.key = write_key(self.lab)
        start_agent(self.lab, self.key)
        self.running = self.start(*self.setting.arguments)
        return self

    def __exit__(self, *error: object) -> None:
        self.lab.close()

    def start(self, *arguments: str) -> Running:
        return start_probe(self.lab, self.key, "--json=-", *arguments, command="trace")

    def end(self, running: Running | None = None) -> tuple[int, Json, str]:
        """Exit code, JSON, and the table in one line."""
        said = (running or self.running).end(60)
        assert all(len(line) <= 80 for line in said.err.splitlines()), said.err
        return said.code, json.loads(said.out), said.words


@pytest.fixture(scope="module")
def walks() -> Iterator[dict[str, tuple[Chain, int, Json, str]]]:
    """Every setting's outcome."""
    with ExitStack() as stack:
        begun = {name: stack.enter_context(Walking(s)) for name, s in SETTINGS.items()}
        yield {name: (walking.lab, *walking.end()) for name, walking in begun.items()}


Walks = dict[str, tuple[Chain, int, Json, str]]


def way(found: Json, direction: str) -> Json:
    (told,) = [w for w in found["ways"] if w["direction"] == direction]
    assert isinstance(told, dict)
    return told


def reached(told: Json) -> list[tuple[str, str, str]]:
    """(address, the kind got there, the reference got there) by hop."""
    return [
        (" ".join(hop["addresses"]), hop["reached"], hop["reference_reached"])
        for hop in told["hops"]
    ]


def places(told: Json) -> list[int | str | None]:
    names = ("last_forwarder", "last_receiver", "first_without")
    return [told[name] and (told[name]["hop"] or told[name]["addresses"][0]) for name in names]


def test_the_first_router_drops_one_kind_outbound(walks: Walks) -> None:
    lab, code, found, table = walks["first drops ESP out"]
    assert code == 1
    told = way(found, "outbound")
    one, two = lab.outbound()
    assert reached(told) == [(one, "yes", "yes"), (two, "no", "yes")]
    assert places(told) == ["10.77.1.2", 1, 2]
    assert f"{one} received it; the next hop, {two}, which ICMP echo reaches, never did" in table
    assert f"{one} drops it on the way through, or {two} does at its entrance" in table
    back = way(found, "inbound")
    assert back["outcome"] == "delivered"
    assert reached(back) == [(address, "yes", "yes") for address in lab.inbound()]


def test_the_middle_router_drops_one_kind_inbound_over_ipv6(walks: Walks) -> None:
    lab, code, found, table = walks["middle drops AH in"]
    assert code == 1
    one, two, three = lab.inbound()
    told = way(found, "inbound")
    assert reached(told) == [(one, "yes", "yes"), (two, "yes", "yes"), (three, "no", "yes")]
    assert places(told) == [1, 2, 3]
    assert f"{one} forwarded it and {two} received it; the next hop, {three}" in table
    out = way(found, "outbound")
    assert [hop[1] for hop in reached(out)] == ["yes"] * 3
    # The last router had let AH in on its way to near, and no rule of its own is proved.
    assert out["outcome"] == "state-possible"


def test_without_a_kind_the_first_that_fails_is_walked(walks: Walks) -> None:
    lab, code, found, table = walks["last drops IKE"]
    assert (code, found["trace"]) == (1, "ike")
    out, back = way(found, "outbound"), way(found, "inbound")
    assert [hop[1] for hop in reached(out)] == ["yes", "yes", "yes"]
    assert places(out) == [2, 3, lab.far_address()]
    assert f"{lab.outbound()[-1]} drops it on the way through, or something in front of" in table
    assert [hop[1] for hop in reached(back)] == ["yes", "no", "no"]
    assert places(back) == [lab.far_address(), 1, 2]


def test_what_was_asked_first_owes_nothing_to_the_walk_back(walks: Walks) -> None:
    """Inbound was found open before ESP went out at all: no state can have helped it."""
    _, code, found, _ = walks["middle drops ESP out, no kind named"]
    assert (code, found["trace"]) == (1, "esp")
    assert [way["direction"] for way in found["ways"]] == ["inbound", "outbound"]
    assert [way["outcome"] for way in found["ways"]] == ["delivered", "lost"]
    assert places(way(found, "outbound")) == [1, 2, 3]


def test_a_tcp_connection_dies_like_the_rest(walks: Walks) -> None:
    lab, code, found, _ = walks["last drops TCP out"]
    assert code == 1
    assert reached(way(found, "outbound")) == [(a, "yes", "yes") for a in lab.outbound()]
    assert places(way(found, "outbound")) == [1, 2, lab.far_address()]
    assert way(found, "inbound")["outcome"] == "delivered"
    assert reached(way(found, "inbound")) == [(a, "yes", "yes") for a in lab.inbound()]


def test_a_silent_router_is_a_question_mark(walks: Walks) -> None:
    lab, code, found, table = walks["silent router drops ESP out"]
    assert code == 1
    one, _, three = lab.outbound()
    told = way(found, "outbound")
    assert reached(told) == [(one, "yes", "yes"), ("", "unknown", "yes"), (three, "no", "yes")]
    assert places(told) == ["10.77.1.2", 1, 3]
    assert f"hop 2 never answered, and behind, {three}, which ICMP echo reaches" in table
    assert "or the silent hop does, or" in table
    assert way(found, "inbound")["outcome"] == "delivered"


def test_a_router_that_refuses_is_named(walks: Walks) -> None:
    lab, code, found, table = walks["last rejects AH out"]
    assert code == 1
    told = way(found, "outbound")
    assert told["outcome"] == "refused"
    assert [hop[1] for hop in reached(told)] == ["yes", "yes"]
    assert f"That is hop 2; {lab.outbound()[0]} was the last to forward it" in table


def test_behind_nat_outbound_is_walked_and_inbound_explained(walks: Walks) -> None:
    lab, code, found, table = walks["nat, then drop"]
    assert code == 1
    one, two = lab.outbound()
    assert reached(way(found, "outbound")) == [(one, "yes", "yes"), (two, "no", "yes")]
    assert way(found, "inbound")["outcome"] == "not-applicable"
    assert way(found, "inbound")["hops"] == []
    assert "near sits behind NAT" in table


def test_the_far_hosts_own_firewall_is_not_the_routers(walks: Walks) -> None:
    _, code, found, table = walks["far's own firewall"]
    told = way(found, "outbound")
    assert (code, told["outcome"]) == (1, "host-dropped")
    assert [hop[1] for hop in reached(told)] == ["yes", "yes"]
    assert "no router stops it" in table
    assert way(found, "inbound")["outcome"] == "delivered"


def test_where_everything_passes_the_way_is_shown(walks: Walks) -> None:
    lab, code, found, table = walks["open"]
    assert code == 0
    assert reached(way(found, "outbound")) == [(a, "yes", "yes") for a in lab.outbound()]
    assert reached(way(found, "inbound")) == [(a, "yes", "yes") for a in lab.inbound()]
    assert "PASS: ESP gets through inbound and outbound." in table


def test_where_everything_dies_no_kind_is_blamed(walks: Walks) -> None:
    lab, code, found, table = walks["everything dropped behind the first"]
    assert code == 1
    told = way(found, "outbound")
    assert reached(told)[0] == (lab.outbound()[0], "yes", "yes")
    assert places(told) == ["10.77.1.2", 1, None]
    assert "and so did ICMP echo; neither was seen behind it" in table
    assert "drops it on the way" not in table


def _some_kinds(family: int) -> dict[str, Json]:
    found = {}
    setting = Setting(1, 1, family, "", ("--kind=esp", "--timeout=0.2"), limited=False)
    with Walking(setting) as walking:
        code, found["esp"], _ = walking.end()
        assert code == 0
        for kind in ("ah", "ike", "nat-keepalive", "kerberos-tcp", "icmp-echo"):
            code, found[kind], text = walking.end(
                walking.start(f"--kind={kind}", "--timeout=0.2", "--max-hops=4")
            )
            assert code == 0, text
    return found


def test_each_way_to_limit_a_shot_is_answered_by_the_router() -> None:
    """Raw, AH's own header, UDP, TCP; the kinds that are left are recognised in tests/unit."""
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(_some_kinds, (4, 6)):
            for kind, told in found.items():
                for direction in ("outbound", "inbound"):
                    (hop,) = way(told, direction)["hops"]
                    assert hop["answers"] >= 2, (kind, direction, hop)


COUNT = """
table inet count {
    counter shots { }
    chain c { type filter hook prerouting priority -300; meta l4proto esp counter name shots; }
}
"""


def _cut(walking: Walking, where: str, after: int) -> tuple[int, Json, str]:
    """Takes that end's link away for a second, once so many of ESP's shots have crossed fw."""
    lab = walking.lab
    gate = lab.address(1, 1) if where == "near" else lab.address(3, 0)

    def counted() -> int:
        said = json.loads(
            lab.run("fw", ["nft", "-j", "list", "counter", "inet", "count", "shots"]).stdout
        )
        return next(int(e["counter"]["packets"]) for e in said["nftables"] if "counter" in e)

    wait_until(lambda: counted() >= after, "ESP's shots", 20.0)
    ip = ["ip", "link", "set", "eth0"]
    assert lab.run(where, [*ip, "down"]).returncode == 0
    time.sleep(1.0)
    assert lab.run(where, [*ip, "up"]).returncode == 0
    for link in (1, 2, 3):
        lab.run(where, ["ip", "route", "add", f"10.77.{link}.0/24", "via", gate])  # went with it
    return walking.end()


@pytest.mark.parametrize("where", ["near", "far"])
def test_an_end_that_loses_its_link_for_a_while_blames_no_hop(where: str) -> None:
    """During the survey, and during the walk, of a path that is open and of one that is not."""
    settings = [
        Setting(2, 1, 4, rule, ("--kind=esp", "--timeout=3"), COUNT, limited=False)
        for rule in ("", "meta l4proto esp drop")
    ]
    moments = [(setting, after) for setting in settings for after in (1, 7)]
    with ExitStack() as stack, ThreadPoolExecutor(len(moments)) as pool:
        walking = [(stack.enter_context(Walking(setting)), after) for setting, after in moments]
        for code, found, table in pool.map(lambda each: _cut(each[0], where, each[1]), walking):
            assert code in (0, 3), table
            for told in found["ways"]:
                assert told["outcome"] in ("delivered", "state-possible", "unobserved"), told
                assert told["first_without"] is None
                assert "no" not in [hop["reached"] for hop in told["hops"]], told
            assert "DIES" not in table


def test_an_interrupted_walk_shows_what_it_has() -> None:
    with Walking(Setting(1, 1, 4, "meta l4proto esp drop", ("--kind=esp",))) as walking:
        watch = Watch(walking.lab)
        wait_until(lambda: watch.count("near"), "the first shot")
        walking.running.process.send_signal(signal.SIGINT)
        code, found, table = walking.end()
    assert code == 130
    assert found["complete"] is False
    assert "interrupted" in table
