from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from agent.access import keys, tls
from agent.errors import KeyFileError


def test_a_new_key_is_for_its_owner_alone_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key"
    key = keys.create(path)
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.load(path) == key


def test_an_existing_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = keys.create(path)
    with pytest.raises(KeyFileError, match="left as it is"):
        keys.create(path)
    assert keys.load(path) == key


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    keys.create(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        keys.load(path)


@pytest.mark.parametrize("content", ["", "abc", "00" * 31, "00" * 33, "zz" * 32, "\xff" * 64])
def test_a_damaged_key_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="damaged"):
        keys.load(path)


def test_no_key_says_where_one_is_looked_for(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert keys.candidates(None, environ) == (tmp_path / "probe" / "key", keys.SYSTEM_KEY)
    with pytest.raises(KeyFileError, match="no key found"):
        keys.find(str(tmp_path / "none"), environ)


def test_the_option_goes_before_the_environment(tmp_path: Path) -> None:
    environ = {"PROBE_KEY_FILE": "/b", "XDG_CONFIG_HOME": "/c"}
    assert keys.candidates("/a", environ) == (Path("/a"),)
    assert keys.candidates(None, environ) == (Path("/b"),)


def test_a_directory_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError):
        keys.load(tmp_path)


def shake(server_key: bytes, client_key: bytes) -> ssl.SSLObject:
    """A whole handshake in memory; raises what either end raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = tls.context(server_key, server=True).wrap_bio(to_server, to_client, server_side=True)
    client = tls.context(client_key, server=False).wrap_bio(to_client, to_server)
    done = [False, False]
    for _ in range(10):
        for place, end in enumerate((client, server)):
            try:
                end.do_handshake()
                done[place] = True
            except ssl.SSLWantReadError:
                continue
        if all(done):
            return client
    raise AssertionError("the handshake does not end")


def test_two_ends_with_the_same_key_meet_by_tls_13() -> None:
    assert shake(b"k" * 32, b"k" * 32).version() == "TLSv1.3"


def test_another_key_is_refused_as_another_key() -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(b"k" * 32, b"x" * 32)


def _shake_on(*ends: ssl.SSLObject) -> None:
    for end in ends * 10:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue


def test_a_client_without_the_key_is_refused_by_the_server() -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = tls.context(b"k" * 32, server=True).wrap_bio(to_server, to_client, server_side=True)
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    client = anyone.wrap_bio(to_client, to_server)
    with pytest.raises(ssl.SSLError):
        _shake_on(client, server)


def test_the_certificate_is_the_same_wherever_the_key_is() -> None:
    assert tls.credentials(b"k" * 32) == tls.credentials(b"k" * 32)
    assert tls.credentials(b"k" * 32) != tls.credentials(b"l" * 32)
