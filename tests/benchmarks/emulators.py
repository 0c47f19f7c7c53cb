"""The emulator's place: what a server does with the bytes of one client, and what it costs while it does nothing.

`send_1`, `batch_32`, `drain_1`, ...: messages a second by the number of connections; a drain is ReceiveMessage and
DeleteMessageBatch. `start` seconds, `idle` CPU seconds a second, `rss_million` MB.
`near_*` and `far_*`: with 1,000 and with 1,000,000 messages waiting, over one connection, in turns.
Knows the servers' names; knows no targets.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from fnqueue.broker.base import Entry
from fnqueue.broker.embedded import EmbeddedBroker
from fnqueue.broker.embedded.service import Address, QueueService
from fnqueue.clock import SystemClock
from fnqueue.database import Database
from tests.benchmarks.endpoints import OURS, Arena, Client
from tests.benchmarks.wire import BATCH, BODY

Figures = dict[str, float]
_EVER = 10**12


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """How much is measured. `waiting`: messages that a drain finds; a server that is slow at sending gets fewer."""

    seconds: float = 2.0
    warm_seconds: float = 0.5
    waiting: int = 40_000
    fill_seconds: float = 5.0
    connections: int = 32
    polls: int = 200
    poll_seconds: float = 20.0
    near: int = 1000
    far: int = 1_000_000
    turns: int = 12
    turn: int = 1000


QUICK = Amounts(
    seconds=0.1,
    warm_seconds=0.05,
    waiting=200,
    fill_seconds=1.0,
    connections=4,
    polls=5,
    poll_seconds=1.0,
    near=50,
    far=200,
    turns=2,
    turn=20,
)


def measured(arena: Arena, name: str, amounts: Amounts) -> Figures:
    """One round of one server. Raises Missing, and RuntimeError for an answer that was wrong."""
    with (
        arena.running(name, arena.folder / f"round-{time.monotonic_ns()}") as endpoint,
        arena.client(endpoint) as client,
    ):
        figures = {"start": endpoint.start_seconds}
        client.ask("create", "warm")
        client.ask("send", "warm", connections=amounts.connections, seconds=amounts.warm_seconds, count=_EVER)
        for short, connections in (("1", 1), ("32", amounts.connections)):
            for figure, verb in (("send", "send"), ("batch", "send_batch")):
                figures[f"{figure}_{short}"] = _sent(client, verb, connections, amounts)
        for short, connections in (("1", 1), ("32", amounts.connections)):
            figures[f"drain_{short}"] = _drained(client, connections, amounts)
    return figures


def _sent(client: Client, verb: str, connections: int, amounts: Amounts) -> float:
    queue = f"{verb}-{connections}"
    client.ask("create", queue)
    told = client.ask(verb, queue, connections=connections, seconds=amounts.seconds, count=_EVER)
    _check_visible(client, queue, told["messages"])
    return _rate(told)


def _drained(client: Client, connections: int, amounts: Amounts) -> float:
    queue = f"drain-{connections}"
    client.ask("create", queue)
    filled = client.ask(
        "send_batch", queue, connections=connections, seconds=amounts.fill_seconds, count=amounts.waiting
    )
    told = client.ask("drain", queue, connections=connections, seconds=amounts.seconds, count=_EVER)
    # A queue may give a message twice, to two who ask at the same moment.
    _check_visible(client, queue, filled["messages"] - told["messages"], give=BATCH * connections)
    return _rate(told)


def _check_visible(client: Client, queue: str, wanted: float, give: int = 0) -> None:
    found = client.ask("visible", queue)["messages"]
    if not wanted <= found <= wanted + give:
        raise RuntimeError(f"{queue}: {found} messages are visible, and {wanted} must be")


def _rate(told: dict[str, float]) -> float:
    return told["messages"] / told["seconds"]


# ---------------------------------------------------------------- ours alone


def idle(arena: Arena, amounts: Amounts) -> Figures:
    """What long polls cost of a core while nothing comes, each begun anew after its 20 s."""
    with arena.running(OURS, arena.folder / "idle") as endpoint, arena.client(endpoint) as client:
        client.ask("create", "idle")
        client.ask("poll_idly", "idle", connections=amounts.polls, seconds=amounts.poll_seconds / 10)
        cpu, since = endpoint.process.cpu_seconds(), time.monotonic()
        client.ask("poll_idly", "idle", connections=amounts.polls, seconds=amounts.poll_seconds)
        return {"idle": (endpoint.process.cpu_seconds() - cpu) / (time.monotonic() - since)}


def backlogs(arena: Arena, amounts: Amounts) -> Figures:
    """Two queues in one file, a short and a long one, filled without the server and asked in turns."""
    folder = arena.folder / "backlogs"
    folder.mkdir(parents=True)
    _fill(folder / "emulator.db", {"near": amounts.near, "far": amounts.far})
    spent: dict[str, float] = {}
    with arena.running(OURS, folder) as endpoint, arena.client(endpoint) as client:
        for queue in ("near", "far"):
            client.ask("create", queue)
        for turn in range(amounts.turns + 1):
            for queue in ("near", "far"):
                for figure, verb in (("send", "send_batch"), ("drain", "drain")):
                    told = client.ask(verb, queue, connections=1, seconds=0, count=amounts.turn)
                    if turn:  # the first warms
                        spent[f"{queue}_{figure}"] = spent.get(f"{queue}_{figure}", 0) + told["seconds"]
        _check_visible(client, "far", amounts.far)
        rates = {name: amounts.turns * amounts.turn / seconds for name, seconds in spent.items()}
        return {"rss_million": endpoint.process.rss_mb(), **rates}


def _fill(file: Path, queues: dict[str, int]) -> None:
    """By the engine itself: the wire would take minutes."""
    database = Database(file, durability="relaxed")
    try:
        service, broker = QueueService(database, clock=SystemClock()), EmbeddedBroker(database)
        entries = [Entry(id=str(number), body=BODY) for number in range(broker.batch_max)]
        for queue, count in queues.items():
            address = Address("us-east-1", "000000000000", queue)
            service.create(address, {"VisibilityTimeout": "3600"}, {})
            for start in range(0, count, len(entries)):
                broker.send(address.full, entries[: count - start])
    finally:
        database.close()
