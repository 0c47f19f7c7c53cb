from fnqueue.app import FnQueue
from fnqueue.codec.secret import Secret
from fnqueue.context import TaskContext, current_task
from fnqueue.errors import (
    ArgumentError,
    DeadLetter,
    FnQueueError,
    NotYetSent,
    PolicyDenied,
    ResultTimeout,
    RetryLater,
    SettingsInvalid,
    SoftTimeLimitExceeded,
    SomeNotSent,
    StoreMissing,
    TaskError,
    TaskFailed,
    TaskRevoked,
)
from fnqueue.security.policy import Decision, PolicyContext
from fnqueue.security.principal import Principal
from fnqueue.state.results import Progress
from fnqueue.task.handle import Handle, Result, State
from fnqueue.task.options import Backoff
from fnqueue.task.task import Task
from fnqueue.workflow.signature import Signature

__version__: str

__all__ = [
    # the queue and its tasks
    "FnQueue",
    "Task",
    "Signature",
    "Secret",
    "Backoff",
    # what defer gives back
    "Handle",
    "Result",
    "State",
    "Progress",
    "TaskError",
    # inside a task
    "TaskContext",
    "current_task",
    "RetryLater",
    "DeadLetter",
    "TaskRevoked",
    "SoftTimeLimitExceeded",
    # who
    "Principal",
    "PolicyContext",
    "Decision",
    # errors
    "FnQueueError",
    "ArgumentError",
    "NotYetSent",
    "PolicyDenied",
    "ResultTimeout",
    "SettingsInvalid",
    "SomeNotSent",
    "StoreMissing",
    "TaskFailed",
    # about
    "__version__",
]
