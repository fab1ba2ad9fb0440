"""A clock of the day that a test sets for one program; what the kernel stamps goes on as it was."""

from __future__ import annotations

from pathlib import Path

from probe.lab import Lab


class Clock:
    def __init__(self, lab: Lab, name: str = "clock") -> None:
        found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        assert found, "the Debian package faketime is missing: make test installs it"
        self._path = lab.directory / name
        self.set(0)
        # A program that has become nobody could not read the file: it is to stay root.
        self.env = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds: int) -> None:
        """So far ahead of the true one."""
        new = self._path.with_suffix(".new")
        new.write_text(f"{seconds:+d}s\n")
        new.replace(self._path)
