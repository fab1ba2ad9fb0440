"""What ssh asks at the terminal before it lets anybody in: to be read, and to be answered."""

from __future__ import annotations

import pexpect
import pytest

from probe.lab import Lab, environment, module
from probe.lab.janitor import NETNS_DIRECTORY
from tests.netns.conftest import MakeLab
from tests.netns.ends import wait_until
from tests.netns.sshd import Sshd, agents, built, run

pytestmark = pytest.mark.netns

SHOW, HIDE = "\x1b[?25h", "\x1b[?25l"  # the cursor: a bar hides it


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    built()


def at_terminal(lab: Lab, server: Sshd, *options: str) -> pexpect.spawn[str]:
    argv = [*module("probe"), "run", f"--peer={lab.far_address()}", *server.options, *options]
    return pexpect.spawn(
        "nsenter",
        [f"--net={NETNS_DIRECTORY}/{lab.near}", "--", *argv],
        env=environment(lab, "near"),
        encoding="utf-8",
        timeout=60,
        dimensions=(50, 100),
    )


def asked(terminal: pexpect.spawn[str], question: str) -> None:
    """The question comes, on a line that no bar redraws meanwhile."""
    terminal.expect(question)
    assert HIDE not in (terminal.before or "").rpartition(SHOW)[2]


def ends(terminal: pexpect.spawn[str]) -> tuple[int, str]:
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus is not None, terminal.signalstatus
    return terminal.exitstatus, terminal.before or ""


def test_an_unknown_host_and_a_passphrase(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    server = Sshd(lab)
    server.encrypt("open sesame")
    (server.home / "known").write_text("")
    terminal = at_terminal(lab, server, "--only=esp")
    asked(terminal, r"fingerprint is .*\(yes/no/\[fingerprint\]\)\? ")
    terminal.sendline("yes")
    asked(terminal, "Enter passphrase for key .*: ")
    terminal.waitnoecho()
    terminal.sendline("open sesame")
    code, raw = ends(terminal)
    assert code == 0, raw
    assert HIDE in raw  # the bar is back
    assert "PASS: 4 of 4 checks passed" in raw
    assert "sesame" not in raw


def test_no_is_an_answer(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    server = Sshd(lab)
    (server.home / "known").write_text("")
    terminal = at_terminal(lab, server)
    asked(terminal, r"\(yes/no/\[fingerprint\]\)\? ")
    terminal.sendline("no")
    code, raw = ends(terminal)
    assert code == 3
    assert "does not know the far host's key" in " ".join(raw.split())


def test_an_interrupt_at_the_question_gives_the_terminal_back(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    server = Sshd(lab)
    server.encrypt("open sesame")
    terminal = at_terminal(lab, server)
    asked(terminal, "Enter passphrase for key .*: ")
    terminal.waitnoecho()
    terminal.sendintr()
    wait_until(terminal.getecho, "the terminal as it was")
    code, raw = ends(terminal)
    assert code == 130
    assert "Traceback" not in raw
    assert not agents(lab)


def test_where_nobody_can_be_asked_it_says_so(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    server = Sshd(lab)
    server.encrypt("open sesame")
    said = run(lab, server)
    assert said.code == 3
    assert "permission denied" in said.words
    assert "nobody could be asked" in said.words
    (server.home / "known").write_text("")
    said = run(lab, server)
    assert said.code == 3
    assert "Log in once by hand" in said.words
