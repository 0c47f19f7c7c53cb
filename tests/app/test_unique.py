"""Which calls are one: by a key, or by what they say; for how long, and for whom."""

from __future__ import annotations

import pytest

from fnqueue import FnQueue, Principal
from fnqueue.errors import OptionInvalid, SettingsInvalid, StoreMissing
from fnqueue.policies import public

ADA, BOB = Principal(id="1"), Principal(id="2")


@pytest.fixture
def seen():
    return []


@pytest.fixture
def mail(fn, seen):
    @fn.task(name="mail", policy=public)
    def mail(to: str, subject: str = "hello") -> str:
        seen.append((to, subject))
        return to

    return mail


# ---------------------------------------------------------------- how long


def test_a_key_is_held_for_its_time_and_not_only_until_the_call_ended(mail, seen, drain, clock):
    daily = mail.using(dedupe="daily", unique_for_seconds=3600)
    first = daily.defer("ada")
    drain()
    assert first.state == "SUCCESS"
    clock.advance(seconds=3599)
    assert daily.defer("ada").id == first.id
    clock.advance(seconds=1)
    assert daily.defer("ada").id != first.id
    drain()
    assert len(seen) == 2


def test_the_time_counts_from_the_defer_and_not_from_when_the_call_is_due(mail, drain, clock):
    late = mail.using(dedupe="k", unique_for_seconds=60, delay_seconds=600)
    first = late.defer("ada")
    clock.advance(seconds=61)
    assert late.defer("ada").id != first.id


def test_the_time_may_be_longer_than_the_call_lives(mail, seen, drain, clock):
    long = mail.using(dedupe="k", unique_for_seconds=86_400, expires_seconds=60)
    first = long.defer("ada")
    drain()
    clock.advance(hours=23)
    assert long.defer("ada").id == first.id
    drain()
    assert len(seen) == 1


def test_without_a_time_a_key_is_held_until_the_call_would_expire(mail, drain, clock):
    keyed = mail.using(dedupe="k", expires_seconds=600)
    first = keyed.defer("ada")
    drain()
    clock.advance(seconds=599)
    assert keyed.defer("ada").id == first.id
    clock.advance(seconds=1)
    assert keyed.defer("ada").id != first.id


# ---------------------------------------------------------------- without a key


def test_without_a_key_calls_with_the_same_arguments_are_one(mail, seen, drain, clock):
    unique = mail.using(unique_for_seconds=60)
    first = unique.defer("ada")
    assert unique.defer(to="ada").id == first.id
    assert unique.defer("ada", "hello").id == first.id
    assert unique.defer("ada", subject="bye").id != first.id
    assert unique.defer("bob").id != first.id
    drain()
    assert sorted(seen) == [("ada", "bye"), ("ada", "hello"), ("bob", "hello")]


def test_a_value_of_another_type_is_another_call(fn):
    @fn.task(name="note", policy=public)
    def note(value: object = 1) -> None: ...

    unique = note.using(unique_for_seconds=60)
    ids = {unique.defer(*args).id for args in ((), (1,), (True,), ("1",), (1.0,))}
    assert len(ids) == 4


def test_a_task_may_say_it_for_all_of_its_calls_and_a_call_otherwise(fn, clock):
    @fn.task(name="index", policy=public, unique_for_seconds=60)
    def index(product: int) -> None: ...

    first = index.defer(7)
    assert index.defer(7).id == first.id
    keyed = index.using(dedupe="k").defer(7)
    assert keyed.id != first.id
    clock.advance(seconds=60)
    assert index.using(dedupe="k").defer(7).id != keyed.id
    again = index.using(unique_for_seconds=600).defer(7)
    clock.advance(seconds=500)
    assert index.defer(7).id == again.id


def test_another_principals_call_is_another_one_because_a_handle_reads_the_result(fn, mail):
    unique, ids = mail.using(unique_for_seconds=60), set()
    for who in (ADA, ADA, BOB, Principal(id="1", kind="service"), Principal(id="1", roles={"editor"})):
        with fn.as_principal(who):
            ids.add(unique.defer("ada").id)
    assert len(ids) == 3


