"""`path("fnqueue/", include("django_fnqueue.urls"))`: the status view, `fnqueue:status`."""

from django.urls import path

from django_fnqueue.views import status

app_name = "fnqueue"
urlpatterns = [path("status/<token>", status, name="status")]
