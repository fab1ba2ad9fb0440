"""An idle agent sees a tunnel in use, and the next run does not take what it opened for a rule."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from pathlib import Path

import pytest

from probe.lab import Lab, start_agent, write_key
from tests.netns.conftest import MakeLab
from tests.netns.test_verdicts import probe_run

pytestmark = pytest.mark.netns

TUNNEL = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
sock = socket.socket(family, socket.SOCK_RAW, 50)
for number in range(5):
    sock.sendto(bytes([0, 0, 16, 1, 0, 0, 0, number + 1]) + bytes(64), (sys.argv[1], 0))
"""


def known(lab: Lab) -> list[str]:
    """What far's ledger holds of ESP; waits for the agent to write it down."""
    path = Path(str(lab.directory)) / "far" / "probe" / "flows.sqlite"
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if path.exists():
            database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            try:
                rows = database.execute("SELECT what FROM flows WHERE protocol=50").fetchall()
            finally:
                database.close()
            if rows:
                return [str(what) for (what,) in rows]
        os.sched_yield()
    return []


@pytest.mark.parametrize("family", [4, 6])
def test_a_tunnel_that_was_in_use_before_the_run_is_known(make_lab: MakeLab, family: int) -> None:
    lab = make_lab("outbound-only", family)  # lets nothing in but what answers
    key = write_key(lab)
    start_agent(lab, key)
    sent = lab.run("near", [sys.executable, "-c", TUNNEL, lab.far_address()])
    assert sent.returncode == 0, sent.stderr
    assert known(lab) == ["traffic that is not ours"]
    process = probe_run(lab, "--only=esp", "--direction=inbound", key=str(key))
    inbound = json.loads(process.stdout)["checks"][0]
    assert (inbound["direction"], inbound["flow"]) == ("inbound", "new")
    assert inbound["outcome"] == "state-possible", inbound["cause"]
    assert "far saw traffic that is not ours on the same addresses" in inbound["cause"]
