"""The package's exceptions, all below one root."""

from __future__ import annotations


class AgentError(Exception):
    """Root of everything this package raises on purpose. The text is fit for a user."""


class WireError(AgentError):
    """Bytes that claim to be one of our kinds and are malformed."""


class ControlError(AgentError):
    """The control connection carried something that is not the protocol."""


class KeyFileError(AgentError):
    """The shared key is missing, damaged, or readable by others."""
