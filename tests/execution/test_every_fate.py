"""The table of fates, whole: each code is produced by a real message, has its fate, and the worker goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fnqueue import FnQueue, Principal, outcome
from fnqueue.broker.base import Entry
from fnqueue.broker.names import binding
from fnqueue.clock import ManualClock
from fnqueue.events import MessageRefused
from fnqueue.policies import custom
from fnqueue.security.envelope import seal
from fnqueue.security.header import parse
from fnqueue.security.ids import new_id
from fnqueue.security.keyfile import add, revoke
from fnqueue.security.keyring import KeyRing, make_record, new_key, parse_key
from fnqueue.security.keys import FixedKeys
from fnqueue.security.primitives import from_base64, to_base64
from fnqueue.security.principal import ANONYMOUS

MAX = 1_048_576


class Shop:
    """An application with one task, and ways to put into its queue what is not as it should be."""

    def __init__(self, fn: FnQueue, clock: ManualClock, drain: Any) -> None:
        self.fn, self.clock, self.drain = fn, clock, drain
        self.runs: list[Any] = []
        self.closed = False
        self.told: list[MessageRefused] = []
        fn.on(MessageRefused, self.told.append)
        runs = self.runs

        @custom
        def open_now(ctx: Any) -> bool:
            return not self.closed

        @fn.task(name="work", policy=open_now)
        def work(n: int = 0, text: str = "") -> None:
            runs.append(n)

        self.work = work

    @property
    def runtime(self) -> Any:
        return self.fn.runtime()

    def sealed(self, **changes: Any) -> str:
        now = self.clock.now()
        about: dict[str, Any] = {
            "keyring": self.runtime.ring(), "environment": self.runtime.settings.environment,
            "queue": binding("default"), "id": new_id(now), "task": "work", "created_at": now,
            "expires_at": now + 100_000, "principal_kind": "anonymous",
            "sealed": {"args": [], "kwargs": {}, "p": ANONYMOUS.to_wire()},
        }  # fmt: skip
        return seal(**about | changes)

    def put(self, body: str) -> None:
        self.runtime.engine.broker.send("default", [Entry(id="any", body=body)])

    def with_keys(self, text: str) -> None:
        self.runtime.keys_override = FixedKeys(text)
        self.runtime.__dict__.pop("keys", None)

    def signed_over(self, content: Callable[[bytes, bytes], bytes]) -> str:
        """By who has the key: a true tag over `content(aad, what stood there)`."""
        parts, key = parse(self.sealed(), MAX), self.runtime.ring().primary
        context = key.context(self.runtime.settings.environment, "default")
        aad = context.ctx + parts.prefix
        text = parts.prefix + b"." + to_base64(content(aad, from_base64(parts.ciphertext)))
        return (text + b"." + context.tag.make(text)).decode()


@pytest.fixture
def shop(fn: FnQueue, clock: ManualClock, drain: Any) -> Shop:
    return Shop(fn, clock, drain)


def malformed(shop: Shop) -> None:
    shop.put("hello")


def suite(shop: Shop) -> None:
    shop.put(shop.sealed().replace("fq1.1.", "fq1.3.", 1))


def bad_tag(shop: Shop) -> None:
    body = shop.sealed()
    shop.put(body[:-2] + ("AA" if body[-2:] != "AA" else "BA"))


def revoked_key(shop: Shop) -> None:
    old, new = new_key(), new_key()
    shop.put(shop.sealed(keyring=KeyRing.from_text(old)))
    shop.with_keys(revoke(add(f"primary:{new}\n", old), make_record(parse_key(old)).key_id))


def key_not_for_task(shop: Shop) -> None:
    other, new = new_key(), new_key()
    shop.put(shop.sealed(keyring=KeyRing.from_text(other)))
    shop.with_keys(f"primary:{new}\naccept:{other};tasks=mail.*\n")


def unseal(shop: Shop) -> None:
    shop.put(shop.signed_over(lambda aad, ciphertext: ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])))


def frame(shop: Shop) -> None:
    sealing = shop.runtime.ring().primary.sealing
    to_seal = sealing.to_seal(shop.runtime.settings.environment, "default")
    shop.put(shop.signed_over(lambda aad, _: to_seal.seal(aad, b"\x00" * 64, b"r" * 32)))


def id_conflict(shop: Shop) -> None:
    one = new_id(shop.clock.now())
    shop.put(shop.sealed(id=one))
    shop.drain()
    shop.runs.clear()
    shop.put(shop.sealed(id=one, sealed={"args": [666], "kwargs": {}, "p": ANONYMOUS.to_wire()}))
    _as_a_redelivery(shop)


def context(shop: Shop) -> None:
    shop.put(shop.sealed(environment="staging"))


def decode(shop: Shop) -> None:
    shop.put(shop.sealed(sealed={"args": ["one"], "kwargs": {}, "p": ANONYMOUS.to_wire()}))


def unknown_key(shop: Shop) -> None:
    shop.put(shop.sealed(keyring=KeyRing.from_text(new_key())))


def task_not_served(shop: Shop) -> None:
    shop.put(shop.sealed(task="gone"))


def from_future(shop: Shop) -> None:
    shop.put(shop.sealed(created_at=shop.clock.now() + 1000))


def blob_missing(shop: Shop) -> None:
    shop.work.defer(1, "x" * 2_000_000)
    place = shop.runtime.blobs.place
    place.delete(list(place._blobs))


def not_yet(shop: Shop) -> None:
    shop.put(shop.sealed(not_before=shop.clock.now() + 500))


def expired(shop: Shop) -> None:
    shop.put(shop.sealed(expires_at=shop.clock.now() + 1))
    shop.clock.advance(seconds=2)


def denied(shop: Shop) -> None:
    shop.put(shop.sealed())
    shop.closed = True


def revoked(shop: Shop) -> None:
    with shop.fn.as_principal(Principal("ada")):
        shop.work.defer(1).cancel()


def replay(shop: Shop) -> None:
    body = shop.sealed()
    shop.put(body)
    shop.drain()
    shop.runs.clear()
    shop.put(body)
    _as_a_redelivery(shop)


def _as_a_redelivery(shop: Shop) -> None:
    """A first delivery reads nothing before it runs; a second one does."""
    broker = shop.runtime.engine.broker
    (message,) = broker.receive("default", visibility_seconds=1)
    assert message.body
    shop.clock.advance(seconds=2)


#: The table of docs/envelope.md: what makes it, and what becomes of the message.
TABLE = {
    "MALFORMED": (malformed, "dead-lettered"),
    "SUITE": (suite, "dead-lettered"),
    "BAD_TAG": (bad_tag, "dead-lettered"),
    "REVOKED_KEY": (revoked_key, "dead-lettered"),
    "KEY_NOT_FOR_TASK": (key_not_for_task, "dead-lettered"),
    "UNSEAL": (unseal, "dead-lettered"),
    "FRAME": (frame, "dead-lettered"),
    "ID_CONFLICT": (id_conflict, "dead-lettered"),
    "CONTEXT": (context, "hidden"),
    "DECODE": (decode, "dead-lettered"),
    "UNKNOWN_KEY": (unknown_key, "hidden"),
    "TASK_NOT_SERVED": (task_not_served, "hidden"),
    "FROM_FUTURE": (from_future, "hidden"),
    "BLOB_MISSING": (blob_missing, "hidden"),
    "NOT_YET": (not_yet, "hidden"),
    "EXPIRED": (expired, "deleted"),
    "DENIED": (denied, "deleted"),
    "REVOKED": (revoked, "deleted"),
    "REPLAY": (replay, "deleted"),
}


def test_the_table_has_every_code_that_there_is() -> None:
    of_tickets = {"NO_OCCURRENCE"}  # tests/scheduling/test_tickets.py
    others = {"CONTEXT", "DECODE", "NOT_YET", "REPLAY"}
    assert set(TABLE) | of_tickets == outcome.HOSTILE | outcome.UNKNOWN | outcome.ENDED | others


@pytest.mark.parametrize("code", TABLE)
def test_each_code_is_produced_has_its_fate_and_the_worker_goes_on(shop: Shop, code: str) -> None:
    make, fate = TABLE[code]
    make(shop)
    shop.drain()
    assert [(event.code, event.fate) for event in shop.told] == [(code, fate)]
    assert shop.runs == [], "it did not run"
    shop.closed = False
    shop.work.defer(7)
    shop.drain()
    assert shop.runs == [7]


@pytest.mark.parametrize("code", [code for code in TABLE if code in outcome.UNKNOWN])
def test_what_may_be_a_rotation_a_deploy_or_a_clock_ends_as_a_dead_letter_after_its_hour(shop: Shop, code: str) -> None:
    make, _ = TABLE[code]
    make(shop)
    shop.drain()
    if code == "FROM_FUTURE":
        shop.drain.advance(minutes=20)
        assert shop.runs == [0], "the clock was right after all"
        return
    shop.drain.advance(hours=2)
    assert (shop.told[-1].code, shop.told[-1].fate) == (code, "dead-lettered")
