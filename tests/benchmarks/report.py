"""The tables that a run prints: the targets with their verdicts, what was measured of whom, and the suites."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from fnqueue.security.suites import SUITES
from tests.benchmarks.endpoints import NAMES
from tests.benchmarks.reading import Figures
from tests.benchmarks.suites import KINDS, SIZES
from tests.benchmarks.targets import TARGETS

Columns = tuple[tuple[str, str, Callable[[float], str]], ...]

_MICRO = "micro"
_COLUMNS: Columns = (
    ("drain", "drain/s", "{:,.0f}".format),
    ("cpu", "CPU s/1000", "{:.2f}".format),
    ("defer", "defer us", lambda seconds: f"{seconds * 1e6:,.0f}"),
    ("client_cpu", "its CPU us", lambda seconds: f"{seconds * 1e6:,.0f}"),
    ("beside_p95", "beside p95 ms", lambda seconds: f"{seconds * 1e3:.1f}"),
    ("pickup", "pickup ms", lambda seconds: f"{seconds * 1e3:.2f}"),
    ("pickup_p99", "p99 ms", lambda seconds: f"{seconds * 1e3:.1f}"),
    ("idle", "idle ms/s", lambda part: f"{part * 1e3:.1f}"),
    ("cold", "cold s", "{:.2f}".format),
    ("rss", "RSS MB", "{:.0f}".format),
)

_ENDPOINT_COLUMNS: Columns = (
    *(
        (f"{figure}_{connections}", f"{label} {connections}", "{:,.0f}".format)
        for figure, label in (("send", "send/s"), ("batch", "in tens/s"), ("drain", "receive+delete/s"))
        for connections in (1, 32)
    ),
    ("start", "start s", "{:.2f}".format),
)


def judged(figures: Figures) -> Iterator[dict[str, object]]:
    """One row per target. What it needs and was not measured makes it "not measured"."""
    for target in TARGETS:
        row: dict[str, object] = {"target": target.what, "wanted": target.wanted}
        try:
            reading = target.read(figures)
        except (KeyError, ValueError):
            yield row | {"measured": "", "ratio": None, "verdict": "not measured"}
        else:
            yield row | {"measured": reading.shown, "ratio": round(reading.ratio, 3), "verdict": reading.verdict}


def targets_table(figures: Figures) -> str:
    rows = [
        (str(row["target"]), str(row["wanted"]), str(row["measured"]), _ratio(row["ratio"]), str(row["verdict"]))
        for row in judged(figures)
    ]
    return _table(("target", "wanted", "measured (medians)", "of bound", "verdict"), rows)


def figures_table(figures: Figures) -> str:
    return _figures_table({who: row for who, row in figures.items() if who not in (_MICRO, *NAMES)}, _COLUMNS)


def endpoints_table(figures: Figures) -> str:
    """Messages a second by the number of connections."""
    return _figures_table({who: row for who, row in figures.items() if who in NAMES}, _ENDPOINT_COLUMNS)


def sealing_table(figures: Figures) -> str:
    """Microseconds by suite and size, as "seal / open / refuse a forgery", and rubbish."""
    found = figures.get(_MICRO, {})
    rows = [
        (
            f"suite {digit} {suite.name}",
            *(" / ".join(_us(found[f"{what} {digit} {size}"]) for what in KINDS) for size in SIZES),
            _us(found[f"rubbish {digit}"]),
        )
        for digit, suite in SUITES.items()
        if f"rubbish {digit}" in found
    ]
    return _table(("seal / open / forgery, us", *SIZES, "1 MiB of rubbish"), rows) if rows else ""


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f}"


def _figures_table(figures: Figures, columns: Columns) -> str:
    if not figures:
        return ""
    shown = [(name, label, text) for name, label, text in columns if any(name in row for row in figures.values())]
    rows = [(who, *(text(row[name]) if name in row else "" for name, _, text in shown)) for who, row in figures.items()]
    return _table(("", *(label for _, label, _ in shown)), rows)


def absences(absent: Mapping[str, str]) -> str:
    return "\n".join(f"{name}: left out, {why}" for name, why in absent.items())


def _ratio(ratio: object) -> str:
    return f"{ratio:.2f}" if isinstance(ratio, float) else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


__all__ = ["absences", "endpoints_table", "figures_table", "judged", "sealing_table", "targets_table"]
