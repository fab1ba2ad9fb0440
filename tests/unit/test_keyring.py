"""Which keys an agent takes: by name, by identifier, and never one that others could have put."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.access import keyring, keys
from agent.access.keyring import Keyring, NamedKey, identifier
from agent.errors import KeyFileError


def made(directory: Path, *names: str) -> dict[str, bytes]:
    return {name: keys.create(directory / name) for name in names}


def test_each_operators_key_is_found_by_its_identifier_and_has_their_name(tmp_path: Path) -> None:
    shared = keys.create(tmp_path / "key")
    operators = made(tmp_path / "keys.d", "alice", "bob@adminpc")
    ring = Keyring.load(tmp_path / "key", tmp_path / "keys.d")
    assert [entry.name for entry in ring] == ["shared", "alice", "bob@adminpc"]
    assert ring.find(identifier(operators["alice"])) == NamedKey("alice", operators["alice"])
    assert ring.find(identifier(shared)) == NamedKey("shared", shared)
    assert ring.find(identifier(bytes(32))) is None
    assert ring.find("") is None


def test_what_is_not_there_holds_no_key(tmp_path: Path) -> None:
    assert len(Keyring.load(tmp_path / "key", tmp_path / "keys.d")) == 0
    assert len(Keyring.load(None, None)) == 0


def test_a_key_that_is_deleted_is_revoked_and_the_others_stay(tmp_path: Path) -> None:
    made(tmp_path, "alice", "bob")
    before = Keyring.load(None, tmp_path)
    (tmp_path / "alice").unlink()
    assert [entry.name for entry in Keyring.load(None, tmp_path)] == ["bob"]
    assert len(before) == 2, "whoever holds the old ring keeps it"


def test_an_identifier_is_a_host_name_that_tells_nothing_of_the_key() -> None:
    key = bytes(range(32))
    assert identifier(key) == identifier(bytes(range(32)))
    assert identifier(key) != identifier(bytes(32))
    assert len(identifier(key)) == 17
    assert identifier(key).isalnum()
    assert identifier(key)[1:] not in key.hex()


def test_a_key_is_not_shown() -> None:
    key = bytes(range(32))
    told = repr(Keyring((NamedKey("alice", key),)))
    assert "alice" in told
    assert key.hex() not in told
    assert repr(key) not in told


def test_one_bad_file_is_told_and_not_passed_over(tmp_path: Path) -> None:
    made(tmp_path, "alice", "bob")
    (tmp_path / "bob").chmod(0o640)
    with pytest.raises(KeyFileError, match=r"bob can be read .* chmod 600"):
        Keyring.load(None, tmp_path)


@pytest.mark.parametrize("name", ["alice~", "a b", "ä", "-x", "x" * 65])
def test_a_file_whose_name_is_no_operators(tmp_path: Path, name: str) -> None:
    made(tmp_path, name)
    with pytest.raises(KeyFileError, match="cannot be the name of a key"):
        Keyring.load(None, tmp_path)


def test_a_file_that_is_hidden_is_none(tmp_path: Path) -> None:
    made(tmp_path, "alice", ".alice.swp")
    assert [entry.name for entry in Keyring.load(None, tmp_path)] == ["alice"]


def test_no_operator_is_called_what_the_shared_key_is(tmp_path: Path) -> None:
    made(tmp_path, "shared")
    with pytest.raises(KeyFileError, match="key file itself"):
        Keyring.load(None, tmp_path)


@pytest.mark.parametrize("name", ["../x", "", ".x", "a/b", "a\n", "a:b"])
def test_a_name_that_would_leave_the_directory(name: str) -> None:
    with pytest.raises(KeyFileError, match="cannot be the name"):
        keyring.check_name(name)


# -- whom a file is to be trusted to -----------------------------------------------------------


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_a_directory_in_which_others_can_put_a_key(tmp_path: Path, mode: int) -> None:
    made(tmp_path / "open", "key")
    (tmp_path / "open").chmod(mode)
    with pytest.raises(KeyFileError, match="chmod go-w"):
        keys.load(tmp_path / "open" / "key")


def test_a_sticky_directory_is_as_good_as_ones_own(tmp_path: Path) -> None:
    key = made(tmp_path / "tmp", "key")["key"]
    (tmp_path / "tmp").chmod(0o1777)
    assert keys.load(tmp_path / "tmp" / "key") == key


def test_a_key_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path, "key")
    owner = (tmp_path / "key").stat().st_uid
    keys.load(tmp_path / "key")
    if owner == 0:  # what belongs to root is trusted by everybody
        os.chown(tmp_path / "key", 65_534, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(KeyFileError, match="belongs to another user"):
        keys.load(tmp_path / "key")


# -- a new key beside the old ------------------------------------------------------------------


def test_a_key_is_rotated_without_an_hour_of_silence(tmp_path: Path) -> None:
    path = tmp_path / "key"
    old = keys.create(path)
    new = keys.rotate(path)
    assert keys.load_all(path) == (new, old)
    assert keys.load(path) == new
    ring = Keyring.load(path)
    assert ring.find(identifier(old))
    assert ring.find(identifier(new))
    assert keys.retire(path) == 1
    assert keys.load_all(path) == (new,)
    assert keys.retire(path) == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_old_keys_do_not_pile_up(tmp_path: Path) -> None:
    path = tmp_path / "key"
    keys.create(path)
    for _ in range(keys.MOST_KEYS - 1):
        keys.rotate(path)
    before = keys.load_all(path)
    with pytest.raises(KeyFileError, match="--retire"):
        keys.rotate(path)
    assert keys.load_all(path) == before


def test_a_key_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key"
    keys.create(path)
    (tmp_path / "file").touch()
    with pytest.raises(KeyFileError, match="cannot write the key"):
        keys.store(tmp_path / "file" / "key", [bytes(32)])
    with pytest.raises(KeyFileError, match="cannot write the key"):
        keys.store(tmp_path / "deep", [bytes(32)])  # a directory stands there
    assert sorted(tmp_path.iterdir()) == [tmp_path / "deep", tmp_path / "file"]
