"""Beside live daemons: every row is still judged rightly, and their service goes on undisturbed.

Real ones: strongSwan's charon, libreswan's pluto, MIT's KDC and Samba's. Each IKE daemon has a
connection that would take any peer with a usual proposal.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from agent.model import Tag
from agent.wire import codec
from agent.wire.base import Keys, Path
from agent.wire.ike import NO_PROPOSAL_CHOSEN, PRF_HMAC_TIGER
from agent.wire.isakmp import NOTIFY, parse_header, payloads
from probe.lab import Lab, start_agent, write_key
from tests.netns.conftest import MakeLab
from tests.netns.daemons import Charon, Daemon, IkeDaemon, Kdc, MitKdc, Pluto, SambaKdc
from tests.netns.ends import (
    Json,
    Running,
    agent_log,
    inside,
    probe,
    result,
    start_probe,
    wait_until,
)
from tests.netns.test_verdicts import EXPECTED, cells

pytestmark = pytest.mark.netns

IKE_KINDS = ("ike", "ike-nat-t")
KERBEROS_KINDS = ("kerberos-udp", "kerberos-tcp")
THROUGH = {"delivered", "state-possible"}
PRF_AT, PRF_HMAC_SHA2_256 = 59, 5

families = pytest.mark.parametrize("family", [4, 6])


def start(lab: Lab, kinds: Sequence[type[Daemon]], places: Sequence[str]) -> list[Daemon]:
    return [kind(lab, where) for kind in kinds for where in places]


def undisturbed(daemons: Sequence[Daemon]) -> None:
    """Each still answers a client of its own, and holds nothing half-open for us.

    (strongSwan asks everybody for cookies at three half-open SAs, and blocks an address at five.)
    """
    for daemon in daemons:
        client = "near" if daemon.where == "far" else "far"
        if isinstance(daemon, IkeDaemon):
            assert daemon.half_open() == 0, daemon.words()
        assert isinstance(daemon, IkeDaemon | Kdc)
        assert daemon.answers(client), daemon.words()
        assert daemon.process.poll() is None, daemon.words()


def replies(found: Json, kinds: Sequence[str]) -> list[Json]:
    chosen = [c for c in found["checks"] if c["flow"] == "reply" and c["kind"] in kinds]
    assert chosen
    return chosen


def answering(check: Json) -> str:
    return "far" if check["direction"] == "inbound" else "near"


def own_service(check: Json, name: str) -> bool:
    return f"answered by the {answering(check)} host's own {name} service" in check["cause"]


def a_daemon_answered(check: Json) -> bool:
    """Its own answer was seen to leave there and to come in here."""
    if check["kind"] == "kerberos-tcp":
        return own_service(check, "Kerberos")  # one connection, one answer
    seen = {e["at"] for e in check["evidence"] if e["event"] == "replied"}
    return seen == {"near", "far"}


@families
@pytest.mark.parametrize("places", [("near",), ("far",), ("near", "far")])
def test_every_row_is_judged_and_the_daemons_answer_is_the_reply(
    make_lab: MakeLab, family: int, places: tuple[str, ...]
) -> None:
    lab = make_lab("open", family)
    key = write_key(lab)
    daemons = start(lab, (Charon, MitKdc), places)
    undisturbed(daemons)
    start_agent(lab, key)
    said = probe(lab, key, "--scenario=all", "--json=-")
    assert said.code == 0, said.err
    found = result(said)
    assert {check["outcome"] for check in found["checks"]} <= THROUGH
    for kinds, name in ((IKE_KINDS, "IKE"), (KERBEROS_KINDS, "Kerberos")):
        for check in replies(found, kinds):
            assert own_service(check, name) == (answering(check) in places), check["cause"]
            assert a_daemon_answered(check) == (answering(check) in places), check
    undisturbed(daemons)
    agent_log(lab)


BLOCKED = [
    "udp500-missing",
    "outbound-only",
    "one-way-out",
    "reject",
    "masquerade",
    "far-host-firewall",
]


@families
@pytest.mark.parametrize("firewall", BLOCKED)
def test_what_is_blocked_is_found_with_daemons_on_both_ends(
    make_lab: MakeLab, firewall: str, family: int
) -> None:
    lab = make_lab(firewall, family)
    key = write_key(lab)
    daemons = start(lab, (Charon, MitKdc), ("near", "far"))
    start_agent(lab, key)
    found = result(probe(lab, key, "--scenario=all", "--timeout=0.5", "--json=-"))
    assert cells(found) == EXPECTED[firewall]
    for daemon in daemons:  # whose clients this firewall may keep out
        if isinstance(daemon, IkeDaemon):
            assert daemon.half_open() == 0, daemon.words()
        assert daemon.process.poll() is None, daemon.words()


def test_daemons_serve_their_clients_while_we_test(make_lab: MakeLab) -> None:
    """The longest run there is: large packets and noise too, where silence is asked again."""
    lab = make_lab("esp-missing")
    key = write_key(lab)
    ike, kdc = Charon(lab, "far"), MitKdc(lab, "far")
    undisturbed((ike, kdc))
    start_agent(lab, key)
    to_file = lab.directory / "result.json"
    options = ("--scenario=all", "--sizes", "--inspect", f"--json={to_file}")
    running = start_probe(lab, key, *options)
    rounds = most = 0
    while running.process.poll() is None:
        most = max(most, ike.half_open())
        assert ike.answers("near"), ike.words()
        assert kdc.answers("near"), kdc.words()
        rounds += 1
    assert running.end().code == 1
    found = json.loads(to_file.read_text())
    assert rounds > 1
    assert most == ike.half_open() == 0
    told = {check["kind"]: check["outcome"] for check in found["checks"] if check["flow"] == "new"}
    assert told["esp"] == "lost"
    assert {told[kind] for kind in ("ike", *KERBEROS_KINDS)} <= THROUGH
    undisturbed((ike, kdc))


def initiate(lab: Lab, shot: int, *, acceptable: bool) -> bytes:
    """One IKE_SA_INIT from near to far's daemon, and what came back."""

    def bound() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((lab.near_address(4), 0))
        return sock

    with inside(lab, "near", bound) as sock:
        sock.settimeout(10)
        ends = (lab.near_address(4), lab.far_address(4), sock.getsockname()[1], 500)
        message = bytearray(codec("ike").request(Keys(bytes(32)), Tag(1, shot), Path(4, *ends)))
        assert message[PRF_AT] == PRF_HMAC_TIGER
        if acceptable:
            message[PRF_AT] = PRF_HMAC_SHA2_256
        sock.sendto(message, (lab.far_address(4), 500))
        return sock.recv(9000)


