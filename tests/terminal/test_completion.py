"""Real shells, asked what they would offer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

ROOT = Path(__file__).parents[2]
SHELLS = ("bash", "zsh", "fish")
PROMPT = "ready> "

OFFERS = [  # what is typed, and what the shell makes of it
    ("probe scen", {"scenarios"}),
    ("probe run --scena", {"--scenario"}),
    ("probe run --scenario kb2", {"kb233256"}),
    ("probe run --scenario=kb2", {"kb233256"}),
    ("probe trace --kind es", {"esp", "esp-in-udp"}),
    ("probe run --only ah,kerberos-", {"ah,kerberos-udp", "ah,kerberos-tcp"}),
    ("probe run --direction in", {"inbound"}),
    ("probe lab --firewall esp-", {"esp-missing"}),
    ("probe scenarios show nat", {"nat-t"}),
    ("probe completion z", {"zsh"}),
    ("probe-agent --lis", {"--listen"}),
]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The scripts as the command prints them, by shell."""
    found = {}
    for shell in SHELLS:
        argv = [sys.executable, "-m", "probe", "completion", shell]
        text = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        found[shell] = tmp_path_factory.mktemp("completion") / f"_probe.{shell}"
        found[shell].write_text(text)
    return found


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_takes_the_script(shell: str, scripts: dict[str, Path]) -> None:
    done = subprocess.run(
        [shell, "-n", scripts[shell]], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


BASH = """\
source {script}
read -r -a COMP_WORDS <<< "$1"
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_${{COMP_WORDS[0]//-/_}}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def words_of_bash(line: str) -> str:
    """As readline splits it: "=" is a word of its own."""
    return line.replace("=", " = ")


@pytest.mark.parametrize(("line", "offered"), OFFERS)
def test_bash(line: str, offered: set[str], scripts: dict[str, Path]) -> None:
    argv = ["bash", "-c", BASH.format(script=scripts["bash"]), "bash", words_of_bash(line)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize(("line", "offered"), OFFERS)
def test_fish(line: str, offered: set[str], scripts: dict[str, Path]) -> None:
    asked = f"source {scripts['fish']}; complete -C '{line}'"
    argv = ["fish", "--no-config", "-c", asked]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    found = {answer.split("\t")[0].rpartition("=")[2] for answer in done.stdout.splitlines()}
    assert found == offered


@pytest.mark.parametrize(("line", "offered"), [offer for offer in OFFERS if len(offer[1]) == 1])
def test_zsh(line: str, offered: set[str], scripts: dict[str, Path], tmp_path: Path) -> None:
    """Typed at a terminal, with the script found in $fpath: what is unique is completed."""
    place = tmp_path / "functions"
    place.mkdir()
    (place / "_probe").write_text(scripts["zsh"].read_text())
    shell = pexpect.spawn("zsh", ["-f"], encoding="utf-8", timeout=30, dimensions=(40, 200))
    try:
        shell.sendline(f"unsetopt zle_bracketed_paste; fpath=({place} $fpath)")
        shell.sendline(f"autoload -U compinit; compinit -u -d {tmp_path}/dump; PROMPT='{PROMPT}'")
        shell.expect(rf"{PROMPT}(?!')")  # not the echo of what sets it
        for _ in range(2):  # the first press loads the functions, the second finds them there
            shell.send(f"{line}\t")
            shell.expect_exact(line)
            (word,) = offered
            shell.expect_exact(word[len(line.replace("=", " ").rsplit(" ", 1)[1]) :])
            shell.send("\x15")  # empties the line
    finally:
        shell.close(force=True)
