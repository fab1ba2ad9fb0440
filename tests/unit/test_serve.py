"""What an agent has imported when it steps down from root, and what it never imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# Not while it serves.
BY_HAND = ("make_templates.py", "cli.py", "arguments.py", "settings.py", "__main__.py")
FOR_WHO_TYPES = {"difflib"}  # what was meant by a misspelt word
READY = """
import sys
from agent import cli, serve
from agent.access import keys
from agent.access import tls
from agent.linux import privileges
serve.have_all_at_hand(pairing=True)
tls.context(bytes(32), server=True)
print(*sys.modules)
"""
# The operator's end, what it is built on, and what a look into a file or a misspelt word takes.
NEVER = (
    *("scapy", "pyroute2", "tabulate", "rich", "probe", "scenarios"),
    *("tomllib", "difflib", "csv", "html", "http", "xml", "email", "zipfile", "tempfile", "shutil"),
    *("multiprocessing", "unittest", "pydoc", "importlib.metadata", "importlib.resources"),
)
FROM_OTHERS = {
    *("cryptography", "_cffi_backend", "_openssl"),
    *("msgspec", "typing_extensions"),  # the latter where it happens to be installed
    "spake2",
}


def modules(program: str) -> set[str]:
    """Those of a Python that has run ``program``, which prints them."""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    return modules(READY)


def late_imports(path: Path) -> Iterator[str]:
    """The modules that a file imports only when a function of it runs."""
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import):
                    yield from (alias.name for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    yield node.module


@pytest.mark.parametrize(
    "path",
    [path for path in sorted((ROOT / "agent").rglob("*.py")) if path.name not in BY_HAND],
    ids=lambda path: path.name,
)
def test_nothing_is_left_to_import_when_its_own_files_are_out_of_reach(
    path: Path, loaded: set[str]
) -> None:
    assert set(late_imports(path)) - FOR_WHO_TYPES <= loaded


def test_an_idle_agent_has_nothing_that_it_has_no_use_for(loaded: set[str]) -> None:
    ours = loaded - modules("import sys; print(*sys.modules)")  # a system may add to every Python
    assert not ours & set(NEVER)
    packages = {name.partition(".")[0] for name in ours} - sys.stdlib_module_names
    assert packages - {"agent"} <= FROM_OTHERS
