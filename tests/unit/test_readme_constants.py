"""What the README tells a defender to look for is what is sent."""

from __future__ import annotations

from pathlib import Path

from agent.wire import ike, kerberos, port

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_vendor_id_the_principal_and_the_padata_type_are_documented() -> None:
    assert f"begins `{ike.VENDOR_ID.hex()}`" in README
    assert f"`{kerberos.PRINCIPAL}` of realm `{kerberos.REALM}`" in README
    assert f"padata of type −{-kerberos.PADATA_TYPE}" in README
    assert f"begins `{port.LINE.decode().strip()}`" in README


def test_the_filter_names_the_same_octets() -> None:
    assert f"isakmp.vid_bytes[0:16] == {ike.VENDOR_ID.hex(':')}" in README
    assert f'kerberos.CNameString == "{kerberos.PRINCIPAL}"' in README