# ---------------------------------------------------------------- for whom


@pytest.mark.parametrize("options", [{"dedupe": "invoice:42"}, {"dedupe": "invoice:42", "unique_for_seconds": 60}])
def test_a_key_of_one_tenant_never_gives_the_handle_of_anothers_call(fn, mail, options):
    handles = {}
    for tenant in ("acme", "other", None):
        with fn.as_principal(Principal(id="1", tenant=tenant)):
            handles[tenant] = mail.using(**options).defer("ada").id
            assert mail.using(**options).defer("bob").id == handles[tenant]
    assert len(set(handles.values())) == 3


def test_the_tenant_that_a_call_names_comes_before_its_principals(fn, mail):
    with fn.as_principal(Principal(id="1", tenant="acme")):
        mine = mail.using(dedupe="k").defer("ada").id
        theirs = mail.using(dedupe="k", tenant="other").defer("ada").id
    with fn.as_principal(Principal(id="9", tenant="other")):
        assert mail.using(dedupe="k").defer("ada").id == theirs != mine


def test_nothing_on_the_disk_tells_the_key_the_tenant_or_the_arguments(tmp_path):
    fn = FnQueue(url=f"sqlite:///{tmp_path}/queue.db")
    mail = fn.task(name="mail", policy=public)(lambda to: None)
    with fn.as_principal(Principal(id="1", tenant="acme-tenant")):
        mail.using(dedupe="invoice-42").defer("ada@example.org")
        mail.using(unique_for_seconds=60, tenant="other-tenant").defer("ada@example.org")
    fn.close()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert b"dedupe" in written
    for word in (b"invoice-42", b"acme-tenant", b"other-tenant", b"ada@example.org"):
        assert word not in written


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("seconds", [0, -1, 0.5, float("nan"), 31_536_001, "60", True])
def test_a_time_is_a_second_to_a_year(fn, mail, seconds):
    with pytest.raises(OptionInvalid, match="unique_for_seconds="):
        mail.using(unique_for_seconds=seconds)
    with pytest.raises(OptionInvalid, match="unique_for_seconds="):
        fn.task(name="other", unique_for_seconds=seconds)(lambda: None)


def test_without_a_store_it_is_refused_by_its_name():
    fn = FnQueue(url="sqlite://", store_url="none")
    task = fn.task(name="mail", policy=public)(lambda: None)
    with pytest.raises(StoreMissing, match="mail: unique_for_seconds= needs a store"):
        task.using(unique_for_seconds=60).defer()
    fn.task(name="index", policy=public, unique_for_seconds=60)(lambda: None)
    other = FnQueue(url="sqlite://", store_url="none")
    other.task(name="index", policy=public, unique_for_seconds=60)(lambda: None)
    with pytest.raises(
        SettingsInvalid, match="unique_for_seconds= needs a store, and FNQUEUE_STORE_URL is not set: index"
    ):
        other.registry.get("index").defer()


def test_a_call_whose_argument_cannot_travel_holds_no_key(fn, mail):
    from fnqueue import ArgumentError

    with pytest.raises(ArgumentError):
        mail.using(unique_for_seconds=60).defer(object())
    first = mail.using(unique_for_seconds=60).defer("ada")
    assert mail.using(unique_for_seconds=60).defer("ada").id == first.id


def test_a_signature_carries_the_time(fn, mail):
    signature = mail.using(unique_for_seconds=60).s("ada")
    assert signature.options == {"unique_for_seconds": 60}
    first, second = fn.defer_many(mail, [signature, signature])
    assert first.id == second.id


@pytest.mark.parametrize("options", [{"dedupe": "k"}, {"unique_for_seconds": 60}])
def test_a_call_that_is_applied_runs_each_time_and_holds_no_key(mail, seen, drain, options):
    """It was never sent: whoever defers the same then would get a handle of nothing."""
    unique = mail.using(**options)
    assert [unique.apply("ada").value, unique.apply("ada").value] == ["ada", "ada"]
    handle = unique.defer("ada")
    drain()
    assert handle.state == "SUCCESS"
    unique.apply("ada")
    assert unique.defer("ada").id == handle.id
    assert len(seen) == 4
