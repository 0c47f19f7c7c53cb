"""FNQUEUE_SUITES: which suites a queue takes, whatever keys there are."""

from __future__ import annotations

import threading

import pytest

from fnqueue import FnQueue
from fnqueue.events import MessageRefused
from fnqueue.security.suites import accepted
from fnqueue.settings import Settings
from fnqueue.worker.worker import Worker
from tests.security.rings import whole


def test_names_are_for_all_queues_or_for_one() -> None:
    assert accepted(()) == {}
    assert accepted(("split",)) == {"": {"4"}}
    assert accepted(("signed", "split")) == {"": {"3", "4"}}
    assert accepted(("split", "mail=signed|split", "mail=local")) == {"": {"4"}, "mail": {"1", "3", "4"}}


@pytest.mark.parametrize("name", ["none", "", "Split", "mail=", "mail=split|", "1", "split,signed"])
def test_what_is_no_suite_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no suite; there are local, signed, split"):
        accepted((name,))


def test_a_wrong_name_is_a_fault_at_the_start() -> None:
    fn = FnQueue(url="sqlite://", keys=whole("split"), suites="splitt")
    assert fn.runtime().faults() == ["FNQUEUE_SUITES: 'splitt' is no suite; there are local, signed, split, kms"]
    assert Settings.build({"suites": "split, mail=signed|split"}).suites == ("split", "mail=signed|split")


def test_one_queue_takes_less_than_the_others_and_its_messages_go_to_the_dead_letter_queue(tmp_path) -> None:
    fn = FnQueue(url=f"sqlite:///{tmp_path}/q.db", keys=whole("signed"), suites="money=split", default_policy="public")
    runs: list[str] = []

    @fn.task(name="pay", queue="money")
    def pay() -> None:
        runs.append("pay")

    @fn.task(name="mail", queue="mail")
    def mail() -> None:
        runs.append("mail")

    told: list[MessageRefused] = []
    fn.on(MessageRefused, told.append)
    pay.defer()
    mail.defer()
    thread = threading.Thread(target=Worker(fn.runtime(), burst=True, concurrency=1).run)
    thread.start()
    thread.join(30)
    assert runs == ["mail"]
    assert [event.code for event in told] == ["SUITE"]
    fn.close()
