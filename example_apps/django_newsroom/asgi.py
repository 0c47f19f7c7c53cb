"""The newsroom for a server that speaks ASGI: `example_apps.django_newsroom.asgi:application`."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_apps.django_newsroom.settings")
application = get_asgi_application()
