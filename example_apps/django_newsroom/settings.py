"""The newsroom's settings. Everything that it keeps lies in one folder: NEWSROOM_INSTANCE, or `instance/` here."""

import os
import secrets
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = Path(os.environ.get("NEWSROOM_INSTANCE") or HERE / "instance").resolve()
# fnqueue resolves a relative sqlite:/// path against BASE_DIR: nothing lands beside the code.
BASE_DIR = FOLDER
FOLDER.mkdir(parents=True, exist_ok=True)


def _secret_key(path: Path) -> str:
    """Made once, and kept in a file that only we can read. Two processes that start together share the first."""
    if not path.exists():
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        draft.unlink()
    return path.read_text()


SECRET_KEY = _secret_key(FOLDER / "secret.key")
DEBUG = os.environ.get("NEWSROOM_DEBUG") == "1"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_fnqueue",
    "example_apps.django_newsroom.desk",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_fnqueue.middleware.FnQueueMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "example_apps.django_newsroom.desk.headers.content_security_policy",
]
ROOT_URLCONF = "example_apps.django_newsroom.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ASGI_APPLICATION = "example_apps.django_newsroom.asgi.application"
WSGI_APPLICATION = "example_apps.django_newsroom.wsgi.application"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "newsroom.db",
        # Web and worker write to one file: wait for each other, and take the lock where a transaction begins.
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MEDIA_ROOT = FOLDER / "uploads"
STATIC_URL = "static/"
USE_TZ = True
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "desk"
LOGOUT_REDIRECT_URL = "login"

# Mail goes to files, so that everybody can look at it without a server.
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = FOLDER / "mail"
DEFAULT_FROM_EMAIL = "newsroom@example.org"

# The queue. On SQS: FNQUEUE_URL in the environment, which wins.
FNQUEUE = {"URL": f"sqlite:///{FOLDER / 'fnqueue.db'}"}
