"""Flask-SQLAlchemy: a call made while the session has writes waits for the commit; all others leave at once."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from dataclasses import replace

import pytest
import sqlalchemy
from flask import Flask
from sqlalchemy import delete, insert, text, update
from sqlalchemy.orm import Session, scoped_session

from flask_fnqueue.transactions import _watched, is_write
from fnqueue import NotYetSent
from fnqueue.errors import BrokerError, SendAfterCommitFailed
from fnqueue.policies import public
from tests.execution.helpers import Failing
from tests.integrations.flask.shop_database import Shop


@pytest.fixture
def shop(tmp_path):
    made = Shop(tmp_path)
    yield made
    made.close()


@pytest.fixture
def visit(shop, work):
    """Serve one request with `view`, let a worker work, and return (status, the numbers that ran)."""
    views = []
    shop.app.add_url_rule("/", "view", lambda: views[-1]() or "done", methods=["POST"])
    shop.app.config["PROPAGATE_EXCEPTIONS"] = False

    def visit(view) -> tuple[int, list[int]]:
        views.append(view)
        shop.ran.clear()
        status = shop.app.test_client().post("/").status_code
        assert work(shop.app) == 0
        return status, sorted(shop.ran)

    return visit


@pytest.fixture
def session(shop):
    return shop.db.session


# ---------------------------------------------------------------- the rule


def test_a_view_that_only_reads_sends_at_once(shop, visit, session):
    def view():
        session.execute(sqlalchemy.select(shop.Order)).all()
        assert not shop.run.defer(1).held

    assert visit(view) == (200, [1])


def test_a_view_without_the_database_sends_at_once_and_makes_no_session(shop, visit, session):
    def view():
        shop.run.defer(1)
        assert not session.registry.has()

    assert visit(view) == (200, [1])


def test_a_call_waits_for_the_commit_of_what_is_pending(shop, visit, session, work):
    def view():
        session.add(shop.Order(id=1))
        handle = shop.run.defer(1)
        assert (handle.held, len(handle.id)) == (True, 26)
        with pytest.raises(NotYetSent):
            handle.result()
        work(shop.app)
        assert shop.ran == []
        session.commit()
        assert not handle.held

    assert visit(view) == (200, [1])
    assert shop.rows() == {1}


def test_a_call_waits_for_the_commit_of_what_is_flushed(shop, visit, session):
    def view():
        session.add(shop.Order(id=1))
        session.flush()
        assert shop.run.defer(1).held
        session.commit()

    assert visit(view) == (200, [1])


def test_a_rollback_drops_the_call(shop, visit, session):
    def view():
        session.add(shop.Order(id=1))
        handle = shop.run.defer(1)
        session.rollback()
        assert not handle.held
        with pytest.raises(NotYetSent, match="rolled back"):
            handle.result()

    assert visit(view) == (200, [])


def test_an_exception_after_a_write_drops_the_call(shop, visit, session):
    def view():
        session.add(shop.Order(id=1))
        session.flush()
        shop.run.defer(1)
        raise OSError("in the middle of the view")

    assert visit(view) == (500, [])


def test_a_forgotten_commit_drops_the_call_as_it_drops_the_row(shop, visit, session):
    def view():
        session.add(shop.Order(id=1))
        assert shop.run.defer(1).held

    assert visit(view) == (200, [])
    assert shop.rows() == set()


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_a_call_made_before_the_first_write_leaves_at_once_whatever_comes_later(shop, visit, session, ends):
    def view():
        assert not shop.run.defer(1).held
        session.add(shop.Order(id=1))
        getattr(session, ends)()

    assert visit(view) == (200, [1])


def test_a_flush_that_fails_drops_the_call_though_nobody_says_rollback(shop, visit, session):
    session_rows = []

    def view():
        session.add(shop.Order(id=1))
        session.commit()
        session.add(shop.Order(id=1))
        held = shop.run.defer(1)
        try:
            session.commit()
        except sqlalchemy.exc.IntegrityError:
            session_rows.append(held.held)
        # The session takes nothing more until its rollback: this call waits for nothing.
        assert not shop.run.defer(2).held

    assert visit(view) == (200, [2])
    assert session_rows == [False]


def test_what_was_taken_back_before_the_end_leaves_nothing_to_wait_for(shop, visit, session):
    def view():
        order = shop.Order(id=1)
        session.add(order)
        assert shop.run.defer(1).held
        session.expunge(order)

    assert visit(view) == (200, [1])


def test_a_change_that_changes_nothing_is_no_write(shop, visit, session):
    def view():
        session.add(shop.Order(id=1, note="new"))
        session.commit()
        order = session.get(shop.Order, 1)
        order.note = "new"
        assert order in session.dirty
        assert not shop.run.defer(1).held
        order.note = "changed"
        assert shop.run.defer(2).held
        session.rollback()
        session.delete(order)
        assert shop.run.defer(3).held
        session.commit()

    assert visit(view) == (200, [1, 3])


def test_each_transaction_of_a_request_has_its_own_calls(shop, visit, session):
    def view():
        for number, end in enumerate([session.commit, session.rollback, session.commit, session.close]):
            session.add(shop.Order(id=number))
            shop.run.defer(number)
            end()
        session.execute(sqlalchemy.select(shop.Order)).all()
        assert not shop.run.defer(10).held

    assert visit(view) == (200, [0, 2, 10])
    assert shop.rows() == {0, 2}


def test_a_block_of_begin_is_a_transaction_as_any_other(shop, visit, session):
    def view():
        with session.begin():
            session.add(shop.Order(id=1))
            shop.run.defer(1)
        with pytest.raises(OSError, match="inside"), session.begin():
            session.add(shop.Order(id=2))
            shop.run.defer(2)
            raise OSError("inside")

    assert visit(view) == (200, [1])


def test_what_is_deferred_while_the_session_flushes_or_commits_waits_too(shop, visit, session):
    for moment in ("before_insert", "after_insert"):

        @sqlalchemy.event.listens_for(shop.Order, moment)
        def deferring(mapper, connection, order, moment=moment):
            assert shop.run.defer(order.id + (10 if moment == "after_insert" else 0)).held

    def view():
        session.add(shop.Order(id=1))
        session.commit()
        session.add(shop.Order(id=2))
        session.flush()
        session.rollback()

    assert visit(view) == (200, [1, 11])


# ---------------------------------------------------------------- savepoints


def test_a_savepoint_that_is_rolled_back_drops_its_calls_and_keeps_the_others(shop, visit, session):
    def view():
        session.add(shop.Order(id=1))
        shop.run.defer(1)
        savepoint = session.begin_nested()
        assert shop.run.defer(2).held  # nothing written in it, but it is inside of what may be rolled back
        session.add(shop.Order(id=3))
        shop.run.defer(3)
        savepoint.rollback()
        shop.run.defer(4)
        session.commit()

    assert visit(view) == (200, [1, 4])
    assert shop.rows() == {1}


def test_a_savepoint_that_is_kept_shares_the_fate_of_its_transaction(shop, visit, session):
    def view(end):
        with session.begin_nested():
            session.add(shop.Order(id=1))
            held = shop.run.defer(1)
            with session.begin_nested():
                assert shop.run.defer(2).held
        assert held.held
        assert shop.run.defer(3).held
        end()

    assert visit(lambda: view(session.rollback)) == (200, [])
    assert visit(lambda: view(session.remove)) == (200, [])
    assert visit(lambda: view(session.commit)) == (200, [1, 2, 3])


def test_after_the_only_write_was_rolled_back_with_its_savepoint_calls_leave_at_once(shop, visit, session):
    def view():
        savepoint = session.begin_nested()
        session.add(shop.Order(id=1))
        session.flush()
        savepoint.rollback()
        assert not shop.run.defer(1).held

    assert visit(view) == (200, [1])


def test_a_flush_that_fails_in_a_savepoint_leaves_the_outer_writes_waited_for(shop, visit, session):
    def view():
        session.add(shop.Order(id=1))
        session.flush()
        session.expunge_all()
        savepoint = session.begin_nested()
        session.add(shop.Order(id=1))
        inner = shop.run.defer(2)
        with pytest.raises(sqlalchemy.exc.IntegrityError):
            session.flush()
        assert not inner.held
        outer = shop.run.defer(3)
        assert outer.held
        savepoint.rollback()
        session.commit()

    assert visit(view) == (200, [3])


def test_what_is_pending_after_a_flush_that_failed_will_never_be_written(shop, visit, session):
    def view():
        savepoint = session.begin_nested()
        session.add(shop.Order(id=1, note="refused"))
        with pytest.raises(sqlalchemy.exc.IntegrityError):
            session.flush()
        session.add(shop.Order(id=2))
        assert not shop.run.defer(1).held
        with pytest.warns(sqlalchemy.exc.SAWarning, match="will be discarded"):
            savepoint.rollback()
        session.commit()

    assert visit(view) == (200, [1])


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_a_savepoint_within_a_flush_belongs_to_what_is_around_the_flush(shop, visit, session, ends):
    @sqlalchemy.event.listens_for(session, "after_flush")
    def audit(session, context):
        with session.begin_nested():
            session.execute(insert(shop.Visit).values(id=1))
            assert shop.run.defer(1).held

    def view():
        session.add(shop.Order(id=1))
        session.flush()
        getattr(session, ends)()

    assert visit(view) == (200, [1] if ends == "commit" else [])


def test_a_call_that_another_thread_makes_as_the_transaction_ends_shares_its_end(shop, visit, session):
    def view():
        for number, end in enumerate([session.commit, session.rollback]):
            savepoint = session.begin_nested()
            session.add(shop.Order(id=number))
            looked = shop.app.extensions["fnqueue"].transactions.current()
            for place in ("savepoint", "transaction"):
                (savepoint.commit if place == "savepoint" else end)()
                held = shop.fn._hold(looked, [shop.fn._prepare(shop.run, (number,), {})])
                assert (held.state_of("") == "held") == (place == "savepoint")

    assert visit(view) == (200, [0, 0])


# ---------------------------------------------------------------- whatever writes


WRITES = {
    "insert": lambda shop, session: session.execute(insert(shop.Order).values(id=5)),
    "many inserts": lambda shop, session: session.execute(insert(shop.Order), [{"id": 5}, {"id": 6}]),
    "update": lambda shop, session: session.execute(update(shop.Order).values(note="x")),
    "delete": lambda shop, session: session.execute(delete(shop.Order)),
    "update through a query": lambda shop, session: session.query(shop.Order).update({"note": "x"}),
    "bulk_save_objects": lambda shop, session: session.bulk_save_objects([shop.Order(id=5)]),
    "bulk_insert_mappings": lambda shop, session: session.bulk_insert_mappings(shop.Order, [{"id": 5}]),
    "plain SQL": lambda shop, session: session.execute(
        text('-- by hand\nINSERT INTO "order" VALUES (5, :n)'), {"n": ""}
    ),
    "the driver's SQL": lambda shop, session: session.connection().exec_driver_sql(
        "INSERT INTO 'order' VALUES (5, '')"
    ),
    "the other bind": lambda shop, session: session.execute(insert(shop.Visit).values(id=5)),
    "an insert with a query in front": lambda shop, session: session.execute(
        text("WITH n AS (SELECT 5 AS id) INSERT INTO \"order\" SELECT id, '' FROM n")
    ),
}


@pytest.mark.parametrize("how", WRITES)
def test_all_ways_to_write_through_the_session_are_waited_for(shop, visit, session, how):
    def view(end):
        WRITES[how](shop, session)
        assert shop.run.defer(1).held
        end()

    assert visit(lambda: view(session.rollback)) == (200, [])
    assert visit(lambda: view(session.commit)) == (200, [1])


@pytest.mark.parametrize(
    ("statement", "writes"),
    [
        ("SELECT 1", False),
        ("  ((select 1) UNION (select 2))", False),
        ("/* from /app.py */ SELECT 1", False),
        ("/* a */ -- b\n UPDATE x SET y = 1", True),
        ("PRAGMA foreign_keys", False),
        ("SAVEPOINT a", False),
        ("WITH a AS (SELECT 1) SELECT * FROM a", False),
        ("with a as (delete from b returning *) select * from a", True),
        ('WITH a AS (UPDATE ONLY "my b" AS c SET d = 1 RETURNING *) SELECT * FROM a', True),
        ("WITH a AS (SELECT 1 FROM b FOR UPDATE) SELECT * FROM a", False),
        ("MERGE INTO a USING b ON true", True),
        ("CREATE TABLE a (b int)", True),
        ("CALL something()", True),
        ("", True),
        (" " * 100_000 + "1", True),
    ],
)
def test_a_statement_is_known_by_its_first_word(statement, writes):
    assert is_write(statement) is writes


def test_a_query_of_sqlalchemys_own_is_known_by_what_is_in_it(shop):
    orders = shop.Order.__table__
    read = orders.select().cte().select().compile()
    changed = sqlalchemy.select(orders.delete().returning(orders.c.id).cte()).compile()
    written = orders.insert().from_select(["id"], sqlalchemy.select(orders.c.id).cte().select()).compile()
    assert [is_write(str(each), each) for each in (read, changed, written)] == [False, True, True]


def test_a_statement_that_failed_alone_wrote_nothing(shop, visit, session):
    def view():
        with pytest.raises(sqlalchemy.exc.OperationalError):
            session.execute(text("INSERT INTO nowhere VALUES (1)"))
        assert not shop.run.defer(1).held

    assert visit(view) == (200, [1])


def test_of_many_rows_that_failed_at_one_those_before_it_are_written(shop, visit, session):
    def view(end):
        with pytest.raises(sqlalchemy.exc.IntegrityError):
            session.execute(text("INSERT INTO \"order\" VALUES (:id, '')"), [{"id": 5}, {"id": 5}])
        assert shop.run.defer(1).held
        end()

    assert visit(lambda: view(session.rollback)) == (200, [])
    assert visit(lambda: view(session.commit)) == (200, [1])
    assert shop.rows() == {5}


def test_two_binds_are_one_transaction(shop, visit, session):
    def view(end):
        session.add(shop.Visit(id=1))
        session.flush()
        session.add(shop.Order(id=1))
        shop.run.defer(1)
        end()

    assert visit(lambda: view(session.rollback)) == (200, [])
    assert visit(lambda: view(session.commit)) == (200, [1])


def test_a_session_of_ones_own_is_not_known_and_its_calls_leave_at_once(shop, visit, session):
    def view():
        for own in (Session(shop.db.engine), session.session_factory()):
            own.add(shop.Order(id=1))
            own.flush()
            assert not shop.run.defer(1).held
            own.rollback()
            own.close()

    assert visit(view) == (200, [1, 1])


# ---------------------------------------------------------------- batches, and sends that fail


@pytest.fixture
def sends(shop):
    """The sizes of all sends, and a way to make them fail: `sends.on["fail"] = error`."""
    runtime = shop.app.extensions["fnqueue"].runtime
    broker, sizes = Failing(runtime.engine.broker), []
    runtime.__dict__["engine"] = replace(runtime.engine, broker=broker)

    def send(queue, entries):
        sizes.append(len(entries))
        return broker.real.send(queue, entries)

    broker.on["send"] = send
    broker.sizes = sizes
    return broker


def test_the_calls_of_a_transaction_leave_in_one_go(shop, visit, session, sends):
    def view():
        session.add(shop.Order(id=1))
        for number in range(25):
            shop.run.defer(number)
        with session.begin_nested():
            shop.run.defer(25)
        session.commit()

    assert visit(view) == (200, list(range(26)))
    assert sends.sizes == [26]


def test_a_batch_sends_none_of_what_was_rolled_back_inside_it(shop, visit, session):
    def view():
        session.add(shop.Order(id=1))
        with shop.fn.batch() as batch:
            shop.run.defer(1)
            session.rollback()
            assert not shop.run.defer(2).held or batch
            session.add(shop.Order(id=3))
            shop.run.defer(3)
            session.commit()
            session.add(shop.Order(id=4))
            shop.run.defer(4)
        session.rollback()
        assert len(batch.handles) == 4

    # The second waited for the end of the batch, which came while the transaction of the fourth was open.
    assert visit(view) == (200, [3])


def test_a_batch_that_fails_drops_what_waits_for_the_commit(shop, visit, session):
    def view():
        session.add(shop.Order(id=1))
        with pytest.raises(OSError, match="inside"), shop.fn.batch():
            shop.run.defer(1)
            raise OSError("inside")
        shop.run.defer(2)
        session.commit()

    assert visit(view) == (200, [2])


def test_a_send_that_fails_after_the_commit_reaches_the_caller_of_commit_and_the_session_stays_usable(
    shop, visit, session, sends, caplog
):
    seen = []

    def view():
        working = sends.on["send"]
        sends.on["send"] = lambda queue, entries: (_ for _ in ()).throw(BrokerError("the disk is full"))
        session.add(shop.Order(id=1))
        handle = shop.run.defer(1)
        with pytest.raises(SendAfterCommitFailed, match=f"committed, but call {handle.id} could not be sent"):
            session.commit()
        assert f"{handle.id} to queue default could not be sent" in caplog.text
        with pytest.raises(NotYetSent, match="could not be sent"):
            handle.result()
        assert not session().in_transaction()
        sends.on["send"] = working
        seen.append(session.get(shop.Order, 1).id)
        session.add(shop.Order(id=2))
        shop.run.defer(2)
        session.commit()
        seen.append(shop.db.engine.pool.checkedout())

    assert visit(view) == (200, [2])
    assert seen == [1, 0]
    assert shop.rows() == {1, 2}


def test_a_send_that_fails_at_the_end_of_the_context_is_logged_and_the_session_is_removed(
    shop, visit, session, sends, caplog
):
    working = sends.on["send"]

    def view():
        order = shop.Order(id=1)
        session.add(order)
        shop.run.defer(1)
        session.expunge(order)
        sends.on["send"] = lambda queue, entries: (_ for _ in ()).throw(BrokerError("the disk is full"))

    removed = []
    shop.app.teardown_appcontext_funcs.insert(0, lambda error: removed.append(not session.registry.has()))
    shop.app.test_client()
    with shop.app.app_context():
        view()
    sends.on["send"] = working
    assert removed[-1]
    assert "could not be sent: the disk is full" in caplog.text


# ---------------------------------------------------------------- tasks, async views, threads, several apps


def test_a_task_waits_for_the_commit_of_its_own_session(shop, session, work):
    @shop.fn.task(name="plain", policy=public)
    def plain(number: int, commits: bool) -> None:
        session.add(shop.Order(id=number))
        shop.run.defer(number)
        if commits:
            session.commit()

    @shop.fn.task(name="coroutine", policy=public)
    async def coroutine(number: int, commits: bool) -> None:
        session.add(shop.Order(id=number))
        await shop.run.adefer(number)
        if commits:
            session.commit()

    @shop.fn.task(name="failing", policy=public)
    def failing(number: int) -> None:
        session.add(shop.Order(id=number))
        session.flush()
        shop.run.defer(number)
        raise OSError("after the write")

    with shop.app.app_context():
        for number, task in enumerate((plain, coroutine)):
            task.defer(number, True)
            task.defer(10 + number, False)
        failing.defer(20)
    work(shop.app)
    assert sorted(shop.ran) == [0, 1]
    assert shop.rows() == {0, 1}


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_an_async_view_waits_for_its_session_from_whatever_thread_it_defers(shop, session, work, ends):
    handles = []

    @shop.app.post("/async")
    async def view():
        session.add(shop.Order(id=1))
        handles.extend(await asyncio.gather(*(shop.run.adefer(number) for number in range(5))))
        assert all(handle.held for handle in handles)
        getattr(session, ends)()
        return "done"

    assert shop.app.test_client().post("/async").status_code == 200
    work(shop.app)
    assert sorted(shop.ran) == (list(range(5)) if ends == "commit" else [])


def test_another_requests_writes_are_not_waited_for(shop, session, work):
    written, deferred = threading.Event(), threading.Event()

    def writer():
        with shop.app.app_context():
            session.add(shop.Order(id=1))
            session.flush()
            written.set()
            deferred.wait(20)
            session.rollback()

    thread = threading.Thread(target=writer)
    thread.start()
    assert written.wait(20)
    try:
        with shop.app.app_context():
            assert not shop.run.defer(1).held
            with shop.app.app_context():
                assert not shop.run.defer(2).held
    finally:
        deferred.set()
        thread.join(20)
    work(shop.app)
    assert sorted(shop.ran) == [1, 2]


def test_an_extension_of_that_name_without_a_session_like_it_is_left_alone(app, fn, work):
    class Other:
        @property
        def session(self):
            raise AssertionError("a session would be made")

    app.extensions["sqlalchemy"] = Other()

    @fn.task(name="note", policy=public)
    def note() -> None: ...

    with app.app_context():
        assert not note.defer().held


def test_one_database_object_of_many_apps_is_listened_to_once_and_keeps_none_of_them(tmp_path):
    shop = Shop(tmp_path)
    watching = _watched[shop.db.session]
    others = []
    for number in range(3):
        app = Flask(f"other{number}", instance_path=str(tmp_path))
        app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
        shop.fn.init_app(app)
        shop.db.init_app(app)
        with app.app_context():
            shop.db.session.execute(text("SELECT 1"))
            engine = shop.db.engine
        engine.dispose()
        others.append(weakref.ref(app))
    assert _watched[shop.db.session] is watching
    del app
    gc.collect()
    assert [each() for each in others] == [None] * 3
    shop.close()


# ---------------------------------------------------------------- another session in its place


def test_a_session_that_a_test_puts_in_its_place_is_waited_for_too(shop, visit, session):
    with shop.app.app_context():
        assert not shop.run.defer(0).held  # the first is known by now
        shop.db.session = shop.db._make_scoped_session({})

        def view():
            shop.db.session.add(shop.Order(id=1))
            shop.db.session.flush()
            assert shop.run.defer(1).held
            shop.db.session.rollback()
            shop.db.session.execute(insert(shop.Order).values(id=2))
            handle = shop.run.defer(2)
            assert handle.held
            shop.db.session.commit()
            assert not handle.held

        assert visit(view) == (200, [0, 2])
        shop.db.session.remove()
        shop.db.session = session
        session.add(shop.Order(id=3))
        assert shop.run.defer(3).held


def test_a_session_made_by_a_function_is_left_alone_as_one_of_ones_own_is(shop):
    with shop.app.app_context():
        own = Session(shop.db.engine)
        shop.db.session = scoped_session(lambda: own)
    with shop.app.app_context():
        own.add(shop.Order(id=1))
        assert not shop.run.defer(1).held
        own.close()
