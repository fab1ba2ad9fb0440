"""From what failed to the rule that is missing: in plain words, and in the words of a firewall.

``diagnosis`` says it in sentences, ``joint`` what several rows only tell together, ``rules`` in a
form that belongs to no firewall; ``platforms`` has one module for each firewall that writes them.
"""

from __future__ import annotations

from probe.advise.diagnosis import advise

__all__ = ["advise"]
