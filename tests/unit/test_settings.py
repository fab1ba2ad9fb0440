from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from agent import cli, settings


def parse(tmp_path: Path, text: str, *arguments: str) -> argparse.Namespace:
    file = tmp_path / "agent.toml"
    file.write_text(text)
    return settings.parse(cli.parser(), [f"--config={file}", *arguments])


def test_a_file_says_what_the_command_line_could(tmp_path: Path) -> None:
    text = (
        'listen = "10.0.0.5"\nport = 5000\nallow = ["10.1.0.0/16", "10.2.0.0/16"]\nlog = "json"\n'
    )
    options = parse(tmp_path, text)
    assert (options.listen, options.port, options.log) == ("10.0.0.5", 5000, "json")
    assert options.allow == ["10.1.0.0/16", "10.2.0.0/16"]


def test_the_command_line_wins_and_adds(tmp_path: Path) -> None:
    options = parse(tmp_path, 'port = 5000\nallow = "10.1.0.0/16"\n', "--port=6000", "--allow=::/0")
    assert options.port == 6000
    assert options.allow == ["10.1.0.0/16", "::/0"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot = 5000\n", "prot: no such option; did you mean port?"),
        ("xyzzy = 5000\n", "xyzzy: no such option; there are allow, "),
        ('port = "many"\n', "port: invalid int value: 'many'"),
        ("port = { a = 1 }\n", "port: a word, a number, true or false, or a list of them"),
        ('log = "loud"\n', "log: invalid choice: 'loud'"),
        ("port = \n", "not TOML: Invalid value (at line 1"),
        ("status = true\n", "status: no such option"),
        ('key-id = "k1"\n', "key-id: no such option"),
        ('config = "other"\n', "config: no such option"),
        ("port = true\n", "port: expected one argument"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(settings.SettingsError) as caught:
        parse(tmp_path, text)
    assert f"{tmp_path}/agent.toml: {words}" in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(settings.SettingsError, match="No such file"):
        settings.parse(cli.parser(), [f"--config={tmp_path}/none"])
    (tmp_path / "latin").write_bytes(b'listen = "\xe4"\n')
    with pytest.raises(settings.SettingsError, match="not UTF-8 text"):
        settings.parse(cli.parser(), [f"--config={tmp_path}/latin"])


def test_the_usual_place_is_read_where_it_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "DEFAULT", tmp_path / "agent.toml")
    assert settings.parse(cli.parser(), []).port == 5088
    (tmp_path / "agent.toml").write_text("port = 5000\n")
    assert settings.parse(cli.parser(), []).port == 5000


def test_the_exit_code_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('alow = "10.0.0.0/8"\n')
    assert cli.main([f"--config={file}"]) == 2
    assert capsys.readouterr().err == (
        f"probe-agent: {file}: alow: no such option; did you mean allow?\n"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('allow = "10.0.0.0/33"\n', "allow 10.0.0.0/33: not an address"),
        ("port = 70000\n", "port 70000: a port is"),
        ("max-shots = -1\n", "max-shots -1: a number above 0"),
        ('pair = "../x"\n', "pair '../x' cannot be the name of a key"),
    ],
)
def test_what_no_option_can_be_is_named_with_file_and_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(text)
    options = [f"--config={file}", f"--key={tmp_path / 'key'}", "--user=root"]
    assert cli.main(options) == 2
    assert f"probe-agent: {file}: {words}" in capsys.readouterr().err
    assert cli.main([*options, "--port=0"]) == 2
    assert "--port 0: a port" in capsys.readouterr().err


def test_the_usual_place_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "agent.toml").mkdir()
    monkeypatch.setattr(settings, "DEFAULT", tmp_path / "agent.toml")
    with pytest.raises(settings.SettingsError, match="Is a directory"):
        settings.parse(cli.parser(), [])
