"""`claude_batches roles`: the three groups, and what each may do in the admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.db import connection

from django_claude_batches.management.subcommands.roles import ROLES, group_name
from tests.management.conftest import Manage

pytestmark = pytest.mark.django_db

NAMES = [group_name(role) for role in ROLES]
SPENDS = {"submit_messagebatch", "start_jobrun", "retry_jobrun"}


def held(name: str, using: str = "default") -> set[str]:
    return set(Group.objects.using(using).get(name=name).permissions.values_list("codename", flat=True))


@pytest.mark.database
def test_three_groups_are_made_each_with_what_the_one_before_has(manage: Manage) -> None:
    ran = manage("roles")
    assert (ran.code, ran.err) == (0, "")
    viewer, operator, spender = (held(name) for name in NAMES)
    assert viewer < operator < spender
    assert {name.partition("_")[0] for name in viewer} == {"view"}
    assert spender - operator == SPENDS
    for name in NAMES:
        assert f"{name} (new)\n  added: " in ran.out
    assert "had already" not in ran.out


def test_each_permission_is_in_a_role_or_left_out_on_purpose() -> None:
    """A permission that is added later is decided about: rows of mirrors are neither added, changed nor deleted."""
    metas = [model._meta for model in apps.get_app_config("django_claude_batches").get_models()]
    own = {codename for meta in metas for codename, _name in meta.permissions}
    pages = ("messagebatch", "batchrequest", "batchresult", "jobrun", "accountstate", "usagerollup")
    own |= {f"view_{name}" for name in pages} | {"add_messagebatch", "change_messagebatch"}
    assert set(ROLES["spender"]) == own


def test_the_second_time_nothing_is_added(manage: Manage) -> None:
    first, second = manage("roles", "--json").document, manage("roles", "--json").document
    assert [group["group"] for group in first["groups"]] == NAMES
    assert [(group["is_new"], group["had"]) for group in first["groups"]] == [(True, [])] * 3
    assert [(group["is_new"], group["added"]) for group in second["groups"]] == [(False, [])] * 3
    assert [group["had"] for group in second["groups"]] == [group["added"] for group in first["groups"]]
    assert "django_claude_batches.view_messagebatch" in first["groups"][0]["added"]


def test_nothing_is_taken_away(manage: Manage) -> None:
    other = Permission.objects.get(codename="view_session")
    delete = Permission.objects.get(codename="delete_messagebatch")
    group = Group.objects.create(name=group_name("viewer"))
    group.permissions.set([other, delete])
    user = User.objects.create_user("ida")
    user.groups.add(group)
    ran = manage("roles")
    assert "Claude batches: viewer (it existed)" in ran.out
    assert "  had already: delete_messagebatch, sessions.view_session" in ran.out
    assert held(group.name) == {*ROLES["viewer"], "view_session", "delete_messagebatch"}
    assert user.has_perms(["django_claude_batches.view_batchresult", "sessions.view_session"])


def test_missing_permissions_are_named_and_nothing_is_given(manage: Manage) -> None:
    Permission.objects.filter(codename__in=["start_jobrun", "view_batchresult"]).delete()
    ran = manage("roles")
    assert ran.code == 1
    assert "The database default lacks 2 permissions: start_jobrun, view_batchresult. Nothing was given." in ran.err
    assert "`manage.py migrate --database default` makes them." in ran.err
    assert not Group.objects.exists()


def test_one_failure_undoes_all(manage: Manage) -> None:
    """The last group cannot be made."""
    if connection.vendor != "sqlite":
        pytest.skip("a trigger in the language of SQLite")
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TRIGGER no_spender BEFORE INSERT ON auth_group WHEN NEW.name LIKE '%spender' "
            "BEGIN SELECT RAISE(ABORT, 'no spender'); END"
        )
    ran = manage("roles")
    assert (ran.code, "no spender" in ran.err) == (1, True)
    assert not Group.objects.exists()


def test_users_without_groups_are_refused(manage: Manage, settings: Any) -> None:
    settings.AUTH_USER_MODEL = "library.Book"  # any model without groups, as a user model without PermissionsMixin
    ran = manage("roles")
    assert ran.code == 1
    assert "Users of this project, library.Book, have no groups: add PermissionsMixin to the model." in ran.err
    assert not Group.objects.exists()


class AuthElsewhere:
    """Users and groups are in another database than batches, and are read from a replica that lags for ever."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "default" if model._meta.app_label == "auth" else None

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "other" if model._meta.app_label == "auth" else None

    def allow_relation(self, obj1: Any, obj2: Any, **hints: Any) -> bool:
        return True


@pytest.mark.django_db(databases=["default", "other"])
def test_groups_are_made_where_the_router_writes_them(manage: Manage, settings: Any) -> None:
    settings.DATABASE_ROUTERS = [AuthElsewhere()]
    assert manage("roles").code == 0
    assert [group["added"] for group in manage("roles", "--json").document["groups"]] == [[], [], []]
    assert not Group.objects.using("default").exists()
    settings.DATABASE_ROUTERS = []
    assert held(group_name("spender"), "other") == set(ROLES["spender"])
