"""One module a command: ``add(commands)`` puts it beside the others; it prints what comes of it.

A new command is a new module, named here in the place where ``probe --help`` shows it.
"""

NAMES = (
    "run",
    "trace",
    "state",
    "watch",
    "advise",
    "lab",
    "record",
    "correlate",
    "show",
    "diff",
    "scenarios",
    "keygen",
    "completion",
)
