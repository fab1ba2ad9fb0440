"""The far agent by the system's ssh: started for the time of a run, from a file kept in memory.

One ssh, whose standard input takes first the file and then the control messages. When it ends,
however it does, the agent over there reads the end of its standard input and ends as well.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import pkgutil
import re
import shlex
import shutil
import socket
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.strands import Bundle, Strand, StrandError
from probe.far.dial import LinkError
from probe.output import ASIDE

AGENT = "the agent that ssh started"
SILENCE = 120  # seconds without a word after which the agent ends by itself
START_SECONDS = 20.0  # from one word of the far host to the next, once somebody is let in
LOGIN_SECONDS = 120.0  # somebody may have to type a password
END_SECONDS = 3.0
KEPT = 8192  # octets of what ssh and the far host complain of
CHUNK = 1 << 16
_SETTINGS = (
    "ClearAllForwardings=yes",
    "ControlMaster=no",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "ConnectTimeout=15",
    "EscapeChar=none",
    "PermitLocalCommand=no",
)
OPTIONS = ("-T", "-x", "-a", *(f"-o{setting}" for setting in _SETTINGS))
FILE = "ipsec-probe.pyz"
LOGIN_FILES = "a file that the shell reads at login (~/.bashrc, ~/.cshrc)"
OLDEST = (3, 11)  # Python that the agent can do with
_MADE_FOR = re.compile(r'^MADE_FOR = "(.*?)"', re.MULTILINE)

# $1 the text of ashore.py, $2 what the file is made for, $3 its octets. One line, and neither a
# backslash (fish), an exclamation mark (csh) nor a quote of the kind that goes around it.
SCRIPT = (
    'echo "ipsec-probe from $SSH_CONNECTION"; r=; [ "$(id -u)" -eq 0 ] || r="sudo -n"; '
    "for p in {pythons}; do "
    'command -v "$p" >/dev/null 2>&1 || continue; '
    '"$p" -I -S -c "$1" "$2" check 2>/dev/null || continue; '
    'exec $r "$p" -I -S -c "$1" "$2" "$3" --stdio=$4; done; echo "ipsec-probe none"; exit 96'
)


@dataclass(frozen=True, slots=True)
class Ssh:
    """``destination``: as ssh takes it, "" for root at the far host; ``file``: what is copied."""

    destination: str = ""
    file: Path | None = None  # None: looked for
    command: tuple[str, ...] = ("ssh",)


class NoFile(LinkError):
    """There is nothing to copy there."""


def find_file(given: Path | None) -> tuple[Path, str]:
    """The file to copy, and the Python that it is made for. NoFile says how to come by one."""
    if given is not None:
        places = [given]
    else:
        root = Path(__file__).parents[2]  # of a source tree, or the single file itself
        places = [root] if root.is_file() else [root / "dist" / FILE]
    for place in places:
        if place.is_file():
            return place, _made_for(place)
    if given is not None:
        raise NoFile(f"--ssh-file {given}: there is no such file. `make dist` makes one")
    raise NoFile(
        f"--control ssh copies the single file {FILE} to the far host, and there is none at "
        f"{places[0]}. Run `make dist` in the source tree, or name the file with --ssh-file"
    )


def _made_for(place: Path) -> str:
    try:
        with zipfile.ZipFile(place) as archive:
            found = _MADE_FOR.search(archive.read("__main__.py").decode())
    except (OSError, KeyError, UnicodeDecodeError, zipfile.BadZipFile):
        found = None
    if found is None:
        raise NoFile(f"{place} is not what `make dist` makes, or cannot be read")
    return found[1]


def far_command(made_for: str, octets: int) -> str:
    """What the far host's shell is asked to do."""
    source = base64.b64encode(pkgutil.get_data(__package__, "ashore.py") or b"").decode()
    text = f'exec(__import__("base64").b64decode("{source}"))'
    own = f"python{made_for.split()[1]}"
    script = SCRIPT.format(pythons=f"{own} python3")
    words = [script, "sh", text, made_for, str(octets), str(SILENCE)]
    return f"exec sh -c {' '.join(map(shlex.quote, words))}"


