"""What was spent, as text for people, and as JSON for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from django.utils import timezone

from django_claude_batches.estimates import dollars
from django_claude_batches.management.cli.batch_output import counted
from django_claude_batches.models.usage_totals import UsageReport, UsageRow, UsageSums, total_of


def line(row: UsageRow) -> str:
    return f"{' '.join(_named(key) for key in row.keys)}: {in_words(row.sums)}"


def in_words(sums: UsageSums) -> str:
    """Return the sums in one line. An unknown cost is said, and never zero."""
    cost = sums.known_cost_usd
    parts = [
        "cost not known" if cost is None else f"{'at least ' if sums.unpriced_results else ''}{dollars(cost)}",
        counted(sums.requests, "request"),
        f"{sums.input_tokens:,} tokens in",
        f"{sums.output_tokens:,} out",
    ]
    if sums.cache_write_tokens or sums.cache_read_tokens:
        parts.append(f"{sums.cache_write_tokens:,} written to the cache")
        parts.append(f"{sums.cache_read_tokens:,} read from it ({sums.cache_read_share:.0%} of the prompt)")
    if sums.web_search_requests:
        parts.append(counted(sums.web_search_requests, "web search", "web searches"))
    unknown = f"; {counted(sums.unpriced_results, 'result')} of unknown cost" if sums.unpriced_results else ""
    return f"{', '.join(parts)}{unknown}"


def document(report: UsageReport, by: Sequence[str], rows: Sequence[UsageRow]) -> dict[str, Any]:
    """Return what `--json` prints. Days are ISO 8601, costs are texts in US dollars; null if not known."""
    return {
        "since": report.since and report.since.isoformat(),
        "until": report.until and report.until.isoformat(),
        "time_zone": timezone.get_current_timezone_name(),
        "by": list(by),
        "rows": [dict(zip(by, map(_key, row.keys), strict=True)) | _data(row.sums) for row in rows],
        "total": _data(total_of(rows)),
    }


def months(this: UsageSums, last: UsageSums) -> dict[str, Any]:
    return {"this_month": _data(this), "last_month": _data(last)}


def _named(key: date | str) -> str:
    return key.isoformat() if isinstance(key, date) else key or "-"


def _key(key: date | str) -> str:
    return key.isoformat() if isinstance(key, date) else key


def _data(sums: UsageSums) -> dict[str, Any]:
    cost, share = sums.known_cost_usd, sums.cache_read_share
    return {
        "cost_usd": None if cost is None else f"{cost:f}",
        "requests": sums.requests,
        "unpriced_results": sums.unpriced_results,
        "input_tokens": sums.input_tokens,
        "output_tokens": sums.output_tokens,
        "cache_write_5m_tokens": sums.cache_write_5m_tokens,
        "cache_write_1h_tokens": sums.cache_write_1h_tokens,
        "cache_read_tokens": sums.cache_read_tokens,
        "cache_read_share": None if share is None else round(share, 4),
        "web_search_requests": sums.web_search_requests,
    }
