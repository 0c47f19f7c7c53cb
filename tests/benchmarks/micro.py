"""What is measured without a queue: sealing against its bare primitives and in all suites, and the cost of the import.

python -m tests.benchmarks.micro          prints one JSON object, in seconds
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

from tests.benchmarks import suites
from tests.benchmarks.sealing import measured


def sealing() -> dict[str, float]:
    found = measured(60)
    return {"seal": (found["sealed"] + found["opened"]) / 1e6, "seal_bare": found["bare"] / 1e6}


def importing() -> dict[str, float]:
    """Importing `FnQueue`, beyond Python's own start. `import fnqueue` alone loads next to nothing."""
    bare, ours = "pass", "from fnqueue import FnQueue"
    _start(ours)  # the bytecode is written
    rounds = [(_start(bare), _start(ours)) for _ in range(9)]
    return {"import": min(b for _, b in rounds) - min(a for a, _ in rounds)}


def _start(program: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    print(json.dumps(sealing() | suites.measured(15) | importing()))
