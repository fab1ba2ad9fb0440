"""The far agent by a real sshd: the same verdicts, nothing installed, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import zipfile
from pathlib import Path

import pytest

from probe.lab import environment, module, start_agent, write_key
from tests.netns.conftest import MakeLab
from tests.netns.ends import probe, result, wait_until
from tests.netns.sshd import ROOT, Sshd, agents, built, cells, run, start, with_user

pytestmark = pytest.mark.netns

RULES = """
table inet lab {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        tcp dport { 22, 5088 } iifname "near0" accept
        meta l4proto { ah, icmp } accept
        udp dport { 500, 88 } iifname "near0" accept
    }
}
"""


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    built()


def test_verdicts_are_those_of_a_run_by_tcp_and_nothing_is_left(
    make_lab: MakeLab, tmp_path: Path
) -> None:
    rules = tmp_path / "only.nft"
    rules.write_text(RULES)
    lab = make_lab(str(rules))
    server = Sshd(lab)
    before = set(os.listdir("/tmp"))
    said = run(lab, server, "--json=-")
    found = result(said)
    assert found["complete"], said.err
    assert found["path"]["control"] == "ssh"
    wait_until(lambda: not agents(lab), "the agent gone")
    assert not server.left()
    assert not [name for name in set(os.listdir("/tmp")) - before if "pyz" in name]
    lab = make_lab(str(rules))
    key = write_key(lab)
    start_agent(lab, key)
    assert cells(result(probe(lab, key, "--json=-"))) == cells(found)


def test_several_sessions_by_one_ssh(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    said = run(lab, Sshd(lab), "--alias=10.77.1.9", "--json=-")
    found = result(said)
    assert found["complete"], said.err
    new = {c["outcome"] for c in found["checks"] if c["flow"] == "new"}
    assert new == {"delivered"}


def test_near_remembers_what_came_to_far_in_an_earlier_run(make_lab: MakeLab) -> None:
    """The agent of the second run knows nothing of the first, and near had no answer."""
    lab = make_lab(None)
    server = Sshd(lab)
    lab.load(
        "fw",
        "table inet x { chain f { type filter hook forward priority 0; "
        'iifname "far0" meta l4proto esp drop; }; }',
    )
    options = "--only=esp", "--json=-"
    found = result(run(lab, server, *options, "--direction=outbound"))
    assert {c["outcome"] for c in found["checks"] if c["flow"] == "new"} == {"delivered"}
    lab.flush("fw")
    found = result(run(lab, server, *options, "--direction=inbound"))
    assert {c["outcome"] for c in found["checks"] if c["flow"] == "new"} == {"state-possible"}


@pytest.mark.parametrize("end", ["ctrl-c", "near-killed", "ssh-killed", "agent-killed"])
def test_however_it_ends_the_agent_is_gone(make_lab: MakeLab, end: str) -> None:
    lab = make_lab(None)
    server = Sshd(lab)
    lab.load(
        "fw",
        "table inet x { chain f { type filter hook forward priority 0; "
        "meta l4proto { esp, ah } drop; }; }",
    )
    near = start(lab, server, "--timeout=20")
    wait_until(lambda: any(_serves(pid) for pid in agents(lab)), "the agent")
    if end == "ctrl-c":
        near.process.send_signal(signal.SIGINT)
    elif end == "near-killed":
        near.process.kill()
    elif end == "ssh-killed":
        os.kill(_child(near.process.pid), signal.SIGKILL)
    else:
        os.kill(next(pid for pid in agents(lab) if _serves(pid)), signal.SIGKILL)
    wait_until(lambda: not agents(lab), f"everything gone after {end}", 20)
    assert not server.left()
    if end == "near-killed":
        near.process.communicate()
        return
    said = near.end()
    assert said.code == (130 if end == "ctrl-c" else 3), said.err


def _serves(pid: int) -> bool:
    try:
        return b"/proc/self/fd/" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def test_each_way_to_fail_has_its_own_sentence(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(None)
    server = Sshd(lab)

    def fails(word: str, *options: str) -> None:
        said = run(lab, server, *options)
        assert said.code == 3, said.err
        assert word in said.words

    other = tmp_path / "other.pyz"
    with zipfile.ZipFile(ROOT / "dist" / "ipsec-probe.pyz") as old:
        text = old.read("__main__.py").decode()
    with zipfile.ZipFile(other, "w") as new:
        machine = os.uname().machine
        new.writestr("__main__.py", text.replace(machine, "vax"))
    fails("is made for cpython", f"--ssh-file={other}")
    own = server.authorized
    granted = own.read_text()
    own.write_text(f'command="env PATH=/nowhere /bin/sh -c \\"$SSH_ORIGINAL_COMMAND\\"" {granted}')
    fails("no agent", "--only=esp")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "id"):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    own.write_text(f'command="PATH={tools}; eval \\"$SSH_ORIGINAL_COMMAND\\"" {granted}')
    fails("there is no Python on the far host")
    drop = "/usr/bin/setpriv --reuid=65534 --clear-groups"
    own.write_text(f'command="{drop} /bin/sh -c \\"$SSH_ORIGINAL_COMMAND\\"" {granted}')
    fails("the agent needs root there")
    own.write_text("")
    fails("permission denied")
    (server.home / "known").write_text("")
    fails("does not know the far host's key")
    fails("there is no no-such-ssh on this host", "--ssh-command=no-such-ssh")
    server.process.terminate()
    server.process.wait()
    fails("Connection refused")


def test_who_is_not_root_becomes_it_by_sudo(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    server = Sshd(lab, etc=with_user("op", "op ALL=(root) NOPASSWD: ALL"))
    to = f"--ssh=op@{lab.far_address()}"
    said = run(lab, server, to, "--json=-")
    assert result(said)["complete"], said.err
    assert said.code == 0
    wait_until(lambda: not agents(lab), "the agent gone")
    near = start(lab, server, to, "--timeout=20", "--scenario=nat-t")
    wait_until(lambda: any(_serves(pid) for pid in agents(lab)), "the agent")
    near.process.kill()
    wait_until(lambda: not agents(lab), "the agent gone with near", 20)
    near.process.communicate()
    assert not server.left()


@pytest.mark.parametrize("sudoers", ["op ALL=(root) ALL", "# nothing for op"])
def test_sudo_that_wants_a_password_is_told_with_what_to_do(
    make_lab: MakeLab, sudoers: str
) -> None:
    lab = make_lab(None)
    server = Sshd(lab, etc=with_user("op", sudoers))
    said = run(lab, server, f"--ssh=op@{lab.far_address()}")
    assert said.code == 3
    assert "Log in as root (--ssh root@HOST), or allow this user sudo without" in said.words
    assert "a password is required" in said.words


@pytest.mark.parametrize("octets", [b"", b"what is this\n", None])
def test_the_agent_ends_with_its_standard_input(make_lab: MakeLab, octets: bytes | None) -> None:
    """None: the connection is gone without a word."""
    lab = make_lab(None)
    child = lab.spawn(
        "far",
        [*module("agent"), "--stdio=0.5"],
        env=environment(lab, "far"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if octets is None:
        code = child.wait(30)
        _, err = child.communicate()
        assert b"nothing has come" in err
    else:
        out, err = child.communicate(octets, 30)
        code = child.returncode
        assert b"Traceback" not in err
        assert out.startswith(b"ipsec-probe ready\n")
    assert code == (0 if octets == b"" else 3)
    assert not (lab.directory / "far" / "probe").exists()
