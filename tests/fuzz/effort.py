"""How hard the fuzz tests try: a hypothesis profile, "quick" in `make test`, "long" in `make fuzz`.

FUZZ_PROFILE names it, FUZZ_EXAMPLES is the number of examples of the long one.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("quick", max_examples=100, deadline=None)
settings.register_profile(
    "long",
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "3000")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
PROFILE = settings.get_profile(os.environ.get("FUZZ_PROFILE", "quick"))

# One example is a fraction of a millisecond where it is only bytes; then the time is hypothesis's.
many = settings(PROFILE, max_examples=4 * PROFILE.max_examples)
some = settings(PROFILE, max_examples=PROFILE.max_examples * 3 // 2)
few = settings(PROFILE, max_examples=PROFILE.max_examples // 2)
