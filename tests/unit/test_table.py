"""The table says what the run concluded, worst first, and never in more columns than it has."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from agent.model import Direction
from probe.report.table import render
from probe.result import Conclusion, Host, Outcome, RunResult, Verdict
from scenarios import CELLS, Expect, Row
from tests.samples import FAR, NEAR, lost, only, result, row, whole

PASS, STATE, GONE, MOOT = (
    Outcome.DELIVERED,
    Outcome.STATE_POSSIBLE,
    Outcome.LOST,
    Outcome.NOT_APPLICABLE,
)
SGR = re.compile(r"\x1b\[[0-9;]*m")


def plain(run: RunResult, width: int = 80) -> str:
    return render(run, colour=False, width=width)


def cells(text: str, title: str) -> list[str]:
    """The four cells of the row that begins with ``title``."""
    (line,) = (line for line in text.splitlines() if line.startswith(title + " "))
    return re.split(r"\s{2,}", line)[-4:]


def expecting(expect: Expect, kind: str = "esp", label: str = "") -> Row:
    return Row(kind, expect=dict.fromkeys(CELLS, expect), label=label)


def blocks(text: str) -> list[str]:
    return text.split("\n\n")


def test_the_whole_of_a_run_that_is_as_it_should_be() -> None:
    assert plain(result(whole("esp"), whole("ike"), whole("kerberos-tcp"))) == (
        "near 10.0.0.1 (alpha) → far 10.0.0.5 (beta)   kb233256, IPv4, 0.8 s\n"
        "\n"
        "                       OUTBOUND             INBOUND\n"
        "                       new         reply    new        reply\n"
        "---------------------  ----------  -------  ---------  -------\n"
        "ESP       IP 50        pass        pass     pass       pass\n"
        "IKE       UDP 500→500  pass        pass     pass       pass\n"
        "Kerberos  TCP 88       pass        pass     pass       pass\n"
        "\n"
        "PASS: 12 of 12 checks passed."
    )


@pytest.mark.parametrize(
    ("outcome", "expect", "word"),
    [
        (PASS, Expect.PASS, "pass"),
        (STATE, Expect.PASS, "pass*"),
        (GONE, Expect.PASS, "LOST"),
        (Outcome.REFUSED, Expect.PASS, "REFUSED"),
        (Outcome.HOST_DROPPED, Expect.PASS, "HOST"),
        (Outcome.ALTERED, Expect.PASS, "ALTERED"),
        (Outcome.LOSSY, Expect.PASS, "lossy 2/3"),
        (Outcome.NOT_SENT, Expect.PASS, "not sent"),
        (Outcome.UNOBSERVED, Expect.PASS, "?"),
        (MOOT, Expect.PASS, "-"),
        (GONE, Expect.ANY, "lost"),
        (Outcome.REFUSED, Expect.ANY, "refused"),
        (PASS, Expect.ANY, "pass"),
        (GONE, Expect.BLOCK, "blocked"),
        (Outcome.REFUSED, Expect.BLOCK, "blocked"),
        (PASS, Expect.BLOCK, "PASSED!"),
        (Outcome.LOSSY, Expect.BLOCK, "PASSED!"),
        (MOOT, Expect.BLOCK, "-"),
        (Outcome.UNOBSERVED, Expect.BLOCK, "?"),
    ],
)
def test_the_word_in_a_cell(outcome: Outcome, expect: Expect, word: str) -> None:
    text = plain(result(row(expecting(expect), *[outcome] * 4)))
    assert cells(text, "ESP") == [word] * 4


def test_strict_makes_state_possible_a_failure() -> None:
    strict = tuple(
        replace(c, verdict=Verdict.FAIL, cause="ESP went the other way 12 seconds ago")
        for c in row(Row("esp"), *[STATE] * 4)
    )
    text = plain(result(strict))
    assert cells(text, "ESP") == ["PASS*"] * 4
    assert "inbound reply: ESP went the other way 12 seconds ago." in " ".join(text.split())


def test_a_large_count_of_shots_becomes_a_share() -> None:
    many = tuple(
        replace(c, shots=5000, arrived=1250) for c in row(Row("esp"), *[Outcome.LOSSY] * 4)
    )
    assert cells(plain(result(many)), "ESP") == ["lossy 25%"] * 4


def test_loss_on_the_host_counts_what_was_delivered() -> None:
    half = tuple(
        replace(c, shots=12, arrived=12, delivered=7) for c in row(Row("esp"), *[Outcome.LOSSY] * 4)
    )
    assert cells(plain(result(half)), "ESP") == ["lossy 7/12"] * 4


# -- rows --------------------------------------------------------------------------------------


def test_a_reply_stands_in_the_row_of_its_request() -> None:
    fresh = Row("ike", source_port="fresh", label="IKE, any source")
    text = plain(result(whole("ike"), row(fresh, PASS, MOOT, GONE, PASS)))
    assert cells(text, "IKE, any source  UDP fresh→500") == ["pass", "-", "LOST", "pass"]
    assert cells(text, "IKE              UDP 500→500") == ["pass"] * 4


def test_one_direction_leaves_the_other_cells_empty() -> None:
    text = plain(result(only(whole("esp"), Direction.OUTBOUND)))
    (line,) = (line for line in text.splitlines() if line.startswith("ESP"))
    assert line == "ESP  IP 50  pass        pass"


def test_sizes_and_plain_ports_have_their_rows() -> None:
    large = row(Row("kerberos-udp", size=1400), PASS, PASS, PASS, PASS)
    text = plain(result(whole("kerberos-udp"), large, whole("udp:1701"), whole("tcp:445")))
    for title in ("Kerberos  UDP 88", "Kerberos  UDP 88, 1400 B", "UDP 1701", "TCP 445"):
        assert cells(text, title)


def test_the_same_row_twice_stays_two_rows() -> None:
    text = plain(result(whole("esp"), lost("esp")))
    assert [line.split()[3] for line in text.splitlines() if line.startswith("ESP")] == [
        "LOST",
        "pass",
    ]


def test_what_failed_stands_first_and_the_rest_keeps_its_order() -> None:
    unsure = row(Row("kerberos-udp"), *[Outcome.UNOBSERVED] * 4)
    loose = row(Row("kerberos-tcp"), *[Outcome.LOSSY] * 4)
    text = plain(result(whole("icmp-echo"), loose, whole("esp"), unsure, lost("ah"), lost("ike")))
    table = blocks(text)[1].splitlines()[3:]
    assert [" ".join(line.split()[:2]) for line in table] == [
        "AH IP",
        "IKE UDP",
        "Kerberos UDP",
        "Kerberos TCP",
        "ICMP echo",
        "ESP IP",
    ]


# -- words below the table ---------------------------------------------------------------------


def test_equal_causes_share_one_line_and_the_worst_comes_first() -> None:
    silent = {GONE: "3 shots left and none arrived"}
    unsure = row(Row("kerberos-tcp"), *[Outcome.UNOBSERVED] * 4)
    run = result(
        unsure,
        row(Row("esp"), GONE, MOOT, GONE, MOOT, causes=silent),
        row(Row("ah"), GONE, MOOT, GONE, MOOT, causes=silent),
        row(Row("kerberos-udp"), PASS, MOOT, GONE, PASS, causes=silent),
    )
    why = [block for block in blocks(plain(run)) if block.startswith("WHY")]
    assert " ".join(why[0].split()) == (
        "WHY ESP and AH, outbound new and inbound new; Kerberos UDP 88, inbound new: "
        "3 shots left and none arrived. "
        "WHY Kerberos TCP 88, outbound new, outbound reply, inbound new and inbound reply: "
        "cause of unobserved."
    )


def test_what_is_only_told_is_a_note_and_no_failure() -> None:
    text = plain(result(whole("ike"), row(expecting(Expect.ANY), GONE, MOOT, PASS, PASS)))
    assert "NOTE  ESP, outbound new: cause of lost." in text
    assert "WHY" not in text
    assert text.endswith("PASS: 6 of 8 checks passed, 2 skipped (1 of them not judged).")


def test_why_a_check_does_not_apply_is_told_once_and_not_for_replies() -> None:
    text = plain(result(row(Row("esp"), PASS, MOOT, MOOT, PASS)))
    assert text.count("cause of not-applicable") == 1
    assert "NOTE  ESP, inbound new: cause of not-applicable." in text


def test_a_delivery_with_something_to_say_is_noted() -> None:
    answered = tuple(replace(c, cause="answered by charon") for c in whole("ike"))
    assert "NOTE  IKE, outbound new" in plain(result(answered))


def test_notes_and_the_star_are_explained() -> None:
    run = replace(result(row(Row("esp"), STATE, PASS, PASS, PASS)), notes=("Port 500 is held.",))
    text = plain(run)
    assert "NOTE  Port 500 is held." in text
    assert blocks(text)[2].startswith("* arrived, but earlier traffic")
    assert "* arrived" not in plain(result(whole("esp")))


def test_what_to_do_follows_the_causes() -> None:
    text = plain(result(whole("ike"), lost("esp")))
    assert text.index("WHY") < text.index("WHAT TO DO\n- IKE passes, ESP does not") < len(text)
    assert "WHAT TO DO" not in plain(result(whole("ike")))


@pytest.mark.parametrize(
    ("run", "line"),
    [
        (result(whole("esp"), lost("ah")), "FAIL: 2 of 8 checks failed, 4 passed, 2 skipped."),
        (
            result(row(Row("esp"), STATE, PASS, PASS, PASS)),
            "PASS: 4 of 4 checks passed (1 of them state-possible).",
        ),
        (
            result(whole("ah"), row(Row("esp"), *[Outcome.LOSSY] * 4)),
            "WARN: 4 of 8 checks lossy, 4 passed.",
        ),
        (
            result(row(expecting(Expect.BLOCK), STATE, GONE, GONE, GONE)),
            "WARN: 1 of 4 checks may have passed only by earlier state, 3 passed.",
        ),
        (
            result(
                row(expecting(Expect.BLOCK), STATE, *[GONE] * 3),
                row(Row("esp"), *[Outcome.LOSSY] * 4),
            ),
            "WARN: 5 of 8 checks in doubt (4 lossy), 3 passed.",
        ),
        (
            result(row(Row("esp"), *[Outcome.NOT_SENT] * 4)),
            "ERROR: 4 of 4 checks could not be tested.",
        ),
        (
            result(row(Row("esp"), PASS, PASS, *[Outcome.UNOBSERVED] * 2), complete=False),
            "ERROR, and the run was not finished: 2 of 4 checks could not be tested, 2 passed.",
        ),
        (result(), "ERROR: nothing was tested."),
    ],
)
def test_the_last_line_sums_up(run: RunResult, line: str) -> None:
    assert " ".join(blocks(plain(run))[-1].split()) == line


# -- the terminal ------------------------------------------------------------------------------


def everything(label: str = "") -> tuple[tuple[Conclusion, ...], ...]:
    kinds = (
        "icmp-echo",
        "esp",
        "ah",
        "ike",
        "ike-nat-t",
        "esp-in-udp",
        "nat-keepalive",
        "kerberos-udp",
        "kerberos-tcp",
        "tcp:65535",
    )
    return tuple(
        row(Row(kind, size=65535, source_port="fresh", label=label), *[outcome] * 4)
        for kind, outcome in zip(kinds, Outcome, strict=True)
    )


@pytest.mark.parametrize("width", [66, 80, 132])
@pytest.mark.parametrize("label", ["", "a label as long as the loader lets it be", "x" * 40])
@pytest.mark.parametrize("shots", [(99, 100), (59_999, 60_000)])
def test_no_line_is_wider_than_the_terminal(width: int, label: str, shots: tuple[int, int]) -> None:
    rows = tuple(
        tuple(replace(c, arrived=shots[0], shots=shots[1]) for c in cells)
        for cells in everything(label)
    )
    long = "fe80::1234:5678:9abc:def0:1234:5678"
    run = replace(
        result(*rows, complete=False),
        near=Host("n" * 63, long, "0.1.0"),
        far=Host("f" * 63, long, "0.1.0"),
        notes=("A note that runs on. " * 12, "u" * 300),
    )
    for colour in (False, True):
        text = SGR.sub("", render(run, colour=colour, width=width))
        assert max(map(len, text.splitlines())) <= width
        assert all(line == line.rstrip() for line in text.splitlines())


def test_colour_changes_nothing_but_colour() -> None:
    run = result(*everything(), whole("esp"))
    coloured = render(run, colour=True)
    assert "\x1b[1;31mLOST\x1b[0m" in coloured
    assert "\x1b[32mpass\x1b[0m" in coloured
    without = [line.rstrip() for line in SGR.sub("", coloured).splitlines()]
    assert without == render(run, colour=False).splitlines()


def test_no_word_of_another_host_steers_the_terminal() -> None:
    run = replace(result(whole("esp")), far=replace(FAR, name="\x1b[2Jbeta\nPASS"), near=NEAR)
    text = plain(run)
    assert "\x1b" not in text
    assert "?[2Jbeta?PASS" in text
