"""`fnqueue schedule sync --to eventbridge` against EventBridge Scheduler and SQS, over HTTP: moto's and our own
emulator's, which also fires what was synced."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import boto3
import pytest

from fnqueue.security.keyring import new_key
from tests.commands import run
from tests.servers import EmulatorProcess

pytestmark = pytest.mark.aws

ROLE = "arn:aws:iam::123456789012:role/fnqueue-schedules"
SHOP = """
from datetime import datetime, UTC
from fnqueue import FnQueue
from fnqueue.policies import from_schedule

fn = FnQueue()

@fn.schedule("cron(0 9 ? * MON-FRI *)", timezone="Europe/Berlin", name="morning", args=("secret-word",))
@fn.schedule("rate(1 days)", name="daily", flexible_minutes=15, misfire="skip")
@fn.task(policy=from_schedule)
def report(word: str = "") -> None: ...
"""


EFFECT = """
@fn.schedule("rate(1 minute)", name="often", args=("<aws.scheduler.scheduled-time>",))
@fn.task(name="effect", policy=from_schedule)
def effect(at: datetime) -> None:
    with open("effects", "a") as file:
        file.write(f"{at:%H:%M:%S}\\n")
"""


@pytest.fixture(params=["moto", "emulator"])
def endpoint(request):
    return request.getfixturevalue({"moto": "moto_endpoint", "emulator": "own_emulator"}[request.param])


@pytest.fixture(scope="module")
def own_emulator():
    """By the machine's time: the clock of the one that all tests share is turned."""
    pytest.importorskip("uvicorn")
    process = EmulatorProcess(":memory:")
    yield process.endpoint
    process.end()


@pytest.fixture
def aws(endpoint, request, monkeypatch, project):
    """A project on a server."""
    prefix = f"{abs(hash(request.node.nodeid)) % 10**8}-{os.getpid()}-"
    settings = {
        "FNQUEUE_URL": f"sqs://us-east-1/{prefix}?endpoint={endpoint}",
        "FNQUEUE_STORE_URL": "sqlite:///records.db",
        "FNQUEUE_ENVIRONMENT": f"e{prefix}".rstrip("-"),
        "FNQUEUE_KEYS": new_key(),
        "FNQUEUE_SCHEDULE_ROLE_ARN": ROLE,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    made = Aws(endpoint, settings, project)
    yield made
    made.clean()


class Aws:
    def __init__(self, endpoint, settings, project):
        self.client = boto3.client("scheduler", region_name="us-east-1", endpoint_url=endpoint)
        self.endpoint, self.settings, self.project = endpoint, settings, project
        self.group = f"fnqueue-{settings['FNQUEUE_ENVIRONMENT']}"

    def clean(self):
        """The emulator's would go on firing."""
        groups = self.client.list_schedule_groups(NamePrefix=self.group)["ScheduleGroups"]
        for each in groups:
            self.client.delete_schedule_group(Name=each["Name"])
        self.client.close()

    def names(self):
        """moto has no group that is missing."""
        with contextlib.suppress(self.client.exceptions.ResourceNotFoundException):
            return {each["Name"] for each in self.client.list_schedules(GroupName=self.group)["Schedules"]}
        return set()

    def get(self, name):
        return self.client.get_schedule(GroupName=self.group, Name=name)

    def edit(self, name, **members):
        there = self.get(name)
        kept = {key: value for key, value in there.items() if value is not None and key in _REQUEST}
        self.client.update_schedule(GroupName=self.group, Name=name, **{**kept, **members})


_REQUEST = (
    *("Description", "EndDate", "FlexibleTimeWindow", "KmsKeyArn", "ScheduleExpression"),
    *("ScheduleExpressionTimezone", "StartDate", "State", "Target"),
)


@pytest.fixture
def sync(fnqueue, aws):
    aws.project(shop=SHOP)
    assert fnqueue("queues", "create", "--app", "shop").exit_code == 0

    return lambda *options: fnqueue("schedule", "sync", "--to", "eventbridge", "--app", "shop", *options)


def lines(done):
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


# ---------------------------------------------------------------- plan and apply


def test_a_plan_shows_what_would_be_done_and_does_nothing(sync, aws, fnqueue):
    assert lines(sync("--plan")) == ["+ daily: create", "+ morning: create", "0 unchanged"]
    assert aws.names() == set()
    assert "there is no schedule yet" in fnqueue("schedule", "list", "--app", "shop").output


def test_it_is_made_as_said_and_a_second_time_nothing_differs(sync, aws):
    made = lines(sync())
    assert made == ["store: daily: made", "store: morning: made", "+ daily: create", "+ morning: create", "0 unchanged"]
    assert lines(sync()) == ["2 unchanged"]
    morning = aws.get("morning")
    assert morning["ScheduleExpression"] == "cron(0 9 ? * MON-FRI *)"
    assert (morning["ScheduleExpressionTimezone"], morning["State"]) == ("Europe/Berlin", "ENABLED")
    assert morning["FlexibleTimeWindow"] == {"Mode": "OFF"}
    target = morning["Target"]
    prefix = urlsplit(aws.settings["FNQUEUE_URL"]).path[1:]
    assert target["Arn"] == f"arn:aws:sqs:us-east-1:123456789012:{prefix}default"
    assert target["RoleArn"] == ROLE
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}
    assert re.fullmatch(r"fqs1\.[\w-]+\.<aws\.scheduler\.scheduled-time>", target["Input"])
    assert "secret-word" not in json.dumps(morning, default=str)


