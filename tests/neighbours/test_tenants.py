"""The setups of docs/how-to/tenants.md: the app in the schema of each tenant, and the app in the public one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_claude_batches.testing import EmulatorProcess
from tests.harness import databases
from tests.harness.databases import POSTGRES
from tests.neighbours.beside import BesideNeighbour, Neighbour
from tests.reliability.servers import Redis

pytestmark = [
    pytest.mark.neighbour,
    pytest.mark.parametrize(
        "neighbour", [Neighbour("django-tenants", "django_tenants", POSTGRES)], ids=str, indirect=True
    ),
]

BEGUN = """
import django
django.setup()
from django_tenants.utils import schema_context
from tests.neighbours.tenants.customers.models import Customer, Domain
from tests.neighbours.tenants.reviews.models import Review
for name in ("public", "a", "b"):
    customer = Customer.objects.create(schema_name=name)
    Domain.objects.create(tenant=customer, domain=f"{name}.test")
for name in ("a", "b"):
    with schema_context(name):
        Review.objects.create(text=f"of {name}")
"""

DRAFTED = """
import django
django.setup()
from django_tenants.utils import schema_context
from tests.neighbours.tenants.reviews.drafting import tag_reviews
for name in ("a", "b"):
    with schema_context(name):
        print(tag_reviews().pk)
"""

PAGES = """
import django
django.setup()
from django.contrib.auth.models import User
from django.test import Client
from django_tenants.utils import schema_context
with schema_context("{schema}"):
    ada = User.objects.create_superuser("ada")
    client = Client(HTTP_HOST="{schema}.test")
    client.force_login(ada)
for page in ("", "1/change/"):
    response = client.get("/admin/django_claude_batches/messagebatch/" + page)
    assert response.status_code == 200, response
print(response.content.decode())
"""

Begin = Callable[..., "Tenants"]


class Tenants(BesideNeighbour):
    def rows(self, statement: str) -> list[Any]:
        import psycopg

        with psycopg.connect(self.database_url.replace("postgres://", "postgresql://")) as connection:
            return connection.execute(statement).fetchall()  # type: ignore[arg-type]

    def states(self, *schemas: str) -> set[str]:
        return {
            state
            for name in schemas
            for (state,) in self.rows(f"SELECT state FROM {name}.django_claude_batches_messagebatch")
        }

    def tags(self, schema: str) -> list[str]:
        return [tags for (tags,) in self.rows(f"SELECT tags FROM {schema}.reviews_review")]

    def due(self, *schemas: str) -> None:
        """Make the running batches due."""
        for name in schemas:
            self.rows(
                f"UPDATE {name}.django_claude_batches_messagebatch SET next_action_at = now() - interval '1 day' "
                "WHERE next_action_at IS NOT NULL RETURNING 1"
            )

    def audit(self, schema: str) -> dict[str, Any]:
        command = ("-m", "django", "tenant_command", "claude_batches", "audit", "--json", f"--schema={schema}")
        process = self.start(*command)
        process.wait(timeout=60)
        said = (self.folder / f"{len(self._processes) - 1}.log").read_text()
        [report] = json.loads(said[said.index("{") : said.rindex("}") + 1])["accounts"]
        return report  # type: ignore[no-any-return]

    def state_of_all(self) -> str:
        return ""


@pytest.fixture
def begin(neighbour: Neighbour, tmp_path: Path, claude_process: EmulatorProcess) -> Iterator[Begin]:
    with databases.new(POSTGRES, tmp_path, prefix="tenants") as url, Redis() as redis:
        made: list[Tenants] = []

        def make(ours: str, **variables: str) -> Tenants:
            settings = {"DJANGO_SETTINGS_MODULE": "tests.neighbours.tenants.settings", "OURS": ours}
            site = Tenants(url, tmp_path, claude_process, BROKER_URL=redis.url, **settings, **variables)
            made.append(site)
            site.run("-m", "django", "migrate_schemas", "--shared", "--verbosity=0")
            site.run("-c", BEGUN)
            return site

        try:
            yield make
        finally:
            for site in made:
                site.stop()


def goes_its_way(site: Tenants, *schemas: str) -> None:
    site.until(lambda: site.states(*schemas) == {"in_progress"}, pause=0.5)
    site.claude.finish()
    site.until(lambda: site.states(*schemas) == {"ingested"}, do=lambda: site.due(*schemas), pause=0.5)
    tagged(site)


def tagged(site: Tenants) -> None:
    """Wait until each tenant's rows have their answers."""
    site.until(lambda: all(f"of {name}" in site.tags(name)[0] for name in ("a", "b")), pause=0.5)


def worker_and_beat(site: Tenants) -> None:
    celery = ("-m", "celery", "-A", "tests.neighbours.tenants.celery")
    site.start(*celery, "worker", "--concurrency=2", "--without-mingle", "--loglevel=WARNING")
    site.start(*celery, "beat", f"--schedule={site.folder}/beat", "--loglevel=WARNING")


def test_the_app_of_each_tenant_with_a_key_of_its_own(begin: Begin) -> None:
    site = begin("tenant", KEY_OF_EACH="yes")
    worker_and_beat(site)
    site.run("-c", DRAFTED)
    goes_its_way(site, "a", "b")
    assert site.rows("SELECT to_regclass('public.django_claude_batches_messagebatch')") == [(None,)]
    assert "of a" in site.rows("SELECT message::text FROM a.django_claude_batches_batchresult")[0][0]
    assert "Complete" in site.run("-c", PAGES.format(schema="a"))
    [keys] = site.rows(
        "SELECT (SELECT count(DISTINCT account_fingerprint) FROM (SELECT account_fingerprint FROM "
        "a.django_claude_batches_submitattempt UNION SELECT account_fingerprint FROM "
        "b.django_claude_batches_submitattempt) x)"
    )
    assert keys == (2,)


def test_the_app_of_each_tenant_without_celery(begin: Begin) -> None:
    """One key for all, and `all_tenants_command claude_batches tick --no-public`: a plain tick fails in `public`."""
    site = begin("tenant")
    tick = ("all_tenants_command", "claude_batches", "tick", "--no-public")
    site.environment.pop("BROKER_URL")
    plain = site.start("-m", "django", "claude_batches", "tick")
    assert plain.wait(timeout=60) == 1
    assert 'relation "django_claude_batches_accountstate" does not exist' in site.said()
    site.run("-c", DRAFTED)
    site.manage(*tick)
    assert site.states("a", "b") == {"in_progress"}
    assert [site.audit(name)["needing"] for name in ("a", "b")] == [1, 1]  # the other tenant's
    site.environment["SHARED"] = "yes"
    for report in map(site.audit, ("a", "b")):
        assert (report["listed"], report["others"], report["findings"]) == (2, 1, [])
    site.claude.finish()
    site.until(lambda: site.states("a", "b") == {"ingested"}, do=lambda: (site.due("a", "b"), site.manage(*tick)))
    tagged(site)


def test_the_app_in_the_public_schema(begin: Begin) -> None:
    site = begin("shared")
    worker_and_beat(site)
    site.run("-c", DRAFTED)
    goes_its_way(site, "public")
    assert site.states("public") == {"ingested"}
    assert len(site.rows("SELECT 1 FROM public.django_claude_batches_messagebatch")) == 2
    assert "Complete" in site.run("-c", PAGES.format(schema="public"))
    report = site.audit("public")
    assert (report["listed"], report["findings"]) == (2, [])
