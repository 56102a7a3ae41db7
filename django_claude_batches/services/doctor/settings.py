"""Check the settings, without the database or the network."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings

from django_claude_batches import celery_checks, checks, conf
from django_claude_batches.services.doctor.report import Diagnosis, DiagnosisBuilder

DAY = timedelta(days=1)

# By the names of their diagnoses, and with what is said if all is well.
SYSTEM_CHECKS = (
    ("settings", checks.check_settings, "CLAUDE_BATCHES is understood, and its keys safe."),
    ("waits", checks.check_waits, "The waits of create calls go together."),
    ("time_zones", checks.check_time_zones, "USE_TZ is True."),
    ("relations", checks.check_relations, "No GenericRelation would delete paid work."),
)


def check_settings() -> Iterator[Diagnosis]:
    """Yield the results of the system checks, deployment checks included, and how long data is retained."""
    whole = DiagnosisBuilder()
    for name, check, otherwise in SYSTEM_CHECKS:
        yield from whole.from_messages(name, check(app_configs=None), otherwise=otherwise)
    messages = celery_checks.check_schedule(app_configs=None)
    if not messages and getattr(settings, "CELERY_BEAT_SCHEDULE", None) is None:
        yield whole.skipped("schedule", "There is no CELERY_BEAT_SCHEDULE; whether something ticks is said below.")
    else:
        yield from whole.from_messages("schedule", messages, otherwise="CELERY_BEAT_SCHEDULE has our tick.")
    try:
        name, kept = conf.installation(), conf.retention()
    except conf.ConfigurationError:
        return  # reported by the first of these
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
