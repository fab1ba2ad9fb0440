"""What is free goes back to the system: an agent is idle for days between two runs.

A session leaves cycles behind, with the buffers of its TLS in them, and Python looks for such only
when there are many; and what is freed stays the process' own until its C library is told.
"""

from __future__ import annotations

import ctypes
import gc


def give_back() -> None:
    """Takes some 10 ms, so not while a session runs."""
    gc.collect()
    # glibc has it, other C libraries give back by themselves.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
