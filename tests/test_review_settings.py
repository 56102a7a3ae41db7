"""What a wrong setting says, and what it must not."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from django.contrib.contenttypes.fields import GenericRelation
from django.db import models
from django.test.utils import isolate_apps

from django_claude_batches import checks, conf
from django_claude_batches.models import BatchRequest

KEY = "sk-ant-canary"


@pytest.mark.parametrize(
    "given",
    [
        {"ACCOUNTS": {"default": {"API_KEY": KEY, "AUTH": "digest"}}},
        {"ACCOUNTS": {"default": {"API_KEY": KEY, "TIMEOUTS": 7}}},
        {"ACCOUNTS": {"default": {"API_KEY": KEY, "TIMEOUT": 7}}},
        {"ACCOUNTS": {"default": {"API_KEY": KEY}, "other": 7}},
        {"ACCOUNTS": {"default": {"API_KEY": KEY}}, "KICKS": True},
        {"ACCOUNTS": {"defualt": {"API_KEY": KEY}}},
    ],
)
def test_no_frame_of_a_wrong_setting_holds_the_key(settings: Any, given: Any) -> None:
    """Django's error page and Sentry print the locals of each frame."""
    settings.CLAUDE_BATCHES = given
    with pytest.raises(conf.ConfigurationError) as caught:
        conf.account("default" if "defualt" not in given["ACCOUNTS"] else "prod")
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [frame for frame in report.stack if frame.filename.endswith("conf.py")]
    assert frames
    assert KEY not in "".join(str(frame.locals) for frame in frames)
    assert report.__context__ is None


@isolate_apps("tests.library")
def test_a_generic_relation_to_our_models_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shelf(models.Model):
        asked = GenericRelation(BatchRequest)

        class Meta:
            app_label = "library"

        def __str__(self) -> str:
            return "shelf"

    monkeypatch.setattr(checks, "apps", Shelf._meta.apps)
    [error] = checks.check_relations(app_configs=None)
    assert error.id == "django_claude_batches.E006"
    assert "Shelf.asked is a GenericRelation to BatchRequest" in error.msg


def test_other_models_are_not() -> None:
    assert checks.check_relations(app_configs=None) == []
