"""System checks. They never use the database or the models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 (Django's name)
from django.db import router

from django_claude_batches import conf, job_registry
from django_claude_batches.celery_checks import check_celery, check_schedule
from django_claude_batches.client.validation import is_loopback, problem_with_url
from django_claude_batches.model_limits import is_lifted, warnings_of
from django_claude_batches.pricing import bundled

APP_LABEL = "django_claude_batches"
# Within the hour of a task, with the ten minutes that writing and listing may take before the call.
MAX_CALL = timedelta(minutes=50)

# Single batches were seen to be missing for 2 minutes (docs/reference/wire.md).
MIN_QUIET = timedelta(minutes=10)


def check_time_zones(*, app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[CheckMessage]:
    if settings.USE_TZ:
        return []
    return [
        Error(
            "USE_TZ is False: leases and due times would be wrong twice a year, and wherever servers differ.",
            hint="Set USE_TZ = True.",
            id="django_claude_batches.E001",
        )
    ]


def check_contenttypes(*, app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[CheckMessage]:
    if "django.contrib.contenttypes" in settings.INSTALLED_APPS:
        return []
    return [
        Error(
            "django.contrib.contenttypes is not installed: requests point to their targets through it.",
            hint='Add "django.contrib.contenttypes" to INSTALLED_APPS.',
            id="django_claude_batches.E002",
        )
    ]


def check_relations(*, app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[CheckMessage]:
    """Refuse a GenericRelation to this app's models: Django would cascade deletions to paid results."""
    return [
        Error(
            f"{field.model.__name__}.{field.name} is a GenericRelation to {field.related_model.__name__}: deleting a "
            f"{field.model.__name__} would delete requests and results with it.",
            hint=f"Write {field.name} = BatchTargets() instead (from django_claude_batches.models): it gives "
            f"{field.model.__name__} batch_requests and batch_results, and deletes nothing.",
            obj=field.model,
            id="django_claude_batches.E006",
        )
        for model in apps.get_models()
        for field in model._meta.private_fields
        # As Django's deletion does: the class itself cannot be imported before the apps are ready.
        if hasattr(field, "bulk_related_objects") and field.related_model._meta.app_label == APP_LABEL
    ]


