from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from pytest_django.plugin import DjangoDbBlocker

from django_claude_batches.testing import EmulatorProcess
from tests.conftest import GATE
from tests.harness import databases
from tests.neighbours.beside import BesideNeighbour, Neighbour
from tests.reliability.conftest import broker, claude_process, need_driver  # noqa: F401 (fixtures)
from tests.reliability.servers import Redis
from tests.reliability.web import Visitor


@pytest.fixture
def neighbour(request: pytest.FixtureRequest) -> Neighbour:
    found: Neighbour = request.param
    gate = request.config.stash[GATE]
    how = f"it is not installed here: `tox run -e {found.environment}` runs this"
    gate.need_that(find_spec(found.module) is not None, found.name, how)
    if found.database in databases.SERVERS:
        need_driver(gate, found.database)
        gate.need(databases.SERVERS[found.database])
    return found


@pytest.fixture
def site(
    neighbour: Neighbour,
    tmp_path: Path,
    claude_process: EmulatorProcess,  # noqa: F811
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[BesideNeighbour]:
    variables = {"DJANGO_SETTINGS_MODULE": "tests.neighbours.settings", "NEIGHBOUR": neighbour.name}
    with databases.new(neighbour.database, tmp_path, prefix="neighbours") as url, django_db_blocker.unblock():
        site = BesideNeighbour(url, tmp_path, claude_process, **variables | neighbour.variables)
        site.instead = neighbour.instead
        with site.open():
            yield site


@pytest.fixture
def visitor(site: BesideNeighbour, broker: Redis) -> Visitor:  # noqa: F811 (the imported one)
    site.manage("migrate", "--run-syncdb", "--verbosity=0")
    visitor = Visitor(site)
    visitor.arrive()
    return visitor
