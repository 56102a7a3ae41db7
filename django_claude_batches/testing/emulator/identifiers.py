"""Draw ids and keys in the API's form (`docs/reference/wire.md` §10), repeatable with a seed."""

from __future__ import annotations

import string
import threading
import uuid
from random import Random

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class Identifiers:
    """Draws ids from its own generator. Thread-safe; nothing here is meant to be secret."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._lock = threading.Lock()

    def _draw(self, prefix: str, length: int, *, alphabet: str = BASE58) -> str:
        with self._lock:
            return prefix + "".join(self._random.choices(alphabet, k=length))

    def batch(self) -> str:
        return self._draw("msgbatch_01", 22)

    def message(self) -> str:
        return self._draw("msg_01", 22)

    def tool_use(self) -> str:
        return self._draw("toolu_01", 22)

    def request(self) -> str:
        return self._draw("req_011", 21)

    def worker_request(self) -> str:
        return self._draw("workerreq_01", 22)

    def workspace(self) -> str:
        return self._draw("wrkspc_01", 22)

    def organization(self) -> str:
        with self._lock:
            return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def api_key(self) -> str:
        return self._draw("sk-ant-api03-", 95, alphabet=string.ascii_letters + string.digits + "-_")
