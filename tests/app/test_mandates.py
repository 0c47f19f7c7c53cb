"""A worker whose key may not mint defers for a user only what the call that it runs has a mandate for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from fnqueue import FnQueue, Principal
from fnqueue.broker.base import Entry
from fnqueue.cli.dead_letters import Visit
from fnqueue.cli.releasing import renewed
from fnqueue.cli.resealing import _move
from fnqueue.errors import EnvelopeError, KeyInvalid, OptionInvalid
from fnqueue.events import CallDeferred, MessageRefused
from fnqueue.policies import authenticated
from fnqueue.security import mandate as mandates
from fnqueue.security.envelope import peek, seal, verify
from fnqueue.security.ids import new_id
from fnqueue.security.keyfile import add, like, promote, revoke, share
from fnqueue.security.keyring import KeyRing
from fnqueue.security.mandate import Mandate
from fnqueue.security.principal import WirePrincipal
from fnqueue.worker.worker import Worker
from tests.security.rings import SIGNED, whole

ADA = Principal("ada", roles=frozenset({"staff", "cook"}), tenant="acme", auth_time=datetime(2026, 1, 1, tzinfo=UTC))


class Site:
    """A web process that mints, and a worker whose own key does not."""

    def __init__(self, url: str, suite: str) -> None:
        text = whole(suite)
        self.minting = KeyRing.from_text(text).primary.key_id
        both = like(text, self.minting, ";mint=no")
        self.own = next(record.key_id for record in KeyRing.from_text(both) if record.key_id != self.minting)
        self.ran: list[tuple[str, str, list[str]]] = []
        self.raised: list[BaseException] = []
        self.refused: list[str] = []
        self.url, self.both, self.suite = url, both, suite
        self.web, self.worker = (self.application(url, share(both, role, signs=self.own)) for role in ("web", "worker"))
        self.worker.on(MessageRefused, lambda event: self.refused.append(event.code))

    def application(self, url: str, keys: str) -> FnQueue:
        fn = FnQueue(url=url, keys=keys, default_policy="public", heartbeat_seconds=0.05)
        fn.load_principal(lambda id: Principal(id, roles=frozenset({"staff", "cook", "boss"}), tenant="acme"))

        def ran(name: str) -> None:
            principal = fn.current_principal()
            self.ran.append((name, principal.id, sorted(principal.roles)))

        def defer(name: str, *args: Any, **options: Any) -> None:
            try:
                fn.registry.get(name).using(**options).defer(*args)
            except Exception as error:
                self.raised.append(error)
                raise

        @fn.task(name="shop.order", policy=authenticated, defers=("shop.mail", "stock.*"), expires_seconds=900)
        def order(child: str, hops: int = 0) -> None:
            ran("order")
            defer(child, *([hops] if child == "stock.count" else []))

        @fn.task(name="shop.plain")
        def plain(child: str) -> None:
            ran("plain")
            defer(child)

        @fn.task(name="shop.mail", policy=authenticated)
        def mail() -> None:
            ran("mail")

        @fn.task(name="stock.count", defers=("*",))
        def count(hops: int) -> None:
            ran(f"count {hops}")
            if hops:
                defer("stock.count", hops - 1)

        @fn.task(name="shop.refund")
        def refund() -> None:
            ran("refund")

        @fn.task(name="shop.impostor", defers=("shop.mail",))
        def impostor() -> None:
            with fn.as_principal(Principal("eve", roles=frozenset({"boss"}))):
                defer("shop.mail")

        @fn.task(name="shop.promoted", defers=("shop.mail",))
        def promoted() -> None:
            with fn.as_principal(Principal("ada", roles=frozenset({"boss"}), tenant="acme", auth_time=ADA.auth_time)):
                defer("shop.mail")

        @fn.task(name="shop.humble", defers=("shop.mail",))
        def humble() -> None:
            with fn.as_principal(fn.current_principal().attenuate(roles={"cook"})):
                defer("shop.mail")

        @fn.task(name="shop.late", defers=("shop.mail",), expires_seconds=900)
        def late() -> None:
            defer("shop.mail", delay_seconds=5 * 86_400)

        @fn.task(name="shop.served", runs_as="billing")
        def served() -> None:
            ran("served")
            defer("shop.refund")

        return fn

    def defer(self, name: str, *args: Any) -> Any:
        with self.web.as_principal(ADA):
            return self.web.registry.get(name).defer(*args)

    def work(self) -> None:
        thread = threading.Thread(target=Worker(self.worker.runtime(), burst=True, concurrency=1).run)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()

    def put(self, body: str) -> None:
        self.web.runtime().engine.broker.send("default", [Entry(id="0", body=body)])

    def waiting(self, id: str) -> str:
        found = self.web.runtime().engine.broker.receive("default", visibility_seconds=0)
        return next(message.body for message in found if peek(message.body).id == id)

    def opened(self) -> dict[str, Any]:
        """What is sealed in the one message that waits."""
        (message,) = self.web.runtime().engine.broker.receive("default", visibility_seconds=0)
        return verify(message.body, keyring=self.worker.runtime().ring(), environment="default", queue="default",
                      now=self.worker.runtime().clock.now()).unseal()  # fmt: skip

    def forge(self, mandate: str | None, task: str = "shop.mail", **changes: Any) -> None:
        """What whoever stole the worker's keys can put into the queue."""
        now = self.web.runtime().clock.now()
        wire = ADA.to_wire() | changes.pop("p", {})
        sealed = {"args": [], "kwargs": {}, "p": wire} | ({"m": mandate} if mandate else {})
        about: dict[str, Any] = {
            "keyring": self.unlimited(), "environment": "default", "queue": "default", "id": new_id(now), "task": task,
            "created_at": now, "expires_at": now + 600, "principal_kind": "user", "sealed": sealed,
        }  # fmt: skip
        self.put(seal(**about | changes))

    def unlimited(self) -> KeyRing:
        """The thief has no reason to keep to the limits of the key."""
        return KeyRing.from_text(str(self.worker.runtime().settings.keys).replace(";mint=no", ""))


