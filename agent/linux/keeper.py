"""A small process that may still read root's files when the agent may not, and reads two of them.

The agent rereads its keys at SIGHUP and its host's connection tracking at each run, and both belong
to root. To give the agent a right to read files would give it all of them; a descriptor from before
does not see a file that was replaced. So a child has that right, and no other, and does nothing but
call one of the functions that it was made with, when the agent asks for it by its number. It ends
when the agent does, however that ends. Where a pairing is to write a key, it stays root, without a
capability but that one.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
from collections.abc import Callable, Sequence

from agent.errors import AgentError
from agent.linux import conntrack
from agent.linux.privileges import CAP_DAC_READ_SEARCH, User, drop

KEYS, TRACKING, KEEP = range(3)  # what an agent's keeper is asked for
KEY = 32  # octets of a key that is to be kept; the name follows
LONGEST = 4096  # octets that come with a question
LARGEST = 1 << 20  # octets of an answer
SECONDS = 5.0  # for an answer


class Open:
    """What a function returns whose answer is a descriptor; it arrives as one of the asker's."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor


def open_tracking(_data: bytes) -> Open:
    """The host's connection tracking. OSError where there is none."""
    return Open(conntrack.open_table())


Functions = Sequence[Callable[[bytes], object]]


class Hands:
    """The functions, with this process' own rights."""

    def __init__(self, functions: Functions) -> None:
        self.functions = functions

    def ask(self, number: int, data: bytes = b"") -> object:
        """What that function returns for ``data``; for Open the descriptor."""
        found = self.functions[number](data)
        return found.descriptor if isinstance(found, Open) else found

    def close(self) -> None:
        """Lets go of them."""


class Keeper(Hands):
    """The same, with the rights of a child that is to be made early: it has what we have then."""

    def __init__(self, user: User, hands: Hands) -> None:
        """What a function returns must be picklable, or Open; its exception is raised in ask."""
        super().__init__(hands.functions)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(SECONDS)
        self.pid = os.fork()
        if self.pid == 0:
            self._socket.close()
            _serve(theirs, user, hands)
        theirs.close()

    def ask(self, number: int, data: bytes = b"") -> object:
        """As :meth:`Hands.ask`. AgentError: nobody is there."""
        try:
            self._socket.send(bytes([number]) + data)
            answer, descriptors, _, _ = socket.recv_fds(self._socket, LARGEST, 1)
        except OSError as error:
            self._socket.close()  # its answer, when it comes, would be taken for the next one's
            raise AgentError(
                f"the agent's keeper does not answer: {error}. Start the agent again"
            ) from error
        if not answer:
            raise AgentError("the agent's keeper is gone. Start the agent again")
        # From the child that we made and that has more rights than we have: it is trusted by us,
        # and we are not by it.
        failed, value = pickle.loads(answer)
        if failed:
            raise value
        return descriptors[0] if descriptors else value

    def close(self) -> None:
        """The child sees it and ends."""
        self._socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _serve(link: socket.socket, user: User, hands: Hands) -> None:
    """The child's whole life. Does not return."""
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGHUP):  # a terminal's: for the agent
            signal.signal(number, signal.SIG_IGN)
        drop(user, (CAP_DAC_READ_SEARCH,))
        while request := link.recv(LONGEST):
            descriptors: list[int] = []
            try:
                value = hands.functions[request[0]](request[1:])
                if isinstance(value, Open):
                    descriptors, value = [value.descriptor], None
                answer = pickle.dumps((False, value))
            except Exception as error:  # noqa: BLE001 - it is raised at the other end
                answer = pickle.dumps((True, error))
            socket.send_fds(link, [answer], descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
        code = 0
    finally:
        os._exit(code)
