from django.urls import include, path

urlpatterns = [path("fnqueue/", include("django_fnqueue.urls"))]
