"""The packet end: the same code on the near and on the far host."""

__version__ = "0.1.0"
