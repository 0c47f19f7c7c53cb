"""The newsroom's addresses."""

from django.contrib.auth import views as auth
from django.urls import include, path

from example_apps.django_newsroom.desk import views
from example_apps.django_newsroom.desk.accounts import DEMO_ACCOUNTS

handler403 = "example_apps.django_newsroom.desk.views.denied"

urlpatterns = [
    path("", views.desk, name="desk"),
    path("datasets/", views.upload, name="upload"),
    path("datasets.json", views.listing, name="listing"),
    path("datasets/<int:pk>/", views.dataset, name="dataset"),
    path("datasets/<int:pk>/status.json", views.status, name="status"),
    path("datasets/<int:pk>/publish/", views.publish, name="publish"),
    path("datasets/<int:pk>/delete/", views.delete, name="delete"),
    path("fnqueue/", include("django_fnqueue.urls")),
    path(
        "login/",
        auth.LoginView.as_view(template_name="desk/login.html", extra_context={"accounts": DEMO_ACCOUNTS}),
        name="login",
    ),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
]
