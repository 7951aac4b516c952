"""Requests that do not give up at once: one client, bounded retries, the server's wishes about when to come back.

Durations are seconds. A transient failure (dropped connection, stalled body, 429, 5xx) is tried again after the time
that the server names, else after a doubling wait with jitter. Progress forgives earlier failures: only failures in a
row without a new byte count.
"""

from __future__ import annotations

import functools
import json
import logging
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urlsplit

import httpx

from mimiidg_build.errors import FetchError
from mimiidg_build.settings import __version__

USER_AGENT = f"mimiidg_build/{__version__} (+research dataset builder; python-httpx)"
MAX_JSON_BYTES = 16 * 2**20  # a record with some thousand files
TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

log = logging.getLogger("mimiidg_build.fetch")
T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long to try.

    ``attempts``: failures in a row without progress before giving up. ``timeout_s``: longest silence of a server,
    within a body too. ``first_wait_s`` doubles up to ``longest_wait_s``. ``longest_asked_s``: the longest wait that a
    server may ask for; Zenodo's hourly limit asks for up to an hour.
    """

    attempts: int = 8
    timeout_s: float = 60.0
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    longest_asked_s: float = 3660.0


class TransientError(Exception):
    """Worth another try. ``wait_s``: when the server said to come back, None if it did not."""

    def __init__(self, what: str, wait_s: float | None = None) -> None:
        super().__init__(what)
        self.wait_s = wait_s


class NotFoundError(Exception):
    """The URL answered 404 or 410."""


class Interrupted(Exception):
    """Another part of the program said stop."""


def asked_wait_s(headers: Mapping[str, str], status: int, now_s: float) -> float | None:
    """How long a 429 or 503 asks us to wait, from ``Retry-After`` (seconds or date) or ``X-RateLimit-Reset``.

    Parameters
    ----------
    headers : Mapping[str, str]
        Lower-case names, or a case-insensitive mapping.
    status : int
        The answer's status; ``X-RateLimit-Reset`` stands in every answer and means a wait only in a 429.
    now_s : float
        Seconds since the epoch.

    Examples
    --------
    >>> asked_wait_s({"retry-after": "7"}, 503, 0.0)
    7.0
    >>> asked_wait_s({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, 429, 50.0)
    10.0
    >>> asked_wait_s({"x-ratelimit-reset": "1700000030"}, 429, 1700000000.0)
    30.0
    >>> asked_wait_s({"x-ratelimit-reset": "1700000030"}, 503, 1700000000.0) is None
    True
    >>> asked_wait_s({"retry-after": "soon"}, 429, 0.0) is None
    True
    """
    after = headers.get("retry-after", "").strip()
    if after.isdecimal():
        return float(after)
    if after:
        try:
            return max(0.0, parsedate_to_datetime(after).timestamp() - now_s)
        except (ValueError, OverflowError):  # no date, or one before or beyond what a clock can show
            return None
    reset = headers.get("x-ratelimit-reset", "").strip()
    if status == 429 and reset.isdecimal():
        # Zenodo sends a time; other servers of this kind send seconds from now.
        return max(0.0, float(reset) - now_s) if float(reset) > 1e9 else float(reset)
    return None


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine.

    Examples
    --------
    >>> is_loopback("http://127.0.0.1:8000/x"), is_loopback("http://[::1]/"), is_loopback("https://zenodo.org")
    (True, True, False)
    """
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def check_status(response: httpx.Response) -> None:
    """Pass an answer that holds what was asked for (or 416, for the caller); raise what any other one means."""
    status = response.status_code
    if status in (200, 206, 416):
        return
    what = f"{response.url} answered {status} {response.reason_phrase}".rstrip()
    if status in (404, 410):
        raise NotFoundError(what)
    if status in TRANSIENT_STATUS:
        raise TransientError(what, asked_wait_s(response.headers, status, time.time()))
    cause = "a restricted record, or a block after too many requests" if status in (401, 403) else "a changed service"
    raise FetchError(f"{what}, which no retry mends. Likely cause: {cause}.")


@functools.cache
def _tls() -> ssl.SSLContext:
    """Loading the certificates takes longer than fetching a small record: once a process is enough."""
    return httpx.create_ssl_context()


class Session:
    """One client and its patience, shared by the transfers of one ``fetch_record``."""

    def __init__(self, base_url: str, patience: Patience, sleep: Callable[[float], object] | None) -> None:
        self.patience = patience
        self.stop = threading.Event()
        self._sleep = sleep or self.stop.wait  # a wait that an interrupt ends
        self._jitter = random.Random()  # spreads clients in time, decides no data
        self._base_url = base_url

    @functools.cached_property
    def _client(self) -> httpx.Client:
        """Made for the first request: when all archives are there, there is none."""
        return httpx.Client(
            headers={"User-Agent": USER_AGENT},
            timeout=httpx.Timeout(self.patience.timeout_s, connect=min(30.0, self.patience.timeout_s)),
            follow_redirects=True,
            # A proxy named in the environment cannot reach a server on this machine.
            trust_env=not is_loopback(self._base_url),
            verify=_tls(),
        )

    def close(self) -> None:
        """Close the connections."""
        if "_client" in self.__dict__:
            self._client.close()

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """One GET, its body still to be read, its status checked."""
        try:
            with self._client.stream("GET", url, headers=dict(headers)) as response:
                check_status(response)
                yield response
        except (httpx.TooManyRedirects, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise FetchError(
                f"{url} cannot be followed ({error}). Likely cause: a proxy or a changed service."
            ) from error

    def get_json(self, url: str) -> object:
        """The JSON that ``url`` answers with.

        Raises
        ------
        NotFoundError
            If the answer is 404.
        FetchError
            If there is no answer, or it is not JSON.
        """

        def once() -> object:
            with self.get(url, {"Accept": "application/json"}) as response:
                kind = response.headers.get("content-type", "no content type")
                body = bytearray()
                try:
                    for block in response.iter_bytes():
                        body += block
                        if len(body) > MAX_JSON_BYTES:
                            raise FetchError(f"{url} answered more than {MAX_JSON_BYTES} bytes, expected a record.")
                    return json.loads(body)
                except (ValueError, RecursionError, httpx.DecodingError) as error:
                    raise FetchError(f"{url} answered {kind}, expected JSON. Likely cause: a proxy's page.") from error

        return self.persist(url, once)

    def persist(self, what: str, act: Callable[[], T], mark: Callable[[], int] = lambda: 0) -> T:
        """``act()``, again after each transient failure.

        Parameters
        ----------
        what : str
            What is tried, for messages.
        act : Callable[[], T]
            The attempt.
        mark : Callable[[], int]
            How far the work has come. Only a new maximum is progress: a server that ignores ranges and always drops
            half way would otherwise be tried for ever.

        Raises
        ------
        FetchError
            After ``patience.attempts`` failures in a row, or when the server asks for too long a wait.
        """
        failures, best = 0, mark()
        while True:
            if self.stop.is_set():
                raise Interrupted
            try:
                return act()
            except (TransientError, httpx.TransportError) as error:
                reason = str(error) or type(error).__name__
                asked_s = error.wait_s if isinstance(error, TransientError) else None
                cause: Exception = error
            if mark() > best:
                failures, best = 0, mark()
            failures += 1
            if failures >= self.patience.attempts:
                raise FetchError(
                    f"{what}: gave up after {failures} attempts without progress, {best} bytes in. Last: {reason}. Run "
                    "it again to go on from there; likely cause: the network or the server."
                ) from cause
            self._pause(what, reason, asked_s, failures)

    def _pause(self, what: str, reason: str, asked_s: float | None, failures: int) -> None:
        """Wait as the server asked, else longer after each failure."""
        patience = self.patience
        if asked_s is not None and asked_s > patience.longest_asked_s:
            raise FetchError(f"{what}: {reason}, and asks to come back in {asked_s:.0f} s. Run it again after that.")
        backoff_s = min(patience.longest_wait_s, patience.first_wait_s * 2 ** (failures - 1))
        wait_s = asked_s if asked_s is not None else backoff_s * self._jitter.uniform(0.5, 1.0)
        log.warning("%s: %s; trying again in %.1f s", what, reason, wait_s)
        self._sleep(wait_s)
