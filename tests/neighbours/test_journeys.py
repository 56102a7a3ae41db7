"""A batch beside each neighbour: drafted, submitted, polled, fetched, and opened in the admin."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.db import connections

from django_claude_batches.management.commands.claude_batches import ALL
from django_claude_batches.models import AccountState, BatchResult
from tests.harness.databases import MARIADB, POSTGRES
from tests.neighbours.beside import RESULTS_LIST, BesideNeighbour, Neighbour
from tests.reliability.site import ALIAS
from tests.reliability.web import BATCH, BATCHES, Visitor

pytestmark = pytest.mark.neighbour

RESULTS = Neighbour("django-celery-results", "django_celery_results")
CONFIGURATIONS = Neighbour(
    "django-configurations",
    "configurations",
    variables={"DJANGO_SETTINGS_MODULE": "tests.neighbours.configured", "DJANGO_CONFIGURATION": "Ours"},
    instead={
        "django": "tests.neighbours.configured_manage",
        "tests.reliability.project.celery": "tests.neighbours.configured_celery",
    },
)
POOL = Neighbour("psycopg-pool", "psycopg_pool", POSTGRES)
BINDING = Neighbour("server-side binding", "psycopg", POSTGRES)
PYMYSQL = Neighbour("PyMySQL", "pymysql", MARIADB)
EXPORTING = Neighbour("django-import-export", "import_export")
THEIR_EXPORT = "/admin/django_claude_batches/batchresult/export/"
EXPORT = "admin:django_claude_batches_batchresult_export"
TOOLBAR = Neighbour("django-debug-toolbar", "debug_toolbar")
PANELS = ["SettingsPanel", "RequestPanel", "SQLPanel", "TemplatesPanel", "SignalsPanel", "CachePanel", "HeadersPanel"]


STRANGER = f"""
import django
django.setup()
from django.contrib.auth.models import User
from django.test import Client
client = Client(HTTP_HOST="127.0.0.1")
client.force_login(User.objects.create_user("eve", is_staff=True))
print(client.get("{THEIR_EXPORT}").status_code)
"""


def only(neighbour: Neighbour) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("neighbour", [neighbour], ids=str, indirect=True)


def ask(statement: str) -> list[tuple[object, ...]]:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


@pytest.mark.parametrize("neighbour", [BINDING, PYMYSQL], ids=str, indirect=True)
def test_a_batch_from_draft_to_results(site: BesideNeighbour, visitor: Visitor) -> None:
    site.team()
    site.complete(site.draft(), visitor)


@only(RESULTS)
def test_results_of_tasks_are_the_projects_own(site: BesideNeighbour, visitor: Visitor) -> None:
    """Beat sends 2,880 ticks a day; they leave no rows in django-celery-results."""
    site.team()
    task = "tests.reliability.project.tasks.linger"
    sending = f"from tests.reliability.project.celery import app; app.send_task({task!r}, ('{site.folder}/note', 0))"
    site.run("-c", f"import django; django.setup(); {sending}")
    site.complete(site.draft(), visitor)
    found = "SELECT task_name, status FROM django_celery_results_taskresult"
    site.until(lambda: "SUCCESS" in dict(ask(found)).values())
    assert ask(found) == [(task, "SUCCESS")]


@only(CONFIGURATIONS)
def test_commands_of_a_configured_project(site: BesideNeighbour, visitor: Visitor) -> None:
    site.team()
    batch = site.draft()
    site.complete(batch, visitor)
    # At the end, after the sub-command, where the documentation of Django and of django-configurations puts the option.
    for words in (("status",), ("--configuration=Ours", "status"), ("status", "--configuration", "Ours")):
        assert f"#{batch.pk}" in site.manage("claude_batches", *words)
    for subcommand in ALL[:3]:
        assert "example:" in site.manage("claude_batches", subcommand.name, "--help")
    assert "0 findings" in site.manage("claude_batches", "audit")


@only(POOL)
def test_a_pool_whose_connections_are_lost(site: BesideNeighbour, visitor: Visitor) -> None:
    site.team()
    batch = site.draft()
    site.until(lambda: has_ticked() and opens(visitor, BATCHES))
    ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    site.until(lambda: opens(visitor, BATCHES))  # Django's pool may return a lost connection once
    site.complete(batch, visitor)


def has_ticked() -> bool:
    return AccountState.objects.exclude(last_tick_at=None).exists()


def opens(visitor: Visitor, name: str) -> bool:
    try:
        visitor.opens(name)
    except AssertionError:
        return False
    return True


@only(EXPORTING)
def test_a_project_that_exports_results(site: BesideNeighbour, visitor: Visitor) -> None:
    """The pages of both packages work, although they have URLs with the same name."""
    site.team()
    batch = site.draft()
    site.complete(batch, visitor)
    results = list(BatchResult.objects.all())
    exported = visitor.gets(THEIR_EXPORT)
    assert exported.startswith("id,custom_id,result_type,message,cost_usd")
    for result in results:
        assert result.custom_id in exported
        assert result.text in exported
    assert f"Export results of batch {batch}" in unescape(visitor.opens(EXPORT, batch.pk))
    links = visitor.opens(RESULTS_LIST)
    assert THEIR_EXPORT in links
    assert "Export selected" in visitor.opens(BATCHES)
    assert "403" in site.run("-c", STRANGER)
    assert "<title>Export | " in visitor.does("export_admin_action", batch.pk)


@only(TOOLBAR)
def test_pages_under_the_toolbar(site: BesideNeighbour, visitor: Visitor) -> None:
    """Each panel can be opened for each page, also the SQL panel; no panel shows the key."""
    site.team()
    batch = site.draft()
    site.complete(batch, visitor)
    pages = [(BATCHES,), (RESULTS_LIST,), (BATCH, batch.pk), (EXPORT, batch.pk)]
    for name, *arguments in pages:
        shown = visitor.opens(name, *arguments)
        [asked] = re.findall(r'data-request-id="(\w+)"', shown)
        panels = {
            panel: visitor.gets(f"/__debug__/render_panel/?request_id={asked}&panel_id={panel}") for panel in PANELS
        }
        assert "FROM" in panels["SQLPanel"]
        assert not [panel for panel, said in panels.items() if site.claude.api_key in said]
