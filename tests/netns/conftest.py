"""Labs for tests: built when asked for, gone when the test is over.

Nothing here skips. Where root or nftables is missing the tests fail, with the lab's own message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from probe.lab import Lab, load_firewall

MakeLab = Callable[..., Lab]  # (firewall: str | None = "open", family: int = 4) -> Lab


@pytest.fixture
def make_lab() -> Iterator[MakeLab]:
    """``make_lab(firewall="open", family=4)``: a lab behind a ready-made firewall or a file."""
    with ExitStack() as stack:

        def make(firewall: str | None = "open", family: int = 4) -> Lab:
            rules = None if firewall is None else load_firewall(firewall)
            return stack.enter_context(Lab(rules, family))

        yield make
