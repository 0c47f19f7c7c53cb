"""Fuzz one target, guided by coverage: `python -m tests.fuzz body [options of libFuzzer]`.

    python -m tests.fuzz body -max_total_time=600 -rss_limit_mb=512

What it found is written beside the corpus that is named, and reproduced by naming the file in its place.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

# New paths are looked for in these; what they import from elsewhere is as it is.
with atheris.instrument_imports(
    include=["fnqueue.security", "fnqueue.codec", "fnqueue.schedule", "fnqueue.scheduling", "tests.fuzz.targets"]
):
    from tests.fuzz.targets import SEEDS, TARGETS


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"python -m tests.fuzz TARGET [options of libFuzzer]; targets: {', '.join(TARGETS)}")
    name, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="fnqueue-fuzz-") as folder:
        if all(option.startswith("-") for option in options):
            for n, seed in enumerate(SEEDS[name]):
                (Path(folder) / f"seed{n}").write_bytes(seed)
            options.append(folder)
        atheris.Setup([sys.argv[0], *options], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
