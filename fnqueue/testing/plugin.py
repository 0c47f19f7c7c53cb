"""The pytest plugin: `fn`, `clock`, `drain`, `advance`, `assert_deferred`, `assert_not_deferred`, `eager`, `chaos`;
and `fnqueue_aws`, which needs nothing else of fnqueue.

pytest imports this file in every run of every project that has fnqueue installed, so it imports nothing of fnqueue
before a fixture is asked for. A fixture of the same name in a project wins over the one here. To test your own
application instead of the plain `fn`, override that one in your conftest.py:

    @pytest.fixture
    def fn(clock):
        with fnqueue.testing.in_memory(myapp.fn, clock) as fn:
            yield fn
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fnqueue.app import FnQueue
    from fnqueue.clock import ManualClock
    from fnqueue.testing.aws import LocalAws
    from fnqueue.testing.chaos import Chaos
    from fnqueue.testing.deferred import AssertDeferred
    from fnqueue.testing.drain import Drain
    from fnqueue.testing.eager import Eager


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("fnqueue").addoption(
        "--fnqueue-chaos-seed",
        type=int,
        default=None,
        metavar="SEED",
        help="Make the fixture `chaos` do what it did under this seed. Also: FNQUEUE_CHAOS_SEED.",
    )


@pytest.fixture
def clock() -> ManualClock:
    """Time that moves when you say so: `clock.advance(hours=3)`."""
    from fnqueue.clock import ManualClock

    return ManualClock()


@pytest.fixture
def fn(clock: ManualClock) -> Iterator[FnQueue]:
    """An FnQueue on an engine in memory. Override it with your application's own: see `in_memory`."""
    from fnqueue.app import FnQueue
    from fnqueue.testing.memory import in_memory

    with in_memory(FnQueue(), clock) as made:
        yield made


@pytest.fixture
def drain(fn: FnQueue) -> Drain:
    """`drain()` runs what is due, until nothing is."""
    from fnqueue.testing.drain import Drain

    return Drain(fn.runtime)


@pytest.fixture
def advance(drain: Drain) -> Callable[..., int]:
    """`advance(hours=3)` lets time pass with a worker at work: each thing runs when it falls due."""
    return drain.advance


@pytest.fixture
def assert_deferred(fn: FnQueue) -> AssertDeferred:
    """`assert_deferred(task, args=(7,))`: deferred since this fixture was made, or held for a commit."""
    from fnqueue.testing.deferred import AssertDeferred

    return AssertDeferred(fn)


@pytest.fixture
def assert_not_deferred(assert_deferred: AssertDeferred) -> Callable[..., None]:
    """`assert_not_deferred(task)`: no call of it was deferred, nor held."""
    return assert_deferred.not_


@pytest.fixture
def eager(fn: FnQueue) -> Iterator[Eager]:
    """Calls run as soon as they are sent. `eager.propagate = True`: what they raise comes out of `defer`."""
    from fnqueue.testing.eager import Eager

    runtime = fn.runtime()
    before = runtime.sent
    yield Eager(runtime)
    runtime.sent = before


@pytest.fixture
def chaos(fn: FnQueue, request: pytest.FixtureRequest) -> Chaos:
    """`drain()` delivers as a bad day of SQS does. The seed stands in the report of a test that fails."""
    from dataclasses import replace

    from fnqueue.testing.aids import aids_of
    from fnqueue.testing.chaos import Chaos

    made = Chaos(seed=request.config.getoption("fnqueue_chaos_seed"))
    request.node.add_report_section(
        "setup",
        "fnqueue chaos",
        f"To see the same again: pytest --fnqueue-chaos-seed={made.seed} {request.node.nodeid}",
    )
    runtime = fn.runtime()
    runtime.aids = replace(aids_of(runtime), chaos=made)
    return made


@pytest.fixture(scope="session")
def fnqueue_aws_session() -> Iterator[LocalAws]:
    """The server of `fnqueue_aws`, for fixtures that live as long. Under pytest-xdist each worker has one."""
    from fnqueue.testing.aws import local_aws

    with local_aws() as aws:
        yield aws


@pytest.fixture
def fnqueue_aws(
    fnqueue_aws_session: LocalAws, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[LocalAws]:
    """An empty SQS and EventBridge Scheduler: `client("sqs")`, `advance(seconds)`, `endpoint`, `url`.

    The environment points to it until the test ends, so code that makes its own clients finds it.
    """
    from fnqueue.testing.aws import NOT_OF_THE_SHELL

    aws = fnqueue_aws_session
    aws.reset()
    for name in NOT_OF_THE_SHELL:
        monkeypatch.delenv(name, raising=False)
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    yield aws
    aws.close_clients()
    if said := aws.log():
        request.node.add_report_section("teardown", "fnqueue emulator", said)
