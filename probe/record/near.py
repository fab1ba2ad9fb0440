"""``probe record``: near's half of a run in which the two ends have no contact."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from agent.access.keyring import identifier
from agent.ledger import Ledger, state_directory
from agent.model import Side
from agent.record import asked as questions
from agent.record.file import Record
from agent.record.recorder import Recorder
from agent.record.schedule import Schedule, Terms, written
from probe.far.dial import resolve, route
from probe.plan import asked
from probe.run import Progress, Request, WrongRequest
from scenarios import load


async def record(
    request: Request, terms: Terms, say: Callable[[str], None], progress: Progress
) -> Record:
    """Near's record; ``say`` is told at once what to start on the far host.

    WrongRequest or ScenarioError where nothing can be asked; LinkError where there is no way;
    AgentError where this host cannot take part. An interruption leaves a record that says so.
    """
    scenario = load(request.scenario)
    rows = [row for row in scenario.rows if not request.only or row.kind in request.only]
    if not rows:
        raise WrongRequest(f"scenario {scenario.name} has no row left to test: look at --only")
    text = questions.write(map(asked, rows))
    family, peer = await resolve(request.peer, request.port, request.family)
    near = route(peer, family)
    run = secrets.token_hex(4)
    schedule = Schedule(terms.at, text, family, terms.shots, terms.slack, run)
    key = request.key
    say(orders(schedule, near, key))
    ledger = Ledger(state_directory(os.environ) / "flows.sqlite")
    recorder = Recorder(
        Side.NEAR,
        key,
        schedule,
        (near, peer),
        ledger,
        state_timeout=request.settings.state_timeout,
        scenario=request.scenario if Path(request.scenario).suffix else scenario.name,
        tell=progress,
    )
    try:
        await recorder.run()
    except asyncio.CancelledError:
        return recorder.record()  # it says that it is not complete
    finally:
        ledger.close()
    return recorder.record()


def orders(schedule: Schedule, near: str, key: bytes) -> str:
    """What to type on the far host."""
    words = [
        "probe-agent --record far.rec",
        f"--at {written(schedule.at)}",
        f"--peer {near}",
        f"--slack {schedule.slack:g}",
        f"--shots {schedule.shots}",
        f"--run {schedule.run}",
        f"--key-id {identifier(key)}",
    ]
    if schedule.asked != questions.KB:
        words.append(f'--ask "{schedule.asked}"')
    return " \\\n    ".join(words)
