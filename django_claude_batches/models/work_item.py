"""The base class of rows that workers process: conditional updates, failures and the next action."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, ClassVar

from django.db import models, router
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from django_claude_batches.db.dispatch import Dispatchable
from django_claude_batches.db.leases import DatabaseNow, now_plus
from django_claude_batches.models.fields import StorableTextField


class WorkItem(Dispatchable):
    """A row that workers process: a batch, a job's run, a delivery or an upload. Most have a `state`.

    Each change is one conditional UPDATE: a worker that is too late changes nothing, and the return value is False.
    """

    failures = models.PositiveIntegerField(
        default=0, editable=False, help_text=_("Consecutive failures, which lengthen the back-off.")
    )
    last_error = StorableTextField(_("last error"), blank=True)

    # Columns that `move` sets to 0.
    counters: ClassVar[tuple[str, ...]] = ()

    class Meta(Dispatchable.Meta):
        abstract = True

    def change(self, *where: Q, token: str = "", **changes: Any) -> bool:
        """Update the row if it matches `where`, and return whether it did. Then refresh the instance from the database.

        With `token`, update it only while that lease is valid.
        """
        manager: Any = type(self)._default_manager
        rows = manager.primary()
        rows = rows.leased_by(self.pk, token) if token else rows.filter(pk=self.pk)
        changed = rows.filter(*where).update(**changes)
        self.read_again()
        return bool(changed)

    def read_again(self) -> None:
        """Refresh the instance from the database that is written to."""
        self.refresh_from_db(using=router.db_for_write(type(self)))

    def move(
        self,
        to: str,
        *,
        allowed: Iterable[str],
        where: Q | None = None,
        token: str = "",
        due: timedelta | None = None,
        **changes: Any,
    ) -> bool:
        """Change the state to `to`, as `change` does, if it is one of `allowed`.

        The next action is due after `due`; if that is None, there is no next action. The model's `counters` are set to
        0. `changes` override both.
        """
        reset = dict.fromkeys(self.counters, 0) | {"next_action_at": None if due is None else now_plus(due)}
        return self.change(where or Q(), Q(state__in=list(allowed)), token=token, state=to, **(reset | changes))

    def record_intent(self, allowed: Iterable[str], *, where: Q | None = None, token: str = "", **changes: Any) -> bool:
        """Change the row if its state is one of `allowed`, and make it due now. The state does not change."""
        matching = Q(state__in=list(allowed))
        return self.change(where or Q(), matching, token=token, next_action_at=DatabaseNow(), **changes)

    def reschedule(self, delay: timedelta | None, *, token: str, error: str | None = None, **changes: Any) -> bool:
        """Make the next action due after `delay`, or clear it if None. With `error`, record it and count a failure.

        Change nothing if the lease is lost, or if the row no longer matches `reschedule_condition`.
        """
        if error is not None:
            changes |= {"last_error": error, "failures": F("failures") + 1}
        at = None if delay is None else now_plus(delay)
        return self.change(self.reschedule_condition(), token=token, next_action_at=at, **changes)

    def reschedule_condition(self) -> Q:
        """Return the condition under which `reschedule` changes the row."""
        return Q()
