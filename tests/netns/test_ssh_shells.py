"""The agent by ssh, whatever shell the far host's user has, and whatever that prints at login."""

from __future__ import annotations

import pytest

from tests.netns.conftest import MakeLab
from tests.netns.ends import result
from tests.netns.sshd import Sshd, built, run, with_shell

pytestmark = pytest.mark.netns

NOISE = "echo Welcome to castle\necho 'ipsec-probe is here'\nprintf 'last login: never'\n"


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    built()


@pytest.mark.parametrize(
    ("shell", "rc"),
    [
        ("/bin/dash", ".profile"),
        ("/bin/bash", ".bashrc"),
        ("/bin/zsh", ".zshenv"),
        ("/bin/tcsh", ".cshrc"),
        ("/usr/bin/fish", ".config/fish/config.fish"),
    ],
)
def test_every_login_shell_takes_the_command(make_lab: MakeLab, shell: str, rc: str) -> None:
    lab = make_lab(None)
    server = Sshd(lab, etc={"passwd": with_shell(shell)}, skel={rc: NOISE})
    said = run(lab, server, "--only=esp", "--shots=1", "--json=-")
    assert result(said)["complete"], said.err
    assert said.code == 0


def test_a_shell_that_goes_on_printing_breaks_the_run_in_words(make_lab: MakeLab) -> None:
    lab = make_lab(None)
    noise = "(while sleep 0.01; do echo tick; done) &\n"
    server = Sshd(lab, etc={"passwd": with_shell("/bin/bash")}, skel={".bashrc": noise})
    said = run(lab, server, "--timeout=5")
    assert said.code == 3
    assert "prints between the agent's messages" in said.words
    assert "~/.bashrc" in said.words