@pytest.fixture(params=SIGNED)
def site(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Site]:
    made = Site(f"sqlite:///{tmp_path}/fnqueue.db", str(request.param))
    yield made
    made.web.close()
    made.worker.close()


@pytest.fixture
def stolen(site: Site) -> tuple[str, str]:
    """A true mandate as the worker saw it, and the root that it is for."""
    handle = site.defer("shop.order", "shop.mail")
    mandate = site.opened()["m"]
    site.work()
    site.ran.clear()
    return mandate, handle.id


# ------------------------------------------------------------------ what is given leave


def test_a_task_defers_for_its_user_what_it_names(site: Site) -> None:
    site.defer("shop.order", "shop.mail")
    site.work()
    assert site.ran == [("order", "ada", ["cook", "staff"]), ("mail", "ada", ["cook", "staff"])]
    assert site.refused == []


def test_the_same_mandate_reaches_all_that_follows(site: Site) -> None:
    site.defer("shop.order", "stock.count", 3)
    site.work()
    assert [name for name, _, _ in site.ran] == ["order", "count 3", "count 2", "count 1", "count 0"]


def test_rights_may_shrink_on_the_way(site: Site) -> None:
    site.defer("shop.humble")
    site.work()
    assert site.ran == [("mail", "ada", ["cook"])]


def test_services_need_no_mandate(site: Site) -> None:
    site.defer("shop.served")
    site.work()
    assert [name for name, _, _ in site.ran] == ["served", "refund"]


def test_a_call_that_defers_nothing_carries_none(site: Site) -> None:
    site.defer("shop.mail")
    assert "m" not in site.opened()


def test_names_of_tasks_are_checked_when_they_are_given(site: Site) -> None:
    for wrong in ("shop.mail", (7,), ("",)):
        with pytest.raises(OptionInvalid, match="defers="):
            site.web.task(name="x", defers=wrong)


