"""The content of an uploaded file's page."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_claude_batches import conf
from django_claude_batches.admin.base import display
from django_claude_batches.models import AccountState, BatchUpload, UploadState
from django_claude_batches.request_files.check_report import MAX_SAMPLE_CHARACTERS

REFRESH_SECONDS = 3


def upload_page(upload: BatchUpload) -> dict[str, Any]:
    """Return the template's context: the progress, what was found, and what can be done."""
    is_checked = upload.checked_at is not None
    return {
        "title": _("New batch: %(file)s") % {"file": upload},
        "upload": upload,
        "state": UploadState(upload.state).label,
        "refresh": REFRESH_SECONDS if upload.is_moving else 0,
        "is_stalled": upload.is_moving and not AccountState.objects.primary().ticking().exists(),
        "percent": upload.bytes_read * 100 // (upload.bytes or 1),
        "standing": _standing(upload),
        "facts": _facts(upload) if is_checked else [],
        "samples": [(sample["custom_id"], *_shown(sample)) for sample in upload.samples],
        "bad_rows": upload.bad_rows if is_checked else [],
        "more_bad_rows": upload.bad_count - len(upload.bad_rows) if is_checked else 0,
        "may_draft": upload.is_draftable and upload.state in {UploadState.READY, UploadState.FAILED},
        "may_recheck": upload.state == UploadState.FAILED and not is_checked,
        "may_discard": upload.state in {UploadState.READY, UploadState.FAILED, UploadState.UNCHECKED},
    }


def _standing(upload: BatchUpload) -> str:
    rows = ngettext("%(n)s row", "%(n)s rows", upload.row_count) % {"n": f"{upload.row_count:,}"}
    if upload.state == UploadState.UNCHECKED:
        return _("%(rows)s checked so far. Nothing is drafted until you confirm.") % {"rows": rows}
    if upload.state == UploadState.CONFIRMED:
        text = _("%(rows)s are stored, all or none: there is no count before the end.")
        return text % {"rows": rows}
    if upload.state == UploadState.DRAFTED:
        return _("It became a batch.")
    if upload.state == UploadState.FAILED:
        return _("Nothing was drafted.")
    if upload.is_draftable:
        return _("This is what would be drafted. Nothing is stored as a batch so far, and nothing is sent.")
    if upload.bad_count:
        return _("It cannot be drafted: correct the rows below, and upload the file again. Nothing was drafted.")
    return _("There is no request in this file. Nothing was drafted.")


def _facts(upload: BatchUpload) -> list[tuple[str, str]]:
    rows = f"{upload.row_count:,}"
    if upload.is_full:
        rows = _("%(rows)s; later rows were not checked, because a batch cannot hold more") % {"rows": rows}
    facts = [
        (_("Rows"), rows),
        (_("Bad rows"), f"{upload.bad_count:,}"),
        (_("Requests"), f"{upload.request_count:,}"),
        (_("Size, in bytes"), f"{upload.body_bytes:,}"),
        (_("Estimate of its cost"), display.estimate(upload.estimate(conf.prices()))),
        (_("Account"), upload.account),
    ]
    if upload.prompt:
        facts += [(_("Model"), upload.model), (_("Max tokens"), f"{upload.max_tokens or 0:,}")]
    return facts


def _shown(sample: dict[str, Any]) -> tuple[str, str]:
    """Return a request's params as indented text, and a note if they are cut."""
    text = sample["params"]
    if len(text) < MAX_SAMPLE_CHARACTERS:
        return display.pretty_text(text), ""
    note = _("Cut here: the first %(shown)s characters of %(all)s bytes.")
    return text, note % {"shown": f"{len(text):,}", "all": f"{sample['bytes']:,}"}
