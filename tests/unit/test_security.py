"""Every claim of SECURITY.md names a test, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "SECURITY.md").read_text()
NAMED = re.compile(r"`(test_\w+)`")
TOLD_ONLY = (  # what it gives away or does not do, by design
    "Who watches the wire sees",
    "It tells the operator",
    "Unlike what TLS carries",
    "`probe-agent --record` sends",
)


def there() -> set[str]:
    return {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    }


def claims() -> list[str]:
    return [" ".join(text.split()) for text in re.split(r"\n- ", TEXT)[1:]]


def test_every_test_that_it_names_exists() -> None:
    named = set(NAMED.findall(TEXT))
    assert len(named) > 25
    assert named <= there(), named - there()


def test_every_claim_names_a_test() -> None:
    found = claims()
    assert len(found) > 15
    assert [c for c in found if not NAMED.search(c) and not c.startswith(TOLD_ONLY)] == []
