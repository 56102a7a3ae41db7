"""Permissions: the rows, texts and pages that a user may view, and `has_<name>_permission` methods for actions."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse

from django_claude_batches import conf
from django_claude_batches.admin.base.filters import BATCH
from django_claude_batches.admin.base.safe_settings import known
from django_claude_batches.error_text import public_part
from django_claude_batches.models import BatchRequest, BatchResult

APP = "django_claude_batches"


@dataclass(frozen=True, slots=True)
class Viewer:
    """The user of a request on an admin site: what the user may view there.

    Methods that return a URL return an empty text if the user may not view the page.
    """

    request: HttpRequest
    site: AdminSite

    def may_view(self, model: type[Model]) -> bool:
        """Return whether the user may see rows of this model on this site."""
        registered = self.site.is_registered(model)
        return registered and self.site.get_model_admin(model).has_view_or_change_permission(self.request)

    @property
    def is_superuser(self) -> bool:
        return bool(getattr(self.request.user, "is_superuser", False))

    @property
    def accounts(self) -> frozenset[str] | None:
        """Return the aliases of the accounts whose rows the user may see; None for all. Cached on the HTTP request."""
        asked: dict[AdminSite, frozenset[str] | None] = vars(self.request).setdefault("_dcb_accounts", {})
        if self.site not in asked:
            asked[self.site] = _accounts(self.site, self.request)
        return asked[self.site]

    def sees(self, account: str) -> bool:
        """Return whether the user may see rows of this account."""
        return self.accounts is None or account in self.accounts

    def aliases(self) -> list[str]:
        """Return the accounts in the settings that the user may see, sorted; none if the settings are invalid."""
        return sorted(filter(self.sees, known(conf.accounts, ())))

    def rows(self, model: type[Model]) -> Any:
        """Return the rows of the accounts that the user may see; the model has a column `account`."""
        rows: Any = model._default_manager.all()
        return rows.primary().of_accounts(self.accounts)

    def visible(self, text: str) -> str:
        """Return the part of a stored text or a message that the user may see.

        All pages must show such texts with this method: errors raised by the project's code may quote a prompt or an
        answer.
        """
        may_view_all = self.may_view(BatchResult) and self.may_view(BatchRequest)
        return text if may_view_all else public_part(text)

    def list_url(self, model: type[Model], **parameters: Any) -> str:
        url = page_url(self.site, model, "changelist") if self.may_view(model) else ""
        return f"{url}?{urlencode(parameters)}" if url and parameters else url

    def rows_url(self, model: type[Model], batch_id: int, **parameters: Any) -> str:
        """Return the URL of the list of one batch's rows."""
        return self.list_url(model, **{BATCH: batch_id}, **parameters)

    def row_url(self, model: type[Model], pk: Any) -> str:
        return page_url(self.site, model, "change", pk) if self.may_view(model) else ""


def _accounts(site: AdminSite, request: HttpRequest) -> frozenset[str] | None:
    """Return the accounts that all pages of the site let the user see: a limit of one page applies to all of them."""
    pages: Any = (page for page in site._registry.values() if hasattr(page, "visible_accounts"))
    found = [_checked(page.visible_accounts(request)) for page in pages]
    narrowed = [aliases for aliases in found if aliases is not None]
    return frozenset.intersection(*narrowed) if narrowed else None


def _checked(aliases: Collection[str] | None) -> frozenset[str] | None:
    """Return the aliases as a set, or None. Raises TypeError for a text, which would be a collection of letters."""
    if isinstance(aliases, str):
        raise TypeError(f"visible_accounts must return a collection of aliases or None, not the text {aliases!r}.")
    return None if aliases is None else frozenset(aliases)


def page_url(site: AdminSite, model: type[Model], page: str, *args: Any) -> str:
    """Return the URL of a page of the model. `page` is the last part of its URL name, such as `change`."""
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"
    return reverse(name, args=args, current_app=site.name)


def _has(codename: str) -> Callable[[Any, HttpRequest], bool]:
    """Return a method of a ModelAdmin that returns whether the user has this permission."""

    def has_permission(self: Any, request: HttpRequest) -> bool:
        return request.user.has_perm(f"{APP}.{codename}")

    return has_permission


class MayActOnBatchesMixin:
    """For a ModelAdmin whose actions need the permissions of batches."""

    has_submit_permission = _has("submit_messagebatch")
    has_cancel_permission = _has("cancel_messagebatch")
    has_delete_remote_permission = _has("delete_remote_messagebatch")
    has_advance_permission = _has("advance_messagebatch")
    has_reingest_permission = _has("reingest_messagebatch")
    has_retry_permission = _has("retry_messagebatch")
    has_identify_permission = _has("identify_messagebatch")


class MayActOnRunsMixin:
    """For a ModelAdmin whose actions need the permissions of runs."""

    has_start_permission = _has("start_jobrun")
    has_pause_permission = _has("pause_jobrun")
    has_cancel_permission = _has("cancel_jobrun")
    has_retry_permission = _has("retry_jobrun")
    has_redeliver_permission = _has("redeliver_jobrun")
