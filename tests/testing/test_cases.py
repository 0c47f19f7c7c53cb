"""`FnQueueTestCase`: unittest without pytest, in processes of their own as users run them."""

from __future__ import annotations

import unittest
from pathlib import Path

import pytest

from fnqueue import FnQueue
from fnqueue.testing import FnQueueTestCase
from tests.commands import run

SHOP = """
from fnqueue import FnQueue

fn = FnQueue(url="sqlite:///must-not-be-made.db")
charged = []

@fn.task
def charge(account: int) -> int:
    charged.append(account)
    return account

@fn.task
async def add(a: int, b: int) -> int:
    return a + b
"""


def unittests(folder: Path, text: str, **env: str):
    (folder / "shop.py").write_text(SHOP)
    (folder / "test_shop.py").write_text(text)
    return run("unittest", "test_shop", cwd=folder, env=env)


@pytest.mark.system
def test_a_test_case_has_a_queue_in_memory_for_each_test(tmp_path):
    done = unittests(
        tmp_path,
        """
import shop
from unittest import IsolatedAsyncioTestCase
from fnqueue.testing import FnQueueTestCase

class Charging(FnQueueTestCase):
    fn = shop.fn

    def setUp(self):
        shop.charged.clear()  # and no super().setUp()

    def test_it(self):
        self.assertNotDeferred(shop.charge)
        handle = shop.charge.defer(7)
        shop.charge.using(delay_seconds=3600).defer(8)
        self.assertDeferred(shop.charge, args=(7,), count=1)
        self.drain()
        self.assertEqual(handle.result(), 7)
        self.advance(hours=1)
        self.assertEqual(shop.charged, [7, 8])

    def test_the_next_begins_with_nothing(self):
        self.assertNotDeferred(shop.charge)
        self.assertEqual(self.drain(), 0)

    def test_a_failure_reads_well(self):
        with self.assertRaisesRegex(AssertionError, "expected at least 1 call of shop.charge"):
            self.assertDeferred(shop.charge)

class Eagerly(FnQueueTestCase):
    fn = shop.fn
    eager = True

    def test_it(self):
        self.assertEqual(shop.charge.defer(7).result(), 7)

class OnALoop(FnQueueTestCase, IsolatedAsyncioTestCase):
    fn = shop.fn

    async def test_it(self):
        handle = await shop.add.adefer(1, 2)
        self.drain()
        self.assertEqual(await handle.aresult(), 3)
""",
    )
    assert "Ran 5 tests" in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob("*.db")) + list(tmp_path.glob("*.keys"))


@pytest.mark.system
def test_what_the_set_up_of_the_class_defers_reaches_neither_the_real_queue_nor_a_test(tmp_path):
    done = unittests(
        tmp_path,
        """
import shop
from fnqueue.testing import FnQueueTestCase

class Charging(FnQueueTestCase):
    fn = shop.fn

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        shop.charge.defer(7)

    @classmethod
    def tearDownClass(cls):
        shop.charge.defer(8)
        super().tearDownClass()

    def test_it(self):
        self.assertEqual(self.drain(), 0)
        self.assertNotDeferred(shop.charge)
""",
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != "") == ["shop.py", "test_shop.py"]


@pytest.mark.system
def test_a_test_that_fails_in_chaos_says_the_seed(tmp_path):
    text = """
import shop
from fnqueue.testing import FnQueueTestCase

class Charging(FnQueueTestCase):
    fn = shop.fn
    chaos = True

    def test_it(self):
        shop.charge.defer(7)
        self.drain()
        self.assertEqual(shop.charged, [7])
"""
    done = unittests(tmp_path, text, FNQUEUE_CHAOS_SEED="42")
    assert done.returncode == 1
    assert "to see the same again, set FNQUEUE_CHAOS_SEED=42" in done.stderr


def outcome(case: type[unittest.TestCase], name: str = "test_it") -> unittest.TestResult:
    result = unittest.TestResult()
    case(name).run(result)
    return result


def test_a_case_that_does_not_say_whose_queue_it_tests_is_an_error_with_what_to_do():
    class Lost(FnQueueTestCase):
        def test_it(self):
            raise AssertionError("must not run")

    ((_, text),) = outcome(Lost).errors
    assert "class Lost(...): fn = yourapp.fn" in text


def test_a_skipped_case_makes_no_queue():
    class Skipped(FnQueueTestCase):
        @unittest.skip("not today")
        def test_it(self): ...

    result = outcome(Skipped)
    assert (len(result.skipped), result.errors) == (1, [])


def test_the_queue_of_the_application_is_back_after_a_test_that_failed():
    mine = FnQueue()

    class Fails(FnQueueTestCase):
        fn = mine

        def test_it(self):
            raise ValueError

    assert len(outcome(Fails).errors) == 1
    assert mine._runtime is None
