"""The content of an uploaded file's page."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_claude_batches import conf
from django_claude_batches.admin.base import display
from django_claude_batches.admin.base.question import conversation
from django_claude_batches.admin.uploads.model_input import model_warnings
from django_claude_batches.models import AccountState, BatchUpload, UploadState
from django_claude_batches.models.upload import CHANGEABLE
from django_claude_batches.request_files.check_report import MAX_SAMPLE_CHARACTERS
from django_claude_batches.request_files.row import OF_THE_FILE

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
        "samples": list(map(_sample, upload.samples)),
        "file_problems": [reason for number, reason in upload.bad_rows if number == OF_THE_FILE],
        "warnings": model_warnings(upload.model, conf.prices()) if is_checked else [],
        "bad_rows": [row for row in upload.bad_rows if row[0] != OF_THE_FILE] if is_checked else [],
        "more_bad_rows": upload.bad_count - len(upload.bad_rows) if is_checked else 0,
        "may_draft": upload.is_draftable and upload.state in {UploadState.READY, UploadState.FAILED},
        "may_change": upload.state in CHANGEABLE,
        "may_recheck": upload.state == UploadState.FAILED and not is_checked,
        "may_discard": upload.state in {UploadState.READY, UploadState.FAILED, UploadState.UNCHECKED},
    }


def _standing(upload: BatchUpload) -> str:
    rows = ngettext("%(n)s row", "%(n)s rows", upload.row_count) % {"n": f"{upload.row_count:,}"}
    if upload.state == UploadState.UNCHECKED:
        return _("%(rows)s checked so far. Nothing is drafted until you confirm.") % {"rows": rows}
    if upload.state == UploadState.CONFIRMED:
        return _("Storing %(rows)s. They are stored all at once, so there is no progress to show.") % {"rows": rows}
    if upload.state == UploadState.DRAFTED:
        return _("A batch was made from this file.")
    if upload.state == UploadState.FAILED:
        return _("Nothing was drafted.")
    if upload.is_draftable:
        return _("This is what would be drafted. Nothing is stored as a batch so far, and nothing is sent.")
    if any(number == OF_THE_FILE for number, _reason in upload.bad_rows):
        return _(
            "This file cannot be drafted: change the prompt, or correct the file and upload it again. Nothing was "
            "drafted."
        )
    if upload.bad_count:
        return _("This file cannot be drafted: correct the rows below, and upload it again. Nothing was drafted.")
    return _("There is no request in this file. Nothing was drafted.")


def _facts(upload: BatchUpload) -> list[tuple[str, str]]:
    rows = f"{upload.row_count:,}"
    if upload.is_full:
        rows = _("%(rows)s; later rows were not checked, because a batch cannot hold more") % {"rows": rows}
    facts = [
        (_("Rows"), rows),
        (_("Bad rows"), f"{sum(number != OF_THE_FILE for number, _reason in upload.bad_rows):,}"),
        (_("Requests"), f"{upload.request_count:,}"),
    ]
    if upload.request_count:
        facts += [
            (_("Size, in bytes"), f"{upload.body_bytes:,}"),
            (_("Estimated cost"), display.estimate(upload.estimate(conf.prices()))),
        ]
    facts.append((_("Account"), upload.account))
    if upload.prompt:
        facts += [
            (_("Model"), upload.model),
            (_("Max tokens"), f"{upload.max_tokens or 0:,}"),
            (_("Requests are named by"), upload.name_by or _("the column custom_id, or the rows' numbers")),
            (_("Columns in the export"), _("all of the file") if upload.keep_cells else _("none")),
        ]
    return facts


def _sample(sample: dict[str, Any]) -> dict[str, Any]:
    """Return a sample request: its texts, its JSON, indented, and a note if it is cut."""
    text = sample["params"]
    found = {"custom_id": sample["custom_id"], "texts": _texts(text), "json": text, "note": ""}
    if len(text) < MAX_SAMPLE_CHARACTERS:
        return {**found, "json": display.pretty_text(text)}
    note = _("Cut here: the first %(shown)s characters of %(all)s bytes.")
    return {**found, "note": note % {"shown": f"{len(text):,}", "all": f"{sample['bytes']:,}"}}


def _texts(params: str) -> list[tuple[str, str]]:
    """Return the system prompt and the prompt of a request; none if the params were cut or have another form."""
    system, prompt = conversation(params)
    if prompt == params:
        return []
    return [(label, text) for label, text in ((_("System"), system), (_("Prompt"), prompt)) if text]
