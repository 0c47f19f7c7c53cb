"""`perm` and `owns`: asked of Django at defer and before the run, each time as it is then."""

from __future__ import annotations

import uuid

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test.utils import CaptureQueriesContext, override_settings

from django_fnqueue.policies import owns, perm
from fnqueue import PolicyDenied
from fnqueue.errors import OptionInvalid, PolicyUndecided
from fnqueue.policies import authenticated, forbid, public, role
from tests.integrations.django.newsstand.models import Article, Issue, Member, Series


@pytest.fixture
def user():
    return User.objects.create_user("ada")


@pytest.fixture
def other():
    return User.objects.create_user("bob")


@pytest.fixture
def make(fn):
    """A task with this policy; it takes `key`."""
    return lambda policy: fn.task(name="work", policy=policy)(_work)


def _work(key: str = "") -> str:
    return key


def permission(codename):
    kind = ContentType.objects.get_for_model(Article)
    return Permission.objects.get_or_create(codename=codename, content_type=kind, defaults={"name": codename})[0]


CHANGE = "newsstand.change_article"


# ------------------------------------------------------------------ perm


def test_a_user_with_the_permission_may_by_themselves_or_by_a_group(fn, make, drain, user, other):
    task = make(perm(CHANGE))
    user.user_permissions.add(permission("change_article"))
    group = Group.objects.create(name="editors")
    group.permissions.add(permission("change_article"))
    other.groups.add(group)
    handles = []
    for each in (user, other, User.objects.create_superuser("root")):
        with fn.as_principal(each):
            handles.append(task.defer())
    drain()
    assert [handle.state for handle in handles] == ["SUCCESS"] * 3


def test_a_user_without_it_may_not_and_is_told_what_is_needed(fn, make, drain, user):
    task = make(perm(CHANGE))
    with (
        fn.as_principal(user),
        pytest.raises(PolicyDenied, match=f"needs the permission {CHANGE}; user '{user.pk}' has"),
    ):
        task.defer()
    assert drain() == 0


def test_all_of_several_permissions_are_needed(fn, make, user):
    task = make(perm(CHANGE, "newsstand.delete_article"))
    user.user_permissions.add(permission("change_article"))
    needs = f"needs the permissions {CHANGE} and newsstand.delete_article; .* not got newsstand.delete_article"
    with fn.as_principal(user), pytest.raises(PolicyDenied, match=needs):
        task.defer()


def test_anonymous_users_and_services_have_no_permissions(fn, make, user):
    user.user_permissions.add(permission("change_article"))
    task = make(perm(CHANGE))
    with pytest.raises(PolicyDenied, match=f"needs the permission {CHANGE}; nobody is logged in"):
        task.defer()
    with fn.as_service(str(user.pk)), pytest.raises(PolicyDenied, match="is no user"):
        task.defer()


def test_a_permission_that_was_taken_away_meanwhile_denies_the_run(fn, make, drain, user):
    task = make(perm(CHANGE))
    user.user_permissions.add(permission("change_article"))
    with fn.as_principal(user):
        handle = task.defer()
    user.user_permissions.clear()
    drain()
    assert handle.state == "DENIED"


@pytest.mark.parametrize("leave", [lambda user: user.delete(), lambda user: User.objects.update(is_active=False)])
def test_who_is_gone_or_inactive_may_not(fn, make, drain, user, leave):
    task = make(perm(CHANGE))
    user.user_permissions.add(permission("change_article"))
    with fn.as_principal(user):
        handle = task.defer()
        principal = fn.current_principal()
    leave(user)
    drain()
    assert handle.state == "DENIED"
    with fn.as_principal(principal), pytest.raises(PolicyDenied, match="is gone or inactive"):
        task.defer()


