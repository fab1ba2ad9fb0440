"""The shape of the code: who may import whom, how long a module may be, what a cold start costs."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
OURS = ("agent", "probe", "scenarios")
LONGEST = 450  # lines: to be read in one sitting
PURE = (
    "agent.wire",
    "agent.engine",
    "agent.control",
    "agent.model",
    "probe.state.hold",
    "probe.state.memory",
    "probe.plan",
    "probe.again",
    "probe.correlate",
    "probe.judge",
    "probe.trace.conclusion",
    "probe.trace.hops",
    "probe.advise",
    "probe.report",
    "scenarios",
)
SLOW = ("scapy", "pyroute2", "tabulate", "rich")  # 70 to 500 ms each: never on the way to --help


def modules() -> dict[str, Path]:
    """Dotted name → file, of every module that we ship."""
    found = {}
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
WITH_CODE = [
    name
    for name, path in MODULES.items()
    if path.name != "__main__.py" and len(ast.parse(path.read_text()).body) > 2
]
TESTS = [
    path.read_text() for path in sorted((ROOT / "tests").rglob("*.py")) if path != Path(__file__)
]


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, early or late; for ``from a import b`` both a and a.b."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: write imports in full"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", MODULES)
def test_dependencies_point_one_way(module: str) -> None:
    above = {"agent": {"probe", "scenarios"}, "scenarios": {"probe"}, "probe": set[str]()}
    roots = {name.partition(".")[0] for name in imported(MODULES[module])}
    assert not roots & (above[module.partition(".")[0]] | {"tests"})


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("scenarios")])
def test_scenarios_know_the_model_and_the_names_of_the_kinds(module: str) -> None:
    agents = {name for name in imported(MODULES[module]) if name.partition(".")[0] == "agent"}
    allowed = ("agent.model", "agent.wire.KINDS", "agent.wire.is_kind")
    assert all(name == "agent.wire" or name.startswith(allowed) for name in agents)


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith(PURE)])
def test_time_chance_and_packets_are_arguments(module: str) -> None:
    roots = {name.partition(".")[0] for name in imported(MODULES[module])}
    assert not roots & {"asyncio", "random", "secrets", "select", "selectors", "ssl", "time"}


def test_no_drawer_for_odds_and_ends() -> None:
    last = {name.rpartition(".")[2] for name in MODULES}
    assert not last & {"common", "util", "utils", "helpers", "misc"}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_can_be_read_in_one_sitting(module: str) -> None:
    assert len(MODULES[module].read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("module", WITH_CODE)
def test_every_module_says_what_it_is_for(module: str) -> None:
    assert ast.get_docstring(ast.parse(MODULES[module].read_text()))


@pytest.mark.parametrize("module", WITH_CODE)
def test_every_module_has_a_test(module: str) -> None:
    """A test imports it, or names it to run it, or does so with a module that is built on it."""
    users = {name for name, path in MODULES.items() if module in imported(path)}
    tested = {name for name in {module, *users} if _named_in_a_test(name)}
    assert tested, f"no test imports {module}, nor any module that imports it"


def _named_in_a_test(module: str) -> bool:
    package, _, last = module.rpartition(".")
    if package == "probe.commands":  # a test types the command
        return any(f'"{last}"' in text for text in TESTS)
    named = re.compile(
        rf"\b{re.escape(module)}\b|from {re.escape(package)} import [^#]*?\b{last}\b"
    )
    return any(named.search(text) for text in TESTS)


COLD = [
    name
    for name in ("probe.cli", "agent.cli", "agent.wire", "agent.model", "scenarios", "probe.result")
    if name in MODULES
]


@pytest.mark.parametrize("module", [*COLD, "probe.report.table", "probe.report.json"])
def test_a_cold_start_imports_nothing_slow(module: str) -> None:
    program = f"import {module}, sys; print(*sorted(sys.modules))"
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {name.partition(".")[0] for name in process.stdout.split()} & set(SLOW)


def test_every_package_is_shipped() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    shipped = set(settings["options"]["packages"].split())
    there = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert shipped == there
