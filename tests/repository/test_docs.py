"""Names, defaults and labels in the docs match the code."""

from __future__ import annotations

import ast
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.dispatch import Signal

from django_claude_batches import conf, services, signals, testing
from django_claude_batches.jobs import BatchJob
from django_claude_batches.management.commands.claude_batches import ALL
from django_claude_batches.management.subcommands.roles import ROLES, group_name
from django_claude_batches.models import JobRun, MessageBatch, RunState, State
from django_claude_batches.services.delivery.retry_rules import RowOutcome
from tests.browser.looks import FORMS, pictures_in_docs
from tests.browser.looks import PAGES as PAGES_OF_OURS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
BLOCK = re.compile(r"^```(?:\{code-block\} )?python\n(?::caption: [^\n]*\n)?(.*?)^```", re.MULTILINE | re.DOTALL)


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text()


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the table whose heading row begins with this text, without backticks."""
    table = text.partition(f"| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split(" | ")] for line in table]


def all_rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of all tables whose heading row begins with this text."""
    parts = text.split(f"| {heading} |")[1:]
    return [row for part in parts for row in rows(f"| {heading} |{part}", heading)]


def told(value: object) -> str:
    if isinstance(value, timedelta):
        return f"{value.total_seconds() / 60:g} minutes"
    return f'"{value}"' if isinstance(value, str) else str(value)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_the_python_of_a_page_is_python(path: Path) -> None:
    for code in BLOCK.findall(path.read_text()):
        ast.parse(code)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_imports_of_the_package_in_the_docs_exist(path: Path) -> None:
    for code in BLOCK.findall(path.read_text()):
        exec("\n".join(re.findall(r"^from django_claude_batches.*?import (?:\([^)]*\)|.*)$", code, re.MULTILINE)), {})


def test_the_settings_are_these() -> None:
    text = page("reference/settings")
    ours, _, account = text.partition("## An account")
    assert {row[0]: row[1] for row in rows(ours, "key")} == {key: told(value) for key, value in conf.DEFAULTS.items()}
    assert {row[0]: row[1] for row in rows(account, "key")} == {
        key: told(value) for key, value in conf.ACCOUNT_DEFAULTS.items()
    }


def test_the_retention_settings_are_these() -> None:
    kept = page("reference/settings").partition("## What is kept")[2]
    assert {row[0]: row[1] for row in rows(kept, "key")} == {
        key: told(value) for key, value in conf.RETENTION_DEFAULTS.items()
    }


def test_the_states_are_these_in_this_order() -> None:
    table = rows(page("topics/states"), "state")
    assert [(row[0], row[1]) for row in table] == [(state.value, str(state.label)) for state in State]


def test_each_state_is_in_the_table_of_cancel_and_delete() -> None:
    table = rows(page("topics/states").partition("## What `cancel`")[2], "state")
    assert sorted(name for row in table for name in row[0].split(", ")) == sorted(State.values)


def test_each_verb_is_in_the_reference() -> None:
    verbs = [name for name in services.__all__ if not isinstance(getattr(services, name), type)]
    assert sorted(re.findall(r"autofunction:: (\w+)", page("reference/services"))) == sorted(verbs)


def test_the_signals_are_these() -> None:
    ours = [name for name, value in vars(signals).items() if isinstance(value, Signal)]
    assert [row[0] for row in rows(page("reference/signals"), "signal")] == ours


def test_the_commands_are_these() -> None:
    text = page("reference/commands")
    assert [row[0].split()[0] for row in rows(text, "command")] == [subcommand.name for subcommand in ALL]


def test_each_check_has_its_row() -> None:
    source = "".join(path.read_text() for path in (ROOT / "django_claude_batches").glob("*checks.py"))
    ids = set(re.findall(r"django_claude_batches\.[EW]\d+", source))
    assert {row[0] for row in rows(page("reference/checks"), "id")} == ids


def test_the_permissions_are_there() -> None:
    named = {row[0] for row in rows(page("how-to/compose-the-admin"), "permission")}
    later = {"reingest_messagebatch", "retry_messagebatch"}
    assert {codename for codename, _ in MessageBatch._meta.permissions} - later <= named


def test_each_name_of_the_emulator_is_in_the_reference() -> None:
    text = page("reference/emulator")
    assert [name for name in testing.__all__ if not re.search(rf":: (\S+\.)?{name}\n", text)] == []


