"""What holds for every kind: its shots are known again, by their run alone, at every size."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from agent.errors import AgentError, WireError
from agent.model import Tag
from agent.wire import KINDS, codec, ip
from agent.wire.base import Keys, Path, Reading, seal, unseal
from tests.unit.wire_shots import (
    ANSWER_TAG,
    EVERY_KIND,
    FAMILIES,
    FOREIGN,
    KEYS,
    TAG,
    TAGGED,
    back,
    exchange,
    path,
    seen,
)

SIZES = (None, 576, 1280, 1400, 1500, 2000, 9000)
both_families = pytest.mark.parametrize("family", FAMILIES)
every_kind = pytest.mark.parametrize("kind", EVERY_KIND)
every_tagged_kind = pytest.mark.parametrize("kind", TAGGED)
SIZED = tuple(kind for kind in TAGGED if kind != "icmp-echo")

# What DOMAIN's numbers lead to: (IPv4 request, IPv4 answer) in octets of IP packet.
NATURAL = {
    "esp": (140, 140),
    "ah": (112, 112),
    "ike": (288, 100),
    "ike-v1": (216, 104),
    "ike-nat-t": (292, 104),
    "esp-in-udp": (148, 148),
    "nat-keepalive": (29, 29),
    "kerberos-udp": (225, 221),
    "kerberos-tcp": (241, 237),
    "icmp-echo": (84, 84),
    "ike-noise": (288, 288),
    "kerberos-udp-noise": (225, 225),
    "kerberos-tcp-noise": (241, 241),
    "udp:1701": (73, 73),
    "tcp:445": (85, 85),
}


@both_families
@every_kind
def test_natural_sizes(kind: str, family: int) -> None:
    shot = exchange(kind, family)
    more = 0 if family == 4 else 24 if kind == "ah" else 20  # AH is padded to 8 octets in IPv6
    assert (len(shot.asked), len(shot.answered)) == tuple(size + more for size in NATURAL[kind])


@both_families
@every_tagged_kind
@pytest.mark.parametrize("size", SIZES)
def test_a_request_is_known_again(kind: str, family: int, size: int | None) -> None:
    packet = seen(kind, family, size)
    assert codec(kind).read(KEYS, packet) == Reading(TAG)
    assert size is None or packet.size == size


@both_families
@pytest.mark.parametrize("kind", SIZED)
@pytest.mark.parametrize("size", SIZES)
def test_an_answer_is_known_again(kind: str, family: int, size: int | None) -> None:
    packet = ip.parse(exchange(kind, family, size, size).answered)
    assert codec(kind).read(KEYS, packet) == Reading(ANSWER_TAG)
    assert size is None or packet.size == size


@both_families
@every_kind
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("answer_size", SIZES)
def test_an_answer_is_never_longer_than_its_request(
    kind: str, family: int, size: int | None, answer_size: int | None
) -> None:
    if kind == "nat-keepalive":
        size = answer_size = None
    shot = exchange(kind, family, size, answer_size)
    assert len(shot.answered) <= len(shot.asked)


@both_families
@every_tagged_kind
def test_another_run_does_not_know_it(kind: str, family: int) -> None:
    shot = exchange(kind, family)
    for data in (shot.asked, shot.answered):
        assert codec(kind).read(FOREIGN, ip.parse(data)) is None


@both_families
@every_tagged_kind
def test_no_other_kind_takes_it_for_its_own(kind: str, family: int) -> None:
    packet = seen(kind, family)
    for other in EVERY_KIND:
        if other == kind:
            continue
        # As on the other's port: ports are what would else keep them apart.
        there = replace(packet, protocol=codec(other).protocol(family))
        try:
            reading = codec(other).read(KEYS, there)
        except WireError:
            continue
        assert reading is None


@both_families
@every_tagged_kind
def test_a_broken_off_shot_is_never_known(kind: str, family: int) -> None:
    """Only the ICMP codec cannot tell: an echo has no length of its own."""
    packet = seen(kind, family)
    least = 24 if kind == "icmp-echo" else len(packet.payload)
    for length in range(least):
        try:
            reading = codec(kind).read(KEYS, replace(packet, payload=packet.payload[:length]))
        except WireError:
            continue
        assert reading is None or not reading.intact


@both_families
@every_tagged_kind
def test_no_changed_bit_yields_another_tag(kind: str, family: int) -> None:
    packet = seen(kind, family)
    for bit in range(8 * len(packet.payload)):
        payload = bytearray(packet.payload)
        payload[bit // 8] ^= 1 << bit % 8
        try:
            reading = codec(kind).read(KEYS, replace(packet, payload=bytes(payload)))
        except WireError:
            continue
        assert reading is None or reading.tag == TAG


@both_families
@every_tagged_kind
def test_every_shot_is_of_its_own(kind: str, family: int) -> None:
    """A daemon takes an identical INIT for a retransmission; a firewall may for a replay."""
    tags = [Tag(check, shot) for check in (0, 1, 65535) for shot in (1, 2, 65535)]
    made = {codec(kind).request(KEYS, tag, path(kind, family)) for tag in tags}
    assert len(made) == len(tags)


@both_families
@every_kind
def test_keys_and_tag_decide_every_octet(kind: str, family: int) -> None:
    again = Keys(bytes(range(32)))
    assert codec(kind).request(again, TAG, path(kind, family)) == exchange(kind, family).request


@both_families
@every_kind
@pytest.mark.parametrize("size", [0, 20, 43, 65_536])
def test_impossible_sizes(kind: str, family: int, size: int) -> None:
    with pytest.raises(WireError, match=r"asked for|no IP packet has"):
        codec(kind).request(KEYS, TAG, path(kind, family), size)


@both_families
@every_tagged_kind
def test_the_smallest_size_is_the_one_that_the_error_names(kind: str, family: int) -> None:
    with pytest.raises(WireError) as raised:
        codec(kind).request(KEYS, TAG, path(kind, family), 30)
    smallest = int(str(raised.value).split(" needs ")[1].split()[0])
    assert seen(kind, family, smallest).size == smallest
    with pytest.raises(WireError):
        seen(kind, family, smallest - 1)


@both_families
@every_tagged_kind
def test_a_size_that_the_format_cannot_have_is_rounded_down(kind: str, family: int) -> None:
    smallest = seen(kind, family).size
    assert smallest is not None
    for size in range(smallest, smallest + 400):
        packet = seen(kind, family, size)
        assert packet.size is not None
        assert size - 3 <= packet.size <= size
        assert codec(kind).read(KEYS, packet) == Reading(TAG)


@both_families
@every_tagged_kind
def test_the_largest_packet(kind: str, family: int) -> None:
    packet = seen(kind, family, 65_535)
    assert packet.size is not None
    assert 65_532 <= packet.size <= 65_535
    assert codec(kind).read(KEYS, packet) == Reading(TAG)


@every_kind
def test_a_codec_says_its_own_name(kind: str) -> None:
    assert codec(kind).name == kind
    assert codec(kind) is codec(kind)


def test_the_kinds_in_their_order() -> None:
    assert KINDS == (
        "esp", "ah", "ike", "ike-v1", "ike-nat-t", "esp-in-udp", "nat-keepalive",
        "kerberos-udp", "kerberos-tcp", "icmp-echo",
        "ike-noise", "kerberos-udp-noise", "kerberos-tcp-noise",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("eps", "did you mean 'esp'"),
        ("IKE-NATT", "did you mean 'ike-nat-t'"),
        ("kerberos", "did you mean 'kerberos-"),
        ("udp:0", "udp:1701"),
        ("tcp:65536", "1 to 65535"),
        ("udp:088", "udp:1701"),
        ("udp:５", "udp:1701"),
        ("", "known are esp, ah"),
        ("zzzz", "udp:PORT"),
    ],
)
def test_an_unknown_kind(wrong: str, told: str) -> None:
    with pytest.raises(AgentError, match=told):
        codec(wrong)


def test_a_seal_is_of_one_run_one_kind_and_one_tag() -> None:
    sealed = seal(KEYS, "esp", TAG)
    assert unseal(KEYS, "esp", sealed) == TAG
    assert unseal(FOREIGN, "esp", sealed) is None
    assert unseal(KEYS, "ah", sealed) is None
    assert unseal(KEYS, "esp", sealed[:-1]) is None
    assert unseal(KEYS, "esp", bytes(2) + sealed[2:]) is None


def test_a_secret_has_32_octets() -> None:
    with pytest.raises(ValueError, match="32"):
        Keys(bytes(16))


def test_ports_and_streams() -> None:
    facts = {
        kind: (codec(kind).port, codec(kind).stream, codec(kind).fixed_source)
        for kind in EVERY_KIND
    }
    assert facts == {
        "esp": (None, False, False),
        "ah": (None, False, False),
        "ike": (500, False, True),
        "ike-v1": (500, False, True),
        "ike-nat-t": (4500, False, False),
        "esp-in-udp": (4500, False, False),
        "nat-keepalive": (4500, False, False),
        "kerberos-udp": (88, False, False),
        "kerberos-tcp": (88, True, False),
        "icmp-echo": (None, False, False),
        "ike-noise": (500, False, False),
        "kerberos-udp-noise": (88, False, False),
        "kerberos-tcp-noise": (88, True, False),
        "udp:1701": (1701, False, False),
        "tcp:445": (445, True, False),
    }


def test_protocol_numbers() -> None:
    numbers = {kind: tuple(codec(kind).protocol(family) for family in (4, 6)) for kind in KINDS}
    assert numbers == {
        "esp": (50, 50),
        "ah": (51, 51),
        "ike": (17, 17),
        "ike-v1": (17, 17),
        "ike-nat-t": (17, 17),
        "esp-in-udp": (17, 17),
        "nat-keepalive": (17, 17),
        "kerberos-udp": (17, 17),
        "kerberos-tcp": (6, 6),
        "icmp-echo": (1, 58),
        "ike-noise": (17, 17),
        "kerberos-udp-noise": (17, 17),
        "kerberos-tcp-noise": (6, 6),
    }


def test_a_zone_in_an_address_is_no_part_of_it() -> None:
    plain = Path(6, "fe80::1", "fe80::2", 500, 500)
    zoned = Path(6, "fe80::1%eth0", "fe80::2%eth0", 500, 500)
    for kind in ("ike", "ah", "icmp-echo"):
        assert codec(kind).request(KEYS, TAG, zoned) == codec(kind).request(KEYS, TAG, plain)
    assert back(plain).source == "fe80::2"


def test_a_run_needs_no_slow_import() -> None:
    """Cold start: scapy alone costs half a second, asyncio 59 ms, cryptography 32 ms."""
    program = (
        "import sys\n"
        "from agent.wire import KINDS, codec, ip, icmp\n"
        "kinds = [codec(kind) for kind in (*KINDS, 'udp:1', 'tcp:1')]\n"
        "assert 'cryptography' not in sys.modules\n"
        "from tests.unit.wire_shots import exchange, EVERY_KIND\n"
        "for kind in EVERY_KIND: exchange(kind, 4)\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    roots = {name.partition(".")[0] for name in done.stdout.split()}
    assert not roots & {"scapy", "pyroute2", "asyncio", "ssl", "rich", "tabulate"}
