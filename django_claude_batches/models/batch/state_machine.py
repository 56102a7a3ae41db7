from __future__ import annotations

from collections.abc import Iterable

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from django_claude_batches.exceptions import InvalidTransition
from django_claude_batches.models.batch_state import State, state_labels
from django_claude_batches.models.work_item import WorkItem


class StateMachine(WorkItem):
    """The state column of a batch. Services change it by `move`; docs/topics/states.md lists the transitions."""

    state = models.CharField(_("state"), max_length=20, choices=State.choices, default=State.DRAFT, db_index=True)
    tries = models.PositiveSmallIntegerField(
        default=0,
        editable=False,
        help_text=_("Attempts of the current step: complete downloads, or calls of the receivers."),
    )

    counters = ("tries", "failures")

    class Meta(WorkItem.Meta):
        abstract = True

    def forbidden(self, verb: str, states: Iterable[State], why: str = "") -> InvalidTransition:
        """Return the error that names the batch's state, and the states that allow the verb."""
        allowed = state_labels(frozenset(states))
        reason = why or f"it can be done only to a batch that is: {allowed}."
        return InvalidTransition(f"Cannot {verb} batch {self}, which is {State(self.state).label!s}: {reason}")

    def reschedule_condition(self) -> Q:
        # The state may have changed since the row was read. A draft with a `next_action_at` would be dispatched by
        # every tick.
        return Q(state=self.state)

    def clear_next_action(self, *, token: str) -> None:
        """Clear `next_action_at`, unless it or the state changed since the row was read."""
        if self.next_action_at is not None:
            unchanged = Q(state=self.state, next_action_at=self.next_action_at)
            self.change(unchanged, token=token, next_action_at=None)
