from django.apps import AppConfig


class DeskConfig(AppConfig):
    name = "example_apps.django_newsroom.desk"
    label = "desk"
    default_auto_field = "django.db.models.BigAutoField"
