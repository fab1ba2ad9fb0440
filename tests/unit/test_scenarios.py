"""Scenarios: the ready-made ones hold together, and a wrong file is told where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.model import Direction, Flow
from agent.wire import KINDS
from scenarios import CELLS, Expect, Row, Scenario, ScenarioError, known_kind, load, names

OUTBOUND_NEW, OUTBOUND_REPLY, INBOUND_NEW, INBOUND_REPLY = CELLS


def write(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "mine.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def rows_of(tmp_path: Path, body: str) -> tuple[Row, ...]:
    return load(write(tmp_path, body)).rows


# -- the ready-made ones ------------------------------------------------------------------------


def test_names_are_the_files() -> None:
    assert names() == (
        "all",
        "always-on-vpn",
        "client-to-dc",
        "dc-to-dc",
        "directaccess",
        "isolated-domain",
        "kb233256",
        "kerberos",
        "l2tp-ipsec",
        "nat-t",
        "site-to-site",
    )


@pytest.mark.parametrize("name", names())
def test_ready_made(name: str) -> None:
    scenario = load(name)
    assert scenario.name == name
    assert scenario.title
    assert scenario.description
    baseline = scenario.rows[0]
    assert baseline.kind == "icmp-echo"
    assert all(baseline.expected(*cell) is Expect.ANY for cell in CELLS)


def test_the_kb_asks_its_whole_list_both_ways() -> None:
    rows = load("kb233256").rows
    assert [row.kind for row in rows] == [
        "icmp-echo",
        "esp",
        "ah",
        "ike",
        "ike",
        "kerberos-udp",
        "kerberos-tcp",
    ]
    assert all(row.cells == CELLS for row in rows)
    judged = [row for row in rows if row.expected(*INBOUND_NEW) is Expect.PASS]
    assert [(row.kind, row.source_port) for row in judged] == [
        ("esp", None),
        ("ah", None),
        ("ike", None),
        ("kerberos-udp", None),
        ("kerberos-tcp", None),
    ]
    assert [row.label for row in rows if row.source_port == "fresh"] == ["IKE, any source"]


def test_l2tp_must_not_pass_in_the_clear() -> None:
    (clear,) = (row for row in load("l2tp-ipsec").rows if row.kind == "udp:1701")
    assert clear.expected(*OUTBOUND_NEW) is Expect.BLOCK
    assert clear.expected(*INBOUND_NEW) is Expect.BLOCK
    assert clear.expected(*INBOUND_REPLY) is Expect.ANY


def test_all_asks_every_kind() -> None:
    real = {kind for kind in KINDS if not kind.endswith("-noise")}  # a control, asked by --inspect
    assert {row.kind for row in load("all").rows} == real


# -- a file of the user's own -------------------------------------------------------------------


def test_everything_a_row_may_say(tmp_path: Path) -> None:
    text = """
    title = "Ours"
    description = "What we need."
    [[row]]
    kind = "kerberos-udp"
    direction = "outbound"
    source_port = 4000
    size = 1400
    expect = { outbound-new = "block" }
    label = "the KDC"
    """
    row = Row(
        "kerberos-udp",
        "outbound",
        source_port=4000,
        size=1400,
        expect={OUTBOUND_NEW: Expect.BLOCK, INBOUND_REPLY: Expect.PASS},
        label="the KDC",
    )
    assert load(write(tmp_path, text)) == Scenario("mine", "Ours", "What we need.", (row,))


def test_the_least_a_file_may_say(tmp_path: Path) -> None:
    scenario = load(write(tmp_path, '\ufeff[[row]]\nkind = "tcp:445"\n'))
    assert (scenario.title, scenario.description) == ("mine", "")
    (row,) = scenario.rows
    assert (row.direction, row.source_port, row.size, row.label) == ("both", None, None, "")
    assert all(row.expected(*cell) is Expect.PASS for cell in CELLS)


def test_one_word_is_meant_for_every_cell(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, '[[row]]\nkind = "esp"\nexpect = "any"')
    assert {row.expected(direction, flow) for direction, flow in CELLS} == {Expect.ANY}


def test_a_direction_takes_the_replies_with_it() -> None:
    assert Row("esp", "outbound").cells == (OUTBOUND_NEW, INBOUND_REPLY)
    assert Row("esp", "inbound").cells == (OUTBOUND_REPLY, INBOUND_NEW)
    assert Row("esp").expected(Direction.INBOUND, Flow.NEW) is Expect.PASS


@pytest.mark.parametrize("kind", [*KINDS, "udp:1", "tcp:65535", "udp:1701"])
def test_known_kinds(kind: str) -> None:
    assert known_kind(kind)


@pytest.mark.parametrize("kind", ["espp", "ESP", "", "udp", "udp:", "udp:0", "tcp:65536", "udp:٣"])
def test_unknown_kinds(kind: str) -> None:
    assert not known_kind(kind)


# -- what is wrong, and where -------------------------------------------------------------------

ROW = '[[row]]\nkind = "esp"\n'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("title = \n", ":1:9: Invalid value"),
        ('[[row]]\nkind = "esp"\nkind = "ah"\n', ":3:12: Cannot overwrite a value"),
        ('[[row]]\nkind = "esp', ":2: Unterminated string"),
        (b'title = "ok"\n# \xff\n', ":2: not UTF-8 text"),
        ("", ": row: at least one [[row]] is needed"),
        ('[row]\nkind = "esp"', ": row: begin each row with [[row]], in double brackets"),
        ("title = 7\n" + ROW, ": title: a text in quotes is needed, not 7"),
        ('titel = "x"\n' + ROW, ': unknown key "titel"; did you mean "title"?'),
        (ROW * 2 + '[[row]]\nkind = "espp"', ': row 3: kind: unknown kind "espp"; did you mean'),
        ('[[row]]\nkind = "quic"', ': row 1: kind: unknown kind "quic"; there are "'),
        ('[[row]]\nkind = "udp:99999"', 'a plain port is written "udp:PORT"'),
        ('[[row]]\ndirection = "both"', ": row 1: kind: missing"),
        (ROW + "[[row]]\nkind = 50", ": row 2: kind: a text in quotes is needed, not 50"),
        (ROW + 'diretion = "both"', ': row 1: unknown key "diretion"; did you mean "direction"?'),
        (ROW + "colour = 1", ': row 1: unknown key "colour"; known are "kind"'),
        (ROW + 'direction = "inbund"', 'unknown direction "inbund"; did you mean "inbound"?'),
        (ROW + 'direction = "up"', 'unknown direction "up"; one of "both"'),
        (ROW + "source_port = 500", ": row 1: source_port: esp has no ports"),
        ('[[row]]\nkind = "ike"\nsource_port = 0', 'from 1 to 65535, or "fresh" is needed, not 0'),
        ('[[row]]\nkind = "ike"\nsource_port = true', '"fresh" is needed, not true'),
        ('[[row]]\nkind = "ike"\nsource_port = "old"', '"fresh" is needed, not "old"'),
        (ROW + "size = 12", ": row 1: size: a number from 28 to 65535 is needed, not 12"),
        (ROW + "size = [1]", "is needed, not a list"),
        (ROW + 'expect = "passs"', ': row 1: expect: "passs" is none of "pass", "block", "any"; d'),
        (ROW + "expect = true", ": row 1: expect: True is none of"),
        (ROW + "expect = { inbound = 1 }", ': row 1: expect: unknown key "inbound"; did you mean'),
        (ROW + "expect = { inbound-new = 1 }", ": row 1: expect: inbound-new: 1 is none of"),
        (
            ROW + 'direction = "outbound"\nexpect = { inbound-new = "any" }',
            ": row 1: expect: inbound-new: the row's direction leaves this cell out",
        ),
        (ROW + 'label = "a\\nb"', ": row 1: label: one line of at most 40 characters"),
    ],
)
def test_a_wrong_file_names_the_place(tmp_path: Path, text: str | bytes, complaint: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ScenarioError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(path)
    assert complaint in message
    assert "\n" not in message


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"none\.toml: No such file or directory"):
        load(str(tmp_path / "none.toml"))
    with pytest.raises(ScenarioError, match="Is a directory"):
        load(str(tmp_path))


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(ScenarioError) as caught:
        load("kb23325")
    assert str(caught.value).startswith(
        'unknown scenario "kb23325"; did you mean "kb233256"? There'
    )


def test_a_range_is_sampled_from_end_to_end_and_says_so() -> None:
    scenario = load("client-to-dc")
    dynamic = [row.kind for row in scenario.rows if row.label == "RPC dynamic"]
    assert dynamic == ["tcp:49152", "tcp:53247", "tcp:57343", "tcp:61439", "tcp:65535"]
    (note,) = scenario.notes
    assert "5 of 16,384 ports were tried (49152, 53247, 57343, 61439, 65535)" in note


def test_a_row_says_how_many_ports_stand_for_its_range(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[[row]]\nkind = "udp:5000-5003"\nsample = 9\n')
    assert [row.kind for row in load(str(file)).rows] == [f"udp:{n}" for n in range(5000, 5004)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('kind = "tcp:90-80"', 'row 1: kind: "tcp:90-80": a range goes from a lower port'),
        ('kind = "tcp:80-70000"', "row 1: kind"),
        ('kind = "tcp:80-90"\nsample = 1', "row 1: sample: a number from 2 to 100"),
        ('kind = "tcp:80"\nsample = 3', 'row 1: unknown key "sample"'),
    ],
)
def test_a_wrong_range_is_named(tmp_path: Path, row: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f"[[row]]\n{row}\n")
    with pytest.raises(ScenarioError) as caught:
        load(str(file))
    assert message in str(caught.value)
