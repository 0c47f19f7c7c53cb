"""The frame of a demonstration: a new folder, a stage that is cleared whatever happens, an exit code."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from example_apps.demonstration.processes import DemoFailed, Stage
from example_apps.demonstration.screen import Screen, paint

SECONDS_MAX = 110  # a calm machine needs ten; a loaded one shall not be told that promises were broken


def perform(title: str, play: Callable[[Stage, Screen, Path], None]) -> int:
    """Play it in a folder of its own. Returns the exit code: 0 where every promise held, 130 after Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the stage is cleared then, too
    screen, started = Screen(), time.monotonic()
    screen.say(paint(title, "bold"))
    try:
        with tempfile.TemporaryDirectory(prefix="fnqueue-demo-") as folder, Stage(SECONDS_MAX) as stage:
            play(stage, screen, Path(folder))
    except (DemoFailed, OSError, ValueError, subprocess.SubprocessError) as error:
        screen.say(f"\n{paint('The demonstration failed:', 'red')} {error}")
        screen.say("\n".join(getattr(error, "__notes__", [])))
        return 1
    except KeyboardInterrupt:
        return 130
    screen.say(f"\n{paint('All promises held', 'green')}, in {time.monotonic() - started:.1f} s.")
    return 0
