"""A Flask app with Flask-SQLAlchemy on two real SQLite files, and a task that notes which numbers ran."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import CheckConstraint, Engine, event
from sqlalchemy.orm import Mapped, mapped_column

from flask_fnqueue import FnQueue
from fnqueue.policies import public


class Shop:
    """`Order` lies in the main file, `Visit` in that of the bind `audit`. `ran`: the numbers of the calls that ran."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.fn, self.db, self.ran = FnQueue(), SQLAlchemy(), list[int]()
        db: Any = self.db

        class Order(db.Model):
            __table_args__ = (CheckConstraint("note <> 'refused'"),)
            id: Mapped[int] = mapped_column(primary_key=True)
            note: Mapped[str] = mapped_column(default="")

        class Visit(db.Model):
            __bind_key__ = "audit"
            id: Mapped[int] = mapped_column(primary_key=True)

        self.Order, self.Visit = Order, Visit
        self.app = Flask("shop", instance_path=str(folder))
        self.app.config.update(SECRET_KEY="of a test", SQLALCHEMY_DATABASE_URI=f"sqlite:///{folder}/shop.db")
        self.app.config.update(SQLALCHEMY_BINDS={"audit": f"sqlite:///{folder}/audit.db"}, **config)
        self.fn.init_app(self.app)  # before the database: the order must not matter
        self.db.init_app(self.app)

        @self.fn.task(name="run", policy=public)
        def run(number: int) -> None:
            self.ran.append(number)

        self.run = run
        with self.app.app_context():
            for engine in self.db.engines.values():
                _give_it_savepoints(engine)
            self.db.create_all()

    def rows(self, *, above: int = -1) -> set[int]:
        """What is in the two files, by connections of their own: ids greater than `above`."""
        with self.app.app_context():
            found: set[int] = set()
            for bind, table in ((None, self.Order.__table__), ("audit", self.Visit.__table__)):
                with self.db.engines[bind].connect() as connection:
                    found |= {row.id for row in connection.execute(table.select().where(table.c.id > above))}
            return found

    def close(self) -> None:
        self.fn.close()
        with self.app.app_context():
            for engine in self.db.engines.values():
                engine.dispose()


def _give_it_savepoints(engine: Engine) -> None:
    """SQLAlchemy's own recipe: Python's sqlite3 begins a transaction too late for them."""

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begun(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")
