"""For all tests: the signals as at a terminal, no clock that decides, and no worker missing.

A worker that dies (pytest-xdist) ends them all: what it had yet to do would be done by nobody.
"""

from __future__ import annotations

import signal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Who runs the tests in the background has SIGINT ignored, and what they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no fault of the program's.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object | None) -> None:
    if error:
        pytest.exit(f"{node.gateway.id} died: {error}", returncode=pytest.ExitCode.INTERNAL_ERROR)
