"""`fnqueue_aws` in projects of users who may use nothing else of fnqueue: an SQS to test against, empty for each."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fnqueue.errors import FnQueueError, OptionInvalid
from fnqueue.testing import LocalAws, local_aws
from tests.commands import environment, run

psutil = pytest.importorskip("psutil")
pytest.importorskip("uvicorn")
pytest.importorskip("boto3")
pytestmark = pytest.mark.system


def project(folder: Path, text: str, *options: str, env: dict[str, str] | None = None):
    (folder / "test_orders.py").write_text(textwrap.dedent(text))
    return run("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:django", *options, cwd=folder, env=env)


def until(what: Callable[[], object], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


# ------------------------------------------------------------------ what a test gets


def test_each_test_finds_it_empty_with_the_time_of_the_machine_under_one_address(tmp_path):
    done = project(
        tmp_path,
        """
        import time

        seen = []

        def test_a_delay_passes_when_the_clock_is_turned(fnqueue_aws):
            sqs = fnqueue_aws.client("sqs")
            url = sqs.create_queue(QueueName="orders")["QueueUrl"]
            fnqueue_aws.client(account="9" * 12, region_name="eu-west-1").create_queue(QueueName="others")
            sqs.send_message(QueueUrl=url, MessageBody="a", DelaySeconds=900)
            assert "Messages" not in sqs.receive_message(QueueUrl=url)
            assert fnqueue_aws.advance(minutes=15) > time.time() + 800
            (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
            assert message["Body"] == "a"
            seen.append((fnqueue_aws.endpoint, url))

        def test_the_next_one(fnqueue_aws):
            sqs = fnqueue_aws.client()
            assert "QueueUrls" not in sqs.list_queues()
            assert "QueueUrls" not in fnqueue_aws.client(account="9" * 12, region_name="eu-west-1").list_queues()
            assert abs(fnqueue_aws.now() - time.time()) < 10
            assert (fnqueue_aws.endpoint, sqs.create_queue(QueueName="orders")["QueueUrl"]) == seen[0]
            found = sqs.get_queue_attributes(QueueUrl="orders", AttributeNames=["QueueArn"])
            assert found["Attributes"]["QueueArn"] == "arn:aws:sqs:us-east-1:123456789012:orders"
        """,
    )
    assert "2 passed" in done.stdout, done.stdout


def test_code_that_makes_its_own_clients_finds_it_and_the_environment_is_as_it_was_afterwards(tmp_path):
    done = project(
        tmp_path,
        """
        import functools
        import os

        import boto3
        import pytest

        @functools.cache
        def orders():
            return boto3.client("sqs").create_queue

        @pytest.fixture
        def of_before(monkeypatch):  # one that was there first must not put ours back
            yield
            assert os.environ["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")

        @pytest.mark.parametrize("number", [1, 2])
        def test_it(of_before, fnqueue_aws, monkeypatch, number):
            orders()(QueueName="orders")
            assert fnqueue_aws.client().get_queue_url(QueueName="orders")["QueueUrl"].startswith(fnqueue_aws.endpoint)
            monkeypatch.setenv("AWS_REGION", "eu-west-1")
            monkeypatch.delenv("AWS_ENDPOINT_URL_SQS")

        def test_afterwards():
            assert {name: value for name, value in os.environ.items() if name.startswith("AWS_")} == {
                "AWS_PROFILE": "production", "AWS_SESSION_TOKEN": "a token", "AWS_REGION": "eu-central-1"
            }
        """,
        env={"AWS_PROFILE": "production", "AWS_SESSION_TOKEN": "a token", "AWS_REGION": "eu-central-1"},
    )
    assert "3 passed" in done.stdout, done.stdout


def test_a_schedule_has_fired_when_the_clock_was_turned_and_is_gone_in_the_next_test(tmp_path):
    done = project(
        tmp_path,
        """
        QUEUE = "arn:aws:sqs:us-east-1:123456789012:orders"

        def test_a_year(fnqueue_aws):
            url = fnqueue_aws.client("sqs").create_queue(QueueName="orders")["QueueUrl"]
            fnqueue_aws.client("scheduler").create_schedule(
                Name="new-year",
                ScheduleExpression="cron(0 0 1 1 ? *)",
                ScheduleExpressionTimezone="Asia/Tokyo",
                FlexibleTimeWindow={"Mode": "OFF"},
                Target={"Arn": QUEUE, "RoleArn": "arn:aws:iam::123456789012:role/any", "Input": "sake"},
            )
            fnqueue_aws.advance(days=366)
            (message,) = fnqueue_aws.client("sqs").receive_message(QueueUrl=url)["Messages"]
            assert message["Body"] == "sake"

        def test_afterwards(fnqueue_aws):
            assert fnqueue_aws.client("scheduler").list_schedules()["Schedules"] == []
        """,
    )
    assert "2 passed" in done.stdout, done.stdout


def test_a_process_that_a_test_starts_finds_it(tmp_path):
    done = project(
        tmp_path,
        """
        import subprocess
        import sys

        def test_it(fnqueue_aws):
            theirs = "import boto3; boto3.client('sqs').create_queue(QueueName='orders')"
            subprocess.run([sys.executable, "-c", theirs], check=True)
            assert len(fnqueue_aws.client().list_queues()["QueueUrls"]) == 1
        """,
    )
    assert "1 passed" in done.stdout, done.stdout


def test_moto_may_stand_in_for_other_services_beside_it(tmp_path):
    done = project(
        tmp_path,
        """
        import boto3
        from moto import mock_aws

        def test_it(fnqueue_aws, monkeypatch):
            monkeypatch.delenv("AWS_ENDPOINT_URL")
            with mock_aws():
                boto3.client("s3").create_bucket(Bucket="photos")
                boto3.client("sqs").create_queue(QueueName="orders")
                assert [each["Name"] for each in boto3.client("s3").list_buckets()["Buckets"]] == ["photos"]
            assert len(fnqueue_aws.client().list_queues()["QueueUrls"]) == 1
        """,
    )
    assert "1 passed" in done.stdout, done.stdout


def test_calls_of_an_fnqueue_go_through_it_to_a_real_worker(tmp_path):
    (tmp_path / "shop.py").write_text(
        textwrap.dedent(
            """
            from fnqueue import FnQueue
            from fnqueue.policies import public

            fn = FnQueue()

            @fn.task(policy=public)
            def add(one: int, two: int) -> int:
                return one + two
            """
        )
    )
    done = project(
        tmp_path,
        """
        import subprocess
        import sys

        def test_it(fnqueue_aws, monkeypatch, tmp_path):
            monkeypatch.setenv("FNQUEUE_URL", fnqueue_aws.url)
            monkeypatch.setenv("FNQUEUE_STORE_URL", f"sqlite:///{tmp_path}/store.db")
            fnqueue = [sys.executable, "-m", "fnqueue"]
            key = subprocess.run([*fnqueue, "keys", "new"], check=True, capture_output=True, text=True).stdout
            monkeypatch.setenv("FNQUEUE_KEYS", f"primary:{key.strip()}")
            from shop import add
            subprocess.run([*fnqueue, "queues", "create", "--app", "shop"], check=True)
            handle = add.defer(1, 2)
            subprocess.run([*fnqueue, "worker", "--app", "shop", "--burst"], check=True)
            assert handle.result() == 3
        """,
    )
    assert "1 passed" in done.stdout, done.stdout


def test_what_the_tests_do_to_their_own_process_does_not_reach_it(tmp_path):
    done = project(
        tmp_path,
        """
        import time

        def test_a_frozen_clock(fnqueue_aws, monkeypatch):
            sqs = fnqueue_aws.client()
            url = sqs.create_queue(QueueName="orders", Attributes={"DelaySeconds": "1"})["QueueUrl"]
            with monkeypatch.context() as frozen:
                frozen.setattr(time, "time", lambda: 1_000_000_000.0)
                sqs.send_message(QueueUrl=url, MessageBody="a")
                (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10, AttributeNames=["All"])["Messages"]
            assert int(message["Attributes"]["SentTimestamp"]) / 1000 > time.time() - 60

        def test_nothing_of_the_server_is_in_it(fnqueue_aws):
            import sys
            assert not {"uvicorn", "uvloop", "fnqueue.emulator", "fnqueue.app"} & set(sys.modules)
        """,
    )
    assert "2 passed" in done.stdout, done.stdout


# ------------------------------------------------------------------ it ends, and it is there


def test_it_ends_with_a_run_that_is_killed_also_where_a_forked_child_lives_on(tmp_path):
    (tmp_path / "test_orders.py").write_text(
        textwrap.dedent(
            """
            import os
            import signal
            import time

            def test_it(fnqueue_aws):
                child = os.fork()
                if child == 0:
                    time.sleep(60)
                    os._exit(0)
                with open("pids", "w") as pids:
                    pids.write(f"{fnqueue_aws.pid} {child}")
                assert fnqueue_aws.client().list_queues()
                os.kill(os.getpid(), signal.SIGKILL)
            """
        )
    )
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-p", "no:django"]
    # Its output goes nowhere: the child would hold a pipe open, and `run` wait for it.
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment(), timeout=60, check=False,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    server, child = map(int, (tmp_path / "pids").read_text().split())
    try:
        assert ended.returncode == -9
        assert until(lambda: not psutil.pid_exists(server)), "the server outlived its tests"
    finally:
        os.kill(child, 9)


def test_it_ends_with_a_run_that_ends(tmp_path):
    done = project(tmp_path, "def test_it(fnqueue_aws): print('pid', fnqueue_aws.pid)", "-s")
    found = re.search(r"pid (\d+)", done.stdout)
    assert found is not None and "1 passed" in done.stdout, done.stdout
    assert not psutil.pid_exists(int(found[1]))


def test_under_xdist_each_worker_has_its_own(tmp_path):
    done = project(
        tmp_path,
        """
        import time

        import pytest

        @pytest.mark.parametrize("number", range(8))
        def test_it(fnqueue_aws, number):
            sqs = fnqueue_aws.client()
            url = sqs.create_queue(QueueName="orders")["QueueUrl"]
            for text in "ab":
                sqs.send_message(QueueUrl=url, MessageBody=f"{number}{text}")
            time.sleep(0.05)
            found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
            assert {each["Body"] for each in found} == {f"{number}a", f"{number}b"}
            with open("endpoints", "a") as file:
                file.write(f"{fnqueue_aws.endpoint} {fnqueue_aws.pid}\\n")
        """,
        "-n2",
        "--dist=load",
    )
    assert "8 passed" in done.stdout, done.stdout
    servers = {line.split()[1] for line in (tmp_path / "endpoints").read_text().splitlines()}
    assert len(servers) == 2
    assert not any(psutil.pid_exists(int(pid)) for pid in servers)


def test_one_that_was_killed_is_there_again_for_the_next_test_under_the_same_address():
    with local_aws() as aws:
        sqs = aws.client()
        endpoint = aws.endpoint
        os.kill(aws.pid, 9)
        assert until(lambda: psutil.Process(aws.pid).status() == psutil.STATUS_ZOMBIE)
        aws.reset()
        assert aws.endpoint == endpoint
        assert aws.client().list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert sqs is not None


# ------------------------------------------------------------------ what is missing, and what is wrong


def test_without_boto3_it_serves_and_client_says_what_to_install(tmp_path):
    done = project(
        tmp_path,
        """
        import sys
        import urllib.request

        sys.modules["boto3"] = None

        def test_any_client_will_do(fnqueue_aws):
            asked = urllib.request.Request(f"{fnqueue_aws.endpoint}/?Action=CreateQueue&QueueName=orders")
            with urllib.request.urlopen(asked) as answer:
                assert b"<QueueUrl>" in answer.read()

        def test_boto3(fnqueue_aws):
            fnqueue_aws.client("sqs")
        """,
    )
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    assert "client() needs the extra 'aws', which is not installed: pip install 'fnqueue[aws]'" in done.stdout


def test_without_uvicorn_it_says_what_to_install(tmp_path):
    (tmp_path / "missing").mkdir()
    (tmp_path / "missing/uvicorn.py").write_text("raise ImportError")
    done = project(
        tmp_path, "def test_it(fnqueue_aws): ...", env={"PYTHONPATH": f"{tmp_path}/missing:{os.pathsep.join(sys.path)}"}
    )
    assert "1 error" in done.stdout, done.stdout
    said = "the emulator did not start: uvicorn needs the extra 'emulator', which is not installed: pip install"
    assert said in done.stdout


def test_a_module_of_the_project_is_not_taken_for_one_of_the_standard_librarys(tmp_path):
    (tmp_path / "queue.py").write_text("raise RuntimeError('mine')")
    (tmp_path / "test_orders.py").write_text("def test_it(fnqueue_aws): ...")
    pytest_alone = [Path(sys.executable).with_name("pytest"), "-q", "-p", "no:cacheprovider", "-p", "no:django"]
    done = subprocess.run(
        [*pytest_alone, "--import-mode=importlib"],
        cwd=tmp_path, env={**environment(), "PYTHONPATH": ""}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout


@pytest.fixture(scope="module")
def aws():
    with local_aws() as aws:
        yield aws


def test_what_it_does_not_serve_and_what_is_no_account_are_said(aws: LocalAws):
    with pytest.raises(OptionInvalid, match=r"client\('s3'\): the emulator serves sqs and scheduler"):
        aws.client("s3")
    with pytest.raises(OptionInvalid, match="an account is twelve digits"):
        aws.client(account="1234")
    with pytest.raises(Exception, match="a clock is turned forward, got -1.0 seconds"):
        aws.advance(-1)


def test_a_clock_is_not_turned_off_the_calendar_however_many_times_it_is_turned(aws: LocalAws):
    aws.reset()
    for _ in range(26):
        aws.advance(days=110_000)
    for step in (110_000, 1e15):
        with pytest.raises(FnQueueError, match="a clock is turned to the year 9998 at most"):
            aws.advance(days=step)
    queue = aws.client().create_queue(QueueName="orders")["QueueUrl"]
    aws.client("scheduler").create_schedule(
        Name="each-minute",
        ScheduleExpression="rate(1 minute)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": f"arn:aws:sqs:us-east-1:{aws.account}:orders",
            "RoleArn": "arn:aws:iam::123456789012:role/any",
            "Input": "then",
        },
    )
    assert aws.client().receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"][0]["Body"] == "then"
    aws.reset()


def test_what_goes_wrong_in_it_is_in_the_report_of_the_test(tmp_path):
    done = project(
        tmp_path,
        """
        import os

        def test_it(fnqueue_aws):
            with open(f"/proc/{fnqueue_aws.pid}/fd/2", "a") as stderr:
                stderr.write("something went wrong\\n")
            assert False
        """,
    )
    if not Path("/proc/self/fd").exists():
        pytest.skip("there is no /proc here")
    assert "Captured fnqueue emulator teardown" in done.stdout
    assert "something went wrong" in done.stdout


# ------------------------------------------------------------------ unittest, and types


def test_unittest_has_it_without_pytest(tmp_path):
    (tmp_path / "test_orders.py").write_text(
        textwrap.dedent(
            """
            import os
            import sys
            import unittest
            from unittest import mock

            sys.modules["pytest"] = None
            from fnqueue.testing import local_aws

            class Orders(unittest.TestCase):
                @classmethod
                def setUpClass(cls):
                    cls.aws = cls.enterClassContext(local_aws())

                def setUp(self):
                    self.aws.reset()
                    self.enterContext(mock.patch.dict(os.environ, self.aws.environment))

                def test_one(self):
                    import boto3
                    with_the_environment = boto3.client("sqs")
                    self.addCleanup(with_the_environment.close)
                    with_the_environment.create_queue(QueueName="orders")
                    assert len(self.aws.client().list_queues()["QueueUrls"]) == 1

                test_two = test_one
            """
        )
    )
    done = run("unittest", "-v", "test_orders", cwd=tmp_path)
    assert "Ran 2 tests" in done.stderr and "OK" in done.stderr, done.stderr


def test_what_users_write_is_accepted_by_mypy(tmp_path):
    (tmp_path / "test_orders.py").write_text(
        textwrap.dedent(
            """
            from fnqueue.testing import LocalAws, local_aws

            def test_it(fnqueue_aws: LocalAws, fnqueue_aws_session: LocalAws) -> None:
                where: str = fnqueue_aws.endpoint + fnqueue_aws.url + fnqueue_aws.region + fnqueue_aws.account
                keys: tuple[str, str] = (fnqueue_aws.access_key, fnqueue_aws.secret_key)
                sqs = fnqueue_aws.client("sqs", account="1" * 12, region_name="eu-west-1")
                sqs.create_queue(QueueName="orders")
                now: float = fnqueue_aws.advance(60) + fnqueue_aws.advance(hours=1, days=2) + fnqueue_aws.now()
                options: dict[str, str] = fnqueue_aws.client_options
                for name, value in fnqueue_aws.environment.items():
                    print(name + value)

            with local_aws() as aws:
                aws.reset()
            """
        )
    )
    done = run("mypy", "--strict", "--config-file=", "test_orders.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
