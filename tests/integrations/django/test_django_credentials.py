"""Policies about the login itself, by real logins: how long ago it was, and whether its password still holds."""

from __future__ import annotations

import asyncio

import pytest
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.test.utils import override_settings
from django.urls import clear_url_caches, path

from fnqueue import PolicyDenied, Principal
from fnqueue.errors import OptionInvalid
from fnqueue.policies import fresh, same_credentials, same_tenant, scope

urlpatterns: list[object] = []
ROOMS = {7: {"tenant_id": "acme"}, 8: {"tenant_id": "other"}}


@pytest.fixture(autouse=True)
def _urls():
    with override_settings(ROOT_URLCONF=__name__):
        yield
    urlpatterns[:] = []


@pytest.fixture
def ada():
    return User.objects.create_user("ada", password="of a test")


@pytest.fixture
def client(fn, ada):
    made = Client()
    made.force_login(ada)
    return made


@pytest.fixture
def handles(fn):
    return []


def page(task, handles, *args):
    def view(request):
        try:
            handles.append(task.defer(*args))
        except PolicyDenied as error:
            return HttpResponse(str(error), status=403)
        return HttpResponse()

    urlpatterns[:] = [path("", view)]
    clear_url_caches()


@pytest.fixture
def transfer(fn, handles):
    task = fn.task(name="shop.transfer", policy=fresh(minutes=15))(lambda: "done")
    page(task, handles)
    return task


@pytest.fixture
def close_account(fn, handles):
    task = fn.task(name="shop.close_account", policy=same_credentials)(lambda: "done")
    page(task, handles)
    return task


# ---------------------------------------------------------------- fresh


def test_a_login_of_a_moment_ago_is_fresh_and_stays_so_while_the_call_waits(client, transfer, handles, drain, clock):
    clock.advance(minutes=14)
    assert client.get("/").status_code == 200
    clock.advance(hours=20)
    drain()
    assert handles[0].state == "SUCCESS"


def test_a_login_of_long_ago_is_refused_and_says_how_long(client, transfer, handles, clock):
    clock.advance(minutes=16)
    answer = client.get("/")
    assert answer.status_code == 403
    assert "needs a login of the last 15 minutes before the call" in answer.content.decode()
    assert "logged in 16 minutes before it" in answer.content.decode()
    assert handles == []


def test_a_new_login_in_another_browser_does_not_freshen_this_session(client, transfer, handles, clock, ada):
    clock.advance(minutes=16)
    other = Client()
    other.force_login(ada)
    assert other.get("/").status_code == 200
    assert client.get("/").status_code == 403


def test_a_session_of_before_fnqueue_has_no_login_time_and_is_not_fresh(client, transfer):
    session = client.session
    del session["_fnqueue_login_time"]
    session.save()
    assert client.get("/").status_code == 403


def test_a_login_time_of_one_user_does_not_count_for_another(client, transfer, handles, ada):
    """A middleware put somebody else there, as a token does."""
    bob = User.objects.create_user("bob")
    urlpatterns[:] = [path("", as_other(urlpatterns[0].callback, bob))]
    clear_url_caches()
    assert client.get("/").status_code == 403


def as_other(view, user):
    def wrapped(request):
        assert request.user.is_authenticated
        request.user = user
        return view(request)

    return wrapped


def test_who_logs_in_and_defers_in_one_request_is_fresh(fn, transfer, handles, drain, ada):
    def view(request):
        login(request, ada)
        handles.append(transfer.defer())
        return HttpResponse()

    urlpatterns[:] = [path("", view)]
    clear_url_caches()
    assert Client().get("/").status_code == 200
    drain()
    assert handles[0].state == "SUCCESS"


def test_an_async_view_knows_the_login_time_too(fn, transfer, handles, drain, clock, ada):
    async def view(request):
        try:
            handles.append(await transfer.adefer())
        except PolicyDenied:
            return HttpResponse(status=403)
        return HttpResponse()

    urlpatterns[:] = [path("", view)]
    clear_url_caches()
    client = AsyncClient()

    async def run():
        await client.aforce_login(ada)
        first = await client.get("/")
        clock.advance(minutes=16)
        return first.status_code, (await client.get("/")).status_code

    assert asyncio.run(run()) == (200, 403)
    drain()
    assert handles[0].state == "SUCCESS"


def test_what_freshness_is_asked_of_costs_a_token_request_no_session(client, transfer, ada, django_assert_queries):
    """Django REST framework puts a user there without reading the session: then we read none either."""

    def view(request):
        request.user = ada
        request.user.groups.all()
        transfer_denied(transfer)
        return HttpResponse()

    urlpatterns[:] = [path("", view)]
    clear_url_caches()
    with django_assert_queries() as queries:
        answer = client.get("/")
    assert not [query for query in queries if Session._meta.db_table in query["sql"]]
    assert "Cookie" not in answer.headers.get("Vary", "")


