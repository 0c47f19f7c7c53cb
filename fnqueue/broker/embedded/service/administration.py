"""Queues, their attributes, tags and permissions, and the tasks that move dead letters: what an operator asks for.

Each verb is one transaction, or joins its caller's. Refusals are BrokerRefused, whose code is the name of SQS's error.
Rows in brackets are those of the specification sheet. Knows nothing of sending and receiving.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from fnqueue import quotas
from fnqueue.broker.embedded import schema
from fnqueue.broker.embedded.fifo import FifoLine
from fnqueue.broker.embedded.line import Counts, Line
from fnqueue.broker.embedded.queues import Queue
from fnqueue.broker.embedded.service import attributes, moves, permissions, rows
from fnqueue.broker.embedded.service.address import Address, name_is_good, refuse, refuse_missing, refuse_value
from fnqueue.broker.embedded.service.rows import Row
from fnqueue.broker.embedded.standard import StandardLine
from fnqueue.broker.names import is_fifo
from fnqueue.clock import Clock
from fnqueue.database import Connection, Database

T = TypeVar("T")

_TRIP = 500
_WAIT_AFTER_DELETION_SECONDS = 60
_PAGE_MAX = 1000
_MOVE_TASKS_LISTED_MAX = 10
_TAGS_MAX, _TAG_KEY_MAX, _TAG_VALUE_MAX = 50, 128, 256


class Administration:
    """On `database`, which its maker closes. `strict`: also the rules that hinder development, 60 s each [C9, G2].

    `touched`: the queues in which somebody who waits may find a message now.
    """

    def __init__(self, database: Database, *, clock: Clock, strict: bool = False) -> None:
        self._database, self._clock, self._strict = database, clock, strict
        self.touched: set[str] = set()
        self._rows: dict[Address, Row] | None = None  # what is known of queues in the transaction under way
        database.migrate(schema.COMPONENT, schema.STEPS)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Inside one transaction, anew whenever it begins: its verbs look up each queue once."""
        self._rows = {}
        try:
            yield
        finally:
            self._rows = None

    # ------------------------------------------------------------------ queues

    def create(self, address: Address, given: Mapping[str, str], tags: Mapping[str, str]) -> None:
        fifo = _checked_name(address.name, given.get("FifoQueue"))
        attributes.check_given(address, given, creating=True)
        _check_tags(tags)

        def work(connection: Connection) -> None:
            row = rows.find(connection, address)
            if row is not None:
                _check_same(row, given)
                return
            self._check_deletion(connection, address)
            options = attributes.merged({}, {name: value for name, value in given.items() if name != "FifoQueue"})
            attributes.check_together(options, fifo=fifo)
            self._check_redrive(connection, address, options)
            now = self._clock.now()
            queue = rows.make(connection, address, now, tags)
            rows.set_options(connection, queue, options, attributes.settings(options, fifo=fifo), now)

        self._change(work)

    def look_up(self, address: Address) -> None:
        self._read(lambda connection: rows.existing(connection, address))

    def page(
        self, region: str, account: str, prefix: str, after: str, most: int | None
    ) -> tuple[list[Address], str | None]:
        """Queues by name, and the name after which the next page begins [C10]."""
        return self._page(lambda connection, count: rows.page(connection, region, account, prefix, after, count), most)

    def sources(self, target: Address, after: str, most: int | None) -> tuple[list[Address], str | None]:
        def work(connection: Connection, count: int) -> list[Address]:
            rows.existing(connection, target)
            return rows.sources(connection, target, after, count)

        return self._page(work, most)

    def _page(
        self, work: Callable[[Connection, int], list[Address]], most: int | None
    ) -> tuple[list[Address], str | None]:
        if most is not None and not 1 <= most <= _PAGE_MAX:  # L17
            refuse_value(most, "MaxResults", f"Must be between 1 and {_PAGE_MAX}, if provided.")
        count = _PAGE_MAX if most is None else most
        found = self._read(lambda connection: work(connection, count + 1))
        more = most is not None and len(found) > count
        return found[:count], found[count - 1].name if more else None

    def attributes(self, address: Address, names: Sequence[str]) -> dict[str, str]:
        def work(connection: Connection) -> dict[str, str]:
            row = rows.existing(connection, address)
            for name in names:
                if name not in attributes.KNOWN:  # A1
                    refuse(f"Unknown Attribute {name}.", attributes.INVALID_NAME)
            return self._shown(connection, row, set(names)) if names else {}

        return self._read(work)

    def _shown(self, connection: Connection, row: Row, names: set[str]) -> dict[str, str]:
        values = attributes.shown(row.options, fifo=row.queue.fifo)
        values["QueueArn"] = row.address.arn
        values["CreatedTimestamp"] = str(int(row.created_at))  # P10
        values["LastModifiedTimestamp"] = str(int(row.changed_at))
        if "All" in names or any(name.startswith("Approximate") for name in names):
            counts = self._line(connection, row.queue).counts()
            values["ApproximateNumberOfMessages"] = str(counts.visible)
            values["ApproximateNumberOfMessagesNotVisible"] = str(counts.in_flight)
            values["ApproximateNumberOfMessagesDelayed"] = str(counts.delayed)
        return values if "All" in names else {name: value for name, value in values.items() if name in names}

    def set_attributes(self, address: Address, given: Mapping[str, str]) -> None:
        def work(connection: Connection) -> None:
            row = rows.existing(connection, address)
            attributes.check_given(address, given, creating=False)
            self._set(connection, row, attributes.merged(row.options, given))

        self._change(work)
        self.touched.add(address.full)

    def _set(self, connection: Connection, row: Row, options: dict[str, str]) -> None:
        fifo, now = row.queue.fifo, self._clock.now()
        attributes.check_together(options, fifo=fifo)
        if options.get("RedrivePolicy") != row.options.get("RedrivePolicy"):
            self._check_redrive(connection, row.address, options)
        after = rows.set_options(connection, row.queue, options, attributes.settings(options, fifo=fifo), now)
        if fifo:  # A7
            FifoLine(connection, after, now).move_delay(after.delay_seconds - row.queue.delay_seconds)

    def delete_queue(self, address: Address) -> bool:
        """One trip of it; whether there is more to do."""

        def work(connection: Connection) -> bool:
            row = rows.existing(connection, address)
            more = self._line(connection, row.queue).purge(_TRIP)
            if not more:
                rows.remove(connection, row, self._clock.now())
            return more

        self.touched.add(address.full)  # who waits there hears that it is gone
        return self._change(work)

    def begin_purge(self, address: Address) -> None:
        def work(connection: Connection) -> None:
            row, now = rows.existing(connection, address), self._clock.now()
            recently = row.purged_at is not None and now - row.purged_at < quotas.PURGE_INTERVAL_SECONDS
            if self._strict and recently:  # G2
                text = f"Only one PurgeQueue operation on {address.name} is allowed every 60 seconds."
                refuse(text, "PurgeQueueInProgress")
            rows.set_purged(connection, row.queue, now)

        self._change(work)

    def purge(self, address: Address) -> bool:
        """One trip of it; whether there is more to do."""
        return self._change(
            lambda connection: self._line(connection, rows.existing(connection, address).queue).purge(_TRIP)
        )

    def _check_deletion(self, connection: Connection, address: Address) -> None:
        deleted_at = rows.deleted_at(connection, address) if self._strict else None
        if deleted_at is not None and self._clock.now() - deleted_at < _WAIT_AFTER_DELETION_SECONDS:  # C9
            text = "You must wait 60 seconds after deleting a queue before you can create another with the same name."
            refuse(text, "QueueDeletedRecently")

    def _check_redrive(self, connection: Connection, address: Address, options: Mapping[str, str]) -> None:
        target, _ = attributes.redrive(options)
        if target is None:
            return
        row = rows.find(connection, target)
        if row is None:  # D6
            refuse_value(options["RedrivePolicy"], "RedrivePolicy", "Dead letter target does not exist.")
        policy = row.options.get("RedriveAllowPolicy")
        permission, sources = attributes.allowed(policy) if policy else ("allowAll", [])
        if permission == "denyAll" or (permission == "byQueue" and address.arn not in sources):  # D7
            why = "Queue used as dead letter queue does not allow this source queue."
            refuse_value(options["RedrivePolicy"], "RedrivePolicy", why)

    # ------------------------------------------------------------------ tags and permissions

    def tags(self, address: Address) -> dict[str, str]:
        return self._read(lambda connection: rows.existing(connection, address).tags)

    def change_tags(self, address: Address, add: Mapping[str, str], remove: Sequence[str]) -> None:
        def work(connection: Connection) -> None:
            row = rows.existing(connection, address)
            after = {name: value for name, value in {**row.tags, **add}.items() if name not in remove}
            _check_tags(after)
            rows.set_tags(connection, row.queue, after)

        self._change(work)

    def add_permission(self, address: Address, label: str, accounts: Sequence[str], actions: Sequence[str]) -> None:
        self._change_policy(
            address, lambda policy: permissions.with_permission(policy, address, label, accounts, actions)
        )

    def remove_permission(self, address: Address, label: str) -> None:
        self._change_policy(address, lambda policy: permissions.without_permission(policy, address, label))

    def _change_policy(self, address: Address, change: Callable[[str | None], str]) -> None:
        def work(connection: Connection) -> None:
            row = rows.existing(connection, address)
            after = change(row.options.get("Policy"))
            self._set(connection, row, attributes.merged(row.options, {"Policy": after}))

        self._change(work)

    # ------------------------------------------------------------------ move tasks

    def start_move(self, source_arn: str, destination_arn: str | None, per_second: int | None) -> str:
        def work(connection: Connection) -> str:
            source = moves.resource(connection, source_arn, "SourceArn")
            counts = self._line(connection, rows.existing(connection, source).queue).counts()
            return moves.start(connection, source_arn, destination_arn, per_second, self._clock.now(), counts.visible)

        return self._change(work)

    def move_tasks(self, source_arn: str, most: int | None) -> list[moves.Task]:
        if most is not None and not 1 <= most <= _MOVE_TASKS_LISTED_MAX:
            refuse_value(most, "MaxResults", f"Must be between 1 and {_MOVE_TASKS_LISTED_MAX}, if provided.")
        return self._read(lambda connection: moves.of_source(connection, source_arn, most or 1))

    def cancel_move(self, handle: str) -> int:
        return self._change(lambda connection: moves.cancel(connection, handle))

    def move_some(self) -> bool:
        """One trip of every task that is under way; whether there is one."""
        if not self._read(moves.active):
            return False
        self.touched |= self._change(lambda connection: moves.step(connection, self._clock.now()))
        return True

    # ------------------------------------------------------------------ for those who look after it

    def is_readable(self) -> None:
        """Raises what a look into the file does."""
        self._read(lambda connection: rows.page(connection, "", "", "", "", 1))

    def everywhere(self) -> list[tuple[Address, Counts]]:
        def work(connection: Connection) -> list[tuple[Address, Counts]]:
            found = [rows.find(connection, address) for address in rows.everywhere(connection)]
            return [(row.address, self._line(connection, row.queue).counts()) for row in found if row is not None]

        return self._read(work)

    def _change(self, work: Callable[[Connection], T]) -> T:
        """A write that may change queues."""
        if self._rows is None:
            return self._database.write(work)
        self._rows.clear()
        try:
            return self._database.write(work)
        finally:
            self._rows.clear()

    def _row(self, connection: Connection, address: Address) -> Row:
        """Of a queue whose messages are meant. Raises BrokerRefused."""
        known = self._rows
        if known is None:
            return rows.existing(connection, address)
        row = known.get(address)
        if row is None:
            row = known[address] = rows.existing(connection, address)
        return row

    def _line(self, connection: Connection, queue: Queue) -> Line:
        now = self._clock.now()
        return FifoLine(connection, queue, now) if queue.fifo else StandardLine(connection, queue, now)

    def _read(self, work: Callable[[Connection], T]) -> T:
        return self._database.read(work)


