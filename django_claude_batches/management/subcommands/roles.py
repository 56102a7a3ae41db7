"""The sub-command that makes ready-made groups: viewer, operator and spender."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management.base import CommandError
from django.db import router, transaction

from django_claude_batches.management.cli.batch_output import counted
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.exit_codes import Exit
from django_claude_batches.management.cli.subcommand import Subcommand

APP = "django_claude_batches"

# What only reads, answers and prompts too: a person who may not read those needs only `view_messagebatch`.
_VIEWER = (
    *("view_messagebatch", "view_batchrequest", "view_batchresult"),
    *("view_jobrun", "view_accountstate", "view_usagerollup"),
)

# What sends nothing that would be billed. Drafts cost nothing, so a spender can submit what an operator drafted.
_OPERATOR = (
    *("add_messagebatch", "change_messagebatch", "retry_messagebatch", "cancel_messagebatch", "advance_messagebatch"),
    *("reingest_messagebatch", "identify_messagebatch", "delete_remote_messagebatch"),
    *("pause_jobrun", "cancel_jobrun", "redeliver_jobrun"),
)

_SPENDER = ("submit_messagebatch", "start_jobrun", "retry_jobrun")

# The codenames of each role. None deletes rows here, which takes paid answers along (`delete_messagebatch`).
ROLES = {
    "viewer": _VIEWER,
    "operator": (*_VIEWER, *_OPERATOR),
    "spender": (*_VIEWER, *_OPERATOR, *_SPENDER),
}


def group_name(role: str) -> str:
    return f"Claude batches: {role}"


class Roles(Subcommand):
    name = "roles"
    help = (
        "Make three groups of users: viewers read everything, operators also do what costs nothing, and spenders also "
        "send what is billed. Permissions are only added, never taken away, so it can be repeated."
    )
    example = "manage.py claude_batches roles --json"

    def add_arguments(self, parser: ArgumentParser) -> None:
        pass

    def run(self, console: Console, options: dict[str, Any]) -> None:
        _check_users()
        groups = _give_all()
        for group in groups:
            _show(console, group)
        console.say("Add users to a group in the admin, and give them the staff status that the admin requires.")
        console.document({"groups": groups})


def _check_users() -> None:
    """Raise CommandError if users have no groups: a model that has some requires `django.contrib.auth`."""
    user = get_user_model()
    if not hasattr(user, "groups"):
        text = f"Users of this project, {user._meta.label}, have no groups: add PermissionsMixin to the model."
        raise CommandError(text, returncode=Exit.FAILED)


def _give_all() -> list[dict[str, Any]]:
    """Give each group its permissions, or none any. Return what was given, by group."""
    db = router.db_for_write(apps.get_model("auth", "Group"))
    with transaction.atomic(using=db):
        known = _permissions(db)
        return [_give(db, role, [known[codename] for codename in codenames]) for role, codenames in ROLES.items()]


def _permissions(db: str) -> dict[str, Any]:
    """Return the permissions of all roles by codename. Raise CommandError for missing ones."""
    wanted = set().union(*ROLES.values())
    rows: Any = apps.get_model("auth", "Permission")._default_manager.using(db)
    found = rows.filter(content_type__app_label=APP, codename__in=wanted)
    known = {permission.codename: permission for permission in found}
    if missing := sorted(wanted - known.keys()):
        text = (
            f"The database {db} lacks {counted(len(missing), 'permission')}: {', '.join(missing)}. Nothing was given."
        )
        raise CommandError(f"{text} `manage.py migrate --database {db}` makes them.", returncode=Exit.FAILED)
    return known


def _give(db: str, role: str, permissions: list[Any]) -> dict[str, Any]:
    rows: Any = apps.get_model("auth", "Group")._default_manager.using(db)
    group, is_new = rows.get_or_create(name=group_name(role))
    before = _held(group, db)
    group.permissions.add(*permissions)
    added = _held(group, db) - before
    return {"role": role, "group": group.name, "is_new": is_new, "added": sorted(added), "had": sorted(before)}


def _held(group: Any, db: str) -> set[str]:
    rows = group.permissions.using(db).order_by().values_list("content_type__app_label", "codename")
    return {f"{app}.{codename}" for app, codename in rows}


def _show(console: Console, group: dict[str, Any]) -> None:
    console.say(f"{group['group']} ({'new' if group['is_new'] else 'it existed'})")
    for label, names in (("added", group["added"]), ("had already", group["had"])):
        if names:
            console.say(f"  {label}: {', '.join(name.removeprefix(f'{APP}.') for name in names)}")
