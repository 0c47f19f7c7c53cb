"""Users as principals: what they may, told by the seal, and asked anew of the database before a task runs."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.db import connections
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils.functional import SimpleLazyObject

import fnqueue.testing
from django_fnqueue.principals import aprincipal_of
from fnqueue import Principal
from fnqueue.errors import OptionInvalid
from fnqueue.policies import active, authenticated, role
from tests.integrations.django.newsstand.models import Article, Editor, Member, Series


@pytest.fixture
def ada():
    user = User.objects.create_user("ada")
    user.groups.add(Group.objects.create(name="editor"))
    return user


@pytest.fixture
def edit(fn):
    return fn.task(name="shop.edit", policy=role("editor"))(lambda: "edited")


def test_as_principal_takes_a_user_of_django(fn, drain, ada, whoami):
    for who in (ada, SimpleLazyObject(lambda: ada)):
        with fn.as_principal(who) as principal:
            handle = whoami.defer()
        assert principal.without_credentials() == Principal(id=str(ada.pk), roles={"editor"})
        drain()
        assert handle.result() == ["user", str(ada.pk), "editor"]


@pytest.mark.parametrize("flag", ["is_staff", "is_superuser"])
def test_staff_and_superuser_are_roles_by_their_flags(fn, ada, flag):
    setattr(ada, flag, True)
    assert fn.to_principal(ada).roles == {"editor", flag.removeprefix("is_")}


def test_a_group_that_is_called_staff_makes_nobody_staff(fn, ada):
    ada.groups.add(Group.objects.create(name="staff"), Group.objects.create(name="superuser"))
    assert fn.to_principal(ada).roles == {"editor"}


def test_an_anonymous_user_is_nobody(fn):
    assert fn.to_principal(AnonymousUser()).kind == "anonymous"
    assert fn.to_principal(SimpleLazyObject(AnonymousUser)).kind == "anonymous"


def test_what_is_no_saved_user_is_told(fn):
    with pytest.raises(OptionInvalid, match="a User has the primary key None"):
        fn.to_principal(User(username="ada"))
    with pytest.raises(OptionInvalid, match="a str is no user of Django"):
        fn.to_principal("ada")


def test_an_object_that_is_no_user_does_not_act_for_the_user_of_the_same_number(fn, ada):
    series = Series.objects.create(pk=ada.pk, owner=ada)
    with pytest.raises(OptionInvalid, match="a Series is no user of Django"):
        fn.to_principal(series)


def test_a_logged_in_customer_does_not_act_for_the_user_of_the_same_number(fn, ada):
    """Of another model than AUTH_USER_MODEL, as a login of one's own or an API key may put into the request."""
    with override_settings(AUTH_USER_MODEL="newsstand.Member"), pytest.raises(OptionInvalid, match="is no Member"):
        fn.to_principal(ada)
    with pytest.raises(OptionInvalid, match="a Member is no User, .* @fn.principal"):
        fn.to_principal(Member.objects.create(email="ada@example.org"))


def test_a_proxy_of_the_user_model_is_that_user(fn):
    with override_settings(AUTH_USER_MODEL="newsstand.Member"):
        editor = Editor.objects.create(email="ada@example.org")
        principal = fn.to_principal(editor)
        assert principal == fn.to_principal(Member.objects.get())
        assert principal.without_credentials() == Principal(id=str(editor.pk))


def test_a_user_from_a_token_without_a_row_of_its_own_counts(fn):
    class TokenUser:
        pk, is_anonymous, is_authenticated = 7, False, True

    assert fn.to_principal(TokenUser()) == Principal(id="7")


# ---------------------------------------------------------------- before the run


def test_whoever_is_gone_or_inactive_by_then_is_denied(fn, drain, ada, whoami):
    grace = User.objects.create_user("grace")
    handles = []
    for user in (ada, grace):
        with fn.as_principal(user):
            handles.append(whoami.defer())
    ada.delete()
    User.objects.filter(username="grace").update(is_active=False)
    drain()
    assert [handle.state for handle in handles] == ["DENIED", "DENIED"]


def test_a_group_that_was_lost_is_lost_and_one_that_was_gained_does_not_count(fn, drain, ada, edit, whoami):
    with fn.as_principal(ada):
        lost, gained = edit.defer(), whoami.defer()
    ada.groups.clear()
    ada.groups.add(Group.objects.create(name="publisher"))
    drain()
    assert lost.state == "DENIED"
    assert gained.result() == ["user", str(ada.pk)]


