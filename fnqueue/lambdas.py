"""`fn.lambda_handler()`: the way from an application to the worker's room, for who is an AWS Lambda function.

Upward, and so by name: nobody else's process loads a worker with its application.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fnqueue.errors import OptionInvalid
from fnqueue.forks import importing

if TYPE_CHECKING:
    from fnqueue.runtime import Runtime

#: Lambda's names of levels, where ours are others.
_LEVELS = {"trace": "debug", "warn": "warning", "fatal": "error"}

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


class OnLambda:
    if TYPE_CHECKING:

        def runtime(self) -> Runtime: ...

    def lambda_handler(self, *, reserve_seconds: float = 2.0) -> Handler:
        """A handler for AWS Lambda, of what an event source mapping brings from SQS: `handler = fn.lambda_handler()`.

        It runs the records as a worker does and answers with `batchItemFailures`, so the mapping must have
        FunctionResponseTypes=["ReportBatchItemFailures"]: without it Lambda deletes what failed, too. Nothing is begun
        in the last `reserve_seconds` (0.5 to 600) of an invocation: what is left comes again.

        It raises EventInvalid for an event that is none of SQS's, and SettingsInvalid where a worker would not start.
        """
        if not isinstance(reserve_seconds, int | float) or not 0.5 <= reserve_seconds <= 600:
            raise OptionInvalid(f"lambda_handler(reserve_seconds={reserve_seconds!r}) must be 0.5 to 600")
        made: dict[str, Any] = {"runtime": None}

        def handler(event: dict[str, Any], context: Any = None) -> dict[str, Any]:
            runtime = self.runtime()
            if made["runtime"] is not runtime:
                made.update(runtime=runtime, handle=_handler(runtime, reserve_seconds))
            answer: dict[str, Any] = made["handle"](event, context)
            return answer

        return handler


def _handler(runtime: Runtime, reserve_seconds: float) -> Handler:
    """Its lines go where Lambda's own go: its runtime has a handler of logs, and a level that is set beside it."""
    with importing():
        from fnqueue.settings import foreign_environment

        logs = import_module("fnqueue.observe.logs")
        made: Handler = import_module("fnqueue.worker.aws_lambda").LambdaHandler(runtime, reserve_seconds)
    said = (foreign_environment("AWS_LAMBDA_LOG_LEVEL") or "").lower()
    level = _LEVELS.get(said, said)
    logs.configure(format=runtime.settings.log_format, level=level if level in logs.LEVELS else "info")
    logs.subscribe(runtime.events, format=runtime.settings.log_format)
    return made
