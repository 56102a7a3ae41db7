"""A copy of the database must not act on the original's batches: whose they are stands in a row, and is compared."""

from __future__ import annotations

from django_claude_batches import conf
from django_claude_batches.exceptions import OtherInstallation
from django_claude_batches.models import AccountState
from django_claude_batches.services.account_pauses import account_state


def require_own_installation(alias: str) -> None:
    """Raise OtherInstallation if the account's rows are another installation's than the settings say.

    The first one to come writes its name down. Without INSTALLATION in the settings nothing is compared.
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
    """Say that the account's batches are this installation's from now on; give the name of the one before."""
    name = conf.installation()
    states = AccountState.objects.primary().filter(pk=account_state(alias).pk)
    before = states.values_list("installation", flat=True).get()
    states.update(installation=name)
    return before
