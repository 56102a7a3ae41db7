"""The emulator as a separate process, which a test can control, kill and start again."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from .emulator.faults.bends import Bend
from .emulator.faults.random_bends import RandomBends, arguments_of


class EmulatorProcess:
    """`python -m django_claude_batches.testing` with these `arguments`, while entered.

    The process uses a free port, and the same one when it is started again. Batches end by `finish()`, unless
    `arguments` contain `--seconds`. With `state`, the path of a file, its state survives `kill()`. The environment is
    not changed: pass `url` and `api_key` (any key is accepted) to the program under test. The other methods do the same
    as those of `ClaudeEmulator`, and raise ValueError, with its message, if the emulator refuses.
    """

    def __init__(self, *arguments: str, state: str | Path | None = None) -> None:
        kept = () if state is None else ("--state", str(state))
        self._command = [sys.executable, "-m", "django_claude_batches.testing", "--seconds", "never", *kept, *arguments]
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        self.api_key = "sk-ant-api03-any"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """Return the base URL, as `http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Return the process id, or None while the process does not run."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process, for the first time or again, and return once it answers.

        Raises RuntimeError, with its output, if it cannot start.
        """
        command = [*self._command, "--port", str(self.port)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            _, said = process.communicate()
            raise RuntimeError(f"the emulator did not start: {said.strip()}")
        self._process = process
        self.port = int(line.rpartition(":")[2])

    def kill(self) -> None:
        """Send SIGKILL: no answer is finished, and nothing is cleaned up."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def restart(self) -> None:
        """Kill the process and start it again."""
        self.kill()
        self.start()

    def ledger(self) -> dict[str, Any]:
        return self._ask("GET", "ledger")

    def finish(self, batch_id: str | None = None) -> None:
        self._ask("POST", "finish", batch_id=batch_id)

    def expire(self, batch_id: str) -> None:
        self._ask("POST", "expire", batch_id=batch_id)

    def archive(self, batch_id: str) -> None:
        self._ask("POST", "archive", batch_id=batch_id)

    def pass_time(self, seconds: float) -> None:
        self._ask("POST", "pass_time", seconds=seconds)

    def fault(self, name: str, **options: Any) -> None:
        self._ask("POST", "fault", name=name, **options)

    def clear_faults(self) -> None:
        self._ask("POST", "clear_faults")

    def bend(self, bend: Bend | RandomBends) -> None:
        self._ask("POST", "bend", **arguments_of(bend))

    def unbend(self, bend: Bend | RandomBends) -> None:
        self._ask("POST", "unbend", **arguments_of(bend))

    def add_stranger(self, count: int, *, workspace_id: str | None = None) -> str:
        return str(self._ask("POST", "add_stranger", count=count, workspace_id=workspace_id)["returned"])

    def _ask(self, method: str, verb: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer's JSON. Raise ValueError, with the emulator's message, if it refuses."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, f"/_emulator/{verb}", json.dumps(arguments) if method == "POST" else None)
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(answer["error"])
        return answer
