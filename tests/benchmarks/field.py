"""Who takes part: each contestant's module, its variant, what it needs, and what is measured of it.

`tasks`: how many a drain runs, so that it takes some seconds. Peers run under an interpreter of their own if one is
named; who is not installed there, or whose server is missing, is left out with the reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.runs import Arena, Run, Sizes
from tests.benchmarks.servers import Missing, Redis, Sqs

ROOT = Path(__file__).resolve().parents[2]
_ALL = frozenset({"drain", "beside", "cold", "idle_and_pickup"})
_SOME = frozenset({"drain"})
#: Not handed on to contestants: they would change what is measured.
_NOT_FOR_THEM = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "FNQUEUE_BENCH_PEERS")


@dataclass(frozen=True, kw_only=True)
class Contestant:
    name: str
    module: str
    tasks: int
    variant: str = ""
    needs: str = ""  # a Python package
    server: str = ""  # "redis" or "sqs"
    measures: frozenset[str] = _SOME
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def is_peer(self) -> bool:
        return bool(self.needs)


_KEY = "FNQUEUE_KEYS"
FIELD = (
    Contestant(name="ours full", module="ours", tasks=12_000, measures=_ALL),
    Contestant(name="floor full", module="floor_sqlite", variant="full", tasks=12_000, measures=_ALL),
    Contestant(name="huey fsync 1", module="huey_sqlite", variant="fsync-1", needs="huey", tasks=5000),
    Contestant(name="huey fsync 8", module="huey_sqlite", variant="fsync-8", needs="huey", tasks=5000),
    Contestant(
        name="celery redis", module="celery_threads", variant="redis", needs="celery", server="redis", tasks=2500
    ),
    Contestant(name="dramatiq redis", module="dramatiq_redis", needs="dramatiq", server="redis", tasks=5000),
    Contestant(name="ours relaxed", module="ours", tasks=12_000, settings={"FNQUEUE_DURABILITY": "relaxed"}),
    Contestant(name="floor relaxed", module="floor_sqlite", variant="relaxed", tasks=12_000),
    Contestant(name="huey relaxed 1", module="huey_sqlite", variant="relaxed-1", needs="huey", tasks=12_000),
    Contestant(
        name="ours sqs",
        module="ours",
        server="sqs",
        tasks=4000,
        measures=_ALL - {"beside"},
        settings={"FNQUEUE_URL": "sqs://us-east-1/bench-?endpoint={sqs}", "FNQUEUE_STORE_URL": "sqlite:///store.db"},
    ),
    Contestant(name="floor sqs", module="floor_sqs", server="sqs", tasks=6000, measures=_ALL - {"beside", "cold"}),
    Contestant(name="celery sqs", module="celery_threads", variant="sqs", needs="celery", server="sqs", tasks=2000),
    Contestant(
        name="taskiq sqs",
        module="taskiq_sqs",
        needs="taskiq_aio_sqs",
        server="sqs",
        tasks=2000,
        measures=frozenset({"drain", "idle_and_pickup"}),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the command line asked for. `scale`: a part of the tasks."""

    peers: str
    scratch: Path
    folder: Path
    names: tuple[str, ...]
    sizes: Sizes
    scale: float = 1.0

    def wants(self, name: str) -> bool:
        return not self.names or any(one in name for one in self.names)


class Field:
    """Starts the servers that are needed; `with` ends them. `absent`: name -> why it takes no part."""

    def __init__(self, plan: Plan, chosen: Callable[[Contestant], bool]) -> None:
        self.plan, self.absent = plan, dict[str, str]()
        self.redis: Redis | None = None
        self.sqs: Sqs | None = None
        self._keys = ""
        wanted = [c for c in FIELD if chosen(c) and plan.wants(c.name)]
        installed = _installed(plan.peers, sorted({c.needs for c in wanted if c.is_peer}))
        self.contestants = [c for c in wanted if self._takes_part(c, installed)]

    def __enter__(self) -> Field:
        return self

    def __exit__(self, *error: object) -> None:
        for server in (self.redis, self.sqs):
            if server is not None:
                server.stop()

    def _takes_part(self, contestant: Contestant, installed: set[str]) -> bool:
        try:
            if contestant.is_peer and contestant.needs not in installed:
                raise Missing(f"{contestant.needs} is not installed in {self.plan.peers}")
            self._serve(contestant.server)
        except Missing as why:
            self.absent[contestant.name] = str(why)
            return False
        return True

    def _serve(self, server: str) -> None:
        if server == "redis" and self.redis is None:
            self.redis = Redis(self.plan.folder, environment())
        if server == "sqs" and self.sqs is None:
            self.sqs = Sqs(self.plan.scratch, environment())

    def run(self, contestant: Contestant) -> Run:
        folder = self.plan.folder / contestant.name.replace(" ", "-")
        python = self.plan.peers if contestant.is_peer else sys.executable
        counts = contestant.server == "sqs" and contestant.module == "ours"
        return Run(
            Arena(
                command=(python, "-m", "tests.benchmarks.client", contestant.module),
                env=self._env(contestant, folder),
                folder=folder,
                sizes=self.plan.sizes,
                server=self.sqs if counts else None,
            )
        )

    def tasks(self, contestant: Contestant) -> int:
        return max(20, int(contestant.tasks * self.plan.scale))

    def environment(self) -> dict[str, str]:
        return environment() | {"PYTHONPATH": str(ROOT)}

    def _env(self, contestant: Contestant, folder: Path) -> dict[str, str]:
        env = self.environment()
        env |= {"BENCH_FOLDER": str(folder), "BENCH_VARIANT": contestant.variant}
        if self.redis is not None:
            env["BENCH_REDIS"] = str(self.redis.port)
        if self.sqs is not None:
            env["BENCH_SQS"] = self.sqs.endpoint
        for name, value in contestant.settings.items():
            env[name] = value.format(sqs=env.get("BENCH_SQS", ""))
        if contestant.module == "ours" and contestant.server == "sqs":
            self._keys = self._keys or _new_key(env)
            env[_KEY] = self._keys
        return env


def environment() -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_THEM}
    aws = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    return env | aws | {"AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def _new_key(env: dict[str, str]) -> str:
    command = [sys.executable, "-m", "fnqueue", "keys", "new"]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.strip()


def _installed(python: str, packages: list[str]) -> set[str]:
    if not packages:
        return set()
    program = f"import importlib.util as u, json; print(json.dumps([n for n in {packages!r} if u.find_spec(n)]))"
    try:
        done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True, cwd="/")
    except (OSError, subprocess.CalledProcessError):
        return set()
    return set(json.loads(done.stdout))
