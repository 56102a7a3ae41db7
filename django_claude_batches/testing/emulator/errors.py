"""The API's errors, with its own texts.

Each text names its source in `docs/reference/wire.md`; "inferred" marks those that have not been captured. The API
warns that wording can change: match on `type`, never on `message`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class Refusal(Exception):
    """An error of the API: the HTTP `status`, and the `type`, `message` and `details` of its body.

    Without `names_request`, the body's `request_id` is null.
    """

    status: int
    type: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)
    names_request: bool = True

    def __str__(self) -> str:
        return self.message

    def body(self, *, request_id: str) -> dict[str, Any]:
        """Return the error's JSON object (§5)."""
        error: dict[str, Any] = {"type": self.type, "message": self.message}
        if self.details:
            error["details"] = self.details
        return {"type": "error", "error": error, "request_id": request_id if self.names_request else None}


def invalid(message: str, *, code: str | None = None) -> Refusal:
    """Return a 400, with `code` as its `error_code`."""
    return Refusal(400, "invalid_request_error", message, details_of(code))


def details_of(code: str | None) -> dict[str, Any]:
    return {} if code is None else {"error_code": code}


def key_invalid() -> Refusal:
    """Return the error of §5.3. The text for a request without any key is inferred to be the same."""
    return Refusal(401, "authentication_error", "API key is invalid.", names_request=False)


def workspace_mismatch(workspace_id: str) -> Refusal:
    """Return the error of §2.1: a Workspace's key may name only its own. Status and text are inferred."""
    return Refusal(403, "permission_error", f"API key does not have access to workspace {workspace_id}.")


def page_refused(name: str, value: str) -> Refusal:
    """Return an error that is not the API's: a web page may have sent this, and any key is accepted."""
    text = f"{name} {value} may be a web page's: allow it with --allow-host, or name the one key with --api-key"
    return Refusal(403, "permission_error", f"The emulator takes any key, but not from everywhere. {text}.")


def version_missing() -> Refusal:
    return invalid("anthropic-version: header is required")


def version_unknown(version: str) -> Refusal:
    """Return the error for an unknown version; inferred."""
    return invalid(f'anthropic-version: "{version}" is not a valid version')


def path_unknown() -> Refusal:
    return Refusal(404, "not_found_error", "Not found")


def method_not_allowed() -> Refusal:
    """Return the error for a wrong method; inferred."""
    return Refusal(405, "invalid_request_error", "Method Not Allowed")


def body_too_large() -> Refusal:
    """Return the error of §5.1. The text is inferred; the real one may come from Cloudflare and not be JSON at all."""
    return Refusal(413, "request_too_large", "Request exceeds the maximum allowed number of bytes.")


def encoding_unsupported(encoding: str) -> Refusal:
    """Return the error of §5.2. The text is inferred."""
    return invalid(f"Unsupported Content-Encoding: {encoding}", code="request_body_encoding_unsupported")


def json_invalid(reason: str) -> Refusal:
    return invalid(f"The request body is not valid JSON: {reason}")


def duplicate_custom_id(custom_id: str) -> Refusal:
    return invalid(f"requests: custom_id's must be unique within a batch. Duplicate custom_id found: {custom_id}")


def model_unknown(model: str) -> Refusal:
    """Return the error as in a result line (§3.5)."""
    return Refusal(404, "not_found_error", f"model: {model}")


def batch_unknown(batch_id: str) -> Refusal:
    """Return the error of §5.3: unknown; inferred for a deleted batch and for another Workspace's."""
    return Refusal(404, "not_found_error", f"Message Batch {batch_id} not found.")


def cursor_unknown(name: str, cursor: str, *, kind: str) -> Refusal:
    """Return the error for an unknown cursor; inferred, including its status."""
    return invalid(f"{name}: {kind} {cursor} not found.")


def results_unavailable(batch_id: str) -> Refusal:
    """Return the error of §5.3: not ended; inferred for archived results."""
    return Refusal(404, "not_found_error", f"Message Batch {batch_id} has no available results.")


def delete_in_progress() -> Refusal:
    return invalid("In progress batches cannot be deleted. Consider canceling the batch instead.")


def delete_canceling(batch_id: str) -> Refusal:
    """Return the error of §5.3, from real bytes: "to completed" is the API's."""
    return invalid(
        f"Batch `{batch_id}` has not finished canceling. Please wait for cancellation to completed before deleting."
    )


def cancel_ended(batch_id: str) -> Refusal:
    """Return the error of §5.3: whether canceling an ended batch is refused is unknown; the text is inferred."""
    return invalid(f"Batch `{batch_id}` has already ended and cannot be canceled.")


def emulator_failed(error: BaseException) -> Refusal:
    """Return an error that is not the API's: the emulator, or the test's own `replies`, raised."""
    return Refusal(500, "api_error", f"The emulator failed: {type(error).__name__}: {error}")
