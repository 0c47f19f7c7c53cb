"""What can be said of one column: of numbers their spread, of anything else what stands there most often."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

TOP = 3


def summary(cells: Sequence[str]) -> dict[str, Any]:
    """`{"kind": "number", "count", "missing", "minimum", "maximum", "mean", "median", "deviation"}`, or
    `{"kind": "text", "count", "missing", "distinct", "top": [[value, times], ...]}`. An empty cell is missing.

    `deviation` is the sample's standard deviation; of a single number it is 0.
    """
    given = [cell for cell in cells if cell.strip()]
    about = {"count": len(given), "missing": len(cells) - len(given)}
    numbers = _numbers(given)
    return {"kind": "number", **about, **_spread(numbers)} if numbers else {"kind": "text", **about, **_words(given)}


def _numbers(cells: Sequence[str]) -> list[float]:
    """All of them as numbers; none if one is not."""
    try:
        found = [float(cell) for cell in cells]
    except ValueError:
        return []
    return found if all(math.isfinite(each) for each in found) else []


def _spread(numbers: Sequence[float]) -> dict[str, float]:
    return {
        "minimum": min(numbers),
        "maximum": max(numbers),
        "mean": statistics.fmean(numbers),
        "median": statistics.median(numbers),
        "deviation": statistics.stdev(numbers) if len(numbers) > 1 else 0.0,
    }


def _words(cells: Sequence[str]) -> dict[str, Any]:
    counted = Counter(cells)
    top = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))[:TOP]
    return {"distinct": len(counted), "top": [list(pair) for pair in top]}
