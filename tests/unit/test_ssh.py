"""What is copied by ssh, and what the far host's shell makes of the command."""

from __future__ import annotations

import ast
import asyncio
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from probe.far import ssh
from probe.far.ashore import here
from probe.far.dial import LinkError
from probe.far.ssh import NoFile, Shore, Ssh, far_command, find_file


def pyz(place: Path, main: str) -> Path:
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("__main__.py", main)
    return place


def test_the_file_and_what_it_is_made_for(tmp_path: Path) -> None:
    file = pyz(tmp_path / "a.pyz", '"""A"""\nMADE_FOR = "cpython 3.11 Linux x86_64 gnu"  # so\n')
    assert find_file(file) == (file, "cpython 3.11 Linux x86_64 gnu")
    with pytest.raises(NoFile, match="no such file"):
        find_file(tmp_path / "b.pyz")
    with pytest.raises(NoFile, match="not what `make dist` makes"):
        find_file(pyz(tmp_path / "c.pyz", "print(1)"))
    (tmp_path / "d.pyz").write_text("no archive")
    with pytest.raises(NoFile, match="not what `make dist` makes"):
        find_file(tmp_path / "d.pyz")


def test_without_a_file_it_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "__file__", str(tmp_path / "probe" / "far" / "ssh.py"))
    with pytest.raises(NoFile, match="Run `make dist`"):
        find_file(None)
    (tmp_path / "dist").mkdir()
    file = pyz(tmp_path / "dist" / "ipsec-probe.pyz", 'MADE_FOR = "x 1.2 y"\n')
    assert find_file(None) == (file, "x 1.2 y")


def over_there(command: str, path: Path) -> list[str]:
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env={"PATH": f"{path}:/usr/bin:/bin", "SSH_CONNECTION": "10.0.0.1 40000 10.0.0.5 22"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.stdout.splitlines()


def test_a_python_that_does_not_fit_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "python9.9").symlink_to(sys.executable)
    said = over_there(far_command("cpython 9.9 Linux vax gnu", 1), tmp_path)
    assert said[0] == "ipsec-probe from 10.0.0.1 40000 10.0.0.5 22"
    assert f"ipsec-probe unfit {here()}" in said
    assert said[-1] == "ipsec-probe none"


def test_any_python_3_says_what_it_is() -> None:
    text = (Path(ssh.__file__).parent / "ashore.py").read_text()
    assert not [
        n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.JoinedStr | ast.NamedExpr)
    ]


def fails(tmp_path: Path, script: str) -> str:
    """What is said where ``ssh`` is that."""
    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    file = pyz(tmp_path / "a.pyz", 'MADE_FOR = "cpython 3.11 Linux x86_64 gnu"\n')
    shore = Shore(Ssh("castle", file, (str(program),)), "10.0.0.1", "10.0.0.5", "far")

    async def start() -> None:
        try:
            await shore.start(lambda _text, _share: None)
        finally:
            shore.close()

    with pytest.raises(LinkError) as told:
        asyncio.run(start())
    return str(told.value)


@pytest.mark.parametrize(
    ("python", "word"),
    [
        ("cpython 3.9 Linux x86_64 gnu", "needs Python 3.11 or later"),
        ("cpython 3.13 Linux x86_64 gnu", "Make one on such a host"),
        ("cpython 3.11 Linux aarch64 gnu", "Make one on such a host"),
        ("cpython 3.12 Linux x86_64 musl", "Make one on such a host"),
        ("what", "needs Python 3.11 or later"),
    ],
)
def test_another_python_over_there(tmp_path: Path, python: str, word: str) -> None:
    said = fails(tmp_path, f"echo ipsec-probe unfit {python}; echo ipsec-probe none")
    assert f"the far host has {python}" in said
    assert word in said


def test_no_python_over_there(tmp_path: Path) -> None:
    said = fails(tmp_path, "echo ipsec-probe none")
    assert "no Python on the far host. The agent needs cpython 3.11" in said


def test_a_login_that_waits_for_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "LOGIN_SECONDS", 0.3)
    assert "wait for input?" in fails(tmp_path, "echo Welcome; read answer")


def test_a_login_that_prints_without_end(tmp_path: Path) -> None:
    assert "prints at login is no text" in fails(tmp_path, "exec cat /dev/zero")


def test_the_command_is_one_line_that_every_shell_takes() -> None:
    command = far_command(here(), 1)
    assert not set("\n\\!") & set(command)
    assert command.count("'") % 2 == 0
    assert '"\'"' not in command  # no quote within quotes
