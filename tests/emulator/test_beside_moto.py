"""The same random operations at moto's server and at ours: every difference is a row of the specification sheet.

Each operation's outcome is compared as a client sees it. Where a row says that moto has it wrong, the operation is not
drawn in that form, or the difference is named in `EXPLAINED` and counted as seen; any other one fails.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.emulator.clients import client

pytest.importorskip("moto.server")

Members = dict[str, Any]


def empty(asked: Members) -> bool:
    return asked["MessageBody"] == ""


def illegal(asked: Members) -> bool:
    return "\x00" in asked["MessageBody"]


def negative(asked: Members) -> bool:
    return asked.get("DelaySeconds", 0) < 0


def never(asked: Members) -> bool:
    return False


def always(asked: Members) -> bool:
    return True


#: (operation, moto's answer, ours) -> the row that explains it, and of which requests it may be said
EXPLAINED: dict[tuple[str, str, str], tuple[str, Callable[[Members], bool]]] = {
    ("change", "ReceiptHandleIsInvalid", "InvalidParameterValue"): ("V3: what is deleted is not available", always),
    ("send", "ok", "InvalidMessageContents"): ("M4: moto takes any character", illegal),
    ("send", "InvalidParameterValue", "InvalidMessageContents"): ("M4: the body is looked at first", illegal),
    ("send", "ok", "MissingParameter"): ("M2: moto takes an empty body", empty),
    ("send", "InvalidParameterValue", "MissingParameter"): ("M2: the body is looked at first", empty),
    ("send", "ok", "InvalidParameterValue"): ("M5: moto takes a negative delay", negative),
    ("set", "ok", "InvalidAttributeValue"): ("A4: moto takes numbers out of range", always),
    ("set", "ok", "InvalidAttributeName"): ("A2: moto takes any name", lambda asked: "Nonsense" in asked["Attributes"]),
    ("delete batch", "ok", "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"): (
        "B1: moto looks whether handles are distinct, not ids",
        lambda asked: len({entry["Id"] for entry in asked["Entries"]}) < len(asked["Entries"]),
    ),
    ("purge", "AWS.SimpleQueueService.PurgeQueueInProgress", "ok"): ("G2: only with --strict", always),
}
NAMES = ["a", "b", "c.fifo"]
BODIES = st.sampled_from(["hello", "é✓", "x" * 300, "", "nul\x00", "<&>"])


def outcome(call: Any, **members: Any) -> tuple[str, dict[str, Any]]:
    try:
        answer = call(**members)
    except ClientError as error:
        return error.response["Error"]["Code"], {}
    answer.pop("ResponseMetadata")
    return "ok", answer


class Beside(RuleBasedStateMachine):
    """Two servers, and what each calls the same queue and the same delivery."""

    moto: Any
    ours: Any

    def __init__(self) -> None:
        super().__init__()
        account = str(10**11 + secrets.randbelow(9 * 10**11))
        self._servers = [client(self.moto_endpoint, "x"), client(self.emulator_endpoint, account)]
        self._urls: dict[str, list[str]] = {}
        self._deliveries: list[tuple[str, list[str]]] = []

    moto_endpoint = ""
    emulator_endpoint = ""

    def both(self, operation: str, verb: str, members: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Both answers; fails at a difference that no row explains."""
        pairs = zip(self._servers, members, strict=True)
        (theirs, first), (mine, second) = [outcome(getattr(server, verb), **one) for server, one in pairs]
        if theirs != mine:
            _, may_be_said = EXPLAINED.get((operation, theirs, mine), ("", never))
            assert may_be_said(members[1]), (operation, theirs, mine, members)
        self.agreed = theirs == mine == "ok"
        self.ours_done = mine == "ok"
        self.differ = theirs != mine
        return [first, second]

    @initialize()
    def make(self) -> None:
        for name in NAMES:
            self._make(name)

    def _make(self, name: str) -> None:
        fifo = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        unique = f"{secrets.token_hex(6)}-{name}"
        given = {"QueueName": unique, "Attributes": {"VisibilityTimeout": "900", **fifo}}
        answers = self.both("create", "create_queue", [given, given])
        self._urls[name] = [answer["QueueUrl"] for answer in answers]

    def _forget(self, name: str) -> None:
        """After a difference the two queues hold different things: both are replaced."""
        self._drop(name)
        self._make(name)
        self._deliveries = [one for one in self._deliveries if one[0] != name]

    def _drop(self, name: str) -> None:
        for server, url in zip(self._servers, self._urls[name], strict=True):
            server.delete_queue(QueueUrl=url)

    @rule(
        name=st.sampled_from(["a", "b"]),
        body=BODIES,
        delay=st.sampled_from([None, 0, 900, 901, -1]),
        attributes=st.sampled_from([None, {"n": "Number", "s": "String", "l": "String.label"}]),
    )
    def send(self, name: str, body: str, delay: int | None, attributes: dict[str, str] | None) -> None:
        members: dict[str, Any] = {"MessageBody": body}
        if delay is not None:
            members["DelaySeconds"] = delay
        if attributes:
            members["MessageAttributes"] = {n: {"DataType": t, "StringValue": "7"} for n, t in attributes.items()}
        self._send(name, members)

    @rule(
        body=BODIES,
        group=st.sampled_from(["g1", "g2"]),
        dedupe=st.integers(0, 5),
    )
    def send_fifo(self, body: str, group: str, dedupe: int) -> None:
        self._send("c.fifo", {"MessageBody": body, "MessageGroupId": group, "MessageDeduplicationId": f"d{dedupe}"})

    def _send(self, name: str, members: dict[str, Any]) -> None:
        answers = self.both("send", "send_message", [{"QueueUrl": url, **members} for url in self._urls[name]])
        if self.differ:
            self._forget(name)
        elif self.agreed:
            for member in ("MD5OfMessageBody", "MD5OfMessageAttributes"):
                assert answers[0].get(member) == answers[1].get(member)
            assert set(answers[0]) == set(answers[1])

    @rule(name=st.sampled_from(["a", "b"]))
    def receive(self, name: str) -> None:
        """One at a time, of standard queues: moto's FIFO order has other rules (F9, F11, F12)."""
        asked = {
            "MaxNumberOfMessages": 1, "AttributeNames": ["All"], "MessageAttributeNames": ["All"],
        }  # fmt: skip
        answers = self.both("receive", "receive_message", [{"QueueUrl": url, **asked} for url in self._urls[name]])
        found = [answer.get("Messages", []) for answer in answers]
        assert len(found[0]) == len(found[1])
        if not found[0]:
            return
        first, second = found[0][0], found[1][0]
        assert (first["Body"], first["MD5OfBody"]) == (second["Body"], second["MD5OfBody"])
        assert first.get("MessageAttributes") == second.get("MessageAttributes")
        assert first.get("MD5OfMessageAttributes") == second.get("MD5OfMessageAttributes")
        counts = {one["Attributes"]["ApproximateReceiveCount"] for one in (first, second)}
        assert len(counts) == 1
        self._deliveries.append((name, [first["ReceiptHandle"], second["ReceiptHandle"]]))

    @precondition(lambda self: self._deliveries)
    @rule(data=st.data(), again=st.booleans())
    def delete(self, data: st.DataObject, again: bool) -> None:
        """Of the newest delivery of each message only: an old handle deletes at moto (V8)."""
        at = data.draw(st.integers(0, len(self._deliveries) - 1))
        name, handles = self._deliveries.pop(at)
        for _ in range(1 + again):
            urls = zip(self._urls[name], handles, strict=True)
            self.both("delete", "delete_message", [{"QueueUrl": url, "ReceiptHandle": one} for url, one in urls])

    @precondition(lambda self: self._deliveries)
    @rule(data=st.data(), seconds=st.sampled_from([0, 60, 43_000, 43_201]))
    def change(self, data: st.DataObject, seconds: int) -> None:
        at = data.draw(st.integers(0, len(self._deliveries) - 1))
        name, handles = self._deliveries[at]
        if seconds == 0:
            self._deliveries.pop(at)
        urls = zip(self._urls[name], handles, strict=True)
        members = [{"QueueUrl": url, "ReceiptHandle": one, "VisibilityTimeout": seconds} for url, one in urls]
        self.both("change", "change_message_visibility", members)
        if self.differ or seconds == 0:  # moto shows it at another place in the line
            self._forget(name)

    @rule(
        name=st.sampled_from(NAMES),
        attribute=st.sampled_from(
            ["DelaySeconds", "MessageRetentionPeriod", "Nonsense", "ReceiveMessageWaitTimeSeconds"]
        ),
        value=st.sampled_from(["0", "60", "1209600", "99999999"]),
    )
    def set_attribute(self, name: str, attribute: str, value: str) -> None:
        if attribute in ("DelaySeconds", "ReceiveMessageWaitTimeSeconds"):
            value = "0" if value == "60" else value
        members = [{"QueueUrl": url, "Attributes": {attribute: value}} for url in self._urls[name]]
        self.both("set", "set_queue_attributes", members)
        if self.differ:
            self._forget(name)
        elif self.agreed:
            self._same_attribute(name, attribute)

    def _same_attribute(self, name: str, attribute: str) -> None:
        members = [{"QueueUrl": url, "AttributeNames": [attribute]} for url in self._urls[name]]
        first, second = self.both("get", "get_queue_attributes", members)
        assert first["Attributes"] == second["Attributes"]

    @rule(name=st.sampled_from(["a", "b"]))
    def count(self, name: str) -> None:
        kinds = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
        members = [{"QueueUrl": url, "AttributeNames": kinds} for url in self._urls[name]]
        first, second = self.both("get", "get_queue_attributes", members)
        assert first["Attributes"] == second["Attributes"]

    @rule(name=st.sampled_from(NAMES))
    def purge(self, name: str) -> None:
        self.both("purge", "purge_queue", [{"QueueUrl": url} for url in self._urls[name]])
        self._forget(name)

    @rule(name=st.sampled_from(NAMES), key=st.sampled_from(["k1", "k2"]), value=st.sampled_from(["", "v"]))
    def tag(self, name: str, key: str, value: str) -> None:
        self.both("tag", "tag_queue", [{"QueueUrl": url, "Tags": {key: value}} for url in self._urls[name]])
        first, second = self.both("tags", "list_queue_tags", [{"QueueUrl": url} for url in self._urls[name]])
        assert first == second

    @rule(name=st.sampled_from(NAMES), ids=st.lists(st.sampled_from(["1", "2", "a b"]), max_size=3))
    def delete_garbage(self, name: str, ids: list[str]) -> None:
        # One handle twice is a repeated id to moto.
        entries = [{"Id": one, "ReceiptHandle": f"garbage{at}"} for at, one in enumerate(ids)]
        if "a b" in ids:
            return  # moto looks at the receipts first (B1)
        self.both(
            "delete batch", "delete_message_batch", [{"QueueUrl": url, "Entries": entries} for url in self._urls[name]]
        )

    def teardown(self) -> None:
        for name in self._urls:
            self._drop(name)
        for server in self._servers:
            server.close()


@pytest.mark.aws
@pytest.mark.timeout(600)
def test_every_difference_from_moto_is_a_row_of_the_sheet(moto_endpoint: str, emulator_endpoint: str) -> None:
    class Here(Beside):
        pass

    Here.moto_endpoint, Here.emulator_endpoint = moto_endpoint, emulator_endpoint
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=15,
            stateful_step_count=20,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
