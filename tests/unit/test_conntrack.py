from __future__ import annotations

from agent.ledger import Tuple5
from agent.linux.conntrack import Tracked, parse

NEAR, FAR = "10.77.1.2", "10.77.2.2"
LINES = """\
ipv4     2 unknown  50 598 src=10.77.1.2 dst=10.77.2.2 [UNREPLIED] src=10.77.2.2 dst=10.77.1.2 use=2
ipv4     2 udp      17 29 src=10.77.2.2 dst=10.77.1.2 sport=500 dport=500 [UNREPLIED] src=10.77.1.2
ipv4     2 unknown  51 9 src=10.77.1.2 dst=10.77.2.2 src=10.77.2.2 dst=10.77.1.2 [ASSURED] use=2
ipv4     2 udp      17 29 src=10.77.1.2 dst=192.0.2.1 sport=500 dport=500 src=192.0.2.1
nonsense
""".splitlines()


def test_what_the_table_says_of_two_hosts() -> None:
    assert list(parse(LINES, NEAR, FAR)) == [
        Tracked(Tuple5(4, 50, NEAR, 0, FAR, 0), crossed=False),  # sent, and never answered
        Tracked(Tuple5(4, 17, NEAR, 500, FAR, 500), crossed=True),  # it came from afar
        Tracked(Tuple5(4, 51, NEAR, 0, FAR, 0), crossed=True),
    ]


def test_addresses_that_are_written_in_full() -> None:
    long = "fd77:0001:0000:0000:0000:0000:0000:0002"
    line = (
        f"ipv6     10 unknown  50 598 src={long} dst=fd77:0002::2 [UNREPLIED] src=fd77:2::2 use=2"
    )
    (found,) = parse([line], "fd77:1::2", "fd77:2::2")
    assert found.flow == Tuple5(6, 50, "fd77:1::2", 0, "fd77:2::2", 0)
