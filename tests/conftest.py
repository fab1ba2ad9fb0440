"""For all tests: programs under test meet the signals as they would at a terminal."""

from __future__ import annotations

import signal

# Who runs the tests in the background has SIGINT ignored, and what they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