class Shore:
    """The agent over there. ``near``, ``address``: the two hosts, as near knows them."""

    def __init__(self, ssh: Ssh, near: str, address: str, name: str) -> None:
        """``name``: the far host as the operator typed it."""
        self._ssh = ssh
        self._near = near
        self._address = address
        self._destination = ssh.destination or f"root@{name}"
        self._process: subprocess.Popen[bytes] | None = None
        self._bundle: Bundle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._complaints = b""
        self._unfit: list[str] = []
        # An address of near's → what it is in far's eyes, "" for unknown. Sshd knows near's own,
        # where ssh goes straight.
        self.seen: dict[str, str] = {}
        self._straight = False
        self._asks = False  # at a terminal, where ssh wants to know something

    async def start(self, progress: Callable[[str, float], None]) -> None:
        """LinkError says why there is no agent, and what to do."""
        file, made_for = find_file(self._ssh.file)
        program = shutil.which(self._ssh.command[0])
        if program is None:
            raise LinkError(
                f"there is no {self._ssh.command[0]} on this host. Install it (Debian: apt-get "
                "install openssh-client)"
            )
        if self._destination.startswith("-"):
            raise LinkError(f"{self._destination} is no destination for ssh")
        data = file.read_bytes()
        self._asks = _terminal()
        batch = [] if self._asks else ["-o", "BatchMode=yes"]
        argv = [program, *self._ssh.command[1:], *OPTIONS, *batch, self._destination]
        progress("ssh …", ASIDE)
        # Ctrl-C in a terminal is for us: what is under way is then ended in good order.
        self._process = subprocess.Popen(
            ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *argv, far_command(made_for, len(data))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        reader, writer = await self._pipes()
        try:
            await self._wait_for(reader, "send", made_for, LOGIN_SECONDS)
        finally:
            progress(f"ssh {self._destination}", 0.0)
        await self._copy(writer, data, progress)
        await self._wait_for(reader, "ready", made_for, START_SECONDS)
        self._bundle = Bundle(reader, writer)
        self._tasks.append(asyncio.create_task(self._read(self._bundle)))

    def open(self, near: str) -> Strand:
        """One session. ``near``: near's address in far's eyes, or the best guess at it."""
        assert self._bundle is not None
        return self._bundle.open(self._address, near)

    def note(self) -> str:
        """What the operator should know of the addresses."""
        text = f"the agent ran by ssh ({self._destination}) for the time of the run"
        if not self._straight:
            text += ", and ssh did not go straight there"
        for own, seen in self.seen.items():
            if own == self._near and self._straight:
                continue
            if seen:
                text += f"; far sees {own} as {seen}, by where shots sent beforehand came from"
            else:
                text += f"; none of the shots sent beforehand showed as what far sees {own}"
        return text

    async def _pipes(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        assert self._process is not None
        loop = asyncio.get_running_loop()
        readers = []
        for pipe in (self._process.stdout, self._process.stderr):
            reader = asyncio.StreamReader()
            await loop.connect_read_pipe(
                lambda reader=reader: asyncio.StreamReaderProtocol(reader),  # type: ignore[misc]
                pipe,
            )
            readers.append(reader)
        transport, protocol = await loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, self._process.stdin
        )
        self._tasks.append(asyncio.create_task(self._listen(readers[1])))
        return readers[0], asyncio.StreamWriter(transport, protocol, None, loop)

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(KEPT):
            self._complaints = (self._complaints + data)[-KEPT:]

    async def _wait_for(
        self, reader: asyncio.StreamReader, word: str, made_for: str, seconds: float
    ) -> None:
        """What a login shell prints before is passed over."""
        try:
            async with asyncio.timeout(seconds):
                while line := await reader.readline():
                    text = line.decode(errors="replace").strip()
                    _, ours, said = text.rpartition("ipsec-probe ")
                    what, _, rest = said.partition(" ")
                    if not ours:
                        continue
                    if what == word:
                        return
                    if what == "from":
                        await self._learn(rest.split())
                    elif what == "unfit":
                        self._unfit.append(rest)
                    elif what == "none":
                        raise LinkError(self._no_python(made_for))
                    elif what == "not-root":
                        raise LinkError(self._no_root())
        except TimeoutError:
            raise LinkError(
                f"ssh {self._destination} did not come to start the agent within {seconds:g} s: "
                f"does it ask for something, or does {LOGIN_FILES} over there wait for input?"
            ) from None
        except ValueError:
            raise LinkError(
                f"what {self._destination} prints at login is no text: look at {LOGIN_FILES} there"
            ) from None
        raise LinkError(await self._why())

    async def _copy(
        self, writer: asyncio.StreamWriter, data: bytes, progress: Callable[[str, float], None]
    ) -> None:
        try:
            for begin in range(0, len(data), CHUNK):
                progress(f"copying the agent to {self._destination}", begin / len(data))
                writer.write(data[begin : begin + CHUNK])
                await writer.drain()
        except OSError:
            raise LinkError(await self._why()) from None

    async def _read(self, bundle: Bundle) -> None:
        try:
            await bundle.read()
            why = await self._why()
        except StrandError:
            why = (
                f"something over there prints between the agent's messages: does {LOGIN_FILES} of "
                "that user start a program that goes on printing?"
            )
        except OSError as error:
            why = str(error)
        bundle.end(why)

    async def _learn(self, words: list[str]) -> None:
        """``words``: what SSH_CONNECTION says at far. Is it said of near?"""
        if len(words) == 4 and await self._is_straight():
            self._straight = True
            self.seen[self._near] = words[0].removeprefix("::ffff:")

    async def _is_straight(self) -> bool:
        """Does ssh go straight to the address that is tested?"""
        argv = [*self._ssh.command, "-G", self._destination]
        told = await asyncio.to_thread(
            subprocess.run, argv, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        config = dict(line.partition(" ")[::2] for line in told.stdout.splitlines())
        detour = [config.get(name, "none") for name in ("proxyjump", "proxycommand")]
        if told.returncode or detour != ["none", "none"]:
            return False
        with contextlib.suppress(OSError):
            found = await asyncio.get_running_loop().getaddrinfo(
                config.get("hostname", ""), None, type=socket.SOCK_STREAM
            )
            return {place[4][0] for place in found} == {self._address.partition("%")[0]}
        return False

    # -- why not -----------------------------------------------------------------------------

    async def _why(self) -> str:
        """Why ssh ended, in words of ours where we have them."""
        await asyncio.sleep(0.1)  # its last words may be under way
        text = " ".join(self._complaints.decode(errors="replace").split())
        where = f"ssh {self._destination}"
        by_hand = shlex.join((*self._ssh.command, self._destination))
        nobody = "" if self._asks else ", and nobody could be asked for a password or a passphrase"
        if "IDENTIFICATION HAS CHANGED" in text:
            return (
                f"{where}: the host has another key than the one that is known here. Find out why "
                f"before anything else; then: ssh-keygen -R HOST"
            )
        if "Host key verification failed" in text:
            return (
                f"{where}: this host does not know the far host's key yet. Log in once by hand "
                f"({by_hand}), compare the fingerprint, and try again"
            )
        if "Permission denied (" in text:
            return (
                f"{where}: permission denied{nobody}. Check that `{by_hand} true` works here; name "
                "another user or host with --ssh USER@HOST"
            )
        if "sudo:" in text:
            return self._no_root()
        said = self._last_words()
        if self._bundle is not None:
            return f"ssh to the far host ended{said}"
        return f"{where} brought no agent{said}. Check that `{by_hand} true` works here"

    def _last_words(self) -> str:
        last = self._complaints.decode(errors="replace").strip().splitlines()[-1:]
        return f" ({last[0].strip()})" if last else ""

    def _no_root(self) -> str:
        return (
            f"ssh {self._destination}: the agent needs root there, and `sudo -n` gives it to this "
            f"user only with a password, or not at all{self._last_words()}. Log in as root (--ssh "
            "root@HOST), or allow this user sudo without a password"
        )

    def _no_python(self, made_for: str) -> str:
        if not self._unfit:
            return (
                f"ssh {self._destination}: there is no Python on the far host. The agent needs "
                f"{made_for}"
            )
        there = sorted(set(self._unfit))
        has = f"ssh {self._destination}: the far host has {' and '.join(there)}"
        if max(map(_version, there)) < OLDEST:
            return (
                f"{has}, and the agent needs Python {OLDEST[0]}.{OLDEST[1]} or later (the file to "
                f"copy is made for {made_for}). Install one there, or use another host"
            )
        return (
            f"{has}, and the file to copy is made for {made_for}. Make one on such a host (make "
            "dist) and name it with --ssh-file"
        )

    def close(self) -> None:
        """Ends ssh, and with it the agent."""
        for task in self._tasks:
            task.cancel()
        process, self._process = self._process, None
        if process is None:
            return
        if self._bundle is not None:
            self._bundle.out.transport.abort()
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        # The far end says its last words first; where nobody was let in there are none to wait for.
        patience = END_SECONDS if self._bundle is not None else 0.1
        for seconds, end in ((patience, process.terminate), (END_SECONDS, process.kill)):
            try:
                process.wait(seconds)
                return
            except subprocess.TimeoutExpired:
                end()
        process.wait()


def _version(python: str) -> tuple[int, ...]:
    """Of ``cpython 3.11 Linux …``; none where it is not like that."""
    found = re.match(r"\S+ (\d+)\.(\d+) ", python)
    return tuple(map(int, found.groups())) if found else ()


def _terminal() -> bool:
    """May ssh ask somebody?"""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True
