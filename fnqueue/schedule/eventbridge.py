"""EventBridge Scheduler itself, through botocore: what a group has, and what is asked of it.

Each call is tried again by botocore when AWS is busy; what comes out is ours, in one line. The credentials are those of
the queue's url: its profile, the environment, a role.
Knows requests and answers; knows nothing of our schedules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from fnqueue.aws import make_client
from fnqueue.broker.sqs.clients import CONNECT_SECONDS, QUICK_SECONDS
from fnqueue.broker.sqs.faults import translate
from fnqueue.broker.sqs.url import SqsUrl
from fnqueue.errors import BrokerError, BrokerRefused, BrokerUnreachable, ExtraMissing

#: AWS takes a few changes a second in some regions: with "standard" waits of up to 20 s between, this is a minute.
ATTEMPTS: Final = 10
_PAGE: Final = 100
_BUSY: Final = frozenset({"ThrottlingException", "TooManyRequestsException", "InternalServerException"})
_MISSING: Final = "ResourceNotFoundException"


class EventBridge:
    """Of the region and account that the queue's url names. All raise BrokerError."""

    def __init__(self, url: SqsUrl, *, endpoint: str | None = None) -> None:
        """`endpoint`: another server than the url's own, or Amazon's."""
        self._url, self._endpoint = url, endpoint or url.endpoint
        self.where = self._endpoint or f"EventBridge Scheduler in {url.region}"
        self._client: Any = None

    def schedules(self, group: str) -> list[dict[str, Any]]:
        """Whole, by GetSchedule: a list tells neither the target's Input nor its role. Empty without the group."""
        return [found for name in self._names(group) if (found := self._get(group, name)) is not None]

    def create(self, group: str, members: Mapping[str, Any]) -> None:
        self._call("create_schedule", GroupName=group, **members)

    def update(self, group: str, members: Mapping[str, Any]) -> None:
        """As a whole: what is not among `members` returns to its default there."""
        self._call("update_schedule", GroupName=group, **members)

    def delete(self, group: str, name: str) -> None:
        """One that is gone already is no fault: it may have completed."""
        self._quietly("delete_schedule", GroupName=group, Name=name)

    def ensure_group(self, group: str) -> bool:
        """Whether it had to be made."""
        if self._quietly("get_schedule_group", Name=group) is not None:
            return False
        self._call("create_schedule_group", Name=group)
        return True

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    # ---------------------------------------------------------------- helpers

    def _names(self, group: str) -> list[str]:
        found: list[str] = self._translated(lambda it: [str(each["Name"]) for each in _listed(it, group)], missing=[])
        return found

    def _get(self, group: str, name: str) -> dict[str, Any] | None:
        return self._quietly("get_schedule", GroupName=group, Name=name)

    def _call(self, operation: str, **given: Any) -> None:
        self._translated(lambda it: getattr(it, operation)(**given))

    def _quietly(self, operation: str, **given: Any) -> dict[str, Any] | None:
        """None: it is not there."""
        found: dict[str, Any] | None = self._translated(lambda it: getattr(it, operation)(**given), missing=None)
        return found

    def _translated(self, ask: Callable[[Any], Any], **missing: Any) -> Any:
        try:
            from botocore.exceptions import BotoCoreError, ClientError
        except ModuleNotFoundError:
            raise ExtraMissing("EventBridge Scheduler", "aws") from None
        try:
            self._client = self._client or self._make()
            return ask(self._client)
        except ClientError as error:
            if "missing" in missing and error.response.get("Error", {}).get("Code") == _MISSING:
                return missing["missing"]
            raise self._refused(error.response) from error
        except BotoCoreError as error:
            raise translate(error, where=self.where, queue="") from error

    def _make(self) -> Any:
        return make_client(
            "scheduler",
            region=self._url.region,
            endpoint=self._endpoint,
            profile=self._url.profile,
            connect_seconds=CONNECT_SECONDS,
            read_seconds=QUICK_SECONDS,
            attempts=ATTEMPTS,
        )

    def _refused(self, response: Mapping[str, Any]) -> BrokerError:
        said = response.get("Error", {})
        code, text = str(said.get("Code", "")), " ".join(str(said.get("Message", "")).split())
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code in _BUSY or status >= 500 or status == 429:
            return BrokerUnreachable(f"{self.where} is busy or failing ({code or status}): {text}")
        return BrokerRefused(code, f"{text} ({self.where})")


def _listed(client: Any, group: str) -> Iterator[Mapping[str, Any]]:
    members: dict[str, Any] = {"GroupName": group, "MaxResults": _PAGE}
    while True:
        answer = client.list_schedules(**members)
        yield from answer.get("Schedules", ())
        if not answer.get("NextToken"):
            return
        members["NextToken"] = answer["NextToken"]
