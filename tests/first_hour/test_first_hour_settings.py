"""Settings that are wrong: found at the first call, all at once."""

from __future__ import annotations

from typing import Any

import pytest

from fnqueue import FnQueue
from fnqueue.security.keyring import new_key
from tests.first_hour.conftest import Says


def started(says: Says, code: str) -> None:
    def start(fn: FnQueue) -> None:
        try:
            fn.runtime().check()
        finally:
            fn.close()

    says.python(f"start({code})", start=start, FnQueue=FnQueue, keys=new_key())


def test_an_unknown_one(says: Says) -> None:
    started(says, "FnQueue(concurency=4)")
    started(says, "FnQueue({'FNQUEUE_BROKER': 'redis://localhost'})")


def test_one_out_of_its_range(says: Says) -> None:
    started(says, "FnQueue(concurrency=0, wait_time_seconds=30)")


def test_one_of_the_wrong_type(says: Says) -> None:
    started(says, "FnQueue(concurrency='many', imports=7, url=None, durability='fast', visibility_seconds=True)")


def test_a_url_that_is_none(says: Says) -> None:
    for url in (
        "",
        "fnqueue.db",
        "/srv/shop/fnqueue.db",
        "sqlite:fnqueue.db",
        "sqlite:/fnqueue.db",
        "sqlite://fnqueue.db",
        "sqlite3:///fnqueue.db",
        "sqlite:///",
        "sqlite:///fnqueue.db?timeout=5",
        "sqs:/eu-west-1/",
        "sqs://",
        "sqs://shop",
        "sqs://eu_west_1/",
        "sqs://eu-west-1/shop.",
        "sqs://AKIA123:secret@eu-west-1/shop-",
        "https://sqs.eu-west-1.amazonaws.com/123456789012/shop",
        "redis://localhost:6379/0",
        "redis://user:secret@localhost:6379/0",
        "amqp://guest:guest@localhost//",
        "postgresql://localhost/shop",
    ):
        started(says, f"FnQueue(url={url!r})")


def test_a_positional_argument(says: Says) -> None:
    started(says, "FnQueue('sqlite:///fnqueue.db')")


def test_flasks_dict_is_no_dict(says: Says) -> None:
    code = "start(config)"

    def start(config: dict[str, Any]) -> None:
        import flask

        from flask_fnqueue import FnQueue

        app = flask.Flask("shop")
        app.config.update(config)
        fn = FnQueue(app)
        with app.app_context():
            fn.runtime()

    for config in (
        {"FNQUEUE": "sqlite:///fnqueue.db"},
        {"FNQUEUE": {"URI": "sqlite:///fnqueue.db"}},
        {"FNQUEUE_DEFAULT_QUEUE": "mail"},
        {"FNQUEUE_URL": 7},
    ):
        says.python(code.replace("config", repr(config)), start=start)


@pytest.mark.system
def test_one_of_the_environment(says: Says) -> None:
    says.write(shop="from fnqueue import FnQueue\nfn = FnQueue()\n@fn.task\ndef pay(): ...\n")
    says.worker(env={"FNQUEUE_CONCURRENCY": "lots", "FNQUEUE_ENVIROMENT": "production"})
    says.worker(env={"FNQUEUE_URL": "redis://localhost:6379/0"})
