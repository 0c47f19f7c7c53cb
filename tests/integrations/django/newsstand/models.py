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
    USERNAME_FIELD = "email"
    objects: Any = BaseUserManager()

    class Meta:
        app_label = "newsstand"
