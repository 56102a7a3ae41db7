"""The requests session: authentication header, proxies, certificates, and descriptions of connection errors."""

from __future__ import annotations

import os
import re
import ssl
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.utils import get_environ_proxies, select_proxy

from django_claude_batches.client.deadline import PacedConnection
from django_claude_batches.client.redaction import Redactor
from django_claude_batches.client.validation import is_loopback
from django_claude_batches.sanitize import text

# Seconds to connect (and for each piece sent), seconds without a byte while reading.
Timeout = tuple[float, float]

# Exceptions of requests (all of them are OSErrors), and those of urllib3 that it does not wrap.
CONNECTION_ERRORS = (OSError, urllib3.exceptions.HTTPError)

NEVER_CONNECTED = (
    requests.exceptions.ProxyError,
    ssl.SSLCertVerificationError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.NewConnectionError,
)

TIMED_OUT = (TimeoutError, urllib3.exceptions.TimeoutError, requests.exceptions.Timeout)

AUTH_HEADERS = {"bearer": "Authorization", "x-api-key": "x-api-key"}


class KeyAuth(AuthBase):
    """Set the key's header just before a request is sent; also hold the proxies.

    As `auth=` and not as a header of the session, since requests lets an entry of `~/.netrc` replace the latter
    (docs/reference/wire.md §11.12). It has no repr of its own, so neither the key nor a proxy's password is in one.

    `redacted` returns a text of an answer without them: some gateways echo what they received.
    """

    def __init__(self, api_key: str, form: str, *, proxies: Mapping[str, str]) -> None:
        self._api_key = api_key
        self._header = AUTH_HEADERS[form]
        self.proxies = dict(proxies)
        self.redacted = Redactor([api_key, *_passwords(proxies.values())])

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        bearer = self._header == "Authorization"
        request.headers[self._header] = f"Bearer {self._api_key}" if bearer else self._api_key
        return request


class _Adapter(HTTPAdapter):
    """An adapter whose connections keep the pace of the call. It redacts the head of each answer.

    It removes a header that requests would parse and this client does not need: before 2.33 requests raises
    AttributeError for a `Content-Type` whose charset has no value, and the answer would be lost.
    """

    def __init__(self, redacted: Redactor) -> None:
        self._redacted = redacted
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        _set_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*args, **options)
        _set_pools(manager)
        return manager

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        resp.headers.discard("content-type")
        response = super().build_response(req, resp)
        response.reason = self._redacted(response.reason or "")
        for name, value in response.headers.items():
            response.headers[name] = self._redacted(value)
        return response


def _set_pools(manager: Any) -> None:
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _paced(pool) for scheme, pool in pools.items()}


@lru_cache
def _paced(pool: Any) -> Any:
    """Return a subclass of the pool, which may be one for SOCKS, with connections that keep the pace."""
    if issubclass(pool.ConnectionCls, PacedConnection):
        return pool
    connection = type(pool.ConnectionCls.__name__, (PacedConnection, pool.ConnectionCls), {})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


class _Session(requests.Session):
    """A session that follows no redirect: requests would send `x-api-key` to the other host (§11.11)."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def new_session(*, auth: KeyAuth, headers: Mapping[str, str], verify: bool | str) -> requests.Session:
    """Return a session that uses only certificates from the environment (no `.netrc`)."""
    session = _Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(auth.redacted))
    session.trust_env = False
    session.auth = auth
    # No cookies: each answer could add some without end.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    session.headers.update({"Accept-Encoding": "identity", **headers})
    session.proxies.update(auth.proxies)
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    session.verify = bundle if verify is True and bundle else verify
    return session


def was_sent(error: BaseException) -> bool:
    """Return whether a call without a body may have arrived: not if no connection was made."""
    return not any(isinstance(item, NEVER_CONNECTED) for item in _causes(error))


def timed_out(error: BaseException) -> bool:
    """Return whether a timeout ended the call. urllib3 1.26 counts a refused connection as one."""
    causes = [item for item in _causes(error) if not isinstance(item, urllib3.exceptions.NewConnectionError)]
    return any(isinstance(item, TIMED_OUT) for item in causes)


def describe_error(error: BaseException, redacted: Redactor) -> str:
    """Describe a connection error in one line: the class of requests' error, and its innermost cause.

    The text may quote the URL of a proxy, or a line of the answer.
    """
    *_, innermost = _causes(error)
    reason = re.sub(r"//[^/\s@]*@", "//", redacted(str(innermost)))
    reason = text(" ".join(reason.split()), 300)
    return f"No complete answer from the API ({type(error).__name__}): {reason}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and its causes, inwards: urllib3 stores them as cause or as last argument.

    Never `__context__`, which may be an error that the caller is handling while calling us.
    """
    inner: BaseException | None = error
    while inner is not None:
        yield inner
        inner = inner.__cause__ or next(
            (item for item in reversed(inner.args) if isinstance(item, BaseException)), None
        )


def environment_proxies(base_url: str) -> dict[str, str]:
    """Return the proxies that `HTTPS_PROXY`, `NO_PROXY` and the like name for this URL; none for loopback."""
    return {} if is_loopback(urlsplit(base_url).hostname or "") else get_environ_proxies(base_url)


def problem_with_proxies(base_url: str, proxies: Mapping[str, str], *, allow_http: bool = False) -> str | None:
    """Return why a proxy would get the key unencrypted on the way to a permitted base URL; None if none would."""
    parts = urlsplit(base_url)
    if parts.scheme != "http" or allow_http:
        return None
    proxy = select_proxy(base_url, dict(proxies))
    host = urlsplit(proxy or "").hostname
    if host is None or is_loopback(host):
        return None
    return f"the proxy {host} would get the key in the clear: use https, or set ALLOW_HTTP (the client's allow_http)"


def _passwords(proxies: Iterable[str | None]) -> Iterator[str]:
    """Yield the passwords in the URLs of proxies, as written, decoded, and as sent."""
    for url in filter(None, proxies):  # requests takes None for "no proxy"
        user, colon, password = url.rpartition("@")[0].rpartition("//")[2].partition(":")
        if colon:
            plain_one = unquote(password)
            yield from (password, plain_one, b64encode(f"{unquote(user)}:{plain_one}".encode()).decode())
