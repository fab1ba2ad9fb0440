"""The leading comments of a rule set, and the messages for a wrong one. Needs no privilege."""

from __future__ import annotations

from pathlib import Path

import pytest

from probe.lab.firewall import Firewall, LabError, firewall_names, load_firewall

NAMED = {
    "open",
    "closed",
    "kb233256",
    "outbound-only",
    "esp-missing",
    "udp500-missing",
    "one-way-out",
    "one-way-in",
    "reject",
    "masquerade",
    "far-host-firewall",
    "no-forwarding",
    "loss",
}


def write(directory: Path, text: str) -> str:
    path = directory / "mine.nft"
    path.write_text(text)
    return str(path)


def test_those_that_come_with_the_program() -> None:
    assert set(firewall_names()) >= NAMED


@pytest.mark.parametrize("name", firewall_names())
def test_each_is_described_in_a_line(name: str) -> None:
    firewall = load_firewall(name)
    assert firewall.name == name
    assert firewall.description.endswith(".")
    assert "\n" not in firewall.description
    assert len(firewall.description) < 100


def test_directives() -> None:
    assert load_firewall("far-host-firewall").where == "far"
    assert not load_firewall("no-forwarding").forwarding
    assert load_firewall("open") == Firewall(
        "open", load_firewall("open").path, "Everything passes, in both directions."
    )


def test_a_file_of_the_users_own(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "#!/usr/sbin/nft -f\n\n# The office,\n#  second floor.\n#\n# More.\n#lab:load at near\n"
        "# lab: near is eth1\n# lab: far is ppp0\n# lab: forwarding on\n"
        "table inet t {}\n# lab: forwarding off, which is not at the top\n",
    )
    assert load_firewall(path) == Firewall(
        "mine", Path(path), "The office, second floor.", "near", True, ("eth1", "ppp0")
    )


def test_no_comments_at_all(tmp_path: Path) -> None:
    assert load_firewall(write(tmp_path, "table inet t {}\n")).description == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# x\n# lab: forwardng off\n", r'mine\.nft:2: unknown directive "lab: forwardng off"'),
        ("# lab: load at home\n", r"mine\.nft:1: .*load at near\|fw\|far"),
        ("# lab: near is a-name-that-is-too-long\n", r"mine\.nft:1: "),
        ("# lab: near is far0\n", "near and far cannot both be far0"),
    ],
)
def test_a_wrong_directive(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LabError, match=message):
        load_firewall(write(tmp_path, text))


def test_a_wrong_name() -> None:
    with pytest.raises(LabError, match=r'"kb23325" \(did you mean "kb233256"\?\)\. There are c'):
        load_firewall("kb23325")
    with pytest.raises(LabError, match=r"cannot read the firewall none\.nft: No such file"):
        load_firewall("none.nft")
