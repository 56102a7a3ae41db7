"""A file that kills each process that reads it is not read forever: attempts are counted when they begin."""

from __future__ import annotations

import signal

import pytest
from django.utils import timezone

from django_claude_batches.models import BatchUpload, UploadState
from tests.reliability.site import LONG_AGO, Site

pytestmark = pytest.mark.process

READ_AND_DIE = """
import os, signal, sys
import django
django.setup()
from django.db import connection
from django_claude_batches.services.uploads.prepare import prepare_if_due

def kill(execute, sql, params, many, context):
    if "uploadpart" in sql:
        os.kill(os.getpid(), signal.SIGKILL)
    return execute(sql, params, many, context)

with connection.execute_wrapper(kill):
    prepare_if_due(int(sys.argv[1]))
"""


@pytest.mark.fault("Processes that check an uploaded file are killed", "SIGKILL at its first bytes; the lease is aged")
def test_killed_at_each_attempt(site: Site, database: str, trial: int) -> None:
    upload = BatchUpload.objects.store([b'{"params": {}}\n'], name="a.jsonl")
    codes = []
    for _attempt in range(8):
        codes.append(site.start("-c", READ_AND_DIE, str(upload.pk)).wait(timeout=60))
        BatchUpload.objects.exclude(lease_token="").update(lease_until=timezone.now() - LONG_AGO)
    assert codes == [-signal.SIGKILL] * 5 + [0] * 3, site.said()
    upload.refresh_from_db()
    assert (upload.state, upload.next_action_at) == (UploadState.FAILED, None)
    assert "5 attempts in a row failed or were killed" in upload.last_error
