"""The package opens no server-side cursor: behind a transaction pooler it may belong to another process.

`python -m tests.reliability.databases.pooler` shows what happens then.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "django_claude_batches"

# Methods of Django and of its connections that open a server-side cursor.
NAMES = {"iterator", "aiterator", "chunked_cursor", "scroll"}

DECLARED = re.compile(r"\s*DECLARE\s.*\bCURSOR\b", re.IGNORECASE | re.DOTALL)

ARGUMENTS = {"chunked_fetch", "use_chunked_fetch"}


def cursors_in(code: str) -> list[int]:
    """Return the numbers of the lines that may open a server-side cursor."""
    return sorted({node.lineno for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call) and _opens(node)})


def _opens(call: ast.Call) -> bool:
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if method == "iterator" and _is_ours(call):
        return False
    named = method == "cursor" and bool(call.args or call.keywords)
    texts = (node.value for each in call.args for node in ast.walk(each) if isinstance(node, ast.Constant))
    declared = any(isinstance(text, str) and DECLARED.match(text) for text in texts)
    return method in NAMES or named or declared or any(keyword.arg in ARGUMENTS for keyword in call.keywords)


def _is_ours(call: ast.Call) -> bool:
    """Whether the call is `self.iterator(…)`, which only the package's own queryset has: it reads in pages."""
    return isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "self"


def test_the_package_opens_no_server_side_cursor() -> None:
    found = [f"{path.relative_to(PACKAGE)}:{line}" for path in _files() for line in cursors_in(path.read_text())]
    assert found == []


def _files() -> Iterator[Path]:
    yield from sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize(
    "planted",
    [
        "rows.filter(batch=batch).iterator()",
        "results.values_list('pk').iterator(chunk_size=2000)",
        "async def read(rows):\n    async for row in rows.aiterator(): ...",
        "with connection.chunked_cursor() as cursor: ...",
        "with connection.connection.cursor('results') as cursor: ...",
        "with connection.connection.cursor(name=name) as cursor: ...",
        "cursor.execute('DECLARE results CURSOR FOR SELECT 1')",
        "compiler.results_iter(chunked_fetch=True)",
        "rows._iterator(use_chunked_fetch=True, chunk_size=10)",
    ],
)
def test_code_that_opens_a_cursor_is_found(planted: str) -> None:
    assert cursors_in(planted)


@pytest.mark.parametrize(
    "harmless",
    ["with connections[using].cursor() as cursor: ...", "list(rows)", "pages(rows, 'pk')", "iter(rows)"],
)
def test_other_code_is_not_reported(harmless: str) -> None:
    assert cursors_in(harmless) == []
