"""The emulator's targets. Ratios are to servers that keep everything in memory; ours is on the disk when it answers."""

from __future__ import annotations

from collections.abc import Callable

from tests.benchmarks.endpoints import FAUXQS, MOTO, OURS
from tests.benchmarks.reading import Figures, Reading, Target


def _against(figure: str, peer: str, factor: float) -> Callable[[Figures], Reading]:
    def read(figures: Figures) -> Reading:
        ours, other = figures[OURS][figure], figures[peer][figure]
        shown = f"{ours:,.0f}/s = {ours / other:.2f} x {peer.removeprefix('emulator ')} ({other:,.0f})"
        return Reading(ours / other, factor, shown, at_least=True)

    return read


def _least_against(peer: str, factor: float, *figures: str) -> Callable[[Figures], Reading]:
    """The worst of several."""

    def read(found: Figures) -> Reading:
        ratios = {name: found[OURS][name] / found[peer][name] for name in figures}
        name = min(ratios, key=ratios.__getitem__)
        shown = f"{ratios[name]:,.1f} x at the least ({name})"
        return Reading(ratios[name], factor, shown, at_least=True)

    return read


def _at_most(figure: str, bound: float, scale: float, unit: str) -> Callable[[Figures], Reading]:
    def read(figures: Figures) -> Reading:
        value = figures[OURS][figure] * scale
        return Reading(value, bound, f"{value:.2f} {unit}")

    return read


def _far(figure: str) -> Callable[[Figures], Reading]:
    def read(figures: Figures) -> Reading:
        far, near = figures[OURS][f"far_{figure}"], figures[OURS][f"near_{figure}"]
        return Reading(far / near, 0.8, f"{far / near:.0%}", at_least=True)

    return read


_ALL = ("send_1", "send_32", "batch_1", "batch_32", "drain_1", "drain_32")
EMULATOR_TARGETS = (
    Target("emulator: SendMessage, 32 clients", ">= fauxqs (in memory)", _against("send_32", FAUXQS, 1)),
    Target("emulator: SendMessageBatch, 32 clients", ">= fauxqs (in memory)", _against("batch_32", FAUXQS, 1)),
    Target("emulator: receive + delete in tens, 1 client", ">= fauxqs (in memory)", _against("drain_1", FAUXQS, 1)),
    Target("emulator: receive + delete in tens, 32 clients", ">= fauxqs (in memory)", _against("drain_32", FAUXQS, 1)),
    Target("emulator: all of it against moto's server", ">= 5 x moto", _least_against(MOTO, 5, *_ALL)),
    Target("emulator: 200 idle long polls", "<= 1 % of a core", _at_most("idle", 1, 100, "%")),
    Target("emulator: start to first answer", "<= 1 s", _at_most("start", 1, 1, "s")),
    Target("emulator: 1,000,000 waiting against 1,000: send", ">= 80 %", _far("send")),
    Target("emulator: 1,000,000 waiting against 1,000: receive + delete", ">= 80 %", _far("drain")),
    Target("emulator: RSS with 1,000,000 on disk", "<= 80 MB", _at_most("rss_million", 80, 1, "MB")),
)
