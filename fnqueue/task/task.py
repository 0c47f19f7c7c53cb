"""A registered function. It is still the function when called; `defer` sends a call of it.

A task is given its powers (`Sends`) by the application that registered it and knows no application.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, cast

from fnqueue.clock import to_datetime
from fnqueue.codec import Binder
from fnqueue.errors import OptionInvalid, TaskNameInvalid
from fnqueue.security.policy import Policy
from fnqueue.task.handle import Handle, Result
from fnqueue.task.mistakes import no_attribute_of_task
from fnqueue.task.options import (
    NO_OPTIONS,
    Backoff,
    CallOptions,
    Priority,
    Retry,
    TaskOptions,
    priority_name,
    retry_of,
    unknown_option,
)
from fnqueue.workflow.signature import Signature

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")


class Sends(Protocol):
    """The powers of a task."""

    def send(self, task: Task[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handle[Any]: ...
    async def asend(self, task: Task[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handle[Any]: ...
    def apply(self, task: Task[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Result[Any]: ...


class Task(Generic[P, R, C]):
    """Made by `@fn.task`. Calling it calls the plain function, with nothing around it."""

    def __init__(self, function: Callable[..., C], options: TaskOptions, sends: Sends) -> None:
        self.function = function
        self.name = options.name or task_name(function)
        self.options = options
        self.call_options: CallOptions = NO_OPTIONS
        self.is_coroutine = inspect.iscoroutinefunction(function)
        self.retry: Backoff = retry_of(options.retry)
        self.binder = Binder(function, self.name, bind=options.bind)
        self._sends = sends
        functools.update_wrapper(cast("Any", self), function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C:
        return self.function(*args, **kwargs)

    def defer(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Check, authorise, seal and send a call. Returned means durable.

        Raises ArgumentError, PolicyDenied, PolicyUndecided, BrokerError: then nothing was sent.
        """
        return self._sends.send(self, args, kwargs)

    async def adefer(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """`defer` for async views: the send is in a thread, with this context's variables."""
        return await self._sends.asend(self, args, kwargs)

    def apply(self, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        """The whole pipe here and now, without a queue: seal, policies, open, run."""
        return self._sends.apply(self, args, kwargs)

    def using(
        self,
        *,
        queue: str | None = None,
        delay_seconds: float | None = None,
        not_before: datetime | None = None,
        expires_seconds: float | None = None,
        priority: Priority | None = None,
        tenant: str | None = None,
        group: str | None = None,
        group_clear: bool | None = None,
        dedupe: str | None = None,
        unique_for_seconds: float | None = None,
        retry: Retry = None,
        **unknown: Any,
    ) -> Task[P, R, C]:
        """A changed copy: `send_invoice.using(delay_seconds=60).defer(7)`. What is not given stays."""
        for name in unknown:
            raise unknown_option(name, Task.using)
        given = {
            "queue": queue,
            "delay_seconds": delay_seconds,
            "not_before": not_before,
            "expires_seconds": expires_seconds,
            "priority": priority,
            "tenant": tenant,
            "group": group,
            "group_clear": group_clear,
            "dedupe": dedupe,
            "unique_for_seconds": unique_for_seconds,
            "retry": retry,
        }
        before = {name: getattr(self.call_options, name) for name in given}
        changed: Task[P, R, C] = object.__new__(type(self))
        changed.__dict__.update(self.__dict__)
        changed.call_options = CallOptions(**before | {k: v for k, v in given.items() if v is not None})
        return changed

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """A call not yet made. Arguments may be partial: the one before it in a chain gives the first."""
        return Signature(task=self.name, args=args, kwargs=kwargs, options=self.wire_options())

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        """Immutable: takes nothing from the one before it."""
        return Signature(task=self.name, args=args, kwargs=kwargs, options=self.wire_options(), immutable=True)

    # ---- what the machinery asks

    @property
    def queue(self) -> str:
        return self.call_options.queue or self.options.queue

    @property
    def priority(self) -> str:
        return priority_name(
            self.call_options.priority if self.call_options.priority is not None else self.options.priority
        )

    @property
    def policy(self) -> Policy | None:
        return self.options.policy

    @property
    def where(self) -> str:
        """`shop.py:14`, for texts that point at the task."""
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        return f"{os.path.basename(code.co_filename)}:{code.co_firstlineno}" if code else self.name

    def wire_options(self) -> dict[str, Any]:
        """What `using()` changed, as a signature has it."""
        options = self.call_options
        wire = {name: getattr(options, name) for name in CallOptions.__slots__}
        wire["not_before"] = options.not_before.timestamp() if options.not_before else None
        wire["retry"] = retry_of(options.retry).to_wire() if options.retry is not None else None
        return {name: value for name, value in wire.items() if value not in (None, False)}

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise no_attribute_of_task(self.__dict__.get("name", "task"), name)

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    def __reduce__(self) -> Any:
        raise TypeError(f"{self!r} does not travel: defer it by name, or pass its name")

    def __get__(self, instance: Any, owner: type | None = None) -> Task[P, R, C]:
        if instance is not None:
            raise OptionInvalid(
                f"{self.name} is a task on a class and would be called with the instance, which cannot travel. "
                "Make it a module's function that takes the id and loads the object."
            )
        return self


def with_wire_options(task: Task[Any, Any, Any], options: Mapping[str, Any]) -> Task[Any, Any, Any]:
    """The task with the options of a signature."""
    if not options:
        return task
    given = dict(options)
    if given.get("not_before") is not None:
        given["not_before"] = to_datetime(given["not_before"])
    if given.get("retry") is not None:
        given["retry"] = task.retry.changed_by_wire(given["retry"])
    unknown = [name for name in given if name not in CallOptions.__slots__]
    if unknown:
        raise OptionInvalid(f"a signature of {task.name} has the unknown option {unknown[0]!r}")
    return task.using(**given)


def check_function(function: Any) -> None:
    """Raises OptionInvalid for what `@fn.task` cannot make a task of."""
    if isinstance(function, Task):
        raise OptionInvalid(f"{function.name} is a task already: @fn.task stands on it twice")
    if inspect.isclass(function):
        raise OptionInvalid(f"@fn.task is for functions, and {function.__name__} is a class: make it of a function")
    if not callable(function) or isinstance(function, Policy):
        raise OptionInvalid(
            f"@fn.task is for functions, got {type(function).__name__}; options have names, as @fn.task(policy=...)"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise OptionInvalid(f"{function.__qualname__} has a yield: calling it only makes a generator, and runs nothing")


def task_name(function: Callable[..., Any]) -> str:
    """Module and qualified name; `__main__` becomes the import name of its file, or no worker would know it.

    Raises TaskNameInvalid for lambdas and functions made inside functions, which need `name=`.
    """
    module, qualified = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not module or not qualified:
        raise TaskNameInvalid(f"{function!r} has no name: give one with @fn.task(name='shop.thumbnail')")
    if "<locals>" in qualified or "<lambda>" in qualified:
        raise TaskNameInvalid(
            f"{module}.{qualified} is made inside a function, so a worker cannot be sure of its name: "
            "move it to the module, or give one with @fn.task(name='shop.thumbnail')"
        )
    return f"{_main_name() if module == '__main__' else module}.{qualified}"


def _main_name() -> str:
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name).removesuffix(".__main__")
    path = getattr(main, "__file__", None)
    if not path:
        raise TaskNameInvalid("a task typed at a prompt has no module that a worker could import: give name=")
    return str(os.path.splitext(os.path.basename(path))[0])