def test_a_rate_agrees_in_number_and_has_a_start_among_its_own_times(sync, aws, fnqueue):
    lines(sync())
    daily = aws.get("daily")
    assert daily["ScheduleExpression"] == "rate(1 day)"
    assert daily["FlexibleTimeWindow"] == {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15}
    assert daily["Target"]["RetryPolicy"]["MaximumEventAgeInSeconds"] == 60  # misfire="skip"
    told = json.loads(fnqueue("schedule", "show", "daily", "--app", "shop", "--json").stdout)
    start = daily["StartDate"].astimezone(UTC)
    assert (start - datetime.fromisoformat(told["next_at"])) % timedelta(days=1) == timedelta(0)
    assert start > datetime.now(UTC) - timedelta(minutes=5), "AWS takes no older one"


def test_what_code_says_otherwise_is_changed_and_the_rest_left_alone(sync, aws):
    lines(sync())
    forget()
    aws.project(shop=SHOP.replace("0 9 ?", "0 10 ?").replace("secret-word", "other-word"))
    planned = lines(sync("--plan"))
    assert planned[0] == "~ morning: update"
    assert "    ScheduleExpression: cron(0 9 ? * MON-FRI *) -> cron(0 10 ? * MON-FRI *)" in planned
    assert "    ticket.args: other -> sealed" in planned
    assert planned[-1] == "1 unchanged"
    assert aws.get("morning")["ScheduleExpression"] == "cron(0 9 ? * MON-FRI *)"
    lines(sync())
    assert aws.get("morning")["ScheduleExpression"] == "cron(0 10 ? * MON-FRI *)"
    assert lines(sync()) == ["2 unchanged"]


def test_what_somebody_edited_there_is_told_field_by_field_and_changed_back(sync, aws):
    lines(sync())
    before = aws.get("morning")
    aws.edit(
        "morning",
        ScheduleExpression="rate(1 minute)",
        State="DISABLED",
        EndDate=datetime(2099, 1, 1, tzinfo=UTC),
        KmsKeyArn="arn:aws:kms:us-east-1:123456789012:key/theirs",
        Target={**before["Target"], "Input": "fqs1.AAAA.<aws.scheduler.scheduled-time>", "RoleArn": ROLE + "-other"},
    )
    told = lines(sync())
    assert told[0] == "~ morning: update"
    revision = re.search(r"revision \d+", "\n".join(told))
    assert revision
    assert set(told[1:-1]) == {
        "    ScheduleExpression: rate(1 minute) -> cron(0 9 ? * MON-FRI *)",
        "    State: DISABLED -> ENABLED",
        "    EndDate: 2099-01-01T00:00:00+00:00 -> none",
        f"    Target.RoleArn: {ROLE}-other -> {ROLE}",
        f"    ticket: one that no key of ours opens -> {revision[0]}",
    }
    after = aws.get("morning")
    assert after["KmsKeyArn"].endswith("key/theirs"), "a key that was chosen there is not ours to take away"
    assert (after["State"], after["Target"]["RoleArn"]) == ("ENABLED", ROLE)
    assert lines(sync()) == ["2 unchanged"]


