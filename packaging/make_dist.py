"""``make dist``: the program and all that it needs in one file, for a host that has only Python.

    python packaging/make_dist.py FILE

The file needs the same Python version, processor and C library as the one that makes it. What is
put in is what our modules import; the same tree and packages give the same file, octet for octet.
"""

from __future__ import annotations

import ast
import configparser
import importlib.util
import marshal
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import dist_main

ROOT = Path(__file__).parent.parent
OURS = ("agent", "probe", "scenarios")
FOR_DEVELOPERS = ("agent/wire/make_templates.py",)  # run by hand, from a checkout
OUR_FILES = (".py", ".json", ".toml", ".nft")
LEFT_OUT = {".pyi", ".typed", ".c", ".h", ".pyx", ".pxd"}
WHEN = (1980, 1, 1, 0, 0, 0)


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        _install(tree)
        for package in OURS:
            _copy(ROOT / package, tree / package)
        _compile(tree)
        _start(tree)
        target.parent.mkdir(exist_ok=True)
        _pack(tree, target)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB, for {dist_main.here()}")


def needed() -> list[str]:
    """The requirements of setup.cfg that a module which is shipped imports."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    roots = {
        name.partition(".")[0]
        for package in OURS
        for path in (ROOT / package).rglob("*.py")
        if str(path.relative_to(ROOT)) not in FOR_DEVELOPERS
        for name in _imported(path)
    }
    lines = setup["options"]["install_requires"].split()
    return [line for line in lines if re.split(r"[<>=!~\[]", line)[0] in roots]


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _install(tree: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--root-user-action=ignore", "--only-binary=:all:", "--no-compile"]
    subprocess.run([*pip, f"--target={tree}", *needed()], check=True)
    shutil.rmtree(tree / "bin", ignore_errors=True)
    for path in sorted(tree.rglob("*"), reverse=True):
        info = path.parent.name.endswith(".dist-info")
        # Of what describes a package, its name, its version and its licences go along.
        if path.is_file() and (
            path.suffix in LEFT_OUT or (info and not re.match("METADATA|LICEN|COPYING", path.name))
        ):
            path.unlink()


def _copy(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.suffix in OUR_FILES and str(path.relative_to(ROOT)) not in FOR_DEVELOPERS:
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def _compile(tree: Path) -> None:
    """A .pyc beside or, of what is not ours, in place of each .py: an archive has no cache."""
    for path in tree.rglob("*.py"):
        code = compile(path.read_bytes(), str(path.relative_to(tree)), "exec", dont_inherit=True)
        packed = importlib.util.MAGIC_NUMBER + (0b01).to_bytes(4, "little")
        source_hash = importlib.util.source_hash(path.read_bytes())
        path.with_suffix(".pyc").write_bytes(packed + source_hash + marshal.dumps(code))
        if path.relative_to(tree).parts[0] not in OURS:
            path.unlink()


def _start(tree: Path) -> None:
    text = Path(dist_main.__file__).read_text().replace("@MADE_FOR@", dist_main.here())
    (tree / "__main__.py").write_text(text)


def _pack(tree: Path, target: Path) -> None:
    beside = target.with_suffix(f".{os.getpid()}")  # who makes it at the same time has another
    with beside.open("wb") as file:
        file.write(b"#!/usr/bin/env python%d.%d\n" % sys.version_info[:2])
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in sorted(filter(Path.is_file, tree.rglob("*"))):
                info = zipfile.ZipInfo(str(path.relative_to(tree)), WHEN)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = (stat.S_IFREG | 0o644) << 16
                archive.writestr(info, path.read_bytes(), compresslevel=9)
    beside.chmod(0o755)
    os.replace(beside, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
