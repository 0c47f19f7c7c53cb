"""A model of the project, and users that are none of Django's: no groups, no flags, a uuid for a key."""

import uuid
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models


class Article(models.Model):
    title = models.CharField(max_length=100)
    owner_id = models.CharField(max_length=100, default="")

    class Meta:
        app_label = "newsstand"


class Member(AbstractBaseUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.EmailField(unique=True)
    groups = models.ManyToManyField(Article)  # which have titles and no names
    USERNAME_FIELD = "email"
    objects: Any = BaseUserManager()

    class Meta:
        app_label = "newsstand"


class Editor(Member):
    class Meta:
        app_label = "newsstand"
        proxy = True


class Series(models.Model):
    """Owned by one of Django's own users, and about an article."""

    owner = models.ForeignKey("auth.User", on_delete=models.CASCADE, null=True)
    editors = models.ManyToManyField("auth.User", related_name="+")
    article = models.ForeignKey(Article, on_delete=models.CASCADE, null=True)

    class Meta:
        app_label = "newsstand"


class Issue(models.Model):
    """Its key is a uuid, its owner is found by name, and it belongs to a series."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    owner = models.ForeignKey("auth.User", on_delete=models.CASCADE, null=True, to_field="username")
    series = models.ForeignKey(Series, on_delete=models.CASCADE, null=True)

    class Meta:
        app_label = "newsstand"
