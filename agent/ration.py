"""How often IKE may be asked of a daemon that is not ours: a record that outlives a run.

A daemon may hold a half-open SA for every IKE_SA_INIT, asks for cookies at a few of them and then
blocks the address (strongSwan: at 5 within 30 s). So each one that leaves for an address is counted
on disk, whatever its port, its version and the run that sent it; the third has to wait.

What cannot be counted is not sent: without its record the ration is empty.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
from pathlib import Path
from typing import Any

from agent.ledger import Moment

LIMIT = 2  # requests …
SECONDS = 30.0  # … within so many, to one address
FORGET = 3600.0  # seconds, after which the record of one goes
MARGIN = 0.5  # seconds more, for what a path may shift two packets against each other

SCHEMA = "CREATE TABLE IF NOT EXISTS asked (address TEXT, boot TEXT, uptime REAL, wall REAL)"


class Ration:
    """``trouble`` says why nothing may be sent; "" while all is well."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble = ""
        self._database: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=2.0, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=OFF")  # a reboot takes as long as it counts
            self._database.execute(SCHEMA)
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def wait(self, address: str, now: Moment) -> float:
        """Seconds until one more may be sent; 0: now; infinite: never."""
        try:
            ages = self._ages(address, now)
        except sqlite3.Error as error:
            self._give_up(error)
            return math.inf
        return SECONDS + MARGIN - ages[LIMIT - 1] if len(ages) >= LIMIT else 0.0

    def free(self, address: str, now: Moment) -> int:
        """How many may be sent at once."""
        try:
            return max(0, LIMIT - len(self._ages(address, now)))
        except sqlite3.Error as error:
            self._give_up(error)
            return 0

    def take(self, address: str, now: Moment) -> bool:
        """Counts one that is about to be sent. False when it must not be."""
        try:
            self._query("BEGIN IMMEDIATE")  # two runs at once share one ration
            allowed = len(self._ages(address, now)) < LIMIT
            if allowed:
                row = (_bare(address), now.boot, now.uptime, now.wall)
                self._query("INSERT INTO asked VALUES (?,?,?,?)", *row)
                old = (now.boot, now.uptime - FORGET, now.boot, now.wall - FORGET)
                self._query(
                    "DELETE FROM asked WHERE boot = ? AND uptime < ? OR boot <> ? AND wall < ?",
                    *old,
                )
            self._query("COMMIT")
        except sqlite3.Error as error:
            self._give_up(error)
            return False
        return allowed

    def _ages(self, address: str, now: Moment) -> list[float]:
        """Of those that still count, the youngest first."""
        rows = self._query("SELECT boot, uptime, wall FROM asked WHERE address=?", _bare(address))
        # Within one boot the uptime is right whatever was done to the clock.
        ages = [
            abs(now.uptime - uptime) if boot == now.boot else abs(now.wall - wall)
            for boot, uptime, wall in rows
        ]
        return sorted(age for age in ages if age < SECONDS + MARGIN)

    def _query(self, sql: str, *values: str | float) -> list[Any]:
        if self._database is None:
            raise sqlite3.ProgrammingError("it is closed")
        return self._database.execute(sql, values).fetchall()

    def _give_up(self, error: Exception) -> None:
        why = error.strerror if isinstance(error, OSError) else error
        self.trouble = self.trouble or (
            f"IKE is left out: {self.path}, where every IKE request is counted so that no daemon "
            f"gets too many, cannot be used ({why}). Mend or remove it, or set PROBE_STATE_DIR"
        )
        self.close()

    def close(self) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None


def _bare(address: str) -> str:
    return address.partition("%")[0]
