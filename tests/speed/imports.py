"""What ``python -X importtime`` prints, summed up by who is imported from our own modules."""

from __future__ import annotations

import re
from collections import Counter

OURS = ("agent", "probe", "scenarios", "__main__")
_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|( +)(\S+)")


def summed(text: str) -> Counter[str]:
    """Microspent: our own modules together, and each other package with all that it brings in.

    What the interpreter imports before it looks at a program is left out.
    """
    text = text[text.index("| site\n") :] if "| site\n" in text else text
    spent: Counter[str] = Counter()
    roots: list[str] = []  # who imports the line at hand; lines come after what they import
    for line in reversed(text.splitlines()):
        found = _LINE.match(line)
        if found is None:
            continue
        own, whole, depth, name = int(found[1]), int(found[2]), len(found[3]) // 2, found[4]
        del roots[depth:]
        ours = name.partition(".")[0] in OURS
        if all(root.partition(".")[0] in OURS for root in roots):
            package = "our own modules" if ours else name.partition(".")[0]
            spent[package] += own if ours else whole
        roots += [name] * (depth + 1 - len(roots))
    return spent