def test_an_id_that_is_no_primary_key_is_nobodys(fn, drain, whoami):
    with fn.as_principal(Principal(id="not a number")):
        handle = whoami.defer()
    drain()
    assert handle.state == "DENIED"


def test_services_are_not_looked_for_among_the_users(fn, drain, whoami):
    with CaptureQueriesContext(connections["default"]) as asked:
        with fn.as_service("7"):
            handle = whoami.defer()
        drain()
    assert handle.result() == ["service", "7"]
    assert len(asked) == 0


def test_a_loader_of_ones_own_is_asked_instead(fn, drain, ada, whoami):
    fn.load_principal(lambda id: Principal(id=id) if id == "known" else None)
    handles = []
    for id in ("known", "unknown"):
        with fn.as_principal(Principal(id=id)):
            handles.append(whoami.defer())
    drain()
    assert [handle.state for handle in handles] == ["SUCCESS", "DENIED"]


def test_a_loader_that_was_given_before_a_principal_function_stays(fn, drain, whoami):
    fn.load_principal(lambda id: None)
    fn.principal(lambda request: None)
    with fn.as_principal(Principal(id="7")):
        handle = whoami.defer()
    drain()
    assert handle.state == "DENIED"


def test_a_database_that_fails_while_the_user_is_loaded_is_tried_again(fn, drain, clock, ada, whoami):
    with fn.as_principal(ada):
        handle = whoami.defer()
    with connections["default"].cursor() as cursor:
        cursor.execute("ALTER TABLE auth_user RENAME TO auth_user_away")
    try:
        drain()
        assert handle.state != "DENIED"
    finally:
        with connections["default"].cursor() as cursor:
            cursor.execute("ALTER TABLE auth_user_away RENAME TO auth_user")
    clock.advance(hours=1)
    drain()
    assert handle.result() == ["user", str(ada.pk), "editor"]


# ---------------------------------------------------------------- other user models, other databases


def test_a_user_model_without_groups_flags_and_numbers_works(fn, drain, whoami):
    with override_settings(AUTH_USER_MODEL="newsstand.Member"):
        member = Member.objects.create(email="ada@example.org")
        with fn.as_principal(member):
            handle = whoami.defer()
        with fn.as_principal(Principal(id=str(uuid.uuid4()))):
            stranger = whoami.defer()
        with fn.as_principal(Principal(id="7")):
            malformed = whoami.defer()
        drain()
    assert handle.result() == ["user", str(member.pk)]
    assert [stranger.state, malformed.state] == ["DENIED", "DENIED"]


def test_groups_that_have_no_names_are_no_roles(fn, drain, whoami):
    """A model of the project's own may be called groups, too: rooms of a chat, say."""
    with override_settings(AUTH_USER_MODEL="newsstand.Member"):
        member = Member.objects.create(email="ada@example.org")
        member.groups.add(Article.objects.create(title="editor"))
        with fn.as_principal(member):
            handle = whoami.defer()
        principal = asyncio.run(aprincipal_of(member))  # and asks for nothing
        assert principal.without_credentials() == Principal(id=str(member.pk))
        drain()
    assert handle.result() == ["user", str(member.pk)]


class UsersElsewhere:
    """A router: users are in the other database."""

    def db_for_read(self, model, **hints):
        return "other" if model is Member else None

    db_for_write = db_for_read


def test_users_are_loaded_from_the_database_that_the_router_names(fn, drain, whoami):
    with override_settings(AUTH_USER_MODEL="newsstand.Member", DATABASE_ROUTERS=[f"{__name__}.UsersElsewhere"]):
        member = Member.objects.create(email="ada@example.org")
        assert member._state.db == "other"
        with fn.as_principal(member):
            handle = whoami.defer()
        drain()
    assert handle.result() == ["user", str(member.pk)]


def test_a_project_without_users_reloads_nobody(fn, drain, whoami):
    with override_settings(AUTH_USER_MODEL="shop.Nobody"), fnqueue.testing.in_memory(fn, fn.runtime().clock):
        with fn.as_principal(Principal(id="7", roles={"x"})):
            result = whoami.apply()
        assert result.value == ["user", "7", "x"]


def test_policies_ask_for_the_user_as_loaded(fn, drain, ada):
    tasks = [fn.task(name=f"shop.{n}", policy=policy)(lambda: 1) for n, policy in enumerate((authenticated, active))]
    with fn.as_principal(ada):
        handles = [task.defer() for task in tasks]
    drain()
    assert [handle.state for handle in handles] == ["SUCCESS", "SUCCESS"]