def refused(answer: bytes) -> bool:
    return (NOTIFY, bytes((0, 0, 0, NO_PROPOSAL_CHOSEN))) in list(payloads(answer))


@pytest.mark.parametrize("kind", [Charon, Pluto])
def test_what_we_offer_no_daemon_accepts_and_so_it_holds_nothing(
    make_lab: MakeLab, kind: type[IkeDaemon]
) -> None:
    """But for the one transform that nobody has, it would be accepted, and held half-open."""
    lab = make_lab("open")
    daemon = kind(lab, "far")
    for shot in range(1, 10):
        assert refused(initiate(lab, shot, acceptable=False))
    accepted = initiate(lab, 10, acceptable=True)
    assert not refused(accepted)
    assert parse_header(accepted).responder_spi != bytes(8)
    wait_until(daemon.half_open, "the last one is held half-open")
    assert daemon.half_open() == 1  # and none of those before it


@families
def test_libreswan(make_lab: MakeLab, family: int) -> None:
    lab = make_lab("udp500-missing", family)
    key = write_key(lab)
    daemons = start(lab, (Pluto,), ("near", "far"))
    start_agent(lab, key)
    found = result(probe(lab, key, "--scenario=all", "--timeout=0.5", "--json=-"))
    assert cells(found) == EXPECTED["udp500-missing"]
    lab.flush("fw")
    found = result(probe(lab, key, "--only=ike,ike-nat-t", "--json=-", "--scenario=all"))
    assert {check["outcome"] for check in found["checks"]} <= THROUGH
    for check in replies(found, IKE_KINDS):
        assert own_service(check, "IKE"), check["cause"]
        assert a_daemon_answered(check)
    undisturbed(daemons)


