"""Retries: how often to try again, and how long to wait in between. Durations are seconds.

Only failures in a row count: a transfer that gets further before it fails has its failures forgiven. A server that
says when to come back is waited for exactly that long, any other for a doubling time with jitter.

The loop is written here although tenacity could run it. Both were tried with every network test: tenacity's own
strategies (``stop_after_attempt``, ``wait_exponential_jitter``) count attempts since the first and cannot be reset, so
stop, wait, count and final error would be callbacks written here, in as many lines as the loop that they replace, for
one more dependency and 24 ms of each start.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar

from mimiidg_build.errors import FetchError, without_password

TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

log = logging.getLogger("mimiidg_build.fetch")
T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """How long to try.

    ``attempts``: failures in a row without progress before giving up. ``timeout_s``: longest silence of a server,
    within a body too. ``first_wait_s`` doubles up to ``longest_wait_s``. ``longest_requested_s``: the longest wait
    that a server may request; Zenodo's hourly limit requests up to an hour.
    """

    attempts: int = 8
    timeout_s: float = 60.0
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    longest_requested_s: float = 3660.0


class TransientError(Exception):
    """Worth another try. ``wait_s``: when the server said to come back, None if it did not."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class Interrupted(Exception):
    """Another part of the program asked to stop."""


class Retrier:
    """Runs attempts until one succeeds, the policy is exhausted, or :attr:`stop` is set.

    Parameters
    ----------
    policy : RetryPolicy
    sleep : callable, optional
        Called with the seconds to wait. By default a wait that :attr:`stop` ends at once.
    """

    def __init__(self, policy: RetryPolicy, sleep: Callable[[float], object] | None = None) -> None:
        self.policy = policy
        self.stop = threading.Event()
        self._sleep = sleep or self.stop.wait
        self._jitter = random.Random()  # spreads clients in time; no data depends on it

    def check_stop(self) -> None:
        """Raise :class:`Interrupted` once :attr:`stop` is set."""
        if self.stop.is_set():
            raise Interrupted

    def run(self, name: str, attempt: Callable[[], T], n_done: Callable[[], int] = lambda: 0) -> T:
        """Call ``attempt()``, again after each transient failure.

        Parameters
        ----------
        name : str
            What is tried, for messages.
        attempt : callable
            One attempt. :class:`TransientError` and ``httpx.TransportError`` are tried again, all else is passed on.
        n_done : callable, optional
            Bytes that have arrived so far.

        Returns
        -------
        object
            What ``attempt`` returns.

        Raises
        ------
        FetchError
            After ``policy.attempts`` failures in a row without progress, or when the server requests too long a wait.
        Interrupted
            :attr:`stop` was set.
        """
        import httpx

        failures, most = 0, n_done()
        while True:
            self.check_stop()
            try:
                return attempt()
            except (TransientError, httpx.TransportError) as error:
                cause: Exception = error
            # Only a new maximum is progress: a server that ignores ranges and always hangs up half way sends the same
            # bytes each time, and would otherwise be tried for ever.
            failures = 1 if n_done() > most else failures + 1
            most = max(most, n_done())
            if failures >= self.policy.attempts:
                raise FetchError(
                    f"{name}: gave up after {failures} attempts without progress, {most} bytes in. Last: "
                    f"{_reason(cause)}. Run it again to go on from there; likely cause: the network or the server."
                ) from cause
            self._wait(name, cause, failures)

    def _wait(self, name: str, cause: Exception, failures: int) -> None:
        """Wait as long as the server requested, else longer after each failure."""
        policy = self.policy
        requested_s = cause.wait_s if isinstance(cause, TransientError) else None
        # a server's slip (a date far in the future) must not stop the program for days
        if requested_s is not None and requested_s > policy.longest_requested_s:
            raise FetchError(
                f"{name}: {_reason(cause)}, and asks to come back in {requested_s:.0f} s. Run it again after that."
            )
        backoff_s = min(policy.longest_wait_s, policy.first_wait_s * 2 ** (failures - 1))
        wait_s = requested_s if requested_s is not None else backoff_s * self._jitter.uniform(0.5, 1.0)
        log.warning("%s: %s; trying again in %.1f s", without_password(name), _reason(cause), wait_s)
        self._sleep(wait_s)


def _reason(error: Exception) -> str:
    return without_password(str(error)) or type(error).__name__


def requested_wait_s(headers: Mapping[str, str], status: int, now_s: float) -> float | None:
    """How long a 429 or 503 asks us to wait, from ``Retry-After`` (seconds or date) or ``X-RateLimit-Reset``.

    Parameters
    ----------
    headers : mapping of str to str
        Lower-case names, or a case-insensitive mapping.
    status : int
        The answer's status; ``X-RateLimit-Reset`` stands in every answer and means a wait only in a 429.
    now_s : float
        Seconds since the epoch.

    Returns
    -------
    float or None
        Seconds; None where the server names no time that can be read.

    Examples
    --------
    >>> requested_wait_s({"retry-after": "7"}, 503, 0.0)
    7.0
    >>> requested_wait_s({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, 429, 50.0)
    10.0
    >>> requested_wait_s({"x-ratelimit-reset": "1700000030"}, 429, 1700000000.0)
    30.0
    >>> requested_wait_s({"x-ratelimit-reset": "1700000030"}, 503, 1700000000.0) is None
    True
    >>> requested_wait_s({"retry-after": "soon"}, 429, 0.0) is None
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


def transient(message: str, headers: Mapping[str, str], status: int) -> TransientError:
    """The error for an answer that is worth another try.

    Parameters
    ----------
    message : str
    headers : mapping of str to str
        The answer's.
    status : int
        The answer's.

    Returns
    -------
    TransientError
        With the wait that the answer requests, counted from now.
    """
    return TransientError(message, requested_wait_s(headers, status, time.time()))
