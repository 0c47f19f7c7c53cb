"""SqsBroker and the world around it: credentials, networks, names, forks, and what importing costs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from fnqueue.broker.base import Entry
from fnqueue.broker.sqs import SqsBroker
from fnqueue.clock import ManualClock
from fnqueue.errors import BrokerRefused, BrokerUnreachable, OptionInvalid, QueueMissing
from tests.broker.sqs_proxy import Proxy

A = [Entry(id="a", body="a")]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine without an AWS account."""
    for name in list(os.environ):
        if name.startswith("AWS_") and name != "AWS_CA_BUNDLE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return monkeypatch


@pytest.fixture
def proxy(moto_endpoint: str) -> Iterator[Proxy]:
    made = Proxy(moto_endpoint)
    yield made
    made.close()


def broker_of(url: str) -> SqsBroker:
    return SqsBroker(url, clock=ManualClock())


# ------------------------------------------------------------------ credentials and networks


def test_without_credentials_amazon_is_unreachable_and_the_line_says_what_to_set(bare: pytest.MonkeyPatch) -> None:
    with pytest.raises(BrokerUnreachable, match="no AWS credentials for Amazon SQS in eu-west-1: set AWS_PROFILE"):
        broker_of("sqs://eu-west-1/shop-").send("q", A)


def test_half_of_a_credential_is_none(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("AWS_ACCESS_KEY_ID", "AKIAKEY")
    with pytest.raises(BrokerUnreachable, match="no AWS credentials") as caught:
        broker_of("sqs://eu-west-1/").send("q", A)
    assert "AKIAKEY" not in str(caught.value)


def test_a_profile_that_is_not_there_is_named(bare: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        BrokerRefused, match=r"profile \(ops\) could not be found in ~/.aws/config; the url's"
    ) as caught:
        broker_of("sqs://eu-west-1/?profile=ops").send("q", A)
    assert not caught.value.retryable  # no waiting makes a profile


@pytest.mark.aws
def test_a_laptop_needs_no_account_for_a_server_of_its_own(bare: pytest.MonkeyPatch, moto_endpoint: str) -> None:
    broker = broker_of(f"sqs://us-east-1/{uuid4().hex[:8]}-?endpoint={moto_endpoint}")
    assert broker.send("q", A) == []
    broker.close()


@pytest.mark.aws
def test_a_server_on_loopback_is_asked_past_any_proxy(bare: pytest.MonkeyPatch, moto_endpoint: str) -> None:
    bare.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    bare.delenv("NO_PROXY", raising=False)
    bare.delenv("no_proxy", raising=False)
    broker = broker_of(f"sqs://us-east-1/{uuid4().hex[:8]}-?endpoint={moto_endpoint}")
    assert broker.send("q", A) == []
    broker.close()


def test_a_server_that_is_down_is_named_with_the_systems_reason() -> None:
    with socket.socket() as taken:  # bound, not listening: nobody else gets the port, and nobody answers
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BrokerUnreachable) as caught:
            broker_of(f"sqs://us-east-1/?endpoint={endpoint}").send("q", A)
    assert str(caught.value) == f"{endpoint} cannot be reached: Connection refused; is the server started there?"
    assert caught.value.retryable


