"""How a session reaches the API: the key's header, proxies, certificates, and the words for a connection that broke."""

from __future__ import annotations

import ipaddress
import os
import ssl
import zlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.utils import get_environ_proxies

from django_claude_batches.storable import text

Timeout = tuple[float, float]
"""Seconds to connect (and for each piece sent), seconds without a byte while reading."""

BROKEN = (OSError, urllib3.exceptions.HTTPError)
"""What requests raises (all of its own are OSErrors) and what of urllib3's passes through it."""

NEVER_CONNECTED = (
    requests.exceptions.ProxyError,
    ssl.SSLCertVerificationError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.NewConnectionError,
)

TIMED_OUT = (TimeoutError, urllib3.exceptions.TimeoutError, requests.exceptions.Timeout)

GZIP_MAGIC = b"\x1f\x8b"
ENCODING = "gzip"
"""The one that is asked for: `plain` knows no other."""

AUTH_HEADERS = {"bearer": "Authorization", "x-api-key": "x-api-key"}


class KeyAuth(AuthBase):
    """Puts the key into its header, at the last moment before a request leaves.

    As `auth=` and not as a header of the session, since requests lets an entry of `~/.netrc` replace the latter
    (docs/reference/wire.md §11.12). It has no repr of its own, so the key is in none.
    """

    def __init__(self, api_key: str, form: str) -> None:
        self._api_key = api_key
        self._header = AUTH_HEADERS[form]

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        bearer = self._header == "Authorization"
        request.headers[self._header] = f"Bearer {self._api_key}" if bearer else self._api_key
        return request

    def redacted(self, text: str) -> str:
        """Return the text of an answer without the key: some gateways echo what they received."""
        return text.replace(self._api_key, "[key]")


class _Adapter(HTTPAdapter):
    """An adapter that removes a header which requests would parse and this client does not need.

    Before 2.33 it raises AttributeError for a `Content-Type` whose charset has no value: the answer would be lost.
    """

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        resp.headers.discard("content-type")
        return super().build_response(req, resp)


class _Session(requests.Session):
    """A session that sees no redirect: requests would send `x-api-key` along to the other host (§11.11)."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def new_session(
    base_url: str, *, auth: KeyAuth, headers: Mapping[str, str], proxies: Mapping[str, str] | None, verify: bool | str
) -> requests.Session:
    """Make a session that takes from the environment its proxies and certificates, and nothing else (no `.netrc`)."""
    session = _Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter())
    session.trust_env = False
    session.auth = auth
    session.headers.update({"Accept-Encoding": ENCODING, **headers})
    session.proxies.update(_environment_proxies(base_url) if proxies is None else proxies)
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    session.verify = bundle if verify is True and bundle else verify
    return session


def plain(body: bytes, longest: int = 0) -> bytes:
    """Return a body without its compression, if it has one: what its headers say of that may be wrong.

    Of a compressed one at most the `longest` first bytes; 0 is all of it.
    """
    if not body.startswith(GZIP_MAGIC):
        return body
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body, longest)
    except zlib.error:
        return body


def was_sent(error: BaseException) -> bool:
    """Return whether a call without a body may have arrived: not if there never was a connection."""
    return not any(isinstance(item, NEVER_CONNECTED) for item in _causes(error))


def timed_out(error: BaseException) -> bool:
    """Return whether a timeout ended the call. urllib3 1.26 counts a refused connection as one."""
    causes = [item for item in _causes(error) if not isinstance(item, urllib3.exceptions.NewConnectionError)]
    return any(isinstance(item, TIMED_OUT) for item in causes)


def words(error: BaseException) -> str:
    """Say what broke in one line: the kind of requests' error, and the innermost reason for it."""
    *_, innermost = _causes(error)
    reason = text(" ".join(str(innermost).split()), 300)
    return f"No complete answer from the API ({type(error).__name__}): {reason}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give out the error and what it was made of, inwards: urllib3 keeps that as cause or as last argument.

    Never `__context__`, which may be an error that the caller is handling while calling us.
    """
    inner: BaseException | None = error
    while inner is not None:
        yield inner
        inner = inner.__cause__ or next(
            (item for item in reversed(inner.args) if isinstance(item, BaseException)), None
        )


def _environment_proxies(base_url: str) -> dict[str, str]:
    return {} if _is_loopback(urlsplit(base_url).hostname or "") else get_environ_proxies(base_url)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
