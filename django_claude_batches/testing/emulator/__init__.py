"""An emulator of the Message Batches API, over real HTTP on loopback.

`world` has the state and its rules, `routes` the endpoints, and `server` the HTTP server. `validation` has the checks
of a create call and those when a batch ends, `replies` makes the answers, and `faults` changes responses. `ledger`
records what was received and sent, `control` is the HTTP interface to control an emulator, and `journal` stores
everything in a file.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, Literal, Self

from .auth import Hosts, Keys
from .batch import BatchSnapshot
from .control import Control
from .downloads import Download
from .faults.bends import Bend
from .faults.random_bends import RandomBends
from .faults.script import Faults
from .http_messages import Request, Response, compressed
from .identifiers import Identifiers
from .journal import Journal
from .ledger import Ledger, ReceivedRequest
from .lines import Line
from .replies import Replies, echo, with_keywords
from .routes import VERSIONS, Routes
from .server import HOST, Server
from .validation.params import Terms
from .world import Rules, World


class ClaudeEmulator:
    """A context manager that serves the API on 127.0.0.1, and sets ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY meanwhile.

    With `port` 0, a free port is used. With `seconds`, batches end this time after their creation; with None, only by
    `finish()`. `replies` makes the answers (by default an echo). With the same `seed`, ids, keys and the order of
    results are repeated. With `progressive_counts`, counts are shown before the batch has ended. `processed_share` (0
    to 1) is the share of requests that are done when a batch is canceled or expires: by default 0 or, with `seconds`,
    the share of that time that has passed. `cancel_ended` is the answer to canceling an ended batch, which was never
    captured. With `any_key`, each non-empty key is accepted. Leaving and entering again keeps the batches.

    `state` is the path of a file in which batches, results, the ledger and the clock are stored before each answer is
    sent: the next emulator with that file, even after a SIGKILL, continues with its ids, key and Workspace. Faults and
    added keys are not stored. Raises ValueError if the file is something else. Only its owner can read the file.

    `allow_hosts` are host names, besides those of loopback, that are accepted in requests to control it (`/_emulator/`)
    and, with `any_key`, in calls of the API.

    If `replies` raises, only its batch is affected: it stays unchanged, calls about it are answered with 500 and
    the error, `finish` and `expire` raise the exception, and the next call tries again.
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
        state: str | Path | None = None,
        allow_hosts: Iterable[str] = (),
    ) -> None:
        rules = Rules(with_keywords(replies or echo()), seconds, progressive_counts, processed_share, cancel_ended)
        journal = Journal(None if state is None else Path(state))
        entries = list(journal.entries())
        begun = dict(entries).get("begun", {"seed": secrets.token_hex(8) if seed is None else str(seed)})
        self._world = World(rules, seed=begun["seed"], journal=journal)
        self._ledger = Ledger(journal)
        self._faults = Faults(seed=begun["seed"])
        self._port = port
        self._max_body_bytes = max_body_bytes
        self._hosts = Hosts(allow_hosts)
        self.api_key = api_key or self._world.identifiers.api_key()
        self.workspace_id = begun.get("workspace_id") or self._world.identifiers.workspace()
        self._keys = Keys(default_workspace_id=self.workspace_id, any_key=any_key, hosts=self._hosts)
        self._keys.add(self.api_key, workspace_id=self.workspace_id)
        self._routes = Routes(
            self._world, self._keys, self._ledger, require_version=require_version, max_requests=max_requests
        )
        self._server: Server | None = None
        self._entering = threading.Lock()
        self._replaced: dict[str, str | None] = {}
        for kind, entry in entries:
            self._world.recall(kind, entry)
            self._ledger.recall(kind, entry)
        if entries:  # request ids must not be repeated
            self._world.identifiers = Identifiers(Random(f"{begun['seed']}:after {len(entries)}"))  # noqa: S311
        else:
            journal.write("begun", begun | {"workspace_id": self.workspace_id})

    def __enter__(self) -> Self:
        with self._entering:
            if self._server is not None:
                raise RuntimeError(f"this emulator is already entered, at {self.url}: make another for a second one")
            server = Server(self._port, max_body_bytes=self._max_body_bytes, now=self.now, log=self._ledger.received)
            self._server = server
        server.start(self._respond, control=Control(self, hosts=self._hosts).respond)
        self._set_environment({"ANTHROPIC_BASE_URL": self.url, "ANTHROPIC_API_KEY": self.api_key})
        return self

    def __exit__(self, *_raised: object) -> None:
        self._restore_environment()
        server, self._server = self._entered(), None
        server.stop()

    @property
    def url(self) -> str:
        """Return the base URL, as `http://127.0.0.1:PORT`."""
        return f"http://{HOST}:{self._entered().server_port}"

    @property
    def requests(self) -> list[ReceivedRequest]:
        """Return the requests that were received, in the order of answering."""
        return self._ledger.requests

    @property
    def downloads(self) -> list[Download]:
        """Return each answered results call, with the lines that were sent."""
        return self._ledger.downloads

    @property
    def batches(self) -> list[BatchSnapshot]:
        """Return every batch that was made, oldest first, including deleted ones."""
        return self._world.snapshots()

    @property
    def served_lines(self) -> list[Line]:
        """Return the result lines that were sent, in the order of the downloads."""
        return [line for download in self.downloads for line in download.lines]

    def now(self) -> datetime:
        """Return the emulator's time: real time plus what `pass_time` added."""
        return self._world.clock.now()

    def pass_time(self, seconds: float) -> None:
        """Move the clock forward. Batches expire 24 hours and are archived 29 days after their creation.

        Raises ValueError if `seconds` is negative.
        """
        self._world.pass_time(seconds)

    def finish(self, batch_id: str | None = None) -> None:
        """End this batch, or each batch that runs or is canceling, now, with its results.

        Raises LookupError if there is no such batch.
        """
        self._world.finish(batch_id)

    def expire(self, batch_id: str) -> None:
        """Expire this batch now: requests that were not processed are expired. An ended batch stays unchanged.

        Raises LookupError if there is no such batch.
        """
        self._world.expire(batch_id)

    def archive(self, batch_id: str) -> None:
        """Archive this ended batch's results, as the API does 29 days after its creation.

        Raises LookupError if there is no such batch, ValueError if it has not ended.
        """
        self._world.archive(batch_id)

    def add_key(self, key: str, *, workspace_id: str | None = None) -> None:
        """Accept another API key, which belongs to this Workspace (by default to that of `api_key`).

        A key sees only the batches of its Workspace.
        """
        self._keys.add(key, workspace_id=workspace_id or self.workspace_id)

    def fault(
        self,
        name: str,
        *,
        at: int = 1,
        times: int | None = 1,
        share: float = 1.0,
        on: str | Iterable[str] | None = None,
        batch: str | None = None,
        key: str | None = None,
        **options: Any,
    ) -> None:
        """Script a fault for `times` requests (None: each one), beginning with the `at`-th from now that matches.

        `on` names the verbs, instead of the fault's own: "create", "retrieve", "list", "cancel", "delete", "results".
        `batch` selects only requests about the batch with this id, `key` those with this API key. The fault applies to
        a `share` of these requests (0 to 1), drawn by the emulator's seed. Raises ValueError for an unknown name or
        option.
        """
        self._faults.add(name, options, on=on, at=at, times=times, share=share, batch=batch, key=key)

    def bend(self, bend: Bend | RandomBends) -> None:
        """Change answers as this `Bend` declares, or at random."""
        self._faults.add_bend(bend)

    def unbend(self, bend: Bend | RandomBends) -> None:
        """Remove this bend. Raises LookupError if it was not scripted."""
        self._faults.remove_bend(bend)

    def clear_faults(self) -> None:
        """Remove all faults and bends."""
        self._faults.clear()

    def add_stranger(self, count: int, *, workspace_id: str | None = None) -> str:
        """Make a batch of `count` requests without a call, as another program with the key might; return its id."""
        params = {"model": "claude-haiku-4-5", "max_tokens": 16, "messages": [{"role": "user", "content": "Hello"}]}
        requests = [{"custom_id": f"stranger-{number}", "params": params} for number in range(count)]
        batch = self._world.create(
            requests, workspace_id=workspace_id or self.workspace_id, terms=Terms(VERSIONS[0]), stranger=True
        )
        return batch.id

    def ledger(self) -> dict[str, Any]:
        """Return what was received, made and sent, as JSON, keys redacted.

        `batches` (including strangers; `tag` is the part of the custom_ids before the first underscore),
        `batches_by_tag` (the number of batches that were created with each tag), `requests` (as in the property) and
        `creates`, those of them that are create calls (with a `batch_id` if they made a batch; `answer` is how the
        answer was sent), and `downloads` with their custom_ids.
        """
        return self._ledger.told(self.batches)

    def _entered(self) -> Server:
        if self._server is None:
            raise RuntimeError("this emulator serves only while entered: use `with ClaudeEmulator() as claude:`")
        return self._server

    def _respond(self, request: Request) -> Response:
        return compressed(request, self._faults.respond(request, self._routes))

    def _set_environment(self, variables: dict[str, str]) -> None:
        self._replaced = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)

    def _restore_environment(self) -> None:
        for name, value in self._replaced.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