def test_references_in_docstrings_exist() -> None:
    numbered = set(re.findall(r"^#+ (\d+(?:\.\d+)?)\.? ", page("reference/wire"), re.MULTILINE))
    items = set(re.findall(r"^(\d+)\. ", page("reference/wire").partition("## 11.")[2], re.MULTILINE))
    known = numbered | {f"11.{item}" for item in items}
    for path in (ROOT / "django_claude_batches").rglob("*.py"):
        text = path.read_text()
        for name in re.findall(r"docs/[\w/-]+\.md", text):
            assert (ROOT / name).is_file(), f"{path}: {name}"
        for section in re.findall(r"wire\.md §([\d.]*\d)", text):
            assert section in known, f"{path}: §{section}"


def test_the_attributes_and_methods_of_a_job_are_these() -> None:
    text = page("reference/jobs").partition("## What")[0]
    told = {row[0].partition("(")[0] for heading in ("attribute", "method") for row in all_rows(text, heading)}
    ours = {name for name in {**vars(BatchJob), **BatchJob.__annotations__} if not name.startswith("_")}
    for_services = {
        "declared_params",
        "row_model",
        "make_params",
        "read_output",
        "more_tokens",
        "problems",
        "warnings",
    }
    assert told == ours - for_services


def test_the_defaults_of_a_job_are_these() -> None:
    table = {row[0]: row[1] for row in rows(page("reference/jobs"), "attribute")}
    in_words = {"name", "claude_model", "max_tokens_cap"}
    assert {name: told(getattr(BatchJob, name)) for name in table if name not in in_words} == {
        name: default for name, default in table.items() if name not in in_words
    }


def test_the_states_of_a_run_are_these() -> None:
    table = rows(page("reference/jobs"), "state")
    assert [(row[0], row[1]) for row in table] == [(state.value, str(state.label)) for state in RunState]


def test_the_outcomes_are_these() -> None:
    assert [row[0] for row in rows(page("reference/jobs"), "outcome")] == list(RowOutcome)
    assert {row[0] for row in rows(page("how-to/failures-and-retries"), "outcome")} == set(RowOutcome)


def test_the_fields_of_a_run_are_in_the_reference() -> None:
    text = page("reference/jobs")
    internal = {"id", "exclusive", "cursor", "next_action_at", "dispatched_at", "dispatch_count", "failures"}
    leased = {"lease_token", "lease_until"}
    ours = {field.name for field in JobRun._meta.concrete_fields} - internal - leased
    assert sorted(name for name in ours if f"`{name}`" not in text) == []


def test_the_operators_page_has_each_state_and_each_role() -> None:
    text = page("operators")
    assert {row[0] for row in rows(text, "you read | it means | you do")} == {str(state.label) for state in State}
    assert [row[0] for row in rows(text, "role | may")] == list(ROLES)
    for role in ROLES:
        assert f"*{group_name(role)}*" in text


def test_the_table_of_permissions_names_the_first_role_that_has_each() -> None:
    told = {row[0].partition(",")[0]: row[2] for row in rows(page("how-to/compose-the-admin"), "permission")}
    first = {codename: role for role in reversed(ROLES) for codename in ROLES[role]}
    assert told == {**dict.fromkeys(told, "none"), **first}


def test_the_pictures_of_our_pages_are_those_that_the_docs_show() -> None:
    """Made by `python -m tests.browser.screenshots`."""
    pictures = list((DOCS / "screenshots").glob("*.png"))
    assert {path.name for path in pictures} == pictures_in_docs()
    assert pictures_in_docs() <= {f"{name}-{form}.png" for name in PAGES_OF_OURS for form in FORMS}
    assert sum(path.stat().st_size for path in pictures) < 1_000_000


def test_each_picture_of_a_theme_is_on_its_page() -> None:
    shown = re.findall(r"\]\(\.\./(screenshots/themes/[^)]+)\)", page("how-to/themes"))
    assert sorted(shown) == sorted(str(path.relative_to(DOCS)) for path in DOCS.glob("screenshots/themes/*/*.png"))


def test_the_admin_of_unfold_is_the_one_that_is_tested() -> None:
    tested = (ROOT / "tests/browser/themes/unfold_site/admin.py").read_text()
    assert tested.removeprefix("from __future__ import annotations\n\n") in page("how-to/themes")
