"""A thousand connections that prove nothing: the client with a key gets in, and memory stays."""

from __future__ import annotations

import re
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pyroute2 import netns

from agent.access import keys, tls
from agent.access.keyring import identifier
from agent.access.waiting import ROOM
from probe.lab import Lab, load_firewall
from tests.netns.ends import agent_log, descriptors, probe, wait_until
from tests.netns.test_bad_luck_agent import FAR, HELLO, OPEN, Far, changed

pytestmark = pytest.mark.netns

CROWD = 1000
CLIENT_SECONDS = 20.0  # for a run of a second, on a machine that has other things to do
GROWTH = 64  # MB that the agent may be larger by, however many come


@pytest.fixture(scope="module", autouse=True)
def _enough_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(scope="module")
def far() -> Iterator[Far]:
    with Lab(load_firewall("open")) as lab:
        yield Far(lab)


def resident(pid: int) -> float:
    """MB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def hello(name: str) -> bytes:
    """What a client says first: in full, with the name of a key that it need not hold."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    link = tls.context(bytes(32), server=False).wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        link.do_handshake()
    return outgoing.read()


def come(
    lab: Lab, count: int, words: bytes, whence: str = "", port: int = 5088
) -> list[socket.socket]:
    """So many connections from near (or ``whence``), each of which says that and waits."""

    def enter() -> list[socket.socket]:
        netns.setns(whence or lab.near, flags=0)
        crowd = []
        for _ in range(count):
            sock = socket.create_connection((FAR, port), 20)
            crowd.append(sock)
            try:
                sock.sendall(words)
            except OSError:
                continue  # sent away for another that came meanwhile
        return crowd

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(enter).result()


@contextmanager
def slowly(crowd: Sequence[socket.socket], words: bytes) -> Iterator[None]:
    """All of them go on saying it, octet by octet."""
    over = threading.Event()

    def speak() -> None:
        for place in range(len(words)):
            for sock in crowd:
                try:
                    sock.send(words[place : place + 1])
                except OSError:
                    continue
            if over.wait(0.05):
                return

    thread = threading.Thread(target=speak)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def silence(_far: Far) -> bytes:
    return b""


def half_a_hello(far: Far) -> bytes:
    return hello(identifier(keys.load(far.key)))[:150]


def a_hello_and_no_more(far: Far) -> bytes:
    return hello(identifier(keys.load(far.key)))


def octets(_far: Far) -> bytes:
    return b"\x16"


@pytest.mark.parametrize("words", [silence, half_a_hello, a_hello_and_no_more, octets])
def test_a_crowd_neither_blocks_a_client_nor_grows_the_agent(
    far: Far, words: Callable[[Far], bytes]
) -> None:
    pid = far.agent.pid
    before = resident(pid)
    said = words(far)
    with ExitStack() as stack:
        crowd = come(far.lab, CROWD, said)
        for sock in crowd:
            stack.callback(sock.close)
        if words is octets:
            stack.enter_context(slowly(crowd, a_hello_and_no_more(far)[1:]))
        assert descriptors(pid) <= far.idle + ROOM + 8
        start = time.monotonic()
        run = probe(far.lab, far.key, "--only=esp,kerberos-tcp", "--shots=1")
        assert run.code == 0, run
        assert time.monotonic() - start < CLIENT_SECONDS
        assert descriptors(pid) <= far.idle + ROOM + 8
        assert resident(pid) - before < GROWTH
    wait_until(far.is_idle, "all sockets closed", 12)
    assert resident(pid) - before < GROWTH
    assert far.agent.poll() is None
    agent_log(far.lab)


TCP_CHECK = {
    "number": 1,
    "kind": "kerberos-tcp",
    "direction": "outbound",
    "flow": "new",
    "family": 4,
    "destination_port": 88,
}


def test_a_crowd_at_a_port_under_test_leaves_room_for_the_host_that_tests_it(far: Far) -> None:
    with far.session(HELLO, changed(OPEN, checks=[TCP_CHECK])), ExitStack() as stack:
        for sock in come(far.lab, 400, b"", far.lab.fw, 88):
            stack.callback(sock.close)
        (ours,) = come(far.lab, 1, b"", port=88)
        stack.callback(ours.close)
        ours.settimeout(0.5)
        with pytest.raises(TimeoutError):  # it was taken, and stays open
            ours.recv(1)
    wait_until(far.is_idle, "all sockets closed", 12)
