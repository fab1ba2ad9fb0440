"""An inspecting firewall must believe us: Wireshark takes every packet for what it claims to be."""

from __future__ import annotations

import re
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from probe.lab import Lab, load_firewall
from tests.dissect.wireshark import WARNING, read, worst
from tests.netns.test_verdicts import judged

pytestmark = pytest.mark.netns

OURS = "not tcp.port == 5088 and not icmpv6.type >= 130 and not arp"
FIELDS = (
    "frame.number",
    "frame.protocols",
    "_ws.expert.severity",
    "_ws.expert.message",
    "isakmp.exchangetype",
    "kerberos.msg_type",
)
FRAGMENT = ("ip.src", "ip.dst", "ip.proto", "ip.id", "ip.frag_offset")
# What the scenario "all" sends, and how often at least: a request and its answer, both ways.
WANTED = ("esp", "ah", "isakmp", "udpencap", "kerberos", "icmp")


@pytest.fixture(scope="module", params=[4, 6])
def capture(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that crossed the firewall in one whole run.

    Of 65,536 names for IPv4 datagrams in fragments two may now and then be the same: a host joins
    them rightly, one being gone when the other comes, but Wireshark forgets none.
    """
    family: int = request.param
    for attempt in range(4):
        file = tmp_path_factory.mktemp("capture") / f"run{family}-{attempt}.pcapng"
        if not record(file, family):
            continue
        parts = read(file, FRAGMENT, "ip.flags.mf == 1 or ip.frag_offset > 0")
        if len(set(map(tuple, parts))) == len(parts):
            return file
    raise AssertionError("packets left out, or the same names for fragments, in each of four runs")


def record(file: Path, family: int) -> bool:
    """False where dumpcap had to leave some out: Wireshark would take it for the sender's fault."""
    with Lab(load_firewall("open"), family) as lab:
        dumpcap = lab.spawn(
            "fw", ["dumpcap", "-q", "-i", "near0", "-w", str(file)], stderr=subprocess.PIPE
        )
        assert dumpcap.stderr is not None
        while b"File:" not in (line := dumpcap.stderr.readline()):
            assert line, "dumpcap did not begin"
        result = judged(lab, "--scenario=all", "--sizes")
        assert result["summary"]["fail"] == 0
        dumpcap.send_signal(signal.SIGINT)
        told = re.search(rb"received/dropped on interface .*: \d+/(\d+)", dumpcap.communicate()[1])
        assert told, "dumpcap does not say how many it has left out"
        return int(told[1]) == 0


@pytest.fixture(scope="module")
def frames(capture: Path) -> list[list[str]]:
    """FIELDS of every packet, as tshark reads it."""
    return read(capture, FIELDS, OURS)


def test_nothing_is_malformed_or_worth_a_warning(frames: list[list[str]]) -> None:
    assert len(frames) > 100
    odd = [f for f in frames if "malformed" in f[1] or worst(f[2]) >= WARNING]
    assert not odd


def test_everything_is_taken_for_what_it_claims_to_be(frames: list[list[str]]) -> None:
    seen = Counter(layer for frame in frames for layer in set(frame[1].split(":")))
    family6 = "ipv6" in seen
    for layer in WANTED:
        assert seen["icmpv6" if layer == "icmp" and family6 else layer] >= 12, (layer, seen)
    # IKE_SA_INIT (RFC 7296); main mode and the informational exchange of IKEv1 (RFC 2408)
    assert {frame[4] for frame in frames if frame[4]} == {"34", "2", "5"}
    assert {frame[5] for frame in frames if frame[5]} == {"10", "30"}  # AS-REQ and KRB-ERROR


def test_no_payload_of_ours_is_left_unread(frames: list[list[str]]) -> None:
    """What Wireshark has no name for is "data": the inside of AH, and the middle of a datagram."""
    unread = {frame[1] for frame in frames if frame[1].endswith((":udp:data", ":tcp:data"))}
    assert {layers for layers in unread if ":ah:" not in layers} == set()


def test_the_documented_filter_finds_every_request_of_ike_and_kerberos(
    capture: Path, frames: list[list[str]]
) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    start = readme.index("In Wireshark: `") + len("In Wireshark: `")
    documented = " ".join(readme[start : readme.index("`", start)].split())
    found = {frame[0] for frame in read(capture, FIELDS, documented)}
    # IKE both ways carries the Vendor ID; a KRB-ERROR names the client only where it has to.
    asked = {f[0] for f in frames if f[4] or f[5] == "10"}
    assert asked
    assert asked <= found