def test_a_host_without_an_address_is_unreachable(bare: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        bare.delenv(name, raising=False)
    bare.setenv("AWS_ACCESS_KEY_ID", "x")
    bare.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with pytest.raises(BrokerUnreachable, match=r"http://sqs\.invalid:9324 cannot be reached: .*; look at the network"):
        broker_of("sqs://us-east-1/?endpoint=http://sqs.invalid:9324").send("q", A)


@pytest.mark.aws
def test_off_loopback_queues_are_neither_made_nor_listed(bare: pytest.MonkeyPatch, proxy: Proxy) -> None:
    bare.setenv("AWS_ACCESS_KEY_ID", "x")
    bare.setenv("AWS_SECRET_ACCESS_KEY", "x")
    bare.setenv("HTTP_PROXY", proxy.endpoint)  # the way to a host that is not this machine
    bare.setenv("NO_PROXY", "")
    broker = broker_of(f"sqs://us-east-1/{uuid4().hex[:8]}-?endpoint=http://sqs.test&account=123456789012")
    with pytest.raises(QueueMissing, match="fnqueue queues create"):
        broker.send("q", A)
    with pytest.raises(QueueMissing):
        broker.receive("q")
    assert set(proxy.operations()) == {"GetQueueUrl"}
    assert proxy.requests("GetQueueUrl")[0]["QueueOwnerAWSAccountId"] == "123456789012"
    broker.create("q")
    assert broker.send("q", A) == []
    assert "ListQueues" not in proxy.operations()
    broker.close()


# ------------------------------------------------------------------ names


@pytest.mark.aws
def test_a_prefix_keeps_applications_apart(moto_endpoint: str) -> None:
    run = uuid4().hex[:6]
    shop = broker_of(f"sqs://us-east-1/{run}shop-?endpoint={moto_endpoint}")
    blog = broker_of(f"sqs://us-east-1/{run}blog-?endpoint={moto_endpoint}")
    shop.create("dead")
    shop.create("mail", dead_letter_queue="dead", max_receive_count=3)
    shop.send("mail", A)
    assert blog.receive("mail") == []
    assert (shop.queues(), blog.queues()) == (["dead", "mail"], ["mail"])
    assert shop.attributes("mail").dead_letter_queue == "dead"
    shop.close()
    blog.close()


def test_a_name_that_is_too_long_with_its_prefix_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(OptionInvalid, match="has 85 characters with its prefix; SQS takes 80"):
        broker_of("sqs://us-east-1/" + "p" * 25 + "?endpoint=http://127.0.0.1:9").send("q" * 60, A)


@pytest.mark.aws
def test_a_server_that_was_started_anew_gets_its_queues_again(moto_endpoint: str) -> None:
    url = f"sqs://us-east-1/{uuid4().hex[:8]}-?endpoint={moto_endpoint}"
    mine, theirs = broker_of(url), broker_of(url)
    mine.send("q", A)
    theirs.drop("q")
    assert mine.send("q", A) == []
    mine.close()
    theirs.close()


# ------------------------------------------------------------------ processes


def run(program: str, *arguments: str) -> str:
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_naming_sqs_loads_no_aws_library() -> None:
    program = """
import sys
from fnqueue.broker.sqs import SqsBroker
from fnqueue.clock import SystemClock
SqsBroker("sqs://eu-west-1/shop-", clock=SystemClock())
print(sorted({"boto3", "botocore", "urllib3"} & set(sys.modules)))
"""
    assert run(program) == "[]"


def test_without_the_aws_extra_the_error_says_what_to_install() -> None:
    program = """
import sys
sys.modules["botocore"] = None
from fnqueue.broker.base import Entry
from fnqueue.broker.sqs import SqsBroker
from fnqueue.clock import SystemClock
try:
    SqsBroker("sqs://eu-west-1/shop-", clock=SystemClock()).send("q", [Entry(id="a", body="a")])
except Exception as error:
    print(type(error).__name__, error)
"""
    assert run(program).startswith("ExtraMissing")
    assert "pip install 'fnqueue[aws]'" in run(program)


@pytest.mark.aws
def test_a_forked_child_makes_its_own_connections(moto_endpoint: str) -> None:
    program = """
import os, sys
from fnqueue.broker.base import Entry
from fnqueue.broker.sqs import SqsBroker
from fnqueue.clock import SystemClock

broker = SqsBroker(sys.argv[1], clock=SystemClock())
broker.send("q", [Entry(id="parent", body="parent")])
clients = broker._wire._clients
parents = clients.quick()
children = []
for number in range(3):
    with clients._lock.here():  # as another thread may hold it at the moment of the fork
        child = os.fork()
        if child == 0:
            assert clients.quick() is not parents
            failures = [broker.send("q", [Entry(id="c", body=f"child {number}")]) for _ in range(5)]
            os._exit(0 if not any(failures) else 1)
        children.append(child)
for _ in range(5):
    broker.send("q", [Entry(id="parent", body="parent")])
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
assert clients.quick() is parents
found = []
while messages := broker.receive("q", visibility_seconds=60):
    found += [message.body for message in messages]
print(codes, len(found), found.count("parent"))
"""
    url = f"sqs://us-east-1/{uuid4().hex[:8]}-?endpoint={moto_endpoint}"
    assert run(program, url) == "[0, 0, 0] 21 6"