def check_settings(*, app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[CheckMessage]:
    """Read every setting once, so that a wrong one is reported at start-up."""
    readers = (
        conf.kick,
        conf.send_deadline,
        conf.create_read_timeout,
        conf.submit_quiet_period,
        conf.on_not_created,
        conf.announce_attempts,
        conf.ingest_attempts,
        conf.installation,
        conf.retention,
        conf.prices,
        conf.whole_stop_reasons,
        conf.max_in_flight_requests,
        conf.confirm_above_usd,
        conf.confirm_above_requests,
    )
    try:
        for read in readers:
            read()
        aliases = conf.every_alias()
    except conf.ConfigurationError as error:
        return [_wrong(error)]
    return [message for alias in aliases for message in _about_account(alias)]


def _about_account(alias: str) -> Iterator[CheckMessage]:
    """Read all of an account's settings except the key: a vault may be slow, or sealed."""
    try:
        account = conf.account(alias)
    except conf.ConfigurationError as error:
        yield _wrong(error)
        return
    problem = problem_with_url(account.base_url, allow_http=True)
    if problem:
        yield _wrong(conf.ConfigurationError(f'Account "{alias}": {problem}'))
    else:
        yield from _insecure(account)


def _wrong(error: Exception) -> CheckMessage:
    return Error(str(error), hint="See the settings table.", id="django_claude_batches.E003")


def _insecure(account: conf.Account) -> Iterator[CheckMessage]:
    url = urlsplit(account.base_url)
    if is_loopback(url.hostname or ""):
        return
    if url.scheme != "https" and not account.allow_http:
        yield Error(
            f'Account "{account.alias}" would send its key in the clear to {url.hostname}: nothing is sent.',
            hint="Use an https:// BASE_URL, or set ALLOW_HTTP = True for a gateway in a private network.",
            id="django_claude_batches.E004",
        )
    if account.verify is False:
        yield Error(
            f'Account "{account.alias}" has VERIFY = False: a machine between here and the server could read its key.',
            hint="Set VERIFY to the path of your certificate authority's bundle.",
            id="django_claude_batches.E005",
        )


def check_databases(*, app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[CheckMessage]:
    return [message for alias in settings.DATABASES for message in about_database(alias)]


def about_database(alias: str) -> list[CheckMessage]:
    """Return what is wrong with one entry of DATABASES."""
    database = settings.DATABASES[alias]
    engine = str(database.get("ENGINE", "")).rpartition(".")[2]
    options = database.get("OPTIONS", {})
    if engine == "mysql" and options.get("charset", "utf8mb4") != "utf8mb4":
        return [
            Warning(
                f'Database "{alias}" does not use utf8mb4: answers with emoji cannot be stored.',
                hint='Set OPTIONS = {"charset": "utf8mb4"}.',
                id="django_claude_batches.W001",
            )
        ]
    if engine == "sqlite3" and str(options.get("transaction_mode", "")).upper() != "IMMEDIATE":
        return [
            Warning(
                f'Database "{alias}" is SQLite without transaction_mode=IMMEDIATE: a worker and a web process '
                'would meet "database is locked".',
                hint='Set OPTIONS = {"transaction_mode": "IMMEDIATE", "timeout": 20}.',
                id="django_claude_batches.W002",
            )
        ]
    return []


def check_database_time_zone(*, app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[CheckMessage]:
    return about_time_zone(router.db_for_write(apps.get_model(APP_LABEL, "MessageBatch")))


def about_time_zone(alias: str) -> list[CheckMessage]:
    """Refuse TIME_ZONE in the entry of DATABASES that holds the rows; PostgreSQL stores times with their zone."""
    database = settings.DATABASES[alias]
    zone, engine = database.get("TIME_ZONE"), str(database.get("ENGINE", ""))
    if zone is None or _is_utc(zone) or not any(name in engine for name in ("mysql", "sqlite", "spatialite")):
        return []
    return [
        Error(
            f'Database "{alias}" has TIME_ZONE = {zone!r}: the times that the database itself writes are UTC, and '
            "would be read as times of that zone, hours off.",
            hint=f'Remove TIME_ZONE from DATABASES["{alias}"]. If other tables there need it, route the models of '
            f"{APP_LABEL} to a database without it.",
            id="django_claude_batches.E008",
        )
    ]


def _is_utc(zone: str) -> bool:
    if zone in {"UTC", "Etc/UTC"}:  # also if the machine has no time zone database
        return True
    try:
        january, july = (datetime(2026, month, 1, tzinfo=ZoneInfo(zone)) for month in (1, 7))
    except (ZoneInfoNotFoundError, ValueError):
        return False
    return not january.utcoffset() and not july.utcoffset()


def check_waits(*, app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[CheckMessage]:
    """Compare the time limits of create calls with each other and with a task's."""
    try:
        call, quiet = conf.send_deadline() + conf.create_read_timeout(), conf.submit_quiet_period()
    except conf.ConfigurationError:
        return []  # check_settings says it
    found: list[CheckMessage] = []
    if call > MAX_CALL:
        found.append(
            Warning(
                f"SEND_DEADLINE and CREATE_READ_TIMEOUT are {call} together: the time limit of our Celery tasks, an "
                "hour, may end a worker within its create call, and the batch is not confirmed then.",
                hint=f"Make them {MAX_CALL} at most, together.",
                id="django_claude_batches.W005",
            )
        )
    if quiet < MIN_QUIET:
        found.append(
            Warning(
                f"SUBMIT_QUIET_PERIOD is {quiet}: a batch that Anthropic lists later than that after its create call "
                "is sent, and paid for, a second time.",
                hint=f"Make it {MIN_QUIET} at least; for tests against the emulator, silence this check.",
                id="django_claude_batches.W008",
            )
        )
    return found


def check_installation(*, app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[CheckMessage]:
    try:
        named = bool(conf.installation())
    except conf.ConfigurationError:
        return []  # check_settings says it
    if named:
        return []
    return [
        Warning(
            "INSTALLATION is not set: a copy of this database with the same key would act on the same batches.",
            hint='Set CLAUDE_BATCHES["INSTALLATION"] to a name of this installation, such as "production".',
            id="django_claude_batches.W004",
        )
    ]


def check_clear_text(*, app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[CheckMessage]:
    try:
        aliases = conf.accounts()
    except conf.ConfigurationError:
        return []  # check_settings says it
    return [
        Warning(
            f'Account "{alias}" has ALLOW_HTTP = True: with an http:// BASE_URL its key is sent in the clear.',
            hint="Use it only where the network between this machine and the gateway is private.",
            id="django_claude_batches.W007",
        )
        for alias in aliases
        if _allows_http(alias)
    ]


def _allows_http(alias: str) -> bool:
    try:
        return conf.account(alias).allow_http
    except conf.ConfigurationError:
        return False  # check_settings says it


def check_jobs(*, app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[CheckMessage]:
    hint = "See docs/reference/jobs.md."
    return [
        *(Error(said, hint=hint, obj=job, id="django_claude_batches.E007") for job, said in job_registry.problems()),
        *(Warning(said, hint=hint, obj=job, id="django_claude_batches.W006") for job, said in job_registry.warnings()),
    ]


def check_models(*, app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[CheckMessage]:
    """Warn about jobs whose model retires soon, has retired, or refuses params of their class."""
    return [
        Warning(f"{said}.", hint="Set another claude_model, or change it.", obj=job, id="django_claude_batches.W011")
        for job, said in about_models()
    ]


def about_models() -> Iterator[tuple[type[job_registry.Job], str]]:
    """Yield each job's problems with its model, as far as its class determines them."""
    for job, params in job_registry.declared_params():
        if said := bundled().retirement(params.get("model", "")):
            yield job, said
        betas = getattr(job, "betas", ())
        betas = betas if isinstance(betas, list | tuple) else ()
        yield from ((job, said) for said in warnings_of(params) if not is_lifted(said, betas))


ALL = (
    check_time_zones,
    check_contenttypes,
    check_relations,
    check_settings,
    check_databases,
    check_database_time_zone,
    check_waits,
    check_schedule,
    check_celery,
    check_jobs,
    check_models,
)

DEPLOYMENT = (check_installation, check_clear_text)
