"""The newsroom's own tests, written with what `django_fnqueue.testing` gives to any project.

python example_apps/django_newsroom/manage.py test example_apps.django_newsroom.desk.tests
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from django.core import mail
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import TestCase, override_settings
from django.urls import reverse

from django_fnqueue.testing import FnQueueTestCase
from example_apps.django_newsroom.desk.accounts import open_demo_accounts
from example_apps.django_newsroom.desk.models import Dataset, Row
from example_apps.django_newsroom.desk.tasks import (
    compute_figures,
    delete_dataset,
    import_dataset,
    mail_figures,
    publish_dataset,
)

WEATHER = Path(__file__).resolve().parents[1] / "data" / "seattle-weather.csv"
SMALL = b"name,height\nAda,1.7\nBob,1.9\nEve,\n"


@override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"])  # quick, and for tests only
class DeskTests(FnQueueTestCase, TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        open_demo_accounts()

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.mkdtemp(prefix="newsroom-test-")
        self.addCleanup(shutil.rmtree, folder)
        self.enterContext(override_settings(MEDIA_ROOT=folder))

    def log_in(self, name: str) -> None:
        self.client.logout()
        assert self.client.login(username=name, password=f"{name}-demo")

    def upload(self, content: bytes = SMALL, name: str = "people.csv"):
        return self.client.post(reverse("upload"), {"files": SimpleUploadedFile(name, content)}, follow=True)

    def uploaded(self, name: str = "ada", content: bytes = SMALL) -> Dataset:
        """A dataset whose call has left with its transaction."""
        self.log_in(name)
        with self.captureOnCommitCallbacks(execute=True):
            self.upload(content)
        return Dataset.objects.get()

    # ---------------------------------------------------------------- upload and import

    def test_the_call_leaves_with_the_transaction_and_not_before(self) -> None:
        self.log_in("ada")
        with self.captureOnCommitCallbacks(execute=True):
            self.upload()
            dataset = Dataset.objects.get()
            self.assertDeferred(import_dataset, args=(dataset.pk,), held=True)
        self.assertDeferred(import_dataset, args=(dataset.pk,), held=False)

    def test_a_real_table_is_imported_its_figures_computed_and_its_editor_told(self) -> None:
        dataset = self.uploaded(content=WEATHER.read_bytes())
        self.drain()
        self.assertEqual(dataset.rows.count(), 1461)
        warmest = dataset.column_figures.get(name="temp_max").figures
        self.assertEqual((warmest["kind"], warmest["minimum"], warmest["maximum"]), ("number", -1.6, 35.6))
        (sent,) = mail.outbox
        self.assertEqual((sent.to, sent.subject), (["ada@example.org"], "people: 1461 rows imported"))
        self.assertIn("temp_max: 1461 values, 0 missing", sent.body)

    def test_an_import_that_is_run_again_writes_no_row_twice_and_mails_once(self) -> None:
        dataset = self.uploaded()
        self.drain()
        with self.fn.as_principal(dataset.owner), self.captureOnCommitCallbacks(execute=True):
            import_dataset.defer(dataset.pk)
        self.drain()
        self.assertEqual(list(dataset.rows.values_list("number", flat=True)), [1, 2, 3])
        self.assertEqual(len(mail.outbox), 1)

    def test_an_import_goes_on_where_a_killed_worker_got_to(self) -> None:
        dataset = self.uploaded()
        Row.objects.create(dataset=dataset, number=1, cells=["Ada", "1.7"])
        self.drain()
        self.assertEqual([row.cells[0] for row in dataset.rows.all()], ["Ada", "Bob", "Eve"])

    def test_a_dataset_that_is_thrown_away_before_its_import_is_no_error(self) -> None:
        self.uploaded().delete()
        self.drain()
        self.assertEqual(mail.outbox, [])
        self.assertNotDeferred(compute_figures)

    def test_what_is_no_table_is_named_and_nothing_is_deferred(self) -> None:
        self.log_in("ada")
        page = self.upload(b"\x89PNG\xff", "picture.csv")
        self.assertContains(page, "picture.csv was not taken: it is not text in UTF-8.")
        self.assertNotDeferred(import_dataset)
        self.assertFalse(Dataset.objects.exists())

    def test_the_status_follows_the_import(self) -> None:
        dataset = self.uploaded()
        url = reverse("status", args=[dataset.pk])
        self.assertEqual(self.client.get(url).json()["state"], "PENDING")
        self.drain()
        status = self.client.get(url).json()
        self.assertEqual((status["state"], status["figures"]), ("SUCCESS", True))
        self.client.logout()
        self.assertEqual(self.client.get(url).status_code, 401)

    # ---------------------------------------------------------------- who may

    def test_who_is_no_editor_uploads_nothing(self) -> None:
        self.log_in("eve")
        page = self.upload()
        self.assertEqual(page.status_code, 403)
        self.assertFalse(Dataset.objects.exists())
        self.assertNotDeferred(import_dataset)

    def test_staff_publish_and_others_do_not(self) -> None:
        dataset = self.uploaded("bob")
        self.drain()
        url = reverse("publish", args=[dataset.pk])
        refused = self.client.post(url)
        self.assertContains(refused, "needs role &#x27;staff&#x27;", status_code=403)
        self.assertNotDeferred(publish_dataset)
        self.log_in("ada")
        with self.captureOnCommitCallbacks(execute=True):
            self.client.post(url)
        self.drain()
        dataset.refresh_from_db()
        self.assertEqual(dataset.published_by.username, "ada")

    def test_owners_throw_away_and_others_do_not(self) -> None:
        dataset = self.uploaded("ada")
        url = reverse("delete", args=[dataset.pk])
        self.log_in("bob")
        self.assertEqual(self.client.post(url).status_code, 403)
        self.assertNotDeferred(delete_dataset)
        self.log_in("ada")
        with self.captureOnCommitCallbacks(execute=True):
            self.client.post(url)
        self.drain()
        self.assertFalse(Dataset.objects.exists())

    def test_who_loses_a_right_before_the_run_is_denied_by_the_worker(self) -> None:
        dataset = self.uploaded("bob")
        dataset.owner.groups.clear()
        self.drain()
        self.assertEqual(self.fn.handle(dataset.call).record().state, "UNKNOWN")  # nobody may read it here
        with self.fn.as_principal(dataset.owner):
            self.assertEqual(self.fn.handle(dataset.call).record().state, "DENIED")
        self.assertFalse(dataset.rows.exists())

    # ---------------------------------------------------------------- mail

    def test_mail_that_fails_is_tried_again_later(self) -> None:
        dataset = self.uploaded()
        with override_settings(EMAIL_BACKEND="example_apps.django_newsroom.desk.tests.Broken"):
            self.drain()
        self.assertEqual(mail.outbox, [])
        self.assertDeferred(mail_figures, args=(dataset.pk,), count=1)
        self.advance(minutes=5)
        self.assertEqual(len(mail.outbox), 1)


class Broken:
    """A mail server that is down."""

    def __init__(self, *args: object, **options: object) -> None:
        pass

    def send_messages(self, messages: object) -> int:
        raise ConnectionRefusedError("the mail server is down")
