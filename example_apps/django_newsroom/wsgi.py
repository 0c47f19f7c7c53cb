"""The newsroom for a server that speaks WSGI: `example_apps.django_newsroom.wsgi:application`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_apps.django_newsroom.settings")
application = get_wsgi_application()
