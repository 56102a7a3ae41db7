from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Self, cast

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from django_claude_batches.db.dispatch import Dispatched
from django_claude_batches.db.leases import DatabaseNow, LeasedQuerySet, now_plus
from django_claude_batches.exceptions import InvalidTransition
from django_claude_batches.models.batch_state import State, state_labels
from django_claude_batches.models.fields import StorableTextField


class StateMachine(Dispatched):
    """A row that is a state machine: its state, when something has to be done next, and how its tries went.

    Each change is one conditional UPDATE, so whoever comes second, or late, changes nothing and is told so.
    """

    state = models.CharField(_("state"), max_length=20, choices=State.choices, default=State.DRAFT, db_index=True)
    next_action_at = models.DateTimeField(_("next action at"), null=True, blank=True, db_index=True)
    tries = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text=_("Of the present step: complete downloads, or calls of the receivers.")
    )
    failures = models.PositiveIntegerField(
        default=0, editable=False, help_text=_("In a row, of a passing kind: they stretch the back-off.")
    )
    last_error = StorableTextField(_("last error"), blank=True)

    class Meta(Dispatched.Meta):
        abstract = True

    def forbidden(self, verb: str, states: Iterable[State], why: str = "") -> InvalidTransition:
        """Give the error that says what this batch is, and which states allow the verb."""
        allowed = state_labels(frozenset(states))
        reason = why or f"it can be done only to a batch that is: {allowed}."
        return InvalidTransition(f"Cannot {verb} batch {self}, which is {State(self.state).label!s}: {reason}")

    def move(
        self,
        to: State,
        *,
        allowed: Iterable[State],
        where: Q | None = None,
        token: str = "",
        due: timedelta | None = None,
        **changes: Any,
    ) -> bool:
        """Change the state if it is (still) one of `allowed`, and give whether it did; read the row again either way.

        With `where`, only if that matches too; with `token`, only while that lease holds. `due` sets the next action
        that long from now; without it there is none. The counters of tries start anew.
        """
        rows = self._row(token)
        anew = {"tries": 0, "failures": 0, "next_action_at": None if due is None else now_plus(due)}
        moved = rows.filter(where or Q(), state__in=list(allowed)).update(state=to, **{**anew, **changes})
        self.refresh_from_db(using=rows.db)
        return bool(moved)

    def record_intent(
        self, allowed: Iterable[State], *, where: Q | None = None, token: str = "", **changes: Any
    ) -> bool:
        """Record something on the row without changing its state, and make it due now, if it is as in `where`."""
        rows = self._row(token)
        recorded = rows.filter(where or Q(), state__in=list(allowed)).update(next_action_at=DatabaseNow(), **changes)
        self.refresh_from_db(using=rows.db)
        return bool(recorded)

    def reschedule(self, delay: timedelta, *, token: str, error: str | None = None, **changes: Any) -> bool:
        """Try again later, while the lease holds; count one more failure where there was an `error`."""
        if error is not None:
            changes |= {"last_error": error, "failures": F("failures") + 1}
        rows = self._row(token)
        # Somebody may have moved it meanwhile: a draft that is due would be handed out by every tick.
        recorded = rows.filter(state=self.state).update(next_action_at=now_plus(delay), **changes)
        self.refresh_from_db(using=rows.db)
        return bool(recorded)

    def clear_next_action(self, *, token: str) -> None:
        """Take the next action away, unless somebody asked for one meanwhile."""
        if self.next_action_at is not None:
            unchanged = self._row(token).filter(state=self.state, next_action_at=self.next_action_at)
            unchanged.update(next_action_at=None)

    def _row(self, token: str) -> LeasedQuerySet[Self]:
        rows = cast("LeasedQuerySet[Self]", type(self)._default_manager.all()).primary()
        return rows.leased_by(self.pk, token) if token else rows.filter(pk=self.pk)
