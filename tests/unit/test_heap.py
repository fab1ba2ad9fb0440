"""What is free, cycles included, goes back to the system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import gc, re
from agent.linux.heap import give_back

def mib():
    with open("/proc/self/status") as file:
        return int(re.search(r"VmRSS:\\s+(\\d+)", file.read())[1]) / 1024

gc.disable()  # as in a process that makes too few objects for Python to look for cycles
before = mib()
cycle = [b"x" * 100_000 for _ in range(300)]  # too small for the C library to map each by itself
cycle.append(cycle)
above = b"y" * 100_000  # and in the way, so that the heap does not shrink by itself
filled = mib()
del cycle
left = mib()
give_back()
print(before, filled, left, mib())
"""


def test_what_a_cycle_held_is_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    before, filled, left, after = map(float, done.stdout.split())
    assert filled - before > 25
    assert left - before > 25
    assert after - before < 5
