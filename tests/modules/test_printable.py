"""Control characters in texts from outside are escaped on terminals and in logs."""

from __future__ import annotations

import importlib
import json
import logging
import pkgutil
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

import django_claude_batches
from django_claude_batches.sanitize import get_logger, printable, printable_lines

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil\u2066\u2028\r\nFORGED \x7f\ud800"


@given(st.text(st.characters(exclude_categories=()), max_size=50))
def test_a_text_is_one_line_without_controls(text: str) -> None:
    shown = printable(text)
    assert not [char for char in shown if unicodedata.category(char) in {"Cc", "Zl", "Zp", "Cs"} and char != "\t"]
    bidi = {"R", "AL", "AN", "ON", "L", "EN", "ES", "ET", "CS", "NSM", "BN", "B", "S", "WS", ""}
    assert {unicodedata.bidirectional(char) for char in shown} <= bidi
    assert not set("\u061c\u200e\u200f") & set(shown)


@pytest.mark.parametrize("text", ["plain", "Grüße, 世界 🎉", "שלום", "a\tb", "C:\\new"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert printable(text) == text


@given(st.text(max_size=30))
def test_json_stays_the_same_json(text: str) -> None:
    document = {"label": text, "rows": [text, HOSTILE.replace("\ud800", "")]}
    shown = printable_lines(json.dumps(document, ensure_ascii=False, indent=2))
    assert json.loads(shown) == document
    assert "\x9b" not in shown


def test_a_record_of_a_log_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    logger = get_logger("django_claude_batches.tests")
    logger.error("Batch %s of %d rows (%s): %s", 7, 3, None, ValueError(HOSTILE))
    [record] = caplog.records
    assert record.getMessage().startswith("Batch 7 of 3 rows (None): \\u001b]0;owned\\u0007")
    assert "FORGED" in record.getMessage()
    assert printable(record.getMessage()) == record.getMessage()


def test_what_was_raised_is_no_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    logger = get_logger("django_claude_batches.tests")
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logger.exception("It failed.")
    [record] = caplog.records
    first, *below = logging.Formatter("%(message)s").format(record).split("\n")
    assert first == "It failed."
    assert all(line.startswith("  ") and printable(line) == line for line in below)
    assert any("FORGED" in line for line in below)


def test_each_of_our_loggers_is_made_so() -> None:
    names = [found.name for found in pkgutil.walk_packages(django_claude_batches.__path__, "django_claude_batches.")]
    spared = ("django_claude_batches.testing", "django_claude_batches.migrations")
    ours = [name for name in names if not name.startswith(spared)]
    loggers = [getattr(importlib.import_module(name), "logger", None) for name in ours]
    found = [logger for logger in loggers if logger is not None]
    assert len(found) > 20
    assert [logger.name for logger in found if not logger.filters] == []