def test_permissions_compose_with_the_other_policies(fn, make, drain, user, other):
    user.user_permissions.add(permission("change_article"))
    Group.objects.create(name="editors").user_set.add(other)
    task = make((perm(CHANGE) | role("editors")) & ~perm("newsstand.delete_article") & forbid(role("staff")))
    states = []
    for each in (user, other):
        with fn.as_principal(each):
            states.append(task.defer())
    User.objects.filter(pk=user.pk).update(is_staff=True)
    drain()
    assert [handle.state for handle in states] == ["SUCCESS", "SUCCESS"]  # a role that was gained meanwhile counts not
    with fn.as_principal(User.objects.get(pk=user.pk)), pytest.raises(PolicyDenied):
        task.defer()


def test_a_user_model_without_permissions_is_an_error_and_not_a_yes(fn, make):
    task = make(perm(CHANGE))
    member = Member.objects.create(email="a@example.com")
    undecided = pytest.raises(PolicyUndecided, match="could not decide: AttributeError")
    with override_settings(AUTH_USER_MODEL="newsstand.Member"), fn.as_principal(member), undecided:
        task.defer()


@pytest.mark.parametrize("names", [(), ("change_article",), (".change",), ("news.",), (3,)])
def test_what_is_no_permission_is_told_at_decoration(names):
    with pytest.raises(OptionInvalid, match="shop.change_invoice"):
        perm(*names)


def test_a_policy_that_was_not_called_is_told_at_decoration(make):
    with pytest.raises(OptionInvalid, match=r'policy=perm was not called: write perm\("shop.change_invoice"\)'):
        make(perm)
    with pytest.raises(OptionInvalid, match="policy=owns was not called: write owns"):
        make(owns)


# ------------------------------------------------------------------ owns


def test_the_owner_may_and_others_may_not(fn, make, drain, user, other):
    task = make(owns(Series, argument="key"))
    series = Series.objects.create(owner=user)
    with fn.as_principal(user):
        handle = task.defer(str(series.pk))
    with fn.as_principal(other), pytest.raises(PolicyDenied, match="needs the owner of key"):
        task.defer(str(series.pk))
    drain()
    assert handle.state == "SUCCESS"


def test_an_object_that_changed_hands_meanwhile_denies_the_run(fn, make, drain, user, other):
    task = make(owns(Series, argument="key"))
    series = Series.objects.create(owner=user)
    with fn.as_principal(user):
        handle = task.defer(str(series.pk))
    Series.objects.update(owner=other)
    drain()
    assert handle.state == "DENIED"


@pytest.mark.parametrize("key", ["77", "", "no number", "9" * 40, "-1", "\0"])
def test_what_does_not_exist_is_refused_in_the_words_for_what_is_anothers(fn, make, user, other, key):
    task = make(owns(Series, argument="key"))
    texts = set()
    for each in (key, str(Series.objects.create(owner=other).pk), str(Series.objects.create().pk)):
        with fn.as_principal(user), pytest.raises(PolicyDenied) as caught:
            task.defer(each)
        texts.add(str(caught.value))
    assert len(texts) == 1


@pytest.mark.parametrize("owner", ["owner", "owner_id", "owner__pk", "owner__username"])
def test_the_owner_may_be_named_by_any_field_and_ids_compare_as_text(fn, make, user, owner):
    task = make(owns("newsstand.Series", argument="key", owner=owner))
    series = Series.objects.create(owner=user)
    with fn.as_principal(user):
        if owner == "owner__username":
            with pytest.raises(PolicyDenied):
                task.defer(str(series.pk))
        else:
            assert task.defer(str(series.pk)).id


def test_a_foreign_key_to_another_column_still_means_the_user(fn, make, user, other):
    task = make(owns(Issue, argument="key"))
    issue = Issue.objects.create(owner=user)
    with fn.as_principal(user):
        assert task.defer(str(issue.pk)).id
    for who, key in ((other, issue.pk), (user, uuid.uuid4()), (user, "no uuid")):
        with fn.as_principal(who), pytest.raises(PolicyDenied):
            task.defer(str(key))


