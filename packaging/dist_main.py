"""How the single file starts: ``ipsec-probe.pyz agent …`` is probe-agent, all else is probe.

Compiled modules cannot be imported from an archive, so each is put in memory and imported from
there: nothing is written anywhere, no directory has to be writable, and nothing stays behind.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import platform
import sys
import zipimport
from typing import Any

MADE_FOR = "@MADE_FOR@"  # written by make_dist: implementation, version, kernel, machine, C library


def here() -> str:
    """This Python, in the words of MADE_FOR."""
    libc = "musl" if "musl" in importlib.machinery.EXTENSION_SUFFIXES[0] else "gnu"
    return " ".join(
        (
            sys.implementation.name,
            "{}.{}".format(*sys.version_info[:2]),
            platform.system(),
            platform.machine(),
            libc,
        )
    )


class Compiled(importlib.abc.MetaPathFinder):
    """Finds the extension modules in the archive. Comes after all other finders."""

    def __init__(self, archive: str) -> None:
        self._archive = archive
        self._names = set(zipimport.zipimporter(archive)._files)  # type: ignore[attr-defined]

    def find_spec(self, fullname: str, *_: Any) -> importlib.machinery.ModuleSpec | None:
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            name = fullname.replace(".", os.sep) + suffix
            if name in self._names:
                place = self._in_memory(name)
                loader = importlib.machinery.ExtensionFileLoader(fullname, place)
                return importlib.util.spec_from_file_location(fullname, place, loader=loader)
        return None

    def _in_memory(self, name: str) -> str:
        data = zipimport.zipimporter(self._archive).get_data(os.path.join(self._archive, name))
        # Stays open: the linker knows a library by its name, and the next must have another one.
        descriptor = os.memfd_create(name)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        return f"/proc/self/fd/{descriptor}"


def main() -> int:
    if here() != MADE_FOR:
        sys.stderr.write(
            f"ipsec-probe: this file was made for {MADE_FOR}, and this is {here()}. "
            "Make one there (make dist), or install the program with pip\n"
        )
        return 3
    archive = os.path.abspath(sys.path[0])
    sys.path[0] = archive  # the current directory may change
    sys.meta_path.append(Compiled(archive))
    called = os.path.basename(sys.argv[0])
    if called.startswith("probe-agent"):
        from agent.cli import main as run
    elif sys.argv[1:2] == ["agent"]:
        del sys.argv[1]
        from agent.cli import main as run
    else:
        from probe.cli import main as run
    return run()


if __name__ == "__main__":
    raise SystemExit(main())
