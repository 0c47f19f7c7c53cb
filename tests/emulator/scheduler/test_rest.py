"""The wire: routes, headers, errors; and what no client sends. Never a 500, and the next one is served as before."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.emulator.clients import http_call, refused, row, signed
from tests.emulator.scheduler.words import Maker, queue_arn, rest


@row("W13", "W10")
def test_an_error_has_its_name_in_a_header_and_its_text_in_the_body(emulator_endpoint: str) -> None:
    answer = rest(emulator_endpoint, "GET", "/schedules/nope")
    assert answer.status == 404
    assert answer.headers["x-amzn-errortype"] == "ResourceNotFoundException"
    assert answer.headers["content-type"] == "application/json"
    assert len(answer.headers["x-amzn-requestid"]) == 36
    assert answer.json == {"Message": "Schedule nope does not exist."}


@row("W1", "W2", "W3", "W4", "W9")
def test_bare_requests_are_those_of_the_sheet(emulator_endpoint: str, make: Maker, account: str) -> None:
    body = {**make.members(), "StartDate": 4_000_000_000.5, "Name": "another"}
    made = rest(emulator_endpoint, "POST", "/schedules/a.b-c_d", body, account)
    arn = f"arn:aws:scheduler:us-east-1:{account}:schedule/default/a.b-c_d"
    assert (made.status, made.json) == (200, {"ScheduleArn": arn})
    shown = rest(emulator_endpoint, "GET", "/schedules/a.b-c_d?groupName=default", account=account).json
    assert shown["StartDate"] == 4_000_000_000.5
    assert isinstance(shown["CreationDate"], float)
    changed = rest(emulator_endpoint, "PUT", "/schedules/a.b-c_d", make.members(), account)
    assert changed.json == {"ScheduleArn": arn}
    gone = rest(emulator_endpoint, "DELETE", "/schedules/a.b-c_d?groupName=default&clientToken=x", account=account)
    assert (gone.status, gone.json) == (200, {})


@row("W4", "W5")
def test_a_query_is_read_by_the_names_of_its_operation_only(
    emulator_endpoint: str, scheduler: Any, make: Maker, account: str
) -> None:
    scheduler.create_schedule_group(Name="g")
    make(Name="a")
    make(Name="b", GroupName="g")

    def names(query: str) -> list[str]:
        answer = rest(emulator_endpoint, "GET", f"/schedules?{query}", account=account)
        return [each["Name"] for each in answer.json["Schedules"]]

    assert names("ScheduleGroup=g") == ["b"]
    assert names("GroupName=g") == names("groupName=g") == names("x=y") == ["a", "b"]
    assert rest(emulator_endpoint, "DELETE", "/schedules/b?GroupName=g", account=account).status == 404
    assert rest(emulator_endpoint, "DELETE", "/schedules/b?groupName=g&Name=a", account=account).status == 200
    assert names("") == ["a"]


def test_without_a_signature_the_path_says_whose_it_is(emulator_endpoint: str, sqs: Any) -> None:
    for path, name in (("/schedules", "Schedules"), ("/schedule-groups?MaxResults=1", "ScheduleGroups")):
        assert name in http_call(emulator_endpoint, "GET", path).json
    sqs.create_queue(QueueName="schedules")
    answer = http_call(emulator_endpoint, "GET", "/123456789012/schedules?Action=ReceiveMessage")
    assert b"QueueDoesNotExist" in answer.body or b"NonExistentQueue" in answer.body
    assert http_call(emulator_endpoint, "GET", "/schedules?Action=GetQueueAttributes").text.startswith("<?xml")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"), ("POST", "/schedules"), ("PATCH", "/schedules/a"), ("GET", "/schedules/"), ("PUT", "/schedules/"),
        ("GET", "/nothing"), ("POST", "/schedule-groups"), ("GET", "/tags"), ("GET", "//schedules/x/y"),
        ("DELETE", "/schedules"), ("GET", "/schedules%2Fa"), ("HEAD", "/schedules/a"), ("OPTIONS", "/schedules/a"),
    ],
)  # fmt: skip
def test_what_is_no_operation_is_not_found(emulator_endpoint: str, method: str, path: str) -> None:
    answer = rest(emulator_endpoint, method, path)
    assert answer.status in (400, 404)
    assert answer.headers["x-amzn-errortype"] in (
        "UnknownOperationException", "ValidationException", "ResourceNotFoundException",
    )  # fmt: skip


@row("W8")
def test_a_path_is_taken_apart_before_it_is_decoded(emulator_endpoint: str, make: Maker, account: str) -> None:
    make(Name="a")
    assert rest(emulator_endpoint, "GET", "/schedules/%61", account=account).json["Name"] == "a"
    for path in ("/schedules%2Fa", "/schedules/%2561"):
        answer = rest(emulator_endpoint, "GET", path, account=account)
        assert answer.headers["x-amzn-errortype"] in ("UnknownOperationException", "ValidationException")


@pytest.mark.parametrize(
    "path",
    [
        "/schedules/a%20b", "/schedules/a%2Fb", "/schedules/%FF", "/schedules/%00", "/schedules/" + "a" * 5000,
        "/schedules/a/b", "/tags/arn%3Aaws", "/tags/%", "/schedules?MaxResults=x",
        "/schedules?MaxResults=-1", "/schedules?MaxResults=99999999999999999999", "/schedules?NextToken=",
        "/schedules?NextToken=%FF", "/schedules?State=ON", "/schedules?ScheduleGroup=", "/schedules?NamePrefix=%25",
        "/schedules?" + "&".join(f"a{number}=" for number in range(400)), "/schedule-groups?NamePrefix=a%20b",
    ],
)  # fmt: skip
def test_odd_paths_and_queries_are_a_400(emulator_endpoint: str, path: str) -> None:
    answer = rest(emulator_endpoint, "GET", path)
    assert answer.status == 400, answer.body
    assert set(answer.json) == {"Message"}


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"null", b'"x"', b"\xff", b"{}" * 2, b"[" * 100_000, b'{"Target": []}', b'{"Target": {"Arn": 1}}',
        b'{"StartDate": "2030-01-01"}', b'{"StartDate": true}', b'{"StartDate": 1e400}', b'{"Description": "\\ud800"}',
        b'{"FlexibleTimeWindow": "OFF"}', b'{"Target": {"RetryPolicy": {"MaximumRetryAttempts": 1.5}}}', b"",
        b'{"Target": {"RetryPolicy": {"MaximumRetryAttempts": 99999999999999999999}}}', b'{"State": {}}',
    ],
)  # fmt: skip
def test_bodies_that_are_none_are_a_400(emulator_endpoint: str, body: bytes) -> None:
    answer = rest(emulator_endpoint, "POST", "/schedules/s", body)
    assert answer.status == 400, answer.body
    assert answer.headers["x-amzn-errortype"] in ("SerializationException", "ValidationException")


def test_two_megabytes_are_refused_and_nine_are_not_read(emulator_endpoint: str, make: Maker, account: str) -> None:
    large = make.members(Target={"Input": "x" * 2 * 1024 * 1024})
    assert rest(emulator_endpoint, "POST", "/schedules/s", large, account).status == 400
    large = make.members(Description="x" * 2 * 1024 * 1024)
    answer = rest(emulator_endpoint, "POST", "/schedules/s", large, account)
    assert answer.status == 400
    assert len(answer.body) < 10_000
    assert rest(emulator_endpoint, "POST", "/schedules/s", b" " * 9 * 1024 * 1024, account).status == 413


@pytest.mark.parametrize("headers", [{"Origin": "https://page.example.com"}, {"Host": "page.example.com:9324"}])
def test_a_web_page_neither_makes_nor_reads_a_schedule(
    emulator_endpoint: str, scheduler: Any, make: Maker, account: str, headers: dict[str, str]
) -> None:
    make(Name="there")
    for method, path, body in (
        ("GET", "/schedules/there", None), ("POST", "/schedules/new", make.members()),
        ("DELETE", "/schedules/there", None), ("GET", "/_schedules", None),
    ):  # fmt: skip
        assert rest(emulator_endpoint, method, path, body, account, **headers).status == 403
        assert http_call(emulator_endpoint, method, path, **headers).status == 403
    assert [each["Name"] for each in scheduler.list_schedules()["Schedules"]] == ["there"]


# ------------------------------------------------------------------ anything at all

_NAMES = st.sampled_from(
    [
        *("Name", "GroupName", "ScheduleExpression", "ScheduleExpressionTimezone", "StartDate", "EndDate", "State"),
        *("Description", "Target", "FlexibleTimeWindow", "ClientToken", "ActionAfterCompletion", "KmsKeyArn", "Tags"),
        *("Arn", "RoleArn", "Input", "RetryPolicy", "DeadLetterConfig", "SqsParameters", "EcsParameters", "Mode"),
        *("MaximumWindowInMinutes", "MaximumRetryAttempts", "MessageGroupId", "Key", "Value"),
    ]
)
_TEXTS = st.sampled_from(
    [
        *(
            "rate(1 hour)",
            "rate(99999999999 days)",
            "rate(999999999 days)",
            "cron(* * * * ? *)",
            "cron(0 0 1 1 ? 1970)",
        ),
        *("at(9999-12-31T23:59:59)", "at(0001-01-01T00:00:00)", "at(2026-01-01T00:00:00)", "Pacific/Apia", "UTC", "."),
        *("OFF", "FLEXIBLE", "ENABLED", "DISABLED", "DELETE", "default", "", "\x00", "a\nb", "é", "../..", "x" * 3000),
        queue_arn("1" * 12),
        queue_arn("1" * 12, "q.fifo"),
        "arn:aws:scheduler:::aws-sdk:sqs:sendMessage",
        "arn:aws:iam::123456789012:role/x",
        '{"QueueUrl": "q", "MessageBody": "<aws.scheduler.scheduled-time>"}',
    ]
)
_SMALL = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS | st.text()
)
_JSON = st.recursive(_SMALL, lambda each: st.lists(each, max_size=3) | st.dictionaries(_NAMES, each, max_size=5))


@st.composite
def _likely(draw: st.DrawFn) -> dict[str, Any]:
    """A request as it should be, with some of it changed."""
    target = {"Arn": queue_arn("1" * 12), "RoleArn": "arn:aws:iam::123456789012:role/x", "Input": "x"}
    whole: dict[str, Any] = {
        "ScheduleExpression": draw(_TEXTS), "FlexibleTimeWindow": {"Mode": "OFF"}, "Target": target,
    }  # fmt: skip
    target.update(draw(st.dictionaries(_NAMES, _JSON, max_size=2)))
    whole.update(draw(st.dictionaries(_NAMES, _JSON, max_size=2)))
    return whole


_PATHS = st.sampled_from(["/schedules/s", "/schedules", "/schedule-groups/g", "/schedule-groups", "/tags/a"]) | st.text(
    st.characters(min_codepoint=33, max_codepoint=126), max_size=30
).map(lambda text: f"/schedules/{text}")


@pytest.mark.timeout(300)
def test_whatever_is_sent_is_answered_and_never_with_a_500(
    emulator_endpoint: str, scheduler: Any, account: str
) -> None:
    answers: dict[tuple[str, int], int] = {}

    @settings(
        max_examples=400,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
        path=_PATHS,
        body=_likely().map(lambda each: json.dumps(each).encode())
        | _JSON.map(lambda each: json.dumps(each).encode())
        | st.binary(max_size=200),
    )
    def send(method: str, path: str, body: bytes) -> None:
        answer = http_call(
            emulator_endpoint, method, path, body, Authorization=signed(account, service="scheduler")
        )  # fmt: skip
        assert answer.status < 500, (method, path, body, answer.body)
        answers[method, answer.status] = answers.get((method, answer.status), 0) + 1

    send()
    assert all(answers[method, 400] > 0 for method in ("GET", "POST", "PUT", "DELETE"))
    assert answers["POST", 200] > 0, "some of it is a schedule"
    assert scheduler.list_schedules()["Schedules"] is not None


def test_what_fires_of_what_was_sent_stops_nobody(emulator_endpoint: str, make: Maker, sqs: Any, queue: str) -> None:
    assert refused(make, Target={"Arn": "nothing"}).status == 400
    make()
    assert len(sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]) == 1