def test_the_owner_may_be_further_away_and_costs_one_query(fn, make, user, other):
    task = make(owns(Issue, argument="key", owner="series__owner"))
    issue = Issue.objects.create(series=Series.objects.create(owner=user))
    with fn.as_principal(user), CaptureQueriesContext(connection) as queries:
        assert task.defer(str(issue.pk)).id
    assert len(queries) == 1
    with fn.as_principal(other), pytest.raises(PolicyDenied):
        task.defer(str(issue.pk))
    with fn.as_principal(user), pytest.raises(PolicyDenied):
        task.defer(str(Issue.objects.create().pk))


def test_an_owner_column_of_text_will_do(fn, make, user):
    task = make(owns(Article, argument="key", owner="owner_id"))
    article = Article.objects.create(owner_id=str(user.pk))
    with fn.as_principal(user):
        assert task.defer(str(article.pk)).id


def test_a_service_owns_nothing_whatever_its_name(fn, make, user):
    task = make(owns(Series, argument="key"))
    series = Series.objects.create(owner=user)
    with fn.as_service(str(user.pk)), pytest.raises(PolicyDenied):
        task.defer(str(series.pk))


def test_a_database_that_fails_is_an_error_and_not_a_denial(fn, make, user):
    def fails(*_):
        from django.db import OperationalError

        raise OperationalError("the disk is gone")

    series = Series.objects.create(owner=user)
    user.user_permissions.add(permission("change_article"))
    for policy in (owns(Series, argument="key"), perm(CHANGE)):
        with fn.as_principal(user):
            principal = fn.current_principal()
        task = make(policy & authenticated)
        with fn.as_principal(principal), connection.execute_wrapper(fails), pytest.raises(PolicyUndecided):
            task.defer(str(series.pk))
        fn.registry._tasks.clear()


def test_at_the_run_a_database_that_fails_is_tried_again(fn, make, drain, clock, user):
    broken = [True]

    def fails(execute, *rest):
        from django.db import OperationalError

        if broken:
            raise OperationalError("the disk is gone")
        return execute(*rest)

    task = make(owns(Series, argument="key"))
    series = Series.objects.create(owner=user)
    with fn.as_principal(user):
        handle = task.defer(str(series.pk))
    with connection.execute_wrapper(fails):
        drain()
        assert handle.state in ("PENDING", "RETRY")
        broken.clear()
        clock.advance(seconds=5)
        drain()
    assert handle.state == "SUCCESS"


def test_faults_of_an_owner_are_told_at_decoration_where_they_can_be_known(fn, make, user):
    with pytest.raises(
        OptionInvalid, match=r"owns\(Series, owner='author'\): it has no field 'author'; it has article"
    ):
        owns(Series, argument="key", owner="author")
    with pytest.raises(OptionInvalid, match="must be a model, or its name"):
        owns(public, argument="key")
    with pytest.raises(OptionInvalid, match="looks at 'no_argument'"):
        make(owns(Series, argument="no_argument"))
    with pytest.raises(OptionInvalid, match="'editors' names several"):
        owns(Series, argument="key", owner="editors")


def test_a_field_that_is_not_there_is_an_error_and_not_a_denial_where_the_model_is_given_by_name(fn, make, user):
    """It cannot be told at decoration, and who is told no looks for the mistake among their users."""
    task = make(owns("newsstand.Series", argument="key", owner="autor"))
    series = Series.objects.create(owner=user)
    with fn.as_principal(user), pytest.raises(PolicyUndecided, match="could not decide: OptionInvalid"):
        task.defer(str(series.pk))


def test_a_field_further_along_the_path_is_missed_aloud_too(fn, make, user):
    task = make(owns(Issue, argument="key", owner="series__autor"))
    issue = Issue.objects.create(series=Series.objects.create(owner=user))
    with fn.as_principal(user), pytest.raises(PolicyUndecided, match="could not decide: OptionInvalid"):
        task.defer(str(issue.pk))
