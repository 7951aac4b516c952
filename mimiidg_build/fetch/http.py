"""One HTTP client for all the requests of a fetch, and what each status of an answer means."""

from __future__ import annotations

import functools
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mimiidg_build import __version__
from mimiidg_build.errors import FetchError
from mimiidg_build.fetch.retry import TRANSIENT_STATUS, Retrier, RetryPolicy, transient

if TYPE_CHECKING:
    import httpx

USER_AGENT = f"mimiidg_build/{__version__} (+research dataset builder; python-httpx)"
MAX_JSON_BYTES = 16 * 2**20  # a record with some thousand files


class NotFoundError(Exception):
    """The URL answered 404 or 410."""


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
    answer = f"{response.url} answered {status} {response.reason_phrase}".rstrip()
    if status in (404, 410):
        raise NotFoundError(answer)
    if status in TRANSIENT_STATUS:
        raise transient(answer, response.headers, status)
    cause = "a restricted record, or a block after too many requests" if status in (401, 403) else "a changed service"
    raise FetchError(f"{answer}; trying again would not help. Likely cause: {cause}.")


@functools.cache
def _tls() -> ssl.SSLContext:
    """Loading the certificates takes longer than fetching a small record: once a process is enough."""
    import httpx  # where something is fetched: with what it imports a tenth of a start

    return httpx.create_ssl_context()


class Session:
    """One client and its retries, shared by the transfers of one ``fetch_record``.

    Parameters
    ----------
    base_url : str
        Where the record is.
    policy : RetryPolicy
        Time-outs and retries.
    sleep : callable, optional
        Called with the seconds to wait between attempts; by default a wait that ``retries.stop`` ends at once.
    """

    def __init__(self, base_url: str, policy: RetryPolicy, sleep: Callable[[float], object] | None = None) -> None:
        self.retries = Retrier(policy, sleep)
        self._base_url = base_url

    # Not locked, though threads share it: the first request of a fetch is ``ask_record``'s, before any thread starts.
    @functools.cached_property
    def _client(self) -> httpx.Client:
        """Made for the first request: when all archives are there, there is none."""
        import httpx

        timeout_s = self.retries.policy.timeout_s
        return httpx.Client(
            headers={"User-Agent": USER_AGENT},
            # a body may pause for longer than connecting may take
            timeout=httpx.Timeout(timeout_s, connect=min(30.0, timeout_s)),
            follow_redirects=True,
            # A proxy named in the environment cannot reach a server on this machine.
            trust_env=not is_loopback(self._base_url),
            verify=_tls(),
        )

    def close(self) -> None:
        """Close the connections."""
        if "_client" in self.__dict__:  # asking for the property would make a client
            self._client.close()

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """One GET, its body still to be read, its status checked."""
        import httpx

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
        return self.retries.run(url, lambda: self._get_json_once(url))

    def _get_json_once(self, url: str) -> object:
        import httpx

        with self.get(url, {"Accept": "application/json"}) as response:
            kind = response.headers.get("content-type", "no content type")
            body = bytearray()
            try:
                for block in response.iter_bytes():
                    body += block
                    if len(body) > MAX_JSON_BYTES:  # a small compressed body may unpack to any size
                        raise FetchError(f"{url} answered more than {MAX_JSON_BYTES} bytes, expected a record.")
                return json.loads(body)
            # RecursionError: thousands of nested brackets
            except (ValueError, RecursionError, httpx.DecodingError) as error:
                raise FetchError(f"{url} answered {kind}, expected JSON. Likely cause: a proxy's page.") from error
