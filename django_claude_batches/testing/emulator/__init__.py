"""The Message Batches API on one's own machine, over real HTTP on loopback.

`world` is the state and its rules, `routes` the endpoints, `server` the HTTP; `intake` is what create checks at once
and `judging` what is found out when a batch ends; `replies` is what "Claude" says.
"""

from __future__ import annotations

import os
import threading
from datetime import datetime
from types import TracebackType
from typing import Literal, Self

from .batch import BatchSnapshot
from .keys import Keys
from .lines import Line
from .replies import Replies, echo, with_index
from .routes import Download, Routes
from .server import HOST, ReceivedRequest, Server
from .world import Rules, World


class ClaudeEmulator:
    """The API, served on 127.0.0.1 while entered; ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY point at it until left.

    `port` 0 picks a free one. `seconds`: batches end by themselves so many seconds after their creation; None leaves
    that to `finish()`. `replies` says what Claude answers (an echo). `seed` repeats ids, keys and the order of results.
    `progressive_counts` shows counts before the batch has ended. `processed_share` (0 to 1) is how many requests are
    done when a batch is canceled or expires: by default none or, with `seconds`, as many as the time that has passed.
    `cancel_ended` says how canceling an ended batch is answered, which nobody has captured. `any_key` takes each
    non-empty key. Leaving and entering again keeps the batches.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        seconds: float | None = None,
        replies: Replies | None = None,
        seed: int | str | None = None,
        progressive_counts: bool = False,
        processed_share: float | None = None,
        require_version: bool = True,
        cancel_ended: Literal["unchanged", "refused"] = "unchanged",
        api_key: str | None = None,
        any_key: bool = False,
        max_requests: int = 100_000,
        max_body_bytes: int = 256_000_000,
    ) -> None:
        rules = Rules(with_index(replies or echo()), seconds, progressive_counts, processed_share, cancel_ended)
        self._world = World(rules, seed=seed)
        self._port = port
        self._require_version = require_version
        self._max_requests = max_requests
        self._max_body_bytes = max_body_bytes
        self.api_key = api_key or self._world.identifiers.api_key()
        self.workspace_id = self._world.identifiers.workspace()
        self._keys = Keys(default_workspace_id=self.workspace_id, any_key=any_key)
        self._keys.add(self.api_key, workspace_id=self.workspace_id)
        self._server: Server | None = None
        self._entering = threading.Lock()
        self._replaced: dict[str, str | None] = {}
        self.requests: list[ReceivedRequest] = []
        """What was received, in the order of answering."""
        self.downloads: list[Download] = []
        """Each answered results call, with the lines that were sent."""

    def __enter__(self) -> Self:
        with self._entering:
            if self._server is not None:
                raise RuntimeError(f"this emulator is already entered, at {self.url}: make another for a second one")
            server = Server(self._port, max_body_bytes=self._max_body_bytes, now=self.now, received=self.requests)
            self._server = server
        server.start(self._routes().respond)
        self._set_environment({"ANTHROPIC_BASE_URL": self.url, "ANTHROPIC_API_KEY": self.api_key})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore_environment()
        server, self._server = self._entered(), None
        server.stop()

    @property
    def url(self) -> str:
        """Where it serves, as `http://127.0.0.1:PORT`."""
        return f"http://{HOST}:{self._entered().server_port}"

    @property
    def batches(self) -> list[BatchSnapshot]:
        """Every batch made, oldest first, deleted ones too."""
        return self._world.snapshots()

    @property
    def served_lines(self) -> list[Line]:
        """The result lines that were sent, of all downloads in their order."""
        return [line for download in self.downloads for line in download.lines]

    def now(self) -> datetime:
        """Return the emulator's time: real time plus what `pass_time` added."""
        return self._world.clock.now()

    def pass_time(self, seconds: float) -> None:
        """Move the clock forward: batches expire 24 hours, and are archived 29 days, after their creation."""
        self._world.pass_time(seconds)

    def finish(self, batch_id: str | None = None) -> None:
        """Let the day pass: judge and end each batch that runs or cancels, or the one named, now."""
        self._world.finish(batch_id)

    def expire(self, batch_id: str) -> None:
        """Let this batch's 24 hours be over, now: what was not processed is expired. One that ended stays as it is."""
        self._world.expire(batch_id)

    def archive(self, batch_id: str) -> None:
        """Let this ended batch's results be gone, as they are 29 days after its creation."""
        self._world.archive(batch_id)

    def add_key(self, key: str, *, workspace_id: str | None = None) -> None:
        """Take one more API key, of this Workspace (the default one). Workspaces do not see each other's batches."""
        self._keys.add(key, workspace_id=workspace_id or self.workspace_id)

    def _entered(self) -> Server:
        if self._server is None:
            raise RuntimeError("this emulator serves only while entered: use `with ClaudeEmulator() as claude:`")
        return self._server

    def _routes(self) -> Routes:
        return Routes(
            self._world,
            self._keys,
            base_url=self.url,
            require_version=self._require_version,
            max_requests=self._max_requests,
            downloads=self.downloads,
        )

    def _set_environment(self, variables: dict[str, str]) -> None:
        self._replaced = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)

    def _restore_environment(self) -> None:
        for name, value in self._replaced.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
