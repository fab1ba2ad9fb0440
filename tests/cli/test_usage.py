"""A wrong command line or file: exit code 2, one message that says what to do, nothing sent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent import cli as agent_cli
from agent.access import keys
from probe.cli import main
from scenarios import names

ROOT = Path(__file__).parent.parent.parent
NOWHERE = "--peer=bad..name"  # no name server is ever asked for it


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    keys.create(path)
    return path


@pytest.fixture(autouse=True)
def _own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine's key and flow ledger are no test's affair."""
    monkeypatch.delenv("PROBE_KEY_FILE", raising=False)
    monkeypatch.setenv("PROBE_STATE_DIR", str(tmp_path / "state"))


def call(*arguments: str, agent: bool = False) -> int:
    """The exit code of ``probe`` or ``probe-agent``."""
    try:
        return agent_cli.main(arguments) if agent else main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


def run(*arguments: str, shell: str = '"$@"', **env: str) -> subprocess.CompletedProcess[str]:
    """As a program of its own, in a shell."""
    return subprocess.run(
        ["sh", "-c", shell, "sh", sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--only=kerberos-udb"], "did you mean 'kerberos-udp'?"),
        (["--only=esp,gre"], "there is no kind 'gre'; known are esp, ah"),
        (["--only=udp:70000"], "a port is given as udp:1701"),
        (["--only="], "name at least one kind"),
        (["--port=0"], "0: a port is a number from 1 to 65535"),
        (["--port=65536"], "from 1 to 65535"),
        (["--port=80.5"], "80.5: a port is a number"),
        (["--port=ike"], "ike: a port is a number"),
        (["--timeout=0"], "0: a number of seconds from 0.01 to 60"),
        (["--timeout=61"], "to 60"),
        (["--timeout=nan"], "nan: a number of seconds"),
        (["--timeout=soon"], "soon: a number of seconds"),
        (["--state-timeout=-1"], "-1: a number of seconds from 0"),
        (["--shots=0"], "0: a number from 1 to 50"),
        (["--shots=2.5"], "2.5: a number from 1 to 50"),
        (["--shots=51"], "from 1 to 50"),
        (["--direction=sideways"], "choose from"),
        (["--realm=A/B"], "the Kerberos realm 'A/B'"),
        (["--realm="], "a Kerberos realm has 1 to 128 characters"),
        (["--principal=u@R"], "the Kerberos principal 'u@R'"),
        (["--no-agent", "--sizes"], "--sizes takes an agent on the far host"),
        (["--no-agent", "--pcap=/nowhere"], "--pcap takes an agent"),
        (["--no-agent", "--inspect"], "--inspect takes an agent"),
        (["--no-agent", "--alias=10.0.0.7"], "--alias takes an agent"),
        (["--no-agent", "--fresh=wait"], "--fresh takes an agent"),
        (["--no-agent", "--control=inband"], "--control inband takes an agent"),
        (["--no-agent", "--direction=inbound"], "--direction inbound takes an agent"),
        (["--inbund"], "unrecognized arguments: --inbund"),
        (["surplus"], "unrecognized arguments: surplus"),
    ],
)
def test_an_option_that_is_wrong(
    options: list[str], words: str, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", NOWHERE, f"--key={key}", *options) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err


@pytest.mark.parametrize(
    "arguments", [[], ["rnu"], ["run"], ["scenarios", "shwo"], ["scenarios", "show"]]
)
def test_a_command_that_is_none(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err


def test_nothing_left_to_test(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--scenario=kerberos", "--only=esp"]
    assert call("run", NOWHERE, f"--key={key}", *options) == 2
    assert "no row left to test: look at --only and --direction" in capsys.readouterr().err


def test_without_an_agent_no_key_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """It fails at the name, which nobody can resolve."""
    assert call("run", NOWHERE, "--no-agent", "--key=/nowhere") == 3
    assert "cannot be resolved" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("peer", "words"),
    [
        ("", "neither a host name nor an address"),
        ("a b", "neither a host name nor an address"),
        ("10.0.0.5/24", "neither a host name nor an address"),
        ("fe80::1", "As in fe80::1%eth0"),
        ("10.0.0.5:5088", "the port goes into --port 5088"),
        ("far.example:88", "the port goes into --port 88"),
        ("[fd00::5]:88", "the port goes into --port 88"),
        ("224.0.0.1", "not the address of one host"),
        ("0.0.0.0", "not the address of one host"),
        ("ff02::1%lo", "not the address of one host"),
        ("[::]", "not the address of one host"),
    ],
)
def test_a_peer_that_is_no_host(peer: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["run"], ["record", "near.rec", "--at=+5m"]):
        assert call(*command, f"--peer={peer}") == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("[fd00::5]", "fd00::5"), ("fd00::5:5088", "fd00::5:5088"), ("fe80::1%lo", "fe80::1%lo")],
)
def test_a_peer_that_is_one(typed: str, meant: str) -> None:
    from probe.cli import parser

    assert parser().parse_args(["run", f"--peer={typed}"]).peer == meant


