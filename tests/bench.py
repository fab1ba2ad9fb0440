"""``make bench``: how fast it is, as ratios to ``python -c pass`` on the same machine.

Everything runs in a lab of network namespaces, bounded in count and in time. No absolute time
decides anything; the milliseconds beside a ratio are for orientation. Exit codes: 0 measured,
whether or not a target was reached; 1 an answer was wrong, so that no time counts; 3 no lab;
130 interrupted.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parent.parent
sys.path[0] = str(ROOT)  # run as a script, and yet in a package

from agent.daemon import REST_SECONDS  # noqa: E402
from probe.lab import Lab, LabError, load_firewall, module, start_agent, write_key  # noqa: E402
from tests.netns.torrent import RATE  # noqa: E402
from tests.speed import peers, phases, resident  # noqa: E402
from tests.speed.imports import summed  # noqa: E402
from tests.speed.runs import KINDS, WAIT, Bench, Ratio, Run, Wrong, interleaved  # noqa: E402

LIMIT = 190  # seconds for everything
RUN_TARGET, HELP_TARGET = 40.0, 6.0


def main() -> int:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(LIMIT)
    try:
        with Lab(load_firewall("open")) as lab:
            # As for a program that is installed: compiled once, and cleared away with the lab.
            os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
            os.environ["PYTHONPYCACHEPREFIX"] = str(lab.directory / "compiled")
            key = write_key(lab)
            first = start_agent(lab, key)  # compiles what the other finds, and pays in memory
            first.terminate()
            first.wait()
            agent = start_agent(lab, key, "--max-shots=1e6", "--max-octets=1e9")
            _resident(lab, agent.pid, key)
            _measure(Bench(lab, key), key)
    except Wrong as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise Wrong(f"not done after {LIMIT} s")


def _measure(bench: Bench, key: Path) -> None:
    _doing("verdict gate")
    dropped = ", ".join(sorted(bench.gate()))
    print(f"verdict gate: every verdict right with {dropped} dropped both ways")

    _doing("cold run, open firewall")
    bench.probe()  # compiles what the others find
    control, cold = interleaved(bench.nothing, lambda: bench.probe().seconds, 30, 30.0)
    runs = [seconds for _, seconds in cold.pairs]
    print("\nratios to `python -c pass`, in the same namespace")
    print(_line("A/A: `python -c pass` to itself", control))
    print(_line("A/A: a cold run to the next one", Ratio(tuple(itertools.pairwise(runs)))))
    print(_line("cold `probe run`, open firewall", cold, RUN_TARGET))

    _doing("everything dropped")
    _dropped(bench)

    _doing("probe --help")
    bench.help()
    _, helped = interleaved(bench.nothing, bench.help, 25, 10.0)
    print(_line("`probe --help`", helped, HELP_TARGET))

    _doing("where the time goes")
    _where(bench)
    _doing("the endpoint's own speed")
    _endpoint(bench, key)
    _doing("other tools")
    _others(bench, statistics.median(base for base, _ in cold.pairs))


# -- the agent, on the host it runs on ----------------------------------------------------------


def _resident(lab: Lab, pid: int, key: Path) -> None:
    _doing("the agent at rest, and in a flood")
    memory, beside = resident.memory(pid), resident.memory(resident.keeper(pid))
    rest, work = resident.at_rest(lab, pid), resident.at_work(lab, pid, key)
    time.sleep(2 * REST_SECONDS)
    after = resident.memory(pid)
    each = work.processor / max(work.seen, 1)
    share = f"{each * 1e6:.0f} µs for each, {each * RATE:.0%} of a core"
    print(
        f"the agent: {memory.resident:.0f} MiB in memory at rest, {memory.own:.0f} of them its own "
        f"and the others files of Python\n    and its libraries; {beside.alone:.0f} more for its "
        f"keeper; {after.resident:.0f} MiB when it had served and was at rest again\n"
        f"    in {RATE:,} packets a second that are not ours: {rest.processor:.1%} of a core while "
        f"nobody tests;\n    during a run {share} ({work.missed:,} a second found no room)\n"
    )


# -- the ratios ----------------------------------------------------------------------------------


def _dropped(bench: Bench) -> None:
    """Wall time from outside, less the time between entering and leaving the run's own waits."""

    def less_the_wait() -> float:
        run, stamps = _phases(bench, KINDS, WAIT)
        walls.append(run.seconds)
        return run.seconds - stamps["waited"]

    walls: list[float] = []
    with bench.dropping(KINDS):
        _, ratio = interleaved(bench.nothing, less_the_wait, 7, 40.0)
    print(_line("the same, everything dropped, less the wait", ratio, RUN_TARGET))
    wall = statistics.median(walls)
    print(
        f"    the wait is the sum of the run's waiting windows ({WAIT}), in which it also sends at "
        f"its pace,\n    read by a stop-watch around each: {wall:.2f} s in all, "
        f"{wall - statistics.median(rest for _, rest in ratio.pairs):.2f} s of them waiting"
    )