def test_a_paused_schedule_is_disabled_there_and_a_resumed_one_enabled(sync, aws, fnqueue):
    lines(sync())
    fnqueue("schedule", "pause", "morning", "--app", "shop")
    assert lines(sync()) == ["~ morning: update", "    State: ENABLED -> DISABLED", "1 unchanged"]
    fnqueue("schedule", "resume", "morning", "--app", "shop")
    lines(sync())
    assert aws.get("morning")["State"] == "ENABLED"


def test_what_is_not_in_the_store_is_deleted_when_asked_and_others_never(sync, aws, fnqueue):
    lines(sync())
    there = aws.get("morning")
    for name, text in (("theirs", "{}"), ("foreign", "fqs1.AAAA.<aws.scheduler.scheduled-time>")):
        aws.client.create_schedule(
            GroupName=aws.group,
            Name=name,
            ScheduleExpression="rate(1 day)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={**there["Target"], "Input": text},
        )
    forget()
    aws.project(
        shop=SHOP.replace('@fn.schedule("rate(1 days)", name="daily", flexible_minutes=15, misfire="skip")', "")
    )
    fnqueue("schedule", "sync", "--prune", "--app", "shop")
    assert lines(sync())[0] == "- daily: delete with --prune (it is not in the store)"
    aws.get("daily")
    told = lines(sync("--prune"))
    assert told[0] == "- daily: delete (it is not in the store)"
    assert told[1].startswith("? foreign: left alone")
    assert told[2].startswith("? theirs: left alone")
    assert aws.names() == {"morning", "theirs", "foreign"}


@pytest.mark.parametrize("options", [(), ("--prune",)])
def test_another_environment_that_shares_a_group_and_the_keys_keeps_its_schedules(sync, aws, monkeypatch, options):
    lines(sync())
    before = aws.get("morning")["Target"]["Input"]
    theirs = aws.settings["FNQUEUE_ENVIRONMENT"]
    monkeypatch.setenv("FNQUEUE_ENVIRONMENT", "staging")
    monkeypatch.setenv("FNQUEUE_STORE_URL", "sqlite:///staging.db")
    forget()
    told = lines(sync("--group", aws.group, *options))
    why = f"its ticket is of environment {theirs!r}: choose another --group"
    assert told[2:] == [f"? daily: left alone ({why})", f"? morning: left alone ({why})", "0 unchanged"]
    assert aws.get("morning")["Target"]["Input"] == before


def test_after_a_key_rotation_tickets_are_sealed_anew(sync, aws, fnqueue, monkeypatch):
    lines(sync())
    monkeypatch.setenv("FNQUEUE_KEYS", f"accept:{aws.settings['FNQUEUE_KEYS']},primary:{new_key()}")
    forget()
    told = lines(sync())
    assert re.fullmatch(r"    ticket\.sealed with: key \w{8} -> key \w{8}", told[1])
    assert lines(sync()) == ["2 unchanged"]


def test_a_hundred_and_twenty_schedules_are_read_page_by_page(sync, aws):
    forget()
    many = "\n".join(f'fn.schedule("rate(1 hour)", name="s{n:03}")(report)' for n in range(120))
    aws.project(shop=SHOP + many)
    lines(sync())
    assert lines(sync()) == ["122 unchanged"]


# ---------------------------------------------------------------- and it runs


