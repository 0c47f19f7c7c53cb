"""A Django project in this process, configured once: two databases in files, and an application `newsstand`.

No DJANGO_SETTINGS_MODULE is set: processes that other tests start must not find this project. Queues are in memory
(`fn`), or on disk in the test's folder (`on_disk`).
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

django = pytest.importorskip("django")

from django.conf import settings  # noqa: E402

FOLDER = Path(tempfile.mkdtemp(prefix="fnqueue-django-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
APP = "tests.integrations.django.newsstand"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_fnqueue.middleware.FnQueueMiddleware",
]

if not settings.configured:
    settings.configure(
        SECRET_KEY="of a test",
        BASE_DIR=FOLDER,
        DATABASES={
            alias: {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(FOLDER / f"{alias}.sqlite3"),
                "OPTIONS": {"timeout": 20},
            }
            for alias in ("default", "other")
        },
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.sessions",
            "django_fnqueue",
            APP,
        ],
        MIDDLEWARE=MIDDLEWARE,
        ROOT_URLCONF=f"{APP}.urls",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        ALLOWED_HOSTS=["*"],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],  # quick
        USE_TZ=True,
        FNQUEUE={"URL": "sqlite:///queue.db"},
    )
    django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from django.test.utils import override_settings  # noqa: E402

import django_fnqueue  # noqa: E402
from fnqueue.clock import ManualClock  # noqa: E402
from fnqueue.policies import public  # noqa: E402
from fnqueue.settings import names  # noqa: E402
from fnqueue.testing import in_memory  # noqa: E402
from tests.integrations.working import run_all  # noqa: E402

KEPT = ("django_migrations", "django_content_type", "auth_permission")


@pytest.fixture(scope="session", autouse=True)
def _databases() -> Iterator[None]:
    for alias in connections:
        call_command("migrate", database=alias, run_syncdb=True, verbosity=0)
    yield
    connections.close_all()
    shutil.rmtree(FOLDER, ignore_errors=True)


@pytest.fixture(autouse=True)
def _empty_tables() -> Iterator[None]:
    yield
    for connection in connections.all():
        with connection.constraint_checks_disabled(), connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                if table not in KEPT:
                    cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the developer's; and what a test does to the one `django_fnqueue.fn` ends with it."""
    for name in names():
        monkeypatch.delenv(f"FNQUEUE_{name.upper()}", raising=False)
    fn = django_fnqueue.fn
    before = {**fn.__dict__, "registry": dict(fn.registry._tasks), "hooks": dict(fn.hooks.__dict__)}
    yield
    fn.close()
    fn.registry._tasks = before.pop("registry")
    fn.hooks.__dict__.update(before.pop("hooks"))
    fn.__dict__.update(before)


@pytest.fixture
def fn(clock: ManualClock) -> Iterator[django_fnqueue.FnQueue]:
    with in_memory(django_fnqueue.fn, clock):
        yield django_fnqueue.fn


@pytest.fixture
def whoami(fn: django_fnqueue.FnQueue) -> Any:
    """A task that tells as whom it ran: kind, id, and the roles in order."""

    @fn.task(name="shop.whoami", policy=public, bind=True)
    def whoami(context: Any) -> list[str]:
        who = context.principal
        return [who.kind, who.id, *sorted(who.roles)]

    return whoami


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[django_fnqueue.FnQueue]:
    """The project's own, on a queue in `tmp_path`."""
    with override_settings(FNQUEUE={"URL": f"sqlite:///{tmp_path}/queue.db"}):
        yield django_fnqueue.fn


@pytest.fixture
def work() -> Callable[..., int]:
    """Run all that the project's queue holds."""
    return lambda **options: run_all(django_fnqueue.fn.runtime(), **options)
