"""The shipped templates are what scapy builds today."""

from __future__ import annotations

import json

from agent.wire import make_templates
from agent.wire.templates import FILE, templates


def test_scapy_builds_what_is_shipped() -> None:
    """Else run: python -m agent.wire.make_templates"""
    assert json.loads(FILE.read_text("ascii")) == make_templates.build()


def test_fields_lie_where_their_place_holders_do() -> None:
    shipped = templates()
    assert set(shipped) == set(make_templates.PACKETS)
    for name, (_, fields) in make_templates.PACKETS.items():
        assert set(shipped[name].fields) == set(fields)
        for field, length in fields.items():
            at = shipped[name].fields[field]
            holder = make_templates.holder(field, length)
            assert shipped[name].data[at : at + length] == holder


def test_no_place_holder_is_sent() -> None:
    """Every one is patched over, at natural and at larger sizes."""
    from tests.unit.wire_shots import exchange

    for kind in ("ike", "ike-nat-t", "kerberos-udp", "kerberos-tcp"):
        for size in (None, 1400):
            shot = exchange(kind, 4, size, size)
            for _, fields in make_templates.PACKETS.values():
                for field, length in fields.items():
                    holder = make_templates.holder(field, length)
                    assert holder not in shot.request
                    assert holder not in shot.answer