@pytest.mark.system
@pytest.mark.parametrize("endpoint", ["emulator"], indirect=True)
def test_the_emulator_fires_what_was_synced_and_a_worker_runs_it_once(sync, aws):
    """The whole trip: from the code to the emulator, its ticket to the queue at its time, and into a worker."""
    forget()
    folder = aws.project(shop=SHOP.partition("@fn.schedule")[0] + EFFECT)
    lines(sync())
    start = aws.get("often")["StartDate"].astimezone(UTC)
    sqs = boto3.client("sqs", region_name="us-east-1", endpoint_url=aws.endpoint)
    prefix = urlsplit(aws.settings["FNQUEUE_URL"]).path[1:]
    url = sqs.get_queue_url(QueueName=f"{prefix}default")["QueueUrl"]
    found = receive(sqs, url, start)
    assert re.fullmatch(r"fqs1\.[\w-]+\.20[0-9T:-]+Z", found["Body"])
    time = found["Body"].rpartition(".")[2]
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=found["ReceiptHandle"], VisibilityTimeout=0)
    sqs.send_message(QueueUrl=url, MessageBody=found["Body"])  # EventBridge may send one twice
    worker = ("fnqueue", "worker", "--app", "shop", "--burst", "--no-schedule", "--log-format", "text")
    done = run(*worker, cwd=folder, env={**aws.settings, "FNQUEUE_WAIT_TIME_SECONDS": "1"})
    assert (folder / "effects").read_text().splitlines().count(time[11:19]) == 1, done.stderr
    sqs.close()


def receive(sqs, url, start):
    """What the emulator sends first: the start is at most a minute away."""
    until = max(start, datetime.now(UTC)) + timedelta(seconds=65)
    while datetime.now(UTC) < until:
        got = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20).get("Messages")
        if got:
            return got[0]
    raise AssertionError("nothing was fired")


@pytest.mark.system
@pytest.mark.parametrize("endpoint", ["moto"], indirect=True)
def test_what_it_sends_runs_once_in_a_worker_that_does_not_tick(sync, aws, fnqueue):
    forget()
    folder = aws.project(shop=SHOP + EFFECT)
    lines(sync())
    often = aws.get("often")
    sqs = boto3.client("sqs", region_name="us-east-1", endpoint_url=aws.endpoint)
    url = sqs.get_queue_url(QueueName=often["Target"]["Arn"].rpartition(":")[2])["QueueUrl"]
    start = often["StartDate"].astimezone(UTC)
    for time in (start, start, start + timedelta(seconds=1)):
        body = often["Target"]["Input"].replace("<aws.scheduler.scheduled-time>", f"{time:%Y-%m-%dT%H:%M:%SZ}")
        sqs.send_message(QueueUrl=url, MessageBody=body)
    worker = ("fnqueue", "worker", "--app", "shop", "--burst", "--no-schedule", "--log-format", "text")
    done = run(*worker, cwd=folder, env={**aws.settings, "FNQUEUE_WAIT_TIME_SECONDS": "1"})
    assert (folder / "effects").read_text() == f"{start:%H:%M:%S}\n", done.stderr
    assert "NO_OCCURRENCE" in done.stderr
    assert f"{start:%Y-%m-%d %H:%M:%S}" in fnqueue("schedule", "list", "--app", "shop").stdout


# ---------------------------------------------------------------- FIFO


def test_on_a_fifo_queue_it_has_a_group_and_the_queue_deduplicates_by_content(sync, aws, fnqueue):
    forget()
    fifo = 'fn.schedule("rate(1 hour)", name="ordered", queue="orders.fifo", group="7", group_clear=True)(report)\n'
    aws.project(shop=SHOP + fifo)
    made = fnqueue("queues", "create", "orders.fifo", "--app", "shop")
    assert made.exit_code == 0, made.output
    lines(sync())
    assert aws.get("ordered")["Target"]["SqsParameters"] == {"MessageGroupId": "7"}
    queue = urlsplit(aws.settings["FNQUEUE_URL"]).path[1:] + "orders.fifo"
    sqs = boto3.client("sqs", region_name="us-east-1", endpoint_url=aws.endpoint)
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"ContentBasedDeduplication": "false"})
    refused = sync()
    assert refused.exit_code == 1
    assert "content-based deduplication is off in orders.fifo" in refused.stderr


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("cron(0 22-2 * * ? *)", "hours 22-2: AWS does not say that a range may go round the end; write 0,1,2,22,23"),
        ("cron(0 9 ? * FRI-MON *)", "day-of-week FRI-MON: .* write SUN,MON,FRI,SAT"),
        ("cron(0 9 LW * ? *)", "day-of-month LW: .*write L"),
        ("cron(0 9 ? * L *)", "day-of-week L: .*write SAT"),
        ("cron(0 9 31W * ? *)", "day-of-month 31W: .*write 28W"),
    ],
)
def test_what_aws_has_not_said_how_it_reads_is_not_published(sync, aws, expression, text):
    forget()
    aws.project(shop=SHOP + f'fn.schedule("{expression}", name="odd")(report)\n')
    done = sync("--plan")
    assert done.exit_code == 1
    assert re.search(f"schedule odd: {text}", done.stderr), done.stderr