def test_a_fresh_address_in_ipv4(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "--peer=127.0.0.1", f"--key={key}", "--fresh=address") == 2
    assert "--fresh address is drawn in IPv6, and 127.0.0.1" in capsys.readouterr().err


def test_an_alias_that_is_the_peer(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "--peer=127.0.0.2", f"--key={key}", "--alias=127.0.0.2") == 2
    assert "--alias 127.0.0.2: give a free IPv4 address" in capsys.readouterr().err


# -- the key -------------------------------------------------------------------------------------


def test_a_key_that_others_can_read(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key.chmod(0o644)
    for agent, arguments in ((False, ["run", NOWHERE]), (True, [])):
        assert call(*arguments, f"--key={key}", agent=agent) == 2
        assert f"Run: chmod 600 {key}" in capsys.readouterr().err


def test_what_is_no_key_is_to_get_no_other_mode(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", NOWHERE, "--key=/etc/passwd") == 2
    err = capsys.readouterr().err
    assert "64 hexadecimal digits" in err
    assert "chmod" not in err


def test_a_key_that_is_no_key(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipe = key.with_name("pipe")
    os.mkfifo(pipe, 0o600)
    damaged = key.with_name("damaged")
    damaged.write_text("abc\n")
    damaged.chmod(0o600)
    (blank := key.with_name("blank")).touch(0o600)
    for path, words in (
        (key.parent, "Is a directory"),
        (pipe, "is not a file"),
        (damaged, "is damaged"),
        (blank, "is damaged"),
        (key / "below", "no key found"),
        (key.with_name("missing"), "run there probe-agent --pair"),
        (key.with_name("x" * 300), "File name too long"),
    ):
        assert call("run", NOWHERE, f"--key={path}") == 2
        out, err = capsys.readouterr()
        assert words in err
        assert (out, len(err.splitlines())) == ("", 1)


def test_a_key_in_a_place_that_may_not_be_looked_at(key: Path) -> None:
    """As root without its privilege over files, or as anybody else: the same to the kernel."""
    closed = key.parent / "closed"
    closed.mkdir()
    (closed / "probe").mkdir()
    closed.chmod(0)
    prefix = "setpriv --bounding-set=-dac_override,-dac_read_search -- " if not os.geteuid() else ""
    try:
        for program in (["probe", "run", NOWHERE], ["agent"]):
            done = run(*program, shell=prefix + '"$@"', XDG_CONFIG_HOME=str(closed))
            assert (done.returncode, done.stdout) == (2, "")
            assert "Permission denied. It is for its owner alone: run this as root" in done.stderr
            assert len(done.stderr.splitlines()) == 1
    finally:
        closed.chmod(0o700)


def test_a_key_cannot_be_made_where_there_is_one_or_no_room(
    key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = key.read_text()
    assert call("keygen", str(key)) == 2
    assert "exists already; it is left as it is" in capsys.readouterr().err
    assert key.read_text() == before
    assert call("keygen", str(key / "below")) == 2
    assert "cannot write the key" in capsys.readouterr().err
    assert call("keygen", "/dev/full") == 2
    full = key.with_name("new")
    done = run("probe", "keygen", str(full), shell='ulimit -f 0; trap "" XFSZ; "$@"')
    assert done.returncode == 2
    assert "cannot write the key" in done.stderr
    assert not full.exists(), "half a key does not stay behind"


# -- scenarios -----------------------------------------------------------------------------------


def test_a_scenario_that_is_wrong(
    key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typo = tmp_path / "typo.toml"
    typo.write_text('title = "x"\n\n[[row]]\nkind = "esp"\ndirektion = "both"\n')
    broken = tmp_path / "broken.toml"
    broken.write_text('title = "x"\n[[row]\nkind = "esp"\n')
    for scenario, words in (
        (str(typo), f'{typo}: row 1: unknown key "direktion"; did you mean "direction"?'),
        (str(broken), f"{broken}:2:"),
        (str(tmp_path), "Is a directory"),
        (str(tmp_path / "none.toml"), "No such file or directory"),
        ("kb23325", 'did you mean "kb233256"?'),
    ):
        for arguments in (["run", NOWHERE, f"--key={key}", f"--scenario={scenario}"],):
            assert call(*arguments) == 2
            out, err = capsys.readouterr()
            assert words in err
            assert (out, len(err.splitlines())) == ("", 1)
        assert call("scenarios", "show", scenario) == 2
        assert words in capsys.readouterr().err


def test_a_description_keeps_to_the_terminals_width(capsys: pytest.CaptureFixture[str]) -> None:
    for name in names():
        assert call("scenarios", "show", name) == 0
        assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


# -- where the result goes -------------------------------------------------------------------------


def test_json_to_a_place_that_cannot_be(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Said before the run, not when its result would be lost."""
    for place, words in (
        (key.parent, "it is a directory"),
        (key.parent / "none" / "x.json", "there is no directory"),
        (key / "x.json", "there is no directory"),
        ("/proc/version", "writing is not permitted there"),
        (key.with_name("x" * 300), "File name too long"),
    ):
        if os.geteuid() == 0 and place == "/proc/version":
            continue  # root may, as far as anybody can tell beforehand
        assert call("run", NOWHERE, f"--key={key}", f"--json={place}") == 2
        out, err = capsys.readouterr()
        assert f"--json {place}: {words}" in err
        assert (out, len(err.splitlines())) == ("", 1)


def test_json_alone_on_standard_output(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    assert call("run", NOWHERE, f"--key={key}", "--json=-") == 3
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["schema"], found["complete"]) == (1, False)
    assert {check["outcome"] for check in found["checks"]} == {"unobserved"}
    assert "cannot be resolved" in err


@pytest.mark.parametrize("arguments", [["scenarios"], ["--help"], ["lab", "--list"]])
def test_a_reader_that_went_away(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-m", "probe", *arguments]
    with open(writer, "wb") as output:
        done = subprocess.run(
            argv, cwd=ROOT, stdout=output, stderr=subprocess.PIPE, check=False, timeout=20
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_disk() -> None:
    done = run("probe", "scenarios", shell='"$@" >/dev/full')
    assert done.returncode == 2
    assert done.stderr == "probe: cannot write the output: No space left on device\n"


def test_streams_that_are_closed() -> None:
    assert run("probe", "scenarios", shell='"$@" >&- 2>&-').returncode == 0
    assert run("probe", "run", NOWHERE, "--only=no", shell='"$@" >&- 2>&-').returncode == 2


def test_letters_that_the_terminal_has_not() -> None:
    done = run("probe", "scenarios", "show", "all", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")


# -- the agent -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port=0"], "a port is a number from 1 to 65535"),
        (["--port=x"], "invalid int value"),
        (["--listen=far.example"], "--listen far.example: not an IP address"),
        (["--allow=10.0.0.0/33"], "--allow 10.0.0.0/33: not an address or a network"),
        (["--allow=everybody"], "not an address or a network"),
        (["--lisen=::"], "unrecognized arguments"),
    ],
)
def test_an_agent_that_is_started_wrongly(
    options: list[str], words: str, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(f"--key={key}", *options, agent=True) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err


def test_an_agent_that_cannot_write_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert call(f"--key={tmp_path / 'file' / 'key'}", agent=True) == 2
    assert "cannot write the key" in capsys.readouterr().err
