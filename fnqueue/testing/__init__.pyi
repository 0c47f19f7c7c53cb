from fnqueue.clock import ManualClock
from fnqueue.testing.aws import LocalAws, local_aws
from fnqueue.testing.cases import FnQueueTestCase
from fnqueue.testing.chaos import Chaos
from fnqueue.testing.deferred import AssertDeferred, Sent
from fnqueue.testing.drain import Drain
from fnqueue.testing.memory import in_memory

__all__ = [
    "in_memory",
    "ManualClock",
    "Drain",
    "Chaos",
    "AssertDeferred",
    "Sent",
    "FnQueueTestCase",
    "LocalAws",
    "local_aws",
]
