"""Who commits: leader and followers, without a thread of their own.

The first caller leads and commits; those who come while it does so stand in line. The leader takes them
into its transaction, or, when it is done, names the first of them the next leader. Nobody waits for
a timer, and one fsync serves all who came during the last one. A fork waits in the same line.
Knows nothing of SQLite.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any


class Write:
    """One caller's work, and what became of it. Without a work it wants the lead: to close, or to fork.

    `durable`: its caller goes on only when it is on the disk.
    """

    __slots__ = ("bell", "done", "durable", "error", "leads", "result", "turn", "work")

    def __init__(self, work: Any = None, bell: bool = False, durable: bool = True) -> None:
        self.work = work
        self.bell = bell
        self.durable = durable
        self.done = False
        self.leads = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.turn: threading.Lock | None = None  # held while it stands in line

    def finish(self) -> None:
        self.done = True
        if self.turn is not None:
            self.turn.release()


class Line:
    def __init__(self) -> None:
        self._mutex = threading.Lock()  # never held during I/O
        self._waiting: deque[Write] = deque()
        self._led = False

    def stand(self, write: Write, seconds: float = -1) -> bool:
        """True: the caller leads now and must `leave`. False: its work is done (or `seconds` passed)."""
        with self._mutex:
            if not self._led:
                self._led = True
                return True
            write.turn = threading.Lock()
            write.turn.acquire()
            self._waiting.append(write)
        try:
            write.turn.acquire(timeout=seconds)
        except BaseException:
            if self._desert(write):
                self.leave()
            raise
        return write.leads or (not write.done and self._desert(write))

    def __bool__(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def next(self, *, durable: bool = True) -> Write | None:
        """For the leader: one more to take along. Not past one that wants to lead itself, nor past one that must be
        durable when the leader's commit is not."""
        with self._mutex:
            if self._waiting and self._waiting[0].work is not None and (durable or not self._waiting[0].durable):
                return self._waiting.popleft()
            return None

    def wants_durable(self) -> bool:
        """Whether one of those who wait must be durable."""
        with self._mutex:
            return any(write.durable for write in self._waiting)

    def put_back(self, writes: list[Write]) -> None:
        """For the leader: these were not done. They are first in line again."""
        with self._mutex:
            self._waiting.extendleft(reversed(writes))

    def leave(self) -> None:
        """The leader goes: the first in line leads, if there is one."""
        with self._mutex:
            if not self._waiting:
                self._led = False
                return
            following = self._waiting.popleft()
            following.leads = True
            assert following.turn is not None  # all who wait have one
            following.turn.release()

    def _desert(self, write: Write) -> bool:
        """Out of the line. True when it had been named leader meanwhile."""
        with self._mutex:
            if write in self._waiting:
                self._waiting.remove(write)
            return write.leads
