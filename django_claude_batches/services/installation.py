"""Refuse to act on rows of another installation: the database may be a copy of production's."""

from __future__ import annotations

from django_claude_batches import conf
from django_claude_batches.exceptions import OtherInstallation
from django_claude_batches.models import AccountState
from django_claude_batches.services.account_pauses import account_state


def require_own_installation(alias: str) -> None:
    """Raise OtherInstallation if the account's rows belong to another installation than the settings name.

    The first installation to act records its name. Without INSTALLATION in the settings nothing is compared.
    """
    name = conf.installation()
    if not name:
        return
    states = AccountState.objects.primary().filter(pk=account_state(alias).pk)
    states.filter(installation="").update(installation=name)
    state = states.get()
    if state.belongs_to_other_installation(name):
        raise OtherInstallation(
            f'This database is "{state.installation}"\'s, and the settings say INSTALLATION = "{name}": it may be a '
            f'copy. Nothing is sent, polled, fetched, canceled or deleted for account "{alias}" until a person '
            f"confirms that it is not: manage.py claude_batches confirm-installation {alias}"
        )


def confirm_installation(alias: str) -> str:
    """Assign the account's batches to this installation from now on; return the name of the previous one."""
    name = conf.installation()
    states = AccountState.objects.primary().filter(pk=account_state(alias).pk)
    before = states.values_list("installation", flat=True).get()
    states.update(installation=name)
    return before
