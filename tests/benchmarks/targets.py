"""The targets of the design, each with how it is read from the figures of one run.

Only figures of the same run are compared: absolute ones move by a factor of two from day to day. Where a target is
a ratio to somebody else, `measured` and `against` are both told.
Knows the figures' names; knows nothing of how they were measured.
"""

from __future__ import annotations

from collections.abc import Callable

from fnqueue.security.suites import SUITES
from tests.benchmarks.emulator_targets import EMULATOR_TARGETS
from tests.benchmarks.reading import Figures, Reading, Target


def _factor(ours: float, other: float, factor: float, who: str) -> Reading:
    """At least `factor` times as many tasks a second as the other."""
    shown = f"{ours:,.0f}/s = {ours / other:.2f} x {who} ({other:,.0f})"
    return Reading(ours / other, factor, shown, at_least=True)


def _best(figures: Figures, *names: str) -> tuple[float, str]:
    return max((figures[name]["drain"], name) for name in names if name in figures)


def _drain_full(figures: Figures) -> Reading:
    best, who = _best(figures, "huey fsync 1", "celery redis", "dramatiq redis")
    return _factor(figures["ours full"]["drain"], best, 3, who)


def _drain_relaxed(figures: Figures) -> Reading:
    return _factor(figures["ours relaxed"]["drain"], figures["huey relaxed 1"]["drain"], 1, "huey relaxed 1")


def _drain_sqs(figures: Figures) -> Reading:
    return _factor(figures["ours sqs"]["drain"], figures["celery sqs"]["drain"], 3, "celery sqs")


def _requests(figures: Figures) -> Reading:
    value = figures["ours sqs"]["requests"]
    return Reading(value, 0.40, f"{value:.3f}")


def _defer(figures: Figures) -> Reading:
    ours, floor = figures["ours full"]["defer"], figures["floor full"]["defer"]
    return Reading(ours / floor, 1.5, f"{ours * 1e6:,.0f} us = {ours / floor:.2f} x floor ({floor * 1e6:,.0f})")


def _client_cpu(figures: Figures) -> Reading:
    ours, other = figures["ours sqs"]["client_cpu"], figures["celery sqs"]["client_cpu"]
    return Reading(ours / other, 1, f"{ours * 1e6:,.0f} us = {ours / other:.2f} x celery ({other * 1e6:,.0f})")


def _milliseconds(contestant: str, figure: str, bound: float) -> Callable[[Figures], Reading]:
    def read(figures: Figures) -> Reading:
        value = figures[contestant][figure] * 1000
        return Reading(value, bound, f"{value:.1f} ms")

    return read


def _seconds(contestant: str, figure: str, bound: float) -> Callable[[Figures], Reading]:
    def read(figures: Figures) -> Reading:
        value = figures[contestant][figure]
        return Reading(value, bound, f"{value:.2f} s")

    return read


def _idle(figures: Figures) -> Reading:
    value = figures["ours full"]["idle"] * 1000
    return Reading(value, 5, f"{value:.1f} ms/s")


def _pickup_sqs(figures: Figures) -> Reading:
    ours, other = figures["ours sqs"]["pickup"] * 1000, figures["taskiq sqs"]["pickup"] * 1000
    return Reading(ours / other, 1, f"{ours:.1f} ms = {ours / other:.2f} x taskiq ({other:.1f})")


def _memory(contestant: str, bound: float) -> Callable[[Figures], Reading]:
    def read(figures: Figures) -> Reading:
        value = figures[contestant]["rss"]
        return Reading(value, bound, f"{value:.1f} MB")

    return read


def _backlog(figure: str, *, fewer_is_better: bool) -> Callable[[Figures], Reading]:
    def read(figures: Figures) -> Reading:
        large, small = figures["backlog 1,000,000"][figure], figures["backlog 10,000"][figure]
        part = small / large if fewer_is_better else large / small
        return Reading(part, 0.8, f"{part:.0%}", at_least=True)

    return read


def _backlog_memory(figures: Figures) -> Reading:
    large, small = figures["backlog 1,000,000"]["rss"], figures["backlog 10,000"]["rss"]
    return Reading(large / small, 1.1, f"{large:.0f} MB against {small:.0f}")


def _seal(figures: Figures) -> Reading:
    ours, bare = figures["micro"]["seal"], figures["micro"]["seal_bare"]
    return Reading(ours / bare, 4, f"{ours * 1e6:.1f} us = {ours / bare:.2f} x bare ({bare * 1e6:.1f})")


def _forgery(digit: str) -> Callable[[Figures], Reading]:
    """Whoever floods a queue with messages of a false tag must have the larger part of the work."""

    def read(figures: Figures) -> Reading:
        forged, good = (figures["micro"][f"{what} {digit} 500 B"] for what in ("forged", "open"))
        return Reading(forged / good, 1, f"{forged * 1e6:.0f} us = {forged / good:.2f} x a good one ({good * 1e6:.0f})")

    return read


def _rubbish(figures: Figures) -> Reading:
    slowest, name = max((value, name) for name, value in figures["micro"].items() if name.startswith("rubbish"))
    return Reading(slowest, 0.01, f"{slowest * 1e3:.2f} ms ({name})")


TARGETS = (
    Target("drain, SQLite FULL, no-op tasks, one worker", ">= 3 x best of huey fsync, Celery, dramatiq", _drain_full),
    Target("drain, SQLite NORMAL", "above huey without fsync, 1 thread", _drain_relaxed),
    Target("drain, SQS, one process", ">= 3 x Celery tuned", _drain_sqs),
    Target("SQS requests per task, deferred in tens", "<= 0.40", _requests),
    Target("defer, SQLite FULL", "<= 1.5 x floor", _defer),
    Target("defer beside a draining worker, p95", "<= 10 ms", _milliseconds("ours full", "beside_p95", 10)),
    Target("defer, SQS, client CPU", "<= Celery's", _client_cpu),
    Target("pickup, SQLite across processes, p50", "<= 3 ms", _milliseconds("ours full", "pickup", 3)),
    Target("pickup, SQLite across processes, p99", "<= 10 ms", _milliseconds("ours full", "pickup_p99", 10)),
    Target("idle CPU, SQLite", "<= 5 ms/s", _idle),
    Target("pickup, SQS, p50", "<= taskiq's", _pickup_sqs),
    Target("cold start to first task, SQLite", "<= 0.5 s", _seconds("ours full", "cold", 0.5)),
    Target("cold start to first task, SQS", "<= 0.8 s", _seconds("ours sqs", "cold", 0.8)),
    Target("from fnqueue import FnQueue, over bare Python", "<= 80 ms", _milliseconds("micro", "import", 80)),
    Target("idle RSS, SQLite", "<= 50 MB", _memory("ours full", 50)),
    Target("idle RSS, SQS", "<= 65 MB", _memory("ours sqs", 65)),
    Target("seal + open, 500 B, suite 1", "<= 4 x bare AES-GCM + HMAC + msgspec", _seal),
    *(Target(f"refuse a forgery, 500 B, suite {digit}", "<= open a good one", _forgery(digit)) for digit in SUITES),
    Target("refuse 1 MiB of rubbish, slowest suite", "<= 10 ms", _rubbish),
    Target("backlog of 1,000,000 against 10,000: drain", ">= 80 %", _backlog("drain", fewer_is_better=False)),
    Target("backlog of 1,000,000 against 10,000: defer", ">= 80 %", _backlog("defer", fewer_is_better=True)),
    Target("backlog of 1,000,000 against 10,000: memory", "the same (10 %)", _backlog_memory),
    *EMULATOR_TARGETS,
)