def released(site: Site) -> None:
    """The one message that waits, by an operator, who has the whole key."""
    operator = site.application(site.url, site.both)
    runtime = operator.runtime()
    broker, now = runtime.engine.broker, runtime.clock.now()
    (message,) = broker.receive("default", visibility_seconds=60)
    about: dict[str, Any] = {"keyring": runtime.ring(), "environment": "default", "queue": "default", "now": now}
    entry = renewed(runtime, verify(message.body, **about), queue="default", group=None, by="service:operator")
    broker.delete("default", [message.receipt])
    broker.send("default", [entry])
    operator.close()


def test_what_an_operator_releases_may_defer_what_it_could_before(site: Site) -> None:
    site.defer("shop.order", "stock.count", 1)
    released(site)
    site.work()
    assert [name for name, _, _ in site.ran] == ["order", "count 1", "count 0"]
    assert (site.raised, site.refused) == ([], [])


def test_what_was_made_under_a_mandate_gets_no_wider_one_when_it_is_released(
    site: Site, stolen: tuple[str, str]
) -> None:
    mandate, root = stolen
    site.forge(mandate, "stock.count", root=root, sealed={"args": [1], "p": ADA.to_wire(), "m": mandate})
    released(site)
    site.work()
    assert [name for name, _, _ in site.ran] == ["count 1"]
    assert "@fn.task(defers=...)" in str(site.raised[0])


def test_what_is_sealed_anew_may_defer_after_the_old_key_is_revoked(site: Site) -> None:
    site.defer("shop.order", "shop.mail")
    new = whole(site.suite)
    rotated = promote(add(site.both, new), KeyRing.from_text(new).primary.key_id)
    operator = site.application(site.url, rotated)
    runtime = operator.runtime()
    broker, visit = runtime.engine.broker, Visit(runtime, "default")
    for batch in visit.walk():
        for each in batch:
            _move(runtime, visit, each, "default")
        break
    worker = site.application(site.url, share(revoke(rotated, site.minting), "worker", signs=site.own))
    worker.on(MessageRefused, lambda event: site.refused.append(event.code))
    site.worker.close()
    site.worker = worker
    site.work()
    assert ([name for name, _, _ in site.ran], site.refused) == (["order", "mail"], [])
    assert broker.attributes("default").visible == 0
    operator.close()


def test_a_mandate_that_no_worker_would_read_is_refused_at_defer_with_the_reason(site: Site) -> None:
    order = site.web.registry.get("shop.order")
    for count, fits in ((1_200, True), (3_000, False)):
        with site.web.as_principal(Principal("ada", roles=frozenset(f"role{n}" for n in range(count)))):
            if fits:
                order.defer("shop.mail")
            else:
                with pytest.raises(KeyInvalid, match=r"3000 roles and 0 scopes has .* may have 20,000"):
                    order.defer("shop.mail")
    site.work()
    assert [name for name, _, _ in site.ran] == ["order", "mail"]
    assert site.refused == []


# ------------------------------------------------------------------ what a worker may not


def test_a_worker_defers_no_task_that_the_mandate_does_not_name(site: Site) -> None:
    site.defer("shop.order", "shop.refund")
    site.work()
    assert [name for name, _, _ in site.ran] == ["order"]
    (error,) = site.raised
    assert isinstance(error, KeyInvalid)
    assert "shop.refund is not among the tasks that it names: shop.mail, stock.*" in str(error)


def test_a_worker_defers_nothing_for_a_user_without_a_mandate_and_says_what_to_do(site: Site) -> None:
    site.defer("shop.plain", "shop.mail")
    site.work()
    assert [name for name, _, _ in site.ran] == ["plain"]
    assert "@fn.task(defers=...)" in str(site.raised[0])


