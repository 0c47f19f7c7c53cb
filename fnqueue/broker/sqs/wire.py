"""One call on one queue.

Puts the prefix before the name, asks once for the queue's url and remembers it, makes the queue when
an endpoint on loopback does not have it, and lets out only fnqueue's errors.
Knows no batches and no messages.
"""

from __future__ import annotations

import threading
from typing import Any

from fnqueue import quotas
from fnqueue.broker.names import is_fifo
from fnqueue.broker.sqs.clients import Clients
from fnqueue.broker.sqs.faults import NOT_SQS, translate
from fnqueue.broker.sqs.url import SqsUrl
from fnqueue.clock import Clock
from fnqueue.errors import BrokerUnreachable, OptionInvalid, QueueMissing

Answer = dict[str, Any]


class Wire:
    """Safe between threads. Queue urls are plain facts, which a forked child may keep."""

    def __init__(self, url: SqsUrl, clock: Clock) -> None:
        self.url = url
        self.clock = clock
        self._clients = Clients(url)
        self._queue_urls: dict[str, str] = {}

    def call(self, operation: str, queue: str, *, makes: bool = False, patient: bool = False, **members: Any) -> Answer:
        """`operation` as botocore names it. `makes`: a queue that is not there may be made on loopback.

        Raises QueueMissing, BrokerUnreachable or BrokerRefused.
        """
        try:
            return self.ask(operation, queue, patient=patient, QueueUrl=self._queue_url(queue, makes), **members)
        except QueueMissing:
            self.forget(queue)
            if not (makes and self.url.loopback):
                raise
        # Known here and gone there: the server was started anew.
        return self.ask(operation, queue, patient=patient, QueueUrl=self._queue_url(queue, makes), **members)

    def ask(self, operation: str, queue: str = "", *, patient: bool = False, **members: Any) -> Answer:
        """A call that names no queue url."""
        client = self._clients.patient() if patient else self._clients.quick()
        try:
            answer: Answer = getattr(client, operation)(**members)
        except Exception as error:
            raise translate(error, where=self.url.where, queue=queue) from error
        if "html" in answer["ResponseMetadata"]["HTTPHeaders"].get("content-type", ""):
            # A proxy's or a hotel's page with status 200: botocore takes it for an answer without messages.
            raise BrokerUnreachable(NOT_SQS.format(self.url.where))
        return answer

    def full_name(self, queue: str) -> str:
        """With the prefix: the name that AWS knows. Raises OptionInvalid when it is too long for SQS."""
        name = self.url.prefix + queue
        if len(name) > quotas.QUEUE_NAME_MAX:
            raise OptionInvalid(
                f"queue {name!r} has {len(name)} characters with its prefix; SQS takes {quotas.QUEUE_NAME_MAX}"
            )
        return name

    def short_name(self, full_name: str) -> str:
        return full_name.removeprefix(self.url.prefix)

    def remember(self, queue: str, queue_url: str) -> None:
        self._queue_urls[queue] = queue_url

    def forget(self, queue: str) -> None:
        self._queue_urls.pop(queue, None)

    def pause(self, seconds: float) -> None:
        condition = threading.Condition()
        with condition:
            self.clock.wait(condition, seconds)

    def make_clients(self) -> None:
        self._clients.quick()
        self._clients.patient()

    def close(self) -> None:
        self._clients.close()

    def _queue_url(self, queue: str, makes: bool) -> str:
        if found := self._queue_urls.get(queue):
            return found
        try:
            answer = self.ask("get_queue_url", queue, QueueName=self.full_name(queue), **self._owner())
        except QueueMissing:
            if not (makes and self.url.loopback):
                raise
            attributes = {"FifoQueue": "true"} if is_fifo(queue) else {}
            answer = self.ask("create_queue", queue, QueueName=self.full_name(queue), Attributes=attributes)
        self.remember(queue, self.url_in(answer))
        return self.url_in(answer)

    def url_in(self, answer: Answer) -> str:
        """The queue's url. Any answer with status 200 comes here, also one that botocore found nothing in."""
        if not answer.get("QueueUrl"):
            raise BrokerUnreachable(NOT_SQS.format(self.url.where))
        return str(answer["QueueUrl"])

    def _owner(self) -> dict[str, Any]:
        return {"QueueOwnerAWSAccountId": self.url.account} if self.url.account else {}
