"""The flow ledger: which tuples this host saw lately, kept on disk across runs and restarts.

A stateful firewall that saw a packet lets its reverse pass for minutes. What an earlier run, or
live traffic, opened must not be taken for a rule. SQLite keeps two runs at once from spoiling it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

KEEP_SECONDS = 86_400.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS flows (
    family INTEGER, protocol INTEGER, local TEXT, local_port INTEGER, remote TEXT,
    remote_port INTEGER, crossed INTEGER, what TEXT, boot TEXT, uptime REAL, wall REAL,
    PRIMARY KEY (family, protocol, local, local_port, remote, remote_port, crossed)
) WITHOUT ROWID
"""
OPENINGS = "CREATE TABLE IF NOT EXISTS openings (nonce BLOB PRIMARY KEY)"
TRANSLATED = "shots of an earlier run that a NAT had translated"  # at the peer's own address
CONTROL = "control messages of ours"  # which rode in such packets, for want of a control port
REMEMBERED_OPENINGS = 100_000  # that the file could not take: 10 MB
KEEP_OPENINGS = 1_000_000  # of a few octets each; only who holds a key can add one
MOST_TROUBLES = 16  # that are remembered, the last ones


@dataclass(frozen=True, slots=True)
class Tuple5:
    """What a firewall keys its state by, as seen from this host. Port 0: a protocol without."""

    family: int
    protocol: int
    local: str
    local_port: int
    remote: str
    remote_port: int


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, in three clocks: the wall's may be stepped, the uptime's not, a boot has a name."""

    boot: str
    uptime: float
    wall: float


def state_directory(environ: Mapping[str, str]) -> Path:
    """Where state lives: ``$PROBE_STATE_DIR``, ``$XDG_STATE_HOME/probe``, or root's own place."""
    if environ.get("PROBE_STATE_DIR"):
        return Path(environ["PROBE_STATE_DIR"])
    if environ.get("XDG_STATE_HOME"):
        return Path(environ["XDG_STATE_HOME"]) / "probe"
    if os.geteuid() == 0 or "HOME" not in environ:
        return Path("/var/lib/probe")
    return Path(environ["HOME"]) / ".local" / "state" / "probe"


class Ledger:
    """One file. A damaged one is set aside with a message in ``troubles``, never a crash.

    ``troubles``: each once, however often it came; the last ``MOST_TROUBLES`` of them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.troubles: list[str] = []
        self._news: list[str] = []
        self._lately = ""  # the trouble that goes on
        self._openings: set[bytes] = set()  # those that are not in the file
        self._database: sqlite3.Connection | None = None
        for _ in range(2):
            try:
                self._database = self._open()
                return
            except sqlite3.OperationalError as error:
                self._trouble(f"the flow ledger {path} cannot be used: {error}")
                return
            except sqlite3.DatabaseError:
                aside = path.with_suffix(f".damaged-{os.getpid()}")
                with contextlib.suppress(OSError):
                    path.replace(aside)
                self._trouble(
                    f"the flow ledger {path} was damaged; it was set aside as {aside} and begun "
                    "anew, so traffic of the last minutes is not known to this run"
                )
            except OSError as error:
                self._trouble(f"the flow ledger {path} cannot be used: {error.strerror}")
                return

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self.path, timeout=2.0, isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=OFF")  # a crash may cost it; it is then set aside
        database.execute(SCHEMA)
        database.execute("SELECT count(*) FROM flows").fetchone()
        database.execute(OPENINGS)
        return database

    def seen(
        self, flows: Iterable[tuple[Tuple5, str]], now: Moment, *, crossed: bool = True
    ) -> None:
        """Remembers ``flows`` (each with a plain word for what it was) as seen now.

        ``crossed`` is False for what left this host and may have been dropped anywhere: it is kept
        beside what crossed, and does not take its place.
        """
        if self._database is None:
            return
        rows = [
            (
                f.family,
                f.protocol,
                f.local,
                f.local_port,
                f.remote,
                f.remote_port,
                crossed,
                what,
                now.boot,
                now.uptime,
                now.wall,
            )
            for f, what in flows
        ]
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(
                "INSERT OR REPLACE INTO flows VALUES (?,?,?,?,?,?,?,?,?,?,?)", rows
            )
            self._database.execute("DELETE FROM flows WHERE wall < ?", (now.wall - KEEP_SECONDS,))
            self._database.execute("COMMIT")
            self._lately = ""
        except sqlite3.Error as error:
            self._trouble(f"the flow ledger {self.path} could not be written: {error}")
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")

    def age(self, flow: Tuple5, now: Moment, *, crossed: bool = True) -> tuple[float, str] | None:
        """(seconds since ``flow`` was last seen, what it was); None when it never was."""
        if self._database is None:
            return None
        try:
            row = self._database.execute(
                "SELECT boot, uptime, wall, what FROM flows WHERE family=? AND protocol=? AND "
                "local=? AND local_port=? AND remote=? AND remote_port=? AND crossed=?",
                (
                    flow.family,
                    flow.protocol,
                    flow.local,
                    flow.local_port,
                    flow.remote,
                    flow.remote_port,
                    crossed,
                ),
            ).fetchone()
        except sqlite3.Error as error:
            self._trouble(f"the flow ledger {self.path} could not be read: {error}")
            return None
        if row is None:
            return None
        boot, uptime, wall, what = row
        # Within one boot the uptime is right whatever was done to the clock.
        seconds = now.uptime - uptime if boot == now.boot else now.wall - wall
        return max(0.0, float(seconds)), str(what)

    def fresh(self, nonce: bytes) -> bool:
        """Whether ``nonce`` is seen for the first time; from now on it is not. Also over restarts,
        unless the file cannot be used. None is where no more can be remembered.
        """
        if nonce in self._openings or len(self._openings) >= REMEMBERED_OPENINGS:
            return False
        try:
            if self._database is not None:
                self._database.execute("INSERT INTO openings VALUES (?)", (nonce,))
                self._database.execute(
                    "DELETE FROM openings WHERE rowid <= (SELECT max(rowid) FROM openings) - ?",
                    (KEEP_OPENINGS,),
                )
                return True
        except sqlite3.IntegrityError:
            return False
        except sqlite3.Error as error:
            self._trouble(f"the flow ledger {self.path} could not be written: {error}")
        self._openings.add(nonce)
        return True

    def news(self) -> list[str]:
        """The troubles that came up since this was last asked; one that goes on is told once."""
        new, self._news = self._news, []
        return new

    def _trouble(self, text: str) -> None:
        if text != self._lately:
            self._lately = text
            self._news = [*self._news, text][-MOST_TROUBLES:]
        if text not in self.troubles:
            self.troubles = [*self.troubles, text][-MOST_TROUBLES:]

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
