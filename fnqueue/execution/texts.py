"""An exception as text, for records and logs: no locals, and only the task’s own frames."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from typing import Any

from fnqueue.codec.secret import Secret, masked
from fnqueue.errors import TaskError

FRAMES_MAX = 50
_HERE = os.path.dirname(__file__)


def error_text(error: BaseException, hide: Sequence[Secret[Any]] = ()) -> TaskError:
    """An exception as text. Frames without locals; the chain of causes is left out, its text is in the log.

    `hide`: secrets whose values are masked in it.
    """
    frames = tuple(_said(frame.rstrip()) for frame in traceback.format_list(_own_frames(error)))
    try:
        message = str(error)
    except Exception:
        message = "<the exception's own text could not be made>"
    return TaskError(type(error).__qualname__, _said(masked(message, hide)[:10_000]), frames)


def _said(text: str) -> str:
    """Text that UTF-8 can say: the names of files may hold bytes that it cannot, as halves of surrogate pairs."""
    return text.encode("utf-8", "backslashreplace").decode()


def _own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The task's frames: what called the task is ours, and tells its author nothing."""
    found = traceback.extract_tb(error.__traceback__)
    inner = [index for index, frame in enumerate(found) if os.path.dirname(frame.filename) == _HERE]
    return list(found[inner[-1] + 1 if inner and inner[-1] + 1 < len(found) else 0 :])[-FRAMES_MAX:]