# ------------------------------------------------------------------ checks


def _checked_name(name: str, fifo_queue: str | None) -> bool:
    """Whether it is FIFO [C5, C6]. Raises BrokerRefused."""
    if not name:
        refuse_missing("QueueName")
    fifo = is_fifo(name)
    if fifo_queue == "true" and not (fifo and name_is_good(name)):
        refuse(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, "
            "must end with .fifo suffix and be 1 to 80 in length"
        )
    if not name_is_good(name) or (fifo and fifo_queue != "true"):
        refuse("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
    return fifo


def _check_same(row: Row, given: Mapping[str, str]) -> None:
    """C1, C2: what is given must be what is there."""
    values = attributes.shown(row.options, fifo=row.queue.fifo)
    for name, value in given.items():
        if values.get(name, "") != value:
            text = f"A queue already exists with the same name and a different value for attribute {name}"
            refuse(text, "QueueNameExists")


def _check_tags(tags: Mapping[str, str]) -> None:
    """L18"""
    if len(tags) > _TAGS_MAX:
        refuse(f"Too many tags added for queue: {len(tags)}, the maximum is {_TAGS_MAX}.")
    for key, value in tags.items():
        if not 1 <= len(key) <= _TAG_KEY_MAX:
            refuse(f"Tag keys must be between 1 and {_TAG_KEY_MAX} characters in length.")
        if len(value) > _TAG_VALUE_MAX:
            refuse(f"Tag values must be between 0 and {_TAG_VALUE_MAX} characters in length.")
