"""Where near keeps the key that it has made with a host, and finds it again."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from agent.access import keys
from agent.access.keyring import NAME
from agent.errors import KeyFileError
from probe.far import keyholder, pair
from probe.far.keyholder import NoKey, hold


@pytest.fixture(autouse=True)
def _own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PROBE_KEY_FILE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(keys, "SYSTEM_KEY", tmp_path / "etc" / "key")


def asked(peer: str, key: str | None = None) -> argparse.Namespace:
    return argparse.Namespace(peer=peer, key=key, code=None, control="auto", family=None)


@pytest.mark.parametrize("user", [0, 1000])
@pytest.mark.parametrize("peer", ["10.0.0.5", "fd00::5", "fe80::1%eth0", "far.example.org"])
def test_a_key_made_with_a_host_is_found_for_that_host(
    peer: str, user: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as other:
        other.setattr(os, "geteuid", lambda: user)
        place = keyholder._place(None, peer)
    assert place.parent == (tmp_path / ("config/probe" if user else "etc") / "peers.d")
    keys.check_place(place)
    keys.store(place, [b"k" * 32])
    assert hold(asked(peer)) == (b"k" * 32,)
    with pytest.raises(NoKey, match="no key found"):
        hold(asked("10.0.0.99"))


def test_a_name_that_is_misspelt_has_no_key_either(tmp_path: Path) -> None:
    with pytest.raises(NoKey, match=r"'bad\.\.name' cannot be resolved") as caught:
        hold(asked("bad..name"))
    assert caught.value.exit_code == 3
    with pytest.raises(NoKey, match="no key found") as caught:
        hold(asked("bad..name", str(tmp_path / "named")))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("peer", ["../key", "a/b", ".hidden", "", "a b"])
def test_a_peer_that_no_file_can_be_named_after(peer: str) -> None:
    with pytest.raises(KeyFileError, match="Name one with --key"):
        keyholder._place(None, peer)


def test_all_keys_of_a_file_are_shown_newest_first(tmp_path: Path) -> None:
    old = keys.create(tmp_path / "key")
    new = keys.rotate(tmp_path / "key")
    assert hold(asked("10.0.0.5", str(tmp_path / "key"))) == (new, old)


@pytest.mark.parametrize("user", ["alice", "DOMAIN\\alice", "äöü", "..", "x" * 200])
def test_ones_own_name_is_one_that_an_agent_can_keep(
    user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", user)
    assert NAME.fullmatch(pair.own_name())
