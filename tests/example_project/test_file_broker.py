"""The example's broker of files survives a message that another process is still writing."""

from __future__ import annotations

from tests.example_project.test_secret_key import python

TAKE = """
import sys
from pathlib import Path
from queue import Empty

from django.conf import settings
from kombu import Connection

folder = Path(settings.CELERY_BROKER_TRANSPORT_OPTIONS["data_folder_in"])
with Connection("filesystem://", transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS) as connection:
    queue = connection.SimpleQueue("half-written")
    for text in ("", '{"body": '):
        (folder / "1_a.half-written.msg").write_text(text)
        try:
            queue.get(block=False)
        except Empty:
            print("empty")
    queue.put("whole")
    print(queue.get(timeout=5).payload)
"""


def test_a_message_that_is_half_written_does_not_end_the_worker(environment: dict[str, str]) -> None:
    assert python(TAKE, environment) == "empty\nempty\nwhole\n"
