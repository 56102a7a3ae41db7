"""Call an emulator over HTTP with the standard library, independently of the package's client."""

from __future__ import annotations

import http.client
import json
from typing import Any, NamedTuple

from django_claude_batches.testing import ClaudeEmulator

BATCHES = "/v1/messages/batches"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str, str]:
        """The status, and the error's type and message."""
        error = self.json["error"]
        return self.status, error["type"], error["message"]

    @property
    def lines(self) -> dict[str, Any]:
        """Result lines by custom_id."""
        parsed = (json.loads(line) for line in self.body.splitlines())
        return {line["custom_id"]: line["result"] for line in parsed}


def call(claude: ClaudeEmulator, method: str, path: str, *, body: Any = None, **headers: str | None) -> Answer:
    """Send one request. Names of headers have underscores; None omits a default header."""
    connection = http.client.HTTPConnection(claude.url.removeprefix("http://"), timeout=20)
    try:
        connection.request(method, path, encoded(body), _headers(claude, headers))
        return answer_of(connection)
    finally:
        connection.close()


def answer_of(connection: http.client.HTTPConnection) -> Answer:
    response = connection.getresponse()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


def encoded(body: Any) -> bytes | None:
    return body if body is None or isinstance(body, bytes) else json.dumps(body).encode()


def _headers(claude: ClaudeEmulator, given: dict[str, str | None]) -> dict[str, str]:
    headers: dict[str, str | None] = {"x-api-key": claude.api_key, "anthropic-version": "2023-06-01"}
    headers |= {name.replace("_", "-"): value for name, value in given.items()}
    return {name: value for name, value in headers.items() if value is not None}


def params(**changes: Any) -> dict[str, Any]:
    """Return the params of a valid request, with `changes`; None removes a key."""
    whole = {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
    return {key: value for key, value in (whole | changes).items() if value is not None}


def requests_of(*custom_ids: str, **changes: Any) -> dict[str, Any]:
    """Return a create call's body, with valid requests with these custom_ids."""
    return {"requests": [{"custom_id": custom_id, "params": params(**changes)} for custom_id in custom_ids]}


def create(claude: ClaudeEmulator, *custom_ids: str, **changes: Any) -> str:
    """Create a batch and return its id."""
    answer = call(claude, "POST", BATCHES, body=requests_of(*(custom_ids or ("a",)), **changes))
    assert answer.status == 200, answer.body
    return str(answer.json["id"])
