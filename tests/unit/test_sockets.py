"""Sockets on the loopback interface: no privilege, and nothing that leaves this host."""

from __future__ import annotations

import socket
import struct

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