@pytest.mark.parametrize("task", ["shop.impostor", "shop.promoted"])
def test_a_worker_defers_nothing_for_another_person_or_with_more_rights(site: Site, task: str) -> None:
    site.defer(task)
    site.work()
    assert site.ran == []
    assert "for somebody else, or with more rights" in str(site.raised[0])


def test_a_call_under_a_mandate_expires_no_later_than_it(site: Site) -> None:
    site.defer("shop.order", "shop.mail")
    until = mandates.read(site.opened()["m"]).x
    expiries: list[float] = []
    site.worker.on(CallDeferred, lambda event: expiries.append(peek(site.waiting(event.id)).expires_at))
    site.work()
    assert len(expiries) == 1
    assert expiries[0] <= until < expiries[0] + 5 * 86_400 - 900, "its own would have been four days"


def test_a_call_that_is_due_after_its_mandate_ends_is_refused_at_defer(site: Site) -> None:
    site.defer("shop.late")
    site.work()
    assert "due after it" in str(site.raised[0])


# ------------------------------------------------------------------ what a thief of the worker's keys may not


def test_the_forgery_itself_runs_so_that_the_others_can_fail(site: Site, stolen: tuple[str, str]) -> None:
    mandate, root = stolen
    site.forge(mandate, root=root)
    site.work()
    assert [name for name, _, _ in site.ran] == ["mail"]


def test_a_stolen_worker_key_speaks_for_no_user_without_a_mandate(site: Site) -> None:
    site.forge(None)
    site.work()
    assert (site.ran, site.refused) == ([], ["KEY_NOT_FOR_TASK"])


@pytest.mark.parametrize(
    "change",
    [
        {"task": "shop.refund"}, {"p": {"i": "eve"}}, {"p": {"r": ["boss", "staff"]}}, {"p": {"s": ["all"]}},
        {"p": {"t": "other"}}, {"p": {"a": 1.0}}, {"p": {"c": "other"}}, {"root": None}, {"root": "0" * 26},
        {"expires_at": 2**36},
    ],
    ids=str,
)  # fmt: skip
def test_a_stolen_mandate_is_for_its_tree_its_person_its_tasks_and_its_time(
    site: Site, stolen: tuple[str, str], change: dict[str, Any]
) -> None:
    mandate, root = stolen
    site.forge(mandate, **({"root": root} | change))
    site.work()
    assert (site.ran, site.refused) == ([], ["KEY_NOT_FOR_TASK"])


def test_a_mandate_of_ones_own_making_is_worth_nothing(site: Site, stolen: tuple[str, str]) -> None:
    _, root = stolen
    wide = Mandate(p=msgspec.convert(ADA.to_wire(), WirePrincipal), t=("*",), r=root, x=2**36)
    own = mandates.issue(site.unlimited().primary, "default", wide)
    another = mandates.issue(KeyRing.from_text(whole("signed")).primary, "default", wide)
    site.forge(own, "shop.refund", root=root)
    site.work()
    site.forge(another, "shop.refund", root=root)
    site.work()
    assert (site.ran, site.refused[0]) == ([], "KEY_NOT_FOR_TASK")
    assert site.refused[1] in ("UNKNOWN_KEY", "KEY_NOT_FOR_TASK")


def test_no_character_of_a_mandate_can_be_another(site: Site, stolen: tuple[str, str]) -> None:
    mandate, _ = stolen
    ring = site.worker.runtime().ring()
    mandates.prove(mandate, ring, "default")
    for at in range(0, len(mandate), 3):
        for other in {"A", "b", "-", "."} - {mandate[at]}:
            with pytest.raises(EnvelopeError):
                mandates.prove(mandate[:at] + other + mandate[at + 1 :], ring, "default")


def test_a_mandate_of_another_environment_is_worth_nothing(site: Site, stolen: tuple[str, str]) -> None:
    with pytest.raises(EnvelopeError) as refused:
        mandates.prove(stolen[0], site.worker.runtime().ring(), "staging")
    assert refused.value.code == "KEY_NOT_FOR_TASK"
