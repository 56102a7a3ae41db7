"""The pages of accounts, and the actions that resume an account or confirm its installation."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef
from django.http import HttpRequest
from django.template.defaultfilters import date as date_filter
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy

from django_claude_batches import conf, services
from django_claude_batches.admin.accounts.findings import not_shown, shown_findings
from django_claude_batches.admin.actions.action import Verb
from django_claude_batches.admin.actions.admin import ActingAdminMixin
from django_claude_batches.admin.actions.runner import as_action
from django_claude_batches.admin.base import display
from django_claude_batches.admin.base.permissions import MayActOnBatchesMixin
from django_claude_batches.models import AccountState, MessageBatch, State


def _cannot_resume(account: AccountState) -> str:
    paused = AccountState.objects.primary().paused().filter(pk=account.pk).exists()
    return "" if paused else _("is not paused")


def _cannot_confirm(account: AccountState) -> str:
    return "" if account.belongs_to_other_installation(conf.installation()) else _("is this installation's")


CONFIRM = Verb(
    name="confirm_installation",
    label=gettext_lazy("Confirm this installation"),
    permission="submit",
    words=gettext_lazy(
        "Do not confirm in a copy of a database whose original still runs: both would act on the same batches."
    ),
    rule=gettext_lazy("Only accounts of another installation can be confirmed."),
    done=ngettext_lazy("%d account belongs to this installation now.", "%d accounts belong to this installation now."),
    refusal=_cannot_confirm,
    perform=lambda account, by: services.confirm_installation(account.alias),
)

RESUME = Verb(
    name="resume",
    label=gettext_lazy("Resume sending"),
    permission="submit",
    words=gettext_lazy("Queued batches are sent, and billed once sent."),
    rule=gettext_lazy("Only paused accounts can be resumed."),
    done=ngettext_lazy("Sending is resumed for %d account.", "Sending is resumed for %d accounts."),
    refusal=_cannot_resume,
    perform=lambda account, by: services.resume(account.alias),
)


class AccountStateAdminMixin(MayActOnBatchesMixin, ActingAdminMixin):
    """Accounts and their state in the database. Keys are only in the settings."""

    empty_list_text = gettext_lazy("No account was used yet. An account has a row here after its first call or tick.")
    account_path = "alias"
    heavy_fields = ("findings",)
    verbs = (RESUME, CONFIRM)
    actions = [as_action(RESUME), as_action(CONFIRM)]
    list_display = ("alias", "sending", "reason", "last_tick_at")
    ordering = ("alias",)
    search_fields = ("alias__exact",)
    readonly_fields = ("sending",)
    fields = (
        "alias",
        "sending",
        "paused_at",
        "paused_until",
        "pause_reason",
        "slow_since",
        "slow_at",
        "last_tick_at",
        "audited_at",
        "audit_findings",
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        same = AccountState.objects.primary().filter(pk=OuterRef("pk"))
        return super().get_queryset(request).annotate(is_paused=Exists(same.paused()), is_slow=Exists(same.slow()))

    @admin.display(description=gettext_lazy("sending"))
    def sending(self, account: Any) -> str:
        if not account.is_paused and account.is_slow:
            since = date_filter(timezone.localtime(account.slow_since), "DATETIME_FORMAT")
            return _("Slow since %(since)s") % {"since": since}
        if not account.is_paused:
            return _("Sends")
        if account.paused_until is None:
            return _("Paused until a person resumes it")
        until = date_filter(timezone.localtime(account.paused_until), "DATETIME_FORMAT")
        return _("Paused until %(until)s") % {"until": until}

    @admin.display(description=gettext_lazy("why"))
    def reason(self, account: AccountState) -> str:
        return display.cut(display.told(account.pause_reason)[0])

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        account = kwargs.get("obj")
        if account is not None and account.audit_findings:
            context["dcb_findings"] = list(shown_findings(self.viewer(request), account))
            context["dcb_more_findings"] = not_shown(account)
        return super().render_change_form(request, context, *args, **kwargs)

    def summarize(self, rows: list[AccountState]) -> str:
        aliases = [row.alias for row in rows]
        waiting = MessageBatch.objects.primary().filter(account__in=aliases, state=State.QUEUED).count()
        accounts = ngettext("%d account", "%d accounts", len(rows)) % len(rows)
        batches = ngettext("%d batch waits", "%d batches wait", waiting) % waiting
        return _("%(accounts)s: %(aliases)s. %(batches)s to be sent.") % {
            "accounts": accounts,
            "aliases": ", ".join(aliases),
            "batches": batches,
        }


@admin.register(AccountState)
class AccountStateAdmin(AccountStateAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """Accounts: whether they send, and if not, why and since when."""
