"""TOML into :class:`~scenarios.model.Scenario`, or a message that names file and line or key.

tomllib and plain checks: a schema library would not know to say "did you mean", and every run
pays for its import.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agent.model import Fragmenting
from scenarios import sampling
from scenarios.model import CELLS, Cell, Expect, Row, Scenario, ScenarioError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_HERE = Path(__file__).parent

_SCENARIO_KEYS = ("title", "description", "row")
_ROW_KEYS = ("kind", "direction", "source_port", "size", "fragmenting", "expect", "label")
_DIRECTIONS = ("both", "outbound", "inbound")
_CELL_NAMES: dict[str, Cell] = {
    f"{direction}-{flow}": (direction, flow) for direction, flow in CELLS
}
_PORTLESS = ("esp", "ah", "icmp-echo")
SAMPLE = 5  # ports that stand for a range, unless the row says how many
_PORT_RANGE = re.compile(r"(udp|tcp):([1-9][0-9]{0,4})-([1-9][0-9]{0,4})")
_WHOLE = ("ah", "icmp-echo")
_DECODE_ERROR = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_LABEL_LENGTH = 40


def names() -> tuple[str, ...]:
    """The scenarios that come with the program."""
    found = (entry.name for entry in _shelf().iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


def _shelf() -> Traversable:
    """Where they lie: a directory, or an archive in which the whole program comes."""
    if _HERE.is_dir():
        return _HERE
    from importlib.resources import files  # slow to import

    return files("scenarios")


def load(name_or_path: str) -> Scenario:
    """A scenario by its name, or from the user's own file.

    Raises ScenarioError: ``rules.toml:7:12: …`` where it is not TOML, ``rules.toml: row 3: kind:
    …`` where it is not a scenario.
    """
    if name_or_path in names():
        shelved = _shelf() / f"{name_or_path}.toml"
        return _scenario(name_or_path, _parse(shelved), str(shelved))
    path = Path(name_or_path)
    if not path.exists() and path.suffix != ".toml" and path.name == name_or_path:
        raise ScenarioError(
            f'unknown scenario "{name_or_path}"{_meant(name_or_path, names()) or "."} '
            f"There are {', '.join(names())}; a file of your own works as well"
        )
    return _scenario(path.stem, _parse(path), str(path))


def known_kind(name: str) -> bool:
    """True for a kind with a codec, and for ``udp:PORT`` and ``tcp:PORT``."""
    from agent.wire import is_kind  # the codecs: not for those who only want names()

    return is_kind(name)


def _kinds() -> tuple[str, ...]:
    from agent.wire import KINDS

    return KINDS


def _parse(path: Traversable) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ScenarioError(f"{path}:{line}: not UTF-8 text") from None
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ScenarioError(f"{path}: brackets within brackets, more than can be read") from None
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        message = str(error)
        where = _DECODE_ERROR.search(message)
        if where is None:
            raise ScenarioError(f"{path}: {message}") from None
        place = f"{where[1]}:{where[2]}" if where[1] else str(len(text.splitlines()) or 1)
        raise ScenarioError(f"{path}:{place}: {message[: where.start()]}") from None


def _scenario(name: str, table: dict[str, Any], where: str) -> Scenario:
    _only(table, _SCENARIO_KEYS, where)
    rows = table.get("row", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ScenarioError(f"{where}: row: begin each row with [[row]], in double brackets")
    if not rows:
        raise ScenarioError(f"{where}: row: at least one [[row]] is needed")
    found: list[Row] = []
    notes: list[str] = []
    for number, row in enumerate(rows, 1):
        place = f"{where}: row {number}"
        span = _PORT_RANGE.fullmatch(str(row.get("kind")))
        if span is None:
            found.append(_row(row, place))
        else:
            asked = _span(span, place)
            ports = _sample(asked, row, place)
            one = {key: value for key, value in row.items() if key != "sample"}
            found += [_row({**one, "kind": f"{span[1]}:{port}"}, place) for port in ports]
            notes.append(sampling.sentence(asked, ports))
    return Scenario(
        name=name,
        title=_text(table, "title", where, default=name),
        description=_text(table, "description", where).strip(),
        rows=tuple(found),
        notes=tuple(notes),
    )


def _span(match: re.Match[str], where: str) -> sampling.Span:
    first, last = int(match[2]), int(match[3])
    if not first < last <= 65535:
        raise ScenarioError(
            f'{where}: kind: "{match[0]}": a range goes from a lower port to a higher, up to 65535'
        )
    return sampling.Span(match[1], first, last)


def _sample(span: sampling.Span, row: dict[str, Any], where: str) -> tuple[int, ...]:
    return sampling.sampled(span, _number(row, "sample", where, range(2, 101)) or SAMPLE)


def _row(table: dict[str, Any], where: str) -> Row:
    _only(table, _ROW_KEYS, where)
    if "kind" not in table:
        raise ScenarioError(f"{where}: kind: missing; each row names what to send")
    kind = _text(table, "kind", where)
    if not known_kind(kind):
        hint = _meant(kind, _kinds())
        if not hint and kind.startswith(("udp", "tcp")):
            hint = (
                f'; a plain port is written "{kind[:3]}:PORT", with PORT from 1 to 65535, and a '
                f'range "{kind[:3]}:FIRST-LAST"'
            )
        raise ScenarioError(
            f'{where}: kind: unknown kind "{kind}"{hint or "; there are " + _list(_kinds())}'
        )
    direction = _direction(table, where)
    label = _text(table, "label", where)
    if len(label) > _LABEL_LENGTH or not label.isprintable():
        raise ScenarioError(f"{where}: label: one line of at most {_LABEL_LENGTH} characters")
    bare = Row(kind, direction)
    return Row(
        kind=kind,
        direction=direction,
        source_port=_source_port(table, kind, where),
        size=_number(table, "size", where, range(28, 65536)),
        fragmenting=_fragmenting(table, where),
        expect=_expect(table, bare.cells, where),
        label=label,
    )


def _direction(table: dict[str, Any], where: str) -> Literal["both", "outbound", "inbound"]:
    match _text(table, "direction", where, default="both"):
        case ("both" | "outbound" | "inbound") as direction:
            return direction
        case other:
            hint = _meant(other, _DIRECTIONS) or "; one of " + _list(_DIRECTIONS)
            raise ScenarioError(f'{where}: direction: unknown direction "{other}"{hint}')


def _source_port(table: dict[str, Any], kind: str, where: str) -> int | Literal["fresh"] | None:
    if "source_port" in table and kind in _PORTLESS:
        raise ScenarioError(f"{where}: source_port: {kind} has no ports")
    if table.get("source_port") == "fresh":
        return "fresh"
    return _number(table, "source_port", where, range(1, 65536), or_else=', or "fresh"')


def _fragmenting(table: dict[str, Any], where: str) -> Fragmenting:
    word = _text(table, "fragmenting", where, default=Fragmenting.USUAL)
    if word not in list(Fragmenting):
        hint = _meant(word, Fragmenting) or "; one of " + _list(Fragmenting)
        raise ScenarioError(f'{where}: fragmenting: unknown word "{word}"{hint}')
    if word != Fragmenting.USUAL and "size" not in table:
        raise ScenarioError(f"{where}: fragmenting: only where a size is given as well")
    if word == Fragmenting.LAST_FIRST and table.get("kind") in _WHOLE:
        raise ScenarioError(f"{where}: fragmenting: {table['kind']} is never sent in fragments")
    return Fragmenting(word)


def _expect(table: dict[str, Any], asked: Iterable[Cell], where: str) -> dict[Cell, Expect]:
    """One word for all cells of the row, or a table of words by cell."""
    where = f"{where}: expect"
    value = table.get("expect", "pass")
    if not isinstance(value, dict):
        word = _expectation(value, where)
        return dict.fromkeys(asked, word)
    _only(value, _CELL_NAMES, where)
    expect = dict.fromkeys(asked, Expect.PASS)
    for name, word in value.items():
        if _CELL_NAMES[name] not in expect:
            raise ScenarioError(f"{where}: {name}: the row's direction leaves this cell out")
        expect[_CELL_NAMES[name]] = _expectation(word, f"{where}: {name}")
    return expect


def _expectation(value: object, where: str) -> Expect:
    if isinstance(value, str) and value in list(Expect):
        return Expect(value)
    hint = _meant(value, Expect) if isinstance(value, str) else ""
    shown = f'"{value}"' if isinstance(value, str) else repr(value)
    raise ScenarioError(f"{where}: {shown} is none of {_list(Expect)}{hint}")


def _text(table: dict[str, Any], key: str, where: str, default: str = "") -> str:
    value = table.get(key, default)
    if not isinstance(value, str):
        raise ScenarioError(f"{where}: {key}: a text in quotes is needed, not {_shown(value)}")
    return value


def _number(
    table: dict[str, Any], key: str, where: str, allowed: range, or_else: str = ""
) -> int | None:
    value = table.get(key)
    if value is None:
        return None
    if type(value) is not int or value not in allowed:
        span = f"{allowed[0]} to {allowed[-1]}{or_else}"
        raise ScenarioError(f"{where}: {key}: a number from {span} is needed, not {_shown(value)}")
    return value


def _only(table: dict[str, Any], keys: Iterable[str], where: str) -> None:
    known = tuple(keys)
    for key in table:
        if key not in known:
            hint = _meant(key, known) or "; known are " + _list(known)
            raise ScenarioError(f'{where}: unknown key "{key}"{hint}')


def _meant(word: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # only on the way to an error

    close = get_close_matches(word, list(known), n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def _list(words: Iterable[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def _shown(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case int() | float():
            return str(value)
        case list():
            return "a list"
        case _:
            return "a table"