def transfer_denied(task):
    with pytest.raises(PolicyDenied):
        task.defer()


@pytest.fixture
def django_assert_queries():
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    return lambda: CaptureQueriesContext(connection)


# ---------------------------------------------------------------- same_credentials


def test_a_password_changed_while_the_call_waits_denies_the_run(client, close_account, handles, drain, ada):
    assert client.get("/").status_code == 200
    ada.set_password("another")
    ada.save()
    drain()
    assert handles[0].state == "DENIED"


def test_with_the_password_of_the_call_it_runs(client, close_account, handles, drain):
    assert client.get("/").status_code == 200
    drain()
    assert handles[0].state == "SUCCESS"


def test_where_the_policy_does_not_ask_a_changed_password_denies_nothing(client, transfer, handles, drain, ada):
    client.get("/")
    ada.set_password("another")
    ada.save()
    drain()
    assert handles[0].state == "SUCCESS"


def test_a_secret_key_that_was_rotated_meanwhile_denies_nothing(client, close_account, handles, drain, ada):
    client.get("/")
    with override_settings(SECRET_KEY="the next one", SECRET_KEY_FALLBACKS=["before last", "of a test"]):
        drain()
    assert handles[0].state == "SUCCESS"


def test_a_password_changed_under_a_rotated_secret_key_denies_all_the_same(client, close_account, handles, drain, ada):
    client.get("/")
    ada.set_password("another")
    ada.save()
    with override_settings(SECRET_KEY="the next one", SECRET_KEY_FALLBACKS=["of a test"]):
        drain()
    assert handles[0].state == "DENIED"


def test_a_secret_key_that_was_thrown_away_ends_calls_as_it_ends_sessions(client, close_account, handles, drain):
    client.get("/")
    with override_settings(SECRET_KEY="the next one"):
        drain()
    assert handles[0].state == "DENIED"


def test_no_call_carries_what_a_session_is_made_of(fn, client, close_account, handles, ada):
    with fn.as_principal(ada) as principal:
        assert principal.credential_version
        assert ada.get_session_auth_hash() not in principal.to_wire()["c"]
        assert principal.credential_version not in repr(principal)


def test_a_service_has_no_credentials_that_could_be_the_same(fn, close_account):
    with fn.as_service("import"), pytest.raises(PolicyDenied, match="needs the same credentials"):
        close_account.defer()


def test_a_user_whom_nobody_loads_again_is_denied_because_nothing_could_be_compared(fn, close_account, drain):
    fn.principal(lambda request: None)  # and no @fn.load_principal
    fn.runtime().hooks.load_principal = None
    with fn.as_principal(Principal(id="1", credential_version="7")):
        handle = close_account.defer()
    drain()
    assert handle.state == "DENIED"


# ---------------------------------------------------------------- what the application says of its users


def test_what_the_application_says_of_a_user_counts_at_the_call_and_again_at_the_run(fn, client, handles, drain, ada):
    tenants = {"ada": "acme"}
    fn.describe_user(lambda user: {"tenant": tenants[user.username], "scopes": ["rooms:write"]})
    policy = same_tenant("room", load=ROOMS.get) & scope("rooms:write")

    @fn.task(name="shop.paint", policy=policy)
    def paint(room: int) -> None: ...

    page(paint, handles, 7)
    assert client.get("/").status_code == 200
    assert client.get("/").status_code == 200
    drain()
    assert handles[0].state == "SUCCESS"
    client.get("/")
    tenants["ada"] = "other"
    drain()
    assert handles[-1].state == "DENIED"
    page(paint, handles, 7)
    assert client.get("/").status_code == 403


def test_an_async_view_asks_what_the_application_says_where_the_orm_may_be_asked(fn, handles, drain, ada):
    fn.describe_user(lambda user: {"tenant": "acme" if User.objects.filter(pk=user.pk).exists() else None})

    @fn.task(name="shop.paint", policy=same_tenant("room", load=ROOMS.get))
    def paint(room: int) -> None: ...

    async def view(request):
        handles.append(await paint.adefer(7))
        return HttpResponse()

    urlpatterns[:] = [path("", view)]
    clear_url_caches()

    async def run():
        client = AsyncClient()
        await client.aforce_login(ada)
        return (await client.get("/")).status_code

    assert asyncio.run(run()) == 200
    drain()
    assert handles[0].state == "SUCCESS"


def test_what_may_not_be_said_of_a_user_is_told(fn, ada):
    @fn.describe_user
    def about(user):
        return {"id": "1"}

    with pytest.raises(OptionInvalid, match="@fn.describe_user about.*: 'id' is not among what may be said"):
        fn.to_principal(ada)
