"""System checks of Celery: whether the tick is in beat's schedule, and whether messages reach a broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from celery import current_app
from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Warning  # noqa: A004 (Django's name)

from django_claude_batches import conf
from django_claude_batches.schedule import BEAT_SCHEDULE

TICK_TASK = BEAT_SCHEDULE["django_claude_batches.tick"]["task"]


def check_schedule(*, app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[CheckMessage]:
    """Find the tick in Celery's Django settings, then in Celery's own.

    No warning if neither has any entry and beat may have another schedule, or if KICK says that there is no Celery.
    """
    schedule = getattr(settings, "CELERY_BEAT_SCHEDULE", None)
    if schedule is None:
        try:
            current_app.finalize(auto=True)  # periodic tasks may be added then
            schedule = current_app.conf.beat_schedule
            if not schedule and (_is_scheduled_elsewhere() or not _kicks()):
                return []
        except Exception as error:  # noqa: BLE001 (the project's settings of Celery, and what it does with them)
            return [_unreadable(error)]
    entries = {name: entry for name, entry in schedule.items() if isinstance(entry, Mapping)}
    found = [_expiring(name) for name, entry in entries.items() if _is_ours_and_expires(entry)]
    if any(_task_of(entry) == TICK_TASK for entry in schedule.values()):
        return found
    return [
        *found,
        Warning(
            "CELERY_BEAT_SCHEDULE has no entry for our tick: nothing would be sent, polled or fetched.",
            hint="Add **BEAT_SCHEDULE from django_claude_batches.schedule; or run "
            "`manage.py claude_batches tick --loop`, and silence this check or set KICK = False.",
            id="django_claude_batches.W003",
        ),
    ]


def _task_of(entry: Any) -> Any:
    """Return the task of an entry, which may also be one of Celery's objects."""
    return entry.get("task") if isinstance(entry, Mapping) else getattr(entry, "task", None)


def _unreadable(error: Exception) -> CheckMessage:
    return Warning(
        f"Celery's settings cannot be read: {type(error).__name__}.",  # whose text may quote a broker's password
        hint="Correct them. Until then it is not known whether our tick is in the schedule.",
        id="django_claude_batches.W003",
    )


def _is_scheduled_elsewhere() -> bool:
    scheduler = str(current_app.conf.beat_scheduler)
    is_installed = apps.is_installed("django_celery_beat") or "django_celery_beat" in settings.INSTALLED_APPS
    return is_installed or not scheduler.startswith("celery.beat:")


def _kicks() -> bool:
    try:
        return conf.kick()
    except conf.ConfigurationError:
        return False  # check_settings says it


def check_celery(*, app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[CheckMessage]:
    """Warn if messages would go to the broker that Celery defaults to without an app."""
    if not _kicks() or current_app.main != "default":
        return []
    try:
        if current_app.conf.broker_write_url:
            return []
    except Exception as error:  # noqa: BLE001 (the project's settings of Celery)
        return [_unreadable(error)]
    return [
        Warning(
            "This process has not loaded the project's Celery app: its messages go to amqp://guest@localhost, where no "
            "worker takes them.",
            hint="Import the app in the __init__.py beside the settings: `from .celery import app as celery_app`. "
            'Without Celery, set CLAUDE_BATCHES["KICK"] = False.',
            id="django_claude_batches.W010",
        )
    ]


def _is_ours_and_expires(entry: Mapping[str, Any]) -> bool:
    is_ours = str(entry.get("task", "")).startswith("django_claude_batches.")
    return is_ours and "expires" in (entry.get("options") or {})


def _expiring(name: str) -> CheckMessage:
    return Warning(
        f'The entry "{name}" of CELERY_BEAT_SCHEDULE has "expires": a worker whose clock is that far ahead of beat\'s '
        "drops each of its messages without a word.",
        hint="Leave it out: what waits for a worker is not done twice.",
        id="django_claude_batches.W009",
    )
