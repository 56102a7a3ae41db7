"""Notices about batches: those that are unconfirmed, and those near a deadline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_claude_batches.admin.base.filters import ATTENTION, NEARING
from django_claude_batches.admin.notices.notice import Notice, at_most, count_some, list_url
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.models.batch_state import FETCHING, RUNNING


def live_counts() -> dict[str, Any]:
    """Return counts of batches in flight, as columns of another query: they are few, and an index serves each."""
    batches = MessageBatch.objects.primary().order_by()
    near = batches.nearing_deadline()
    return {
        "unconfirmed": count_some(batches.filter(state=State.UNCERTAIN)),
        "failing": count_some(batches.in_flight().exclude(state=State.UNCERTAIN).needing_attention()),
        "running": count_some(near.filter(state__in=RUNNING)),
        "fetching": count_some(near.filter(state__in=FETCHING)),
    }


def about_batches(request: HttpRequest, site: AdminSite, live: Any) -> Iterator[Notice]:
    """Yield notices about unconfirmed batches, and about batches near a deadline."""
    link = _("Show them")
    if live.unconfirmed:
        words = ngettext(
            "%(n)s batch was sent and is not confirmed: it may be running and billed. The search for it continues. "
            "If you find it at Anthropic, use Identify batch….",
            "%(n)s batches were sent and are not confirmed: they may be running and billed. The search for them "
            "continues. If you find one at Anthropic, use Identify batch….",
            live.unconfirmed,
        )
        url = list_url(request, site, MessageBatch, state__exact=State.UNCERTAIN)
        yield Notice(words % {"n": at_most(live.unconfirmed)}, url, link)
    if live.failing:
        words = ngettext(
            "%(n)s batch in flight needs attention: its page says why.",
            "%(n)s batches in flight need attention: their pages say why.",
            live.failing,
        )
        yield Notice(
            words % {"n": at_most(live.failing)}, list_url(request, site, MessageBatch, **{ATTENTION: "yes"}), link
        )
    url = list_url(request, site, MessageBatch, **{NEARING: "yes"})
    if live.running:
        words = ngettext(
            "%(n)s batch has been running for 23 hours. What Anthropic has not processed after 24 hours expires; "
            "it is not billed and can be retried.",
            "%(n)s batches have been running for 23 hours. What Anthropic has not processed after 24 hours "
            "expires; it is not billed and can be retried.",
            live.running,
        )
        yield Notice(words % {"n": at_most(live.running)}, url, link)
    if live.fetching:
        words = ngettext(
            "%(n)s batch has results that are not all stored, and they can be fetched for less than 2 more days. "
            "Fix its last error, then Check now.",
            "%(n)s batches have results that are not all stored, and they can be fetched for less than 2 more "
            "days. Fix their last errors, then Check now.",
            live.fetching,
        )
        yield Notice(words % {"n": at_most(live.fetching)}, url, link)
