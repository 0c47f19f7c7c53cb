"""The tasks that an application has registered, by name. The worker runs these and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fnqueue.errors import OptionInvalid, TaskNameInvalid, UnknownTask
from fnqueue.task.task import Task

if TYPE_CHECKING:  # most applications have no schedule, and need not load what they are made of
    from fnqueue.schedule.schedule import Schedule


class Registry:
    """Filled at import time, read by all threads afterwards."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task[Any, Any, Any]] = {}
        #: What `@fn.schedule` says, by name.
        self.schedules: dict[str, Schedule] = {}

    def add(self, task: Task[Any, Any, Any]) -> None:
        """Raises TaskNameInvalid when another function has the name. A module that was reloaded replaces its own."""
        before = self._tasks.get(task.name)
        if before is not None and _place(before) != _place(task):
            raise TaskNameInvalid(
                f"two functions are registered as {task.name!r}: at {before.where} and at {task.where}; "
                "give one of them another name="
            )
        self._tasks[task.name] = task

    def schedule(self, schedule: Schedule) -> None:
        """Raises OptionInvalid when another task's, or another one of the same task, has the name."""
        before = self.schedules.get(schedule.name)
        if before is not None and before.task != schedule.task:
            raise OptionInvalid(
                f"two schedules are named {schedule.name!r}, of {before.task} and of {schedule.task}: "
                "give one of them another name="
            )
        self.schedules[schedule.name] = schedule

    def find(self, name: str) -> Task[Any, Any, Any] | None:
        return self._tasks.get(name)

    def get(self, name: str) -> Task[Any, Any, Any]:
        """Raises UnknownTask, which lists the nearest names."""
        found = self._tasks.get(name)
        if found is None:
            import difflib  # only who mistakes a name pays for it

            near = difflib.get_close_matches(name, self._tasks, n=3, cutoff=0.4)
            modules = sorted({task.name.rpartition(".")[0] for task in self})
            raise UnknownTask(name, nearest=near, modules=modules)
        return found

    def queues(self) -> list[str]:
        """The logical queues of the tasks, sorted."""
        return sorted({task.options.queue for task in self})

    def __iter__(self) -> Iterator[Task[Any, Any, Any]]:
        return iter([self._tasks[name] for name in sorted(self._tasks)])

    def __len__(self) -> int:
        return len(self._tasks)


def _place(task: Task[Any, Any, Any]) -> tuple[str, str]:
    return (getattr(task.function, "__module__", ""), getattr(task.function, "__qualname__", ""))
