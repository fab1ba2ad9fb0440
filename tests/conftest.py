"""For all tests: the signals as at a terminal, and no clock that decides."""

from __future__ import annotations

import signal

from hypothesis import settings

# Who runs the tests in the background has SIGINT ignored, and what they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no fault of the program's.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
