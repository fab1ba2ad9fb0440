"""What the agent asks of the process that has kept its rights."""

from __future__ import annotations

import contextlib
import pickle
import socket

import pytest

from agent.errors import AgentError
from agent.linux.keeper import Keeper


def test_an_answer_that_comes_too_late_is_not_taken_for_another() -> None:
    keeper = Keeper.__new__(Keeper)  # without the child
    keeper._socket, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    keeper._socket.settimeout(0.01)
    with child:
        with pytest.raises(AgentError, match="does not answer"):
            keeper.ask(0)
        with contextlib.suppress(OSError):
            child.send(pickle.dumps((False, "late")))
        with pytest.raises(AgentError, match="does not answer"):
            keeper.ask(1)
