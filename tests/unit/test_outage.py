from __future__ import annotations

import ipaddress
import struct

from hypothesis import given
from hypothesis import strategies as st

from agent.linux import outage
from agent.linux.outage import ADDRESS, HEADER, LINK, Outlook, attributes, messages

LOOPBACK = 1


def message(kind: int, body: bytes) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, 0, 0, 0) + body


def link(kind: int, index: int, flags: int) -> tuple[int, bytes]:
    return kind, LINK.pack(0, 0, index, flags, 0)


def gone(address: str, attribute: int = outage.IFA_LOCAL) -> tuple[int, bytes]:
    packed = ipaddress.ip_address(address).packed
    value = struct.pack("=HH", 4 + len(packed), attribute) + packed
    return outage.RTM_DELADDR, ADDRESS.pack(2, 24, 0, 0, 7) + value


def test_the_interface_is_found_by_its_route() -> None:
    assert outage.interface_towards("127.0.0.1", "127.0.0.1") == LOOPBACK


def test_what_spoils_a_run_and_what_does_not() -> None:
    outlook = Outlook("127.0.0.1", "127.0.0.1")
    up = outage.IFF_UP | outage.IFF_RUNNING
    for harmless in (
        link(outage.RTM_NEWLINK, LOOPBACK, up),
        link(outage.RTM_NEWLINK, 99, 0),
        link(outage.RTM_DELLINK, 99, 0),
        gone("127.0.0.2"),
        gone("::1", outage.IFA_ADDRESS),
        (outage.RTM_NEWLINK, b"short"),
        (outage.RTM_DELADDR, b""),
    ):
        assert outlook._says(*harmless) == ""
    for telling in (
        link(outage.RTM_NEWLINK, LOOPBACK, outage.IFF_UP),
        link(outage.RTM_NEWLINK, LOOPBACK, 0),
        link(outage.RTM_DELLINK, LOOPBACK, up),
    ):
        assert "lost its link" in outlook._says(*telling)
    assert outlook._says(*gone("127.0.0.1")) == "lost its address 127.0.0.1"
    assert outlook.trouble() == "", "nothing has really happened"
    outlook.close()
    assert outlook.trouble() == ""


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_and_attributes_that_lie_within_them(data: bytes) -> None:
    for found in (messages(data), attributes(data)):
        for _, body in found:
            assert body in data


def test_several_messages_of_odd_lengths() -> None:
    data = message(16, b"abc") + b"\0" + message(17, b"") + b"rest"
    assert list(messages(data)) == [(16, b"abc"), (17, b"")]
