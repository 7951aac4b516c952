"""The client of a bucket, and what its refusals mean.

Credentials, region and endpoint are the environment's, as every S3 program takes them: ``AWS_ACCESS_KEY_ID``,
``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``, ``AWS_REGION``, ``AWS_ENDPOINT_URL``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from datetime import timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from mimiidg_build import settings
from mimiidg_build.errors import UsageError, without_password

if TYPE_CHECKING:
    from obstore.store import S3Store

SCHEME = "s3://"
RETRIES = 6  # within a minute, with growing pauses between them


def client(bucket: str, prefix: str = "") -> S3Store:
    """A client of a bucket, or of what lies below a prefix in it.

    Raises
    ------
    UsageError
        This process was forked from one that had a client: obstore's threads are not in it, and it would wait for ever.
    """
    if _first_process() != os.getpid():
        raise UsageError(
            f"{SCHEME}{bucket} cannot be read in a process forked from one that has read from object storage. Start "
            'fresh ones: DataLoader(..., multiprocessing_context="spawn").'
        )
    return _connected(bucket, prefix, settings.object_storage_url())


@cache
def _first_process() -> int:
    """The process that made the first client; processes forked from it inherit this answer."""
    return os.getpid()


@lru_cache(maxsize=64)
def _connected(bucket: str, prefix: str, endpoint: str) -> S3Store:
    from obstore.store import S3Store

    # S3Store reads the endpoint from the environment by itself. As an argument it is part of the cache's key, so that a
    # changed environment gives a new client.
    return S3Store(
        bucket,
        prefix=prefix or None,
        client_options={
            "allow_http": endpoint.startswith("http://"),
            "timeout": timedelta(seconds=60),
            "connect_timeout": timedelta(seconds=10),
        },
        retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=60)},
    )


@contextlib.contextmanager
def requests(bucket: str, url: str) -> Iterator[S3Store]:
    """The bucket's client, for requests about one object; what fails is an ``OSError`` with that object's URL.

    Raises
    ------
    FileNotFoundError
        No such object, or no such bucket.
    FileExistsError
        Another version of the object is there than the request was conditional on.
    PermissionError
        The credentials are missing or not sufficient.
    OSError
        The object storage does not answer, or answers with another error.
    """
    from obstore.exceptions import BaseError

    try:
        yield client(bucket)
    except (BaseError, FileNotFoundError) as error:  # obstore raises Python's own where there is no such object
        raise _as_os_error(error, url) from error


def _as_os_error(error: Exception, url: str) -> OSError:
    """What obstore raised, as Python's own error of the same meaning."""
    from obstore.exceptions import (
        AlreadyExistsError,
        NotFoundError,
        PermissionDeniedError,
        PreconditionError,
        UnauthenticatedError,
    )

    text = str(error)
    found = re.search("<Code>([A-Za-z0-9]+)</Code>", text)
    code = found[1] if found else ""
    if code == "NoSuchBucket":  # obstore has no error of its own for it
        return FileNotFoundError(errno.ENOENT, "there is no such bucket", url)
    if isinstance(error, NotFoundError | FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "no such object", url)
    if isinstance(error, AlreadyExistsError | PreconditionError):
        return FileExistsError(errno.EEXIST, "another version is there", url)
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        what = "refused; see AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and the bucket's policy"
        return PermissionError(errno.EACCES, what, url)
    endpoint = settings.object_storage_url() or "Amazon S3"
    said = without_password(f"the object storage at {endpoint} fails: {code or _reason(text)}")
    return OSError(errno.EIO, said, url)


def _reason(text: str) -> str:
    """What obstore says, without the request and the number of attempts.

    >>> _reason("Generic S3 error: Error performing GET http://x in 4 s  - HTTP error: no answer")
    'HTTP error: no answer'
    """
    return text.split("\n", 1)[0].rsplit(" - ", 1)[-1].strip()[:200]
