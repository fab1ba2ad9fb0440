"""The lab itself: what it is made of, and that nothing of it stays behind, however it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from probe import lab as lab_module
from probe.lab import (
    Lab,
    LabError,
    LabUnavailable,
    load_firewall,
    run_lab,
    sweep,
    write_key,
)
from probe.lab.janitor import NETNS_DIRECTORY
from tests.netns.conftest import MakeLab

pytestmark = pytest.mark.netns

ROOT = Path(__file__).parent.parent.parent
NAMESPACES = Path(NETNS_DIRECTORY)


def eventually(true: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


def left_behind(pid: int) -> list[str]:
    return [path.name for path in NAMESPACES.glob(f"probe-{pid}-*")]


def namespaces(lab: Lab) -> list[Path]:
    return [NAMESPACES / name for name in (lab.near, lab.fw, lab.far)]


def alive(pid: int) -> bool:
    """A zombie counts as dead: whoever inherits it may take its time to collect it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# -- the network -------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [4, 6])
def test_far_is_reached_through_the_gateway(make_lab: MakeLab, family: int) -> None:
    """By a TCP connection, at once: a cold start must not wait for address detection."""
    lab = make_lab("open", family)
    listen = (
        "import socket, sys\n"
        "s = socket.create_server((sys.argv[1], 5088), family=int(sys.argv[2]))\n"
        "print('ready', flush=True); c, (who, *_) = s.accept(); print(who, flush=True)"
    )
    connect = "import socket, sys; socket.create_connection((sys.argv[1], 5088), 3)"
    number = socket.AF_INET if family == 4 else socket.AF_INET6
    far = lab.spawn(
        "far",
        [sys.executable, "-c", listen, lab.far_address(), str(int(number))],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert far.stdout is not None
    assert far.stdout.readline() == "ready\n"
    near = lab.run("near", [sys.executable, "-c", connect, lab.far_address()])
    assert (near.returncode, near.stderr) == (0, "")
    assert far.communicate(timeout=5)[0] == f"{lab.near_address()}\n"


def test_both_families_are_there_whichever_is_asked_for(make_lab: MakeLab) -> None:
    lab = make_lab("open", 4)
    with IPRoute(netns=lab.fw) as ip:
        names = {link["index"]: link.get("ifname") for link in ip.get_links()}
        found = {
            (names[address["index"]], address.get("address"))
            for address in ip.get_addr()
            if address["scope"] == 0
        } - {("lo", "127.0.0.1")}
    assert found == {
        (f"{side}0", lab.gateway_address(side, family))
        for side in ("near", "far")
        for family in (4, 6)
    }


def test_nothing_of_the_lab_is_in_the_hosts_own_network(make_lab: MakeLab) -> None:
    before = sorted(os.listdir("/sys/class/net"))
    make_lab("open")
    assert sorted(os.listdir("/sys/class/net")) == before


def test_there_is_no_way_out_of_the_lab(make_lab: MakeLab) -> None:
    lab = make_lab("open")
    send = "import socket; socket.socket(2, 2).sendto(b'x', ('192.0.2.1', 9))"
    assert "Network is unreachable" in lab.run("fw", [sys.executable, "-c", send]).stderr


def test_two_labs_at_once(make_lab: MakeLab) -> None:
    one, other = make_lab("open"), make_lab("closed")
    assert len({*namespaces(one), *namespaces(other)}) == 6
    assert all(path.exists() for path in namespaces(one) + namespaces(other))


def test_set_up_is_quick(make_lab: MakeLab) -> None:
    make_lab("open")  # imports
    assert any(set_up(make_lab) < 0.5 for _ in range(10)), "not once, whatever else has the cores"


def set_up(make_lab: MakeLab) -> float:
    """Seconds."""
    begun = time.monotonic()
    make_lab("kb233256")
    return time.monotonic() - begun


def test_interfaces_are_named_as_the_rules_name_them(make_lab: MakeLab, tmp_path: Path) -> None:
    rules = tmp_path / "mine.nft"
    rules.write_text(
        "#!/usr/sbin/nft -f\n# Mine.\n# lab: near is enp1s0\n# lab: far is wan.7\n\nflush ruleset\n"
        'table inet t { chain c { type filter hook forward priority 0; iif "enp1s0" drop; }; }\n'
    )
    lab = make_lab(str(rules))
    with IPRoute(netns=lab.fw) as ip:
        assert {link.get("ifname") for link in ip.get_links()} >= {"enp1s0", "wan.7"}
    assert "enp1s0" in lab.run("fw", ["nft", "list", "ruleset"]).stdout


# -- rules -------------------------------------------------------------------------------------


def test_nfts_own_words_reach_the_user(make_lab: MakeLab, tmp_path: Path) -> None:
    rules = tmp_path / "bad.nft"
    rules.write_text("table inet t {\n  chain c { udp dprot 500 accept; }\n}\n")
    with pytest.raises(LabError, match=r"(?s)bad\.nft.*bad\.nft:2:\d+-\d+: Error: .*dprot"):
        make_lab(str(rules))
    assert left_behind(os.getpid()) == []


def test_rules_as_text(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    lab.load("far", "table inet t {\n}\n")
    assert "table inet t" in lab.run("far", ["nft", "list", "ruleset"]).stdout
    assert lab.run("fw", ["nft", "list", "ruleset"]).stdout == ""
    with pytest.raises(LabError, match=r"(?s)the rules:1:\d+-\d+: Error: syntax error"):
        lab.load("far", "tabel inet t\n")
    lab.flush("far")
    assert lab.run("far", ["nft", "list", "ruleset"]).stdout == ""


# -- what is missing ---------------------------------------------------------------------------


def test_a_missing_program_says_what_to_install(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("probe.lab.network.SYSTEM_PATH", str(tmp_path))
    with pytest.raises(LabUnavailable, match=r"nsenter.*apt-get install util-linux"):
        make_lab("open")
    (tmp_path / "nsenter").touch(mode=0o755)
    with pytest.raises(LabUnavailable, match=r"nft.*apt-get install nftables"):
        make_lab("open")


def holder(body: str) -> list[str]:
    """A program that opens a lab, prints its pid and its child's, and does ``body``."""
    program = f"""
        import os, signal, subprocess, sys, time
        from probe.lab import Lab, LabError, load_firewall
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests run under nohup have it ignored
        try:
            with Lab(load_firewall("open")) as lab:
                child = lab.spawn("far", ["sleep", "600"])
                print(os.getpid(), child.pid, lab.directory, flush=True)
                {body}
        except LabError as error:
            print(type(error).__name__, error)
    """
    return [sys.executable, "-c", textwrap.dedent(program)]


@pytest.mark.parametrize(
    ("restriction", "message"),
    [
        (["--reuid=65534", "--clear-groups"], "takes root"),
        (["--bounding-set=-sys_admin"], "a container needs CAP_SYS_ADMIN"),
    ],
)
def test_no_privilege(restriction: list[str], message: str) -> None:
    done = subprocess.run(
        ["setpriv", *restriction, "--", *holder("pass")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("LabUnavailable")
    assert message in done.stdout
    assert done.stderr == ""


# -- nothing stays behind ----------------------------------------------------------------------


def test_after_the_end(make_lab: MakeLab) -> None:
    with Lab(load_firewall("open")) as lab:
        child = lab.spawn("near", ["sleep", "600"])
        deaf = lab.spawn(
            "near", [sys.executable, "-c", "import signal; signal.sigwait([])"]
        )  # SIGTERM ends it
        assert all(path.exists() for path in namespaces(lab))
        directory = lab.directory
        assert directory.stat().st_mode & 0o777 == 0o700
    assert not any(path.exists() for path in namespaces(lab))
    assert not directory.exists()
    assert (child.returncode, deaf.returncode) == (-signal.SIGTERM, -signal.SIGTERM)
    lab.close()  # a second time


def test_after_an_exception() -> None:
    def fail() -> None:
        with Lab(load_firewall("open")) as lab:
            seen.extend(namespaces(lab))
            raise ValueError("by the user of the lab")

    seen: list[Path] = []
    with pytest.raises(ValueError, match="by the user of the lab"):
        fail()
    assert len(seen) == 3
    assert not any(path.exists() for path in seen)


def test_after_the_janitor_was_killed() -> None:
    with Lab(load_firewall("open")) as lab:
        child = lab.spawn("near", ["sleep", "600"])
        janitor = lab._janitor
        assert janitor is not None
        janitor.kill()
        janitor.wait()
    assert not any(path.exists() for path in namespaces(lab))
    assert child.returncode is not None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_after_a_signal(number: signal.Signals) -> None:
    process = subprocess.Popen(
        holder("time.sleep(600)"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    pid, child, directory = process.stdout.readline().split()
    assert len(left_behind(int(pid))) == 3
    process.send_signal(number)
    process.wait()
    process.stdout.close()
    assert eventually(lambda: not left_behind(int(pid)))
    assert eventually(lambda: not alive(int(child)))
    assert eventually(lambda: not Path(directory).exists())


def test_a_sweep_takes_what_no_living_process_owns(make_lab: MakeLab) -> None:
    """Should lab and janitor both be killed, the next lab tidies up."""
    lab = make_lab("open")
    dead = subprocess.Popen(["true"])
    dead.wait()
    living = f"probe-{os.getppid()}-near"
    stale = [f"probe-{dead.pid}-near", f"probe-{dead.pid}-2-fw", f"probe-{os.getpid()}-77-far"]
    others = [f"probe-{dead.pid}-mine", living]
    for name in stale + others:
        (NAMESPACES / name).touch()
    try:
        sweep()
        assert not any((NAMESPACES / name).exists() for name in stale)
        assert all((NAMESPACES / name).exists() for name in others)
        assert all(path.exists() for path in namespaces(lab))
    finally:
        for name in stale + others:
            (NAMESPACES / name).unlink(missing_ok=True)


# -- probe lab ---------------------------------------------------------------------------------


def test_the_key_is_as_the_agent_wants_it(make_lab: MakeLab) -> None:
    from agent.access import keys

    path = write_key(make_lab(None))
    assert len(keys.load(path)) == 32


AGENT = """
import argparse, os, socket, sys, time
parser = argparse.ArgumentParser()
for option in ("--key", "--listen", "--port"):
    parser.add_argument(option)
options = parser.parse_args()
server = socket.create_server(
    (options.listen, int(options.port)),
    family=socket.AF_INET6 if ":" in options.listen else socket.AF_INET,
)
while True:
    server.accept()[0].sendall(b"hello")
"""
PROBE = """
import os, signal, socket, sys, time
peer, port = (option.partition("=")[2] for option in sys.argv[2:4])
assert socket.create_connection((peer, int(port)), 5).recv(5) == b"hello"
try:
    print(*sys.argv[1:], os.environ["XDG_STATE_HOME"], os.getpid(), flush=True)
    time.sleep(float(os.environ.get("HOLD", 0)))
except KeyboardInterrupt:
    print("table so far", flush=True)
    sys.exit(130)
sys.exit(1)
"""
STAND_INS = {"agent": AGENT, "probe": PROBE}


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Small programs in the place of agent and probe: what is tested is who starts them, how."""
    programs = dict(STAND_INS)
    monkeypatch.setattr(lab_module, "module", lambda name: [sys.executable, "-c", programs[name]])
    return programs


@pytest.mark.parametrize("family", [4, 6])
def test_run_lab_starts_both_ends(
    family: int, stand_ins: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_lab(load_firewall("open"), "kerberos", family, ["--shots=1", "--strict"]) == 1
    words = capfd.readouterr().out.split()
    peer = "10.77.2.2" if family == 4 else "fd77:2::2"
    assert words[:3] == ["run", f"--peer={peer}", "--port=5088"]
    assert words[3].startswith("--key=")
    assert words[4:7] == ["--scenario=kerberos", "--shots=1", "--strict"]
    assert words[7].endswith("/near")
    assert not Path(words[7]).parent.exists()
    assert left_behind(os.getpid()) == []


def test_an_agent_that_does_not_start_says_why(stand_ins: dict[str, str]) -> None:
    stand_ins["agent"] = "import sys; sys.exit('no such luck')"
    with pytest.raises(LabUnavailable, match=r"(?s)ended with code 1.*no such luck"):
        run_lab(load_firewall("open"))
    assert left_behind(os.getpid()) == []


@pytest.mark.parametrize("group", [True, False])
def test_an_interrupt_ends_the_run_and_its_table_is_still_printed(group: bool) -> None:
    """Of the whole group, as a terminal does it, or of ``probe lab`` alone, as ``kill`` does."""
    program = (
        "import sys; from probe import lab\n"
        f"programs = {STAND_INS!r}\n"
        "lab.module = lambda name: [sys.executable, '-c', programs[name]]\n"
        "sys.exit(lab.run_lab(lab.load_firewall('open')))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOLD": "600"},
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("run ")
    (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert (process.returncode, out) == (130, "table so far\n")
    assert left_behind(process.pid) == []
