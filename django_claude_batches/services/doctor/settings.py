"""Whether the settings are as they should be: known without the database and without the network."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings

from django_claude_batches import celery_checks, checks, conf
from django_claude_batches.services.doctor.report import Diagnosis, DiagnosisBuilder

DAY = timedelta(days=1)


def check_settings() -> Iterator[Diagnosis]:
    """Say what the system checks say, those for a deployment included, and what is kept for how long."""
    whole = DiagnosisBuilder()
    yield from whole.from_messages(
        "settings",
        checks.check_settings(app_configs=None),
        otherwise="CLAUDE_BATCHES is understood, and its keys safe.",
    )
    yield from whole.from_messages(
        "waits", checks.check_waits(app_configs=None), otherwise="The waits of create calls go together."
    )
    yield from whole.from_messages("time_zones", checks.check_time_zones(app_configs=None), otherwise="USE_TZ is True.")
    yield from whole.from_messages(
        "relations", checks.check_relations(app_configs=None), otherwise="No GenericRelation would delete paid work."
    )
    messages = celery_checks.check_schedule(app_configs=None)
    if not messages and getattr(settings, "CELERY_BEAT_SCHEDULE", None) is None:
        yield whole.skipped("schedule", "There is no CELERY_BEAT_SCHEDULE; whether something ticks is said below.")
    else:
        yield from whole.from_messages("schedule", messages, otherwise="CELERY_BEAT_SCHEDULE has our tick.")
    try:
        name, kept = conf.installation(), conf.retention()
    except conf.ConfigurationError:
        return  # the first of these says it
    yield from whole.from_messages(
        "installation", checks.check_installation(app_configs=None), otherwise=f'The settings call it "{name}".'
    )
    yield whole.ok("retention", _retention(kept))


def _retention(kept: conf.Retention) -> str:
    if kept.is_for_ever:
        return "RETENTION is not set: all is kept for ever."
    durations = {
        "request bodies": kept.request_bodies,
        "result bodies": kept.result_bodies,
        "copies at Anthropic": kept.remote_copies,
    }
    parts = [f"{what} {'for ever' if time is None else f'{time / DAY:g} days'}" for what, time in durations.items()]
    return f"Kept, from when a batch is finished: {', '.join(parts)}."
