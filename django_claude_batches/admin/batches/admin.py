"""The pages of batches: the list, a batch with its actions, and a new batch from a file."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_claude_batches.admin.actions.admin import ActingAdminMixin
from django_claude_batches.admin.actions.runner import as_action
from django_claude_batches.admin.base import display
from django_claude_batches.admin.base.custom_id_search import has_custom_id
from django_claude_batches.admin.base.filters import AttentionFilter, label_or_number
from django_claude_batches.admin.base.permissions import MayActOnBatchesMixin
from django_claude_batches.admin.batches.actions import BATCH_VERBS, EXPORT, next_step
from django_claude_batches.admin.batches.changelist import BatchChangeList
from django_claude_batches.admin.batches.detail import batch_page
from django_claude_batches.admin.batches.filters import AccountFilter, AgeFilter, KindFilter, NearingFilter, RunFilter
from django_claude_batches.admin.batches.forms import EDITABLE_FIELDS, DraftForm
from django_claude_batches.admin.batches.related_rows import MAX_ROWS
from django_claude_batches.admin.batches.run_facts import with_run
from django_claude_batches.admin.pages.button import Button
from django_claude_batches.admin.pages.live import SECONDS, SECONDS_OF_OURS, MovingAdminMixin
from django_claude_batches.admin.results.export_view import export_links
from django_claude_batches.admin.uploads.views import NewBatchAdminMixin
from django_claude_batches.exceptions import InvalidTransition
from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch, State
from django_claude_batches.models.batch_state import DELETABLE, EDITABLE, FETCHING, NOT_BEING_IDENTIFIED

# Characters of a column that says why a batch needs attention.
MAX_ATTENTION = 80

# Columns that a batch shares with its run: the kind is the name of the run's job.
FIXED_IN_RUN = ("kind", "account")

# States in which a worker, not Anthropic, takes the next step.
OURS = FETCHING | {State.QUEUED, State.SUBMITTING, State.INGESTED}


class MessageBatchAdminMixin(MayActOnBatchesMixin, NewBatchAdminMixin, MovingAdminMixin, ActingAdminMixin):
    """Batches, with all actions. The permission to view them shows no prompts and no answers."""

    form = DraftForm
    verbs = BATCH_VERBS
    actions = [as_action(verb) for verb in BATCH_VERBS]
    empty_list_text = _("There are no batches yet. They are made of an uploaded file, by jobs, or by code.")
    list_display = ("state_label", "name", "progress", "cost", "age", "attention")
    list_display_links = ("name",)
    optional_columns = ("cost", "attention")
    list_filter = ("state", AttentionFilter, NearingFilter, KindFilter, AccountFilter, AgeFilter, RunFilter)
    linked_by = ("state", "run")
    list_per_page = 50
    ordering = ("-pk",)
    search_fields = ("label",)
    search_help_text = _("Part of a label; or a whole kind, number, id at Anthropic or custom_id.")
    fieldsets = (
        (None, {"fields": EDITABLE_FIELDS}),
        (
            _("Local details"),
            {
                "classes": ["collapse"],
                "fields": (
                    ("drafted_at", "created_by_name"),
                    ("queued_at", "next_action_at"),
                    ("ingested_at", "announced_at"),
                    ("request_bodies_purged_at", "result_bodies_purged_at"),
                    ("body_bytes", "anthropic_version", "user_profile_id"),
                ),
            },
        ),
        (
            _("Details at Anthropic"),
            {
                "classes": ["collapse"],
                "fields": (
                    ("anthropic_id", "processing_status"),
                    ("created_at", "expires_at"),
                    ("ended_at", "cancel_initiated_at"),
                    ("archived_at", "remote_deleted_at"),
                ),
            },
        ),
    )

    def fetch(self, request: HttpRequest, pk: int) -> Any:
        """Return the batch with its parent, its retries and the progress of its delivery: one query."""
        rows = with_run(self.get_queryset(request).filter(Q(pk=pk) | Q(parent=pk))).select_related("parent", "run")
        # The batch is older than its retries, so it is the first row.
        found = {row.pk: row for row in rows.order_by("pk")[: MAX_ROWS + 1]}
        batch = found.pop(pk, None)
        if batch is not None:
            batch.retried_by = list(found.values())
        return batch

    def moves(self, row: MessageBatch) -> bool:
        return row.is_live or (row.run is not None and row.run.is_active and row.delivered_at is None)

    def seconds(self, row: MessageBatch) -> int:
        return SECONDS_OF_OURS if row.state in OURS else SECONDS

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[BatchChangeList]:
        return BatchChangeList

    def page_of(self, request: HttpRequest, row: MessageBatch) -> dict[str, Any]:
        return batch_page(self.viewer(request), row)

    @admin.display(description=_("batch"), ordering="pk")
    def name(self, batch: Any) -> str:
        """Return number and label, with the job or kind and the account below."""
        first = str(batch) if batch.label or not batch.kind else f"#{batch.pk}"
        return display.two_lines(first, ", ".join(filter(None, (batch.kind, getattr(batch, "shown_account", "")))))

    @admin.display(description=_("state"))
    def state_label(self, batch: MessageBatch) -> str:
        return display.state_label(batch)

    @admin.display(description=_("outcomes"))
    def progress(self, batch: Any) -> str:
        return display.progress(batch, getattr(batch, "outcome_url", None))

    @admin.display(description=_("age"))
    def age(self, batch: MessageBatch) -> str:
        return display.age(batch.drafted_at)

    @admin.display(description=_("cost"))
    def cost(self, batch: MessageBatch) -> str:
        return display.EMPTY if batch.cost_usd is None else display.usd(batch.cost_usd, batch.prices_as_of)

    @admin.display(description=_("attention"))
    def attention(self, batch: Any) -> str:
        """Return why it needs attention; otherwise its last error, which is retried."""
        if reason := getattr(batch, "attention_text", ""):
            return format_html('<span class="dcb-attention">{}</span>', display.cut(reason, MAX_ATTENTION))
        return display.cut(display.told(batch.last_error)[0], MAX_ATTENTION)

    def has_change_permission(self, request: HttpRequest, obj: MessageBatch | None = None) -> bool:
        permitted = request.user.has_perm("django_claude_batches.change_messagebatch")
        return permitted and (obj is None or (obj.state in EDITABLE and not obj.is_filling))

    def has_delete_permission(self, request: HttpRequest, obj: MessageBatch | None = None) -> bool:
        permitted = request.user.has_perm("django_claude_batches.delete_messagebatch")
        return permitted and (obj is None or (obj.state in DELETABLE and not obj.is_filling))

    def get_readonly_fields(self, request: HttpRequest, obj: MessageBatch | None = None) -> Any:
        fixed = super().get_readonly_fields(request, obj)
        if not self.has_change_permission(request, obj):
            return fixed
        own = [name for name in EDITABLE_FIELDS if name not in FIXED_IN_RUN or obj is None or obj.run_id is None]
        return [name for name in fixed if name not in own]

    def get_fieldsets(self, request: HttpRequest, obj: MessageBatch | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if self.has_change_permission(request, obj):
            return fieldsets
        return [(None, {"fields": [EDITABLE_FIELDS]}), *fieldsets[1:]]  # on one line: there is nothing to edit

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Search labels by any part, and custom_ids by an index lookup in each batch: batches are few.

        An id at Anthropic is looked up by its own index alone.
        """
        term = search_term.strip()
        if not term:
            return queryset, False
        if term.startswith("msgbatch_"):
            return queryset.filter(anthropic_id=term), False
        wanted = label_or_number(term, "kind")
        for model in (BatchRequest, BatchResult):
            if self.viewer(request).may_view(model):
                wanted |= has_custom_id(model, term)
        return queryset.filter(wanted), False

    def summarize(self, rows: list[MessageBatch]) -> str:
        count, requests = len(rows), sum(row.request_count for row in rows)
        accounts = ", ".join(sorted({row.account for row in rows}))
        batches = ngettext("%d batch", "%d batches", count) % count
        requested = ngettext("%s request", "%s requests", requests) % f"{requests:,}"
        return _("%(batches)s, %(requests)s, account %(accounts)s.") % {
            "batches": batches,
            "requests": requested,
            "accounts": accounts,
        }

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except InvalidTransition as error:
            return self._overtaken(request, error, request.get_full_path())

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        try:
            return super().delete_view(request, object_id, self.with_notices(request, extra_context))
        except InvalidTransition as error:
            return self._overtaken(request, error, self.row_url(MessageBatch, object_id))

    def _overtaken(self, request: HttpRequest, error: InvalidTransition, url: str) -> HttpResponse:
        """Report that the batch changed after the page was opened; nothing was written."""
        self.message_user(request, str(error), messages.ERROR)
        return HttpResponseRedirect(url)

    def get_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, *args, **kwargs)
        form.aliases = self.viewer(request).aliases()  # Django makes a form class for each request
        return form

    def save_model(self, request: HttpRequest, obj: MessageBatch, form: Any, change: bool) -> None:  # noqa: FBT001
        """Write the changed columns, if the batch can still be edited.

        Saving the whole row would undo a submission in between.
        """
        changed = {name: form.cleaned_data[name] for name in form.changed_data}
        if not changed:
            return
        rows = MessageBatch.objects.primary()
        if not rows.filter(NOT_BEING_IDENTIFIED, pk=obj.pk, state__in=EDITABLE, is_filling=False).update(**changed):
            obj.refresh_from_db(using=rows.db)
            raise obj.forbidden("edit", EDITABLE)
        obj.log_event("edited", ", ".join(changed), by=request.user)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Name the batches but not their children: Django would load each of 100,000 requests and results."""
        named = [
            _("%(batch)s with its requests, results and timeline. Nothing changes at Anthropic.") % {"batch": batch}
            for batch in objs
        ]
        return named, {self.opts.verbose_name_plural: len(named)}, set(), []

    def row_links(self, request: HttpRequest, row: MessageBatch) -> list[Button]:
        return [Button(EXPORT, label, url, is_link=True) for label, url in export_links(self, request, row)]

    def next_step(self, row: MessageBatch) -> str:
        return next_step(row)


@admin.register(MessageBatch)
class MessageBatchAdmin(MessageBatchAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """Batches: the page where people submit, watch, cancel and delete them."""