def test_a_cron_in_most_hours_of_a_zone_with_clock_changes_is_published_with_a_warning(sync, aws):
    forget()
    odd = 'fn.schedule("cron(0 * * * ? *)", timezone="Europe/Berlin", name="odd")(report)\n'
    aws.project(shop=SHOP + odd)
    done = sync("--plan")
    assert "+ odd: create" in lines(done)
    assert "the hour that a clock change repeats" in done.stderr


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--role-arn", "admin"], "--role-arn 'admin': must be like arn:aws:iam::"),
        (["--group", "a b"], "schedule group 'a b'"),
        (["--dead-letter-arn", "arn:aws:sqs:us-east-1:123456789012:x.fifo"], "must be the ARN of a standard SQS queue"),
    ],
)
def test_a_wrong_option_is_told(sync, options, text):
    done = sync(*options)
    assert done.exit_code == 1
    assert text in done.stderr


def test_without_a_role_or_without_sqs_it_says_what_is_missing(sync, monkeypatch):
    monkeypatch.delenv("FNQUEUE_SCHEDULE_ROLE_ARN")
    assert "EventBridge needs a role" in sync().stderr
    monkeypatch.setenv("FNQUEUE_URL", "sqlite:///q.db")
    monkeypatch.delenv("FNQUEUE_STORE_URL")
    forget()
    assert "EventBridge sends to Amazon SQS, and FNQUEUE_URL is" in sync("--role-arn", ROLE).stderr


def test_a_queue_that_is_missing_is_told(sync, aws):
    forget()
    aws.project(shop=SHOP + 'fn.schedule("rate(1 hour)", name="odd", queue="nowhere")(report)\n')
    assert "queue 'nowhere' does not exist" in sync("--plan").stderr


# ---------------------------------------------------------------- a server that is busy


@pytest.fixture
def throttling(aws):
    """In front of moto: each kind of request is refused twice before it gets through."""
    seen: dict[str, int] = {}
    host = urlsplit(aws.endpoint)

    class Busy(BaseHTTPRequestHandler):
        def handle_any(self):
            key = f"{self.command} {self.path.partition('?')[0]}"
            seen[key] = seen.get(key, 0) + 1
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if seen[key] <= 2:
                self.answer(429, {"x-amzn-ErrorType": "ThrottlingException"}, b'{"Message":"Rate exceeded"}')
                return
            upstream = HTTPConnection(host.hostname or "", host.port)
            upstream.request(self.command, self.path, body, dict(self.headers))
            found = upstream.getresponse()
            kept = {name: value for name, value in found.getheaders() if name.lower() == "x-amzn-errortype"}
            self.answer(found.status, {"Content-Type": "application/json", **kept}, found.read())
            upstream.close()

        do_GET = do_POST = do_PUT = do_DELETE = handle_any

        def answer(self, status, headers, body):
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


def test_a_busy_eventbridge_is_asked_again(sync, aws, throttling):
    endpoint, seen = throttling
    lines(sync("--endpoint-url", endpoint))
    assert aws.names() == {"daily", "morning"}
    assert seen["POST /schedules/daily"] == 3


def forget():
    """A new process would import it anew."""
    sys.modules.pop("shop", None)
