"""Sockets on the loopback interface: no privilege, and nothing that leaves this host."""

from __future__ import annotations

import socket
import struct

import pytest

from agent.linux import sockets


def counted(sock: socket.socket) -> int:
    """The kernel's own count, whatever it means."""
    info = sock.getsockopt(socket.SOL_SOCKET, sockets.SO_MEMINFO, 36)
    return int(struct.unpack_from("=9I", info)[sockets.MEMINFO_DROPS])


def test_what_overflows_a_udp_socket_is_counted() -> None:
    with sockets.udp(4, "127.0.0.1", 0) as sink, sockets.udp(4, "127.0.0.1", 0) as source:
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        for _ in range(200):
            source.sendto(bytes(1000), sink.getsockname())
        assert sockets.dropped(sink) == counted(sink) > 0


def test_what_tcp_has_no_use_for_is_no_overflow() -> None:
    with sockets.tcp(4, "127.0.0.1", 0) as listener:
        listener.listen(0)
        asking = [sockets.tcp(4, "127.0.0.1", 0) for _ in range(5)]
        for sock in asking:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        assert counted(listener) > 0
        assert sockets.dropped(listener) == 0
        for sock in asking:
            sock.close()


class Brings:
    """A raw IPv6 socket as the kernel serves it: no header, the destination beside the data."""

    def recvmsg(self, *_sizes: int) -> object:
        info = socket.inet_pton(socket.AF_INET6, "2001:db8::1") + bytes(4)
        ancillary = [(socket.IPPROTO_IPV6, sockets.IPV6_PKTINFO, info)]
        return struct.pack("!4H", 88, 40_000, 9, 0) + b"x", ancillary, 0, ("2001:db8::2", 0, 0, 0)


def test_a_raw_ipv6_socket_tells_no_ttl() -> None:
    """Who spoke is told by it: one that was made up would be a neighbour's."""
    packet = sockets.read_raw(Brings(), 6, sockets.UDP)  # type: ignore[arg-type]
    assert (packet.source, packet.destination) == ("2001:db8::2", "2001:db8::1")
    assert packet.ttl is None


def free_port() -> int:
    with sockets.udp(4, "127.0.0.1", 0) as sock, sockets.tcp(4, "127.0.0.1", 0) as other:
        assert other.fileno() >= 0
        return int(sock.getsockname()[1])


def sharing(kind: socket.SocketKind, option: int, place: tuple[str, int]) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, option, 1)
    sock.bind(place)
    return sock


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_daemon_that_starts_later_has_our_udp_port_and_is_noticed(address: str) -> None:
    with sockets.udp(4, "127.0.0.1", free_port()) as ours:
        port = ours.getsockname()[1]
        assert not sockets.shared(ours, sockets.udp_places(4))
        with sharing(socket.SOCK_DGRAM, socket.SO_REUSEADDR, (address, port)):
            assert sockets.shared(ours, sockets.udp_places(4))
        assert not sockets.shared(ours, sockets.udp_places(4))
        with sharing(socket.SOCK_DGRAM, socket.SO_REUSEADDR, ("127.0.0.2", port)):
            assert not sockets.shared(ours, sockets.udp_places(4))


def test_a_port_that_a_daemon_would_share_is_not_ours_to_share() -> None:
    with (
        sharing(socket.SOCK_DGRAM, socket.SO_REUSEADDR, ("0.0.0.0", 0)) as theirs,
        pytest.raises(OSError, match="in use"),
    ):
        sockets.udp(4, "127.0.0.1", theirs.getsockname()[1])


def test_a_kdc_that_starts_later_can_listen_beside_us() -> None:
    with sockets.tcp(4, "127.0.0.1", free_port()) as ours:
        sockets.listen(ours)
        place = ("0.0.0.0", ours.getsockname()[1])
        with sharing(socket.SOCK_STREAM, socket.SO_REUSEPORT, place) as theirs:
            theirs.listen()
