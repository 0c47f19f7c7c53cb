"""`owns(Model)`: asked of `db.session` at defer and before the run, each time as the database is then."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, event
from sqlalchemy.orm import Mapped, mapped_column, relationship

from flask_fnqueue import FnQueue
from flask_fnqueue.policies import owns
from fnqueue import PolicyDenied, Principal
from fnqueue.errors import OptionInvalid, PolicyUndecided
from fnqueue.policies import public
from fnqueue.testing import Drain, in_memory

ADA, BOB = Principal(id="1"), Principal(id="2")


class Tables:
    def __init__(self, db: Any) -> None:
        class User(db.Model):
            id: Mapped[int] = mapped_column(primary_key=True)

        class Account(db.Model):
            id: Mapped[int] = mapped_column(primary_key=True)
            owner_id: Mapped[int | None] = mapped_column(ForeignKey("user.id"))
            owner: Mapped[User | None] = relationship()
            parent_id: Mapped[int | None] = mapped_column(ForeignKey("account.id"))
            parent: Mapped[Account | None] = relationship(remote_side=[id], backref="children")

        class Order(db.Model):
            id: Mapped[str] = mapped_column(primary_key=True)
            account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
            account: Mapped[Account] = relationship(backref="orders")

        class Line(db.Model):
            order_id: Mapped[str] = mapped_column(primary_key=True)
            number: Mapped[int] = mapped_column(primary_key=True)
            owner_id: Mapped[int]

        self.User, self.Account, self.Order, self.Line = User, Account, Order, Line


@pytest.fixture
def shop(tmp_path):
    """Account 10 is ada's and the parent of 11, which is bob's; order "o" is of account 11."""
    fn, db = FnQueue(), SQLAlchemy()
    tables = Tables(db)
    app = Flask("shop", instance_path=str(tmp_path))
    app.config.update(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/shop.db")
    fn.init_app(app)
    db.init_app(app)
    with app.app_context():
        db.create_all()
        db.session.add_all([tables.User(id=1), tables.User(id=2)])
        db.session.add_all([tables.Account(id=10, owner_id=1), tables.Account(id=11, owner_id=2, parent_id=10)])
        db.session.add(tables.Order(id="o", account_id=11))
        db.session.commit()
        with in_memory(fn):
            yield SimpleNamespace(app=app, fn=fn, db=db, tables=tables, drain=Drain(fn.runtime), make=maker(fn))
        db.session.remove()
        db.engine.dispose()


def maker(fn):
    def make(policy):
        return fn.task(name="work", policy=policy)(work)

    return make


def work(key: str = "") -> None: ...


def may(shop, task, who, key):
    with shop.fn.as_principal(who):
        try:
            return task.defer(key)
        except PolicyDenied:
            return None


def test_the_owner_may_and_others_may_not_and_ids_compare_as_text(shop):
    task = shop.make(owns(shop.tables.Account, argument="key"))
    assert may(shop, task, ADA, "10")
    assert not may(shop, task, BOB, "10")
    shop.drain()
    assert [type(outcome).__name__ for _, outcome in shop.drain.outcomes] == ["Succeeded"]


def test_a_row_that_changed_hands_meanwhile_denies_the_run(shop):
    task = shop.make(owns(shop.tables.Account, argument="key"))
    handle = may(shop, task, ADA, "10")
    shop.db.session.get(shop.tables.Account, 10).owner_id = 2
    shop.db.session.commit()
    shop.drain()
    assert handle.state == "DENIED"


@pytest.mark.parametrize("key", ["99", "", "ten", "9" * 30, "-1", "10 or 1=1"])
def test_what_does_not_exist_is_refused_in_the_words_for_what_is_anothers(shop, key):
    task = shop.make(owns(shop.tables.Account, argument="key"))
    with shop.fn.as_principal(BOB):
        with pytest.raises(PolicyDenied) as missing:
            task.defer(key)
        with pytest.raises(PolicyDenied) as anothers:
            task.defer("10")
    assert str(missing.value) == str(anothers.value)


@pytest.mark.parametrize(
    ("model", "owner", "key", "who"),
    [
        ("Account", "owner_id", "11", BOB),
        ("Account", "owner", "11", BOB),
        ("Account", "parent.owner", "11", ADA),
        ("Order", "account.owner_id", "o", BOB),
        ("Order", "account.owner", "o", BOB),
        ("Order", "account.parent.owner_id", "o", ADA),
    ],
)
def test_the_owner_may_be_further_away_and_costs_one_query(shop, model, owner, key, who):
    task = shop.make(owns(getattr(shop.tables, model), argument="key", owner=owner))
    said = []
    event.listen(shop.db.engine, "before_cursor_execute", lambda *call: said.append(call[2]))
    assert may(shop, task, who, key)
    assert len(said) == 1
    assert not may(shop, task, BOB if who is ADA else ADA, key)


def test_a_row_that_the_view_has_flushed_is_seen_and_nothing_is_flushed_by_the_question(shop):
    task = shop.make(owns(shop.tables.Account, argument="key"))
    shop.db.session.add(shop.tables.Account(id=12, owner_id=1))
    assert not may(shop, task, ADA, "12")
    assert shop.db.session.new
    shop.db.session.flush()
    handle = may(shop, task, ADA, "12")
    assert handle.held  # for the commit
    shop.db.session.commit()
    shop.drain()
    assert handle.state == "SUCCESS"


def test_the_question_is_no_write_that_a_call_would_wait_for(shop):
    task = shop.make(owns(shop.tables.Account, argument="key"))
    assert not may(shop, task, ADA, "10").held


def test_a_row_without_an_owner_is_nobodys(shop):
    shop.db.session.add(shop.tables.Account(id=13))
    shop.db.session.commit()
    for owner in ("owner_id", "owner"):
        task = shop.make(owns(shop.tables.Account, argument="key", owner=owner))
        assert not may(shop, task, Principal(id="None"), "13")
        shop.fn.registry._tasks.clear()


def test_a_service_owns_nothing_whatever_its_name(shop):
    task = shop.make(owns(shop.tables.Account, argument="key"))
    assert not may(shop, task, Principal(id="1", kind="service"), "10")


def test_a_database_that_fails_is_an_error_and_not_a_denial(shop):
    task = shop.make(owns(shop.tables.Account, argument="key"))
    shop.db.session.execute(sqlalchemy.text("DROP TABLE account"))
    with shop.fn.as_principal(ADA), pytest.raises(PolicyUndecided, match="could not decide: OperationalError"):
        task.defer("10")


def test_faults_are_told_at_decoration_where_they_can_be_known(shop):
    Account = shop.tables.Account
    for wrong, says in (
        (lambda: owns("Account", argument="key"), "must be a model of SQLAlchemy"),
        (lambda: owns(Account, argument="key", owner="owner..id"), "must be an attribute, or a path"),
        (lambda: owns(Account, argument="key", owner="boss"), "it has no 'boss'"),
        (lambda: owns(SimpleNamespace, argument="key", owner="owner"), "is no model of SQLAlchemy"),
        (lambda: shop.fn.task(policy=owns)(work), "policy=owns was not called: write owns\\(Order"),
    ):
        with pytest.raises(OptionInvalid, match=says):
            wrong()


@pytest.mark.parametrize(("model", "owner"), [("Account", "owner.name"), ("Account", "children"), ("Line", "owner_id")])
def test_what_is_wrong_further_along_is_an_error_and_lets_nobody_in(shop, model, owner):
    task = shop.make(owns(getattr(shop.tables, model), argument="key", owner=owner))
    with shop.fn.as_principal(ADA), pytest.raises(PolicyUndecided, match="OptionInvalid"):
        task.defer("10")


def test_an_app_without_flask_sqlalchemy_is_an_error_and_lets_nobody_in(shop, tmp_path):
    fn = FnQueue()
    app = Flask("bare", instance_path=str(tmp_path))
    fn.init_app(app)
    task = fn.task(name="work", policy=public & owns(shop.tables.Account, argument="key"))(work)
    with app.app_context(), in_memory(fn), fn.as_principal(ADA), pytest.raises(PolicyUndecided):
        task.defer("10")
