"""`make bench`: we, the floor and the peers side by side, the emulator beside other servers, and the table of targets.

    python -m tests.benchmarks [--rounds 5] [--json FILE] [--only NAME]... [--big] [--quick]

The rounds are interleaved, so that an hour in which the machine is slow is slow for everybody; figures are medians
over the rounds. Exit code 0 whatever the verdicts are: this measures, and is no test.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from tests.benchmarks import emulators, report
from tests.benchmarks.endpoints import NAMES, OURS, Arena
from tests.benchmarks.field import FIELD, Contestant, Field, Plan, environment
from tests.benchmarks.runs import QUICK, Sizes
from tests.benchmarks.servers import Missing

Rounds = dict[str, dict[str, list[float]]]
_BESIDE = 4  # so many drains' worth of work, or the worker would be done before the calls are made
_BIG = {"backlog 10,000": 10_000, "backlog 1,000,000": 1_000_000}


def main() -> None:
    asked = _arguments()
    with tempfile.TemporaryDirectory(prefix="fnqueue-bench-", dir=asked.folder) as folder:
        plan = Plan(
            peers=asked.peers,
            scratch=Path(asked.scratch).absolute(),
            folder=Path(folder),
            names=tuple(asked.only),
            sizes=QUICK if asked.quick else Sizes(),
            scale=0.02 if asked.quick else asked.scale,
        )
        with Field(plan, _only_ours if asked.quick else _everybody) as field:
            number = 1 if asked.quick else asked.rounds
            rounds = _measured(field, number, big=asked.big)
            _emulators(field, rounds, number, quick=asked.quick)
    _tell(rounds, field, asked.json)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="contestants whose name has this")
    parser.add_argument("--scale", type=float, default=1.0, help="a part of the tasks")
    parser.add_argument("--big", action="store_true", help="also a backlog of a million messages (about ten minutes)")
    parser.add_argument("--quick", action="store_true", help="whether it works, without peers and servers: no figures")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    parser.add_argument(
        "--peers", default=os.environ.get("FNQUEUE_BENCH_PEERS", sys.executable), help="the peers' interpreter"
    )
    parser.add_argument("--scratch", default=".bench", help="where the SQS server is installed")
    parser.add_argument("--folder", help="where databases are made: a real disk, or a sync costs nothing")
    return parser.parse_args()


def _everybody(contestant: Contestant) -> bool:
    return True


def _only_ours(contestant: Contestant) -> bool:
    return contestant.module in ("ours", "floor_sqlite") and not contestant.server


# ---------------------------------------------------------------- measuring


def _measured(field: Field, rounds: int, *, big: bool) -> Rounds:
    kept: Rounds = defaultdict(lambda: defaultdict(list))
    for number in range(1, rounds + 1):
        _keep(kept, "micro", _micro())
        for contestant in field.contestants:
            _say(f"round {number} of {rounds}: {contestant.name}")
            try:
                _keep(kept, contestant.name, _one(field, contestant))
            except RuntimeError as error:
                field.absent[contestant.name] = str(error)
    if big:
        _backlogs(field, kept)
    return kept


def _one(field: Field, contestant: Contestant) -> dict[str, float]:
    tasks = field.tasks(contestant)
    with field.run(contestant) as run:
        if "drain" in contestant.measures:
            run.drain(tasks)
        if "beside" in contestant.measures:
            run.beside(_BESIDE * tasks)
        if "cold" in contestant.measures:
            run.cold()
        if "idle_and_pickup" in contestant.measures:
            run.idle_and_pickup()
        return run.figures


def _backlogs(field: Field, kept: Rounds) -> None:
    contestant = next(c for c in FIELD if c.name == "ours full")
    for name, tasks in _BIG.items():
        _say(name)
        with field.run(contestant) as run:
            _keep(kept, name, run.backlog(int(tasks * field.plan.scale), seconds=8))


def _emulators(field: Field, kept: Rounds, rounds: int, *, quick: bool) -> None:
    """The servers in turns; what is ours alone once, because it is no comparison."""
    arena = Arena(field.plan.folder / "emulators", field.plan.scratch, field.environment())
    amounts = emulators.QUICK if quick else emulators.Amounts()
    names = [name for name in NAMES if field.plan.wants(name) and (name == OURS or not quick)]
    for number in range(1, rounds + 1):
        for name in [name for name in names if name not in field.absent]:
            _say(f"round {number} of {rounds}: {name}")
            try:
                _keep(kept, name, emulators.measured(arena, name, amounts))
            except (Missing, RuntimeError) as error:
                field.absent[name] = str(error)
    if OURS in names:
        for what in (emulators.idle, emulators.backlogs):
            _say(f"{OURS}: {what.__name__}")
            _keep(kept, OURS, what(arena, amounts))


def _micro() -> dict[str, float]:
    _say("sealing, import")
    command = [sys.executable, "-m", "tests.benchmarks.micro"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _keep(kept: Rounds, who: str, figures: dict[str, float]) -> None:
    for name, value in figures.items():
        kept[who][name].append(value)


# ---------------------------------------------------------------- telling


def _tell(rounds: Rounds, field: Field, file: str | None) -> None:
    medians = {who: {name: statistics.median(values) for name, values in row.items()} for who, row in rounds.items()}
    tables = [report.targets_table(medians), report.figures_table(medians), report.endpoints_table(medians)]
    tables.append(report.sealing_table(medians))
    print("\n" + "\n\n".join([table for table in tables if table] + [report.absences(field.absent)]))
    if file is not None:
        made = {"targets": list(report.judged(medians)), "medians": medians, "rounds": rounds, "absent": field.absent}
        Path(file).write_text(json.dumps(made, indent=1))


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
