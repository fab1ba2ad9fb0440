"""``probe watch``: the same run again and again; tells what changes."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from probe import arguments, output
from probe.commands.run import asked_for

if TYPE_CHECKING:
    from argparse import ArgumentParser, _SubParsersAction

    from probe.result import RunResult
    from probe.watch.watching import Round

DESCRIPTION = """\
Repeats a run and tells what changes, not what stays. ESP, AH and IKE between fixed ports are asked
again only when a firewall has forgotten the last round (--state-timeout), so that what one round
opened is not taken for a rule by the next; all else is asked in every round.
"""
EPILOG = """\
examples:
  probe watch --peer 10.0.0.5                   a round a minute, until Ctrl-C
  probe watch --peer 10.0.0.5 --every 10 --only kerberos-tcp,tcp:445
  probe watch --peer 10.0.0.5 --jsonl watch.jsonl --metrics 9788

What fails is looked at a second time before it is told. What changes four times
in an hour is called flapping, and is told again when it was steady for 15 min.

exit codes: 0 all is as expected at the end, 1 something is not, 2 wrong usage,
3 could not be tested, 130 interrupted
"""
METRICS_HOST = "127.0.0.1"


def add(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Puts the command beside the others."""
    watch = commands.add_parser(
        "watch",
        help="repeat a run, and tell what changes",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    watch.set_defaults(command=run)
    arguments.add_peer(watch)
    arguments.add_test(watch)
    add_option = watch.add_argument
    add_option(
        "--every",
        type=arguments.interval,
        default=60.0,
        metavar="S",
        help="a round begins every S seconds (default: 60)",
    )
    add_option(
        "--rounds",
        type=arguments.rounds,
        default=0,
        metavar="N",
        help="end after N rounds (default: never)",
    )
    add_option("--jsonl", metavar="FILE|-", help="append a JSON line for each event")
    add_option(
        "--metrics",
        type=arguments.listen_at,
        metavar="[ADDR:]PORT",
        help=f"serve Prometheus metrics there (default ADDR: {METRICS_HOST})",
    )


def run(options: argparse.Namespace) -> int:
    import asyncio

    from probe.far.keyholder import NoKey, hold
    from probe.run import WrongRequest
    from probe.watch.metrics import Metrics, NoMetrics
    from probe.watch.rounds import WatchRequest, exit_code, watch
    from scenarios import ScenarioError

    try:
        output.check_places({"jsonl": options.jsonl} if options.jsonl else {})
        metrics = None
        if options.metrics:  # before a pairing code is used up
            metrics = Metrics(options.peer, options.scenario)
            address, port = options.metrics
            metrics.serve(address or METRICS_HOST, port)
        request = asked_for(options, *hold(options))
        teller = _Teller(options)

        def tell(told: Round) -> None:
            if metrics is not None:
                metrics.update(told)
            teller.tell(told)

        with ExitStack() as stack:
            progress = output.progress(stack)
            watched = asyncio.run(
                watch(WatchRequest(request, options.every, options.rounds), tell, progress)
            )
    except NoKey as error:
        return output.fail(error.exit_code, error)
    except (ScenarioError, WrongRequest, NoMetrics, output.NoPlace) as error:
        return output.fail(output.WRONG, error)
    if watched.first_error:
        return output.fail(output.UNTESTED, watched.first_error)
    if watched.interrupted and not teller.told:
        return output.fail(output.INTERRUPTED, "interrupted in the first round")
    teller.end()
    return exit_code(watched)


class _Teller:
    """Writes the first round's table, then a line for each change; and the JSON lines."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._quiet: bool = options.quiet
        self._verbose: bool = options.verbose
        self._file: str | None = options.jsonl
        self._stream = sys.stderr if self._file == "-" else sys.stdout
        self._last: Round | None = None
        self._written = True  # whether the file could be written the last time

    @property
    def told(self) -> bool:
        """Is there a round that has been told?"""
        return self._last is not None

    def tell(self, told: Round) -> None:
        from probe.report import table, watch

        width = output.width(self._stream)
        if self._last is None and not self._quiet:
            colour = output.wants_colour(self._stream)
            self._show(told.result, width)
            drawn = table.render(told.result, colour=colour, width=width)
            output.say_above(f"{drawn}\n\nWatching. What changes is told below.\n", self._stream)
        self._last = told
        for line in watch.lines(told, width=width):
            output.say_above(line, self._stream)
        self._show(watch.changed(told), width)
        for line in watch.json_lines(told):
            self._write(line)

    def _show(self, result: RunResult, width: int) -> None:
        from probe.report import evidence

        if self._verbose and (seen := evidence.render(result, width)):
            output.say_above(f"{seen}\n", self._stream)

    def _write(self, line: str) -> None:
        if self._file == "-":
            output.say(line)
        elif self._file is not None:
            self._written = output.append(self._file, line, complain=self._written)

    def end(self) -> None:
        """The last line: how all of it stands."""
        from dataclasses import replace

        from probe.report import table

        if self._last is None:
            return
        standing = replace(self._last.result, conclusions=self._last.conclusions, complete=True)
        colour = output.wants_colour(self._stream)
        width = output.UNFOLDED if self._quiet else output.width(self._stream)
        text = table.summary(standing, colour=colour, width=width)
        output.say(text, self._stream)
