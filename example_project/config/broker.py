"""A Celery broker that stores messages in folders, so that the example needs no server."""

from __future__ import annotations

from queue import Empty
from typing import Any

from kombu.transport import filesystem


class Channel(filesystem.Channel):
    """Kombu's channel may read a message that another process is still writing; the error would end its worker."""

    def _get(self, queue: str) -> Any:
        """Drop such a message instead. Its row stays due in the database, and the next tick sends a new one."""
        try:
            return super()._get(queue)
        except ValueError:  # an empty or incomplete text
            raise Empty from None


class Transport(filesystem.Transport):
    Channel = Channel
