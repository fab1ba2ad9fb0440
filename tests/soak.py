"""The truth test at length: hundreds of random firewalls, each really run, held against the oracle.

    python tests/soak.py [--cases N] [--seed S]      root; prints the seed
    python tests/soak.py --seed S --case N           one case again, with its rules and its table
    python tests/soak.py --loss [--runs N]           loss alone must never be called a drop

Exit code 1 on any disagreement.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.netns.truth.generate import generate
from tests.netns.truth.oracle import Cell
from tests.netns.truth.rules import Match
from tests.netns.truth.trial import Trial, conduct, with_loss

AT_ONCE = 4  # most of a run is waiting
BATCH = 10  # runs over one lossy path
PERCENT = 30
LOSSY_KINDS = ("esp", "ah", "ike", "kerberos-udp")  # the second is the one that is dropped


def main() -> int:
    parser = argparse.ArgumentParser(description="random firewalls, held against an oracle")
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=None, help="drawn, and printed, by default")
    parser.add_argument("--case", type=int, default=None, help="this one alone, in full")
    parser.add_argument("--loss", action="store_true", help=f"a path that loses {PERCENT} %%")
    parser.add_argument("--runs", type=int, default=200, help="with --loss")
    options = parser.parse_args()
    if options.loss:
        return loss(options.runs)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    if options.case is not None:
        return one(seed, options.case)
    return many(seed, options.cases)


def one(seed: int, number: int) -> int:
    case = generate(seed, number)
    for place, rules in case.files().items():
        print(f"# at {place}\n{rules}")
    trial = conduct(case)
    for cell, said in trial.outcomes.items():
        right = trial.right[cell]
        mark = "  " if said in right else "!!"
        name = " ".join(cell)
        print(f"{mark} {name:34} {said:15} {', '.join(sorted(right)):40} {trial.causes[cell]}")
    return 1 if trial.disagreements else 0


def many(seed: int, cases: int) -> int:
    print(f"seed {seed}, {cases} cases", flush=True)
    started = time.monotonic()
    tally: Counter[str] = Counter()
    wrong = 0
    with bar("cases", cases) as (progress, advance), ThreadPoolExecutor(AT_ONCE) as pool:
        running = {pool.submit(conduct, generate(seed, n)): n for n in range(cases)}
        for future in as_completed(running):
            advance(1)
            try:
                trial = future.result()
            except Exception as error:  # noqa: BLE001
                told = [f"{type(error).__name__}: {error}"]
            else:
                told = [str(disagreement) for disagreement in trial.disagreements]
                count(tally, trial)
            if told:
                wrong += len(told)
                told.append(f"    python tests/soak.py --seed {seed} --case {running[future]}")
                progress.console.print("\n".join(told), markup=False, soft_wrap=True)
    print(
        f"seed {seed}: {cases} cases, {tally['checks']} checks ({tally['sharp']} with one right "
        f"answer) in {time.monotonic() - started:.0f} s: {wrong} disagreements"
    )
    print(shares(tally.items()))
    return 1 if wrong else 0


def count(tally: Counter[str], trial: Trial) -> None:
    for cell, said in trial.outcomes.items():
        tally["checks"] += 1
        tally["sharp"] += len(trial.right[cell]) == 1
        tally[f"= {said}"] += 1


def loss(runs: int) -> int:
    """An open path that loses packets, then the same with AH dropped beneath the loss."""
    wrong = 0
    for text, dropped in (("open", None), ("AH dropped", Match("ah"))):
        tally: Counter[str] = Counter()
        with bar(text, runs) as (_, advance), ThreadPoolExecutor(AT_ONCE) as pool:
            batches = [min(BATCH, runs - start) for start in range(0, runs, BATCH)]
            work = partial(batch, dropped=dropped, advance=advance)
            for found in pool.map(work, batches, range(len(batches))):
                tally += found
                wrong += found["wrong"]
        print(f"{PERCENT} % loss, {text}, {runs} runs: {tally['wrong']} wrong")
        print(shares(tally.items()))
    return 1 if wrong else 0


def batch(
    runs: int, number: int, dropped: Match | None, advance: Callable[[int], None]
) -> Counter[str]:
    tally: Counter[str] = Counter()
    for outcomes in with_loss(runs, PERCENT, dropped, LOSSY_KINDS, family=(4, 6)[number % 2]):
        for cell, said in outcomes.items():
            shut = dropped is not None and cell[0] == dropped.protocol
            tally["wrong"] += not fits(cell, said, shut)
            tally[f"= {'dropped' if shut else 'open'} {cell[2]}: {said}"] += 1
        advance(1)
    return tally


def fits(cell: Cell, said: str, shut: bool) -> bool:
    if not shut:
        return said in ("delivered", "state-possible", "lossy")
    return said in (
        ("lost", "unobserved") if cell[2] == "new" else ("not-applicable", "unobserved")
    )


@contextmanager
def bar(text: str, total: int) -> Iterator[tuple[Progress, Callable[[int], None]]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task(text, total=total)
        yield progress, partial(progress.advance, task)


def shares(tally: Iterable[tuple[str, int]]) -> str:
    named = [(n, name.removeprefix("= ")) for name, n in tally if name.startswith("=")]
    return ", ".join(f"{name} {n}" for n, name in sorted(named, reverse=True))


if __name__ == "__main__":
    raise SystemExit(main())
