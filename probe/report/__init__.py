"""What a run concluded, in one form a module: ``table`` for people, the others for files.

A new form of file is a new module with ``render(result)``, and a line here: it is then an option of
every command that has a result.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from probe.result import RunResult

FORMS = {  # module and option: what --help says of it
    "json": "write the result as JSON",
    "html": "write it as one page for a browser",
    "markdown": "write it in Markdown, for a ticket",
    "junit": "write it as JUnit XML, for a build server",
    "csv": "write it as CSV, for a spreadsheet",
    "pcap": "write both ends' packets as a capture for Wireshark, with comments",
}
PACKETS = ("pcap",)  # forms that need the packets themselves, which a saved run does not hold


def render(form: str, result: RunResult) -> str | bytes:
    """``result`` as the file of that form has it; text without a newline at its end."""
    found: str | bytes = import_module(f"probe.report.{form}").render(result)
    return found