@families
def test_sambas_kdc(make_lab: MakeLab, family: int) -> None:
    lab = make_lab("esp-missing", family)
    key = write_key(lab)
    kdc = SambaKdc(lab, "far")
    start_agent(lab, key)
    found = result(probe(lab, key, "--timeout=0.5", "--json=-"))
    expected = EXPECTED["esp-missing"]
    assert cells(found) == {kind: expected[kind] for kind in cells(found)}
    for check in replies(found, KERBEROS_KINDS):
        assert own_service(check, "Kerberos") == (answering(check) == "far"), check["cause"]
        assert a_daemon_answered(check) == (answering(check) == "far")
    undisturbed((kdc,))


@pytest.mark.parametrize("kind", [Pluto, MitKdc])
@pytest.mark.parametrize("where", ["near", "far"])
def test_a_daemon_that_starts_during_the_run_has_its_port(
    make_lab: MakeLab, kind: type[Daemon], where: str
) -> None:
    """Ours gives way, and nothing is misjudged for it. (charon would not share: it finds it taken.)

    libreswan binds the address that ours has, and gets all that comes; the KDC binds every address.
    Linux shares a TCP port only between sockets of one user, and the KDC is root's.
    """
    lab = make_lab("esp-missing")
    key = write_key(lab)
    start_agent(lab, key, *(["--user=root"] if kind is MitKdc else []))
    running = start_probe(lab, key, "--scenario=all", "--timeout=3", "--json=-")
    await_our_sockets(running)
    daemon = kind(lab, where)
    assert running.process.poll() is None, "the run was over before the daemon had started"
    said = running.end(60)
    found = result(said)
    assert cells(found) == EXPECTED["esp-missing"]
    udp = daemon.ports[0][1]
    note = f"UDP {udp} has come to be held by another program on the {where} host"
    assert note in said.words, said.err
    undisturbed((daemon,))


def await_our_sockets(running: Running) -> None:
    """Until near's own services are open. Far's were before: it is asked first."""
    table = f"/proc/{running.process.pid}/net/udp"

    def there() -> bool:
        assert running.process.poll() is None
        with open(table) as file:
            return ":01F4 00000000:0000" in file.read()

    wait_until(there, "the run has opened port 500")


ELSEWHERE = """
import socket, sys
asked, other = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
for sock, address in ((asked, "10.77.2.2"), (other, "10.77.2.9")):
    sock.bind((address, 88))
print("ready", flush=True)
while True:
    data, client = asked.recvfrom(9000)
    other.sendto(b"\\x7e\\x03\\x02\\x01\\x05", client)
"""


def test_a_service_that_answers_from_another_address(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    lab.run("far", ["ip", "address", "add", "10.77.2.9/24", "dev", "eth0"])
    argv = [sys.executable, "-c", ELSEWHERE]
    service: subprocess.Popen[Any] = lab.spawn("far", argv, stdout=subprocess.PIPE, text=True)
    assert service.stdout is not None
    assert service.stdout.readline() == "ready\n"
    start_agent(lab, key)
    found = result(probe(lab, key, "--only=kerberos-udp", "--direction=outbound", "--json=-"))
    (reply,) = replies(found, ["kerberos-udp"])
    assert reply["outcome"] == "delivered"  # our own answer, from the address that was asked
    assert "from 10.77.2.9, which had not been asked" in reply["cause"]


def test_at_most_one_shot_of_a_check_goes_to_a_daemon_without_need(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    key = write_key(lab)
    start(lab, (Charon, MitKdc), ("far",))
    start_agent(lab, key)
    to_file = lab.directory / "result.json"
    assert probe(lab, key, "--scenario=all", "--shots=5", f"--json={to_file}").code == 0
    for check in json.loads(to_file.read_text())["checks"]:
        if (check["direction"], check["flow"]) == ("outbound", "new"):
            served = check["destination_port"] in (500, 4500, 88)
            assert check["shots"] == (1 if served else 5), check
