"""The import contracts hold, and each is broken by an import that it forbids."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.harness.selections import slow_but

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "django_claude_batches"
LINT = "from importlinter.cli import lint_imports_command as lint; lint()"

PLANTED = {
    "A module imports only from layers below it": ("models/batch_state.py", "django_claude_batches.services"),
    "A service imports only from services below it": (
        "services/polling/poll.py",
        "django_claude_batches.services.ingestion.ingest",
    ),
    "A page of the admin imports only from pages below it": (
        "admin/base/display.py",
        "django_claude_batches.admin.results.results",
    ),
    "A sub-command imports what sub-commands share, and not the other way round": (
        "management/cli/console.py",
        "django_claude_batches.management.subcommands.wait",
    ),
    "Entry points do not speak HTTP": ("tasks.py", "requests"),
    "Services do not know who calls them, nor how HTTP is spoken": ("services/backoff.py", "celery"),
    "Models know neither the network, nor the queue, nor the settings": ("models/fields.py", "requests"),
    "The client and the leaves know neither Django nor Celery": ("client/jsonl.py", "django"),
    "The emulator shares no code with what it tests": ("testing/emulator/clock.py", "django_claude_batches.wire"),
}


def contracts() -> list[str]:
    config = ConfigParser()
    config.read(ROOT / ".importlinter")
    return [config[section]["name"] for section in config.sections() if section.startswith("importlinter:contract:")]


def lint(folder: Path) -> tuple[int, str]:
    """Run import-linter in this folder; return the exit code and the output."""
    ran = subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=60
    )
    return ran.returncode, ran.stdout + ran.stderr


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_the_contracts_hold() -> None:
    code, said = lint(ROOT)
    assert code == 0, said
    assert f"Contracts: {len(contracts())} kept, 0 broken" in said


def test_there_is_a_violation_for_each_contract() -> None:
    assert sorted(PLANTED) == sorted(contracts())


def test_all_of_testing_but_jobs_is_the_emulators_side() -> None:
    """`testing` itself cannot be listed, because that would include `jobs`; its imports are tested below."""
    config = ConfigParser()
    config.read(ROOT / ".importlinter")
    listed = config["importlinter:contract:emulator"]["source_modules"].split()
    modules = {path.stem for path in (PACKAGE / "testing").iterdir() if path.suffix == ".py" or path.is_dir()}
    beside = {"__init__", "__pycache__", "jobs"}
    assert set(listed) == {f"{PACKAGE.name}.testing.{name}" for name in modules - beside}


@pytest.mark.parametrize("contract", slow_but(2, PLANTED))
def test_a_planted_violation_breaks(contract: str, tmp_path: Path) -> None:
    path, module = PLANTED[contract]
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    with (tmp_path / PACKAGE.name / path).open("a") as file:
        file.write(f"\nimport {module}\n")
    code, said = lint(tmp_path)
    assert code != 0
    assert f"{contract} BROKEN" in said


def inner_imports(source: str) -> list[int]:
    """Return the lines of imports of the package that are not at the top of a module."""
    tree = ast.parse(source)
    inner = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return [node.lineno for node in inner if node not in tree.body and _is_ours(node)]


def _is_ours(node: ast.Import | ast.ImportFrom) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name.partition(".")[0] == PACKAGE.name for alias in node.names)
    return node.level > 0 or (node.module or "").partition(".")[0] == PACKAGE.name


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    from django_claude_batches import conf",
        "def f():\n    import django_claude_batches.conf",
        "class C:\n    from . import conf",
        "if TYPE_CHECKING:\n    from django_claude_batches.models import MessageBatch",
    ],
)
def test_an_inner_import_is_found(source: str) -> None:
    assert inner_imports(source) == [2]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_of_the_package_are_imported_only_at_the_top(path: Path) -> None:
    source = path.read_text()
    assert inner_imports(source) == []
    assert "TYPE_CHECKING" not in source


def test_the_package_root_holds_the_version_and_nothing_else() -> None:
    future, version = ast.parse((PACKAGE / "__init__.py").read_text()).body
    assert isinstance(future, ast.ImportFrom)
    assert future.module == "__future__"
    assert isinstance(version, ast.Assign)
    assert ast.unparse(version.targets[0]) == "__version__"


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("django_claude_batches.client, django_claude_batches.testing", "django celery"),
        ("django_claude_batches.exceptions, django_claude_batches.wire", "django celery requests"),
        ("django_claude_batches.output_schema", "django celery requests jsonschema pydantic"),
        ("django_claude_batches.schedule", "django celery requests"),
        ("django_claude_batches.testing", "django celery requests pytest"),
        ("django_claude_batches.client.jsonl, django_claude_batches.client.request_body", "django celery"),
    ],
)
def test_what_an_import_does_not_load(modules: str, absent: str) -> None:
    code = f"import sys, {modules}; print(*sorted({set(absent.split())!r} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout.split() == []


def test_tasks_contain_no_decisions() -> None:
    branches = [node for node in ast.walk(ast.parse((PACKAGE / "tasks.py").read_text())) if isinstance(node, ast.If)]
    assert [ast.unparse(node.test) for node in branches] == ["not begin_tick(is_kick=is_kick)", "conf.kick()"]
