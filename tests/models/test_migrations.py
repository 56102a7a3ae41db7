from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.test import override_settings

APP = "django_claude_batches"
FOLDER = Path(apps.get_app_config(APP).path, "migrations")
INITIAL = "0001_initial"

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("0*.py"))


def tables() -> set[str]:
    return {model._meta.db_table for model in apps.get_app_config(APP).get_models()}


def test_no_migration_is_missing() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


@override_settings(
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    CLAUDE_BATCHES={"KICK": True, "INGEST_ATTEMPTS": 9, "ACCOUNTS": {"second": {"API_KEY": "x"}}},
    LANGUAGE_CODE="de",
    USE_I18N=False,
)
def test_no_setting_of_a_project_makes_another_migration() -> None:
    call_command("makemigrations", APP, "--check", "--dry-run", verbosity=0)


def test_no_migration_reads_our_settings() -> None:
    for name in names():
        source = (FOLDER / f"{name}.py").read_text()
        assert "CLAUDE_BATCHES" not in source, name
        assert f"{APP}.conf" not in source, name


def test_only_the_user_model_and_contenttypes_are_needed() -> None:
    loader = MigrationLoader(None)
    needed = {
        app
        for name in names()
        for app, _ in loader.get_migration(APP, name).dependencies
        if app not in {APP, "__setting__"}
    }
    assert needed <= {"contenttypes", "auth"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_the_sql_of_each_migration_can_be_shown() -> None:
    for name in names():
        out = StringIO()
        call_command("sqlmigrate", APP, name, stdout=out, no_color=True)
        assert out.getvalue().strip(), name
    shown = StringIO()
    call_command("sqlmigrate", APP, INITIAL, stdout=shown, no_color=True)
    assert all(f"{connection.ops.quote_name(table)}" in shown.getvalue() for table in tables())


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_migrations_can_be_reversed_and_applied_again() -> None:
    executor = MigrationExecutor(connections["default"])
    try:
        executor.migrate([(APP, None)])
        assert not tables() & set(connection.introspection.table_names())
    finally:
        again = MigrationExecutor(connections["default"])
        again.migrate([(APP, names()[-1])])
    assert tables() <= set(connection.introspection.table_names())


def test_the_constraints_of_the_models_are_in_the_database() -> None:
    for model in apps.get_app_config(APP).get_models():
        with connection.cursor() as cursor:
            found = connection.introspection.get_constraints(cursor, model._meta.db_table)
        named = {constraint.name for constraint in model._meta.constraints}
        named |= {index.name for index in model._meta.indexes}
        assert named <= set(found), model


def test_the_state_of_the_migrations_is_that_of_the_models() -> None:
    migrated = MigrationLoader(connection).project_state()
    assert {name for app, name in migrated.models if app == APP} == {
        name for app, name in ProjectState.from_apps(apps).models if app == APP
    }
