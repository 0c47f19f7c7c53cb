"""Who is logged in: asked only when something is deferred, right under WSGI and ASGI, and leaking nowhere."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import alogin, get_user_model, login
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext, override_settings
from django.urls import clear_url_caches, include, path

import fnqueue
from django_fnqueue import FnQueue
from django_fnqueue.requests import current_request
from fnqueue import Principal
from fnqueue.errors import AppNotFound, OptionInvalid
from fnqueue.policies import authenticated, custom, role
from tests.integrations.django.conftest import MIDDLEWARE

urlpatterns: list[object] = [path("fnqueue/", include("django_fnqueue.urls"))]


@pytest.fixture(autouse=True)
def _urls():
    before = urlpatterns[:]
    with override_settings(ROOT_URLCONF=__name__):
        yield
    urlpatterns[:] = before


@pytest.fixture
def view():
    """Make a function the view at `/`."""

    def at_root(function):
        urlpatterns[:] = [*urlpatterns, path("", function)]
        clear_url_caches()
        return function

    return at_root


@pytest.fixture
def ada():
    user = User.objects.create_user("ada", password="of a test", is_staff=True)
    user.groups.add(Group.objects.create(name="editor"))
    return user


@pytest.fixture
def private(fn):
    return fn.task(name="shop.private", policy=authenticated)(lambda: "done")


def get(user=None, **options) -> HttpResponse:
    client = Client(raise_request_exception=False)
    if user is not None:
        client.force_login(user)
    return client.get("/", **options)


def aget(user=None) -> HttpResponse:
    client = AsyncClient(raise_request_exception=False)

    async def run():
        if user is not None:
            await client.aforce_login(user)
        return await client.get("/")

    return asyncio.run(run())


# ---------------------------------------------------------------- who it is


def test_the_user_of_the_request_is_whose_call_it_is_with_groups_and_flags_as_roles(fn, drain, view, ada, whoami):
    handles = []
    view(lambda request: HttpResponse(handles.append(whoami.defer())))
    get(ada)
    drain()
    assert handles[0].result() == ["user", str(ada.pk), "editor", "staff"]


def test_adefer_in_an_async_view_asks_auser(fn, drain, view, ada, whoami):
    handles = []

    @view
    async def page(request):
        handles.append(await whoami.adefer())
        handles.append(await fn.adefer(whoami))
        return HttpResponse()

    assert aget(ada).status_code == 200
    drain()
    assert [handle.result() for handle in handles] == [["user", str(ada.pk), "editor", "staff"]] * 2


@pytest.mark.parametrize("middleware", [MIDDLEWARE, [*MIDDLEWARE, f"{__name__}.sync_only"]])
def test_an_async_view_and_a_sync_middleware_may_be_mixed(fn, drain, view, ada, whoami, middleware):
    handles = []

    @view
    async def page(request):
        handles.append(await whoami.adefer())
        return HttpResponse()

    with override_settings(MIDDLEWARE=middleware):
        aget(ada)
        get(ada)
    drain()
    assert [handle.result()[1] for handle in handles] == [str(ada.pk)] * 2
    assert current_request() is None


def sync_only(get_response):
    return lambda request: get_response(request)


def test_a_sync_view_under_asgi_knows_its_request(fn, drain, view, ada, whoami):
    handles = []
    view(lambda request: HttpResponse(handles.append(whoami.defer())))
    assert aget(ada).status_code == 200
    drain()
    assert handles[0].result()[1] == str(ada.pk)


def test_defer_on_an_event_loop_says_to_write_adefer(fn, view, ada, whoami):
    @view
    async def page(request):
        with pytest.raises(OptionInvalid, match=r"await task\.adefer"):
            whoami.defer()
        return HttpResponse("told")

    assert aget(ada).content == b"told"


def test_once_adefer_knows_the_caller_the_rest_of_an_async_view_does_too(fn, drain, view, ada, whoami):
    @view
    async def page(request):
        return JsonResponse({"status": fn.status_url(await whoami.adefer())})

    drain()
    status = aget(ada).json()["status"]
    client = Client()
    client.force_login(ada)
    assert client.get(status).json()["state"] == "PENDING"
    assert Client().get(status).status_code == 404


def test_many_calls_of_one_request_ask_for_the_users_groups_once(fn, view, ada, whoami):
    asked = []

    @view
    def page(request):
        with CaptureQueriesContext(connection) as queries:
            fn.defer_many(whoami, [()] * 20)
            whoami.defer()
        asked.extend(each["sql"] for each in queries if "auth_group" in each["sql"])
        return HttpResponse()

    assert get(ada).status_code == 200
    assert len(asked) == 1


def test_a_user_given_to_as_principal_on_an_event_loop_is_told_how(fn, drain, ada, whoami):
    async def call():
        with pytest.raises(OptionInvalid, match=r"sync_to_async\(fn.to_principal\)\(user\)"):
            fn.as_principal(ada).__enter__()
        with fn.as_principal(await sync_to_async(fn.to_principal)(ada)):
            return await whoami.adefer()

    handle = asyncio.run(call())
    drain()
    assert handle.result() == ["user", str(ada.pk), "editor", "staff"]


def test_who_just_logged_in_is_the_caller(fn, drain, view, ada, whoami):
    handles = []
    other = User.objects.create_user("grace")

    @view
    def page(request):
        handles.append(whoami.defer())
        assert request.user == other
        login(request, ada, backend="django.contrib.auth.backends.ModelBackend")
        handles.append(whoami.defer())
        return HttpResponse()

    assert get(other).status_code == 200
    drain()
    assert [handle.result()[1] for handle in handles] == [str(other.pk), str(ada.pk)]


def test_who_just_logged_in_is_the_caller_on_an_event_loop_too(fn, drain, view, ada, whoami):
    handles = []

    @view
    async def page(request):
        handles.append(await whoami.adefer())
        await alogin(request, ada, backend="django.contrib.auth.backends.ModelBackend")
        handles.append(await whoami.adefer())
        return HttpResponse()

    assert aget().status_code == 200
    drain()
    assert [handle.result()[1] for handle in handles] == ["anonymous", str(ada.pk)]


def test_a_user_that_somebody_put_into_the_request_counts_as_with_token_authentication(fn, drain, view, ada, whoami):
    handles = []

    @view
    async def page(request):
        request.user = ada
        handles.append(await whoami.adefer())
        return HttpResponse()

    assert aget().status_code == 200
    drain()
    assert handles[0].result()[1] == str(ada.pk)


@pytest.mark.parametrize("ask", [get, aget])
def test_a_user_who_is_not_active_is_nobody(fn, view, ada, private, ask):
    User.objects.filter(pk=ada.pk).update(is_active=False)
    with override_settings(AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.AllowAllUsersModelBackend"]):

        @view
        async def page(request):
            await private.adefer()
            return HttpResponse()

        assert ask(ada).status_code == 403


def test_as_principal_wins_over_the_request(fn, drain, view, ada, whoami):
    handles = []

    @view
    async def page(request):
        with fn.as_service("import"):
            handles.append(await whoami.adefer())
        return HttpResponse()

    aget(ada)
    drain()
    assert handles[0].result() == ["service", "import"]


# ---------------------------------------------------------------- nothing is asked, nothing leaks


def test_a_page_that_defers_nothing_does_not_vary_by_cookie_and_asks_no_database(view, ada):
    view(lambda request: HttpResponse("hello"))
    assert "Vary" not in get(ada).headers
    assert "Vary" not in aget(ada).headers


def test_a_page_that_defers_varies_by_cookie(fn, view, ada, whoami):
    view(lambda request: HttpResponse(whoami.defer().id))
    assert get(ada).headers["Vary"] == "Cookie"


def test_no_request_is_known_after_it_ended_even_badly(view, ada):
    def page(request):
        assert current_request() is request
        raise RuntimeError("on purpose")

    view(page)
    assert get(ada).status_code == 500
    assert current_request() is None


def test_while_an_answer_is_streamed_nobody_is_logged_in(fn, view, ada, private):
    seen = []

    def pages():
        try:
            private.defer()
        except fnqueue.PolicyDenied as error:
            seen.append(str(error))
        yield b"end"

    view(lambda request: StreamingHttpResponse(pages()))
    assert b"".join(get(ada).streaming_content) == b"end"
    assert "nobody is logged in here (no request)" in seen[0]


def test_while_an_answer_is_streamed_under_asgi_nobody_is_logged_in(fn, view, ada, private):
    @view
    async def page(request):
        async def pages():
            with pytest.raises(PermissionDenied):
                await private.adefer()
            yield b"end"

        await private.adefer()
        return StreamingHttpResponse(pages())

    async def ask():
        client = AsyncClient()
        await client.aforce_login(ada)
        answer = await client.get("/")
        return b"".join([part async for part in answer.streaming_content])

    assert asyncio.run(ask()) == b"end"


def test_a_task_of_asyncio_that_outlives_its_request_does_not_act_for_whoever_started_it(fn, view, ada, private):
    kept = []

    @view
    async def page(request):
        await private.adefer()

        async def later():
            await asyncio.sleep(0)
            while current_request() is not None:
                await asyncio.sleep(0.01)
            await private.adefer()

        kept.append(asyncio.create_task(later()))
        return HttpResponse()

    async def ask():
        client = AsyncClient()
        await client.aforce_login(ada)
        assert (await client.get("/")).status_code == 200
        with pytest.raises(PermissionDenied):
            await kept[0]

    asyncio.run(ask())


def test_a_thread_that_outlives_its_request_does_not_act_for_whoever_started_it(fn, view, ada, private):
    go, seen = threading.Event(), []
    threads = []

    def later():
        go.wait(10)
        try:
            private.defer()
        except fnqueue.PolicyDenied as error:
            seen.append(error.reason)

    @view
    def page(request):
        threads.append(threading.Thread(target=contextvars.copy_context().run, args=(later,)))
        threads[0].start()
        return HttpResponse()

    get(ada)
    go.set()
    threads[0].join(10)
    assert seen == ["needs authenticated"]


def test_requests_at_the_same_time_are_not_mistaken_for_each_other(fn, drain, view, whoami):
    users = [User.objects.create_user(f"user{n}") for n in range(8)]
    handles = {}

    @view
    async def page(request):
        await asyncio.sleep(0)
        handle = await whoami.adefer()
        handles[(await request.auser()).pk] = handle
        return HttpResponse()

    async def one(user):
        client = AsyncClient()
        await client.aforce_login(user)
        await client.get("/")

    async def all_of_them():
        await asyncio.gather(*map(one, users))

    asyncio.run(all_of_them())
    drain()
    assert {pk: handle.result()[1] for pk, handle in handles.items()} == {user.pk: str(user.pk) for user in users}


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("middleware", [MIDDLEWARE, MIDDLEWARE[:-1]])
@pytest.mark.parametrize("ask", [get, aget])
def test_a_denied_call_is_a_403_with_the_middleware_and_without(fn, drain, view, private, middleware, ask):
    @view
    def page(request):
        private.defer()
        return HttpResponse()

    with override_settings(MIDDLEWARE=middleware):
        assert ask().status_code == 403
    assert drain() == 0


def test_a_denied_call_is_fnqueues_error_and_djangos(fn, private):
    with pytest.raises(PermissionDenied) as caught:
        private.defer()
    assert isinstance(caught.value, fnqueue.PolicyDenied)
    assert caught.value.task == "shop.private"
    assert caught.value.reason == "needs authenticated"


@pytest.mark.parametrize("call", [lambda task, fn: fn.defer_many(task, [()]), lambda task, fn: task.apply()])
def test_every_way_to_call_is_refused_alike(fn, private, call):
    with pytest.raises(PermissionDenied):
        call(private, fn)


def test_the_refusal_of_a_plain_queue_is_a_403_too(view):
    plain = fnqueue.FnQueue(url="sqlite://")
    task = plain.task(name="shop.private", policy=authenticated)(lambda: None)

    @view
    def page(request):
        task.defer()

    assert get().status_code == 403
    plain.close()


def test_what_forgot_the_middleware_is_told_so(fn, view, ada, private):
    seen = []

    @view
    def page(request):
        try:
            private.defer()
        except PermissionDenied as error:
            seen.append(str(error))
        return HttpResponse()

    with override_settings(MIDDLEWARE=MIDDLEWARE[:-1]):
        get(ada)
    assert "django_fnqueue.middleware.FnQueueMiddleware" in seen[0]
    get()
    assert seen[1].endswith("; nobody is logged in.")
    with override_settings(MIDDLEWARE=MIDDLEWARE[-1:]):
        get()
    assert "AuthenticationMiddleware" in seen[2]


@pytest.mark.parametrize("ask", [get, aget])
def test_a_policy_that_cannot_decide_is_a_503_that_tells_no_secret(fn, drain, view, ask):
    @custom
    def broken(ctx):
        raise RuntimeError("the password is swordfish")

    task = fn.task(name="shop.unsure", policy=broken)(lambda: None)

    @view
    def page(request):
        task.defer()

    answer = ask()
    assert answer.status_code == 503
    assert answer.headers["Cache-Control"] == "no-store"
    assert b"nothing was sent" in answer.content
    assert b"swordfish" not in answer.content
    assert drain() == 0
    assert get(headers={"accept": "application/json"}).json()["error"] == "unavailable"


# ---------------------------------------------------------------- one's own principals


def test_a_function_of_ones_own_says_who_it_is(fn, drain, view, whoami):
    @fn.principal
    def by_header(request):
        return Principal(id=request.headers["X-Client"], roles={"partner"})

    handles = []

    @view
    async def page(request):
        handles.append(await whoami.adefer())
        return HttpResponse()

    Client().get("/", headers={"x-client": "acme"})
    drain()
    assert handles[0].result() == ["user", "acme", "partner"]
    with fn.as_principal(Principal(id="nobody's primary key")):
        handle = whoami.defer()
    drain()
    assert handle.result() == ["user", "nobody's primary key"]


def test_a_coroutine_function_may_say_who_it_is(fn, drain, view, ada, whoami):
    @fn.principal
    async def by_name(request):
        user = await get_user_model().objects.aget(username="ada")
        return Principal(id=f"user:{user.pk}")

    handles = []

    @view
    async def page(request):
        handles.append(await whoami.adefer())
        with pytest.raises(OptionInvalid, match=r"adefer\(\)"):
            await sync_to_async(whoami.defer)()
        return HttpResponse()

    assert aget().status_code == 200
    drain()
    assert handles[0].result() == ["user", f"user:{ada.pk}"]


def test_a_principal_function_that_gives_something_else_is_told(fn, view, whoami):
    fn.principal(lambda request: "ada")
    seen = []

    @view
    def page(request):
        try:
            whoami.defer()
        except OptionInvalid as error:
            seen.append(str(error))
        return HttpResponse()

    get()
    assert "must return a fnqueue.Principal or None, got str" in seen[0]


def test_two_queues_of_one_project_have_their_own_settings_and_principals(tmp_path, view, ada):
    first = FnQueue(setting="FIRST")
    second = FnQueue(setting="SECOND", url=f"sqlite:///{tmp_path}/second.db")
    with override_settings(FIRST={"URL": f"sqlite:///{tmp_path}/first.db"}):
        assert first.runtime().engine.path == f"{tmp_path}/first.db"
        assert second.runtime().engine.path == f"{tmp_path}/second.db"
    first.close()
    second.close()


# ---------------------------------------------------------------- status


@pytest.mark.parametrize("ask", [get, aget])
def test_the_status_view_tells_the_caller_alone(fn, drain, view, ada, whoami, ask):
    urls = []

    @view
    async def page(request):
        handle = await whoami.adefer()
        urls.append(await sync_to_async(fn.status_url)(handle))
        return JsonResponse({})

    assert ask(ada).status_code == 200
    drain()
    client = Client()
    assert client.get(urls[0]).status_code == 404
    client.force_login(ada)
    answer = client.get(urls[0])
    assert answer.json()["state"] == "SUCCESS"
    assert answer.headers["Cache-Control"] == "no-store"
    assert client.get(f"{urls[0]}x").status_code == 404
    assert client.post(urls[0]).status_code == 405
    with override_settings(MIDDLEWARE=MIDDLEWARE[:-1]):
        assert client.get(urls[0]).status_code == 200

    async def under_asgi():
        client = AsyncClient()
        await client.aforce_login(ada)
        return (await client.get(urls[0])).status_code

    assert asyncio.run(under_asgi()) == 200


@pytest.fixture
def visiting(fn, view, whoami):
    """A browser that has been here before, and is not logged in; and the status url of a call that it made."""

    def made(client=None):
        client = client or Client()
        session = client.session
        session["basket"] = 1
        session.save()
        return client, client.get("/").json()["status"]

    view(lambda request: JsonResponse({"status": fn.status_url(whoami.defer())}))
    return made


def test_the_status_of_a_visitors_call_is_for_their_session_alone(visiting, ada):
    (mine, url), (other, _) = visiting(), visiting()
    assert mine.get(url).status_code == 200
    assert other.get(url).status_code == 404
    assert Client().get(url).status_code == 404
    other.force_login(ada)
    assert other.get(url).status_code == 404
    mine.force_login(ada)  # who logs in goes on seeing what they began
    assert mine.get(url).status_code == 200
    mine.logout()
    assert mine.get(url).status_code == 404


def test_a_session_that_the_view_itself_began_is_the_visitors(fn, view, whoami):
    def begins(request):
        request.session["basket"] = 1
        return JsonResponse({"status": fn.status_url(whoami.defer())})

    view(begins)
    mine, other = Client(), Client()
    url = mine.get("/").json()["status"]
    other.get("/")
    assert mine.get(url).status_code == 200
    assert other.get(url).status_code == 404
    assert Client().get(url).status_code == 404


def test_a_visitor_without_a_session_gets_none_and_has_the_address_alone(visiting, ada):
    visiting()
    answer = Client().get("/")
    assert not answer.cookies
    url = answer.json()["status"]
    assert Client().get(url).status_code == 200
    logged_in = Client()
    logged_in.force_login(ada)
    assert logged_in.get(url).status_code == 404


def test_whatever_is_wrong_with_a_status_url_the_answer_is_the_same_and_no_cache_keeps_it(fn, visiting, clock):
    mine, url = visiting()
    token = url.rstrip("/").rpartition("/")[2]
    last = "A" if token[-1] != "A" else "B"
    wrong = [url.replace(token, token[:-1] + last), url.replace(token, "x"), url.replace(token, "y" * 3000)]
    answers = [mine.get(each) for each in wrong] + [Client().get(url)]
    clock.advance(seconds=901)
    answers.append(mine.get(url))
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}


def test_a_bad_status_url_gets_the_projects_own_404_also_where_that_is_async(fn, visiting):
    async def own(request, exception):
        return HttpResponse("nothing here", status=404)

    visiting()
    globals()["handler404"] = own
    clear_url_caches()
    try:
        answer = Client().get("/fnqueue/status/x")
        assert (answer.status_code, answer.content) == (404, b"nothing here")
    finally:
        del globals()["handler404"]
        clear_url_caches()


def test_a_status_url_without_the_urls_says_what_to_add(fn, whoami):
    urlpatterns.clear()
    with fn.as_service("x"), pytest.raises(AppNotFound, match=r'include\("django_fnqueue.urls"\)'):
        fn.status_url(whoami.defer())


def test_a_bad_token_read_by_a_view_of_ones_own_is_a_404(fn, view):
    view(lambda request: fn.reads().by_token("nonsense"))
    assert get().status_code == 404


def test_role_policies_ask_for_groups(fn, drain, view, ada):
    task = fn.task(name="shop.publish", policy=role("editor") & role("staff"))(lambda: "published")
    handles = []
    view(lambda request: HttpResponse(handles.append(task.defer())))
    assert get(ada).status_code == 200
    drain()
    assert handles[0].result() == "published"
