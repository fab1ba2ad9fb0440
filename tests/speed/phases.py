"""``probe`` with a stop-watch in it: ``python -m tests.speed.phases FILE run …``.

Runs the real command line in this process and writes to FILE where its time went. All stamps are
``time.perf_counter()``, which is one clock for all processes of a machine.
"""

from __future__ import annotations

import time

BEGUN = time.perf_counter()  # before anything else is imported

import json  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402


def main(file: str, arguments: list[str]) -> int:
    import agent.access.tls
    from agent.linux.host import Host
    from probe import cli
    from probe.drive import Drive

    stamps: dict[str, float] = {"begun": BEGUN, "waited": 0.0, "sent": 0.0, "shots": 0}

    def context(*given: Any, **named: Any) -> Any:
        stamps["control"] = time.perf_counter()
        return make_context(*given, **named)

    def transmit(*given: Any) -> Any:
        start = time.perf_counter()
        found = send(*given)
        stamps["sent"] += time.perf_counter() - start
        stamps["shots"] += 1
        return found

    def timed(work: Callable[..., Any], note: Callable[[float, float], None]) -> Any:
        async def measured(*given: Any) -> Any:
            start = time.perf_counter()
            try:
                return await work(*given)
            finally:
                note(start, time.perf_counter())

        return measured

    def drove(start: float, end: float) -> None:
        stamps["driving"], stamps["driven"] = start, end

    def waited(start: float, end: float) -> None:
        stamps["waited"] += end - start

    make_context, send = agent.access.tls.context, Host.transmit
    for owner, name, new in (
        (agent.access.tls, "context", context),
        (Host, "transmit", transmit),
        (Drive, "run", timed(Drive.run, drove)),
        (Drive, "_wait", timed(Drive._wait, waited)),
    ):
        setattr(owner, name, new)
    code = cli.main(arguments)
    stamps["ended"] = time.perf_counter()
    Path(file).write_text(json.dumps(stamps))
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2:]))