def _phases(bench: Bench, dropped: frozenset[str], *more: str) -> tuple[Run, dict[str, float]]:
    """A run with a stop-watch in it."""
    file = bench.lab.directory / "phases.json"
    run = bench.probe(dropped, *more, program=[*module(phases.__name__), str(file)])
    stamps: dict[str, float] = json.loads(file.read_text())
    return run, stamps


# -- where the time goes -------------------------------------------------------------------------


def _where(bench: Bench) -> None:
    parts: dict[str, list[float]] = {}
    shots: list[float] = []
    for _ in range(9):
        run, at = _phases(bench, frozenset())
        for name, seconds in (
            ("interpreter", at["begun"] - run.began),
            ("imports, scenario, ledger", at["control"] - at["begun"]),
            ("control: connection and TLS", at["driving"] - at["control"]),
            ("asking both ends", at["driven"] - at["driving"] - at["waited"]),
            ("sending and waiting for packets", at["waited"]),
            ("verdicts, table, JSON", at["ended"] - at["driven"]),
            ("exit", run.began + run.seconds - at["ended"]),
        ):
            parts.setdefault(name, []).append(seconds)
        shots.append(at["sent"] / at["shots"])
    print("\nwhere the time of a cold run goes (medians, stop-watch included)")
    whole = sum(map(statistics.median, parts.values()))
    for name, each in parts.items():
        seconds = statistics.median(each)
        print(f"    {name:<34} {seconds * 1e3:6.1f} ms {seconds / whole:5.0%}")
    print(f"    a send call takes {statistics.median(shots) * 1e6:.0f} µs")

    runs: list[Counter[str]] = []
    for _ in range(3):
        _, done = bench.timed(
            [sys.executable, "-X", "importtime", "-P", "-m", "probe", *bench.options()]
        )
        runs.append(summed(done.stderr))
    best = min(runs, key=Counter.total)
    print(f"\nits imports, by `-X importtime` ({best.total() / 1e3:.0f} ms, late ones included)")
    for name, spent in best.most_common(12):
        print(f"    {name:<34} {spent / 1e3:6.1f} ms")


def _endpoint(bench: Bench, key: Path) -> None:
    argv = [*module("tests.speed.endpoint"), bench.lab.far_address(), str(key)]
    _, done = bench.timed(argv)
    if done.returncode:
        raise Wrong(f"the endpoint could not be measured:\n{done.stderr}")
    found = json.loads(done.stdout)
    print(
        "\nthe endpoint: ESP and IKE shots at once, without a gap; two points of observation each"
    )
    for volley in found["volleys"]:
        lost = 2 * volley["shots"] - volley["arrived"] - volley["delivered"]
        print(
            f"    {volley['shots']:5} shots: {volley['sent'] / volley['sending']:7,.0f} a second "
            f"sent, {volley['shots'] / volley['receiving']:7,.0f} a second received, "
            f"{lost} of {2 * volley['shots']} sightings missing, "
            f"{volley['dropped']} dropped by the kernel"
        )
    print(f"    the engine alone turns away {found['strangers']:,.0f} strangers a second")


# -- other tools ---------------------------------------------------------------------------------


def _others(bench: Bench, base: float) -> None:
    lab = bench.lab
    states = {"far end mute": "far", "all dropped on the way": "fw"}
    print("\nfor orientation: the same five kinds forward only, where nobody answers")
    with peers.echo_server(lab):
        for peer in peers.PEERS:
            path = peers.program(peer.program)
            if path is None:
                print(f"    {peer.name}: not installed")
                continue
            print(f"    {peer.name}")
            for state, where in states.items():
                with bench.dropping(peers.KINDS, where):
                    seconds, answer = peers.ask(lab, peer, path)
                print(f"        {state:<23} {seconds / base:5.0f} x   {answer}")
    print("    probe run --direction outbound")
    for state, where in states.items():
        with bench.dropping(peers.KINDS, where):
            only = f"--only={','.join(peers.KINDS)}"
            argv = [*module("probe"), *bench.options("--direction=outbound", only)]
            run, done = bench.timed(argv)
            if not done.stdout:
                raise Wrong(f"probe run ended with code {done.returncode}:\n{done.stderr}")
        outcomes = Counter(
            check["outcome"]
            for check in json.loads(done.stdout)["checks"]
            if check["flow"] == "new"
        )
        said = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
        print(f"        {state:<23} {run.seconds / base:5.0f} x   {said}")


# -- helpers -------------------------------------------------------------------------------------


def _line(name: str, ratio: Ratio, target: float | None = None) -> str:
    text = f"  {name:<45} {ratio}"
    if target is None:
        return text
    word = "reached" if ratio.median <= target else "NOT reached"
    return f"{text}\n    target {target:g} x or less: {word}"


def _doing(what: str) -> None:
    print(f"bench: {what} …", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
